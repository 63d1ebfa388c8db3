#ifndef PHX_ADAPTER_DETAIL_ETF_HPP
#define PHX_ADAPTER_DETAIL_ETF_HPP
// Erlang's external term format (protocol 15.3): its tags, and a writer that writes them as OTP 25 does. Any OTP reads them.

#include <phx/core/text/json.hpp>
#include <phx/core/memory.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <locale.h>
#include <string>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace detail::etf {

struct bounds {
  std::uint32_t depth = 64;           ///< nested lists, tuples and maps that are written, or read as JSON
  std::size_t integer_bytes = 1'024;  ///< of one integer, written or read as JSON: 2,466 digits. The work is quadratic in it
  std::size_t inflated = 16'000'000;  ///< of a compressed term
};

enum tag : std::uint8_t {
  version = 131,
  compressed = 80,
  small_integer = 97,
  integer = 98,
  small_big = 110,
  large_big = 111,
  new_float = 70,
  atom_latin1 = 100,
  small_atom_latin1 = 115,
  atom_utf8 = 118,
  small_atom_utf8 = 119,
  small_tuple = 104,
  large_tuple = 105,
  nil = 106,
  string = 107,
  list = 108,
  binary = 109,
  map = 116,
  new_pid = 88,
  pid = 103,
  newer_reference = 90,
  new_reference = 114,
  bit_binary = 77,
  port = 102,
  new_port = 89,
  v4_port = 120,
  new_fun = 112,
  export_fun = 113,
};

// ---- writing

class writer {
 public:
  explicit writer(std::string& to) : to_(to) {}

  void byte(std::uint8_t b) { to_.push_back(static_cast<char>(b)); }
  void u16(std::size_t n) { big_endian(n, 2); }
  void u32(std::size_t n) { big_endian(n, 4); }
  void start() { byte(version); }
  void tuple(std::size_t arity) {
    if (arity <= 255)
      byte(small_tuple), byte(static_cast<std::uint8_t>(arity));
    else
      byte(large_tuple), u32(arity);
  }
  void map(std::size_t pairs) { byte(etf::map), u32(pairs); }
  /// @param text UTF-8, at most 255 characters. As OTP up to 25 writes it, which all of them read.
  void atom(std::string_view text) {
    bool const ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    byte(ascii ? atom_latin1 : atom_utf8), u16(text.size()), to_ += text;
  }
  void binary(std::string_view bytes) { byte(etf::binary), u32(bytes.size()), to_ += bytes; }
  void whole(std::int64_t n) {
    if (n >= 0 && n <= 255) return byte(small_integer), byte(static_cast<std::uint8_t>(n));
    if (n >= INT32_MIN && n <= INT32_MAX)
      return byte(integer), u32(static_cast<std::uint32_t>(static_cast<std::int32_t>(n)));
    std::uint64_t magnitude = n < 0 ? ~static_cast<std::uint64_t>(n) + 1 : static_cast<std::uint64_t>(n);
    char bytes[8];
    std::uint8_t size = 0;
    for (; magnitude != 0; magnitude >>= 8) bytes[size++] = static_cast<char>(static_cast<std::uint8_t>(magnitude));
    byte(small_big), byte(size), byte(n < 0);
    to_.append(bytes, size);
  }
  /// @pre finite: Erlang has no infinity and no NaN.
  void real(double d) {
    std::uint64_t bits;
    std::memcpy(&bits, &d, sizeof bits);
    byte(new_float), big_endian(bits, 8);
  }

  /// The JSON value of `text` as Jason decodes it: objects are maps with binaries for keys, and of two equal keys the first
  /// one counts.
  /// @return false beyond `most`, and for a number that rounds to infinity.
  /// @pre `text` is valid JSON.
  [[nodiscard]] bool json(std::string_view text, bounds const& most) {
    at_ = text.data();
    end_ = at_ + text.size();
    return value(0, most);
  }

 private:
  void big_endian(std::uint64_t n, int bytes) {
    for (int i = bytes; i-- != 0;) byte(static_cast<std::uint8_t>(n >> (8 * i)));
  }
  void patch(std::size_t position, std::size_t n) {
    for (std::size_t i = 0; i < 4; ++i) to_[position + i] = static_cast<char>(static_cast<std::uint8_t>(n >> (24 - 8 * i)));
  }
  [[nodiscard]] char next() { return phx::json::detail::skip_space(at_, end_); }

  [[nodiscard]] bool value(std::uint32_t level, bounds const& most) {
    switch (next()) {
      case '{': return level < most.depth && object(level + 1, most);
      case '[': return level < most.depth && array(level + 1, most);
      case '"': text(); return true;
      case 't': at_ += 4, atom("true"); return true;
      case 'f': at_ += 5, atom("false"); return true;
      case 'n': at_ += 4, atom("nil"); return true;
      default: return number(most);
    }
  }
  void text() {
    char const* const from = at_++;
    while (*at_ != '"') at_ += *at_ == '\\' ? 2 : 1;
    ++at_;
    std::string_view const token(from, static_cast<std::size_t>(at_ - from));
    byte(etf::binary);
    std::size_t const size_at = to_.size();
    u32(0);
    to_.resize(size_at + 4 + token.size());
    std::size_t const size = phx::json::unescape(token, to_.data() + size_at + 4);
    to_.resize(size_at + 4 + size);
    patch(size_at, size);
  }
  [[nodiscard]] bool object(std::uint32_t level, bounds const& most) {
    ++at_;
    byte(etf::map);
    std::size_t const count_at = to_.size();
    u32(0);
    // Erlang refuses a map with one key twice, so it is known where each pair begins and ends.
    struct pair {
      std::size_t at, key_end, end;
    };
    std::vector<pair> pairs;
    if (next() == '}') return ++at_, true;
    for (;;) {
      pair p{to_.size(), 0, 0};
      (void)next();
      text();
      p.key_end = to_.size();
      (void)next();
      ++at_;
      if (!value(level, most)) return false;
      p.end = to_.size();
      pairs.push_back(p);
      bool const more = next() == ',';
      ++at_;
      if (!more) break;
    }
    // In the order of their keys; of equal ones the first comes first.
    std::vector<std::size_t> sorted(pairs.size());
    for (std::size_t i = 0; i < sorted.size(); ++i) sorted[i] = i;
    auto const key = [&](std::size_t i) {
      return std::string_view(to_).substr(pairs[i].at, pairs[i].key_end - pairs[i].at);
    };
    std::sort(sorted.begin(), sorted.end(), [&](std::size_t a, std::size_t b) {
      int const order = key(a).compare(key(b));
      return order != 0 ? order < 0 : a < b;
    });
    std::size_t count = pairs.size();
    std::vector<bool> repeated(pairs.size());
    for (std::size_t i = 1; i < sorted.size(); ++i)
      if (key(sorted[i - 1]) == key(sorted[i])) {
        repeated[sorted[i]] = true;
        --count;
      }
    if (count != pairs.size()) {
      std::string kept;
      for (std::size_t i = 0; i < pairs.size(); ++i)
        if (!repeated[i]) kept.append(to_, pairs[i].at, pairs[i].end - pairs[i].at);
      to_.resize(count_at + 4);
      to_ += kept;
    }
    patch(count_at, count);
    return true;
  }
  [[nodiscard]] bool array(std::uint32_t level, bounds const& most) {
    ++at_;
    if (next() == ']') return ++at_, byte(nil), true;
    std::size_t const begin = to_.size();
    byte(list);
    u32(0);
    std::size_t count = 0;
    bool bytes_only = true;
    for (;;) {
      std::size_t const from = to_.size();
      if (!value(level, most)) return false;
      bytes_only = bytes_only && static_cast<std::uint8_t>(to_[from]) == small_integer;
      ++count;
      bool const more = next() == ',';
      ++at_;
      if (!more) break;
    }
    if (bytes_only && count <= 0xffff) {  // as Erlang writes any list of small integers
      std::string bytes;
      for (std::size_t i = 0; i < count; ++i) bytes.push_back(to_[begin + 5 + 2 * i + 1]);
      to_.resize(begin);
      byte(etf::string), u16(count), to_ += bytes;
      return true;
    }
    patch(begin + 1, count);
    byte(nil);
    return true;
  }
  [[nodiscard]] bool number(bounds const& most) {
    char const* const from = at_;
    bool integral = true;
    while (at_ != end_ &&
           (phx::json::detail::digit(*at_) || *at_ == '-' || *at_ == '+' || *at_ == '.' || (*at_ | 32) == 'e')) {
      integral = integral && *at_ != '.' && (*at_ | 32) != 'e';
      ++at_;
    }
    if (!integral) return real(std::string(from, at_));
    std::int64_t integer = 0;
    auto const [stopped, fault] = std::from_chars(from, at_, integer);
    if (fault != std::errc{} || stopped != at_) return big(*from == '-', {from + (*from == '-'), at_}, most);
    return whole(integer), true;
  }
  [[nodiscard]] bool real(std::string const& text) {
    // Not every standard library we build with has from_chars for double, and strtod follows the locale.
    static locale_t const plain = newlocale(LC_ALL_MASK, "C", nullptr);
    double const d = strtod_l(text.c_str(), nullptr, plain);
    if (!std::isfinite(d)) return false;
    return real(d), true;
  }
  [[nodiscard]] bool big(bool negative, std::string_view digits, bounds const& most) {
    if (digits.size() > most.integer_bytes * 5 / 2) return false;  // a byte holds 2.4 digits
    // Nine digits and four bytes at a time: one of each would keep a loop busy for a second with the numbers of one message.
    std::vector<std::uint32_t> limbs;  // little-endian
    while (!digits.empty()) {
      std::uint64_t carry = 0, shift = 1;
      for (char const c : digits.substr(0, 9)) carry = carry * 10 + static_cast<unsigned>(c - '0'), shift *= 10;
      digits.remove_prefix((std::min<std::size_t>)(digits.size(), 9));
      for (std::uint32_t& l : limbs) {
        carry += l * shift;
        l = static_cast<std::uint32_t>(carry);
        carry >>= 32;
      }
      if (carry != 0) limbs.push_back(static_cast<std::uint32_t>(carry));
    }
    std::string bytes;
    for (std::uint32_t const l : limbs)
      for (unsigned shift = 0; shift != 32; shift += 8)
        bytes.push_back(static_cast<char>(static_cast<unsigned char>(l >> shift)));
    while (!bytes.empty() && bytes.back() == '\0') bytes.pop_back();
    if (bytes.size() > most.integer_bytes) return false;
    if (bytes.size() < 256) {
      byte(small_big), byte(static_cast<std::uint8_t>(bytes.size()));
    } else {
      byte(large_big), u32(bytes.size());
    }
    byte(negative);
    to_ += bytes;
    return true;
  }

  std::string& to_;
  char const* at_ = nullptr;
  char const* end_ = nullptr;
};

}  // namespace detail::etf
}  // namespace PHX_BUILD
}  // namespace phx

#endif

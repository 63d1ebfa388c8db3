#ifndef PHX_ERLANG_ETF_WRITER_HPP
#define PHX_ERLANG_ETF_WRITER_HPP
// Writes Erlang's external term format (protocol 15.3) as OTP 25 does; every later OTP reads it.

#include <phx/core/text/json.hpp>
#include <phx/erlang/etf.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <locale.h>
#include <string>
#include <string_view>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace etf {

/// Appends terms to a string, one after the other. What a tuple, map or list contains is appended by further calls; nothing
/// checks that it is complete. Every member may throw std::bad_alloc.
class writer {
 public:
  /// @param to must outlive the writer.
  explicit writer(std::string& to) : to_(to) {}

  /// One byte: a tag, for what has no member here.
  void byte(std::uint8_t b) { to_.push_back(static_cast<char>(b)); }
  /// The lower two bytes of `n`, big-endian.
  void u16(std::size_t n) { big_endian(n, 2); }
  /// The lower four bytes of `n`, big-endian.
  void u32(std::size_t n) { big_endian(n, 4); }
  /// The version byte, which stands before the outermost term.
  void start() { byte(version); }
  /// The head of a tuple: `arity` elements follow.
  void tuple(std::size_t arity) {
    if (arity <= 255)
      byte(small_tuple), byte(static_cast<std::uint8_t>(arity));
    else
      byte(large_tuple), u32(arity);
  }
  /// The head of a map: `pairs` keys follow, each with its value. @pre no key twice.
  void map(std::size_t pairs) { byte(etf::map), u32(pairs); }
  /// An atom, in the tags that OTP up to 25 writes and every OTP reads. @param text UTF-8, at most 255 characters.
  void atom(std::string_view text) {
    bool const ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    byte(ascii ? atom_latin1 : atom_utf8), u16(text.size()), to_ += text;
  }
  /// A binary.
  void binary(std::string_view bytes) { byte(etf::binary), u32(bytes.size()), to_ += bytes; }
  /// An integer.
  void integer(std::int64_t n) {
    if (n >= 0 && n <= 255) return byte(small_integer), byte(static_cast<std::uint8_t>(n));
    if (n >= INT32_MIN && n <= INT32_MAX)
      return byte(etf::integer), u32(static_cast<std::uint32_t>(static_cast<std::int32_t>(n)));
    std::uint64_t magnitude = n < 0 ? ~static_cast<std::uint64_t>(n) + 1 : static_cast<std::uint64_t>(n);
    char bytes[8];
    std::uint8_t size = 0;
    for (; magnitude != 0; magnitude >>= 8) bytes[size++] = static_cast<char>(static_cast<std::uint8_t>(magnitude));
    byte(small_big), byte(size), byte(n < 0);
    to_.append(bytes, size);
  }
  /// A float. @pre finite: Erlang has no infinity and no NaN.
  void real(double d) {
    std::uint64_t bits;
    std::memcpy(&bits, &d, sizeof bits);
    byte(new_float), big_endian(bits, 8);
  }

  /// The JSON value of `text` as Jason decodes it: an object is a map with binaries for keys; of two equal keys the first
  /// counts. @return false beyond `limit`, and for a number that rounds to infinity; the string then ends in a partial term.
  /// @pre `text` is valid JSON.
  [[nodiscard]] bool json(std::string_view text, bounds const& limit) {
    at_ = text.data();
    end_ = at_ + text.size();
    return value(0, limit);
  }

 private:
  void big_endian(std::uint64_t n, int bytes) {
    for (int i = bytes; i-- != 0;) byte(static_cast<std::uint8_t>(n >> (8 * i)));
  }
  void patch(std::size_t position, std::size_t n) {
    for (std::size_t i = 0; i < 4; ++i) to_[position + i] = static_cast<char>(static_cast<std::uint8_t>(n >> (24 - 8 * i)));
  }
  [[nodiscard]] char next() { return phx::json::detail::skip_space(at_, end_); }

  [[nodiscard]] bool value(std::uint32_t level, bounds const& limit) {
    switch (next()) {
      case '{': return level < limit.depth && object(level + 1, limit);
      case '[': return level < limit.depth && array(level + 1, limit);
      case '"': text(); return true;
      case 't': at_ += 4, atom("true"); return true;
      case 'f': at_ += 5, atom("false"); return true;
      case 'n': at_ += 4, atom("nil"); return true;
      default: return number(limit);
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
  [[nodiscard]] bool object(std::uint32_t level, bounds const& limit) {
    ++at_;
    byte(etf::map);
    std::size_t const count_at = to_.size();
    u32(0);
    // Erlang refuses a map with a key twice: the pairs' positions are kept, to remove the later ones.
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
      if (!value(level, limit)) return false;
      p.end = to_.size();
      pairs.push_back(p);
      bool const more = next() == ',';
      ++at_;
      if (!more) break;
    }
    // By key; equal keys in the order of their pairs.
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
  [[nodiscard]] bool array(std::uint32_t level, bounds const& limit) {
    ++at_;
    if (next() == ']') return ++at_, byte(nil), true;
    std::size_t const begin = to_.size();
    byte(list);
    u32(0);
    std::size_t count = 0;
    bool bytes_only = true;
    for (;;) {
      std::size_t const from = to_.size();
      if (!value(level, limit)) return false;
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
  [[nodiscard]] bool number(bounds const& limit) {
    char const* const from = at_;
    bool integral = true;
    while (at_ != end_ &&
           (phx::json::detail::digit(*at_) || *at_ == '-' || *at_ == '+' || *at_ == '.' || (*at_ | 32) == 'e')) {
      integral = integral && *at_ != '.' && (*at_ | 32) != 'e';
      ++at_;
    }
    if (!integral) return real(std::string(from, at_));
    std::int64_t n = 0;
    auto const [stopped, fault] = std::from_chars(from, at_, n);
    if (fault != std::errc{} || stopped != at_) return big(*from == '-', {from + (*from == '-'), at_}, limit);
    return integer(n), true;
  }
  [[nodiscard]] bool real(std::string const& text) {
    // strtod depends on the global locale, and libc++ has no from_chars for double before LLVM 20.
    static locale_t const plain = newlocale(LC_ALL_MASK, "C", nullptr);
    double const d = strtod_l(text.c_str(), nullptr, plain);
    if (!std::isfinite(d)) return false;
    return real(d), true;
  }
  [[nodiscard]] bool big(bool negative, std::string_view digits, bounds const& limit) {
    if (digits.size() > limit.integer_bytes * 5 / 2) return false;  // a byte holds 2.4 digits
    // Nine digits and four bytes at a time: digit by digit, the numbers of one message could keep a loop busy for a second.
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
    if (bytes.size() > limit.integer_bytes) return false;
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

}  // namespace etf
}  // namespace PHX_BUILD
}  // namespace phx

#endif

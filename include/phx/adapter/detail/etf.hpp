#ifndef PHX_ADAPTER_DETAIL_ETF_HPP
#define PHX_ADAPTER_DETAIL_ETF_HPP
// Erlang's external term format (protocol 15.3), as far as broadcasts need it: written as OTP 25 writes it, read with every
// length checked and every depth bounded. No atom is made, nothing is executed, nothing is kept of what is not asked for.

#include <phx/core/json.hpp>
#include <phx/core/memory.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <locale.h>
#include <string>
#include <vector>

namespace phx::inline PHX_BUILD::detail::etf {

struct bounds {
  std::uint32_t depth = 64;            ///< nested lists, tuples and maps; beyond: refused, both ways
  std::size_t integer_bytes = 256;     ///< of one big integer; beyond: refused, both ways
  std::size_t inflated = 16'000'000;   ///< of a compressed term; beyond: refused
};

enum tag : std::uint8_t {
  version = 131, compressed = 80,
  small_integer = 97, integer = 98, small_big = 110, large_big = 111, new_float = 70,
  atom_latin1 = 100, small_atom_latin1 = 115, atom_utf8 = 118, small_atom_utf8 = 119,
  small_tuple = 104, large_tuple = 105, nil = 106, string = 107, list = 108, binary = 109, map = 116,
  new_pid = 88, pid = 103, newer_reference = 90, new_reference = 114, bit_binary = 77,
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
    if (arity <= 255) byte(small_tuple), byte(static_cast<std::uint8_t>(arity));
    else byte(large_tuple), u32(arity);
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
    if (n >= INT32_MIN && n <= INT32_MAX) return byte(integer), u32(static_cast<std::uint32_t>(static_cast<std::int32_t>(n)));
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

  /// The JSON value of `text` as Jason decodes it: objects are maps with binaries for keys, of two equal keys the last.
  /// @return false beyond `most`, and for a number that rounds to infinity.
  /// @pre `text` is valid JSON.
  [[nodiscard]] bool json(std::string_view text, bounds const& most) {
    at_ = text.data();
    end_ = at_ + text.size();
    return value(0, most);
  }

 private:
  void big_endian(std::size_t n, int bytes) {
    for (int i = bytes; i-- != 0;) byte(static_cast<std::uint8_t>(n >> (8 * i)));
  }
  void patch(std::size_t where, std::size_t n) {
    for (std::size_t i = 0; i < 4; ++i) to_[where + i] = static_cast<char>(static_cast<std::uint8_t>(n >> (24 - 8 * i)));
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
    // A term with one key twice is none that Erlang reads. Where each pair begins and ends, so that the later one stays.
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
    // In the order of their keys, of equal ones the later behind the earlier.
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
    std::vector<bool> outdone(pairs.size());
    for (std::size_t i = 1; i < sorted.size(); ++i)
      if (key(sorted[i - 1]) == key(sorted[i])) {
        outdone[sorted[i - 1]] = true;
        --count;
      }
    if (count != pairs.size()) {
      std::string kept;
      for (std::size_t i = 0; i < pairs.size(); ++i)
        if (!outdone[i]) kept.append(to_, pairs[i].at, pairs[i].end - pairs[i].at);
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
    if (bytes_only && count <= 0xffff) {  // Erlang writes any list of bytes so
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
    auto const [stopped, wrong] = std::from_chars(from, at_, integer);
    if (wrong != std::errc{} || stopped != at_) return big(*from == '-', {from + (*from == '-'), at_}, most);
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
      for (unsigned shift = 0; shift != 32; shift += 8) bytes.push_back(static_cast<char>(static_cast<unsigned char>(l >> shift)));
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

// ---- reading

/// Takes terms from bytes, one after the other. A member that answers false has found something else, or too little: the
/// whole is then to be given up.
class reader {
 public:
  reader(std::string_view bytes, bounds const& most) noexcept : rest_(bytes), most_(most) {}

  [[nodiscard]] bool done() const noexcept { return rest_.empty(); }
  /// The tag of the term that comes next; 0 at the end.
  [[nodiscard]] std::uint8_t peek() const noexcept {
    return rest_.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(rest_.front());
  }
  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }

  [[nodiscard]] bool tuple(std::uint32_t& arity) noexcept {
    return peek() == small_tuple ? take(1) && number(arity, 1) : peek() == large_tuple && take(1) && number(arity, 4);
  }
  [[nodiscard]] bool map(std::uint32_t& pairs) noexcept { return peek() == etf::map && take(1) && number(pairs, 4); }
  [[nodiscard]] bool binary(std::string_view& bytes) noexcept {
    std::uint32_t size = 0;
    return peek() == etf::binary && take(1) && number(size, 4) && cut(size, bytes);
  }
  [[nodiscard]] bool atom(std::string_view& text) noexcept {
    std::uint32_t size = 0;
    switch (peek()) {
      case atom_latin1:
      case atom_utf8: return take(1) && number(size, 2) && cut(size, text);
      case small_atom_latin1:
      case small_atom_utf8: return take(1) && number(size, 1) && cut(size, text);
      default: return false;
    }
  }
  /// An integer of up to 31 bits that is not negative.
  [[nodiscard]] bool uint31(std::uint32_t& n) noexcept {
    if (peek() == small_integer) return take(1) && number(n, 1);
    return peek() == integer && take(1) && number(n, 4) && n <= INT32_MAX;
  }
  [[nodiscard]] bool skip() noexcept { return skip(0); }

  /// The next term as JSON, appended: atoms are strings, but `nil`, `true` and `false`; keys are binaries, atoms or
  /// integers; a struct is a map that says so. What JSON cannot say (tuples, pids, bytes that are no UTF-8) is refused.
  [[nodiscard]] bool json(std::string& out) { return json(out, 0); }

 private:
  [[nodiscard]] bool take(std::size_t n) noexcept {
    if (rest_.size() < n) return false;
    rest_.remove_prefix(n);
    return true;
  }
  [[nodiscard]] bool cut(std::size_t n, std::string_view& part) noexcept {
    if (rest_.size() < n) return false;
    part = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return true;
  }
  [[nodiscard]] bool number(std::uint32_t& n, std::size_t bytes) noexcept {
    std::string_view raw;
    if (!cut(bytes, raw)) return false;
    n = 0;
    for (char const c : raw) n = n << 8 | static_cast<unsigned char>(c);
    return true;
  }
  [[nodiscard]] bool is_atom() const noexcept {
    std::uint8_t const t = peek();
    return t == atom_latin1 || t == atom_utf8 || t == small_atom_latin1 || t == small_atom_utf8;
  }

  [[nodiscard]] bool skip(std::uint32_t level) noexcept {
    std::uint32_t n = 0;
    std::string_view part;
    if (is_atom()) return atom(part);
    switch (peek()) {
      case small_integer: return take(2);
      case integer: return take(5);
      case new_float: return take(9);
      case small_big: return take(1) && number(n, 1) && take(std::size_t{n} + 1);
      case large_big: return take(1) && number(n, 4) && take(std::size_t{n} + 1);
      case nil: return take(1);
      case string: return take(1) && number(n, 2) && take(n);
      case etf::binary: return binary(part);
      case bit_binary: return take(1) && number(n, 4) && take(std::size_t{n} + 1);
      case new_pid: return take(1) && atom(part) && take(12);
      case pid: return take(1) && atom(part) && take(9);
      case newer_reference: return take(1) && number(n, 2) && atom(part) && take(4 + std::size_t{n} * 4);
      case new_reference: return take(1) && number(n, 2) && atom(part) && take(1 + std::size_t{n} * 4);
      default: break;
    }
    if (level == most_.depth) return false;
    std::uint64_t terms = 0;
    if (peek() == list) {
      if (!take(1) || !number(n, 4)) return false;
      terms = std::uint64_t{n} + 1;
    } else if (peek() == etf::map) {
      if (!map(n)) return false;
      terms = std::uint64_t{n} * 2;
    } else {
      if (!tuple(n)) return false;
      terms = n;
    }
    // Each of them takes a byte at least, so a count beyond what is there ends soon.
    for (; terms != 0; --terms)
      if (!skip(level + 1)) return false;
    return true;
  }

  /// @param out gets the text of an atom as UTF-8, which a latin1 one need not be.
  [[nodiscard]] bool atom_text(std::string& out) {
    bool const latin1 = peek() == atom_latin1 || peek() == small_atom_latin1;
    std::string_view text;
    if (!atom(text)) return false;
    if (!latin1) return out = text, phx::json::utf8(text);
    out.clear();
    for (char const c : text) {
      char wide[4];
      out.append(wide, phx::json::detail::write_utf8(static_cast<unsigned char>(c), wide));
    }
    return true;
  }
  [[nodiscard]] bool string_term(std::string& out) {
    std::string_view bytes;
    if (!binary(bytes) || !phx::json::utf8(bytes)) return false;
    phx::json::append_quoted(out, bytes);
    return true;
  }
  [[nodiscard]] bool integer_term(std::string& out) {
    std::uint32_t n = 0;
    if (peek() == small_integer) {
      if (!take(1) || !number(n, 1)) return false;
      out += std::to_string(n);
      return true;
    }
    if (peek() == integer) {
      if (!take(1) || !number(n, 4)) return false;
      out += std::to_string(static_cast<std::int32_t>(n));
      return true;
    }
    std::size_t const width = peek() == small_big ? 1 : 4;
    std::string_view sign, bytes;
    if (!take(1) || !number(n, width) || !cut(1, sign) || n > most_.integer_bytes || !cut(n, bytes)) return false;
    std::vector<std::uint32_t> limbs((bytes.size() + 3) / 4);
    for (std::size_t i = 0; i < bytes.size(); ++i)
      limbs[i / 4] |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * (i % 4));
    std::string digits;  // the last first
    for (;;) {
      while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
      if (limbs.empty()) break;
      std::uint64_t rest = 0;
      for (std::size_t i = limbs.size(); i-- != 0;) {
        rest = rest << 32 | limbs[i];
        limbs[i] = static_cast<std::uint32_t>(rest / 1'000'000'000);
        rest %= 1'000'000'000;
      }
      for (int i = 0; i < 9; ++i, rest /= 10) digits.push_back(static_cast<char>('0' + rest % 10));
    }
    while (!digits.empty() && digits.back() == '0') digits.pop_back();
    if (digits.empty()) return out.push_back('0'), true;
    if (sign[0] != '\0') out.push_back('-');
    out.append(digits.rbegin(), digits.rend());
    return true;
  }
  [[nodiscard]] bool float_term(std::string& out) {
    std::string_view raw;
    if (!take(1) || !cut(8, raw)) return false;
    std::uint64_t bits = 0;
    for (char const c : raw) bits = bits << 8 | static_cast<unsigned char>(c);
    double d;
    std::memcpy(&d, &bits, 8);
    if (!std::isfinite(d)) return false;
    char text[40];
    char* const end = std::to_chars(text, text + sizeof text, d).ptr;
    std::string_view const shortest(text, static_cast<std::size_t>(end - text));
    out += shortest;
    if (shortest.find_first_of(".e") == shortest.npos) out += ".0";  // a float stays one
    return true;
  }
  [[nodiscard]] bool json(std::string& out, std::uint32_t level) {
    std::string_view part;
    std::uint32_t n = 0;
    if (is_atom()) {
      std::string text;
      if (!atom_text(text)) return false;
      if (text == "nil") out += "null";
      else if (text == "true" || text == "false") out += text;
      else phx::json::append_quoted(out, text);
      return true;
    }
    switch (peek()) {
      case small_integer:
      case integer:
      case small_big:
      case large_big: return integer_term(out);
      case new_float: return float_term(out);
      case etf::binary: return string_term(out);
      case nil: return out += "[]", take(1);
      case string:
        if (!take(1) || !number(n, 2) || !cut(n, part)) return false;
        out.push_back('[');
        for (std::size_t i = 0; i < part.size(); ++i) {
          if (i != 0) out.push_back(',');
          out += std::to_string(static_cast<unsigned>(static_cast<unsigned char>(part[i])));
        }
        out.push_back(']');
        return true;
      default: break;
    }
    if (level == most_.depth) return false;
    if (peek() == list) {
      if (!take(1) || !number(n, 4)) return false;
      out.push_back('[');
      for (std::uint32_t i = 0; i < n; ++i) {
        if (i != 0) out.push_back(',');
        if (!json(out, level + 1)) return false;
      }
      out.push_back(']');
      return peek() == nil && take(1);
    }
    if (!map(n)) return false;
    out.push_back('{');
    for (std::uint32_t i = 0; i < n; ++i) {
      if (i != 0) out.push_back(',');
      if (!key(out)) return false;
      out.push_back(':');
      if (!json(out, level + 1)) return false;
    }
    out.push_back('}');
    return true;
  }
  [[nodiscard]] bool key(std::string& out) {
    if (is_atom()) {
      std::string text;
      if (!atom_text(text)) return false;
      phx::json::append_quoted(out, text);
      return true;
    }
    if (peek() == etf::binary) return string_term(out);
    if (peek() != small_integer && peek() != integer) return false;
    out.push_back('"');
    if (!integer_term(out)) return false;
    out.push_back('"');
    return true;
  }

  std::string_view rest_;
  bounds most_;
};

}  // namespace phx::inline PHX_BUILD::detail::etf

#endif

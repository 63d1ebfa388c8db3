#ifndef PHX_CORE_TEXT_JSON_SCANNER_HPP
#define PHX_CORE_TEXT_JSON_SCANNER_HPP
// The JSON scanner: validates one value and finds its end in one pass.
//
// JSON is RFC 8259 as Phoenix reads it: UTF-8 without a byte order mark, no lone surrogates in escapes, no raw control
// characters in strings, no number beyond a double. Looks at every byte once, allocates nothing, does not recurse.

#include <phx/core/error.hpp>
#include <phx/core/text/json_string.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace json {

/// The largest depth that can be configured: the scanner keeps one bit per open container on the stack.
inline constexpr std::uint32_t deepest = 16'384;

namespace detail {

using phx::detail::byte_block;
using phx::detail::every_byte;
using phx::detail::high_bits;
using phx::detail::load_word;
using phx::detail::multibyte_length;
using phx::detail::skip_multibyte;
using phx::detail::word_block;

[[nodiscard]] constexpr bool stops(unsigned char c) noexcept { return c < 0x20 || c == '"' || c == '\\' || c >= 0x80; }
[[nodiscard]] constexpr bool digit(char c) noexcept { return static_cast<unsigned char>(c - '0') < 10; }
[[nodiscard]] constexpr bool space(char c) noexcept { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

[[nodiscard]] inline char peek(char const* at, char const* end) noexcept { return at != end ? *at : '\0'; }

/// Skips spaces. @return the character at `at` then; NUL, which JSON does not allow anywhere, at the end.
[[nodiscard]] inline char skip_space(char const*& at, char const* end) noexcept {
  char next = peek(at, end);
  if (static_cast<unsigned char>(next) > ' ') return next;
  while (at != end && space(*at)) ++at;
  return peek(at, end);
}

/// True if the number [at, end), of valid grammar, rounds to infinity as a double. Decided on the digits, because strtod
/// depends on the locale, and not every standard library has from_chars for double.
[[nodiscard]] inline bool beyond_double(char const* at, char const* end) noexcept {
  // 2^1024 - 2^970: half way between the largest double and the next power of two. From here on numbers round to infinity.
  constexpr std::string_view first_beyond =
      "1797693134862315807937289714053034150799341327100378269361737789804449682927647509466490179775872070"
      "9633028641669288791094655554785194040263065748867150582068190890200070838367627385484581771153176447"
      "5730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880177904"
      "174497792";
  constexpr std::int64_t top = first_beyond.size() - 1;
  if (*at == '-') ++at;

  char const* significant = nullptr;  // the first digit that is not 0
  char const* exponent_at = end;
  std::int64_t magnitude = 0;  // the power of ten of that digit, once the exponent is added
  bool fraction = false;
  for (char const* d = at; d != end; ++d) {
    if (*d == '.') {
      fraction = true;
    } else if (*d == 'e' || *d == 'E') {
      exponent_at = d;
      break;
    } else if (significant == nullptr) {
      if (fraction) --magnitude;
      if (*d != '0') significant = d;
    } else if (!fraction) {
      ++magnitude;
    }
  }
  if (significant == nullptr) return false;
  if (exponent_at != end) {
    char const* d = exponent_at + 1;
    bool const negative = *d == '-';
    if (negative || *d == '+') ++d;
    std::int64_t exponent = 0;
    for (; d != end; ++d)
      if (exponent < std::int64_t{1} << 50) exponent = exponent * 10 + (*d - '0');  // no text has so many digits
    magnitude += negative ? -exponent : exponent;
  }
  if (magnitude != top) return magnitude > top;
  std::size_t compared = 0;
  for (char const* d = significant; d != exponent_at && compared < first_beyond.size(); ++d) {
    if (*d == '.') continue;
    if (*d != first_beyond[compared]) return *d > first_beyond[compared];
    ++compared;
  }
  return compared == first_beyond.size();  // a shorter prefix is below: the last digit of the bound is not 0
}

/// Scans one value. The functions return where it ends, or null; then `fault` and `stopped` are set.
/// @tparam Block how many bytes are looked at together; tests compare word_block and vector_block.
template <class Block>
class scanner_of {
 public:
  explicit scanner_of(char const* end, std::uint32_t depth) noexcept
      : end_(end), depth_(depth < deepest ? depth : deepest) {}

  errc fault = errc::none;
  char const* stopped = nullptr;  ///< where the fault is: everything before is valid, and it is a character boundary
  bool escaped = false;           ///< a string had a backslash since the caller last cleared this

  /// Scans a string. @param at after the opening quote.
  [[nodiscard]] char const* string(char const* at) noexcept {
    if (room(at) >= Block::size) {  // most strings end here
      std::size_t const run = Block::find_stop(at);
      if (run != Block::size && at[run] == '"') return at + run + 1;
    }
    return long_string(at);
  }

  /// Scans a value. @param at its first character, after any spaces. @param first that character; NUL at the end.
  [[nodiscard]] char const* value(char const* at, char first) noexcept {
    if (first == '"') return string(at + 1);
    return first == '{' || first == '[' ? container(at) : scalar(at, first);
  }

 private:
  [[nodiscard]] char const* refuse(char const* at, errc ec) noexcept {
    fault = ec;
    stopped = at;
    return nullptr;
  }
  [[nodiscard]] std::size_t room(char const* at) const noexcept { return static_cast<std::size_t>(end_ - at); }

  [[nodiscard]] char const* long_string(char const* at) noexcept {
    for (;;) {
      std::size_t run = Block::size;
      while (room(at) >= 2 * Block::size && Block::two_pass(at)) at += 2 * Block::size;
      while (room(at) >= Block::size && (run = Block::find_stop(at)) == Block::size) at += Block::size;
      if (run != Block::size) {
        at += run;
      } else {
        if (room(at) >= word_block::size) at += word_block::find_stop(at);
        while (at != end_ && !stops(static_cast<unsigned char>(*at))) ++at;
      }
      if (at == end_) return refuse(at, errc::not_json);
      if (*at == '"') return at + 1;
      if (*at == '\\') {
        std::size_t const length = read_escape(at, end_).length;
        if (length == 0) return refuse(at, errc::not_json);
        escaped = true;
        at += length;
        continue;
      }
      if (static_cast<unsigned char>(*at) < 0x20) return refuse(at, errc::not_json);
      at = skip_multibyte<true>(at, end_);
      while (at != end_ && static_cast<unsigned char>(*at) >= 0x80) {
        std::size_t const length = multibyte_length(at, end_);
        if (length == 0) return refuse(at, errc::invalid_utf8);
        at += length;
      }
    }
  }

  [[nodiscard]] char const* container(char const* at) noexcept {
    // One bit per open container, 1 for an object: the innermost 64 in a register, the outer ones in this array.
    std::uint64_t outer[deepest / 64];
    std::uint64_t open = 0;
    std::uint32_t level = 0;
    for (;;) {
      char const first = skip_space(at, end_);
      if (first == '"') {
        at = string(at + 1);
        if (at == nullptr) return nullptr;
      } else if (first == '{' || first == '[') {
        if (level == depth_) return refuse(at, errc::too_deep);
        if (level != 0 && level % 64 == 0) outer[level / 64 - 1] = open;
        open = open << 1 | (first == '{');
        ++level;
        if (skip_space(++at, end_) != first + 2) {  // in ASCII the closing bracket is the opening one plus 2
          if (first == '{' && (at = key(at)) == nullptr) return nullptr;
          continue;
        }
      } else {
        at = scalar(at, first);
        if (at == nullptr) return nullptr;
      }
      for (;;) {  // after a value: a comma and the next value, or the end of the container
        char const next = skip_space(at, end_);
        bool const object = (open & 1) != 0;
        if (next == ',') {
          ++at;
          if (object && (at = key(at)) == nullptr) return nullptr;
          break;
        }
        if (next != (object ? '}' : ']')) return refuse(at, errc::not_json);
        ++at;
        if (--level == 0) return at;
        open = level % 64 == 0 ? outer[level / 64 - 1] : open >> 1;
      }
    }
  }

  /// Scans a key and its colon.
  [[nodiscard]] char const* key(char const* at) noexcept {
    if (skip_space(at, end_) != '"') return refuse(at, errc::not_json);
    at = string(at + 1);
    if (at == nullptr) return nullptr;
    if (skip_space(at, end_) != ':') return refuse(at, errc::not_json);
    return at + 1;
  }

  [[nodiscard]] char const* scalar(char const* at, char first) noexcept {
    switch (first) {
      case 't': return literal(at, "true");
      case 'f': return literal(at, "false");
      case 'n': return literal(at, "null");
      default: return number(at);
    }
  }

  [[nodiscard]] char const* literal(char const* at, std::string_view text) noexcept {
    if (static_cast<std::size_t>(end_ - at) < text.size() || std::memcmp(at, text.data(), text.size()) != 0)
      return refuse(at, errc::not_json);
    return at + text.size();
  }

  [[nodiscard]] char const* number(char const* at) noexcept {
    char const* const first = at;
    if (peek(at, end_) == '-') ++at;
    char const* const whole = at;
    at = digits(at);
    if (at == whole || (*whole == '0' && at - whole > 1)) return refuse(at, errc::not_json);
    bool check = at - whole > 308;
    if (peek(at, end_) == '.') {
      char const* const from = at + 1;
      at = digits(from);
      if (at == from) return refuse(at, errc::not_json);
    }
    if (char const e = peek(at, end_); e == 'e' || e == 'E') {
      char const* from = at + 1;
      if (char const sign = peek(from, end_); sign == '+' || sign == '-') ++from;
      at = digits(from);
      if (at == from) return refuse(at, errc::not_json);
      check |= at - from > 2 || at - whole > 200;  // otherwise at most 1e(200 + 99)
    }
    if (check && beyond_double(first, at)) return refuse(at, errc::not_json);
    return at;
  }
  [[nodiscard]] char const* digits(char const* at) const noexcept {
    while (room(at) >= 8) {
      // Sets the high bit of each byte that is not a digit; the lowest bit set is exact.
      std::uint64_t const value = load_word(at) ^ every_byte * '0';
      std::uint64_t const other = ((value + every_byte * (0x80 - 10)) | value) & high_bits;
      if (other != 0) return at + (std::countr_zero(other) >> 3);
      at += 8;
    }
    while (at != end_ && digit(*at)) ++at;
    return at;
  }

  char const* end_;
  std::uint32_t depth_;
};
using scanner = scanner_of<byte_block>;

}  // namespace detail
}  // namespace json
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CORE_TEXT_JSON_HPP
#define PHX_CORE_TEXT_JSON_HPP
// Reading JSON text without building anything: validate, find where a value ends, compare, unescape and quote strings.
//
// JSON here is RFC 8259 as Phoenix reads it: UTF-8 without a byte order mark, no lone surrogates in escapes, no raw control
// characters, no number beyond a double. Every byte is looked at once, nothing is allocated, nothing recurses.

#include <phx/core/error.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif

namespace phx {
inline namespace PHX_BUILD {
namespace json {

/// No depth beyond this can be configured: the scanner keeps one bit per open container on the stack.
inline constexpr std::uint32_t deepest = 16'384;

namespace detail {

inline constexpr std::uint64_t every_byte = 0x0101010101010101;
inline constexpr std::uint64_t high_bits = every_byte * 0x80;

/// Eight bytes, the first of them lowest.
[[nodiscard]] inline std::uint64_t eight(char const* at) noexcept {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  if constexpr (std::endian::native == std::endian::big) {
    std::uint64_t swapped = 0;
    for (int i = 0; i < 8; ++i) swapped |= (word >> (8 * i) & 0xff) << (56 - 8 * i);
    word = swapped;
  }
  return word;
}

/// The high bit of each byte that is a quote, a backslash or a control character; those of multi-byte characters are noise.
/// The lowest is exact, those above it may be carries.
[[nodiscard]] constexpr std::uint64_t ascii_stops(std::uint64_t word) noexcept {
  return (word - every_byte * 0x20) | ((word ^ every_byte * '"') - every_byte) | ((word ^ every_byte * '\\') - every_byte);
}
/// The high bit of each byte that a string scan must stop at: a quote, a backslash, a control character, the first of a
/// multi-byte character; exact as above.
[[nodiscard]] constexpr std::uint64_t stops(std::uint64_t word) noexcept { return (ascii_stops(word) | word) & high_bits; }

/// Bytes looked at together: eight in a word, on any machine. `find_stop` and `find_wide` answer how many bytes come before
/// the first that a string scan must stop at, or before the first of a multi-byte character; `size` if there is none.
/// `two_pass`: two blocks have nothing to stop at.
struct word_block {
  static constexpr std::size_t size = 8;
  [[nodiscard]] static bool two_pass(char const* at) noexcept { return (stops(eight(at)) | stops(eight(at + 8))) == 0; }
  [[nodiscard]] static std::size_t find_stop(char const* at) noexcept { return first(stops(eight(at))); }
  [[nodiscard]] static std::size_t find_wide(char const* at) noexcept { return first(eight(at) & high_bits); }

 private:
  [[nodiscard]] static std::size_t first(std::uint64_t found) noexcept {
    return static_cast<std::size_t>(std::countr_zero(found)) >> 3;
  }
};
#if defined(__SSE2__) || defined(_M_X64)
/// Sixteen in a vector, which every x86-64 has. Nothing wider: what is worth scanning here is mostly shorter.
struct vector_block {
  static constexpr std::size_t size = 16;
  [[nodiscard]] static bool two_pass(char const* at) noexcept {
    return _mm_movemask_epi8(_mm_or_si128(stopping(load(at)), stopping(load(at + 16)))) == 0;
  }
  [[nodiscard]] static std::size_t find_stop(char const* at) noexcept { return first(stopping(load(at))); }
  [[nodiscard]] static std::size_t find_wide(char const* at) noexcept { return first(load(at)); }

 private:
  [[nodiscard]] static __m128i stopping(__m128i bytes) noexcept {
    // As signed bytes those of multi-byte characters are below the space, as control characters are.
    __m128i const low = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
    __m128i const quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
    __m128i const backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
    return _mm_or_si128(low, _mm_or_si128(quote, backslash));
  }
  [[nodiscard]] static __m128i load(char const* at) noexcept {
    __m128i bytes;
    std::memcpy(&bytes, at, sizeof(bytes));
    return bytes;
  }
  [[nodiscard]] static std::size_t first(__m128i found) noexcept {
    return static_cast<std::size_t>(std::countr_zero(static_cast<unsigned>(_mm_movemask_epi8(found)) | 0x10000u));
  }
};
using block = vector_block;
#else
using block = word_block;
#endif

[[nodiscard]] constexpr bool stops(unsigned char c) noexcept { return c < 0x20 || c == '"' || c == '\\' || c >= 0x80; }
[[nodiscard]] constexpr bool digit(char c) noexcept { return static_cast<unsigned char>(c - '0') < 10; }
[[nodiscard]] constexpr bool space(char c) noexcept { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

[[nodiscard]] inline char peek(char const* at, char const* end) noexcept { return at != end ? *at : '\0'; }

/// What stands at `at` once the spaces there are skipped; NUL, which stands nowhere in JSON, at the end.
[[nodiscard]] inline char skip_space(char const*& at, char const* end) noexcept {
  char next = peek(at, end);
  if (static_cast<unsigned char>(next) > ' ') return next;
  while (at != end && space(*at)) ++at;
  return peek(at, end);
}

/// Bytes of the multi-byte character at `at`, 0 if that is none: no overlong form, no surrogate, nothing above U+10FFFF.
[[nodiscard]] inline std::size_t multibyte(char const* at, char const* end) noexcept {
  auto const byte = [&](std::ptrdiff_t i) { return static_cast<unsigned char>(at[i]); };
  auto const follows = [&](std::ptrdiff_t i) { return (byte(i) & 0xc0) == 0x80; };
  unsigned char const lead = byte(0);
  std::ptrdiff_t const room = end - at;
  if (lead < 0xe0) return lead >= 0xc2 && room >= 2 && follows(1) ? 2 : 0;
  if (lead < 0xf0) {
    if (room < 3 || !follows(1) || !follows(2)) return 0;
    return (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xed && byte(1) > 0x9f) ? 0 : 3;
  }
  if (lead > 0xf4 || room < 4 || !follows(1) || !follows(2) || !follows(3)) return 0;
  return (lead == 0xf0 && byte(1) < 0x90) || (lead == 0xf4 && byte(1) > 0x8f) ? 0 : 4;
}

/// Goes on from a character boundary over text with multi-byte characters, eight bytes at a time, as long as they are
/// plainly UTF-8 and, `in_string`, hold nothing that ends a run of characters in a string. Stops on a boundary. Leads whose
/// next byte has a range of its own (E0, ED, F0 and above), and the two that are never right, are left to multibyte().
template <bool in_string>
[[nodiscard]] inline char const* skip_multibyte(char const* at, char const* end) noexcept {
  constexpr auto has = [](std::uint64_t word, std::uint64_t byte) {
    std::uint64_t const zero = word ^ every_byte * byte;
    return (zero - every_byte) & ~zero & high_bits;
  };
  std::uint64_t due = 0;  // the bytes of the next word that have to be continuations
  while (end - at >= 8) {
    std::uint64_t const word = eight(at);
    std::uint64_t const wide = word & high_bits;
    std::uint64_t const lead = wide & word << 1, lead3 = lead & word << 2, lead4 = lead3 & word << 3;
    std::uint64_t const odd = lead4 | has(word, 0xe0) | has(word, 0xed) | has(word & every_byte * 0xfe, 0xc0);
    if ((in_string && (ascii_stops(word) & ~word & high_bits) != 0) || odd != 0 || wide == 0) break;
    if ((wide & ~lead) != (due | lead << 8 | lead3 << 16)) break;
    due = lead >> 56 | lead3 >> 48;
    at += 8;
  }
  if (due != 0)
    while ((static_cast<unsigned char>(*--at) & 0xc0) == 0x80) {
    }
  return at;
}

/// The UTF-16 unit of four hex digits, or more than 0xffff.
[[nodiscard]] inline std::uint32_t hex4(char const* at) noexcept {
  constexpr auto values = [] {
    std::array<std::uint8_t, 256> table{};
    for (unsigned c = 0; c < 256; ++c)
      table[c] = c >= '0' && c <= '9'   ? static_cast<std::uint8_t>(c - '0')
                 : c >= 'a' && c <= 'f' ? static_cast<std::uint8_t>(c - 'a' + 10)
                 : c >= 'A' && c <= 'F' ? static_cast<std::uint8_t>(c - 'A' + 10)
                                        : std::uint8_t{0xff};
    return table;
  }();
  std::uint32_t unit = 0, bad = 0;
  for (int i = 0; i < 4; ++i) {
    std::uint32_t const value = values[static_cast<unsigned char>(at[i])];
    bad |= value & 0xf0;
    unit = unit << 4 | (value & 0x0f);
  }
  return unit | bad << 16;
}

/// What the escape at `at` (a backslash) stands for. `length` is 0 if it is none.
struct escape {
  char32_t character = 0;
  std::size_t length = 0;
};
[[nodiscard]] inline escape read_escape(char const* at, char const* end) noexcept {
  if (end - at < 2) return {};
  switch (at[1]) {
    case '"': return {U'"', 2};
    case '\\': return {U'\\', 2};
    case '/': return {U'/', 2};
    case 'b': return {U'\b', 2};
    case 'f': return {U'\f', 2};
    case 'n': return {U'\n', 2};
    case 'r': return {U'\r', 2};
    case 't': return {U'\t', 2};
    case 'u': break;
    default: return {};
  }
  if (end - at < 6) return {};
  std::uint32_t const unit = hex4(at + 2);
  if (unit > 0xffff) return {};
  if (unit < 0xd800 || unit > 0xdfff) return {static_cast<char32_t>(unit), 6};
  if (unit > 0xdbff || end - at < 12 || at[6] != '\\' || at[7] != 'u') return {};
  std::uint32_t const low = hex4(at + 8);
  if (low < 0xdc00 || low > 0xdfff) return {};
  return {static_cast<char32_t>(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)), 12};
}

/// `c` as UTF-8; how many bytes.
[[nodiscard]] inline std::size_t write_utf8(char32_t c, char* out) noexcept {
  auto const put = [&](int i, char32_t bits) { out[i] = static_cast<char>(static_cast<unsigned char>(bits)); };
  if (c < 0x80) {
    put(0, c);
    return 1;
  }
  if (c < 0x800) {
    put(0, 0xc0 | c >> 6);
    put(1, 0x80 | (c & 0x3f));
    return 2;
  }
  if (c < 0x10000) {
    put(0, 0xe0 | c >> 12);
    put(1, 0x80 | (c >> 6 & 0x3f));
    put(2, 0x80 | (c & 0x3f));
    return 3;
  }
  put(0, 0xf0 | c >> 18);
  put(1, 0x80 | (c >> 12 & 0x3f));
  put(2, 0x80 | (c >> 6 & 0x3f));
  put(3, 0x80 | (c & 0x3f));
  return 4;
}

/// Does the number [at, end), of correct grammar, round to infinity as a double? Done on the digits: strtod follows the
/// locale, and not every standard library we build with has from_chars for double.
[[nodiscard]] inline bool beyond_double(char const* at, char const* end) noexcept {
  // 2^1024 - 2^970, half way from the largest double to the next that would be: from here on it rounds to infinity.
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

/// One pass over one value. The functions answer where it ends; null, with `fault` and `stopped` set, where there is none.
/// @tparam Block what bytes are looked at in; only tests name it.
template <class Block>
class scanner_of {
 public:
  explicit scanner_of(char const* end, std::uint32_t depth) noexcept
      : end_(end), depth_(depth < deepest ? depth : deepest) {}

  errc fault = errc::none;
  char const* stopped = nullptr;  ///< where the fault is: before it all is right, and it is no character's middle
  bool escaped = false;           ///< a string since this was last cleared had a backslash in it

  /// @param at behind the opening quote.
  [[nodiscard]] char const* string(char const* at) noexcept {
    if (room(at) >= Block::size) {  // most strings end here
      std::size_t const run = Block::find_stop(at);
      if (run != Block::size && at[run] == '"') return at + run + 1;
    }
    return long_string(at);
  }

  /// @param at where the value begins, spaces skipped. @param first what stands there.
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
        std::size_t const length = multibyte(at, end_);
        if (length == 0) return refuse(at, errc::invalid_utf8);
        at += length;
      }
    }
  }

  [[nodiscard]] char const* container(char const* at) noexcept {
    // One bit per open container, 1 for an object; 64 of them in a register, the outer ones spilt here.
    std::uint64_t spilt[deepest / 64];
    std::uint64_t open = 0;
    std::uint32_t level = 0;
    for (;;) {
      char const first = skip_space(at, end_);
      if (first == '"') {
        at = string(at + 1);
        if (at == nullptr) return nullptr;
      } else if (first == '{' || first == '[') {
        if (level == depth_) return refuse(at, errc::too_deep);
        if (level != 0 && level % 64 == 0) spilt[level / 64 - 1] = open;
        open = open << 1 | (first == '{');
        ++level;
        if (skip_space(++at, end_) != first + 2) {  // in ASCII a container's end is two behind its beginning
          if (first == '{' && (at = key(at)) == nullptr) return nullptr;
          continue;
        }
      } else {
        at = scalar(at, first);
        if (at == nullptr) return nullptr;
      }
      for (;;) {  // behind a value: a comma and the next one, or the end of what holds it
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
        open = level % 64 == 0 ? spilt[level / 64 - 1] : open >> 1;
      }
    }
  }

  /// A key and its colon.
  [[nodiscard]] char const* key(char const* at) noexcept {
    if (skip_space(at, end_) != '"') return refuse(at, errc::not_json);
    at = string(at + 1);
    if (at == nullptr) return nullptr;
    if (skip_space(at, end_) != ':') return refuse(at, errc::not_json);
    return at + 1;
  }

  [[nodiscard]] char const* scalar(char const* at, char first) noexcept {
    switch (first) {
      case 't': return word(at, "true");
      case 'f': return word(at, "false");
      case 'n': return word(at, "null");
      default: return number(at);
    }
  }

  [[nodiscard]] char const* word(char const* at, std::string_view text) noexcept {
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
      check |= at - from > 2 || at - whole > 200;  // below: not more than 1e(200 + 99)
    }
    if (check && beyond_double(first, at)) return refuse(at, errc::not_json);
    return at;
  }
  [[nodiscard]] char const* digits(char const* at) const noexcept {
    while (room(at) >= 8) {
      // The high bit of each byte that is no digit; the lowest is exact.
      std::uint64_t const value = eight(at) ^ every_byte * '0';
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
using scanner = scanner_of<block>;

/// The bytes a string token stands for, one after the other.
class unescaped {
 public:
  /// @param inner a token without its quotes.
  explicit unescaped(std::string_view inner) noexcept : at_(inner.data()), end_(inner.data() + inner.size()) {}
  /// The next byte; -1 at the end.
  [[nodiscard]] int next() noexcept {
    if (held_ != count_) return static_cast<unsigned char>(bytes_[held_++]);
    if (at_ == end_) return -1;
    escape const e = *at_ == '\\' ? read_escape(at_, end_) : escape{};
    if (e.length == 0) return static_cast<unsigned char>(*at_++);
    at_ += e.length;
    count_ = write_utf8(e.character, bytes_);
    held_ = 1;
    return static_cast<unsigned char>(bytes_[0]);
  }

 private:
  char const* at_;
  char const* end_;
  char bytes_[4] = {};
  std::size_t held_ = 0, count_ = 0;
};

}  // namespace detail

/// Is all of `text` UTF-8?
[[nodiscard]] inline bool utf8(std::string_view text) noexcept {
  using detail::block;
  char const* at = text.data();
  char const* const end = at + text.size();
  while (at != end) {
    if (static_cast<std::size_t>(end - at) >= block::size) {
      std::size_t const plain = block::find_wide(at);
      at += plain;
      if (plain == block::size) continue;
    } else if (static_cast<unsigned char>(*at) < 0x80) {
      ++at;
      continue;
    }
    at = detail::skip_multibyte<false>(at, end);
    while (at != end && static_cast<unsigned char>(*at) >= 0x80) {
      std::size_t const length = detail::multibyte(at, end);
      if (length == 0) return false;
      at += length;
    }
  }
  return true;
}

/// Walks text of which the caller knows the outer shape, and validates each value in it in the one pass that finds its end:
/// @code
///   json::cursor c(frame, 1024);
///   if (!c.take('[') || !c.value(ref) || !c.take(',') || ...) return c.fault();
/// @endcode
/// The text need not be UTF-8 yet: every byte of a value is checked, and between values only ASCII can stand.
class cursor {
 public:
  /// @param depth how deep each *value* may nest; the shape the caller walks does not count. At most json::deepest.
  cursor(std::string_view text, std::uint32_t depth) noexcept
      : at_(text.data()), end_(text.data() + text.size()), scan_(end_, depth) {}

  /// Takes `c` if it is what comes next behind spaces.
  [[nodiscard]] bool take(char c) noexcept {
    if (detail::skip_space(at_, end_) != c || at_ == end_) return false;
    ++at_;
    return true;
  }
  /// Takes one whole value, `raw` its text without the spaces around. False if there is none: fault() says why.
  [[nodiscard]] bool value(std::string_view& raw) noexcept {
    char const first = detail::skip_space(at_, end_);
    scan_.escaped = false;
    char const* const behind = scan_.value(at_, first);
    if (behind == nullptr) return false;
    raw = {at_, static_cast<std::size_t>(behind - at_)};
    at_ = behind;
    return true;
  }
  /// Takes a short string without escapes that has a comma right behind it, as clients write all that stands before a
  /// payload. False, and nothing taken, where there is anything else: value() and take() then say what.
  [[nodiscard]] bool compact_string(std::string_view& raw) noexcept {
    if (static_cast<std::size_t>(end_ - at_) < detail::block::size + 2 || *at_ != '"') return false;
    std::size_t const run = detail::block::find_stop(at_ + 1);
    if (run == detail::block::size || at_[run + 1] != '"' || at_[run + 2] != ',') return false;
    raw = {at_, run + 2};
    at_ += run + 3;
    return true;
  }
  /// Nothing but spaces is left.
  [[nodiscard]] bool done() noexcept {
    static_cast<void>(detail::skip_space(at_, end_));
    return at_ == end_;
  }
  /// Had the last value no escape anywhere? A string token then stands for its own bytes.
  [[nodiscard]] bool plain() const noexcept { return !scan_.escaped; }
  /// not_json, too_deep or invalid_utf8 after value() failed, else none. The first fault counts.
  [[nodiscard]] errc fault() const noexcept { return scan_.fault; }
  /// The same for a text that closes its connection: invalid_utf8 anywhere outranks the rest (protocol 3.6). Looks only at
  /// what has not been looked at yet. To be asked once value(), or a take() or done() without which the text is no JSON,
  /// said no.
  [[nodiscard]] errc refusal() const noexcept {
    if (scan_.fault == errc::invalid_utf8) return errc::invalid_utf8;
    char const* const from = scan_.fault == errc::none ? at_ : scan_.stopped;
    if (!utf8({from, static_cast<std::size_t>(end_ - from)})) return errc::invalid_utf8;
    return scan_.fault == errc::none ? errc::not_json : scan_.fault;
  }

 private:
  char const* at_;
  char const* end_;
  detail::scanner scan_;
};

/// Why `text` is not one JSON value of at most `depth` nested arrays and objects: not_json, too_deep, invalid_utf8; none if
/// it is. The first fault counts.
[[nodiscard]] inline errc check(std::string_view text, std::uint32_t depth = 1024) noexcept {
  cursor c(text, depth);
  std::string_view raw;
  if (!c.value(raw)) return c.fault();
  return c.done() ? errc::none : errc::not_json;
}
[[nodiscard]] inline bool valid(std::string_view text, std::uint32_t depth = 1024) noexcept {
  return check(text, depth) == errc::none;
}

/// A *token* is the text of one valid value, without spaces around.
[[nodiscard]] inline bool is_string(std::string_view token) noexcept {
  return token.size() >= 2 && token.front() == '"' && token.back() == '"';
}
/// A string that stands for its own bytes: no escape in it.
[[nodiscard]] inline bool plain(std::string_view token) noexcept {
  return is_string(token) && std::memchr(token.data(), '\\', token.size()) == nullptr;
}

/// The string a token stands for, as UTF-8. @param out room for token.size() - 2 bytes. @return how many it took.
/// @pre is_string(token)
[[nodiscard]] inline std::size_t unescape(std::string_view token, char* out) noexcept {
  char const* at = token.data() + 1;
  char const* const end = token.data() + token.size() - 1;
  char* to = out;
  while (at != end) {
    void const* const found = std::memchr(at, '\\', static_cast<std::size_t>(end - at));
    char const* const stop = found == nullptr ? end : static_cast<char const*>(found);
    std::size_t const run = static_cast<std::size_t>(stop - at);
    if (run != 0) std::memcpy(to, at, run);
    to += run;
    at = stop;
    while (at != end && *at == '\\') {
      detail::escape const e = detail::read_escape(at, end);
      if (e.length == 0) return static_cast<std::size_t>(to - out);  // not a token
      to += detail::write_utf8(e.character, to);
      at += e.length;
    }
  }
  return static_cast<std::size_t>(to - out);
}

/// Are both tokens strings, and the same one once unescaped?
[[nodiscard]] inline bool same_string(std::string_view a, std::string_view b) noexcept {
  if (!is_string(a) || !is_string(b)) return false;
  if (a == b) return true;
  if (plain(a) && plain(b)) return false;
  detail::unescaped left(a.substr(1, a.size() - 2)), right(b.substr(1, b.size() - 2));
  for (;;) {
    int const byte = left.next();
    if (byte != right.next()) return false;
    if (byte < 0) return true;
  }
}

/// Bytes that quote() writes for `text`.
[[nodiscard]] inline std::size_t quoted_size(std::string_view text) noexcept {
  std::size_t size = text.size() + 2;
  for (char const c : text) {
    auto const byte = static_cast<unsigned char>(c);
    if (byte == '"' || byte == '\\' || byte == '\n' || byte == '\r' || byte == '\t' || byte == '\b' || byte == '\f')
      size += 1;
    else if (byte < 0x20)
      size += 5;
  }
  return size;
}
/// Writes `text` as a string token with no needless escapes: `"`, `\` and control characters only.
/// @pre `text` is UTF-8, `out` has room for quoted_size(text) bytes.
inline void quote(std::string_view text, char* out) noexcept {
  constexpr std::string_view digits = "0123456789abcdef";
  auto const put = [&](char c) { *out++ = c; };
  auto const escaped = [&](char c) {
    put('\\');
    put(c);
  };
  put('"');
  for (char const c : text) {
    switch (c) {
      case '"': escaped('"'); break;
      case '\\': escaped('\\'); break;
      case '\n': escaped('n'); break;
      case '\r': escaped('r'); break;
      case '\t': escaped('t'); break;
      case '\b': escaped('b'); break;
      case '\f': escaped('f'); break;
      default: {
        auto const byte = static_cast<unsigned char>(c);
        if (byte >= 0x20) {
          put(c);
          break;
        }
        escaped('u');
        put('0');
        put('0');
        put(digits[byte >> 4]);
        put(digits[byte & 15]);
      }
    }
  }
  put('"');
}
/// The same, behind what `out` holds. May throw what its allocation throws.
inline void append_quoted(std::string& out, std::string_view text) {
  std::size_t const at = out.size();
  out.resize(at + quoted_size(text));
  quote(text, out.data() + at);
}

}  // namespace json
}  // namespace PHX_BUILD
}  // namespace phx

#endif

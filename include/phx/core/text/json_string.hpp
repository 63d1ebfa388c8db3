#ifndef PHX_CORE_TEXT_JSON_STRING_HPP
#define PHX_CORE_TEXT_JSON_STRING_HPP
// JSON strings: read escapes, unescape, compare, quote. The only quoter of phx.

#include <phx/core/text/ascii.hpp>
#include <phx/core/text/utf8.hpp>

#include <cstdint>
#include <string>

namespace phx {
inline namespace PHX_BUILD {
namespace json {

namespace detail {

/// The UTF-16 unit of four hex digits; more than 0xffff if one of them is not a hex digit.
[[nodiscard]] inline std::uint32_t hex4(char const* at) noexcept {
  std::uint32_t unit = 0;
  // hex_value of anything else is -1: all bits set, and some stay set above the low 16
  for (int i = 0; i < 4; ++i) unit = unit << 4 | static_cast<std::uint32_t>(phx::detail::hex_value(at[i]));
  return unit;
}

using phx::detail::write_utf8;

/// The character of an escape sequence, and its length; 0 if it is invalid.
struct escape {
  char32_t character = 0;
  std::size_t length = 0;
};
/// Reads the escape at `at`, which is a backslash.
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

/// Reads the bytes of a JSON string one by one, unescaped.
class unescaped {
 public:
  /// @param inner a JSON string without its quotes.
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

/// Appends `text` as a JSON string, in pieces: `append` is called with characters and texts. Escapes only what it must: `"`, `\`
/// and control characters.
template <class Append>
inline void append_quoted_pieces(std::string_view text, Append&& append) {
  constexpr std::string_view digits = "0123456789abcdef";
  append('"');
  std::size_t from = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto const c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    append(text.substr(from, i - from));
    from = i + 1;
    append('\\');
    switch (c) {
      case '"': append('"'); break;
      case '\\': append('\\'); break;
      case '\n': append('n'); break;
      case '\r': append('r'); break;
      case '\t': append('t'); break;
      case '\b': append('b'); break;
      case '\f': append('f'); break;
      default:
        append(std::string_view("u00"));
        append(digits[c >> 4]);
        append(digits[c & 15]);
    }
  }
  append(text.substr(from));
  append('"');
}

}  // namespace detail

/// True if `value`, the text of a valid JSON value without spaces around it, is a string.
[[nodiscard]] inline bool is_string(std::string_view value) noexcept {
  return value.size() >= 2 && value.front() == '"' && value.back() == '"';
}
/// True if `value` is a string without escapes: the bytes between its quotes are its text.
[[nodiscard]] inline bool plain(std::string_view value) noexcept {
  return is_string(value) && std::memchr(value.data(), '\\', value.size()) == nullptr;
}

/// Writes the text of a JSON string as UTF-8. @param string with its quotes. @param out room for string.size() - 2 bytes.
/// @return the number of bytes written. @pre is_string(string)
[[nodiscard]] inline std::size_t unescape(std::string_view string, char* out) noexcept {
  char const* at = string.data() + 1;
  char const* const end = string.data() + string.size() - 1;
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
      if (e.length == 0) return static_cast<std::size_t>(to - out);  // not a JSON string
      to += detail::write_utf8(e.character, to);
      at += e.length;
    }
  }
  return static_cast<std::size_t>(to - out);
}

/// True if both are JSON strings of the same text, however it is escaped. @par Cost: allocates nothing.
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

/// The number of bytes that quote() writes for `text`.
[[nodiscard]] inline std::size_t quoted_size(std::string_view text) noexcept {
  struct counter {
    std::size_t size = 0;
    void operator()(char) noexcept { ++size; }
    void operator()(std::string_view piece) noexcept { size += piece.size(); }
  } count;
  detail::append_quoted_pieces(text, count);
  return count.size;
}
/// Writes `text` as a JSON string. Escapes only `"`, `\` and control characters.
/// @pre `text` is UTF-8, `out` has room for quoted_size(text) bytes.
inline void quote(std::string_view text, char* out) noexcept {
  struct writer {
    char* to;
    void operator()(char c) noexcept { *to++ = c; }
    void operator()(std::string_view piece) noexcept {
      if (!piece.empty()) std::memcpy(to, piece.data(), piece.size());
      to += piece.size();
    }
  };
  detail::append_quoted_pieces(text, writer{out});
}
/// Appends `text` as a JSON string to `out`. @par Errors: std::bad_alloc.
inline void append_quoted(std::string& out, std::string_view text) {
  std::size_t const at = out.size();
  out.resize(at + quoted_size(text));
  quote(text, out.data() + at);
}

}  // namespace json
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CORE_TEXT_UTF8_HPP
#define PHX_CORE_TEXT_UTF8_HPP
// UTF-8 (RFC 3629): validate, write, cut. The only validator of phx.

#include <phx/core/text/byte_block.hpp>

#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// The length of the multi-byte character at `at`; 0 if it is invalid: an overlong form, a surrogate, above U+10FFFF, or cut.
/// @pre `at` is not `end`, and its byte is above 0x7f.
[[nodiscard]] inline std::size_t multibyte_length(char const* at, char const* end) noexcept {
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

/// Skips valid text with multi-byte characters, eight bytes at a time, from one character boundary to another. Stops early at a
/// word that needs a closer look: one with a lead byte whose next byte has a range of its own (E0, ED, F0 and above) or that is
/// always invalid (C0, C1), or without multi-byte characters. multibyte_length decides those.
/// @tparam in_string stop before a quote, a backslash or a control character, too.
template <bool in_string>
[[nodiscard]] inline char const* skip_multibyte(char const* at, char const* end) noexcept {
  constexpr auto has = [](std::uint64_t word, std::uint64_t byte) {
    std::uint64_t const zero = word ^ every_byte * byte;
    return (zero - every_byte) & ~zero & high_bits;
  };
  std::uint64_t due = 0;  // the bytes of the next word that must be continuations
  while (end - at >= 8) {
    std::uint64_t const word = load_word(at);
    std::uint64_t const wide = word & high_bits;
    std::uint64_t const lead = wide & word << 1, lead3 = lead & word << 2, lead4 = lead3 & word << 3;
    std::uint64_t const odd = lead4 | has(word, 0xe0) | has(word, 0xed) | has(word & every_byte * 0xfe, 0xc0);
    if ((in_string && (ascii_stops(word) & ~word & high_bits) != 0) || odd != 0 || wide == 0) break;
    if ((wide & ~lead) != (due | lead << 8 | lead3 << 16)) break;
    due = lead >> 56 | lead3 >> 48;
    at += 8;
  }
  if (due != 0)  // the last word ended inside a character: go back to its lead
    while ((static_cast<unsigned char>(*--at) & 0xc0) == 0x80) {
    }
  return at;
}

/// True if all of `text` is UTF-8. @par Cost: eight or sixteen bytes at a time.
[[nodiscard]] inline bool is_utf8(std::string_view text) noexcept {
  char const* at = text.data();
  char const* const end = at + text.size();
  while (at != end) {
    if (static_cast<std::size_t>(end - at) >= byte_block::size) {
      std::size_t const plain = byte_block::find_wide(at);
      at += plain;
      if (plain == byte_block::size) continue;
    } else if (static_cast<unsigned char>(*at) < 0x80) {
      ++at;
      continue;
    }
    at = skip_multibyte<false>(at, end);
    while (at != end && static_cast<unsigned char>(*at) >= 0x80) {
      std::size_t const length = multibyte_length(at, end);
      if (length == 0) return false;
      at += length;
    }
  }
  return true;
}

/// Writes `c` as UTF-8 to `out`. @return the number of bytes, at most 4.
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

/// The longest prefix of `s` of at most `size` bytes that does not end inside a character.
[[nodiscard]] constexpr std::string_view utf8_prefix(std::string_view s, std::size_t size) noexcept {
  if (s.size() <= size) return s;
  while (size != 0 && (static_cast<unsigned char>(s[size]) & 0xC0u) == 0x80) --size;
  return s.substr(0, size);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

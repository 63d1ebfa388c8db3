#ifndef PHX_CORE_TEXT_BYTE_BLOCK_HPP
#define PHX_CORE_TEXT_BYTE_BLOCK_HPP
// Looking at 8 or 16 bytes at once: what the UTF-8 validator and the JSON scanner share.

#include <phx/core/detail/build.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__) || defined(_M_X64)
#include <emmintrin.h>
#endif

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// A byte times this is a word of eight such bytes.
inline constexpr std::uint64_t every_byte = 0x0101010101010101;
inline constexpr std::uint64_t high_bits = every_byte * 0x80;

/// Reads eight bytes; the first one becomes the lowest, on any machine.
[[nodiscard]] inline std::uint64_t load_word(char const* at) noexcept {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  if constexpr (std::endian::native == std::endian::big) {
    std::uint64_t swapped = 0;
    for (int i = 0; i < 8; ++i) swapped |= (word >> (8 * i) & 0xff) << (56 - 8 * i);
    word = swapped;
  }
  return word;
}

/// Sets the high bit of each byte that is a quote, a backslash or a control character. The lowest bit set is exact; those above
/// it may be carries, and the bits of bytes above 0x7f mean nothing.
[[nodiscard]] constexpr std::uint64_t ascii_stops(std::uint64_t word) noexcept {
  return (word - every_byte * 0x20) | ((word ^ every_byte * '"') - every_byte) | ((word ^ every_byte * '\\') - every_byte);
}
/// Sets the high bit of each byte at which a scan of a string must stop: a quote, a backslash, a control character, or a byte
/// above 0x7f. Exact as ascii_stops.
[[nodiscard]] constexpr std::uint64_t stops(std::uint64_t word) noexcept { return (ascii_stops(word) | word) & high_bits; }

/// Looks at eight bytes at once, on any machine. find_stop returns how many bytes come before the first one at which a scan of a
/// string must stop, find_wide before the first one above 0x7f; `size` if there is none. two_pass: two blocks have no stop.
struct word_block {
  static constexpr std::size_t size = 8;
  [[nodiscard]] static bool two_pass(char const* at) noexcept {
    return (stops(load_word(at)) | stops(load_word(at + 8))) == 0;
  }
  [[nodiscard]] static std::size_t find_stop(char const* at) noexcept { return first(stops(load_word(at))); }
  [[nodiscard]] static std::size_t find_wide(char const* at) noexcept { return first(load_word(at) & high_bits); }

 private:
  [[nodiscard]] static std::size_t first(std::uint64_t found) noexcept {
    return static_cast<std::size_t>(std::countr_zero(found)) >> 3;
  }
};
#if defined(__SSE2__) || defined(_M_X64)
/// Looks at sixteen bytes at once, with SSE2, which every x86-64 has. Wider vectors gain nothing: most strings are short.
struct vector_block {
  static constexpr std::size_t size = 16;
  [[nodiscard]] static bool two_pass(char const* at) noexcept {
    return _mm_movemask_epi8(_mm_or_si128(stopping(load(at)), stopping(load(at + 16)))) == 0;
  }
  [[nodiscard]] static std::size_t find_stop(char const* at) noexcept { return first(stopping(load(at))); }
  [[nodiscard]] static std::size_t find_wide(char const* at) noexcept { return first(load(at)); }

 private:
  [[nodiscard]] static __m128i stopping(__m128i bytes) noexcept {
    // As signed numbers, bytes above 0x7f are below the space, as control characters are.
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
using byte_block = vector_block;
#else
using byte_block = word_block;
#endif

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

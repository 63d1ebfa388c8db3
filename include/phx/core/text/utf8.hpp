#ifndef PHX_CORE_TEXT_UTF8_HPP
#define PHX_CORE_TEXT_UTF8_HPP
// UTF-8 (RFC 3629).

#include <phx/core/detail/build.hpp>

#include <cstddef>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Whether `s` is UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
[[nodiscard]] constexpr bool well_formed(std::string_view s) noexcept {
  auto const byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  for (std::size_t i = 0; i < s.size();) {
    unsigned const lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    std::size_t const more = lead >= 0xC2 && lead <= 0xDF   ? 1u
                             : (lead & 0xF0u) == 0xE0       ? 2u
                             : lead >= 0xF0 && lead <= 0xF4 ? 3u
                                                            : 0u;
    if (more == 0 || s.size() - i <= more) return false;
    unsigned const second = byte(i + 1);
    unsigned const least = lead == 0xE0 ? 0xA0u : lead == 0xF0 ? 0x90u : 0x80u;
    unsigned const most = lead == 0xED ? 0x9Fu : lead == 0xF4 ? 0x8Fu : 0xBFu;
    if (second < least || second > most) return false;
    for (std::size_t k = 2; k <= more; ++k)
      if ((byte(i + k) & 0xC0u) != 0x80) return false;
    i += more + 1;
  }
  return true;
}

/// The longest part at the front of `s` of at most `size` bytes that does not end inside a character.
[[nodiscard]] constexpr std::string_view utf8_prefix(std::string_view s, std::size_t size) noexcept {
  if (s.size() <= size) return s;
  while (size != 0 && (static_cast<unsigned char>(s[size]) & 0xC0u) == 0x80) --size;
  return s.substr(0, size);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

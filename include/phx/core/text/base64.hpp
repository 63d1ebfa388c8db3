#ifndef PHX_CORE_TEXT_BASE64_HPP
#define PHX_CORE_TEXT_BASE64_HPP
// Base64, read and written as Elixir's Base module does.

#include <phx/core/detail/build.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

enum class base64_alphabet : unsigned char { standard, url, both };  ///< `+/`, `-_`; both: accepts either when reading
enum class base64_padding : unsigned char { required, optional };    ///< optional: either complete or absent

/// @param into room for `text.size() / 4 * 3 + 2` bytes, or null to validate and measure only.
/// @return the number of decoded bytes; nothing if `text` is not base64. As in Elixir, unused bits of the last character are
///   ignored.
[[nodiscard]] inline std::optional<std::size_t> from_base64(std::string_view text, base64_alphabet in,
                                                            base64_padding padding, char* into) noexcept {
  if (text.ends_with('=')) {
    if (text.size() % 4 != 0) return std::nullopt;
    text.remove_suffix(text.ends_with("==") ? 2u : 1u);
  } else if (padding == base64_padding::required && text.size() % 4 != 0) {
    return std::nullopt;
  }
  if (text.size() % 4 == 1) return std::nullopt;
  unsigned bits = 0, have = 0;
  std::size_t size = 0;
  for (char const c : text) {
    unsigned value = 0;
    if (c >= 'A' && c <= 'Z')
      value = static_cast<unsigned>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      value = static_cast<unsigned>(c - 'a') + 26;
    else if (c >= '0' && c <= '9')
      value = static_cast<unsigned>(c - '0') + 52;
    else if ((c == '+' && in != base64_alphabet::url) || (c == '-' && in != base64_alphabet::standard))
      value = 62;
    else if ((c == '/' && in != base64_alphabet::url) || (c == '_' && in != base64_alphabet::standard))
      value = 63;
    else
      return std::nullopt;
    bits = ((bits << 6) | value) & 0xFFFFu;
    have += 6;
    if (have < 8) continue;
    have -= 8;
    if (into != nullptr) into[size] = static_cast<char>(static_cast<unsigned char>((bits >> have) & 0xFFu));
    ++size;
  }
  return size;
}
[[nodiscard]] inline std::optional<std::string> from_base64(std::string_view text, base64_alphabet in,
                                                            base64_padding padding) {
  std::string out(text.size() / 4 * 3 + 2, '\0');
  std::optional<std::size_t> const size = from_base64(text, in, padding, out.data());
  if (!size) return std::nullopt;
  out.resize(*size);
  return out;
}

/// @param in standard is written with padding, url without it, as in the tokens and cookies of protocol 15.
/// @param into room for `(bytes.size() + 2) / 3 * 4` characters. @return the number written.
inline std::size_t to_base64(std::string_view bytes, base64_alphabet in, char* into) noexcept {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  bool const url = in == base64_alphabet::url;
  auto const digit = [&](unsigned v) { return v < 62 ? alphabet[v] : v == 62 ? (url ? '-' : '+') : (url ? '_' : '/'); };
  char const* const begin = into;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    auto const byte = [&](std::size_t k) {
      return i + k < bytes.size() ? unsigned{static_cast<unsigned char>(bytes[i + k])} : 0u;
    };
    unsigned const group = (byte(0) << 16) | (byte(1) << 8) | byte(2);
    std::size_t const count = bytes.size() - i < 3 ? bytes.size() - i : 3;
    for (unsigned k = 0; k <= count; ++k) *into++ = digit((group >> (18 - 6 * k)) & 63u);
    for (std::size_t k = count; !url && k < 3; ++k) *into++ = '=';
  }
  return static_cast<std::size_t>(into - begin);
}
[[nodiscard]] inline std::string to_base64(std::string_view bytes, base64_alphabet in) {
  std::string out((bytes.size() + 2) / 3 * 4, '\0');
  out.resize(to_base64(bytes, in, out.data()));
  return out;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

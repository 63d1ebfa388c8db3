#ifndef PHX_CORE_TEXT_ASCII_HPP
#define PHX_CORE_TEXT_ASCII_HPP
// Functions on ASCII text: case-insensitive comparison, splitting, hex digits, text for a log.

#include <phx/core/detail/build.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

[[nodiscard]] constexpr char lower_letter(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
[[nodiscard]] constexpr bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower_letter(a[i]) != lower_letter(b[i])) return false;
  return true;
}
[[nodiscard]] constexpr bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) noexcept {
  return text.size() >= prefix.size() && equal_ignoring_case(text.substr(0, prefix.size()), prefix);
}
[[nodiscard]] constexpr bool contains_ignoring_case(std::string_view text, std::string_view word) noexcept {
  for (; text.size() >= word.size(); text.remove_prefix(1))
    if (starts_with_ignoring_case(text, word)) return true;
  return false;
}

/// `s` without leading and trailing spaces and tabs.
[[nodiscard]] constexpr std::string_view trimmed(std::string_view s) noexcept {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}
/// Removes the part before the first `separator`, and the separator, from the front of `rest`; without one, all of `rest`.
/// @return that part.
[[nodiscard]] constexpr std::string_view next_part(std::string_view& rest, char separator) noexcept {
  std::size_t const end = rest.find(separator);
  std::string_view const part = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return part;
}

inline constexpr std::array<std::int8_t, 256> hex_values = [] {
  std::array<std::int8_t, 256> values{};
  for (int c = 0; c < 256; ++c)
    values[static_cast<std::size_t>(c)] = static_cast<std::int8_t>(c >= '0' && c <= '9'   ? c - '0'
                                                                   : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                                   : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                                                          : -1);
  return values;
}();
/// The value of a hex digit, 0 to 15; -1 for any other character.
[[nodiscard]] constexpr int hex_value(char c) noexcept { return hex_values[static_cast<unsigned char>(c)]; }

/// A peer's text made safe for a log: one line, no control characters, at most `longest` bytes.
[[nodiscard]] inline std::string for_a_log(std::string_view text, std::size_t longest = 200) {
  std::string out(text.substr(0, longest));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  if (text.size() > longest) out += "...";
  return out;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

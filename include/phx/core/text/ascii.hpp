#ifndef PHX_CORE_TEXT_ASCII_HPP
#define PHX_CORE_TEXT_ASCII_HPP
// Letters whose case does not count, as in names of headers, and the names whose values no log may show.

#include <phx/core/detail/guard.hpp>

#include <string_view>

namespace phx::inline PHX_BUILD::detail {

[[nodiscard]] constexpr char lower_letter(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
[[nodiscard]] constexpr bool same_but_for_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower_letter(a[i]) != lower_letter(b[i])) return false;
  return true;
}
[[nodiscard]] constexpr bool starts_but_for_case(std::string_view text, std::string_view prefix) noexcept {
  return text.size() >= prefix.size() && same_but_for_case(text.substr(0, prefix.size()), prefix);
}
[[nodiscard]] constexpr bool contains_but_for_case(std::string_view text, std::string_view word) noexcept {
  for (; text.size() >= word.size(); text.remove_prefix(1))
    if (starts_but_for_case(text, word)) return true;
  return false;
}

/// What a name contains whose value is withheld from logs (protocol 17: `password`; `token` since 1.8.7), here whatever its
/// case, or an `accessToken` would be shown.
inline constexpr std::string_view filter_words[] = {"password", "token"};

}  // namespace phx::inline PHX_BUILD::detail

#endif

#ifndef PHX_SERIALIZER_VERSION_HPP
#define PHX_SERIALIZER_VERSION_HPP
// Semantic versions and Elixir's `~>` requirement, as needed for `vsn` (protocol 3.1).

#include <phx/core/error.hpp>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {

/// True for decimal digits without leading zeros. Numbers are compared as text, so that no length overflows.
[[nodiscard]] constexpr bool version_number(std::string_view part) noexcept {
  if (part.empty() || (part.front() == '0' && part.size() > 1)) return false;
  for (char const c : part)
    if (c < '0' || c > '9') return false;
  return true;
}
[[nodiscard]] constexpr bool version_at_least(std::string_view a, std::string_view b) noexcept {
  return a.size() != b.size() ? a.size() > b.size() : a >= b;
}

/// The parts of a text before and after a separator.
struct version_cut {
  std::string_view before, after;
  bool found;
};
/// Splits `text` at the first `separator`.
[[nodiscard]] constexpr version_cut version_cut_at(std::string_view text, char separator) noexcept {
  std::size_t const at = text.find(separator);
  if (at == std::string_view::npos) return {text, {}, false};
  return {text.substr(0, at), text.substr(at + 1), true};
}

/// True for `rc.1`, `b1`: parts of letters, digits and `-`, none empty. In a pre-release, numbers have no leading zeros.
[[nodiscard]] constexpr bool version_identifiers(std::string_view text, bool pre_release) noexcept {
  for (;;) {
    version_cut const cut = version_cut_at(text, '.');
    bool all_digits = true;
    for (char const c : cut.before) {
      bool const is_digit = c >= '0' && c <= '9';
      if (!is_digit && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '-') return false;
      all_digits = all_digits && is_digit;
    }
    if (cut.before.empty() || (pre_release && all_digits && !version_number(cut.before))) return false;
    if (!cut.found) return true;
    text = cut.after;
  }
}

}  // namespace detail

/// True if `vsn` meets `requirement`: `~> MAJOR.MINOR` (same major, at least that minor) or `~> MAJOR.MINOR.PATCH` (same
/// major and minor, at least that patch). False if `vsn` is not a full semantic version (`2`, `2.0`, `02.0.0`, `v2.0.0`,
/// empty), or the requirement has another form. A pre-release comes before its version and build metadata is ignored:
/// `2.0.0-rc.1` does not meet `~> 2.0.0`, `2.0.0+b1` does.
[[nodiscard]] constexpr bool satisfies(std::string_view vsn, std::string_view requirement) noexcept {
  using namespace detail;
  version_cut const build = version_cut_at(vsn, '+');
  version_cut const pre = version_cut_at(build.before, '-');
  if (build.found && !version_identifiers(build.after, false)) return false;
  if (pre.found && !version_identifiers(pre.after, true)) return false;
  version_cut const major = version_cut_at(pre.before, '.');
  version_cut const minor = version_cut_at(major.after, '.');
  std::string_view const patch = minor.after;
  if (!version_number(major.before) || !version_number(minor.before) || !version_number(patch)) return false;

  if (!requirement.starts_with("~>")) return false;
  requirement.remove_prefix(2);
  while (requirement.starts_with(' ')) requirement.remove_prefix(1);
  version_cut const asked_major = version_cut_at(requirement, '.');
  version_cut const asked_minor = version_cut_at(asked_major.after, '.');
  std::string_view const asked_patch = asked_minor.found ? asked_minor.after : std::string_view("0");
  if (!version_number(asked_major.before) || !version_number(asked_minor.before) || !version_number(asked_patch))
    return false;

  if (major.before != asked_major.before) return false;
  if (asked_minor.found ? minor.before != asked_minor.before : !version_at_least(minor.before, asked_minor.before))
    return false;
  // A pre-release of exactly the required version comes before it.
  if (pre.found && minor.before == asked_minor.before && patch == asked_patch) return false;
  return minor.before != asked_minor.before || version_at_least(patch, asked_patch);
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

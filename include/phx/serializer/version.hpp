#ifndef PHX_SERIALIZER_VERSION_HPP
#define PHX_SERIALIZER_VERSION_HPP
// Semantic versions and Elixir's `~>` requirement, as far as `vsn` needs them (protocol 3.1).

#include <phx/core/error.hpp>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {

/// Decimal digits without leading zeros, of any length: compared as text, so none overflows.
[[nodiscard]] constexpr bool version_number(std::string_view part) noexcept {
  if (part.empty() || (part.front() == '0' && part.size() > 1)) return false;
  for (char const c : part)
    if (c < '0' || c > '9') return false;
  return true;
}
[[nodiscard]] constexpr bool version_at_least(std::string_view a, std::string_view b) noexcept {
  return a.size() != b.size() ? a.size() > b.size() : a >= b;
}

/// Cuts what comes before the first `mark` off the front of `rest`.
struct version_cut {
  std::string_view before, behind;
  bool found;
};
[[nodiscard]] constexpr version_cut version_cut_at(std::string_view text, char mark) noexcept {
  std::size_t const at = text.find(mark);
  if (at == std::string_view::npos) return {text, {}, false};
  return {text.substr(0, at), text.substr(at + 1), true};
}

/// `rc.1`, `b1`: parts of letters, digits and `-`, none empty; in a pre-release a number has no leading zeros.
[[nodiscard]] constexpr bool version_words(std::string_view text, bool pre_release) noexcept {
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
    text = cut.behind;
  }
}

}  // namespace detail

/// Does `vsn` meet `requirement`? False for what is no full semantic version (`2`, `2.0`, `02.0.0`, `v2.0.0`, empty), and
/// for a requirement that is not `~> MAJOR.MINOR` (same major, at least minor) or `~> MAJOR.MINOR.PATCH` (same minor, at
/// least patch). A pre-release sorts below its version, build text is ignored: `2.0.0-rc.1` fails `~> 2.0.0`, `2.0.0+b1`
/// meets it.
[[nodiscard]] constexpr bool satisfies(std::string_view vsn, std::string_view requirement) noexcept {
  using namespace detail;
  version_cut const build = version_cut_at(vsn, '+');
  version_cut const pre = version_cut_at(build.before, '-');
  if (build.found && !version_words(build.behind, false)) return false;
  if (pre.found && !version_words(pre.behind, true)) return false;
  version_cut const major = version_cut_at(pre.before, '.');
  version_cut const minor = version_cut_at(major.behind, '.');
  std::string_view const patch = minor.behind;
  if (!version_number(major.before) || !version_number(minor.before) || !version_number(patch)) return false;

  if (!requirement.starts_with("~>")) return false;
  requirement.remove_prefix(2);
  while (requirement.starts_with(' ')) requirement.remove_prefix(1);
  version_cut const asked_major = version_cut_at(requirement, '.');
  version_cut const asked_minor = version_cut_at(asked_major.behind, '.');
  std::string_view const asked_patch = asked_minor.found ? asked_minor.behind : std::string_view("0");
  if (!version_number(asked_major.before) || !version_number(asked_minor.before) || !version_number(asked_patch))
    return false;

  if (major.before != asked_major.before) return false;
  if (asked_minor.found ? minor.before != asked_minor.before : !version_at_least(minor.before, asked_minor.before))
    return false;
  // Exactly the version asked for, but before its release.
  if (pre.found && minor.before == asked_minor.before && patch == asked_patch) return false;
  return minor.before != asked_minor.before || version_at_least(patch, asked_patch);
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

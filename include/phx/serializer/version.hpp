#ifndef PHX_SERIALIZER_VERSION_HPP
#define PHX_SERIALIZER_VERSION_HPP
// Semantic versions and Elixir's `~>` requirement, as far as `vsn` needs them (protocol 3.1).

#include <phx/core/error.hpp>

namespace phx::inline PHX_BUILD {

/// Does `vsn` meet `requirement`? False for what is no full semantic version (`2`, `2.0`, `02.0.0`, `v2.0.0`, empty), and
/// for a requirement that is not `~> MAJOR.MINOR` (same major, at least minor) or `~> MAJOR.MINOR.PATCH` (same minor, at
/// least patch). A pre-release sorts below its version, build text is ignored: `2.0.0-rc.1` fails `~> 2.0.0`, `2.0.0+b1` meets it.
[[nodiscard]] constexpr bool satisfies(std::string_view vsn, std::string_view requirement) noexcept;

}  // namespace phx::inline PHX_BUILD

#endif

#ifndef PHX_SERIALIZER_LEGACY_GENERATION_HPP
#define PHX_SERIALIZER_LEGACY_GENERATION_HPP
// Phoenix 0.10 to 1.2 as generations of a mount. Not part of phx.hpp: include it where you make such a mount.

#include <phx/serializer/legacy/v1_seed.hpp>

#include <array>
#include <cstddef>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace legacy {

/// The serializers of one generation, in the order of choice (protocol 3.1). Static storage.
template <generation G>
[[nodiscard]] inline std::span<serializer_ref const> serializers() noexcept {
  if constexpr (G == generation::today) {
    return detail::serializers_of_today();
  } else if constexpr (G == generation::legacy) {
    static serializer_ref const all[] = {serializer_ref::of<v1_json_seed<G>>(), serializer_ref::of<v2_json>()};
    return all;
  } else {
    static serializer_ref const all[] = {serializer_ref::of<v1_json_seed<G>>()};
    return all;
  }
}

/// One generation for a mount: its serializers, its paths, and what it allows if mount::origins is not set. Compiles the
/// serializers of this one only.
/// @code
///   phx::mount const m{.path = "/legacy", .generation = phx::legacy::of<phx::generation::legacy>()};
/// @endcode
template <generation G>
[[nodiscard]] constexpr mount_generation of() noexcept {
  return detail::generation_access::make(G, &serializers<G>);
}
/// The same for a generation that is known at run time only. Compiles the serializers of all.
[[nodiscard]] inline mount_generation of(generation g) noexcept {
  constexpr auto all = []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array{of<static_cast<generation>(I)>()...};
  }
  (std::make_index_sequence<static_cast<std::size_t>(generation::today) + 1>());
  return all[static_cast<std::size_t>(g)];
}

}  // namespace legacy
}  // namespace PHX_BUILD
}  // namespace phx

#endif

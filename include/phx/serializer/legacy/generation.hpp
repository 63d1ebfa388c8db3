#ifndef PHX_SERIALIZER_LEGACY_GENERATION_HPP
#define PHX_SERIALIZER_LEGACY_GENERATION_HPP
// The serializers of a generation of Phoenix: what a mount offers.

#include <phx/serializer/legacy/v1_seed.hpp>
#include <phx/serializer/v2.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// In the order of choice (protocol 3.1): today's are V1 for `~> 1.0.0` and V2 for `~> 2.0.0`. Static storage.
[[nodiscard]] inline std::span<serializer_ref const> serializers_of(generation g) noexcept {
  static serializer_ref const of[] = {serializer_ref::of<v1_json_seed<generation::v0_10>>(),
                                      serializer_ref::of<v1_json_seed<generation::v0_11>>(),
                                      serializer_ref::of<v1_json_seed<generation::v0_13_0>>(),
                                      serializer_ref::of<v1_json_seed<generation::v0_13_1>>(),
                                      serializer_ref::of<v1_json_seed<generation::v0_14>>(),
                                      serializer_ref::of<v1_json_seed<generation::v0_15>>(),
                                      serializer_ref::of<v1_json_seed<generation::v1_0>>(),
                                      serializer_ref::of<v1_json_seed<generation::v1_2>>(),
                                      serializer_ref::of<v1_json_seed<generation::legacy>>(),
                                      serializer_ref::of<v2_json>(),
                                      serializer_ref::of<v1_json>(),
                                      serializer_ref::of<v2_json>()};
  std::span<serializer_ref const> const all(of);
  if (g == generation::today) return all.subspan(10, 2);
  auto const at = static_cast<std::size_t>(g);
  return all.subspan(at, g == generation::legacy ? 2 : 1);
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

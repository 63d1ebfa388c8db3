#ifndef PHX_SERIALIZER_GENERATION_HPP
#define PHX_SERIALIZER_GENERATION_HPP
// Which Phoenix a mount is on the wire: the names of the generations, and today's serializers.

#include <phx/serializer/v1.hpp>
#include <phx/serializer/v2.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The generations of Phoenix that differ on the wire, in order of time. Each lasts until the next.
enum class generation : std::uint8_t {
  v0_10,
  v0_11,  ///< and 0.12
  v0_13_0,
  v0_13_1,
  v0_14,
  v0_15,  ///< to 0.17
  v1_0,   ///< and 1.1
  v1_2,
  legacy,  ///< today's behaviour for the clients of all of these at once, and for version 2 (protocol 4.3)
  today,
};

namespace detail {
struct generation_access;
/// V1 for `~> 1.0.0` and V2 for `~> 2.0.0` (protocol 3.1). Static storage.
[[nodiscard]] inline std::span<serializer_ref const> serializers_of_today() noexcept {
  static serializer_ref const all[] = {serializer_ref::of<v1_json>(), serializer_ref::of<v2_json>()};
  return all;
}
}  // namespace detail

/// A generation together with its serializers: the type of mount::generation. The default is today's. An older one comes from
/// phx::legacy::of in serializer/legacy/generation.hpp, so that only programs that serve one compile its serializers.
class mount_generation {
 public:
  constexpr mount_generation() noexcept = default;
  /// The generation alone, to compare.
  [[nodiscard]] constexpr operator phx::generation() const noexcept { return value_; }
  /// Its serializers in the order of choice. Static storage.
  [[nodiscard]] std::span<serializer_ref const> serializers() const noexcept { return serializers_(); }

 private:
  friend struct detail::generation_access;
  using list = std::span<serializer_ref const> (*)() noexcept;
  constexpr mount_generation(phx::generation value, list all) noexcept : value_(value), serializers_(all) {}

  phx::generation value_ = phx::generation::today;
  list serializers_ = &detail::serializers_of_today;
};

namespace detail {
struct generation_access {
  [[nodiscard]] static constexpr mount_generation make(generation value,
                                                       std::span<serializer_ref const> (*serializers)() noexcept) noexcept {
    return mount_generation(value, serializers);
  }
};
}  // namespace detail

}  // namespace PHX_BUILD
}  // namespace phx

#endif

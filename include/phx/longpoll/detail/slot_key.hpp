#ifndef PHX_LONGPOLL_DETAIL_SLOT_KEY_HPP
#define PHX_LONGPOLL_DETAIL_SLOT_KEY_HPP
// Keys of sessions and of forwarded requests: another loop may send one back after the object has gone.

#include <phx/core/slot_map.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// A slot, and its generation. Without a slot it is the key of nothing.
struct slot_key {
  static constexpr std::uint32_t no_slot = UINT32_MAX;
  std::uint32_t slot = no_slot, generation = 0;

  [[nodiscard]] explicit operator bool() const noexcept { return slot != no_slot; }
  [[nodiscard]] friend bool operator==(slot_key, slot_key) noexcept = default;
};

template <class T>
using slot_map = phx::detail::slot_map<T, slot_key>;

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

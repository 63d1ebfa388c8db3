#ifndef PHX_LOOP_SOCKET_ID_HPP
#define PHX_LOOP_SOCKET_ID_HPP
// How a socket of a loop is named, and the states of its channels.

#include <phx/fwd.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Identifies one socket of a loop. It is never used again for another one.
struct socket_id {
  /// Its place in the loop.
  std::uint32_t slot = 0;
  /// Tells it from earlier sockets in that place.
  std::uint32_t generation = 0;
  /// True for the same socket.
  /// Whether both identify the same socket.
  [[nodiscard]] friend bool operator==(socket_id, socket_id) = default;
};

/// A channel whose join is pending, or has been accepted.
enum class channel_state : std::uint8_t { joining, joined };

}  // namespace PHX_BUILD
}  // namespace phx

#endif

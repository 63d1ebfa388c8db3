#ifndef PHX_LOOP_DRAIN_OPTIONS_HPP
#define PHX_LOOP_DRAIN_OPTIONS_HPP
// How a server closes its sockets before it stops.

#include <phx/core/time.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// How a server stops without its clients noticing much (protocol 12): every socket closes with 1012.
///
/// Batches help behind a balancer that already sends new connections elsewhere: a client that is closed finds another
/// server, and those servers do not get all clients at once. Without a balancer they hurt: a client that was closed early
/// comes back to this server, is refused while it drains, and waits longer before it tries again. In that case close all at
/// once (`batch` = UINT32_MAX). Measured with a rolling restart: all clients were back after 3.8 s, no attempt refused,
/// behind a balancer, and after 5.7 s without.
struct drain_options {
  std::uint32_t batch = 10'000;                 ///< sockets of one loop closed at a time
  duration interval = std::chrono::seconds(2);  ///< between two batches; max(): the second batch goes at the limit
  duration limit = std::chrono::seconds(30);    ///< after this all remaining sockets close at once; max(): never
};

/// Is told when a drain is done.
struct drain_listener {
  /// Passed to drained.
  void* self = nullptr;
  /// Called once, when every loop of the endpoint drains and has no socket left: inside the loop that was the last, or by the
  /// thread that destroys it, or by endpoint::drain if there is no loop. It must not call phx. What a host still writes, such as
  /// the close frames, may be under way.
  void (*drained)(void* self) noexcept = nullptr;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

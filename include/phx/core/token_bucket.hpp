#ifndef PHX_CORE_TOKEN_BUCKET_HPP
#define PHX_CORE_TOKEN_BUCKET_HPP
// A token bucket (GCRA) whose whole state is one time: when the bucket will be full again. Integer arithmetic, and the time is an
// argument. Used for new connections (connect/throttle.hpp) and for messages (limits::inbound).

#include <phx/core/time.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// How long to wait until one more may be taken; zero or less: it may be taken now.
/// @param slack the time in which the bucket fills, less that of the one to be taken
[[nodiscard]] constexpr duration bucket_wait(time_point full_at, duration slack, time_point now) noexcept {
  return saturating_sub(saturating_sub(full_at, slack), now);
}
/// When the bucket will be full again after taking what `cost` brings back. It may be overdrawn.
[[nodiscard]] constexpr time_point bucket_take(time_point full_at, time_point now, duration cost) noexcept {
  return saturating_add(full_at < now ? now : full_at, cost);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

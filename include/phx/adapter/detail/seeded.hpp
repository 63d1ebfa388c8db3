#ifndef PHX_ADAPTER_DETAIL_SEEDED_HPP
#define PHX_ADAPTER_DETAIL_SEEDED_HPP
// Options with a random seed in place of 0, for the hosts in adapter/.

#include <phx/connect/throttle.hpp>
#include <phx/core/limits.hpp>
#include <phx/core/random.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Nobody can choose addresses that evict others.
[[nodiscard]] inline throttle_options seeded(throttle_options opts) noexcept {
  if (opts.each.burst != 0 && opts.seed == 0) opts.seed = random_seed();
  return opts;
}
/// Nobody can choose topics that collide.
[[nodiscard]] inline limits seeded(limits bounds) noexcept {
  if (bounds.seed == 0) bounds.seed = random_seed();
  return bounds;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

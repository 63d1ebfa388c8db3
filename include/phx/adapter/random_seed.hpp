#ifndef PHX_ADAPTER_RANDOM_SEED_HPP
#define PHX_ADAPTER_RANDOM_SEED_HPP

#include <phx/longpoll/sessions.hpp>
#include <phx/connect/throttle.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

inline void draw(std::uint64_t& seed) noexcept {
  longpoll::entropy const chance;
  if (seed == 0) (void)chance.fill(chance.host, reinterpret_cast<unsigned char*>(&seed), sizeof seed);
}
/// A seed of 0 replaced by chance, where addresses are counted: nobody is to choose those that push each other's out.
[[nodiscard]] inline throttle_options seeded(throttle_options opts) noexcept {
  if (opts.each.burst != 0) draw(opts.seed);
  return opts;
}
/// The same, for topics that fall into one place.
[[nodiscard]] inline limits seeded(limits of_a_loop) noexcept {
  draw(of_a_loop.seed);
  return of_a_loop;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

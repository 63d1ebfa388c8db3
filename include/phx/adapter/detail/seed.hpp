#ifndef PHX_ADAPTER_DETAIL_SEED_HPP
#define PHX_ADAPTER_DETAIL_SEED_HPP

#include <phx/longpoll/sessions.hpp>
#include <phx/socket/throttle.hpp>

namespace phx::inline PHX_BUILD::detail {

/// A seed of 0 replaced by chance, where addresses are counted: nobody is to choose those that push each other's out.
[[nodiscard]] inline throttle_options seeded(throttle_options how) noexcept {
  longpoll::entropy const chance;
  if (how.seed == 0 && how.each.burst != 0)
    (void)chance.fill(chance.host, reinterpret_cast<unsigned char*>(&how.seed), sizeof how.seed);
  return how;
}

}  // namespace phx::inline PHX_BUILD::detail

#endif

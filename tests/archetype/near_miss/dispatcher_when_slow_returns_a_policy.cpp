// error: when_slow must be: std::optional<pressure_policy> when_slow(channel_type const&) noexcept
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  phx::pressure_policy when_slow(channel const&) noexcept;
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

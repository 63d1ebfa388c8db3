// error: when_slow must be: std::optional<pressure_policy> when_slow(channel_type const&) noexcept
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  phx::pressure_policy when_slow(channel const&) noexcept;
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

// error: your dispatcher needs: void terminate(channel_type&, context&, exit_reason) noexcept
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  void terminate(channel&, phx::context&, phx::exit_reason);
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

// error: your dispatcher needs: void terminate(channel_type&, context&, exit_reason) noexcept
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  void terminate(channel&, phx::context&, phx::exit_reason);
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

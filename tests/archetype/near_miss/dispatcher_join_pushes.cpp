// error: your dispatcher needs: join_result join(session_type&, joining&, message const&, channel_place<channel_type>&)
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  phx::join_result join(session&, phx::context&, phx::message const&, phx::channel_place<channel>&);
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

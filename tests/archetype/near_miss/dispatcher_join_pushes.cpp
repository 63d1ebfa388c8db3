// error: your dispatcher needs: join_outcome<channel_type> join(session_type&, joining&, message const&)
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  phx::join_outcome<channel> join(session&, phx::context&, phx::message const&);
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

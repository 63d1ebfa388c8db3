// error: your dispatcher needs: join_outcome<channel_type> join(session_type&, joining&, message const&)
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  phx::join_outcome<channel> join(session&, phx::context&, phx::message const&);
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

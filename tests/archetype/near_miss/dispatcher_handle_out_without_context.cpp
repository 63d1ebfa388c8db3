// error: handle_out must be: outcome handle_out(channel_type&, context&, broadcast const&)
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  phx::outcome handle_out(channel&, phx::broadcast const&);
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

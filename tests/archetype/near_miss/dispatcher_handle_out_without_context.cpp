// error: handle_out must be: outcome handle_out(channel_type&, context&, broadcast const&)
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  phx::outcome handle_out(channel&, phx::broadcast const&);
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

// error: handle_info must be: outcome handle_info(channel_type&, context&, message const&)
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  phx::outcome handle_info(channel&, phx::context&, int);
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

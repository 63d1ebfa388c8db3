// error: handle_info must be: outcome handle_info(channel_type&, context&, message const&)
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  phx::outcome handle_info(channel&, phx::context&, int);
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

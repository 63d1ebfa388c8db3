// error: your dispatcher needs: outcome handle_in(channel_type&, context&, message const&)
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  void handle_in(channel&, phx::context&, phx::message const&);
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

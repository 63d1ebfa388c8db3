// error: your dispatcher needs: outcome handle_in(channel_type&, context&, message const&)
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  void handle_in(channel&, phx::context&, phx::message const&);
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

// error: your dispatcher needs: connect_outcome<session_type> connect(connect_info const&)
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  bool connect(phx::connect_info const&);
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

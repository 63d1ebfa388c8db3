// error: your dispatcher needs: connect_outcome<session_type> connect(connect_info const&)
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  bool connect(phx::connect_info const&);
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

// error: use of deleted function
// clang: call to deleted constructor
#include <phx/phx.hpp>

phx::context keep(phx::context const& here) { return here; }

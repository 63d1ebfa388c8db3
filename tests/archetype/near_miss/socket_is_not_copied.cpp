// error: use of deleted function
// clang: deleted
#include "archetype/minimal.hpp"

using socket_type = phx::socket<archetype::wire, phx::router<>>;
socket_type copy(socket_type& s) { return s; }

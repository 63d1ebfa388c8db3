// error: invalid use of member
// clang: reference to non-static member function must be called
#include "archetype/minimal.hpp"

using socket_type = phx::socket<archetype::wire, phx::router<>>;
void close(socket_type& s) { s.closing = true; }

// error: is inaccessible within this context
// clang: private member of
#include "archetype/minimal.hpp"

using socket_type = phx::socket<archetype::wire, phx::router<>>;
void feed(socket_type& s) { s.handle(nullptr); }

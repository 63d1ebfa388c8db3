// error: is an inaccessible base of
// clang: private base class
#include "archetype/minimal.hpp"

using socket_type = phx::socket<archetype::wire, phx::router<>>;
phx::detail::connection& interior(socket_type& s) { return s; }

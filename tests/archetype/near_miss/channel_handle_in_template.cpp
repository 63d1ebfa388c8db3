// error: handle_in must be public: phx::outcome handle_in(phx::context&, phx::message const&)
#include <phx/phx.hpp>

struct room {
  phx::outcome handle_in(auto&, auto const&, int) { return {}; }
  phx::join_result join(phx::joining&, phx::message const&) { return phx::join_result::ok(); }
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

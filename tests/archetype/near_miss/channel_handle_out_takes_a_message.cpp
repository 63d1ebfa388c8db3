// error: handle_out must be public: phx::outcome handle_out(phx::context&, phx::broadcast const&)
#include <phx/phx.hpp>

struct room {
  phx::outcome handle_out(phx::context&, phx::message const&) { return {}; }
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

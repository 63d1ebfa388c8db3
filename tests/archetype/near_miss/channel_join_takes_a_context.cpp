// error: join must be public: phx::join_result join(phx::joining&, phx::message const&)
#include <phx/phx.hpp>

struct room {
  phx::join_result join(phx::context&, phx::message const&) { return phx::join_result::ok(); }
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

// error: join must be public: phx::join_result join(phx::joining&, phx::message const&)
#include <phx/phx.hpp>

struct room {
  bool join(phx::joining&, phx::message const&) { return true; }
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

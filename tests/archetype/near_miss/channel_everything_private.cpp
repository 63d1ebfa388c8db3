// error: this type has none of a channel's callbacks: are they public?
#include <phx/phx.hpp>

struct room {
 private:
  phx::outcome handle_in(phx::context&, phx::message const&) { return {}; }
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

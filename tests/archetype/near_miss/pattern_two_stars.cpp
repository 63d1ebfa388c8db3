// error: a_star_may_only_end_a_pattern
#include <phx/phx.hpp>

struct room {
  phx::outcome handle_in(phx::context&, phx::message const&);
};
void serve(phx::router<>& r) { r.channel<room>("room:**"); }

// error: a channel that intercepts needs handle_out
#include <phx/phx.hpp>

struct room {
  static constexpr std::array<std::string_view, 1> intercepts{"masked"};
  phx::outcome handle_in(phx::context&, phx::message const&) { return {}; }
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

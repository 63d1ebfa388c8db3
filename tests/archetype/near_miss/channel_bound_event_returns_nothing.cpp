// error: a bound event must answer phx::outcome
#include <phx/phx.hpp>

struct room {
  void say(phx::context&) {}
  static constexpr auto events = phx::events(phx::on<&room::say>("say"));
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

// error: no JSON library reads this event's type: include phx/adapter/nlohmann.hpp
#include <phx/phx.hpp>

struct room {
  struct line {
    int n;
  };
  phx::outcome say(phx::context&, line const&) { return {}; }
  static constexpr auto events = phx::events(phx::on<&room::say>("say"));
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

// error: the channel's JSON library cannot read this type
#include <phx/phx.hpp>

struct room {
  struct json {};
  struct line {
    int n;
  };
  phx::outcome say(phx::context&, line const&) { return {}; }
  static constexpr auto events = phx::events(phx::on<&room::say>("say"));
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

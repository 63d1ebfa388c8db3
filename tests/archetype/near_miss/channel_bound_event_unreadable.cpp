// error: no JSON library reads this event's type
#include <phx/phx.hpp>

struct line {
  int n;
};
template <>
struct phx::json_traits<line> {
  static line read(phx::payload const&);  // not a phx::result: a payload of another shape must be an error value
};

struct room {
  phx::outcome say(phx::context&, line const&) { return {}; }
  static constexpr auto events = phx::events(phx::on<&room::say>("say"));
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

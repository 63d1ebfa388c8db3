// error: when_slow must be public: static constexpr phx::pressure_policy when_slow = ..., or a member of that type
#include <phx/phx.hpp>

struct room {
  static constexpr int when_slow = 2;
  phx::outcome handle_in(phx::context&, phx::message const&) { return {}; }
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

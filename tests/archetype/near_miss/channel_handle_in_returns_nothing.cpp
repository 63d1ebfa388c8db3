// error: handle_in must be public: phx::outcome handle_in(phx::context&, phx::message const&)
#include <phx/phx.hpp>

struct room {
  void handle_in(phx::context&, phx::message const&) {}
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

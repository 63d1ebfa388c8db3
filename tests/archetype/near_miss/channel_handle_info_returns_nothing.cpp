// error: handle_info must be public: phx::outcome handle_info(phx::context&, phx::message const&)
#include <phx/phx.hpp>

struct room {
  void handle_info(phx::context&, phx::message const&) {}
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

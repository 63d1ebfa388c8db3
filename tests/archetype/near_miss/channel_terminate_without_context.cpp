// error: terminate must be public: void terminate(phx::context&, phx::exit_reason) noexcept
#include <phx/phx.hpp>

struct room {
  void terminate(phx::exit_reason) noexcept {}
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

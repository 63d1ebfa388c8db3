// error: p.stop()
// clang: PubSub
#include <phx/phx.hpp>

struct bus {
  void start(phx::endpoint&);
  std::string_view node_name() const noexcept;
  phx::send_status broadcast(phx::broadcast const&) noexcept;
  phx::send_status direct_broadcast(std::string_view, phx::broadcast const&) noexcept;
};
void join(phx::endpoint& everywhere, bus& b) { everywhere.attach(b); }

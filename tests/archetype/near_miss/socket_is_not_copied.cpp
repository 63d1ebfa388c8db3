// error: use of deleted function
// clang: deleted
#include <phx/phx.hpp>

struct wire {
  phx::send_status send(phx::frame const&) noexcept;
  void close(phx::close_frame) noexcept;
  std::size_t buffered() const noexcept;
};
using socket_type = phx::socket<wire, phx::router<>>;
socket_type copy(socket_type& s) { return s; }

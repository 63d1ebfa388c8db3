// error: your transport must be movable: a small handle, not the connection
#include <phx/phx.hpp>

struct wire {
  wire(wire const&) = delete;
  phx::send_status send(phx::frame const&) noexcept;
  void close(phx::close_frame) noexcept;
  std::size_t buffered() const noexcept;
};
using near_miss = phx::socket<wire, phx::router<>>;
bool open(near_miss& s) { return s.receive(phx::opcode::text, "", true, {}); }

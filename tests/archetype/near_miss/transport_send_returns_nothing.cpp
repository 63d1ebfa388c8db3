// error: your transport needs: phx::send_status send(phx::frame const&) noexcept
#include <phx/phx.hpp>

struct wire {
  void send(phx::frame const&) noexcept;
  void close(phx::close_frame) noexcept;
  std::size_t buffered() const noexcept;
};
using near_miss = phx::socket<wire, phx::router<>>;
bool open(near_miss& s) { return s.receive(phx::opcode::text, "", true, {}); }

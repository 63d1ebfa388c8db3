#include <phx/phx.hpp>
#include <phx/socket/websocket_connection.hpp>

using app_type = phx::router<>;
struct tcp {                                     // yours: a connection of your event loop. None of its members calls phx
  void append(std::string_view bytes) noexcept;  // queues a copy
  std::size_t unsent() const noexcept;           // compared with limits::outbound
  void flush() noexcept;                         // writes what is queued; called once for each turn
  void close_after_writing() noexcept;
};
struct connection : tcp {
  connection(phx::loop& loop, app_type& app, phx::mount const& mount) : client(loop, app, mount, *this) {}
  void received(std::span<char> bytes, phx::time_point now) {
    client.receive(bytes, now, {"192.0.2.7", 50'000, {}});  // from the request to the last frame
  }
  void wrote_everything(phx::time_point now) { client.writable(now); }
  void hung_up() { client.gone(); }  // then destroy the connection
  phx::websocket_connection<tcp, app_type> client;
};

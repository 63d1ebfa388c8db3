// error: on_request must be: std::optional<phx::http::response> on_request(phx::http::request&)
#include <phx/phx.hpp>
#include <phx/socket/websocket_connection.hpp>

struct stream {
  void append(std::string_view bytes) noexcept;
  std::size_t unsent() const noexcept;
  void flush() noexcept;
  void close_after_writing() noexcept;
  bool on_request(phx::http::request&);
};
using near_miss = phx::websocket_connection<stream, phx::router<>>;
void open(phx::loop& l, phx::router<>& app, phx::mount const& m, stream& s) { near_miss const client(l, app, m, s); }

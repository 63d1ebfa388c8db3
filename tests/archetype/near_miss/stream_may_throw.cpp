// error: your stream needs, all of them noexcept: append(std::string_view), std::size_t unsent() const, flush() and close_after_writing()
#include <phx/phx.hpp>
#include <phx/socket/websocket_connection.hpp>

struct stream {
  void append(std::string_view bytes);
  std::size_t unsent() const noexcept;
  void flush() noexcept;
  void close_after_writing() noexcept;
};
using near_miss = phx::websocket_connection<stream, phx::router<>>;
void open(phx::loop& l, phx::router<>& app, phx::mount const& m, stream& s) { near_miss const client(l, app, m, s); }

// A minimal ByteStream, and a connection that owns the client that uses it.

#include <phx/phx.hpp>
#include <phx/socket/websocket_connection.hpp>

namespace archetype {

struct stream {
  stream(stream const&) = delete;
  void append(std::string_view) noexcept;
  unsigned short unsent() const noexcept;
  void flush() noexcept;
  void close_after_writing() noexcept;
  phx::websocket_connection<stream, phx::router<>> client;
};
static_assert(phx::ByteStream<stream>);

struct may_throw : stream {
  void append(std::string_view);
};
static_assert(!phx::ByteStream<may_throw>);

using phx::router;
bool use(phx::loop& event_loop, router<>& d, phx::mount const& at, stream& to, std::span<char> bytes, phx::time_point now) {
  phx::websocket_connection<stream, router<>> client(event_loop, d, at, to);
  client.receive(bytes, now);
  client.receive(bytes, now, {"192.0.2.7", 1, {}}, "https");
  client.writable(now);
  client.gone();
  return client.established() && !client.ended();
}

}  // namespace archetype

// Whatever a client sends to a host that owns its sockets, from the request to the last frame, and however TCP splits it: the
// answer is the same, nothing follows a close, and nothing is left when the client has gone.
#include <phx/phx.hpp>
#include <phx/socket/websocket_connection.hpp>
#include <phx/testing/fake_loop.hpp>

#include "oracle.hpp"

#include <algorithm>
#include <string>

namespace {

using oracle::require;

struct stream {
  std::string out{};
  bool closed = false;
  void append(std::string_view bytes) noexcept {
    require(!closed, "nothing is appended after close_after_writing");
    out.append(bytes);
  }
  [[nodiscard]] std::size_t unsent() const noexcept { return 0; }
  void flush() noexcept {}
  void close_after_writing() noexcept {
    require(!closed, "close_after_writing is called once");
    closed = true;
  }
};

struct room {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "shout") ctx.broadcast("shout", in.payload);
    if (in.event == "stop") return phx::outcome::stop(phx::exit_reason::error);
    return phx::outcome::reply(in.payload);
  }
};

/// @param cut bytes received at a time; 0: all.
std::string answer(std::string bytes, std::size_t cut) {
  phx::router<> app;
  app.channel<room>("room:*");
  phx::mount const mount{.origins = false, .bounds = {.frame = 4096}};
  phx::testing::fake_loops loops;
  stream to;
  {
    phx::websocket_connection<stream, phx::router<>> client(loops[0], app, mount, to);
    for (std::size_t at = 0; at < bytes.size();) {
      std::size_t const n = cut == 0 ? bytes.size() : std::min(cut, bytes.size() - at);
      client.receive({bytes.data() + at, n}, loops.now(), {"192.0.2.7", 50'000, {}});
      require(client.ended() == to.closed, "it ends as its stream is closed");
      require(!(client.established() && client.ended()), "it is not both");
      at += n;
    }
  }
  loops.settle();
  require(loops[0].sockets() == 0 && loops[0].topics() == 0, "nothing is left");
  return to.out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size < 2) return 0;
  // Half of the inputs begin behind a request that is accepted.
  std::string bytes;
  if ((data[0] & 1) != 0)
    bytes =
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  bytes.append(reinterpret_cast<char const*>(data) + 2, size - 2);
  std::string const whole = answer(bytes, 0);
  require(answer(bytes, 1) == whole, "one byte at a time");
  require(answer(bytes, data[1]) == whole, "in pieces");
  return 0;
}

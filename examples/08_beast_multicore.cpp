// Channels on Boost.Asio: several loops, one thread per core, HTTP routes beside the sockets, and a graceful shutdown.
#include <phx/adapter/beast.hpp>
#include <phx/adapter/nlohmann.hpp>
#include <phx/phx.hpp>

#include <boost/asio/signal_set.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

// A channel is used inside the loop of its socket only, so it needs no lock, whatever the number of threads.
struct room {
  int messages = 0;

  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event != "say") return phx::outcome::stop(phx::exit_reason::error);
    ctx.broadcast("said", in.payload);  // to the clients of all loops
    return phx::outcome::reply(nlohmann::json{{"said", ++messages}});
  }
};

}  // namespace

int main(int argc, char** argv) {
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  unsigned const threads = std::max(1u, std::thread::hardware_concurrency());

  boost::asio::io_context io;
  phx::router app;  // shared by all loops, since serving does not modify it
  app.channel<room>("room:*");

  // More loops than threads: while one is busy, the others run on the remaining threads.
  phx::beast::server server(io, {.port = static_cast<std::uint16_t>(port), .loops = 2 * threads});
  server.serve(app, phx::mount{.path = "/socket"});
  server.route([&](phx::beast::http_request const& request) -> std::optional<phx::http_answer> {
    if (request.path == "/health")
      return phx::http_answer{200, {}, std::to_string(server.endpoint().sockets()) + " sockets\n"};
    if (request.path != "/announce" || request.method != "POST") return std::nullopt;  // 404
    // May be called from any thread.
    bool const sent = server.endpoint().broadcast("room:news", "news", phx::payload::json(request.body)) == phx::errc::none;
    return phx::http_answer{static_cast<std::uint16_t>(sent ? 204 : 400), {}, {}};
  });
  server.start();
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);

  // Closes clients with 1012, which makes them reconnect. When the last one has disconnected, run() returns.
  boost::asio::signal_set stop(io, SIGTERM, SIGINT);
  stop.async_wait([&](boost::system::error_code, int) { server.drain(); });

  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back([&] { io.run(); });
  io.run();
  for (std::thread& t : others) t.join();
}

// The same channels on Boost.Asio: several loops, a thread for each core, pages beside the sockets, and a graceful end.
#include <phx/adapter/beast.hpp>
#include <phx/adapter/nlohmann.hpp>
#include <phx/phx.hpp>

#include <boost/asio/signal_set.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {

// A channel is used inside the loop of its socket only: it needs no lock, whatever the number of threads.
struct room {
  int code = 0;

  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event != "say") return phx::outcome::stop(phx::exit_reason::error);
    ctx.broadcast("said", in.payload);  // to the clients of all loops
    return phx::outcome::reply(nlohmann::json{{"said", ++code}});
  }
};

}  // namespace

int main(int argc, char** argv) {
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  unsigned const threads = std::max(1u, std::thread::hardware_concurrency());

  boost::asio::io_context io;
  phx::router app;  // shared by all loops: serving changes nothing in it
  app.channel<room>("room:*");

  // More loops than threads: while one has much to do, the others find a thread.
  phx::beast::server server(io, {.port = static_cast<std::uint16_t>(port), .loops = 2 * threads});
  server.serve(app, phx::mount{.path = "/socket"});
  server.route([&](phx::beast::http_request const& asked) -> std::optional<phx::http_answer> {
    if (asked.path == "/health")
      return phx::http_answer{200, {}, std::to_string(server.endpoint().sockets()) + " sockets\n"};
    if (asked.path != "/announce" || asked.method != "POST") return std::nullopt;  // 404
    // From any thread, not from a channel only.
    bool const sent = server.endpoint().broadcast("room:news", "news", phx::payload::json(asked.body)) == phx::errc::none;
    return phx::http_answer{static_cast<std::uint16_t>(sent ? 204 : 400), {}, {}};
  });
  server.start();
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);

  // Clients are told 1012, which means: come back. When the last has gone, run() has nothing left to do.
  boost::asio::signal_set ends(io, SIGTERM, SIGINT);
  ends.async_wait([&](boost::system::error_code, int) { server.drain(); });

  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back([&] { io.run(); });
  io.run();
  for (std::thread& t : others) t.join();
}

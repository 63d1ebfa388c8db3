// The channels of 08_beast_multicore without Boost: one loop per core on Linux' epoll, two mounts, an HTTP route, long-polls, and
// a graceful shutdown. `--address unix:/run/app.sock` serves a Unix socket instead of a port.
#include <phx/adapter/epoll.hpp>
#include <phx/phx.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>

namespace {

struct room {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event != "say") return phx::outcome::stop(phx::exit_reason::error);
    ctx.broadcast("said", in.payload);  // to the clients of all loops
    return phx::outcome::reply(in.payload);
  }
};

phx::epoll::server* running = nullptr;

}  // namespace

int main(int argc, char** argv) {
  phx::epoll::options opts;
  opts.loops = std::max(1u, std::thread::hardware_concurrency());
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string_view(argv[i]) == "--port") opts.port = static_cast<std::uint16_t>(std::atoi(argv[i + 1]));
    if (std::string_view(argv[i]) == "--address") opts.address = argv[i + 1];
  }
  opts.drain.batch = UINT32_MAX;  // no balancer in front: all clients come back at once

  phx::router app, staff;
  app.channel<room>("room:*");
  staff.channel<room>("staff:*");

  phx::epoll::server server(opts);  // listens
  server.serve(app, {.path = "/socket", .longpoll = true});
  server.serve(staff, {.path = "/staff/socket"});
  server.route([&](phx::epoll::http_request const& request) -> std::optional<phx::http_answer> {
    if (request.path != "/health") return std::nullopt;  // 404
    return phx::http_answer{200, {}, std::to_string(server.endpoint().sockets()) + " sockets\n"};
  });

  // Clients get 1012, which makes phoenix.js reconnect. run() returns when the last one has disconnected.
  running = &server;
  for (int const signal : {SIGTERM, SIGINT}) (void)std::signal(signal, [](int) { running->drain(); });
  std::printf("listening on %s:%d\n", opts.address.c_str(), int{server.port()});
  std::fflush(stdout);
  server.run();
}

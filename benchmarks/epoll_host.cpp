// epoll_host --port P [--linger MS]: the `load:*` channel of the lab server on adapter/epoll.hpp, one thread. The difference between the bare
// server and this one is what phx costs; between this one and the lab server, what Boost.Asio does.
#include <phx/adapter/epoll.hpp>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

struct load {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "shout") return ctx.broadcast("shout", in.payload), phx::outcome::noreply();
    return phx::outcome::stop(phx::exit_reason::error);
  }
};

phx::epoll::server* running = nullptr;

}  // namespace

int main(int argc, char** argv) {
  int port = -1, linger = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--port") == 0) port = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--linger") == 0) linger = std::atoi(argv[i + 1]);
  }
  if (port < 0 || linger < 0) return std::fprintf(stderr, "usage: %s --port P [--linger MS]\n", argv[0]), 2;
  phx::router app;
  app.channel<load>("load:*");
  phx::epoll::options opts;
  opts.port = static_cast<std::uint16_t>(port);
  opts.mount.linger = std::chrono::milliseconds(linger);
  phx::epoll::server server(app, opts);
  running = &server;
  (void)std::signal(SIGTERM, [](int) { running->stop(); });
  std::printf("listening on 127.0.0.1:%u\n", unsigned{server.port()});
  std::fflush(stdout);
  server.run();
}

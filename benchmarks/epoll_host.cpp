// epoll_host --port P: the `load:*` channel of the lab server on adapter/epoll.hpp, one thread. The difference between the bare
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
  int const port = argc == 3 && std::strcmp(argv[1], "--port") == 0 ? std::atoi(argv[2]) : -1;
  if (port < 0) return std::fprintf(stderr, "usage: %s --port P\n", argv[0]), 2;
  phx::router app;
  app.channel<load>("load:*");
  phx::epoll::server server(app, {.port = static_cast<std::uint16_t>(port)});
  running = &server;
  (void)std::signal(SIGTERM, [](int) { running->stop(); });
  std::printf("listening on 127.0.0.1:%u\n", unsigned{server.port()});
  std::fflush(stdout);
  server.run();
}

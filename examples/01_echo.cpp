// The smallest server: one channel that echoes and broadcasts.
#include <phx/adapter/blocking.hpp>
#include <phx/phx.hpp>

#include <cstdio>
#include <cstdlib>

struct echo {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "shout") {
      ctx.broadcast("shout", in.payload);  // to all clients on the topic
      return phx::outcome::reply();
    }
    return phx::outcome::reply(phx::status::error, phx::payload::json(R"({"reason":"unknown event"})"));
  }
};

int main(int argc, char** argv) {
  phx::router app;
  app.channel<echo>("room:*");

  phx::blocking::options opts;
  if (argc == 3) opts.port = static_cast<std::uint16_t>(std::atoi(argv[2]));  // --port P
  phx::blocking::server server(app, opts);
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

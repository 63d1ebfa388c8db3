// Two processes as one server: a broadcast on one reaches the clients of both. Without Redis each serves its own clients.
//
//   redis-server --port 6400 --save "" &
//   REDIS_PORT=6400 NODE=left  ./09_redis_two_nodes --port 4000 &
//   REDIS_PORT=6400 NODE=right ./09_redis_two_nodes --port 4001
#include <phx/adapter/blocking.hpp>
#include <phx/adapter/nlohmann.hpp>
#include <phx/adapter/redis.hpp>
#include <phx/phx.hpp>

#include <cstdio>
#include <cstdlib>

namespace {

struct room {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "node") return phx::outcome::reply(nlohmann::json(name));
    if (in.event != "say") return phx::outcome::stop(phx::exit_reason::error);
    // The clients of this node get it in any case. Testing whether the other nodes were reached is optional: misses are
    // counted too.
    bool const everywhere = ctx.broadcast("said", in.payload).error() != phx::errc::nodes_not_reached;
    return phx::outcome::reply(phx::status::ok,
                               phx::payload::json(everywhere ? R"({"to":"all"})" : R"({"to":"this node"})"));
  }

  std::string name;
};

std::string from_environment(char const* name, char const* fallback) {
  char const* const value = std::getenv(name);
  return value == nullptr ? fallback : value;
}

}  // namespace

int main(int argc, char** argv) {
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  std::string const name = from_environment("NODE", "one");

  phx::redis::options options;
  options.port = static_cast<std::uint16_t>(std::atoi(from_environment("REDIS_PORT", "6379").c_str()));
  options.node = name;
  options.on_change = [](phx::redis::change const& c) {
    if (c.connected)
      std::printf("connected to Redis after %.1f s\n", std::chrono::duration<double>(c.disconnected_for).count());
    else
      std::printf("disconnected from Redis: %.*s\n", static_cast<int>(c.reason.size()), c.reason.data());
    std::fflush(stdout);
  };
  options.on_warning = [](phx::redis::warning const& w) {
    if (w.kind == phx::redis::warning_kind::same_name) std::printf("another node has the same name\n");
    std::fflush(stdout);
  };
  phx::redis::pubsub between(options);  // outlives the server

  phx::router app;
  app.channel("room:*", [&name](auto const&) { return room{name}; });

  phx::blocking::server server(app, {.port = static_cast<std::uint16_t>(port)});
  server.endpoint().attach(between);
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

#ifndef EXAMPLES_HOSTS_APP_HPP
#define EXAMPLES_HOSTS_APP_HPP
// The application that each host in this folder serves, so that a host's own file shows the host alone: rooms with Presence.
// Nothing in it knows which server it runs in.
//
//   host_NAME --port P        prints `listening on 127.0.0.1:P`; SIGTERM closes all clients with 1012 and exits 0

#include <phx/core/random.hpp>
#include <phx/phx.hpp>
#include <phx/presence/presence.hpp>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

struct user {
  std::string name;
};

class room {
 public:
  room(user const& me, phx::presence& presence) : me_(me), presence_(&presence) {}

  phx::join_result join(phx::joining& joining, phx::message const&) {
    joining.send("joined");  // nothing can be pushed before the join is answered
    return phx::join_result::ok();
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const&) {
    (void)presence_->track(ctx, me_.name, phx::payload::json(R"({"at":"reading"})"));
    ctx.push("presence_state", presence_->list(ctx.topic()));
    return phx::outcome::noreply();
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "big") return phx::outcome::reply(phx::payload::json('"' + std::string(3'000'000, 'x') + '"'));
    if (in.event == "shout") {
      ctx.broadcast("shout", in.payload);
      return phx::outcome::reply();
    }
    if (in.event != "crash") return phx::outcome::reply(phx::status::error);
#ifdef __cpp_exceptions
    throw std::runtime_error("asked to");
#else
    return phx::outcome::stop(phx::exit_reason(phx::exit_reason::error, "asked to"));
#endif
  }

 private:
  user me_;
  phx::presence* presence_;
};

inline phx::connect_outcome<user> authenticate(phx::connect_info const& info) {
  std::string name(info.param("name").value_or(""));
  if (name.empty()) return phx::http::response{};  // 403
  std::string id = "user:" + name;
  return phx::connected<user>{{std::move(name)}, std::move(id)};
}

/// What all event loops of a process share. It outlives them.
struct application {
  application() {
    channels.channel("room:*", [this](user const& me) { return room(me, presence); });
    presence.start(endpoint);
  }
  phx::router<user> channels{&authenticate};
  phx::mount mount{.path = "/socket", .origins = {"//127.0.0.1", "//localhost"}};
  phx::endpoint endpoint{};
  phx::presence presence{};
  /// The limits of a loop. The seed is a random number, so that nobody can choose topics that collide.
  phx::limits bounds{.seed = phx::random_seed()};
  /// Without a balancer: closes all clients at once, and gives those that do not disconnect 5 s.
  phx::drain_options drain{.batch = UINT32_MAX, .limit = std::chrono::seconds(5)};
};

/// `--port N`; 0: the kernel chooses.
inline std::uint16_t port_of(int argc, char** argv) {
  return argc == 3 ? static_cast<std::uint16_t>(std::atoi(argv[2])) : std::uint16_t{0};
}
inline void announce(unsigned port) {
  std::printf("listening on 127.0.0.1:%u\n", port);
  std::fflush(stdout);
}

#endif

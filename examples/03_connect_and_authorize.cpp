// Authentication and authorization: origins, connect, assigns of a pattern, the socket's id, a disconnect; and an observer.
#include <phx/adapter/blocking.hpp>
#include <phx/phx.hpp>

#include <cstdio>

namespace {

struct user {
  std::string name;
  bool admin = false;
};

phx::connect_outcome<user> authenticate(phx::connect_info const& info) {
  std::string_view const name = info.params().get("name").value_or("");
  if (name.empty()) return phx::http_answer{};  // 403
  if (name.size() > 40) return phx::http_answer{429, {}, "the name is too long"};
  return phx::connected<user>{{std::string(name)}, "user:" + std::string(name)};  // the id: see disconnect below
}

struct room {
  user me;
  explicit room(user const& u) : me(u) {}

  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "kick" && me.admin) {
      ctx.disconnect("user:" + std::string(in.payload.raw().substr(1, in.payload.raw().size() - 2)));
      return phx::outcome::reply();
    }
    return phx::outcome::reply(phx::status::error, phx::payload::json(R"({"reason":"not allowed"})"));
  }
};

// Logs all events, refusals included.
struct event_log {
  void on_event(phx::telemetry_event const& e) noexcept {
    std::fprintf(stderr, "%s %s %s %s\n", std::string(phx::to_string(e.kind)).c_str(), std::string(e.topic).c_str(),
                 std::string(e.text).c_str(), e.params().c_str());
  }
};

}  // namespace

int main(int argc, char** argv) {
  phx::router app(authenticate);
  app.channel<room>("room:*");
  app.channel<room>("admin:*", [](user& u) { u.admin = true; });
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  phx::blocking::server server(app, {.port = static_cast<std::uint16_t>(port),
                                     .mount = {.origins = {"//localhost", "//127.0.0.1", "https://*.example.com"}}});
  event_log log;
  server.observe(log);
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

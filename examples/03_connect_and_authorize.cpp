// Who may connect, from where, and as whom: origins, connect, assigns of a pattern, the socket's id and a disconnect.
#include <phx/adapter/blocking.hpp>
#include <phx/phx.hpp>

#include <cstdio>

namespace {

struct user {
  std::string name;
  bool admin = false;
};

phx::connect_outcome<user> who_is(phx::connect_info const& info) {
  std::string_view const name = info.params().get("name").value_or("");
  if (name.empty()) return phx::http_answer{};  // 403
  if (name.size() > 40) return phx::http_answer{429, {}, "a shorter name, please"};
  return phx::connected<user>{{std::string(name)}, "user:" + std::string(name)};  // the id: see kick below
}

struct room {
  user me;
  explicit room(user const& u) : me(u) {}

  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "kick" && me.admin) {
      ctx.disconnect("user:" + std::string(in.payload.raw().substr(1, in.payload.raw().size() - 2)));
      return phx::outcome::reply();
    }
    return phx::outcome::reply(phx::status::error, phx::payload::json(R"({"reason":"you may not"})"));
  }
};

// Told of everything that happens, or is refused.
struct journal {
  void on_event(phx::telemetry_event const& n) noexcept {
    std::fprintf(stderr, "%s %s %s %s\n", std::string(phx::to_string(n.kind)).c_str(), std::string(n.topic).c_str(),
                 std::string(n.text).c_str(), n.params().c_str());
  }
};

}  // namespace

int main(int argc, char** argv) {
  phx::router app(who_is);
  app.channel<room>("room:*");
  app.channel<room>("admin:*", [](user& u) { u.admin = true; });
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  phx::blocking::server server(app, {.port = static_cast<std::uint16_t>(port),
                                     .mount = {.origins = {"//localhost", "//127.0.0.1", "https://*.example.com"}}});
  journal seen;
  server.observe(seen);
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

// Users of a Phoenix application are authenticated by its tokens: the application signs a token, the page passes it on, and
// this server verifies it with the application's secret.
//
//     token = Phoenix.Token.sign(MyAppWeb.Endpoint, "user socket", user.id)            # in the Elixir application
//     new Socket("ws://localhost:4000/socket", {authToken: token})                     // in its page
#include <phx/adapter/blocking_longpoll.hpp>
#include <phx/adapter/nlohmann.hpp>
#include <phx/erlang/token.hpp>
#include <phx/phx.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

struct user {
  std::int64_t id;
};

struct room {
  user me;
  explicit room(user const& u) : me(u) {}
  phx::outcome handle_in(phx::context&, phx::message const&) { return phx::outcome::reply(nlohmann::json{{"user", me.id}}); }
};

}  // namespace

int main(int argc, char** argv) {
  char const* const secret = std::getenv("SECRET_KEY_BASE");  // the application's
  phx::phoenix_token const logins =
      phx::phoenix_token::make(
          secret != nullptr ? secret : "a public secret for this example only, 64 bytes in a real server", "user socket")
          .value();

  phx::router app([&](phx::connect_info const& info) -> phx::connect_outcome<user> {
    // one day, as in Phoenix's generators; std::nullopt would use the maximum age that the signer chose
    auto const claim = logins.verify(info.auth_token(), std::chrono::system_clock::now(), std::chrono::hours(24));
    if (!claim) return phx::http_answer{401, {}, std::string(to_string(claim.error().code))};
    std::optional<std::int64_t> const id = claim->view().integer();
    if (!id) return phx::http_answer{};
    return phx::connected<user>{{*id}, "users_socket:" + std::to_string(*id)};
  });
  app.channel<room>("room:*");

  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  phx::blocking::server server(app,
                               {.port = static_cast<std::uint16_t>(port), .mount = {.auth_token = true, .longpoll = true}},
                               phx::blocking::long_polling{});
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

// Your own structs as payloads: events bound to member functions that take one, and pushes, broadcasts and replies of
// one. A payload that does not convert is answered with the name of the field at fault, and the channel continues.
#include <phx/adapter/blocking.hpp>
#include <phx/adapter/nlohmann.hpp>
#include <phx/phx.hpp>

#include <cstdio>
#include <cstdlib>

namespace {

struct move {
  std::string piece;
  int x = 0, y = 0;
};
struct chat {
  std::string text;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(move, piece, x, y)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(chat, text)

class board {
 public:
  phx::outcome moved(phx::context& ctx, move const& m) {
    if (m.x < 0 || m.x > 7 || m.y < 0 || m.y > 7) return phx::outcome::reply("illegal");  // a custom status
    ctx.broadcast_from("moved", m);
    return phx::outcome::reply(nlohmann::json{{"moves", ++moves_}});
  }
  phx::outcome chatted(phx::context& ctx, chat const& c) {
    ctx.broadcast("said", c);
    return phx::outcome::noreply();
  }
  phx::outcome resigned(phx::context&) { return phx::outcome::stop(); }

  static constexpr auto events =
      phx::events(phx::on<&board::moved>("move"), phx::on<&board::chatted>("say"), phx::on<&board::resigned>("resign"));

 private:
  int moves_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  phx::router app;
  app.channel<board>("board:*");

  phx::blocking::options opts;
  if (argc == 3) opts.port = static_cast<std::uint16_t>(std::atoi(argv[2]));  // --port P
  phx::blocking::server server(app, opts);
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

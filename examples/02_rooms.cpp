// A channel with a memory and a clock: who came and went, a greeting after the join, a timer, an intercepted event, and a
// topic that all rooms hear.
#include <phx/adapter/blocking.hpp>
#include <phx/adapter/nlohmann.hpp>  // a nlohmann::json, or a struct of yours, wherever a payload is asked for
#include <phx/phx.hpp>

#include <array>
#include <cstdio>

using nlohmann::json;

namespace {

struct room {
  int code = 0;

  // A payload no client could read is an error value here, not a broken connection: whoever looks at it, handles it.
  static phx::outcome answer(phx::sent const& item) {
    return item ? phx::outcome::reply() : phx::outcome::reply(phx::status::error, json{{"reason", "an object"}});
  }

  phx::join_result join(phx::joining& j, phx::message const&) {
    j.send("after_join");        // nothing can be pushed before the join is answered: a message to itself can
    (void)j.subscribe("house");  // what is broadcast there comes to handle_info, and to the client only what that pushes
    return phx::join_result::ok();
  }

  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    if (in.topic == "house") {
      ctx.push(in.event, in.payload);
    } else if (in.event == "after_join") {
      ctx.broadcast_from("came", {});
      ctx.push("welcome", json{{"say", "hello"}});
      (void)ctx.send_after(std::chrono::seconds(30), "tick");
    } else if (in.event == "tick") {
      ctx.push("tick", json{{"said", code}});
      (void)ctx.send_after(std::chrono::seconds(30), "tick");
    }
    return phx::outcome::noreply();
  }

  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "bye") return phx::outcome::stop();
    if (in.event == "announce") return answer(ctx.publish("house", "announced", in.payload));  // every room is told
    if (in.event == "whisper") return answer(ctx.broadcast("whispered", in.payload));
    if (in.event != "say") return phx::outcome::stop(phx::exit_reason::error);  // as an unhandled event does
    ++code;
    return answer(ctx.broadcast("said", in.payload));
  }

  // Every client on the topic has a channel of its own, and each decides what its client gets to see.
  static constexpr std::array<std::string_view, 1> intercepts{"whispered"};
  phx::outcome handle_out(phx::context& ctx, phx::broadcast const& b) {
    if (code > 0) ctx.push(b.event, b.payload);  // only to those who speak
    return phx::outcome::noreply();
  }

  void terminate(phx::context& ctx, phx::exit_reason) noexcept { ctx.broadcast_from("left", {}); }
};

}  // namespace

int main(int argc, char** argv) {
  phx::router app;
  app.channel<room>("room:*");
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  phx::blocking::server server(app, {.port = static_cast<std::uint16_t>(port)});
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

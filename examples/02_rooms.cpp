// A channel with state and a timer: announces joins and leaves, pushes a greeting after the join, intercepts an event, and
// subscribes to a topic that all rooms share.
#include <phx/adapter/blocking.hpp>
#include <phx/adapter/nlohmann.hpp>  // a nlohmann::json, or a struct of yours, wherever a payload is accepted
#include <phx/phx.hpp>

#include <array>
#include <cstdio>

using nlohmann::json;

namespace {

struct room {
  int messages = 0;  // sent by this client

  // A payload that cannot be encoded is an error value. Testing it handles the error; otherwise the channel would crash.
  static phx::outcome answer(phx::sent const& item) {
    return item ? phx::outcome::reply()
                : phx::outcome::reply(phx::status::error, json{{"reason", "the payload must be an object"}});
  }

  phx::join_result join(phx::joining& j, phx::message const&) {
    j.send("after_join");        // pushing is not possible before the join's reply; this message to itself arrives after it
    (void)j.subscribe("house");  // broadcasts there go to handle_info, which decides what to push to the client
    return phx::join_result::ok();
  }

  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    if (in.topic == "house") {
      ctx.push(in.event, in.payload);
    } else if (in.event == "after_join") {
      ctx.broadcast_from("joined", {});
      ctx.push("welcome", json{{"say", "hello"}});
      (void)ctx.send_after(std::chrono::seconds(30), "tick");
    } else if (in.event == "tick") {
      ctx.push("tick", json{{"said", messages}});
      (void)ctx.send_after(std::chrono::seconds(30), "tick");
    }
    return phx::outcome::noreply();
  }

  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "bye") return phx::outcome::stop();
    if (in.event == "announce") return answer(ctx.publish("house", "announced", in.payload));  // to every room
    if (in.event == "whisper") return answer(ctx.broadcast("whispered", in.payload));
    if (in.event != "say") return phx::outcome::stop(phx::exit_reason::error);  // as an unhandled event does
    ++messages;
    return answer(ctx.broadcast("said", in.payload));
  }

  // Each client on the topic has a channel of its own, which decides whether its client gets an intercepted broadcast.
  static constexpr std::array<std::string_view, 1> intercepts{"whispered"};
  phx::outcome handle_out(phx::context& ctx, phx::broadcast const& b) {
    if (messages > 0) ctx.push(b.event, b.payload);  // only to clients that have sent a message
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

#ifndef TESTS_THIRD_HOST_ROOM_HPP
#define TESTS_THIRD_HOST_ROOM_HPP
// The application of third_host: connect, the room, and the game it is part of.

#include <phx/phx.hpp>

#include <cstdint>
#include <stdexcept>

struct player {
  std::string name;
};
inline phx::connect_outcome<player> authenticate(phx::connect_info const& info) {
  std::string const name(info.param("name").value_or(""));
  if (name.empty()) return phx::http::response{};
  return phx::connected<player>{{name}, "player:" + name};
}

struct room {
  explicit room(player const&) {}
  phx::join_result join(phx::joining& joining, phx::message const& in) {
    joining.send("greet", in.payload);  // nothing can be pushed before the join is answered
    return phx::join_result::ok(phx::payload::json(R"({"tick_ms":20})"));
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    ctx.push("welcome", in.payload);
    return phx::outcome::noreply();
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "crash") throw std::runtime_error("asked to");
    if (in.event == "kick") {
      ctx.disconnect("player:kicked");
      return phx::outcome::reply();
    }
    if (in.event != "shout")
      return phx::outcome::reply(phx::status::error, phx::payload::json(R"({"reason":"unknown event"})"));
    if (!ctx.broadcast("shout", in.payload)) return phx::outcome::reply(phx::status::error);
    return phx::outcome::noreply();
  }
};

struct game {
  std::uint64_t ticks = 0;
  void tick(phx::loop& loop) {
    if (++ticks % 10 != 0) return;
    std::string const text = "{\"tick\":" + std::to_string(ticks) + "}";
    (void)loop.publish({.topic = "room:lobby", .event = "tick", .payload = phx::payload::json(text)});
  }
};

#endif

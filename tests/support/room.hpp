#ifndef PHX_TESTS_SUPPORT_ROOM_HPP
#define PHX_TESTS_SUPPORT_ROOM_HPP
// A channel that acts on the names of its events, and records its callbacks.

#include <phx/testing/conversation.hpp>
#include <phx/testing/server.hpp>

#include <support/msgpack.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>

template <>
struct doctest::StringMaker<std::vector<std::string>> {
  static String convert(std::vector<std::string> const& all) {
    std::string text = all.empty() ? "nothing" : "";
    for (std::string const& s : all) text += "\n    " + s;
    return text.c_str();
  }
};

namespace support {

using texts = std::vector<std::string>;
using namespace std::chrono_literals;

/// The records of all rooms of a test, and the handles they gave out.
struct journal {
  texts lines{};                                 // `topic: event`
  std::map<std::string, phx::channel_id> ids{};  // by topic, of the newest channel
  std::vector<phx::reply_to> replies{};
  std::vector<std::string_view> order{};
  void (*on_event)(void*, phx::context&, phx::message const&) = nullptr;  // for `call`
  void (*on_end)(void*, phx::context&, phx::exit_reason) noexcept = nullptr;
  void* with = nullptr;

  void note(std::string_view topic, std::string_view text) {
    lines.push_back(std::string(topic) + ": " + std::string(text));
  }
  texts take() { return std::exchange(lines, {}); }
};

/// The session.
struct user {
  journal* log = nullptr;
  std::string name{};
};

[[nodiscard]] inline std::string_view name_of(phx::exit_reason reason) {
  switch (reason.what()) {
    case phx::exit_reason::normal: return "normal";
    case phx::exit_reason::shutdown: return "shutdown";
    case phx::exit_reason::left: return "left";
    case phx::exit_reason::replaced: return "replaced";
    case phx::exit_reason::error: return "error";
    case phx::exit_reason::killed: return "killed";
    case phx::exit_reason::closed: return "closed";
    case phx::exit_reason::draining: return "draining";
    case phx::exit_reason::connection_error: return "connection_error";
  }
  return "?";
}

struct room {
  static constexpr std::array<std::string_view, 2> intercepts{"masked", "muted"};

  explicit room(user const& w) : me(w) {}
  room(room const&) = delete;
  room& operator=(room const&) = delete;
  ~room() {
    if (me.log != nullptr && !topic.empty()) me.log->note(topic, "gone");
  }

  phx::join_result join(phx::joining& j, phx::message const& in) {
    topic = j.topic();
    me.log->ids[topic] = j.id();
    std::string_view const mode = in.payload.raw();
    auto const wants = [&](std::string_view word) { return !in.payload.is_binary() && mode.find(word) != mode.npos; };
    if (wants("\"deny\"")) return phx::join_result::error(phx::payload::json(R"({"reason":"no"})"));
#ifdef __cpp_exceptions
    if (wants("\"crash\"")) throw std::runtime_error("join exploded");
#endif
    if (wants("\"later\"")) return phx::join_result::later(j.now() + 5s);
    if (wants("\"forever\"")) return phx::join_result::later(phx::time_point::max());
    if (wants("\"self\"")) j.send("hello", phx::payload::json(R"({"from":"join"})"));
    if (wants("\"timer\"")) (void)j.send_after(3s, "tick");
    if (wants("\"timers\""))
      for (int i = 0; i < 3; ++i) (void)j.send_after(3s, "tick");
    if (wants("\"nonsense\"")) return phx::join_result::ok(phx::payload::json("{"));
    if (wants("\"echo\"") || in.payload.is_binary()) return phx::join_result::ok(in.payload);
    return phx::join_result::ok();
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "echo_error") return phx::outcome::reply(phx::status::error, in.payload);
    if (in.event == "busy") return phx::outcome::reply("busy");
    if (in.event == "push") ctx.push("pushed", in.payload);
    if (in.event == "push_then_reply") return ctx.push("pushed", in.payload), phx::outcome::reply();
    if (in.event == "shout") ctx.broadcast("shout", in.payload);
    if (in.event == "shout_then_reply") return ctx.broadcast("shout", in.payload), phx::outcome::reply();
    if (in.event == "whisper") return ctx.broadcast_from("whisper", in.payload), phx::outcome::reply();
    if (in.event == "masked" || in.event == "muted") return ctx.broadcast(in.event, in.payload), phx::outcome::reply();
    if (in.event == "self") ctx.send("hello", in.payload);
    if (in.event == "timer") (void)ctx.send_after(3s, "tick", in.payload);
    if (in.event == "async") me.log->replies.push_back(ctx.reply());
    if (in.event == "elsewhere") ctx.publish("room:elsewhere", "news", in.payload);
    if (in.event == "disconnect") return ctx.disconnect("user:ann"), phx::outcome::reply();
    if (in.event == "try") {  // handles a failure
      bool const fine = static_cast<bool>(ctx.push("pushed", in.payload));
      return phx::outcome::reply(fine ? phx::status::ok : phx::status::error);
    }
    if (in.event == "try_shout") {
      phx::errc const ec = ctx.broadcast("shout", in.payload).error();
      return phx::outcome::reply(ec == phx::errc::none ? phx::status::ok : phx::status::error,
                                 phx::payload::json('"' + std::string(to_string(ec)) + '"'));
    }
    if (in.event == "bad_json") ctx.push("pushed", phx::payload::json("{"));
    if (in.event == "bad_reply") return phx::outcome::reply(phx::payload::json("nope"));
    if (in.event == "stop") return phx::outcome::stop(phx::exit_reason::normal);
    if (in.event == "stop_reply") return phx::outcome::stop(phx::exit_reason::normal, phx::status::ok, in.payload);
    if (in.event == "stop_shutdown") return phx::outcome::stop(phx::exit_reason(phx::exit_reason::shutdown, "tired"));
    if (in.event == "boom") return phx::outcome::stop(phx::exit_reason::error);
    if (in.event == "boom_reply") return phx::outcome::stop(phx::exit_reason::error, phx::status::error, in.payload);
#ifdef __cpp_exceptions
    if (in.event == "throw") throw std::runtime_error("handler exploded");
    if (in.event == "throw_int") throw 42;
    if (in.event == "push_throw") {
      ctx.push("pushed", in.payload);
      throw std::runtime_error("after the push");
    }
#endif
    if (in.event == "call" && me.log->on_event != nullptr) me.log->on_event(me.log->with, ctx, in);
    if (in.event == "note") me.log->note(topic, in.payload.raw());
    return phx::outcome::noreply();
  }
  phx::outcome handle_out(phx::context& ctx, phx::broadcast const& b) {
    if (b.event == "masked") ctx.push("masked", phx::payload::json(R"({"seen_by":")" + me.name + R"("})"));
#ifdef __cpp_exceptions
    if (b.payload.raw() == R"({"throw":1})") throw std::runtime_error("handle_out exploded");
#endif
    return b.payload.raw() == R"({"stop":1})" ? phx::outcome::stop() : phx::outcome::noreply();
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    if (in.event == "stop") return phx::outcome::stop();
#ifdef __cpp_exceptions
    if (in.event == "throw") throw std::runtime_error("handle_info exploded");
#endif
    ctx.push(in.event, in.payload);
    return phx::outcome::noreply();
  }
  void terminate(phx::context& ctx, phx::exit_reason reason) noexcept {
    me.log->note(topic, name_of(reason));
    if (me.log->on_end != nullptr) me.log->on_end(me.log->with, ctx, reason);
  }

  user me;
  std::string topic{};
};

/// `room:*` served by rooms.
struct rooms : phx::router<user> {
  rooms() { channel<room>("room:*"); }
};

/// An Observer that records everything.
struct watcher {
  texts seen{};
  void on_event(phx::telemetry_event const& n) noexcept {
    std::string line(to_string(n.kind));
    if (!n.topic.empty()) line += " " + std::string(n.topic);
    if (!n.event.empty()) line += " " + std::string(n.event);
    if (!n.text.empty()) line += " '" + std::string(n.text) + "'";
    if (n.error != phx::errc::none) line += " <" + std::string(to_string(n.error)) + ">";
    if (n.kind == phx::event_code::channel_ended || n.kind == phx::event_code::socket_closed)
      line += " ", line += name_of(n.exit);
    if (n.code != 0) line += " " + std::to_string(n.code);
    if (n.payload != nullptr) line += " " + n.params();
    seen.push_back(std::move(line));
  }
  texts take() { return std::exchange(seen, {}); }
  [[nodiscard]] std::size_t count(std::string_view prefix) const {
    return static_cast<std::size_t>(
        std::count_if(seen.begin(), seen.end(), [&](std::string const& s) { return s.starts_with(prefix); }));
  }
};

/// A conversation with rooms, and their journal.
struct talk {
  journal log{};
  rooms dispatcher{};
  watcher seen{};
  phx::testing::conversation<rooms> c;

  explicit talk(std::string_view vsn = "2.0.0", phx::mount on = {}, std::optional<std::string> id = {})
      : c(dispatcher, vsn, std::move(on), user{&log, "ann"}, std::move(id)) {}

  /// The frames sent in response to `text`.
  texts say(std::string_view text) {
    c.in(text);
    return c.out();
  }
  /// A message of vsn 2.0.0 on room:a with the join_ref "1".
  texts tell(std::string_view event, std::string_view payload = "{}", std::string_view ref = "\"9\"") {
    return say("[\"1\"," + std::string(ref) + ",\"room:a\",\"" + std::string(event) + "\"," + std::string(payload) + ']');
  }
  texts join(std::string_view topic = "room:a", std::string_view ref = "1", std::string_view payload = "{}") {
    std::string const r = '"' + std::string(ref) + '"';
    return say("[" + r + "," + r + ",\"" + std::string(topic) + "\",\"phx_join\"," + std::string(payload) + ']');
  }
  texts after(phx::duration d) {
    c.advance(d);
    return c.out();
  }
  watcher& watch() {
    c.loop().observe(seen);
    return seen;
  }
  texts topics() {
    texts all;
    c.loop().for_each_channel(c.socket().name(), [&](std::string_view t, phx::channel_state s) {
      all.push_back(std::string(t) + (s == phx::channel_state::joining ? " joining" : ""));
    });
    return all;
  }
};

/// `[J,R,"room:a","phx_reply",{"status":S,"response":X}]` with both refs as JSON.
[[nodiscard]] inline std::string reply(std::string_view join_ref, std::string_view ref, std::string_view status = "ok",
                                       std::string_view response = "{}", std::string_view topic = "room:a") {
  return "[" + std::string(join_ref) + "," + std::string(ref) + ",\"" + std::string(topic) +
         "\",\"phx_reply\",{\"status\":\"" + std::string(status) + "\",\"response\":" + std::string(response) + "}]";
}
[[nodiscard]] inline std::string ended(std::string_view join_ref, bool crashed = false, std::string_view topic = "room:a") {
  std::string const j(join_ref);
  return "[" + j + "," + j + ",\"" + std::string(topic) +
         (crashed ? R"(","phx_error",{"reason":"channel_crash"}])" : R"(","phx_close",{}])");
}
[[nodiscard]] inline std::string pushed(std::string_view event, std::string_view payload,
                                        std::string_view join_ref = R"("1")", std::string_view topic = "room:a") {
  return "[" + std::string(join_ref) + ",null,\"" + std::string(topic) + "\",\"" + std::string(event) + "\"," +
         std::string(payload) + "]";
}
[[nodiscard]] inline std::string shouted(std::string_view event, std::string_view payload,
                                         std::string_view topic = "room:a") {
  return pushed(event, payload, "null", topic);
}

/// An allocator that counts and can be made to fail. The hook is two plain functions, so there is one per process: reset it.
struct metered {
  static inline std::atomic<std::size_t> allocations{0}, releases{0};
  static inline std::atomic<std::ptrdiff_t> bytes{0};
  static inline std::atomic<std::size_t> fail_at{SIZE_MAX};  // the allocation (counted from 0) that fails
  static inline std::atomic<bool> fail_on{false};            // and all after it
  static inline std::atomic<bool> wrong_size{false};

  static void reset() {
    allocations = releases = 0;
    bytes = 0;
    fail_at = SIZE_MAX;
    fail_on = wrong_size = false;
  }
  static phx::memory hook() {
    return {[](std::size_t n) noexcept -> void* {
              std::size_t const which = allocations++;
              if (which == fail_at || (fail_on && which > fail_at)) return nullptr;
              auto* const at = static_cast<std::size_t*>(std::malloc(n + sizeof(std::max_align_t)));
              if (at == nullptr) return nullptr;
              *at = n;
              bytes += static_cast<std::ptrdiff_t>(n);
              return reinterpret_cast<char*>(at) + sizeof(std::max_align_t);
            },
            [](void* p, std::size_t n) noexcept {
              auto* const at = reinterpret_cast<std::size_t*>(static_cast<char*>(p) - sizeof(std::max_align_t));
              if (*at != n) wrong_size = true;
              ++releases;
              bytes -= static_cast<std::ptrdiff_t>(n);
              std::free(at);
            }};
  }
};

}  // namespace support

#endif

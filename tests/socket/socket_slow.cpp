// Clients that read more slowly than messages arrive: which messages wait, which are dropped, and who is informed.
// limits::outbound with pressure_policy::close and ignore is in socket_limits.cpp.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

#include <algorithm>

using namespace support;

namespace {

using policy = phx::pressure_policy;

template <policy P>
struct with_policy {
  static constexpr policy when_slow = P;
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "push") return ctx.push("pushed", in.payload, "k"), phx::outcome::noreply();
    return phx::outcome::reply(in.payload);
  }
};
struct plain {
  phx::outcome handle_in(phx::context&, phx::message const& in) { return phx::outcome::reply(in.payload); }
};
/// The policy that its client requests.
struct asked {
  policy when_slow = policy::close;
  phx::join_result join(phx::joining&, phx::message const& in) {
    if (in.payload.raw() == R"("latest")") when_slow = policy::keep_latest;
    return phx::join_result::ok();
  }
};
struct topics : phx::router<> {
  topics() {
    channel<with_policy<policy::drop_newest>>("newest");
    channel<with_policy<policy::drop_oldest>>("oldest");
    channel<with_policy<policy::keep_latest>>("latest");
    channel<plain>("plain:*");
    channel<asked>("asked");
  }
};

/// Version 2 broadcasts and pushes objects only.
std::string wrapped(std::string_view value) { return "{\"v\":" + std::string(value) + "}"; }
phx::payload object(std::string_view value) { return phx::payload::json(wrapped(value)); }

/// A client of one connection, which can stop reading.
struct slow_talk {
  topics dispatcher{};
  watcher seen{};
  phx::testing::conversation<topics> c;
  phx::testing::recorder& wire;

  explicit slow_talk(policy of_connection = policy::close, std::size_t outbound = 10'000, bool tell = false)
      : c(dispatcher, "2.0.0", bounded(of_connection, outbound, tell)), wire(c.recorder()) {
    c.loop().observe(seen);
  }
  static phx::mount bounded(policy p, std::size_t outbound, bool tell) {
    phx::mount m;
    m.bounds.outbound = outbound;
    m.bounds.pressure = p;
    m.bounds.tell_dropped = tell;
    m.bounds.memory = metered::hook();
    return m;
  }
  void join(std::string const& topic, std::string const& payload = "{}") {
    c.in(R"(["1","1",")" + topic + R"(","phx_join",)" + payload + "]");
    (void)c.out();
  }
  /// Stops reading; from now on phx knows.
  void stop_reading() {
    wire.stalled = true;
    wire.answer = phx::send_status::congested;
    wire.waiting = 100;
  }
  void read_again() {
    wire.stalled = false;
    wire.answer = phx::send_status::ok;
    wire.waiting = 0;
    (void)c.socket().writable(c.loops().now());
    c.settle();
  }
  void say(std::string_view topic, std::string_view event, std::string_view payload, std::string_view key = {}) {
    CHECK(c.loop().publish({topic, event, object(payload), {}, key}) == phx::errc::none);
    c.settle();
  }
  void echo(std::string const& topic, std::string const& payload) {
    c.in(R"(["1","9",")" + topic + R"(","echo",)" + payload + "]");
  }
};
std::string broadcast_frame(std::string_view topic, std::string_view event, std::string_view payload) {
  return shouted(event, wrapped(payload), topic);
}
std::string answer(std::string_view topic, std::string_view payload) {
  return reply("\"1\"", "\"9\"", "ok", payload, topic);
}
std::string big(char with) {
  std::string text(1002, with);
  text.front() = text.back() = '"';
  return text;
}

}  // namespace

TEST_CASE("slow: keep_latest keeps one message for each topic, event and key, in the position of the first") {
  slow_talk t;
  t.join("latest");
  t.stop_reading();
  t.say("latest", "tick", "0", "a");  // accepted, and congested
  t.say("latest", "tick", "1", "a");
  t.say("latest", "tick", "2", "b");
  t.say("latest", "tick", "3");
  t.say("latest", "tick", "4", "a");
  t.say("latest", "trade", "5", "a");
  t.say("latest", "tick", "6");
  CHECK(t.c.out() == texts{broadcast_frame("latest", "tick", "0")});
  t.read_again();
  CHECK(t.c.out() == texts{broadcast_frame("latest", "tick", "4"), broadcast_frame("latest", "tick", "2"),
                           broadcast_frame("latest", "tick", "6"), broadcast_frame("latest", "trade", "5")});
  CHECK(t.c.socket().dropped() == 2);
  CHECK_FALSE(t.c.socket().slow());
}

TEST_CASE("slow: a replaced message overtakes no reply, no end, and nothing of another policy") {
  slow_talk t;
  t.join("latest");
  t.join("oldest");
  t.stop_reading();
  t.say("latest", "tick", "0", "a");
  t.say("latest", "tick", "1", "a");
  t.echo("latest", "1");
  t.say("latest", "tick", "2", "a");
  t.say("oldest", "line", "1");
  t.say("latest", "tick", "3", "a");
  t.read_again();
  CHECK(t.c.out() == texts{broadcast_frame("latest", "tick", "0"), answer("latest", "1"),
                           broadcast_frame("oldest", "line", "1"), broadcast_frame("latest", "tick", "3")});
}

TEST_CASE("slow: a message of an ended channel is not replaced by one of its successor") {
  slow_talk t;
  t.join("latest");
  t.stop_reading();
  t.say("latest", "tick", "0");
  t.say("latest", "tick", "1");
  t.c.in(R"(["1","3","latest","phx_leave",{}])");
  t.c.in(R"(["4","4","latest","phx_join",{}])");
  t.say("latest", "tick", "2");
  t.read_again();
  CHECK(t.c.out() == texts{broadcast_frame("latest", "tick", "0"), broadcast_frame("latest", "tick", "1"),
                           reply("\"1\"", "\"3\"", "ok", "{}", "latest"), ended("\"1\"", false, "latest"),
                           reply("\"4\"", "\"4\"", "ok", "{}", "latest"), broadcast_frame("latest", "tick", "2")});
}

TEST_CASE("slow: pushes are replaced by key too, from whichever thread they come") {
  slow_talk t;
  t.join("latest");
  t.stop_reading();
  t.say("latest", "tick", "0", "a");
  t.c.in(R"(["1","9","latest","push",{"v":1}])");
  t.c.in(R"(["1","9","latest","push",{"v":2}])");
  (void)t.c.endpoint().broadcast("latest", "tick", object("3"), "a");
  (void)t.c.endpoint().broadcast("latest", "tick", object("4"), "b");
  (void)t.c.endpoint().broadcast("latest", "tick", object("5"), "a");
  t.c.settle();
  t.read_again();
  CHECK(t.c.out() == texts{broadcast_frame("latest", "tick", "0"), pushed("pushed", wrapped("2"), "\"1\"", "latest"),
                           broadcast_frame("latest", "tick", "5"), broadcast_frame("latest", "tick", "4")});
}

TEST_CASE("slow: drop_oldest keeps the latest messages that fit, and replies in their positions") {
  slow_talk t;
  t.join("oldest");
  t.stop_reading();
  t.say("oldest", "line", "\"first\"");
  t.echo("oldest", "1");
  for (char c = 'a'; c <= 'z'; ++c) t.say("oldest", "line", big(c));
  t.echo("oldest", "2");
  CHECK_FALSE(t.c.closed());
  t.read_again();
  texts const out = t.c.out();
  REQUIRE(out.size() > 5);
  CHECK(out[0] == broadcast_frame("oldest", "line", "\"first\""));
  CHECK(out[1] == answer("oldest", "1"));
  CHECK(out.back() == answer("oldest", "2"));
  std::size_t const kept = out.size() - 3;
  CHECK(kept >= 6);
  CHECK(kept <= 9);
  for (std::size_t i = 0; i < kept; ++i)
    CHECK(out[2 + i] == broadcast_frame("oldest", "line", big(static_cast<char>('z' + 1 - kept + i))));
  CHECK(t.c.socket().dropped() == 26 - kept);
  CHECK(t.seen.count("frame_dropped oldest") == 26 - kept);
}

TEST_CASE("slow: drop_newest keeps the first messages, and all replies") {
  slow_talk t;
  t.join("newest");
  t.stop_reading();
  t.say("newest", "line", "\"first\"");
  for (char c = 'a'; c <= 'z'; ++c) t.say("newest", "line", big(c));
  for (int i = 0; i < 5; ++i) t.echo("newest", big('!'));
  t.say("newest", "line", big('+'));
  CHECK_FALSE(t.c.closed());
  t.read_again();
  texts const out = t.c.out();
  REQUIRE(out.size() > 7);
  std::size_t const kept = out.size() - 6;
  for (std::size_t i = 0; i < kept; ++i)
    CHECK(out[1 + i] == broadcast_frame("newest", "line", big(static_cast<char>('a' + i))));
  for (std::size_t i = 0; i < 5; ++i) CHECK(out[1 + kept + i] == answer("newest", big('!')));
  CHECK(t.c.socket().dropped() == 27 - kept);
  t.say("newest", "line", "1");
  CHECK(t.c.out() == texts{broadcast_frame("newest", "line", "1")});
}

TEST_CASE("slow: at most limits::outbound bytes wait, whatever the policy") {
  for (char const* const topic : {"newest", "oldest", "latest"}) {
    metered::reset();
    slow_talk t(policy::close, 20'000);
    t.join(topic);
    std::ptrdiff_t const before = metered::bytes;
    t.wire.keeps = false;
    t.wire.stalled = true;  // returns ok: phx detects the limit by itself
    for (int i = 0; i < 1000; ++i) t.say(topic, "line", big('x'), std::to_string(i));
    CHECK_FALSE(t.c.closed());
    CHECK(t.wire.waiting <= 10'000 + 1100);
    // The blocks of the frames have the sizes of the pool.
    CHECK(metered::bytes - before < 2 * 20'000 + 64 * 2100);
    t.wire.stalled = false;
    t.wire.waiting = 0;
    (void)t.c.socket().writable(t.c.loops().now());
    CHECK_FALSE(t.c.socket().slow());
    CHECK(t.wire.sends + t.c.socket().dropped() == 1001);
  }
}

TEST_CASE("slow: a client that leaves room for replies only is closed with 1008") {
  for (policy const p : {policy::drop_newest, policy::drop_oldest, policy::keep_latest, policy::close}) {
    slow_talk t(p);
    t.join("plain:1");
    t.stop_reading();
    for (int i = 0; i < 100; ++i) t.echo("plain:1", big('x'));
    CHECK(t.c.close_code() == 1008);
    CHECK(t.seen.count("pressure") == 1);
    CHECK(t.seen.count("frame_dropped") == 0);
    CHECK(t.wire.after_close == 0);
    // All replies are passed to the transport before its close.
    CHECK(t.c.out().size() >= 8);
  }
}

TEST_CASE("slow: the connection's policy applies to channels without their own") {
  slow_talk t(policy::keep_latest);
  t.join("plain:1");
  t.stop_reading();
  for (char const* const n : {"0", "1", "2", "3"}) t.say("plain:1", "tick", n);
  t.read_again();
  CHECK(t.c.out() == texts{broadcast_frame("plain:1", "tick", "0"), broadcast_frame("plain:1", "tick", "3")});
}

TEST_CASE("slow: a channel may choose the policy in join, as its client asked") {
  for (bool const latest : {false, true}) {
    slow_talk t;
    t.join("asked", latest ? R"("latest")" : "{}");
    t.stop_reading();
    for (char const* const n : {"0", "1", "2"}) t.say("asked", "tick", n);
    t.read_again();
    CHECK(t.c.out().size() == (latest ? 2u : 3u));
  }
}

TEST_CASE("slow: the policy of one topic does not apply to others: beyond the limit they close") {
  slow_talk t;
  t.join("plain:1");
  t.join("latest");
  t.stop_reading();
  t.say("latest", "tick", "0");
  t.say("latest", "tick", big('y'));
  for (char c = 'a'; c <= 'e'; ++c) t.say("plain:1", "line", big(c));
  CHECK_FALSE(t.c.closed());
  for (char c = 'f'; c <= 'z'; ++c) t.say("plain:1", "line", big(c));
  CHECK(t.c.close_code() == 1008);
}

TEST_CASE("slow: with ignore everything goes to the host, in order, once another topic has no room") {
  slow_talk t(policy::ignore);
  t.join("plain:1");
  t.join("latest");
  t.stop_reading();
  t.say("latest", "tick", "0");
  t.say("latest", "tick", "1");
  for (char c = 'a'; c <= 'z'; ++c) t.say("plain:1", "line", big(c));
  CHECK_FALSE(t.c.closed());
  texts const out = t.c.out();
  CHECK(out.size() == 28 - t.c.socket().dropped());
  REQUIRE(out.size() >= 26);
  for (std::size_t i = 0; i < 26; ++i)
    CHECK(out[out.size() - 26 + i] == broadcast_frame("plain:1", "line", big(static_cast<char>('a' + i))));
}

TEST_CASE("slow: the observer is told at the start, for each dropped message, and at the end") {
  slow_talk t;
  t.join("latest");
  (void)t.seen.take();
  t.stop_reading();
  for (int i = 0; i < 4; ++i) t.say("latest", "tick", std::to_string(i), "a");
  CHECK(t.seen.take() == texts{"slow", "frame_dropped latest tick", "frame_dropped latest tick"});
  t.read_again();
  CHECK(t.seen.take() == texts{"caught_up"});
}

TEST_CASE("slow: with limits::tell_dropped the client is told the number on each topic once it has caught up") {
  slow_talk t(policy::drop_oldest, 10'000, true);
  t.join("latest");
  t.join("oldest");
  t.join("plain:1");
  t.stop_reading();
  for (int i = 0; i < 5; ++i) t.say("latest", "tick", std::to_string(i), "a");
  for (char c = 'a'; c <= 'z'; ++c) t.say("oldest", "line", big(c));
  t.read_again();
  texts out = t.c.out();
  REQUIRE(out.size() > 3);
  std::size_t const lines = out.size() - 4;  // of them "0" and "4" of the ticks, unless it made room
  CHECK(out[out.size() - 2] == pushed("phx_dropped", R"({"count":4})", "\"1\"", "latest"));
  CHECK(out[out.size() - 1] ==
        pushed("phx_dropped", R"({"count":)" + std::to_string(26 - lines - 1) + "}", "\"1\"", "oldest"));
  t.stop_reading();
  t.say("latest", "tick", "0", "a");
  t.read_again();
  CHECK(t.c.out() == texts{broadcast_frame("latest", "tick", "0")});  // no message was missed
}

TEST_CASE("slow: run serves the slow clients of a host that never calls writable") {
  slow_talk t;
  t.join("latest");
  t.stop_reading();
  t.say("latest", "tick", "0", "a");
  t.say("latest", "tick", "1", "a");
  (void)t.c.out();
  t.c.advance(1s);
  CHECK(t.c.out().empty());
  t.wire.stalled = false;
  t.wire.answer = phx::send_status::ok;
  t.wire.waiting = 0;
  t.c.advance(100ms);
  CHECK(t.c.out() == texts{broadcast_frame("latest", "tick", "1")});
  CHECK(t.c.loop().run(t.c.loops().now()) > t.c.loops().now() + 1s);  // no client is slow: there is nothing to do
}

TEST_CASE("slow: the transport is fed when half of its data is left, and not more than it accepts") {
  slow_talk t;
  t.join("oldest");
  t.stop_reading();
  t.wire.waiting = 1000;
  t.say("oldest", "line", "0");
  for (char const* const n : {"1", "2", "3"}) t.say("oldest", "line", n);
  (void)t.c.out();
  std::size_t const held = t.wire.waiting;
  t.wire.waiting = held / 2 + 1;
  CHECK(t.c.socket().writable(t.c.loops().now()));
  CHECK(t.c.out().empty());
  t.wire.waiting = held / 2;
  CHECK(t.c.socket().writable(t.c.loops().now()));
  CHECK(t.c.out() == texts{broadcast_frame("oldest", "line", "1")});  // congested again at once
  CHECK(t.c.socket().slow());
  t.read_again();
  CHECK(t.c.out() == texts{broadcast_frame("oldest", "line", "2"), broadcast_frame("oldest", "line", "3")});
}

TEST_CASE("slow: a frame that the transport drops is queued, not lost, if the policy is to drop") {
  slow_talk t(policy::drop_oldest);
  t.join("plain:1");
  t.wire.answer = phx::send_status::dropped;
  t.echo("plain:1", "1");
  t.say("plain:1", "line", "2");
  CHECK(t.c.out().empty());
  t.read_again();
  CHECK(t.c.out() == texts{answer("plain:1", "1"), broadcast_frame("plain:1", "line", "2")});
  CHECK(t.c.socket().dropped() == 0);
}

TEST_CASE("slow: queued frames are sent before a close") {
  slow_talk t;
  t.join("latest");
  t.stop_reading();
  for (char const* const n : {"0", "1", "2"}) t.say("latest", "tick", n);
  (void)t.c.out();
  t.c.socket().disconnect();
  t.c.settle();
  CHECK(t.c.close_code() == 1001);
  CHECK(t.c.out() == texts{broadcast_frame("latest", "tick", "2")});
  CHECK(t.wire.after_close == 0);
}

TEST_CASE("slow: ending a slow client frees its queue; a client that keeps up has none") {
  metered::reset();
  {
    slow_talk t;
    t.join("latest");
    t.wire.keeps = false;
    std::ptrdiff_t const in_time = metered::bytes;
    std::size_t const allocations = metered::allocations;
    for (int i = 0; i < 100; ++i) t.say("latest", "tick", "1", std::to_string(i));
    CHECK(metered::allocations - allocations <= 2);  // a frame, for reuse
    CHECK(t.c.socket().writable(t.c.loops().now()));
    t.stop_reading();
    for (int i = 0; i < 20; ++i) t.say("latest", "tick", "1", std::to_string(i));
    CHECK(metered::bytes > in_time + 19 * 64);
    SUBCASE("its client disconnects") { t.c.gone(); }
    SUBCASE("its host destroys it") { t.c.destroy(); }
    SUBCASE("it catches up") { t.read_again(); }
  }
  CHECK(metered::bytes == 0);
  CHECK_FALSE(metered::wrong_size.load());
  metered::reset();
}

TEST_CASE("slow: whichever allocation fails, no reply is lost without a close") {
  for (std::size_t n = 0; n < 60; ++n) {
    metered::reset();
    {
      slow_talk t;
      t.join("latest");
      t.join("oldest");
      t.stop_reading();
      metered::fail_at = metered::allocations + n;
      for (int i = 0; i < 12; ++i) {
        (void)t.c.loop().publish({"latest", "tick", object(std::to_string(i)), {}, std::to_string(i)});
        t.echo("latest", std::to_string(i));
      }
      metered::fail_at = SIZE_MAX;
      t.read_again();
      std::size_t replies = 0;
      for (std::string const& s : t.c.out()) replies += s.find("phx_reply") != s.npos;
      // Without memory to encode a reply it is not sent, and the observer is informed.
      CHECK(replies + t.seen.count("no_memory") >= (t.c.closed() ? 0u : 12u));
    }
    CHECK(metered::bytes == 0);
    CHECK_FALSE(metered::wrong_size.load());
  }
  metered::reset();
}

TEST_CASE("slow: thousands of keys, each kept once") {
  slow_talk t(policy::close, 1'000'000);
  t.join("latest");
  t.stop_reading();
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 2000; ++i) t.say("latest", "tick", std::to_string(round), std::to_string(i));
  (void)t.c.out();
  t.read_again();
  texts const out = t.c.out();
  CHECK(out.size() == 2000);
  CHECK(std::count(out.begin(), out.end(), broadcast_frame("latest", "tick", "2")) == 2000);
}

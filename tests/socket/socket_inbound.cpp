// limits::inbound and inbound_channel: how fast a client may send. The clock is the test's.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

using namespace support;

namespace {

phx::mount limited(phx::inbound_limit of_socket, phx::inbound_limit of_channel = {}) {
  phx::mount m;
  m.bounds.inbound = of_socket;
  m.bounds.inbound_channel = of_channel;
  return m;
}

std::string const echoed = reply("\"1\"", "\"9\"", "ok", "{}");

}  // namespace

TEST_CASE("inbound_meter: so many at once, then one for each interval; bytes may be overdrawn by one message") {
  using phx::detail::inbound_meter;
  phx::time_point now{1h};
  phx::inbound_limit const ten{.messages = 10};
  inbound_meter m;
  for (int i = 0; i < 10; ++i) {
    CHECK(m.wait(ten, now) == phx::duration::zero());
    m.count(ten, 1'000'000, now);
  }
  CHECK(m.wait(ten, now) == 100ms);
  now += 99ms;
  CHECK(m.wait(ten, now) == 1ms);
  now += 1ms;
  CHECK(m.wait(ten, now) == phx::duration::zero());
  now += 1h;  // nothing is saved up beyond the burst
  for (int i = 0; i < 10; ++i) m.count(ten, 0, now);
  CHECK(m.wait(ten, now) == 100ms);

  phx::inbound_limit const kilobyte{.bytes = 1000, .burst = 2s};
  inbound_meter b;
  for (int i = 0; i < 20; ++i) {
    CHECK(b.wait(kilobyte, now) == phx::duration::zero());
    b.count(kilobyte, 100, now);
  }
  CHECK(b.wait(kilobyte, now) > phx::duration::zero());
  now += 1s;
  CHECK(b.wait(kilobyte, now) == phx::duration::zero());
  b.count(kilobyte, 50'000, now);
  CHECK(b.wait(kilobyte, now) > 48s);
  CHECK(b.wait(kilobyte, now) < 50s);

  // No burst at all still lets one message pass at a time; sizes and rates saturate.
  phx::inbound_limit const tiny{.messages = 1, .bytes = SIZE_MAX, .burst = phx::duration::zero()};
  inbound_meter c;
  CHECK(c.wait(tiny, now) == phx::duration::zero());
  c.count(tiny, SIZE_MAX, now);
  CHECK(c.wait(tiny, now) == 1s);
  phx::inbound_limit const forever{.bytes = 1, .burst = phx::duration::max()};
  c.count(forever, SIZE_MAX, phx::time_point::max());
  CHECK(c.wait(forever, phx::time_point::min()) >= phx::duration::zero());
}

TEST_CASE("limits::inbound: close: one message more than the limit allows closes with 1008; its channels get closed") {
  talk t("2.0.0", limited({.messages = 3}));
  watcher& seen = t.watch();
  (void)t.join();
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(t.tell("echo").empty());
  CHECK(t.c.close_code() == 1008);
  CHECK(seen.count("flood 'close'") == 1);
  CHECK(t.log.take() == texts{"room:a: closed", "room:a: gone"});
}

TEST_CASE("limits::inbound: a client that keeps to the limit is never closed") {
  talk t("2.0.0", limited({.messages = 10, .bytes = 10'000, .burst = 200ms}));
  (void)t.join();
  for (int i = 0; i < 100; ++i) {
    t.c.advance(100ms);
    CHECK(t.tell("echo") == texts{echoed});
  }
  CHECK_FALSE(t.c.closed());
}

TEST_CASE("limits::inbound: bytes count too, whatever the messages are") {
  talk t("2.0.0", limited({.bytes = 200}));
  (void)t.join();  // some 30 bytes
  CHECK(t.tell("echo", '"' + std::string(1000, 'x') + '"').size() == 1);
  CHECK(t.tell("echo").empty());
  CHECK(t.c.close_code() == 1008);
}

TEST_CASE("limits::inbound: drop: what is beyond is dropped before it is decoded, and counted; later messages pass") {
  talk t("2.0.0", limited({.messages = 2, .on_excess = phx::flood_policy::drop}));
  watcher& seen = t.watch();
  (void)t.join();
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(t.tell("echo").empty());
  CHECK(t.say("not even JSON").empty());
  CHECK_FALSE(t.c.closed());
  CHECK(seen.count("flood 'drop'") == 2);
  CHECK(t.c.loop().traffic().messages_in == 4);
  CHECK(t.c.loop().traffic().messages_dropped == 2);
  t.c.advance(500ms);
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(t.tell("echo").empty());
}

TEST_CASE(
    "limits::inbound: pause: every message is handled, and the host reads nothing more until the client may send again") {
  talk t("2.0.0", limited({.messages = 2, .on_excess = phx::flood_policy::pause}));
  watcher& seen = t.watch();
  phx::testing::recorder& wire = t.c.recorder();
  (void)t.join();
  CHECK_FALSE(wire.paused);
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(wire.paused);
  // What the host had received already.
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(seen.count("flood 'pause'") == 1);
  t.c.advance(1499ms);
  CHECK(wire.paused);
  t.c.advance(1ms);
  CHECK_FALSE(wire.paused);
  CHECK(wire.pauses == 1);
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(wire.paused);
  CHECK(wire.pauses == 2);
  CHECK_FALSE(t.c.closed());
  CHECK(t.c.loop().traffic().messages_dropped == 0);
}

TEST_CASE("limits::inbound: a client that is not read is not idle, and may end in the meantime") {
  phx::mount m = limited({.bytes = 1, .on_excess = phx::flood_policy::pause});
  m.bounds.idle = 10s;
  talk t("2.0.0", m);
  (void)t.join();  // more than thirty bytes: more than thirty seconds
  CHECK(t.c.recorder().paused);
  t.c.advance(25s);
  CHECK_FALSE(t.c.closed());
  t.c.advance(15s);
  CHECK_FALSE(t.c.recorder().paused);
  CHECK_FALSE(t.c.closed());
  t.c.advance(10s);
  CHECK(t.c.close_code() == 1001);

  talk other("2.0.0", m);
  (void)other.join();
  REQUIRE(other.c.recorder().paused);
  other.c.gone();
  other.c.advance(1h);
  CHECK(other.c.recorder().paused);  // the Transport is not called any more
}

TEST_CASE("limits::inbound: pings count, pongs do not") {
  talk t("2.0.0", limited({.messages = 2}));
  for (int i = 0; i < 100; ++i) t.c.in(phx::opcode::pong, {}, true);
  for (int i = 0; i < 2; ++i) t.c.in(phx::opcode::ping, {}, true);
  CHECK_FALSE(t.c.closed());
  t.c.in(phx::opcode::ping, {}, true);
  CHECK(t.c.close_code() == 1008);
}

TEST_CASE("limits::inbound: a socket with an id is limited, and still closed by its id") {
  talk t("2.0.0", limited({.messages = 100}), "user:ann");
  (void)t.join();
  CHECK(t.c.loop().topics() == 2);
  t.c.endpoint().disconnect("user:ann");
  t.c.settle();
  CHECK(t.c.close_code() == 1001);
  CHECK(t.c.loop().topics() == 0);
}

TEST_CASE("limits::inbound: a Transport that cannot stop reading closes instead") {
  struct writes_only {
    phx::testing::recorder* to;
    phx::send_status send(phx::frame const& f) noexcept { return to->transport().send(f); }
    void close(phx::close_frame f) noexcept { to->transport().close(f); }
    [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
  };
  static_assert(phx::pauses_reading<phx::testing::recorder::transport_type> && !phx::pauses_reading<writes_only>);
  phx::testing::fake_loops loops;
  phx::testing::echo_rooms app;
  phx::mount const m = limited({.messages = 1, .on_excess = phx::flood_policy::pause});
  phx::testing::recorder wire;
  phx::admission<phx::anonymous> in{};
  in.serializer = phx::choose(m.offered(), "2.0.0");
  in.session.emplace();
  in.bounds = &m.bounds;
  phx::socket<writes_only, phx::testing::echo_rooms> s(loops[0], app, std::move(in), writes_only{&wire}, loops.now());
  CHECK_FALSE(s.receive(phx::opcode::text, R"(["1","1","room:a","phx_join",{}])", true, loops.now()));
  REQUIRE(wire.closed);
  CHECK(wire.closed->code == phx::close_code::policy);
}

TEST_CASE("limits::inbound_channel: each topic that was joined has a limit of its own; leaving is always possible") {
  talk t("2.0.0", limited({}, {.messages = 2, .on_excess = phx::flood_policy::drop}));
  watcher& seen = t.watch();
  (void)t.join();
  (void)t.join("room:b", "2");
  for (int i = 0; i < 2; ++i) CHECK(t.tell("echo") == texts{echoed});
  CHECK(t.tell("echo").empty());
  CHECK(seen.count("flood room:a 'drop'") == 1);
  CHECK(t.say(R"(["2","9","room:b","echo",{}])") == texts{reply("\"2\"", "\"9\"", "ok", "{}", "room:b")});
  CHECK(t.say(R"([null,"9","phoenix","heartbeat",{}])").size() == 1);
  CHECK(t.tell("phx_leave").size() == 2);
  // A new life of the channel begins with a full bucket; a topic that is not joined has none.
  (void)t.join();
  CHECK(t.tell("echo") == texts{echoed});
  for (int i = 0; i < 10; ++i) CHECK(t.say(R"(["1","9","room:none","echo",{}])").size() == 1);
  CHECK(seen.count("flood") == 1);
}

TEST_CASE("limits::inbound_channel: messages that wait for a pending join count when they arrive, and once") {
  talk t("2.0.0", limited({}, {.messages = 3, .on_excess = phx::flood_policy::close}));
  (void)t.join("room:a", "1", R"({"mode":"later"})");
  for (int i = 0; i < 3; ++i) CHECK(t.tell("echo").empty());
  t.log.ids.at("room:a").joined();
  t.c.settle();
  CHECK(t.c.out().size() == 4);
  CHECK_FALSE(t.c.closed());
  (void)t.tell("echo");
  CHECK(t.c.close_code() == 1008);
}

TEST_CASE("limits::inbound_channel: pause stops the connection") {
  talk t("2.0.0", limited({}, {.messages = 2, .on_excess = phx::flood_policy::pause}));
  (void)t.join();
  (void)t.tell("echo");
  CHECK_FALSE(t.c.recorder().paused);
  CHECK(t.tell("echo") == texts{echoed});
  CHECK(t.c.recorder().paused);
  t.c.advance(500ms);
  CHECK_FALSE(t.c.recorder().paused);
}

TEST_CASE("limits::inbound: a pause for which no timer can be set closes the connection") {
  phx::mount m = limited({.messages = 1, .on_excess = phx::flood_policy::pause});
  m.bounds.timers = 0;
  talk t("2.0.0", m);
  (void)t.join();
  CHECK(t.c.close_code() == 1011);
}

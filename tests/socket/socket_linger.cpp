// mount::linger: frames wait to leave together. The clock is the test's.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

using namespace support;

namespace {

phx::mount lingering(std::chrono::milliseconds by = 8ms) {
  phx::mount m;
  m.linger = by;
  return m;
}

/// One more client of a conversation's loop, with a mount of its own.
struct second_client {
  phx::mount on;
  phx::testing::recorder wire{};
  phx::socket<phx::testing::recorder::transport_type, rooms> socket;

  second_client(talk& t, phx::mount m)
      : on(std::move(m)), socket(t.c.loop(), t.dispatcher, admitted(t), wire.transport(), t.c.loops().now()) {}
  phx::admission<user> admitted(talk& t) {
    phx::admission<user> in{};
    in.serializer = phx::choose(on.offered(), "2.0.0");
    in.session.emplace(user{&t.log, "bob"});
    in.bounds = &on.bounds;
    in.linger = on.linger;
    return in;
  }
  void in(talk& t, std::string_view text) {
    (void)socket.receive(phx::opcode::text, text, true, t.c.loops().now());
    t.c.settle();
  }
};

std::string const join_room = R"(["1","1","room:a","phx_join",{}])";

}  // namespace

TEST_CASE("linger: the frames of several turns are written by one flush, when the first of them has waited that long") {
  talk t("2.0.0", lingering());
  (void)t.join();
  CHECK(t.c.recorder().flushes == 0);
  t.c.advance(3ms);
  CHECK(t.tell("echo", "1") == texts{reply("\"1\"", "\"9\"", "ok", "1")});  // passed to the transport at once, in order
  t.c.advance(3ms);
  (void)t.tell("shout", "{}");
  CHECK(t.c.recorder().flushes == 0);
  t.c.advance(1ms);
  CHECK(t.c.recorder().flushes == 0);
  t.c.advance(1ms);
  CHECK(t.c.recorder().flushes == 1);
  t.c.advance(30s);
  CHECK(t.c.recorder().flushes == 1);  // nothing was sent meanwhile
  (void)t.tell("echo");
  t.c.advance(8ms);
  CHECK(t.c.recorder().flushes == 2);
}

TEST_CASE("linger: without it every turn is flushed at its end, also beside a socket that lingers") {
  talk t("2.0.0", lingering());
  second_client prompt(t, {});
  prompt.in(t, join_room);
  CHECK(prompt.wire.flushes == 1);
  (void)t.join();
  prompt.in(t, R"(["1","2","room:a","shout",{}])");
  CHECK(prompt.wire.flushes == 2);
  CHECK(t.c.out() == texts{shouted("shout", "{}")});
  CHECK(t.c.recorder().flushes == 0);
  t.c.advance(8ms);
  CHECK(prompt.wire.flushes == 2);
  CHECK(t.c.recorder().flushes == 1);
}

TEST_CASE("linger: the sockets of a loop leave together, at the earliest of their times") {
  talk t("2.0.0", lingering(8ms));
  second_client late(t, lingering(100ms));
  late.in(t, join_room);
  t.c.advance(50ms);
  (void)t.join();
  t.c.advance(7ms);
  CHECK(late.wire.flushes == 0);
  t.c.advance(1ms);
  CHECK(t.c.recorder().flushes == 1);
  CHECK(late.wire.flushes == 1);
}

TEST_CASE("linger: a close does not wait, and follows what was sent before it") {
  talk t("2.0.0", lingering());
  (void)t.join();
  (void)t.tell("echo", "1");
  t.c.in("{");
  CHECK(t.c.close_code() == 1011);
  CHECK(t.c.recorder().flushes == 1);
  CHECK(t.c.recorder().after_close == 0);
  t.c.advance(1h);
  CHECK(t.c.recorder().flushes == 1);
}

TEST_CASE("linger: a client that leaves while its frames wait is not flushed any more") {
  talk t("2.0.0", lingering());
  {
    second_client other(t, lingering());
    other.in(t, join_room);
    (void)t.join();
    other.socket.gone(phx::lost::error);
  }
  t.c.advance(8ms);
  CHECK(t.c.recorder().flushes == 1);
  (void)t.tell("echo");
  t.c.destroy();
  t.c.advance(8ms);
  CHECK(t.c.recorder().flushes == 1);
}

TEST_CASE("linger: while a turn is held nothing is flushed; its end flushes what is overdue, and nothing else") {
  talk t("2.0.0", lingering());
  (void)t.join();
  {
    auto const turn = t.c.loop().turn();
    t.c.advance(8ms);
    CHECK(t.c.recorder().flushes == 0);
    t.c.advance(30s);  // comes to rest: an overdue flush does not keep the loop running
  }
  CHECK(t.c.recorder().flushes == 1);
  {
    auto const turn = t.c.loop().turn();
    (void)t.tell("echo");
  }
  CHECK(t.c.recorder().flushes == 1);
  t.c.advance(8ms);
  CHECK(t.c.recorder().flushes == 2);
}

TEST_CASE("linger: a host that runs the loop inside its turn gets the time of the flush, and is not woken before") {
  talk t("2.0.0", lingering());
  (void)t.join();
  phx::time_point const now = t.c.loops().now();
  std::size_t const wakes = t.c.loops().waker(0).count();
  for (phx::duration const later : {1ms, 2ms, 7ms}) {
    auto const turn = t.c.loop().turn();
    CHECK(t.c.loop().run(now + later) == now + 8ms);
  }
  CHECK(t.c.loops().waker(0).count() == wakes);
  CHECK(t.c.recorder().flushes == 0);
  {
    auto const turn = t.c.loop().turn();
    (void)t.c.loop().run(now + 8ms);
  }
  CHECK(t.c.recorder().flushes == 1);
}

TEST_CASE("linger: a host that runs late flushes then") {
  talk t("2.0.0", lingering());
  (void)t.join();
  t.c.loops().sleep(1s);
  (void)t.c.socket().receive(phx::opcode::text, R"(["1","9","room:a","echo",1])", true, t.c.loops().now());
  CHECK(t.c.recorder().flushes == 0);
  t.c.settle();
  CHECK(t.c.recorder().flushes == 1);
  CHECK(t.c.out().size() == 1);
}

TEST_CASE("linger: what waits for a slow client is written when it says so, within that time") {
  phx::mount m = lingering();
  m.bounds.outbound = 1000;
  m.bounds.pressure = phx::pressure_policy::drop_oldest;
  talk t("2.0.0", m);
  (void)t.join();
  t.c.advance(8ms);
  (void)t.c.out();
  t.c.recorder().waiting = 600;
  (void)t.tell("shout", R"({"n":1})");
  (void)t.tell("shout", R"({"n":2})");
  CHECK(t.c.socket().slow());
  t.c.recorder().waiting = 0;
  CHECK(t.c.socket().writable(t.c.loops().now()));
  t.c.advance(8ms);
  CHECK_FALSE(t.c.socket().slow());
  CHECK(t.c.out() == texts{shouted("shout", R"({"n":2})")});
}

#include <phx/loop/loop.hpp>

#include <support/room.hpp>

using namespace support;

// A loop's work for its sockets is tested in tests/socket; these are the tests of run and wake.

TEST_CASE("loop: run of an idle loop returns never, and wakes nothing") {
  phx::testing::fake_waker w;
  phx::loop l(w);
  CHECK(l.run(phx::time_point{}) == phx::time_point::max());
  CHECK(l.run(phx::time_point{}) == phx::time_point::max());
  CHECK(w.count() == 0);
  CHECK(l.sockets() == 0);
  CHECK(l.topics() == 0);
  CHECK(l.dropped() == 0);
}

TEST_CASE("loop: wakes its host once for each mailbox that was empty") {
  phx::endpoint e;
  phx::testing::fake_waker w;
  phx::loop l(e, w);
  for (int i = 0; i < 5; ++i) (void)e.broadcast("a", "b", {});
  CHECK(w.count() == 1);
  (void)l.run(phx::time_point{});
  (void)e.broadcast("a", "b", {});
  CHECK(w.count() == 2);
}

TEST_CASE("loop: run returns when it must run next, and an earlier deadline wakes the host") {
  talk t;
  phx::loop& l = t.c.loop();
  auto const now = t.c.loops().now();
  CHECK(l.run(now) == now + 60s);  // the idle timeout of the socket
  (void)t.join();
  std::size_t const woken = t.c.loops().waker(0).count();
  t.c.in(R"(["1","9","room:a","timer",{}])");
  CHECK(t.c.loops().waker(0).count() == woken + 1);
  CHECK(l.run(now) == now + 3s);
  t.c.in(R"(["1","9","room:a","timer",{}])");  // not earlier
  CHECK(t.c.loops().waker(0).count() == woken + 1);
}

TEST_CASE("loop: a clock that goes backwards is held") {
  talk t;
  (void)t.join();
  t.c.in(R"(["1","9","room:a","timer",{}])");
  (void)t.c.loop().run(t.c.loops().now() - 1h);
  CHECK(t.c.loop().now() == t.c.loops().now());
  CHECK(t.after(3s).size() == 1);
}

TEST_CASE("loop: a late run handles everything due in the order of its times") {
  talk t;
  (void)t.join();
  struct set {
    static void timers(void*, phx::context& ctx, phx::message const&) {
      (void)ctx.send_after(3s, "third");
      (void)ctx.send_after(1s, "first");
      (void)ctx.send_after(2s, "second");
    }
  };
  t.log.on_event = &set::timers;
  t.c.in(R"(["1","9","room:a","call",{}])");
  t.c.loops().sleep(10s);
  t.c.settle();
  CHECK(t.c.out() == texts{pushed("first", "{}"), pushed("second", "{}"), pushed("third", "{}")});
}

#ifdef __cpp_exceptions
TEST_CASE("loop: constructing one without memory for its mailbox throws") {
  phx::limits l;
  l.memory.allocate = [](std::size_t) noexcept -> void* { return nullptr; };
  phx::testing::fake_waker w;
  std::string thrown;
  try {
    phx::loop const none(w, l);
  } catch (std::runtime_error const& e) {
    thrown = e.what();
  }
  CHECK(thrown == "phx::loop: no memory");
}
#endif

TEST_CASE("loop: flushes wait for the end of the outermost turn") {
  talk t;
  (void)t.join();
  std::size_t const before = t.c.recorder().flushes;
  {
    auto outer = t.c.loop().turn();
    {
      auto inner = t.c.loop().turn();
      (void)t.tell("echo");
    }
    CHECK(t.c.recorder().flushes == before);
    t.c.settle();
    CHECK(t.c.recorder().flushes == before);
  }
  CHECK(t.c.recorder().flushes == before + 1);
}

TEST_CASE("loop: the id of a socket is not reused") {
  talk t;
  phx::socket_id const first = t.c.socket().name();
  (void)t.join();
  phx::channel_id const old = t.log.ids["room:a"];
  t.c.destroy();
  CHECK(t.c.loop().sockets() == 0);
  phx::testing::recorder r;
  phx::admission<user> in{phx::serializer_ref::of<phx::v2_json>()};
  in.session.emplace(user{&t.log, "x"});
  phx::socket<phx::testing::recorder::transport_type, rooms> s(t.c.loop(), t.dispatcher, std::move(in), r.transport(),
                                                               t.c.loops().now());
  CHECK(s.name().slot == first.slot);
  CHECK_FALSE(s.name() == first);
  (void)s.receive(phx::opcode::text, R"(["1","1","room:a","phx_join",{}])", true, t.c.loops().now());
  CHECK(r.out().size() == 1);
  old.push("for the one before", {});
  t.c.settle();
  CHECK(r.out().empty());
}

TEST_CASE("loop: for_each_channel of a socket that is gone finds nothing") {
  talk t;
  (void)t.join();
  phx::socket_id const id = t.c.socket().name();
  t.c.destroy();
  int found = 0;
  t.c.loop().for_each_channel(id, [&](std::string_view, phx::channel_state) { ++found; });
  t.c.loop().for_each_channel({77, 77}, [&](std::string_view, phx::channel_state) { ++found; });
  t.c.loop().for_each_socket([&](phx::socket_id) { ++found; });
  CHECK(found == 0);
}

#include <phx/loop/endpoint.hpp>

#include <support/room.hpp>

#include <thread>

using namespace support;

TEST_CASE("endpoint: without loops nothing receives a broadcast, and that is no error") {
  phx::endpoint e;
  CHECK(e.broadcast("a", "b", {}) == phx::errc::none);
  CHECK(e.disconnect("user:ann") == phx::errc::none);
  e.drain();
  CHECK(e.sockets() == 0);
}

TEST_CASE("endpoint: an invalid payload is refused before anything is posted") {
  phx::testing::fake_loops loops(2);
  CHECK(loops.endpoint().broadcast("a", "b", phx::payload::json("{")) == phx::errc::invalid_payload);
  CHECK(loops.waker(0).count() == 0);
  CHECK(loops.waker(1).count() == 0);
}

TEST_CASE("endpoint: loops are created and destroyed while others publish") {
  phx::endpoint e;
  phx::testing::fake_waker w[3];
  phx::loop first(e, w[0]);
  {
    phx::loop second(e, w[1]);
    CHECK(first.publish({"a", "b", phx::payload{}, {}}) == phx::errc::none);
    CHECK(w[1].count() == 1);
    CHECK(w[0].count() == 0);
  }
  CHECK(first.publish({"a", "b", phx::payload{}, {}}) == phx::errc::none);
  CHECK(w[1].count() == 1);
  phx::loop third(e, w[2]);
  CHECK(first.publish({"a", "b", phx::payload{}, {}}) == phx::errc::none);
  CHECK(w[2].count() == 1);
}

TEST_CASE("endpoint: a loop without memory for the list of loops posts to those it knew, and to all once there is memory") {
  metered::reset();
  {
    phx::limits counted;
    counted.memory = metered::hook();
    phx::endpoint e;
    phx::testing::fake_waker w[3];
    phx::loop first(e, w[0], counted);
    auto second = std::make_unique<phx::loop>(e, w[1]);
    auto const say = [&] { return first.publish({"a", "b", phx::payload{}, {}}); };
    CHECK(say() == phx::errc::none);
    CHECK(w[1].count() == 1);
    phx::loop third(e, w[2]);
    metered::fail_at = metered::allocations.load();
    metered::fail_on = true;
    CHECK(say() == phx::errc::none);
    CHECK(w[2].count() == 0);
    second.reset();  // posts to it return closed
    CHECK(say() == phx::errc::none);
    metered::fail_at = SIZE_MAX;
    metered::fail_on = false;
    CHECK(say() == phx::errc::none);
    CHECK(w[2].count() == 1);
  }
  CHECK(metered::bytes == 0);
  metered::reset();
}

TEST_CASE("endpoint: counts the sockets of all its loops") {
  journal log;
  struct named : rooms {
    journal* log = nullptr;
    phx::connect_outcome<user> connect(phx::connect_info const&) { return phx::connected<user>{{log, "x"}}; }
  } dispatcher;
  dispatcher.log = &log;
  phx::testing::server<named> s(dispatcher, {}, 2);
  auto a = s.connect({}, 0);
  (void)s.connect({}, 1);
  CHECK(s.endpoint().sockets() == 2);
  a.disconnect();
  CHECK(s.endpoint().sockets() == 1);
}

TEST_CASE("endpoint: a full mailbox is an error value, and the other loops receive the broadcast") {
  phx::endpoint e;
  phx::testing::fake_waker w[2];
  phx::limits narrow;
  narrow.mailbox = 1;
  phx::loop full(e, w[0], narrow), other(e, w[1]);
  CHECK(e.broadcast("a", "b", {}) == phx::errc::none);
  CHECK(e.broadcast("a", "b", {}) == phx::errc::limit_reached);
  CHECK(full.dropped() == 1);
  CHECK(other.dropped() == 0);
  CHECK(e.disconnect("user:ann") == phx::errc::none);
}

namespace {
/// Requests a call at `at`, and records when it was called.
struct ticker {
  phx::time_point at = phx::time_point::max();
  std::vector<phx::time_point> ticks{};
  bool over = false;
  [[nodiscard]] phx::ticker made() {
    return {this,
            [](void* self, phx::time_point now) noexcept {
              auto& t = *static_cast<ticker*>(self);
              t.ticks.push_back(now);
              return t.at > now ? t.at : phx::time_point::max();
            },
            [](void* self) noexcept { static_cast<ticker*>(self)->over = true; }};
  }
};
}  // namespace

TEST_CASE("endpoint: a ticker is called when it is added, when it is due, and when it is scheduled") {
  using namespace std::chrono_literals;
  ticker t;
  {
    phx::testing::fake_loops loops(2);
    phx::time_point const began = loops.now();
    t.at = began + 10s;
    loops.endpoint().add_ticker(t.made());
    loops.settle();
    REQUIRE(t.ticks.size() == 1);
    loops.advance(9s);
    CHECK(t.ticks.size() == 1);
    loops.advance(2s);
    REQUIRE(t.ticks.size() == 2);  // by one of the two loops
    CHECK(t.ticks[1] == began + 10s);
    loops.advance(1h);
    CHECK(t.ticks.size() == 2);
    std::thread([&] { loops.endpoint().schedule_tick(phx::time_point::min()); }).join();
    loops.settle();
    CHECK(t.ticks.size() == 3);
    loops.endpoint().schedule_tick(loops.now() + 5s);
    loops.advance(4s);
    CHECK(t.ticks.size() == 3);
    loops.advance(1s);
    CHECK(t.ticks.size() == 4);
    loops.endpoint().remove_ticker(&t);
    loops.endpoint().schedule_tick(phx::time_point::min());
    loops.settle();
    CHECK(t.ticks.size() == 4);
    CHECK_FALSE(t.over);
    loops.endpoint().add_ticker(t.made());
  }
  CHECK(t.over);
}

TEST_CASE("endpoint: a ticker outlives the loop that would have run it") {
  using namespace std::chrono_literals;
  ticker t;
  phx::endpoint e;
  phx::testing::fake_waker w[2];
  auto first = std::make_unique<phx::loop>(e, w[0]);
  phx::loop second(e, w[1]);
  phx::time_point const now{1h};
  t.at = now + 1s;
  e.add_ticker(t.made());
  CHECK(first->run(now) == now + 1s);
  (void)w[1].take();
  first.reset();
  CHECK(w[1].take());
  CHECK(second.run(now) == now + 1s);
  e.remove_ticker(&t);
}

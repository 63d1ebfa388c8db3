#include <phx/testing/fake_loop.hpp>

#include <doctest/doctest.h>

using namespace std::chrono_literals;

static_assert(phx::Waker<phx::testing::fake_waker>);

TEST_CASE("fake_waker: a wake is taken once and counted for ever") {
  phx::testing::fake_waker w;
  CHECK_FALSE(w.take());
  w.wake();
  w.wake();
  CHECK(w.take());
  CHECK_FALSE(w.take());
  CHECK(w.count() == 2);
}

TEST_CASE("fake_loops: the clock moves only when the test moves it") {
  phx::testing::fake_loops loops(2);
  auto const begun = loops.now();
  loops.settle();
  CHECK(loops.now() == begun);
  loops.advance(3s);
  CHECK(loops.now() == begun + 3s);
  loops.sleep(2s);
  CHECK(loops.now() == begun + 5s);
  CHECK(loops.size() == 2);
}

TEST_CASE("fake_loops: a post to an endpoint wakes its loops, and settle runs them") {
  phx::testing::fake_loops loops(2);
  CHECK(loops.endpoint().broadcast("room:a", "hi", phx::payload{}) == phx::errc::none);
  CHECK(loops.waker(0).count() == 1);
  CHECK(loops.waker(1).count() == 1);
  loops.settle();
  CHECK_FALSE(loops.waker(0).take());
}

#include <phx/core/limits.hpp>

#include <doctest/doctest.h>

// The effect of each limit is tested in tests/socket/socket_limits.cpp.

TEST_CASE("limits: the defaults are Phoenix's where Phoenix has one") {
  phx::limits const l;
  CHECK(l.frame == 10'000'000);
  CHECK(l.channels == 100);
  CHECK(l.idle == std::chrono::seconds(60));
  CHECK(l.pressure == phx::pressure_policy::close);
}

TEST_CASE("limits: names and nesting are large enough for the protocol's clients") {
  for (phx::limits const& l : {phx::limits{}, phx::limits::for_small_machines()}) {
    CHECK(l.name >= 4096);
    CHECK(l.json_depth >= 1024);
  }
}

TEST_CASE("limits: neither set leaves a limit out") {
  for (phx::limits const& l : {phx::limits{}, phx::limits::for_small_machines()}) {
    CHECK(l.frame > 0);
    CHECK(l.channels > 0);
    CHECK(l.subscriptions > 0);
    CHECK(l.held_pushes > 0);
    CHECK(l.held_bytes > 0);
    CHECK(l.outbound > 0);
    CHECK(l.mailbox > 0);
    CHECK(l.mailbox_bytes > 0);
    CHECK(l.timers > 0);
    CHECK(l.join > phx::duration::zero());
    CHECK((l.memory.allocate != nullptr));
    CHECK((l.memory.release != nullptr));
  }
}

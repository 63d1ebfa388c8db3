// Draining (protocol 12).

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

#include <algorithm>

using namespace support;

namespace {

/// A server with `n` clients, every second one in a room.
struct crowd {
  journal log{};
  struct dispatcher : rooms {
    journal* log = nullptr;
    phx::connect_outcome<user> connect(phx::connect_info const&) { return phx::connected<user>{{log, "x"}}; }
  } d{};
  watcher seen{};
  phx::testing::server<dispatcher> server;
  std::vector<phx::testing::client> clients{};

  explicit crowd(std::size_t n, std::size_t loops = 1) : server(d, {}, loops) {
    d.log = &log;
    for (std::size_t i = 0; i < loops; ++i) server.loop(i).observe(seen);
    for (std::size_t i = 0; i < n; ++i) {
      clients.push_back(server.connect({}, i % loops));
      if (i % 2 == 0) CHECK(clients.back().join("room:" + std::to_string(i)).ok());
    }
    seen.take();
  }
  std::size_t left() {
    return static_cast<std::size_t>(
        std::count_if(clients.begin(), clients.end(), [](phx::testing::client const& c) { return c.connected(); }));
  }
};

}  // namespace

TEST_CASE("drain: every socket, with or without channels, closes with 1012 and gets nothing else") {
  crowd c(4);
  for (auto& one : c.clients) one.recorder().frames.clear();
  c.server.endpoint().drain();
  CHECK(c.left() == 4);
  c.server.settle();
  for (auto& one : c.clients) {
    CHECK(one.close_code() == 1012);
    CHECK(one.recorder().frames.empty());
  }
  CHECK(c.server.loop().sockets() == 0);
  CHECK(c.server.endpoint().sockets() == 0);
  CHECK(c.log.take() == texts{"room:2: draining", "room:2: gone", "room:0: draining", "room:0: gone"});
}

TEST_CASE("drain: in batches, one interval apart") {
  crowd c(5);
  c.server.endpoint().drain({.batch = 2, .interval = 2s});
  c.server.settle();
  CHECK(c.left() == 3);
  c.server.advance(1999ms);
  CHECK(c.left() == 3);
  c.server.advance(1ms);
  CHECK(c.left() == 1);
  c.server.advance(2s);
  CHECK(c.left() == 0);
  CHECK(c.seen.count("draining") == 3);
}

TEST_CASE("drain: at the hard limit all remaining sockets close at once") {
  crowd c(5);
  c.server.endpoint().drain({.batch = 1, .interval = 2s, .limit = 3s});
  c.server.advance(2s);
  CHECK(c.left() == 3);
  c.server.advance(999ms);
  CHECK(c.left() == 3);
  c.server.advance(1ms);
  CHECK(c.left() == 0);
}

TEST_CASE("drain: the other sockets continue between the batches") {
  crowd c(3);
  c.server.endpoint().drain({.batch = 1});
  c.server.settle();
  REQUIRE(c.left() == 2);
  for (auto& one : c.clients)
    if (one.connected()) CHECK(one.heartbeat());
}

TEST_CASE("drain: a socket opened while draining is closed at once, even in a reused slot") {
  crowd c(3);
  c.server.endpoint().drain({.batch = 1, .interval = 10s, .limit = 100s});
  c.server.settle();
  auto late = c.server.connect();
  CHECK(late.close_code() == 1012);
  CHECK(c.left() == 2);
  c.server.advance(20s);
  CHECK(c.left() == 0);
  CHECK(c.server.loop().sockets() == 0);
}

TEST_CASE("drain: each loop drains its own sockets, and the endpoint counts down to zero") {
  crowd c(6, 3);
  CHECK(c.server.endpoint().sockets() == 6);
  c.server.endpoint().drain({.batch = 1, .interval = 1s});
  c.server.settle();
  CHECK(c.server.endpoint().sockets() == 3);
  c.server.advance(1s);
  CHECK(c.server.endpoint().sockets() == 0);
}

TEST_CASE("drain: inside the loop, once; a second call is ignored") {
  crowd c(2);
  phx::loop& l = c.server.loop();
  CHECK_FALSE(l.draining());
  l.drain({.batch = 1, .interval = 5s}, c.server.loops().now());
  CHECK(l.draining());
  l.drain({.batch = 100}, c.server.loops().now());
  c.server.settle();
  CHECK(c.left() == 1);
  c.server.advance(5s);
  CHECK(c.left() == 0);
}

TEST_CASE("drain: a pending join ends with the drain, and an empty loop is done at once") {
  crowd c(0);
  auto one = c.server.connect();
  auto channel = one.join("room:a", R"({"later":1})");
  c.server.endpoint().drain();
  c.server.settle();
  CHECK(one.close_code() == 1012);
  CHECK_FALSE(channel.joined().has_value());
  CHECK(c.log.take() == texts{"room:a: draining", "room:a: gone"});
  crowd none(0);
  none.server.endpoint().drain();
  none.server.advance(100s);
  CHECK(none.server.loop().sockets() == 0);
}

TEST_CASE("drain: the listener is called once, when the last socket of the last loop has ended") {
  crowd c(6, 3);
  int calls = 0;
  auto const done = [](void* self) noexcept { ++*static_cast<int*>(self); };
  c.server.endpoint().drain({.batch = 1, .interval = 1s}, {&calls, done});
  c.server.settle();
  CHECK(c.left() == 3);
  CHECK(calls == 0);
  c.server.advance(1s);
  CHECK(c.left() == 0);
  CHECK(calls == 1);
  // One that comes later is closed at once, and nobody is told again.
  auto late = c.server.connect();
  c.server.settle();
  CHECK(late.close_code() == 1012);
  c.server.advance(100s);
  CHECK(calls == 1);
  c.server.endpoint().drain({}, {&calls, done});  // done already
  CHECK(calls == 2);
}

TEST_CASE("drain: the listener is called too where there is nothing to close, or nothing but a client that leaves") {
  int calls = 0;
  auto const done = [](void* self) noexcept { ++*static_cast<int*>(self); };
  {
    phx::endpoint none;
    none.drain({}, {&calls, done});
    CHECK(calls == 1);
  }
  crowd c(0, 2);
  c.server.endpoint().drain({}, {&calls, done});
  CHECK(calls == 1);
  c.server.settle();
  CHECK(calls == 2);
  crowd d(2);
  d.server.endpoint().drain({.batch = 1, .interval = phx::duration::max(), .limit = phx::duration::max()}, {&calls, done});
  d.server.settle();
  CHECK(calls == 2);
  for (auto& one : d.clients) one.disconnect();
  d.server.settle();
  CHECK(calls == 3);
}

TEST_CASE("drain: a loop that is destroyed counts as drained") {
  int calls = 0;
  auto const done = [](void* self) noexcept { ++*static_cast<int*>(self); };
  phx::endpoint all;
  phx::testing::fake_waker waker;
  phx::loop stays(all, waker);
  {
    phx::loop goes(all, waker);
    all.drain({}, {&calls, done});
    (void)stays.run(phx::time_point{1h});
    CHECK(calls == 0);
  }
  CHECK(calls == 1);
}

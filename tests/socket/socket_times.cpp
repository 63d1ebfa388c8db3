// Every public duration of these rooms at its limits: max() is "never", min() is "at once", and neither overflows.

#include <phx/socket/socket.hpp>
#include <phx/connect/throttle.hpp>

#include <support/room.hpp>

using namespace support;

namespace {
constexpr phx::duration most = (phx::duration::max)(), least = (phx::duration::min)();
}

TEST_CASE("times: send_after(max) never fires, send_after(min) is a send") {
  talk t;
  t.log.on_event = [](void*, phx::context& ctx, phx::message const& in) {
    (void)ctx.send_after(in.payload.raw() == "1" ? most : least, in.payload.raw() == "1" ? "never" : "now");
  };
  (void)t.join();
  CHECK(t.tell("call", "1").empty());
  CHECK(t.after(50s).empty());
  CHECK(t.tell("call", "0") == texts{pushed("now", "{}")});
}

TEST_CASE("times: in a join send_after(max) never fires") {
  struct patient {
    phx::join_result join(phx::joining& j, phx::message const&) {
      CHECK(j.send_after(most, "never") == phx::send_status::ok);
      CHECK(j.send_after(least, "now") == phx::send_status::ok);
      return phx::join_result::ok();
    }
    phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
      ctx.push(in.event, {});
      return phx::outcome::noreply();
    }
  };
  phx::router<> app;
  app.channel<patient>("room:*");
  phx::testing::server server(app);
  auto a = server.connect().join("room:a");
  CHECK(a.ok());
  server.advance(50s);
  CHECK(a.rest() == texts{"now {}"});
}

TEST_CASE("times: limits::idle of max() never closes, a negative one closes at once") {
  phx::mount m;
  m.bounds.idle = most;
  talk patient("2.0.0", m);
  (void)patient.join();
  CHECK(patient.after(std::chrono::hours(24 * 365 * 100)).empty());
  CHECK_FALSE(patient.c.closed());
  m.bounds.idle = least;
  talk hasty("2.0.0", m);
  hasty.c.advance(1ms);
  CHECK(hasty.c.close_code() == 1001);
}

TEST_CASE("times: limits::join and a deadline of max() together: the join waits for its verdict") {
  phx::mount m;
  m.bounds.join = most;
  m.bounds.idle = phx::duration::zero();
  talk t("2.0.0", m);
  CHECK(t.join("room:a", "1", R"({"forever":1})").empty());
  CHECK(t.after(std::chrono::hours(24 * 365)).empty());
  t.log.ids["room:a"].joined();
  CHECK(t.after(1ms) == texts{reply("\"1\"", "\"1\"")});

  m.bounds.join = least;
  talk hasty("2.0.0", m);
  CHECK(hasty.join("room:a", "1", R"({"forever":1})") == texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"timeout"})")});
}

TEST_CASE("times: a drain with a limit of max() proceeds in batches, one with an interval of max() waits for its limit") {
  journal log;
  struct dispatcher : rooms {
    journal* log = nullptr;
    phx::connect_outcome<user> connect(phx::connect_info const&) { return phx::connected<user>{{log, "x"}}; }
  } app;
  app.log = &log;
  phx::mount m;
  m.bounds.idle = phx::duration::zero();
  auto const left_after = [&](phx::drain_options const& opts, phx::duration d) {
    phx::testing::server server(app, m);
    for (int i = 0; i < 4; ++i) (void)server.connect();
    server.endpoint().drain(opts);
    server.settle();
    server.advance(d);
    return server.loop().sockets();
  };
  CHECK(left_after({.batch = 1, .interval = 1s, .limit = most}, 0s) == 3);
  CHECK(left_after({.batch = 1, .interval = 1s, .limit = most}, 1s) == 2);
  CHECK(left_after({.batch = 1, .interval = 1s, .limit = most}, 10s) == 0);
  CHECK(left_after({.batch = 1, .interval = most, .limit = 5s}, 4s) == 3);
  CHECK(left_after({.batch = 1, .interval = most, .limit = 5s}, 5s) == 0);
  CHECK(left_after({.batch = 1, .interval = most, .limit = most}, 1000h) == 3);
  CHECK(left_after({.batch = 1, .interval = least, .limit = most}, 0s) == 0);
  CHECK(left_after({.batch = 1, .interval = 1s, .limit = least}, 0s) == 0);
}

TEST_CASE("times: a throttle with max() accepts the burst and no more, and delays a refusal for ever") {
  phx::time_point const now{std::chrono::hours(1)};
  for (phx::duration const every : {most, least}) {
    phx::throttle door({.each = {.burst = 3, .every = every}, .all = {.burst = 4, .every = every}, .refuse_after = every});
    int in = 0;
    for (int i = 0; i < 10; ++i) in += door.try_acquire("10.0.0.1", now) ? 0 : 1;
    CHECK(in == (every == most ? 3 : 10));
    CHECK(door.delay_until(phx::refusal::connect, now) == (every == most ? (phx::time_point::max)() : now));
    CHECK(door.held() == (every == most ? 1 : 0));
  }
}

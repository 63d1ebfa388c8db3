// Each limit, by name. limits::channels is in socket.cpp; held_pushes, held_bytes and join are in socket_deferred.cpp; the
// policies that drop are in socket_slow.cpp.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

using namespace support;

namespace {

phx::mount with(void (*set)(phx::limits&)) {
  phx::mount m;
  set(m.bounds);
  return m;
}

}  // namespace

TEST_CASE("limits::frame: a message of exactly the limit is read, one byte more closes with 1009; its channels get closed") {
  std::string const start = R"(["1","2","room:a","echo",")", end = "\"]";
  for (std::size_t const over : {0u, 1u}) {
    talk t("2.0.0", with([](phx::limits& l) { l.frame = 100; }));
    watcher& w = t.watch();
    (void)t.join();
    std::string const text = start + std::string(100 - start.size() - end.size() + over, 'x') + end;
    t.c.in(text);
    CHECK(t.c.close_code() == (over == 0 ? 0u : 1009u));
    CHECK(t.c.out().size() == 1 - over);
    CHECK(w.count("too_large") == over);
    if (over != 0) CHECK(t.log.take() == texts{"room:a: closed", "room:a: gone"});
  }
}

TEST_CASE("limits::frame: the parts of a message count together, and are not stored once it is too large") {
  talk t("2.0.0", with([](phx::limits& l) { l.frame = 100; }));
  t.c.in(phx::opcode::text, std::string(60, '['), false);
  CHECK_FALSE(t.c.closed());
  t.c.in(phx::opcode::text, std::string(41, '['), false);
  CHECK(t.c.close_code() == 1009);
}

TEST_CASE("limits::name: a topic, event or ref of exactly the limit is accepted, a longer one closes with 1011") {
  for (std::size_t const size : {32u, 33u}) {
    std::string const name(size, 'x'), topic = "room:" + std::string(size - 5, 'x');
    unsigned const code = size == 32 ? 0 : 1011;
    for (std::string const& text :
         {"[null,\"1\",\"" + topic + R"(","phx_join",{}])", R"([null,"1","room:a",")" + name + R"(",{}])",
          "[null,\"" + name + R"(","room:a","echo",{}])", "[\"" + name + R"(",null,"room:a","echo",{}])"}) {
      talk t("2.0.0", with([](phx::limits& l) { l.name = 32; }));
      t.c.in(text);
      CHECK(t.c.close_code() == code);
    }
  }
}

TEST_CASE("limits::name: 4096 bytes by default, counted unescaped") {
  talk t;
  std::string const topic = "room:" + std::string(4091, 'x');
  CHECK(t.join(topic).size() == 1);
  std::string escaped = "room:";
  for (int i = 0; i < 4091; ++i) escaped += "\\u0079";
  CHECK(t.join(escaped, "2").size() == 1);
  CHECK_FALSE(t.c.closed());
  (void)t.join("room:" + std::string(4092, 'x'));
  CHECK(t.c.close_code() == 1011);
}

TEST_CASE("limits::json_depth: nesting of exactly the limit is accepted, deeper nesting is not") {
  for (std::size_t const depth : {1024u, 1025u}) {
    talk t;
    (void)t.join();
    std::string const deep = std::string(depth, '[') + std::string(depth, ']');
    auto const out = t.tell("echo", deep);
    CHECK(out == (depth == 1024 ? texts{reply("\"1\"", "\"9\"", "ok", deep)} : texts{}));
    CHECK(t.c.close_code() == (depth == 1024 ? 0u : 1011u));
  }
}

TEST_CASE("limits::outbound with pressure_policy::close: more waiting bytes close with 1008") {
  talk t("2.0.0", with([](phx::limits& l) { l.outbound = 1000; }));
  watcher& w = t.watch();
  (void)t.join();
  phx::testing::recorder& r = t.c.recorder();
  r.answer = phx::send_status::congested;
  r.waiting = 1000;
  CHECK(t.tell("echo").size() == 1);
  CHECK_FALSE(t.c.closed());
  r.waiting = 1001;
  CHECK(t.tell("push_then_reply") == texts{pushed("pushed", "{}")});
  CHECK(t.c.close_code() == 1008);
  CHECK(r.after_close == 0);
  CHECK(w.count("pressure") == 1);
  CHECK(t.log.take() == texts{"room:a: closed", "room:a: gone"});
}

TEST_CASE("limits::outbound: a frame that the transport drops counts as pressure as well") {
  talk t;
  watcher& w = t.watch();
  (void)t.join();
  t.c.recorder().answer = phx::send_status::dropped;
  CHECK(t.tell("echo").empty());
  CHECK(t.c.close_code() == 1008);
  CHECK(w.count("frame_dropped") == 1);
}

TEST_CASE("limits::outbound with pressure_policy::ignore: the host limits its queue itself") {
  talk t("2.0.0", with([](phx::limits& l) {
           l.outbound = 10;
           l.pressure = phx::pressure_policy::ignore;
         }));
  watcher& w = t.watch();
  (void)t.join();
  phx::testing::recorder& r = t.c.recorder();
  r.answer = phx::send_status::congested;
  r.waiting = 1'000'000;
  CHECK(t.tell("echo").size() == 1);
  CHECK(t.tell("echo").size() == 1);
  r.answer = phx::send_status::dropped;
  CHECK(t.tell("echo").empty());
  CHECK(w.count("frame_dropped") == 1);
  CHECK_FALSE(t.c.closed());
}

TEST_CASE("limits::outbound: a transport that returns closed must call gone itself") {
  talk t;
  (void)t.join();
  t.c.recorder().answer = phx::send_status::closed;
  CHECK(t.tell("echo").empty());
  CHECK_FALSE(t.c.closed());
  t.c.gone();
  CHECK(t.log.take() == texts{"room:a: closed", "room:a: gone"});
}

TEST_CASE("limits::mailbox: items beyond it are dropped and counted; exits, verdicts and disconnects are always accepted") {
  talk t("2.0.0", with([](phx::limits& l) { l.mailbox = 3; }), "user:ann");
  (void)t.join();
  (void)t.tell("async");
  (void)t.join("room:b", "2", R"({"later":1})");
  phx::channel_id const a = t.log.ids["room:a"], b = t.log.ids["room:b"];
  for (int i = 0; i < 3; ++i) CHECK(a.push("x", {}) == phx::send_status::ok);
  CHECK(a.push("x", {}) == phx::send_status::dropped);
  CHECK(a.send("x") == phx::send_status::dropped);
  CHECK(a.broadcast("x", {}) == phx::send_status::dropped);
  CHECK(t.log.replies.at(0)() == phx::send_status::dropped);
  CHECK(t.c.endpoint().broadcast("room:a", "x", {}) == phx::errc::limit_reached);
  CHECK(t.c.loop().dropped() == 5);
  CHECK(b.joined() == phx::send_status::ok);
  CHECK(a.exit(phx::exit_reason::normal) == phx::send_status::ok);
  CHECK(t.c.endpoint().disconnect("user:ann") == phx::errc::none);
  t.c.settle();
  CHECK(t.c.out() == texts{pushed("x", "{}"), pushed("x", "{}"), pushed("x", "{}"),
                           reply("\"2\"", "\"2\"", "ok", "{}", "room:b"), ended("\"1\"")});
  CHECK(t.c.close_code() == 1001);
}

TEST_CASE("limits::mailbox_bytes: a loop that does not run accepts no more large messages, until it runs again") {
  talk t("2.0.0", with([](phx::limits& l) { l.mailbox_bytes = 300'000; }), "user:ann");
  (void)t.join();
  auto const large = phx::payload::json("{\"fill\":\"" + std::string(100'000, 'x') + "\"}");
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 3; ++i) CHECK(t.c.endpoint().broadcast("room:a", "x", large) == phx::errc::none);
    CHECK(t.c.endpoint().broadcast("room:a", "x", large) == phx::errc::limit_reached);
    CHECK(t.log.ids["room:a"].push("x", {}) == phx::send_status::dropped);
    t.c.settle();
    CHECK(t.c.out().size() == 3);
  }
  CHECK(t.c.loop().dropped() == 6);
}

TEST_CASE("limits::mailbox: a channel's disconnect is accepted by the full mailbox of another loop") {
  journal log;
  struct dispatcher : rooms {
    journal* log = nullptr;
    phx::connect_outcome<user> connect(phx::connect_info const& from) {
      return phx::connected<user>{{log, "x"}, std::string(from.param("id").value_or("user:ann"))};
    }
  } d;
  d.log = &log;
  phx::testing::server<dispatcher> server(d, with([](phx::limits& l) { l.mailbox = 2; }), 2);
  auto ann = server.connect("id=user:ann", 1), bob = server.connect("id=user:bob", 0);
  auto from = bob.join("room:b"), to = ann.join("room:a");
  REQUIRE(from.ok());
  REQUIRE(to.ok());
  log.with = &log;
  log.on_event = [](void* with, phx::context& ctx, phx::message const&) {
    while (static_cast<journal*>(with)->ids["room:a"].push("x", {}) == phx::send_status::ok) {
    }
    CHECK(ctx.disconnect("user:ann"));
  };
  from.push("call");
  server.settle();
  CHECK(ann.close_code() == 1001);
  CHECK(bob.connected());
}

TEST_CASE("limits::timers: beyond it send_after returns dropped; timers of sockets that are gone do not count") {
  struct count {
    int ok = 0, dropped = 0;
    static void timers(void* with, phx::context& ctx, phx::message const&) {
      auto& n = *static_cast<count*>(with);
      for (int i = 0; i < 4; ++i) ++(ctx.send_after(1s, "tick") == phx::send_status::ok ? n.ok : n.dropped);
    }
  } n;
  phx::mount const m = with([](phx::limits& l) { l.timers = 3; });
  talk t("2.0.0", m);
  // Sockets that are gone leave their idle timers behind.
  for (int i = 0; i < 10; ++i) {
    phx::testing::recorder r;
    phx::admission<user> in{phx::serializer_ref::of<phx::v2_json>()};
    in.session.emplace(user{&t.log, "passer-by"});
    phx::socket<phx::testing::recorder::transport_type, rooms> s(t.c.loop(), t.dispatcher, std::move(in), r.transport(),
                                                                 t.c.loops().now());
  }
  t.log.on_event = &count::timers;
  t.log.with = &n;
  (void)t.join();
  (void)t.tell("call");
  CHECK(n.ok == 3);
  CHECK(n.dropped == 1);
  CHECK(t.after(1s).size() == 3);
  (void)t.tell("call");
  CHECK(n.ok == 6);
}

TEST_CASE("limits::timers: stale timers are swept, all others fire at their time and in their order") {
  struct setter {
    int next = 0, came = 0;
    static void set(void* with, phx::context& ctx, phx::message const& in) {
      auto& me = *static_cast<setter*>(with);
      int const seconds = in.payload.raw() == "1" ? 1 : 2;
      CHECK(ctx.send_after(std::chrono::seconds(seconds), "tick",
                           phx::payload::json("{\"n\":" + std::to_string(me.next++) + "}")) == phx::send_status::ok);
    }
  } n;
  phx::mount const m = with([](phx::limits& l) { l.timers = 500; });
  talk t("2.0.0", m);
  t.log.on_event = &setter::set;
  t.log.with = &n;
  (void)t.join();
  texts wanted[2];
  for (int i = 0; i < 400; ++i) {
    int const when = i * 7 % 3 == 0 ? 1 : 2;
    wanted[when - 1].push_back(pushed("tick", "{\"n\":" + std::to_string(n.next) + "}"));
    (void)t.tell("call", std::to_string(when));
    for (int k = 0; k < 5; ++k) {
      (void)t.join("room:b", "2", R"({"timer":1})");
      (void)t.say(R"(["2","3","room:b","phx_leave",{}])");
    }
  }
  CHECK(t.after(1s) == wanted[0]);
  CHECK(t.after(1s) == wanted[1]);
  CHECK(t.after(10s).empty());
}

TEST_CASE("limits::timers: a timer that a join has set is not swept before the join is answered") {
  phx::mount const m = with([](phx::limits& l) { l.timers = 10; });
  talk t("2.0.0", m);
  struct joined {
    static void many(void*, phx::context& ctx, phx::message const&) {
      for (int i = 0; i < 9; ++i) (void)ctx.send_after(1h, "never");
    }
  };
  t.log.on_event = &joined::many;
  (void)t.join("room:a");
  (void)t.tell("call");
  (void)t.tell("phx_leave");
  CHECK(t.join("room:b", "1", R"({"timers":1})") == texts{reply("\"1\"", "\"1\"", "ok", "{}", "room:b")});
  texts const ticks(3, pushed("tick", "{}", "\"1\"", "room:b"));
  CHECK(t.after(3s) == ticks);
}

TEST_CASE("smaller in every way, and a room still works") {
  phx::limits const small = phx::limits::for_small_machines(), all{};
  CHECK(small.frame < all.frame);
  CHECK(small.channels < all.channels);
  CHECK(small.held_pushes < all.held_pushes);
  CHECK(small.held_bytes < all.held_bytes);
  CHECK(small.outbound < all.outbound);
  CHECK(small.mailbox < all.mailbox);
  CHECK(small.mailbox_bytes < all.mailbox_bytes);
  CHECK(small.timers < all.timers);
  CHECK(small.name >= 4096);
  CHECK(small.json_depth >= 1024);
  phx::mount m;
  m.bounds = small;
  talk t("2.0.0", m);
  (void)t.join();
  CHECK(t.tell("shout_then_reply").size() == 2);
}

TEST_CASE("limits::channel_timers: per channel; beyond it send_after returns dropped, and other clients are not affected") {
  struct counted {
    static phx::outcome ticks(phx::context& ctx, phx::message const& in, int& ok, int& dropped) {
      for (int i = 0; i < 5; ++i)
        ++(ctx.send_after(in.event == "soon" ? 1s : 50s, "tick") == phx::send_status::ok ? ok : dropped);
      return phx::outcome::noreply();
    }
  };
  struct greedy {
    int ok = 0, dropped = 0;
    phx::join_result join(phx::joining& j, phx::message const&) {
      CHECK(j.send_after(1s, "of the join") == phx::send_status::ok);
      return phx::join_result::ok();
    }
    phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
      ok = dropped = 0;
      (void)counted::ticks(ctx, in, ok, dropped);
      return phx::outcome::reply(phx::payload::json("[" + std::to_string(ok) + "," + std::to_string(dropped) + "]"));
    }
  };
  phx::router<> app;
  app.channel<greedy>("room:*");
  phx::mount m;
  m.bounds.channel_timers = 4;
  m.bounds.timers = 10;
  phx::testing::server server(app, m);
  auto one = server.connect();
  auto a = one.join("room:a");
  CHECK(a.call("soon")->response == "[3,2]");  // one of them is the join's
  CHECK(a.call("late")->response == "[0,5]");
  auto b = server.connect().join("room:b");
  CHECK(b.call("late")->response == "[3,2]");
  server.advance(1s);  // a fired timer makes room, in its channel
  CHECK(a.call("late")->response == "[4,1]");
  CHECK(b.call("late")->response == "[1,4]");
  CHECK(a.leave());
  auto again = one.join("room:a");
  CHECK(again.call("soon")->response == "[3,2]");
  for (int i = 0; i < 200; ++i) {
    server.advance(1s);
    CHECK(again.call("soon")->response == "[4,1]");
    (void)one.heartbeat();
  }
}

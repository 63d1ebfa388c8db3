// Channels that subscribe to other topics (protocol 6.4, 13.1).

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

using namespace support;

namespace {

/// Pushes messages to itself as `TOPIC EVENT`, and intercepted broadcasts as `out EVENT`.
struct listening {
  static inline phx::channel_id last{};
  static constexpr std::array<std::string_view, 1> intercepts{"masked"};

  phx::join_result join(phx::joining& ctx, phx::message const& in) {
    std::string_view const mode = in.payload.raw();
    last = ctx.id();
    if (mode == R"("news")" || mode == R"("denied")") CHECK(ctx.subscribe("news") == phx::send_status::ok);
    if (mode == R"("published")") {
      CHECK(ctx.subscribe("news") == phx::send_status::ok);
      CHECK(ctx.event_loop().publish({"news", "early", phx::payload{}, {}}) == phx::errc::none);
    }
    if (mode == R"("later")") {
      CHECK(ctx.subscribe("news") == phx::send_status::ok);
      return phx::join_result::later(ctx.now() + 5s);
    }
    return mode == R"("denied")" ? phx::join_result::error() : phx::join_result::ok();
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    std::string_view topic = in.payload.raw();
    if (topic.starts_with('"')) topic = topic.substr(1, topic.size() - 2);
    if (in.event == "subscribe") {
      return ctx.subscribe(topic) == phx::send_status::ok ? phx::outcome::reply() : phx::outcome::reply(phx::status::error);
    }
    if (in.event == "unsubscribe") return ctx.unsubscribe(topic), phx::outcome::reply();
    if (in.event == "publish") return ctx.publish(topic, "told", {}), phx::outcome::reply();
    if (in.event == "publish_from") return ctx.publish_from(topic, "told", {}), phx::outcome::reply();
    if (in.event == "whisper") ctx.broadcast_from("whispered", {});
    if (in.event == "stop") return phx::outcome::stop();
    return phx::outcome::noreply();
  }
  phx::outcome handle_out(phx::context& ctx, phx::broadcast const& b) {
    ctx.push("out " + std::string(b.event), b.payload);
    return phx::outcome::noreply();
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    CHECK(in.topic_name.is_string());
    CHECK(in.topic_name.text == in.topic);
    ctx.push(std::string(in.topic) + ' ' + std::string(in.event), in.payload);
    return phx::outcome::noreply();
  }
  void terminate(phx::context& ctx, phx::exit_reason) noexcept {
    (void)ctx.subscribe("news");
    ctx.publish("news", "ended", {});
  }
};

struct listeners : phx::router<> {
  listeners() { channel<listening>("room:*").channel<listening>("news"); }
};

struct pair {
  listeners app{};
  phx::testing::server<listeners> server;
  phx::testing::client ann, bob;
  explicit pair(phx::mount m = {}, std::size_t loops = 1)
      : server(app, std::move(m), loops), ann(server.connect()), bob(server.connect({}, loops - 1)) {}
  void say(std::string_view event, phx::payload const& data = {}) {
    (void)server.endpoint().broadcast("news", event, data);
    server.settle();
  }
};

[[nodiscard]] bool agrees(phx::testing::channel_client& c, std::string_view event, std::string_view topic = "news") {
  return c.call(event, '"' + std::string(topic) + '"')->ok();
}

}  // namespace

TEST_CASE("subscribe: a broadcast on another topic is a message to the channel only") {
  for (std::size_t const loops : {1u, 2u}) {
    pair p({}, loops);
    auto a = p.ann.join("room:a"), b = p.bob.join("room:a");
    CHECK(agrees(b, "subscribe"));
    p.say("hello", phx::payload::json(R"({"n":1})"));
    CHECK(b.expect_push("news hello") == R"({"n":1})");
    CHECK(agrees(a, "publish"));
    p.server.settle();
    CHECK(b.expect_push("news told") == "{}");
    // An event that it intercepts on its own topic is an ordinary message on another; its client's serializer does not check
    // the payload.
    p.say("masked", phx::payload::binary("x"));
    CHECK(b.expect_push("news masked") == "x");
    CHECK(a.rest().empty());
    CHECK(b.rest().empty());
  }
}

TEST_CASE("subscribe: a channel that subscribed twice gets a broadcast twice, until it unsubscribes") {
  pair p;
  auto a = p.ann.join("room:a");
  CHECK(agrees(a, "subscribe"));
  CHECK(agrees(a, "subscribe"));
  CHECK(agrees(a, "subscribe", "others"));
  p.say("hello");
  CHECK(a.expect_push("news hello") == "{}");
  CHECK(a.expect_push("news hello") == "{}");
  CHECK(agrees(a, "unsubscribe"));
  CHECK(agrees(a, "unsubscribe"));
  p.say("hello");
  (void)p.server.endpoint().broadcast("others", "hello", {});
  p.server.settle();
  CHECK(a.expect_push("others hello") == "{}");
  CHECK(a.rest().empty());
  CHECK(p.server.loop().topics() == 2);
}

TEST_CASE("subscribe: the channel's own broadcasts there come after the handler and the reply") {
  pair p;
  auto a = p.ann.join("room:a");
  CHECK(agrees(a, "subscribe"));
  a.push("publish", R"("news")");
  CHECK(a.rest() == texts{"reply ok {}", "news told {}"});
}

TEST_CASE("subscribe: a broadcast_from reaches all other subscribers, not itself") {
  pair p;
  auto a = p.ann.join("room:a"), b = p.ann.join("room:b"), c = p.bob.join("news");
  CHECK(agrees(a, "subscribe"));
  CHECK(agrees(b, "subscribe"));
  CHECK(agrees(a, "publish_from"));
  CHECK(a.rest().empty());
  CHECK(b.expect_push("news told") == "{}");
  CHECK(c.expect_broadcast("told") == "{}");
  CHECK(agrees(c, "publish_from"));  // a topic of its own is one like any other
  CHECK(a.expect_push("news told") == "{}");
  CHECK(c.rest().empty());
}

TEST_CASE("subscribe: on its own topic a subscription adds to handle_out, and brings none of its own broadcasts") {
  pair p;
  auto a = p.ann.join("room:a"), b = p.bob.join("room:a");
  CHECK(agrees(a, "subscribe", "room:a"));
  (void)p.server.endpoint().broadcast("room:a", "hello", {});
  p.server.settle();
  CHECK(a.rest() == texts{"hello {}", "out hello {}"});
  a.push("whisper");
  CHECK(a.rest().size() == 2);
  CHECK(b.expect_broadcast("hello"));
  CHECK(b.expect_broadcast("whispered"));
}

TEST_CASE("subscribe: from join, broadcasts come after the join's reply") {
  listeners app;
  phx::testing::conversation<listeners> c(app);
  c.in(R"(["1","1","room:a","phx_join","published"])");
  CHECK(c.out() == texts{reply("\"1\"", "\"1\""), pushed("news early", "{}")});
  // A pending channel gets it once it is joined, or not at all.
  for (bool const yes : {true, false}) {
    c.in(R"(["2","2","room:b","phx_join","later"])");
    (void)c.endpoint().broadcast("news", "hello", {});
    c.settle();
    CHECK(c.out() == texts{pushed("news hello", "{}")});  // room:a's
    if (yes)
      listening::last.joined();
    else
      listening::last.refused();
    c.settle();
    std::string const answer = reply("\"2\"", "\"2\"", yes ? "ok" : "error", "{}", "room:b");
    if (yes)
      CHECK(c.out() == texts{answer, pushed("news hello", "{}", "\"2\"", "room:b")});
    else
      CHECK(c.out() == texts{answer, pushed("news ended", "{}")});  // its last broadcast, to room:a
    c.in(R"(["2","3","room:b","phx_leave",{}])");
    (void)c.out();
  }
  CHECK(c.loop().topics() == 2);
}

TEST_CASE("subscribe: it ends with the channel, however the channel ends") {
  pair p;
  auto gone = [&](auto&& end) {
    auto a = p.ann.join("room:a", R"("news")");
    REQUIRE(a.ok());
    CHECK(p.server.loop().topics() == 2);
    end(a);
    p.server.settle();
    CHECK(p.server.loop().topics() == 0);
    p.say("late");
    for (std::string const& frame : a.rest()) CHECK(frame.find("late") == std::string::npos);
  };
  gone([](auto& a) { CHECK(a.leave()); });
  gone([](auto& a) { a.push("stop"); });
  gone([&](auto&) {
    auto again = p.ann.join("room:a");
    CHECK(again.ok());
    CHECK(p.server.loop().topics() == 1);
    CHECK(again.leave());
  });
  CHECK(p.ann.join("room:a", R"("denied")").joined()->status == "error");
  CHECK(p.server.loop().topics() == 0);
  gone([&](auto&) { p.ann.disconnect(); });
}

TEST_CASE("subscribe: a channel whose connection a callback destroys gets nothing") {
  journal log;
  struct app_of : phx::router<user> {
    app_of() { channel<listening>("quiet:*").channel<room>("room:*"); }
  } app;
  phx::testing::fake_loops loops(1);
  using wire = phx::testing::recorder;
  using connection = phx::socket<wire::transport_type, app_of>;
  wire one, two;
  auto const socket = [&](wire& w) {
    phx::admission<user> in{phx::serializer_ref::of<phx::v2_json>()};
    in.session.emplace(user{&log, "x"});
    return std::make_unique<connection>(loops[0], app, std::move(in), w.transport(), loops.now());
  };
  struct both {
    std::unique_ptr<connection> a, b;
  } s{socket(one), socket(two)};
  (void)s.b->receive(phx::opcode::text, R"(["1","1","quiet:b","phx_join","news"])", true, loops.now());
  (void)s.a->receive(phx::opcode::text, R"(["1","1","room:a","phx_join",{}])", true, loops.now());
  log.with = &s;
  log.on_event = [](void* with, phx::context& ctx, phx::message const&) {
    ctx.publish("news", "before", {});
    static_cast<both*>(with)->b.reset();
    ctx.publish("news", "after", {});
  };
  (void)s.a->receive(phx::opcode::text, R"(["1","2","room:a","call",{}])", true, loops.now());
  loops.settle();
  CHECK(two.out().size() == 1);  // the reply to the join
  CHECK(loops[0].topics() == 1);
}

TEST_CASE("limits::subscriptions: the number for one channel, whatever its topics; beyond it `dropped`") {
  phx::mount m;
  m.bounds.subscriptions = 2;
  pair p(m);
  auto a = p.ann.join("room:a"), b = p.ann.join("room:b");
  CHECK(agrees(a, "subscribe"));
  CHECK(agrees(a, "subscribe"));
  CHECK_FALSE(agrees(a, "subscribe", "others"));
  CHECK(agrees(b, "subscribe"));
  CHECK(agrees(a, "unsubscribe"));
  CHECK(agrees(a, "subscribe", "others"));
}

TEST_CASE("subscribe: whichever allocation fails, nothing leaks") {
  for (std::size_t n = 0; n < 40; ++n) {
    metered::reset();
    {
      phx::limits l;
      l.memory = metered::hook();
      listeners app;
      phx::testing::fake_loops loops(1, l);
      phx::testing::recorder wire;
      phx::admission<phx::anonymous> in{phx::serializer_ref::of<phx::v2_json>()};
      in.session.emplace();
      phx::socket<phx::testing::recorder::transport_type, listeners> s(loops[0], app, std::move(in), wire.transport(),
                                                                       loops.now());
      (void)s.receive(phx::opcode::text, R"(["1","1","room:a","phx_join",{}])", true, loops.now());
      metered::fail_at = metered::allocations + n;
      (void)s.receive(phx::opcode::text, R"(["1","2","room:a","subscribe","news"])", true, loops.now());
      (void)loops[0].publish({"news", "hello", phx::payload::json(R"({"n":1})"), {}});
      loops.settle();
      metered::fail_at = SIZE_MAX;
      (void)s.receive(phx::opcode::text, R"(["1","3","room:a","unsubscribe","news"])", true, loops.now());
      CHECK(loops[0].topics() == 1);
      listening::last = {};
    }
    CHECK(metered::bytes == 0);
    CHECK_FALSE(metered::wrong_size);
  }
}

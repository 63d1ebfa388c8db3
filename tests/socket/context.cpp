#include <phx/socket/context.hpp>

#include <support/room.hpp>

using namespace support;

namespace {

/// Runs `body` as the handler of an event on room:a, and returns the frames.
template <class F>
texts during(talk& t, F body) {
  t.log.with = &body;
  t.log.on_event = [](void* with, phx::context& ctx, phx::message const& in) { (*static_cast<F*>(with))(ctx, in); };
  texts const all = t.tell("call", R"({"in":"hand"})");
  t.log.on_event = nullptr;
  t.log.with = nullptr;
  return all;
}

}  // namespace

TEST_CASE("context: has its topic, its channel, its socket, the time and the loop") {
  talk t;
  (void)t.join();
  t.c.advance(7s);
  (void)during(t, [&](phx::context& ctx, phx::message const& in) {
    CHECK(ctx.topic() == "room:a");
    CHECK(in.topic == "room:a");
    CHECK(ctx.id() == t.log.ids["room:a"]);
    CHECK(ctx.id().socket() == ctx.socket());
    CHECK(ctx.socket() == t.c.socket().name());
    CHECK(ctx.now() == t.c.loops().now());
    CHECK(&ctx.event_loop() == &t.c.loop());
    CHECK(ctx.reply().has_ref());
  });
}

TEST_CASE("context: joining has them as well") {
  struct curious {
    phx::join_result join(phx::joining& j, phx::message const&) {
      CHECK(j.topic() == "curious:1");
      CHECK(j.socket() == j.id().socket());
      CHECK(j.event_loop().sockets() == 1);
      CHECK(j.now() == j.event_loop().now());
      CHECK(j.send("a") == phx::send_status::ok);
      CHECK(j.send_after(1s, "b") == phx::send_status::ok);
      return phx::join_result::ok();
    }
    phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
      ctx.push(in.event, in.payload);
      return phx::outcome::noreply();
    }
  };
  phx::router<> r;
  r.channel<curious>("curious:*");
  phx::testing::server s(r);
  auto c = s.connect().join("curious:1");
  CHECK(c.rest() == texts{"a {}"});
  s.advance(1s);
  CHECK(c.rest() == texts{"a {}", "b {}"});
}

TEST_CASE("context: the payload of a message outlives the callback when it is copied") {
  talk t;
  (void)t.join();
  phx::payload kept;
  std::optional<phx::owned_message> whole;
  (void)during(t, [&](phx::context&, phx::message const& in) {
    kept = in.payload;
    whole.emplace(in.copy());
  });
  (void)t.tell("echo", R"({"some":"other bytes in the same buffer"})");
  CHECK(kept.raw() == R"({"in":"hand"})");
  REQUIRE(whole.has_value());
  CHECK(whole->view().event == "call");
  CHECK(whole->view().ref.json == "\"9\"");
}

TEST_CASE("context: a send_after of zero or less is a send") {
  talk t;
  (void)t.join();
  CHECK(during(t, [](phx::context& ctx, phx::message const&) {
          (void)ctx.send_after(0s, "now");
          (void)ctx.send_after(-5s, "long ago");
        }) == texts{pushed("now", "{}"), pushed("long ago", "{}")});
}

TEST_CASE("context: a failure that was tested is handled, one that was not ends the channel; the last one counts") {
  talk t;
  (void)t.join();
  auto const bad = phx::payload::json("[1]");
  CHECK(during(t, [&](phx::context& ctx, phx::message const&) {
          CHECK(ctx.push("x", bad).error() == phx::errc::not_an_object);
          CHECK_FALSE(ctx.broadcast("x", bad));
          CHECK(ctx.push("x", {}));
        }) == texts{pushed("x", "{}")});
  CHECK(t.topics() == texts{"room:a"});
  CHECK(during(t, [&](phx::context& context, phx::message const&) {
          auto const result = context.push("x", bad);
          context.push("y", {});
          CHECK_FALSE(result);
        }) == texts{pushed("y", "{}")});
  CHECK(t.topics() == texts{"room:a"});
  CHECK(during(t, [&](phx::context& ctx, phx::message const&) { ctx.broadcast("x", bad); }) == texts{ended("\"1\"", true)});
}

TEST_CASE("context: publishing to a topic without subscribers, and an invalid payload") {
  talk t;
  (void)t.join();
  (void)during(t, [](phx::context& ctx, phx::message const&) {
    CHECK(ctx.publish("nobody:here", "x", phx::payload::json("[1]")));
    CHECK(ctx.publish("nobody:here", "x", phx::payload::json("{")).error() == phx::errc::invalid_payload);
    CHECK(ctx.disconnect("nobody"));
  });
  CHECK(t.topics() == texts{"room:a"});
}

TEST_CASE("context: a reply_to is a value: copied, kept by other threads, and used again") {
  talk t;
  (void)t.join();
  phx::reply_to first;
  CHECK(during(t, [&](phx::context& ctx, phx::message const&) {
          first = ctx.reply();
          phx::reply_to const second = first;
          CHECK(second(phx::status::error, phx::payload::json("[2]")) == phx::send_status::ok);
        }) == texts{reply("\"1\"", "\"9\"", "error", "[2]")});
  CHECK(first() == phx::send_status::ok);
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"9\"")});
}

TEST_CASE("context: outside of handle_in there is nothing to reply to") {
  talk t;
  (void)t.join();
  bool asked = false;
  t.log.with = &asked;
  t.log.on_end = [](void* with, phx::context& ctx, phx::exit_reason) noexcept {
    *static_cast<bool*>(with) = true;
    CHECK_FALSE(ctx.reply().has_ref());
    CHECK(ctx.reply()() == phx::send_status::closed);
  };
  (void)t.tell("phx_leave");
  CHECK(asked);
}

TEST_CASE("context: ids of two channels on one topic differ") {
  talk t;
  (void)t.join();
  phx::channel_id const first = t.log.ids["room:a"];
  CHECK(first == phx::channel_id(first));
  CHECK_FALSE(first == phx::channel_id{});
  (void)t.join("room:a", "2");
  CHECK_FALSE(first == t.log.ids["room:a"]);
}

TEST_CASE("outcome: a reply with the message's own payload, and one with another payload") {
  talk t;
  (void)t.join();
  // Long enough that a sanitizer detects a view that should be a copy, or the reverse.
  std::string const big = "\"" + std::string(100'000, 'x') + "\"";
  CHECK(t.tell("echo", big) == texts{reply("\"1\"", "\"9\"", "ok", big)});
  CHECK(t.tell("stop_reply", big) == texts{reply("\"1\"", "\"9\"", "ok", big), ended("\"1\"")});
}

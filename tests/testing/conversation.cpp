#include <phx/testing/conversation.hpp>
#include <phx/testing/server.hpp>

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using texts = std::vector<std::string>;

namespace {

struct user {
  std::string name = "nobody";
};

/// A room of an application.
struct room {
  explicit room(user const& u) : me(u) {}
  phx::join_result join(phx::joining& j, phx::message const& in) {
    if (in.payload.raw() == R"({"deny":true})") return phx::join_result::error(phx::payload::json(R"({"reason":"no"})"));
    if (in.payload.raw() == R"({"slow":true})") return phx::join_result::later(j.now() + 5s);
    j.send("greet");
    return phx::join_result::ok(phx::payload::json(R"({"you":")" + me.name + R"("})"));
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "shout") {
      ctx.broadcast("shout", in.payload);
      return phx::outcome::reply();
    }
    if (in.event == "bytes") {
      ctx.push("bytes", in.payload);
      ctx.broadcast_from("bytes", in.payload);
      return phx::outcome::reply(in.payload);
    }
    if (in.event == "later") {
      (void)ctx.send_after(10s, "tick");
      return phx::outcome::noreply();
    }
    return phx::outcome::stop(in.event == "stop" ? phx::exit_reason::normal : phx::exit_reason::error);
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    ctx.push(in.event, {});
    return phx::outcome::noreply();
  }
  user me;
};

phx::router<user> app() {
  phx::router<user> r([](phx::connect_info const& info) -> phx::connect_outcome<user> {
    if (info.param("reject") == "1") return phx::http_answer{401, {}, "no"};
    auto const name = info.param("name");
    if (!name) return phx::connected<user>{user{}};
    return phx::connected<user>{user{std::string(*name)}, "user:" + std::string(*name)};
  });
  r.channel<room>("room:*");
  return r;
}

}  // namespace

TEST_CASE("conversation: a stale join_ref is ignored, and no reply follows") {
  phx::testing::conversation c;
  c.in(R"(["1","1","room:a","phx_join",{}])");
  c.in(R"(["0","2","room:a","echo",{}])");
  CHECK(c.out() == texts{R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])"});
  c.advance(59s);
  CHECK_FALSE(c.closed());
  CHECK(c.close_code() == 0);
  c.advance(2s);
  CHECK(c.closed());
  CHECK(c.close_code() == 1001);
}

TEST_CASE("conversation: messages after the end are ignored") {
  phx::testing::conversation c;
  c.in("{");
  CHECK(c.close_code() == 1011);
  c.in(R"([null,"1","phoenix","heartbeat",{}])");
  CHECK(c.out().empty());
  CHECK(c.recorder().closes == 1);
}

TEST_CASE("conversation: a custom dispatcher, at any vsn") {
  phx::router<> r;
  r.channel<phx::testing::echo_room>("x");
  phx::testing::conversation c(r, "1.0.0");
  c.in(R"({"topic":"x","event":"phx_join","payload":{},"ref":"1"})");
  CHECK(c.out() == texts{R"({"topic":"x","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}})"});
}

TEST_CASE("server: a broadcast is answered and reaches all clients") {
  auto rooms = app();
  phx::testing::server server(rooms);
  auto ann = server.connect("name=ann").join("room:a");
  auto bob = server.connect("name=bob").join("room:a");
  REQUIRE(ann.ok());
  CHECK(bob.joined()->response == R"({"you":"bob"})");
  CHECK(ann.expect_push("greet") == "{}");

  auto ref = ann.push("shout", R"({"body":"hi"})");
  CHECK(ann.expect_reply(ref) == phx::testing::received_reply{"ok", "{}"});
  CHECK(ann.expect_broadcast("shout") == R"({"body":"hi"})");
  CHECK(bob.expect_broadcast("shout") == R"({"body":"hi"})");
  CHECK_FALSE(bob.expect_broadcast("shout").has_value());
  CHECK(ann.rest().empty());
}

TEST_CASE("server: a refused join, a refused connect, an unmatched topic") {
  auto rooms = app();
  phx::testing::server server(rooms);
  auto ann = server.connect();
  CHECK(ann.connected());
  CHECK(ann.join("room:a", R"({"deny":true})").joined() == phx::testing::received_reply{"error", R"({"reason":"no"})"});
  CHECK(ann.join("hall").joined() == phx::testing::received_reply{"error", R"({"reason":"unmatched topic"})"});

  auto refused = server.connect("reject=1");
  CHECK_FALSE(refused.connected());
  CHECK(refused.refused() == 401);
  CHECK_FALSE(refused.join("room:a").ok());
}

TEST_CASE("server: a pending join is answered at its deadline") {
  auto rooms = app();
  phx::testing::server server(rooms);
  auto ann = server.connect().join("room:a", R"({"slow":true})");
  CHECK_FALSE(ann.joined().has_value());
  server.advance(5s);
  CHECK(ann.joined() == phx::testing::received_reply{"error", R"({"reason":"timeout"})"});
}

TEST_CASE("server: timers fire when the test advances the clock, and only then") {
  auto rooms = app();
  phx::testing::server server(rooms);
  auto ann = server.connect().join("room:a");
  ann.push("later");
  server.advance(9s);
  CHECK_FALSE(ann.expect_push("tick").has_value());
  server.advance(1s);
  CHECK(ann.expect_push("tick").has_value());
}

TEST_CASE("server: a channel leaves, stops, crashes; each end looks to its client as in Phoenix") {
  auto rooms = app();
  phx::testing::server server(rooms);
  auto client = server.connect();
  auto a = client.join("room:a"), b = client.join("room:b"), c = client.join("room:c");
  CHECK(a.leave());
  CHECK(a.expect_close());
  CHECK_FALSE(a.expect_error());
  b.push("stop");
  CHECK(b.expect_close());
  c.push("nonsense");
  CHECK(c.expect_error());
  CHECK_FALSE(c.expect_close());
  CHECK(client.connected());
  CHECK(client.heartbeat());
}

TEST_CASE("server: bytes are sent and received as bytes") {
  auto rooms = app();
  phx::testing::server server(rooms);
  auto ann = server.connect().join("room:a");
  auto bob = server.connect().join("room:a");
  std::string const bytes("\x00\xff\x01", 3);
  auto ref = ann.push_bytes("bytes", bytes);
  CHECK(ann.expect_reply(ref) == phx::testing::received_reply{"ok", bytes, true});
  CHECK(ann.expect_push("bytes") == bytes);
  CHECK(bob.expect_broadcast("bytes") == bytes);
}

TEST_CASE("server: clients on two loops receive each other's broadcasts and the endpoint's") {
  auto rooms = app();
  phx::testing::server server(rooms, {}, 2);
  auto ann = server.connect("", 0).join("room:a");
  auto bob = server.connect("", 1).join("room:a");
  CHECK(server.loop(0).sockets() == 1);
  CHECK(server.loop(1).sockets() == 1);
  ann.push("shout", R"({"n":1})");
  CHECK(bob.expect_broadcast("shout") == R"({"n":1})");
  server.broadcast("room:a", "news", R"({"n":2})");
  CHECK(ann.expect_broadcast("news") == R"({"n":2})");
  CHECK(bob.expect_broadcast("news") == R"({"n":2})");
}

TEST_CASE("server: one client disconnects; another is disconnected by its id") {
  auto rooms = app();
  phx::testing::server server(rooms);
  auto ann = server.connect("name=ann");
  auto bob = server.connect("name=bob");
  ann.disconnect();
  CHECK_FALSE(ann.connected());
  CHECK(ann.close_code() == 0);
  CHECK(server.loop().sockets() == 1);
  server.disconnect("user:bob");
  CHECK_FALSE(bob.connected());
  CHECK(bob.close_code() == 1001);
  CHECK_FALSE(bob.heartbeat());
  CHECK(server.loop().sockets() == 0);
}

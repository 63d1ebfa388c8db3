// Pending joins, which are answered later.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

using namespace support;

namespace {

constexpr std::string_view later = R"({"later":1})";

texts refused_with(std::string_view reason, std::string_view ref = "\"1\"") {
  return {reply(ref, ref, "error", R"({"reason":")" + std::string(reason) + "\"}")};
}

}  // namespace

TEST_CASE("deferred join: it is answered when its handle gives the verdict") {
  talk t;
  CHECK(t.join("room:a", "1", later).empty());
  CHECK(t.topics() == texts{"room:a joining"});
  CHECK(t.log.ids["room:a"].joined(phx::payload::json("[1]")) == phx::send_status::ok);
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\"", "ok", "[1]")});
  CHECK(t.topics() == texts{"room:a"});
  CHECK(t.tell("echo") == texts{reply("\"1\"", "\"9\"")});
  CHECK(t.after(10s).empty());
}

TEST_CASE("deferred join: it is refused, and its channel gets shutdown") {
  talk t;
  (void)t.join("room:a", "1", later);
  t.log.ids["room:a"].refused(phx::payload::json(R"({"reason":"no"})"));
  t.c.settle();
  CHECK(t.c.out() == refused_with("no"));
  CHECK(t.topics().empty());
  CHECK(t.log.take() == texts{"room:a: shutdown", "room:a: gone"});
}

TEST_CASE("deferred join: at its deadline it is answered timeout; a late verdict is ignored") {
  talk t;
  watcher& w = t.watch();
  (void)t.join("room:a", "1", later);
  CHECK(t.after(4999ms).empty());
  CHECK(t.after(1ms) == refused_with("timeout"));
  CHECK(w.count("join_timed_out room:a") == 1);
  CHECK(t.log.take() == texts{"room:a: shutdown", "room:a: gone"});
  CHECK(t.log.ids["room:a"].joined() == phx::send_status::ok);
  t.c.settle();
  CHECK(t.c.out().empty());
  CHECK(t.topics().empty());
}

TEST_CASE("deferred join: limits::join is the longest deadline") {
  phx::mount m;
  m.bounds.join = 7s;
  talk t("2.0.0", m);
  (void)t.join("room:a", "1", R"({"forever":1})");
  CHECK(t.after(6999ms).empty());
  CHECK(t.after(1ms) == refused_with("timeout"));
}

TEST_CASE("deferred join: the second verdict is ignored") {
  talk t;
  (void)t.join("room:a", "1", later);
  t.log.ids["room:a"].joined();
  t.log.ids["room:a"].refused();
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\"")});
  CHECK(t.topics() == texts{"room:a"});
}

TEST_CASE("deferred join: messages for its topic wait in order, other topics and heartbeats continue") {
  talk t;
  (void)t.join("room:b", "2");
  (void)t.join("room:a", "1", later);
  CHECK(t.tell("echo", "1").empty());
  CHECK(t.tell("push", "{\"n\":2}").empty());
  CHECK(t.say(R"([null,"9","room:a","echo",3])").empty());
  CHECK(t.say(R"(["2","3","room:b","echo",{}])") == texts{reply("\"2\"", "\"3\"", "ok", "{}", "room:b")});
  CHECK(t.say(R"([null,"4","phoenix","heartbeat",{}])") == texts{reply("null", "\"4\"", "ok", "{}", "phoenix")});
  t.log.ids["room:a"].joined();
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\""), reply("\"1\"", "\"9\"", "ok", "1"), pushed("pushed", "{\"n\":2}"),
                           reply("\"1\"", "\"9\"", "ok", "3")});
}

TEST_CASE("deferred join: messages that waited for a refused one are answered unmatched topic") {
  talk t;
  (void)t.join("room:a", "1", later);
  (void)t.tell("echo");
  t.log.ids["room:a"].refused(phx::payload::json(R"({"reason":"no"})"));
  t.c.settle();
  CHECK(t.c.out() == texts{refused_with("no")[0], reply("null", "\"9\"", "error", R"({"reason":"unmatched topic"})")});
}

TEST_CASE("deferred join: messages that waited behind a stop are answered unmatched topic") {
  talk t;
  (void)t.join("room:a", "1", later);
  (void)t.tell("stop");
  (void)t.tell("echo");
  t.log.ids["room:a"].joined();
  t.c.settle();
  CHECK(t.c.out() ==
        texts{reply("\"1\"", "\"1\""), ended("\"1\""), reply("null", "\"9\"", "error", R"({"reason":"unmatched topic"})")});
}

TEST_CASE("deferred join: a stale message for a pending topic does not wait") {
  talk t;
  (void)t.join("room:a", "1", later);
  CHECK(t.say(R"(["0","2","room:a","echo",{}])").empty());
  t.log.ids["room:a"].joined();
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\"")});
}

TEST_CASE("deferred join: more than limits::held_pushes ends it, join crashed") {
  phx::mount m;
  m.bounds.held_pushes = 2;
  talk t("2.0.0", m);
  watcher& w = t.watch();
  (void)t.join("room:a", "1", later);
  CHECK(t.tell("echo").empty());
  CHECK(t.tell("echo").empty());
  CHECK(t.tell("echo") == refused_with("join crashed"));
  CHECK(w.count("held_too_much room:a") == 1);
  CHECK(t.topics().empty());
  CHECK(t.log.take() == texts{"room:a: killed", "room:a: gone"});
  t.log.ids["room:a"].joined();
  CHECK(t.after(10s).empty());
}

TEST_CASE("deferred join: more than limits::held_bytes ends it likewise") {
  phx::mount m;
  m.bounds.held_bytes = 200;
  talk t("2.0.0", m);
  (void)t.join("room:a", "1", later);
  CHECK(t.tell("echo", '"' + std::string(80, 'x') + '"').empty());
  CHECK(t.tell("echo", '"' + std::string(80, 'x') + '"') == refused_with("join crashed"));
}

TEST_CASE("deferred join: limits::held_bytes is for all pending joins together; only the one that exceeds it ends") {
  phx::mount m;
  m.bounds.held_bytes = 250;
  talk t("2.0.0", m);
  for (char const* const ref : {"1", "2", "3"}) (void)t.join("room:" + std::string(ref), ref, later);
  auto const echo = [&](std::string const& join, std::string const& ref) {
    return t.say("[\"" + join + "\",\"" + ref + "\",\"room:" + join + R"(","echo",{"x":")" + std::string(80, 'x') + "\"}]");
  };
  CHECK(echo("1", "7").empty());
  CHECK(echo("2", "8").empty());
  CHECK(echo("3", "9") == texts{reply("\"3\"", "\"3\"", "error", R"({"reason":"join crashed"})", "room:3")});
  CHECK(t.log.ids["room:1"].joined() == phx::send_status::ok);
  t.c.settle();
  CHECK(t.c.out().size() == 2);    // the replies to the join and the echo
  CHECK(echo("2", "10").empty());  // there is room again
}

TEST_CASE("deferred join: limits::held_bytes includes refs and names") {
  std::string const long_ref = '"' + std::string(150, 'x') + '"', long_event = std::string(90, 'x');
  for (std::string const& text :
       {"[\"1\"," + long_ref + R"(,"room:a","echo",{}])", R"(["1","9","room:a",")" + long_event + R"(",{}])"}) {
    phx::mount m;
    m.bounds.held_bytes = 250;
    talk t("2.0.0", m);
    (void)t.join("room:a", "1", later);
    CHECK(t.say(text).empty());
    CHECK(t.say(text) == refused_with("join crashed"));
  }
}

TEST_CASE("deferred join: a leave with null or the same join_ref cancels it and is answered ok; no close is sent") {
  for (char const* const join_ref : {"null", "\"1\""}) {
    talk t;
    (void)t.join("room:a", "1", later);
    (void)t.tell("echo");
    CHECK(t.say("[" + std::string(join_ref) + R"(,"2","room:a","phx_leave",{}])") == texts{reply(join_ref, "\"2\"")});
    CHECK(t.log.take() == texts{"room:a: left", "room:a: gone"});
    t.log.ids["room:a"].joined();
    CHECK(t.after(10s).empty());
    CHECK(t.topics().empty());
    CHECK(t.c.loop().topics() == 0);
  }
}

TEST_CASE("deferred join: a leave with another join_ref is ignored") {
  talk t;
  (void)t.join("room:a", "1", later);
  CHECK(t.say(R"(["0","2","room:a","phx_leave",{}])").empty());
  CHECK(t.topics() == texts{"room:a joining"});
}

TEST_CASE("deferred join: a second join replaces it, answered at once or later") {
  talk t;
  (void)t.join("room:a", "1", later);
  phx::channel_id const first = t.log.ids["room:a"];
  (void)t.tell("echo");
  CHECK(t.join("room:a", "2") == texts{reply("\"2\"", "\"2\"")});
  first.joined();
  t.c.settle();
  CHECK(t.c.out().empty());

  CHECK(t.join("room:a", "3", later) == texts{ended("\"2\"")});
  CHECK(t.join("room:a", "4", later).empty());
  t.log.ids["room:a"].joined();
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"4\"", "\"4\"")});
  CHECK(t.topics() == texts{"room:a"});
}

TEST_CASE("deferred join: the end of the connection cancels it") {
  talk t;
  (void)t.join("room:a", "1", later);
  (void)t.tell("echo");
  t.c.gone();
  CHECK(t.log.take() == texts{"room:a: closed", "room:a: gone"});
  t.log.ids["room:a"].joined();
  CHECK(t.after(10s).empty());
  CHECK(t.c.loop().topics() == 0);
}

TEST_CASE("deferred join: a pending one counts toward limits::channels") {
  phx::mount m;
  m.bounds.channels = 1;
  talk t("2.0.0", m);
  (void)t.join("room:a", "1", later);
  CHECK(t.join("room:b", "2") ==
        texts{reply("\"2\"", "\"2\"", "error", R"({"reason":"too many channels joined"})", "room:b")});
}

TEST_CASE("deferred join: it receives no broadcast before it is answered") {
  talk t;
  (void)t.join("room:a", "1", later);
  (void)t.c.endpoint().broadcast("room:a", "early", {});
  t.c.settle();
  CHECK(t.c.out().empty());
  t.log.ids["room:a"].joined();
  t.c.settle();
  (void)t.c.endpoint().broadcast("room:a", "after", {});
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\""), shouted("after", "{}")});
}

TEST_CASE(
    "deferred join: its own pushes and messages follow the join's reply; it gets broadcasts only from the verdict on") {
  talk t;
  (void)t.join("room:a", "1", later);
  phx::channel_id const id = t.log.ids["room:a"];
  id.push("first", {});
  id.send("second");
  CHECK(id.broadcast("early", {}) == phx::send_status::ok);
  CHECK(t.c.endpoint().broadcast("room:a", "early", {}) == phx::errc::none);
  t.c.settle();
  CHECK(t.c.out().empty());
  CHECK(id.broadcast("early", {}) == phx::send_status::ok);
  CHECK(t.c.endpoint().broadcast("room:a", "early", {}) == phx::errc::none);
  id.joined();
  CHECK(id.broadcast("third", {}) == phx::send_status::ok);
  CHECK(t.c.endpoint().broadcast("room:a", "other", {}) == phx::errc::none);
  id.push("fourth", {});
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\""), pushed("first", "{}"), pushed("second", "{}"), shouted("third", "{}"),
                           shouted("other", "{}"), pushed("fourth", "{}")});
}

TEST_CASE("deferred join: beyond limits::held_pushes messages of other threads to its channel are dropped and reported") {
  phx::mount m;
  m.bounds.held_pushes = 1;
  talk t("2.0.0", m);
  watcher& w = t.watch();
  (void)t.join("room:a", "1", later);
  t.log.ids["room:a"].push("first", {});
  t.log.ids["room:a"].push("second", {});
  t.c.settle();
  CHECK(w.seen.size() >= 1);
  t.log.ids["room:a"].joined();
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\""), pushed("first", "{}")});
}

TEST_CASE("deferred join: an exit instead of a verdict is a crashed join") {
  talk t;
  (void)t.join("room:a", "1", later);
  t.log.ids["room:a"].exit(phx::exit_reason::killed);
  t.c.settle();
  CHECK(t.c.out() == refused_with("join crashed"));
  CHECK(t.topics().empty());
}

TEST_CASE("deferred join: a verdict that cannot be encoded is a crashed join") {
  talk t;
  (void)t.join("room:a", "1", later);
  t.log.ids["room:a"].joined(phx::payload::json("{"));
  t.c.settle();
  CHECK(t.c.out() == refused_with("join crashed"));
  (void)t.join("room:a", "2", later);
  t.log.ids["room:a"].refused(phx::payload::json("{"));
  t.c.settle();
  CHECK(t.c.out() == refused_with("join crashed", "\"2\""));
}

TEST_CASE("deferred join: a client that joins and leaves for ever cannot exhaust limits::timers") {
  metered::reset();
  {
    phx::mount m;
    m.bounds.timers = 10;
    m.bounds.memory = metered::hook();
    talk t("2.0.0", m);
    (void)t.join("room:b", "2", later);
    for (int i = 0; i < 1000; ++i) {
      CHECK(t.join("room:a", "1", i % 2 == 0 ? later : R"({"timer":1})") ==
            (i % 2 == 0 ? texts{} : texts{reply("\"1\"", "\"1\"")}));
      (void)t.tell("phx_leave");
      CHECK(metered::bytes < 64 * 1024);
    }
    // a pending join still waits
    CHECK(t.after(5s) == texts{reply("\"2\"", "\"2\"", "error", R"({"reason":"timeout"})", "room:b")});
  }
  CHECK(metered::bytes == 0);
}

TEST_CASE("deferred join: a thousand decided in time leave no deadlines behind") {
  phx::mount m;
  m.bounds.timers = 10;
  talk t("2.0.0", m);
  for (int i = 0; i < 1000; ++i) {
    CHECK(t.join("room:a", "1", later).size() == (i == 0 ? 0u : 1u));  // the end of the previous one
    t.log.ids["room:a"].joined();
    t.c.settle();
    CHECK(t.c.out() == texts{reply("\"1\"", "\"1\"")});
  }
}

TEST_CASE("deferred join: waiting deadlines are limited by limits::timers, and the next join is refused as overloaded") {
  phx::mount m;
  m.bounds.timers = 10;
  talk t("2.0.0", m);
  for (int i = 0; i < 10; ++i) CHECK(t.join("room:" + std::to_string(i), "1", later).empty());
  CHECK(t.join("room:a", "1", later) == refused_with("overloaded"));
  (void)t.after(5s);
  CHECK(t.join("room:a", "1", later).empty());
}

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

#include <doctest/doctest.h>

#include <algorithm>

using namespace support;

// ---- section 5, row by row

TEST_CASE("socket: row 1: a heartbeat is answered whatever its join_ref and payload") {
  talk t;
  CHECK(t.say(R"(["4","5","phoenix","heartbeat",[1]])") == texts{reply("null", "\"5\"", "ok", "{}", "phoenix")});
  CHECK(t.say(R"([null,null,"phoenix","heartbeat",{}])") == texts{reply("null", "null", "ok", "{}", "phoenix")});
}

TEST_CASE("socket: row 2: the reply to a join that no pattern matches has no join_ref") {
  talk t;
  CHECK(t.join("hall") == texts{reply("null", "\"1\"", "error", R"({"reason":"unmatched topic"})", "hall")});
  CHECK(t.join("phoenix") == texts{reply("null", "\"1\"", "error", R"({"reason":"unmatched topic"})", "phoenix")});
  CHECK(t.say(R"(["1","2",{"a":1},"phx_join",{}])") ==
        texts{R"([null,"2",{"a":1},"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])"});
  CHECK(t.topics().empty());
}

TEST_CASE("socket: row 3: a topic beyond limits::channels is refused; an unmatched one does not count") {
  phx::mount m;
  m.bounds.channels = 2;
  talk t("2.0.0", m);
  (void)t.join("room:a");
  (void)t.join("room:b", "2");
  CHECK(t.join("room:c", "3") ==
        texts{reply("\"3\"", "\"3\"", "error", R"({"reason":"too many channels joined"})", "room:c")});
  CHECK(t.join("hall", "4") == texts{reply("null", "\"4\"", "error", R"({"reason":"unmatched topic"})", "hall")});
  // A second join of a topic frees the place of the first.
  CHECK(t.join("room:b", "5") == texts{reply("\"5\"", "\"5\"", "ok", "{}", "room:b"), ended("\"2\"", false, "room:b")});
  (void)t.say(R"(["1","6","room:a","phx_leave",{}])");
  CHECK(t.join("room:c", "7") == texts{reply("\"7\"", "\"7\"", "ok", "{}", "room:c")});
}

TEST_CASE("socket: row 4: an accepted join is answered with both refs as they were sent") {
  talk t;
  CHECK(t.join("room:a", "1", R"({"echo":[1,{"big":123456789012345678901234567890}]})") ==
        texts{reply("\"1\"", "\"1\"", "ok", R"({"echo":[1,{"big":123456789012345678901234567890}]})")});
  CHECK(t.topics() == texts{"room:a"});
}

TEST_CASE("socket: row 4: a join without a join_ref gets its ref instead, but only null equals its join_ref") {
  talk t;
  CHECK(t.say(R"([null,"10","room:a","phx_join",{}])") == texts{reply("null", "\"10\"")});
  CHECK(t.say(R"(["10","11","room:a","echo",{}])").empty());
  CHECK(t.say(R"([null,"12","room:a","echo",{}])") == texts{reply("\"10\"", "\"12\"")});
  CHECK(t.say(R"([null,"13","room:a","push",{}])") == texts{pushed("pushed", "{}", "\"10\"")});
  CHECK(t.say(R"([null,"14","room:a","stop",{}])") == texts{R"([null,null,"room:a","phx_close",{}])"});
}

TEST_CASE("socket: row 5: a second join replaces the first: its reply, then the close of the old one") {
  talk t;
  (void)t.join();
  CHECK(t.join("room:a", "2") == texts{reply("\"2\"", "\"2\""), ended("\"1\"")});
  CHECK(t.topics() == texts{"room:a"});
  CHECK(t.say(R"(["1","3","room:a","echo",{}])").empty());
  CHECK(t.say(R"(["2","4","room:a","echo",{}])") == texts{reply("\"2\"", "\"4\"")});
  // Phoenix kills the old channel: its terminate does not run (6.6).
  CHECK(t.log.take() == texts{"room:a: gone"});
}

TEST_CASE("socket: row 5: with equal refs, with null refs and after a refusal the old channel is replaced as well") {
  talk t;
  (void)t.join();
  CHECK(t.join() == texts{reply("\"1\"", "\"1\""), ended("\"1\"")});
  CHECK(t.join("room:a", "2", R"({"deny":1})") ==
        texts{reply("\"2\"", "\"2\"", "error", R"({"reason":"no"})"), ended("\"1\"")});
  CHECK(t.topics().empty());
  (void)t.say(R"([null,"3","room:a","phx_join",{}])");
  CHECK(t.say(R"([null,"4","room:a","phx_join",{}])") == texts{reply("null", "\"4\""), ended("null")});
}

TEST_CASE("socket: row 5: messages that the new channel sends itself come after the close of the old one") {
  talk t;
  (void)t.join();
  CHECK(t.join("room:a", "2", R"({"self":1})") ==
        texts{reply("\"2\"", "\"2\""), ended("\"1\""), pushed("hello", R"({"from":"join"})", "\"2\"")});
}

TEST_CASE("socket: row 6: a leave is answered, then closed; user code is only called in terminate") {
  talk t;
  (void)t.join();
  CHECK(t.tell("phx_leave") == texts{reply("\"1\"", "\"9\""), ended("\"1\"")});
  CHECK(t.log.take() == texts{"room:a: left", "room:a: gone"});
  (void)t.join("room:a", "2");
  CHECK(t.say(R"([null,"3","room:a","phx_leave",{}])") == texts{reply("\"2\"", "\"3\""), ended("\"2\"")});
}

TEST_CASE("socket: rows 7 and 9: a message for an earlier join is ignored, without a reply to the client") {
  talk t;
  watcher& w = t.watch();
  (void)t.join();
  w.take();
  CHECK(t.say(R"(["0","2","room:a","phx_leave",{}])").empty());
  CHECK(t.say(R"(["0","3","room:a","echo",{}])").empty());
  CHECK(w.take() == texts{"stale_message room:a phx_leave", "stale_message room:a echo"});
  CHECK(t.topics() == texts{"room:a"});
}

TEST_CASE("socket: rows 7 and 9: join_refs are compared as decoded JSON: escapes are ignored, types are not") {
  talk t;
  (void)t.say(R"(["1","1","room:a","phx_join",{}])");
  CHECK(t.say(R"(["\u0031","2","room:a","echo",{}])") == texts{reply("\"1\"", "\"2\"")});
  for (char const* const other : {"1", "1.0", R"("")", R"("1 ")", "[\"1\"]", "true", "{}"})
    CHECK(t.say("[" + std::string(other) + R"(,"3","room:a","echo",{}])").empty());
  CHECK(t.say(R"([null,"4","room:a","echo",{}])") == texts{reply("\"1\"", "\"4\"")});
}

TEST_CASE("socket: row 8: any event is forwarded, including reserved ones") {
  talk t;
  (void)t.join();
  CHECK(t.tell("echo", R"({"a":1})") == texts{reply("\"1\"", "\"9\"", "ok", R"({"a":1})")});
  for (char const* const event : {"phx_reply", "phx_close", "phx_error", "presence_diff", "phx_drain", "heartbeat"})
    CHECK(t.tell(event).empty());
  CHECK(t.topics() == texts{"room:a"});
  CHECK(t.tell("echo") == texts{reply("\"1\"", "\"9\"")});
}

TEST_CASE("socket: row 8: an event that is not a string reaches the handler without text") {
  talk t;
  t.log.with = &t.log;
  (void)t.join();
  CHECK(t.say(R"(["1","2","room:a",7,{}])").empty());
  CHECK(t.topics() == texts{"room:a"});
}

TEST_CASE("socket: row 10: leaving a topic that was never joined is answered ok, with the join_ref") {
  talk t;
  CHECK(t.tell("phx_leave") == texts{reply("\"1\"", "\"9\"")});
  CHECK(t.say(R"([null,"2","hall","phx_leave",{}])") == texts{reply("null", "\"2\"", "ok", "{}", "hall")});
}

TEST_CASE("socket: row 11: a topic that is not a string does not equal the empty one") {
  talk t;
  t.dispatcher.channel<room>("*");
  CHECK(t.join("") == texts{reply("\"1\"", "\"1\"", "ok", "{}", "")});
  CHECK(t.say(R"(["1","2",7,"echo",{}])") ==
        texts{R"([null,"2",7,"phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])"});
  CHECK(t.say(R"(["1","3","","echo",{}])") == texts{reply("\"1\"", "\"3\"", "ok", "{}", "")});
}

TEST_CASE("socket: row 11: an event on a topic that is not joined is answered without its join_ref") {
  talk t;
  CHECK(t.tell("echo") == texts{reply("null", "\"9\"", "error", R"({"reason":"unmatched topic"})")});
  (void)t.join();
  (void)t.tell("phx_leave");
  CHECK(t.tell("echo") == texts{reply("null", "\"9\"", "error", R"({"reason":"unmatched topic"})")});
}

TEST_CASE("socket: topics are compared by their text, and written without needless escapes") {
  talk t;
  CHECK(t.say(R"(["1","1","r\u006fom:\u00e9\/","phx_join",{}])") == texts{reply("\"1\"", "\"1\"", "ok", "{}", "room:é/")});
  CHECK(t.say(R"(["1","2","room:\u00e9/","echo",{}])") == texts{reply("\"1\"", "\"2\"", "ok", "{}", "room:é/")});
  CHECK(t.say(R"(["1","3","ro\u006fm:x","echo",{}])") ==
        texts{reply("null", "\"3\"", "error", R"({"reason":"unmatched topic"})", "room:x")});
  CHECK(t.topics() == texts{"room:é/"});
}

TEST_CASE("socket: with a hundred topics on one connection each message finds its channel") {
  talk t;
  for (int i = 0; i < 100; ++i) {
    std::string const topic = "room:" + std::to_string(i);
    CHECK(t.join(topic, std::to_string(i)) ==
          texts{reply('"' + std::to_string(i) + '"', '"' + std::to_string(i) + '"', "ok", "{}", topic)});
  }
  CHECK(t.join("room:100", "100").front().find("too many channels joined") != std::string::npos);
  for (int i = 99; i >= 0; i -= 7) {
    std::string const n = std::to_string(i);
    CHECK(t.say("[null,\"x\",\"room:" + n + "\",\"echo\"," + n + "]") ==
          texts{reply('"' + n + '"', "\"x\"", "ok", n, "room:" + n)});
  }
}

// ---- section 6.1: joins

TEST_CASE("socket: terminate of a refused join gets shutdown, and nothing is left behind") {
  talk t;
  CHECK(t.join("room:a", "1", R"({"deny":1})") == texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"no"})")});
  CHECK(t.log.take() == texts{"room:a: shutdown", "room:a: gone"});
  CHECK(t.topics().empty());
  CHECK(t.c.loop().topics() == 0);
}

TEST_CASE("socket: a join whose reply is invalid JSON is reported to its client as crashed") {
  talk t;
  watcher& w = t.watch();
  CHECK(t.join("room:a", "1", R"({"nonsense":1})") ==
        texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"join crashed"})")});
  CHECK(t.topics().empty());
  CHECK(w.count("not_encoded") == 1);
  CHECK(t.log.take() == texts{"room:a: error", "room:a: gone"});
}

TEST_CASE("socket: a refusal that the serializer cannot encode counts as a crashed join") {
  struct bytes {
    phx::join_result join(phx::joining&, phx::message const&) { return phx::join_result::error(phx::payload::binary("no")); }
  };
  phx::router<> app;
  app.channel<bytes>("room:*");
  phx::testing::conversation<phx::router<>> old(app, "1.0.0"), young(app, "2.0.0");
  old.in(R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"1"})");
  CHECK(
      old.out() ==
      texts{
          R"({"topic":"room:a","event":"phx_reply","ref":"1","payload":{"status":"error","response":{"reason":"join crashed"}}})"});
  young.in(R"(["1","1","room:a","phx_join",{}])");
  CHECK(young.out() == texts{std::string("\x01\x01\x01\x06\x05"
                                         "11room:aerrorno",
                                         20)});
}

TEST_CASE("socket: messages that join sends itself arrive after the join's reply") {
  talk t;
  CHECK(t.join("room:a", "1", R"({"self":1})") == texts{reply("\"1\"", "\"1\""), pushed("hello", R"({"from":"join"})")});
  CHECK(t.join("room:b", "2", R"({"timer":1})") == texts{reply("\"2\"", "\"2\"", "ok", "{}", "room:b")});
  CHECK(t.after(3s) == texts{pushed("tick", "{}", "\"2\"", "room:b")});
}

TEST_CASE("socket: a join's payload may be anything, and is echoed unchanged") {
  talk t;
  for (char const* const any : {"null", "7", "\"echo\"", "[1]", "{\"echo\":1}"})
    CHECK(t.join("room:a", "1", any).front().find(R"("status":"ok")") != std::string::npos);
  // A binary join, answered with bytes (3.4, 6.1).
  std::string const bytes("\x00\xff", 2);
  t.c.in_binary(std::string("\x00\x01\x01\x06\x08", 5) + "77room:bphx_join" + bytes);
  CHECK(t.c.out() == texts{std::string("\x01\x01\x01\x06\x02", 5) + "77room:bok" + bytes});
}

#ifdef __cpp_exceptions
TEST_CASE("socket: a join that throws is answered join crashed; terminate does not run, the connection continues") {
  talk t;
  watcher& w = t.watch();
  CHECK(t.join("room:a", "1", R"({"crash":1})") == texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"join crashed"})")});
  CHECK(t.log.take() == texts{"room:a: gone"});
  CHECK(w.take() == texts{"join_crashed room:a 'join exploded'"});
  CHECK(t.join() == texts{reply("\"1\"", "\"1\"")});
}

TEST_CASE("socket: a handler that throws ends its channel with phx_error; the connection and its other channels continue") {
  for (char const* const event : {"throw", "throw_int"}) {
    talk t;
    (void)t.join();
    (void)t.join("room:b", "2");
    watcher& w = t.watch();
    CHECK(t.tell(event) == texts{ended("\"1\"", true)});
    CHECK(t.log.take() == texts{"room:a: error", "room:a: gone"});
    CHECK(w.count("handler_crashed room:a throw") == 1);
    CHECK(w.count("handled_in") == 0);
    CHECK(t.topics() == texts{"room:b"});
    CHECK(t.join("room:a", "3") == texts{reply("\"3\"", "\"3\"")});
    CHECK_FALSE(t.c.closed());
  }
}

TEST_CASE("socket: pushes of a handler before its exception are sent") {
  talk t;
  (void)t.join();
  CHECK(t.tell("push_throw", R"({"n":1})") == texts{pushed("pushed", R"({"n":1})"), ended("\"1\"", true)});
}

TEST_CASE("socket: an exception in handle_out or handle_info ends its channel") {
  talk t;
  (void)t.join();
  CHECK(t.tell("muted", R"({"throw":1})") == texts{reply("\"1\"", "\"9\""), ended("\"1\"", true)});
  (void)t.join("room:a", "2");
  CHECK(t.log.ids["room:a"].send("throw") == phx::send_status::ok);
  t.c.settle();
  CHECK(t.c.out() == texts{ended("\"2\"", true)});
}
#endif

// ---- section 6.2: replies of handlers

TEST_CASE("socket: replies: ok, error, any other status, and to a null ref as well") {
  talk t;
  (void)t.join();
  CHECK(t.tell("echo", "[1]") == texts{reply("\"1\"", "\"9\"", "ok", "[1]")});
  CHECK(t.tell("echo_error", "7") == texts{reply("\"1\"", "\"9\"", "error", "7")});
  CHECK(t.tell("busy") == texts{reply("\"1\"", "\"9\"", "busy")});
  CHECK(t.tell("echo", "{}", "null") == texts{reply("\"1\"", "null")});
  CHECK(t.tell("none").empty());
}

TEST_CASE("socket: stop with a reply: the reply first, then close or error; terminate gets the reason") {
  talk t;
  (void)t.join();
  CHECK(t.tell("stop_reply", R"({"a":1})") == texts{reply("\"1\"", "\"9\"", "ok", R"({"a":1})"), ended("\"1\"")});
  CHECK(t.log.take() == texts{"room:a: normal", "room:a: gone"});
  (void)t.join();
  CHECK(t.tell("boom_reply", "[2]") == texts{reply("\"1\"", "\"9\"", "error", "[2]"), ended("\"1\"", true)});
  CHECK(t.log.take() == texts{"room:a: error", "room:a: gone"});
  (void)t.join();
  CHECK(t.tell("stop_shutdown") == texts{ended("\"1\"")});
  CHECK(t.log.take() == texts{"room:a: shutdown", "room:a: gone"});
  (void)t.join();
  CHECK(t.tell("boom") == texts{ended("\"1\"", true)});
}

TEST_CASE("socket: handle_out and handle_info may stop their channel") {
  talk t;
  (void)t.join();
  CHECK(t.tell("masked", R"({"stop":1})") ==
        texts{reply("\"1\"", "\"9\""), pushed("masked", R"({"seen_by":"ann"})"), ended("\"1\"")});
  (void)t.join();
  t.log.ids["room:a"].send("stop");
  t.c.settle();
  CHECK(t.c.out() == texts{ended("\"1\"")});
}

// ---- section 6.3: late replies

namespace {

/// Replies where no reply is possible.
struct always_replying {
  static constexpr std::array<std::string_view, 1> intercepts{"masked"};
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "masked")
      ctx.broadcast(in.event, in.payload);
    else
      ctx.send(in.event, in.payload);
    return phx::outcome::noreply();
  }
  phx::outcome handle_out(phx::context&, phx::broadcast const&) { return phx::outcome::reply(); }
  phx::outcome handle_info(phx::context&, phx::message const& in) {
    if (in.event == "stop") return phx::outcome::stop(phx::exit_reason::normal, phx::status::ok);
    return phx::outcome::reply(in.payload);
  }
};

}  // namespace

TEST_CASE("socket: handle_info and handle_out cannot reply: a reply ends their channel, as in Phoenix") {
  phx::router<user> app;
  app.channel<always_replying>("room:*");
  watcher seen;  // outlives the loop
  phx::testing::conversation<phx::router<user>> c(app, "2.0.0");
  c.loop().observe(seen);
  for (char const* const event : {"masked", "ask", "stop"}) {
    c.in(R"(["1","1","room:a","phx_join",{}])");
    (void)c.out();
    c.in(R"(["1","2","room:a",")" + std::string(event) + R"(",{}])");
    CHECK(c.out() == texts{ended("\"1\"", true)});
    CHECK(seen.count("handler_crashed room:a " + std::string(event)) == 1);
  }
}

TEST_CASE("socket: a reply may be sent later, any number of times, with the join_ref of its own join") {
  talk t;
  (void)t.join();
  (void)t.tell("async", "{}", "\"21\"");
  REQUIRE(t.log.replies.size() == 1);
  phx::reply_to const later = t.log.replies[0];
  CHECK(later.has_ref());
  CHECK(later(phx::payload::json("[1]")) == phx::send_status::ok);
  CHECK(later(phx::status::error) == phx::send_status::ok);
  CHECK(t.c.out().empty());
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"21\"", "ok", "[1]"), reply("\"1\"", "\"21\"", "error")});
}

TEST_CASE("socket: a reply is sent after a leave, a crash and a rejoin") {
  talk t;
  for (char const* const end : {"phx_leave", "boom"}) {
    (void)t.join();
    (void)t.tell("async", "{}", "\"21\"");
    (void)t.tell(end);
    t.log.replies.back()(phx::payload::json("{\"late\":1}"));
    t.c.settle();
    CHECK(t.c.out() == texts{reply("\"1\"", "\"21\"", "ok", "{\"late\":1}")});
    (void)t.join("room:a", "2");
    t.log.replies.back()();
    t.c.settle();
    CHECK(t.c.out() == texts{reply("\"1\"", "\"21\"")});
    (void)t.say(R"([null,"3","room:a","phx_leave",{}])");
  }
}

TEST_CASE("socket: a reply to a null ref is sent with it, and an empty reply_to returns closed") {
  talk t;
  (void)t.join();
  (void)t.tell("async", "{}", "null");
  REQUIRE(t.log.replies.size() == 1);
  CHECK_FALSE(t.log.replies[0].has_ref());
  CHECK(phx::reply_to{}() == phx::send_status::closed);
  CHECK_FALSE(phx::reply_to{}.has_ref());
}

TEST_CASE("socket: a late reply is dropped only when the connection has ended; after its loop has ended it returns closed") {
  phx::reply_to later;
  {
    talk t;
    (void)t.join();
    (void)t.tell("async");
    later = t.log.replies.at(0);
    t.c.gone();
    CHECK(later() == phx::send_status::ok);
    t.c.settle();
    CHECK(t.c.out().empty());
  }
  CHECK(later() == phx::send_status::closed);
}

// ---- section 6.4: push, broadcast, intercept

TEST_CASE("socket: an intercepted broadcast comes after the reply, another one before it") {
  talk t;
  (void)t.join();
  CHECK(t.tell("shout_then_reply", "{\"n\":1}") == texts{shouted("shout", "{\"n\":1}"), reply("\"1\"", "\"9\"")});
  CHECK(t.tell("masked", "{\"n\":1}") == texts{reply("\"1\"", "\"9\""), pushed("masked", R"({"seen_by":"ann"})")});
  CHECK(t.tell("muted", "{\"n\":1}") == texts{reply("\"1\"", "\"9\"")});
}

TEST_CASE("socket: a push precedes the reply that follows it in the handler") {
  talk t;
  (void)t.join();
  CHECK(t.tell("push_then_reply", "{\"n\":1}") == texts{pushed("pushed", "{\"n\":1}"), reply("\"1\"", "\"9\"")});
}

TEST_CASE("socket: a message to itself follows the callback that sent it; a timer comes at its time") {
  talk t;
  (void)t.join();
  CHECK(t.tell("self", "[1]") == texts{ended("\"1\"", true)});  // an array cannot be pushed
  (void)t.join();
  CHECK(t.tell("self", "{\"a\":1}") == texts{pushed("hello", "{\"a\":1}")});
  CHECK(t.tell("timer", "{\"b\":2}").empty());
  CHECK(t.after(2999ms).empty());
  CHECK(t.after(1ms) == texts{pushed("tick", "{\"b\":2}")});
}

TEST_CASE("socket: timers fire in the order of their times, equal ones in the order in which they were set") {
  talk t;
  (void)t.join();
  struct set {
    static void timers(void*, phx::context& ctx, phx::message const&) {
      for (int const n : {5, 1, 4, 1, 3}) (void)ctx.send_after(std::chrono::seconds(n), "t" + std::to_string(n), {});
      (void)ctx.send_after(1s, "last of 1");
    }
  };
  t.log.on_event = &set::timers;
  (void)t.tell("call");
  CHECK(t.after(10s) == texts{pushed("t1", "{}"), pushed("t1", "{}"), pushed("last of 1", "{}"), pushed("t3", "{}"),
                              pushed("t4", "{}"), pushed("t5", "{}")});
}

TEST_CASE("socket: pushes and timers of an ended channel are dropped, also after a rejoin; its broadcasts are not") {
  talk t;
  (void)t.join();
  (void)t.tell("timer");
  phx::channel_id const dead = t.log.ids["room:a"];
  (void)t.tell("phx_leave");
  (void)t.join("room:a", "2");
  CHECK_FALSE(dead == t.log.ids["room:a"]);
  dead.push("late", {});
  dead.send("late");
  dead.broadcast("late", {});
  dead.exit(phx::exit_reason::killed);
  CHECK(t.after(4s) == texts{shouted("late", "{}")});
  CHECK(t.topics() == texts{"room:a"});
}

// ---- section 6.6: ends

TEST_CASE("socket: an exit from outside: graceful reasons close, others are errors") {
  talk t;
  (void)t.join();
  t.log.ids["room:a"].exit(phx::exit_reason(phx::exit_reason::shutdown, "maintenance"));
  t.c.settle();
  CHECK(t.c.out() == texts{ended("\"1\"")});
  CHECK(t.log.take() == texts{"room:a: shutdown", "room:a: gone"});
  (void)t.join();
  t.log.ids["room:a"].exit(phx::exit_reason::killed);
  t.c.settle();
  CHECK(t.c.out() == texts{ended("\"1\"", true)});
  CHECK(t.log.take() == texts{"room:a: killed", "room:a: gone"});
}

TEST_CASE("socket: when the connection ends, terminate gets closed, and nothing is sent") {
  talk t;
  (void)t.join();
  (void)t.join("room:b", "2");
  t.c.gone(phx::lost::normal);
  auto log = t.log.take();
  std::sort(log.begin(), log.end());
  CHECK(log == texts{"room:a: closed", "room:a: gone", "room:b: closed", "room:b: gone"});
  CHECK(t.c.out().empty());
  CHECK(t.c.recorder().closes == 0);
  CHECK(t.c.loop().topics() == 0);
  CHECK(t.c.loop().sockets() == 0);
}

TEST_CASE("socket: lost::error is in the reason's detail") {
  talk t;
  (void)t.join();
  std::string detail = "?";
  t.log.with = &detail;
  t.log.on_end = [](void* with, phx::context&, phx::exit_reason reason) noexcept {
    *static_cast<std::string*>(with) = reason.detail();
  };
  t.c.gone(phx::lost::error);
  CHECK(detail == "lost");
  talk u;
  (void)u.join();
  u.log.with = &detail;
  u.log.on_end = t.log.on_end;
  u.c.gone(phx::lost::normal);
  CHECK(detail.empty());
}

TEST_CASE("socket: a graceful end is sent before terminate runs, any other end after it (protocol 6.6)") {
  talk t;
  t.log.on_end = [](void*, phx::context& ctx, phx::exit_reason) noexcept {
    ctx.push("bye", {});
    ctx.broadcast("bye", {});
    ctx.broadcast_from("not to itself", {});
    ctx.broadcast("masked", {});  // intercepted: no channel is left to push it
    ctx.publish("other:b", "bye", {});
  };
  struct listener {
    phx::join_result join(phx::joining&, phx::message const&) { return phx::join_result::ok(); }
  };
  t.dispatcher.channel<listener>("other:*");
  (void)t.say(R"(["7","7","other:b","phx_join",{}])");
  std::string const push = pushed("bye", "{}"), own = shouted("bye", "{}"), other = shouted("bye", "{}", "other:b");
  auto const again = [&] { CHECK(t.join() == texts{reply("\"1\"", "\"1\"")}); };
  again();
  CHECK(t.tell("stop") == texts{ended("\"1\""), push, own, other});
  again();
  CHECK(t.tell("stop_shutdown") == texts{ended("\"1\""), push, own, other});
  again();
  CHECK(t.tell("stop_reply") == texts{reply("\"1\"", "\"9\""), ended("\"1\""), push, own, other});
  again();
  CHECK(t.tell("phx_leave") == texts{reply("\"1\"", "\"9\""), ended("\"1\""), push, own, other});
  again();
  t.log.ids["room:a"].exit(phx::exit_reason::shutdown);
  t.c.settle();
  CHECK(t.c.out() == texts{ended("\"1\""), push, own, other});
  again();
  CHECK(t.tell("boom") == texts{push, own, other, ended("\"1\"", true)});
  again();
  CHECK(t.tell("boom_reply") == texts{reply("\"1\"", "\"9\"", "error"), push, own, other, ended("\"1\"", true)});
  again();
  CHECK(t.tell("bad_json") == texts{push, own, other, ended("\"1\"", true)});
  again();
  t.log.ids["room:a"].exit(phx::exit_reason::killed);
  t.c.settle();
  CHECK(t.c.out() == texts{push, own, other, ended("\"1\"", true)});
#ifdef __cpp_exceptions
  again();
  CHECK(t.tell("throw") == texts{push, own, other, ended("\"1\"", true)});
#endif
  CHECK(t.c.loop().topics() == 1);

  // A join that was not answered ok has no client to push to.
  CHECK(t.join("room:a", "1", R"({"deny":1})") == texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"no"})"), other});
  CHECK(t.join("room:a", "1", R"({"nonsense":1})") ==
        texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"join crashed"})"), other});
  (void)t.join("room:a", "1", R"({"later":1})");
  t.log.ids["room:a"].refused();
  t.c.settle();
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\"", "error"), other});
  (void)t.join("room:a", "1", R"({"later":1})");
  CHECK(t.tell("phx_leave") == texts{reply("\"1\"", "\"9\""), other});
  CHECK(t.c.loop().topics() == 1);

  // A connection that has ended sends nothing more.
  again();
  t.c.gone();
  CHECK(t.c.out().empty());
}

TEST_CASE("socket: refs that are not strings are written in binary frames as by Elixir's to_string") {
  using namespace std::literals;
  talk t;
  CHECK(t.say(R"([5,5,"room:a","phx_join",{}])") == texts{reply("5", "5")});
  t.log.on_event = [](void* with, phx::context& ctx, phx::message const&) {
    ctx.push("data", phx::payload::binary("x"));
    static_cast<journal*>(with)->replies.push_back(ctx.reply());
  };
  t.log.with = &t.log;
  CHECK(t.say(R"([5,6,"room:a","call",{}])") == texts{"\x00\x01\x06\x04"
                                                      "5room:adatax"s});
  t.log.replies.at(0)(phx::payload::binary("\0\1\2"sv));
  t.c.settle();
  CHECK(t.c.out() == texts{"\x01\x01\x01\x06\x02"
                           "56room:aok\0\1\2"s});
  CHECK(t.topics() == texts{"room:a"});
  CHECK(t.say(R"([5,"7","room:a","call",{}])").size() == 1);
  t.log.replies.at(1)(phx::payload::binary("y"));
  t.c.settle();
  CHECK(t.c.out() == texts{"\x01\x01\x01\x06\x02"
                           "57room:aoky"s});
  // An array or an object has no text for a binary frame: the channel ends, as in Phoenix.
  CHECK(t.say(R"([{},8,"room:c","phx_join",{}])") == texts{reply("{}", "8", "ok", "{}", "room:c")});
  CHECK(t.say(R"([{},9,"room:c","call",{}])") == texts{ended("{}", true, "room:c")});
}

TEST_CASE("socket: V1: close and error have the join's join_ref if one was sent, else null") {
  talk t("1.0.0");
  CHECK(t.say(R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"1"})") ==
        texts{R"({"topic":"room:a","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}})"});
  CHECK(t.say(R"({"topic":"room:a","event":"stop","payload":{},"ref":"2"})") ==
        texts{R"({"topic":"room:a","event":"phx_close","ref":null,"payload":{}})"});
  (void)t.say(R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"3","join_ref":"3"})");
  CHECK(t.say(R"({"topic":"room:a","event":"boom","payload":{},"ref":"4"})") ==
        texts{R"({"topic":"room:a","event":"phx_error","ref":"3","payload":{"reason":"channel_crash"}})"});
}

// ---- what cannot be encoded (3.5)

TEST_CASE("socket: a push that its serializer cannot encode crashes the channel, unless its result is tested") {
  talk t;
  (void)t.join();
  watcher& w = t.watch();
  CHECK(t.tell("push", "[1]") == texts{ended("\"1\"", true)});
  CHECK(w.count("not_encoded room:a push") == 1);
  CHECK(w.count("handler_crashed room:a push") == 1);
  (void)t.join();
  CHECK(t.tell("try", "[1]") == texts{reply("\"1\"", "\"9\"", "error")});
  CHECK(t.tell("try", "{}") == texts{pushed("pushed", "{}"), reply("\"1\"", "\"9\"")});
  CHECK(t.tell("bad_json") == texts{ended("\"1\"", true)});
  (void)t.join();
  CHECK(t.tell("bad_reply") == texts{ended("\"1\"", true)});
}

TEST_CASE("socket: a broadcast that one serializer on the topic cannot encode reaches nobody") {
  talk t;
  (void)t.join();
  CHECK(t.tell("try_shout", "[1]") ==
        texts{reply("\"1\"", "\"9\"", "error", R"("the payload of a push or broadcast must be a JSON object or bytes")")});
  CHECK(t.tell("shout", "[1]") == texts{ended("\"1\"", true)});
}

TEST_CASE("socket: a push or late reply that cannot be encoded crashes the channel; for an ended channel it is reported") {
  talk t;
  watcher& w = t.watch();
  (void)t.join();
  (void)t.tell("async");
  t.log.ids["room:a"].push("x", phx::payload::json("[1]"));
  t.c.settle();
  CHECK(t.c.out() == texts{ended("\"1\"", true)});
  t.log.replies.at(0)(phx::payload::json("{"));
  t.c.settle();
  CHECK(t.c.out().empty());
  CHECK(w.count("not_encoded") == 2);
  CHECK(w.count("handler_crashed") == 1);
  (void)t.join("room:b", "2");
  (void)t.join();
  (void)t.tell("async");
  t.log.replies.at(1)(phx::payload::json("{"));
  t.c.settle();
  CHECK(t.c.out() == texts{ended("\"1\"", true)});
  CHECK(t.topics() == texts{"room:b"});
}

TEST_CASE("socket: bytes are sent as bytes at 2.0.0, and refused at 1.0.0") {
  talk t;
  (void)t.join();
  std::string const bytes("\x00\xff\x01", 3);
  t.c.in_binary(std::string("\x00\x01\x01\x06\x04", 5) + "12room:aecho" + bytes);
  CHECK(t.c.out() == texts{std::string("\x01\x01\x01\x06\x02", 5) + "12room:aok" + bytes});
  t.c.in_binary(std::string("\x00\x01\x01\x06\x04", 5) + "13room:apush" + bytes);
  CHECK(t.c.out() == texts{std::string("\x00\x01\x06\x06", 4) + "1room:apushed" + bytes});
  t.c.in_binary(std::string("\x00\x01\x01\x06\x05", 5) + "14room:ashout" + bytes);
  CHECK(t.c.out() == texts{std::string("\x02\x06\x05", 3) + "room:ashout" + bytes});
  // An empty join_ref is the empty string, not null: stale on a joined topic (3.4).
  t.c.in_binary(std::string("\x00\x00\x01\x06\x04", 5) + "5room:aecho" + bytes);
  CHECK(t.c.out().empty());

  talk old("1.0.0");
  (void)old.say(R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"1"})");
  old.log.ids["room:a"].push("bytes", phx::payload::binary(bytes));
  old.c.settle();
  CHECK(old.c.out() == texts{R"({"topic":"room:a","event":"phx_error","ref":null,"payload":{"reason":"channel_crash"}})"});
}

// ---- bad input (3.6)

TEST_CASE("socket: a malformed message closes with 1011, its channels end with an error, and nothing else is sent") {
  struct input {
    phx::opcode op;
    std::string bytes;
  };
  using enum phx::opcode;
  for (input const& in :
       {input{text, "{"}, input{text, ""}, input{text, "[1,2,3,4]"}, input{text, "{}"}, input{text, "7"},
        input{text, R"([null,"1","a","b",{},])"}, input{binary, ""}, input{binary, "\x01"},
        input{binary, std::string("\x00\x01\x01", 3)}, input{binary, std::string("\x00\x09\x01\x01\x01x", 6)},
        input{binary, std::string("\x02\x01\x01xy", 5)}}) {
    CAPTURE(in.bytes);
    talk t;
    (void)t.join();
    watcher& w = t.watch();
    t.c.in(in.op, in.bytes, true);
    CHECK(t.c.close_code() == 1011);
    CHECK(t.c.out().empty());
    CHECK(t.log.take() == texts{"room:a: connection_error", "room:a: gone"});
    CHECK(w.count("malformed") == 1);
    CHECK(t.c.recorder().closes == 1);
    CHECK(t.c.recorder().after_close == 0);
    CHECK(t.c.loop().sockets() == 0);
  }
}

TEST_CASE("socket: at 1.0.0 a missing key and an array are malformed") {
  for (char const* const in : {R"({"topic":"room:a","event":"echo","payload":{}})", R"([null,"1","room:a","echo",{}])",
                               R"({"event":"echo","payload":{},"ref":null})", "null"}) {
    talk t("1.0.0");
    t.c.in(in);
    CHECK(t.c.close_code() == 1011);
  }
}

TEST_CASE("socket: text that is not UTF-8 closes with 1007") {
  talk t;
  (void)t.join();
  t.c.in("[\"1\",\"2\",\"room:a\",\"echo\",{\"a\":\"\xff\"}]");
  CHECK(t.c.close_code() == 1007);
  CHECK(t.log.take() == texts{"room:a: connection_error", "room:a: gone"});
}

TEST_CASE("socket: a binary frame with invalid UTF-8 is malformed, 1011, at either version") {
  for (std::string_view const vsn : {"1.0.0", "2.0.0"}) {
    talk t(vsn);
    if (vsn == "1.0.0")
      t.c.in_binary("{\"topic\":\"room:a\",\"event\":\"e\",\"payload\":\"\xff\",\"ref\":null}");
    else
      t.c.in_binary(
          std::string("\x00\x00\x00\x01\x01\xff"
                      "e",
                      7));
    CHECK(t.c.close_code() == 1011);
  }
}

TEST_CASE("socket: a message in parts is one message; a ping between them is none") {
  talk t;
  t.c.in(phx::opcode::text, R"(["1","1","room:a",)", false);
  CHECK(t.c.out().empty());
  t.c.in(phx::opcode::ping, "x", true);
  t.c.in(phx::opcode::text, "", false);
  t.c.in(phx::opcode::text, R"("phx_join",{}])", true);
  CHECK(t.c.out() == texts{reply("\"1\"", "\"1\"")});
}

TEST_CASE("socket: the frames of several messages in one turn are flushed once") {
  talk t;
  (void)t.join();
  std::size_t const before = t.c.recorder().flushes;
  {
    auto turn = t.c.loop().turn();
    for (int i = 0; i < 10; ++i) (void)t.tell("echo");
    CHECK(t.c.recorder().flushes == before);
  }
  CHECK(t.c.recorder().flushes == before + 1);
  (void)t.tell("push_then_reply");
  CHECK(t.c.recorder().flushes == before + 2);
}

// ---- section 11: idle timeout

TEST_CASE("socket: a minute without received bytes closes with 1001; any bytes count, sends do not") {
  talk t;
  (void)t.join();
  t.c.advance(59s);
  t.c.in(phx::opcode::ping, "", true);
  t.c.advance(59s);
  t.c.in(phx::opcode::text, "[", false);
  t.c.advance(59s);
  CHECK_FALSE(t.c.closed());
  t.log.ids["room:a"].push("hello", {});
  t.c.settle();
  t.c.advance(999ms);
  CHECK_FALSE(t.c.closed());
  t.c.advance(1ms);
  CHECK(t.c.close_code() == 1001);
  CHECK(t.log.take() == texts{"room:a: closed", "room:a: gone"});
}

TEST_CASE("socket: limits::idle is the mount's, and zero means never") {
  phx::mount m;
  m.bounds.idle = 1500ms;
  talk t("2.0.0", m);
  t.c.advance(1500ms);
  CHECK(t.c.close_code() == 1001);
  m.bounds.idle = phx::duration::zero();
  talk u("2.0.0", m);
  u.c.advance(24h);
  CHECK_FALSE(u.c.closed());
}

// ---- disconnect (8.1)

TEST_CASE("socket: a disconnect on its id closes with 1001; other events and other ids do nothing") {
  talk t("2.0.0", {}, "user:ann");
  (void)t.join();
  (void)t.c.endpoint().broadcast("user:ann", "hello", {});
  (void)t.c.endpoint().disconnect("user:bob");
  t.c.settle();
  CHECK_FALSE(t.c.closed());
  CHECK(t.c.out().empty());
  (void)t.c.endpoint().disconnect("user:ann");
  t.c.settle();
  CHECK(t.c.close_code() == 1001);
  CHECK(t.c.out().empty());
  CHECK(t.log.take() == texts{"room:a: closed", "room:a: gone"});
  CHECK(t.c.loop().topics() == 0);
}

TEST_CASE("socket: a channel that disconnects its own client sends no further reply") {
  talk t("2.0.0", {}, "user:ann");
  (void)t.join();
  CHECK(t.tell("disconnect").empty());
  CHECK(t.c.close_code() == 1001);
}

TEST_CASE("socket: a host may disconnect a socket, with a code of its own") {
  talk t;
  (void)t.join();
  t.c.socket().disconnect({phx::close_code::policy, "too loud"});
  CHECK_FALSE(t.c.closed());
  t.c.settle();
  CHECK(t.c.close_code() == 1008);
  CHECK(t.log.take() == texts{"room:a: closed", "room:a: gone"});
}

TEST_CASE("socket: sockets and channels can be listed") {
  talk t;
  (void)t.join();
  (void)t.join("room:b", "2", R"({"later":1})");
  std::vector<phx::socket_id> all;
  t.c.loop().for_each_socket([&](phx::socket_id id) { all.push_back(id); });
  REQUIRE(all.size() == 1);
  CHECK(all[0] == t.c.socket().name());
  CHECK(t.topics() == texts{"room:a", "room:b joining"});
  t.c.gone();
  CHECK(t.topics().empty());
}

// ---- the observer

TEST_CASE("socket: an observer gets connects, refusals and ends, with secrets filtered") {
  talk t;
  watcher& w = t.watch();
  (void)t.join("room:a", "1", R"({"user":"ann","password":"x","auth_token":{"deep":"y"}})");
  (void)t.tell("echo", R"({"token":"s"})");
  (void)t.join("room:a", "2");
  (void)t.join("hall", "3");
  (void)t.join("room:b", "4", R"({"deny":1})");
  (void)t.say(R"([null,"5","room:a","phx_leave",{}])");
  t.c.gone();
  CHECK(w.take() == texts{R"(channel_joined room:a {"user":"ann","password":"[FILTERED]","auth_token":"[FILTERED]"})",
                          R"(handled_in room:a echo {"token":"[FILTERED]"})", "duplicate_join room:a",
                          "channel_ended room:a replaced", "channel_joined room:a {}", "unmatched_topic hall phx_join",
                          R"(channel_refused room:b {"deny":1})", "channel_ended room:a left",
                          "socket_closed 'the other end left' closed"});
}

TEST_CASE("socket: an observer gets connects, late refusals, refusals beyond a limit, and the reason of a close") {
  phx::mount m;
  m.bounds.channels = 1;
  talk t("2.0.0", m, "user:ann");
  watcher& w = t.watch();
  (void)t.join("room:a", "1", R"({"later":1})");
  (void)t.join("room:b", "2");
  t.log.ids["room:a"].refused({});
  t.c.settle();
  CHECK(w.take() == texts{"too_many_channels room:b", "channel_refused room:a", "channel_ended room:a shutdown"});
  t.c.advance(60s);
  CHECK(w.take() == texts{"idle", "socket_closed 'idle' closed 1001"});

  phx::testing::recorder wire;
  phx::admission<user> ann{phx::serializer_ref::of<phx::v2_json>()};
  ann.session.emplace(user{&t.log, "ann"});
  ann.id = "user:ann";
  phx::socket<phx::testing::recorder::transport_type, rooms> one(t.c.loop(), t.dispatcher, std::move(ann), wire.transport(),
                                                                 t.c.loops().now());
  CHECK(w.take() == texts{"socket_connected 'user:ann'"});
}

TEST_CASE("socket: an observer may be replaced or removed") {
  talk t;
  watcher& w = t.watch();
  watcher v;
  t.c.loop().observe(v);
  (void)t.join();
  t.c.loop().observe(w);
  CHECK(w.seen.empty());
  CHECK(v.count("channel_joined") == 1);
}

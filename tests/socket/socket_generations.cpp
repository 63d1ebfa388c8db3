// Each older generation of Phoenix in one conversation: join, refused join, push, reply, unmatched topic, leave, crash and
// heartbeat, as its servers answered them (protocol 4.1).

#include <phx/socket/socket.hpp>
#include <phx/serializer/legacy/generation.hpp>

#include <support/room.hpp>

using namespace support;

namespace {

/// A V1 message. @param ref empty for a message without a ref.
std::string says(std::string_view topic, std::string_view event, std::string_view payload, std::string_view ref) {
  std::string text = R"({"topic":")" + std::string(topic) + R"(","event":")" + std::string(event) + R"(","payload":)";
  text.append(payload);
  if (!ref.empty()) text.append(R"(,"ref":")").append(ref).append("\"");
  return text + "}";
}
std::string listening(std::string_view event, std::string_view payload, std::string_view ref = "null",
                      std::string_view topic = "room:a") {
  return R"({"topic":")" + std::string(topic) + R"(","event":")" + std::string(event) + R"(","ref":)" + std::string(ref) +
         R"(,"payload":)" + std::string(payload) + "}";
}
/// A reply with its ref at the top.
std::string replied(std::string_view ref, std::string_view status = "ok", std::string_view response = "{}",
                    std::string_view topic = "room:a") {
  return listening("phx_reply", R"({"status":")" + std::string(status) + R"(","response":)" + std::string(response) + "}",
                   '"' + std::string(ref) + '"', topic);
}
/// A reply with its ref in the payload.
std::string replied_inside(std::string_view ref, std::string_view status = "ok", std::string_view response = "{}",
                           std::string_view topic = "room:a") {
  return listening("phx_reply",
                   R"({"status":")" + std::string(status) + R"(","response":)" + std::string(response) + R"(,"ref":")" +
                       std::string(ref) + "\"}",
                   "null", topic);
}

struct old_talk : talk {
  explicit old_talk(phx::generation g) : talk("1.0.0", {.generation = phx::legacy::of(g)}) {}
  texts client(std::string_view event, std::string_view payload = "{}", std::string_view ref = {},
               std::string_view topic = "room:a") {
    return say(says(topic, event, payload, ref));
  }
};

}  // namespace

TEST_CASE("generation 0.10: no refs, no replies, no phx_close or phx_error; heartbeats are echoed") {
  old_talk t(phx::generation::v0_10);
  CHECK(t.client("join").empty());
  CHECK(t.topics() == texts{"room:a"});
  CHECK(t.client("push", R"({"n":1})") == texts{R"({"topic":"room:a","event":"pushed","payload":{"n":1}})"});
  CHECK(t.client("echo", R"({"n":1})").empty());
  CHECK(t.client("shout", R"({"n":2})") == texts{R"({"topic":"room:a","event":"shout","payload":{"n":2}})"});
  CHECK(t.client("join", "{}", {}, "hall").empty());
  CHECK(t.client("join", R"({"deny":1})", {}, "room:b").empty());
  CHECK(t.client("heartbeat", "{}", {}, "phoenix") == texts{R"({"topic":"phoenix","event":"heartbeat","payload":{}})"});
  CHECK(t.client("leave").empty());
  CHECK(t.topics().empty());
  (void)t.client("join");
  CHECK(t.client("boom").empty());
  CHECK(t.topics().empty());
  CHECK_FALSE(t.c.closed());
}

TEST_CASE("generations 0.11 to 0.13.0: the ref of a reply is in its payload, unmatched topics get no reply") {
  for (auto const g : {phx::generation::v0_11, phx::generation::v0_13_0}) {
    old_talk t(g);
    CHECK(t.client("phx_join", "{}", "1") == texts{replied_inside("1")});
    CHECK(t.client("push", R"({"n":1})", "2") == texts{listening("pushed", R"({"n":1})")});
    CHECK(t.client("echo", R"({"n":1})", "3") == texts{replied_inside("3", "ok", R"({"n":1})")});
    CHECK(t.client("phx_join", "{}", "4", "hall").empty());
    // The status of a refused join was `ignore` until 0.12, `error` in 0.13.
    CHECK(t.client("phx_join", R"({"deny":1})", "5", "room:b") ==
          texts{replied_inside("5", g == phx::generation::v0_11 ? "ignore" : "error", R"({"reason":"no"})", "room:b")});
    CHECK(t.client("heartbeat", "{}", "6", "phoenix") == texts{listening("heartbeat", "{}", "null", "phoenix")});
    CHECK(t.client("phx_leave", "{}", "7") == texts{replied_inside("7"), listening("phx_close", "{}")});
    (void)t.client("phx_join", "{}", "8");
    CHECK(t.client("boom", "{}", "9") == texts{listening("phx_error", "{}")});
  }
}

TEST_CASE("generations 0.13.1 and 0.14: the ref of a reply is at the top; 0.14 answers heartbeats") {
  for (auto const g : {phx::generation::v0_13_1, phx::generation::v0_14}) {
    old_talk t(g);
    CHECK(t.client("phx_join", "{}", "1") == texts{replied("1")});
    CHECK(t.client("push", R"({"n":1})", "2") == texts{listening("pushed", R"({"n":1})")});
    CHECK(t.client("echo", R"({"n":1})", "3") == texts{replied("3", "ok", R"({"n":1})")});
    CHECK(t.client("phx_join", "{}", "4", "hall").empty());
    CHECK(t.client("phx_join", R"({"deny":1})", "5", "room:b") ==
          texts{replied("5", "error", R"({"reason":"no"})", "room:b")});
    CHECK(t.client("heartbeat", "{}", "6", "phoenix") == texts{g == phx::generation::v0_13_1
                                                                   ? listening("heartbeat", "{}", "null", "phoenix")
                                                                   : replied("6", "ok", "{}", "phoenix")});
    CHECK(t.client("phx_leave", "{}", "7") == texts{replied("7"), listening("phx_close", "{}")});
    (void)t.client("phx_join", "{}", "8");
    CHECK(t.client("boom", "{}", "9") == texts{listening("phx_error", "{}")});
  }
}

TEST_CASE("generations 0.15 to 1.1: unmatched topics are answered; 1.0 refuses a second join and keeps the channel") {
  for (auto const g : {phx::generation::v0_15, phx::generation::v1_0}) {
    old_talk t(g);
    CHECK(t.client("phx_join", "{}", "1") == texts{replied("1")});
    CHECK(t.client("push", R"({"n":1})", "2") == texts{listening("pushed", R"({"n":1})")});
    CHECK(t.client("echo", R"({"n":1})", "3") == texts{replied("3", "ok", R"({"n":1})")});
    CHECK(t.client("phx_join", "{}", "4", "hall") ==
          texts{replied("4", "error", R"({"reason":"unmatched topic"})", "hall")});
    CHECK(t.client("phx_join", R"({"deny":1})", "5", "room:b") ==
          texts{replied("5", "error", R"({"reason":"no"})", "room:b")});
    CHECK(t.client("heartbeat", "{}", "6", "phoenix") == texts{replied("6", "ok", "{}", "phoenix")});
    if (g == phx::generation::v1_0) {
      CHECK(t.client("phx_join", "{}", "7") == texts{replied("7", "error", R"({"reason":"already joined"})")});
      CHECK(t.client("echo", "[1]", "8") == texts{replied("8", "ok", "[1]")});
    }
    CHECK(t.client("phx_leave", "{}", "9") == texts{replied("9"), listening("phx_close", "{}")});
    // Before 1.5 a leave of an unjoined topic was unmatched.
    CHECK(t.client("phx_leave", "{}", "10") == texts{replied("10", "error", R"({"reason":"unmatched topic"})")});
    (void)t.client("phx_join", "{}", "11");
    CHECK(t.client("boom", "{}", "12") == texts{listening("phx_error", "{}")});
  }
}

TEST_CASE("generation 1.2: phx_close and phx_error have the ref of the join, which identifies the replaced channel") {
  old_talk t(phx::generation::v1_2);
  CHECK(t.client("phx_join", "{}", "1") == texts{replied("1")});
  CHECK(t.client("push", R"({"n":1})", "2") == texts{listening("pushed", R"({"n":1})")});
  CHECK(t.client("echo", R"({"n":1})", "3") == texts{replied("3", "ok", R"({"n":1})")});
  CHECK(t.client("phx_join", "{}", "4", "hall") == texts{replied("4", "error", R"({"reason":"unmatched topic"})", "hall")});
  CHECK(t.client("phx_join", R"({"deny":1})", "5", "room:b") ==
        texts{replied("5", "error", R"({"reason":"no"})", "room:b")});
  CHECK(t.client("heartbeat", "{}", "6", "phoenix") == texts{replied("6", "ok", "{}", "phoenix")});
  CHECK(t.client("phx_join", "{}", "7") == texts{replied("7"), listening("phx_close", "{}", "\"1\"")});
  CHECK(t.client("phx_leave", "{}", "8") == texts{replied("8"), listening("phx_close", "{}", "\"7\"")});
  (void)t.client("phx_join", "{}", "9");
  CHECK(t.client("boom", "{}", "10") == texts{listening("phx_error", "{}", "\"9\"")});
}

TEST_CASE("generation legacy: today's channels, for all of these clients at once") {
  old_talk t(phx::generation::legacy);
  // 0.10 sends no ref and gets only messages it understands; it ignores messages with a ref.
  CHECK(t.client("join").size() == 1);
  CHECK(t.client("leave").size() == 2);
  std::string const both = listening("phx_reply", R"({"status":"ok","response":{},"ref":"1"})", "\"1\"");
  CHECK(t.client("phx_join", "{}", "1") == texts{both});
  CHECK(t.client("boom", "{}", "2") == texts{listening("phx_error", R"({"reason":"channel_crash"})", "\"1\"")});
  (void)t.client("phx_join", "{}", "3");
  CHECK(t.client("stop", "{}", "4") == texts{listening("phx_close", "{}", "\"3\"")});
  CHECK(t.client("heartbeat", "{}", "5", "phoenix").size() == 1);

  talk two("2.0.0", {.generation = phx::legacy::of<phx::generation::legacy>()});
  CHECK(two.join() == texts{reply("\"1\"", "\"1\"")});
}

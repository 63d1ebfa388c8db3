#include <phx/serializer/v1.hpp>

#include "codec.hpp"

namespace {

using phx::errc;
using phx::payload;
using phx::status;

struct v1 : codec {
  v1() : codec(phx::serializer_ref::of<phx::v1_json>()) {}
};

}  // namespace

TEST_CASE("v1_json: a message is an object with four keys, in any order") {
  v1 c;
  for (char const* const text :
       {R"({"topic":"room:a","event":"echo","payload":{"x":1},"ref":"2"})",
        R"({"ref":"2","payload":{"x":1},"event":"echo","topic":"room:a"})",
        " { \"payload\" : {\"x\":1} , \"topic\" : \"room:a\",\n\"ref\":\"2\",\"event\":\"echo\" }\t"}) {
    CAPTURE(text);
    REQUIRE(c.decode(text) == errc::none);
    CHECK(c.in.topic == "room:a");
    CHECK(c.in.event == "echo");
    CHECK(c.in.ref.json == R"("2")");
    CHECK(c.in.join_ref.absent());
    CHECK(c.in.payload.raw() == R"({"x":1})");
  }
}

TEST_CASE("v1_json: every frame of the table of protocol 3.2") {
  v1 c;
  payload const x = payload::json(R"({"x":1})"), a = payload::json(R"({"a":1})");
  phx::json_text const room{"room:a", {}};
  CHECK(c.encode(phx::reply{{}, {R"("2")"}, room, status::ok, x}) ==
        R"({"topic":"room:a","event":"phx_reply","ref":"2","payload":{"status":"ok","response":{"x":1}}})");
  CHECK(c.encode(phx::push{{R"("1")"}, {}, room, {"pushed", {}}, a}) ==
        R"({"topic":"room:a","event":"pushed","ref":null,"payload":{"a":1}})");
  CHECK(c.encode(phx::broadcast{"room:a", "pushed", a}) ==
        R"({"topic":"room:a","event":"pushed","ref":null,"payload":{"a":1}})");
  CHECK(c.encode(phx::close_message("room:a", {R"("1")"}, {R"("1")"})) ==
        R"({"topic":"room:a","event":"phx_close","ref":"1","payload":{}})");
  CHECK(c.encode(phx::error_message("room:a", {}, {R"("1")"})) ==
        R"({"topic":"room:a","event":"phx_error","ref":null,"payload":{"reason":"channel_crash"}})");
  CHECK(c.encode(phx::close_message("room:a")) == R"({"topic":"room:a","event":"phx_close","ref":null,"payload":{}})");
  CHECK(c.op == phx::opcode::text);
}

TEST_CASE("v1_json: join_ref is accepted if it is sent, and never sent back in a reply") {
  v1 c;
  REQUIRE(c.decode(R"({"topic":"t","event":"e","payload":{},"ref":"5","join_ref":"4","extra":[1]})") == errc::none);
  CHECK(c.in.join_ref.json == R"("4")");
  CHECK(c.encode(phx::reply{c.in.join_ref, c.in.ref, c.in.topic_name, status::ok, payload{}}) ==
        R"({"topic":"t","event":"phx_reply","ref":"5","payload":{"status":"ok","response":{}}})");
  REQUIRE(c.decode(R"({"topic":"t","event":"e","payload":{},"ref":null,"join_ref":null})") == errc::none);
  CHECK_FALSE(c.in.join_ref.absent());
  CHECK(c.in.join_ref.null());
  CHECK(c.in.ref.json == "null");
}

TEST_CASE("v1_json: refs are echoed unchanged") {
  v1 c;
  for (std::string const token : {"null", "7", "0", "\"\"", R"("\u0031")", "[1, 2]", R"({"a":1})"}) {
    REQUIRE(c.decode(R"({"topic":"t","event":"e","payload":{},"ref":)" + token + "}") == errc::none);
    CHECK(c.encode(phx::reply{{}, c.in.ref, c.in.topic_name, status::ok, payload{}}) ==
          R"({"topic":"t","event":"phx_reply","ref":)" + token + R"(,"payload":{"status":"ok","response":{}}})");
  }
}

TEST_CASE("v1_json: of a duplicate key the first one counts") {
  v1 c;
  REQUIRE(
      c.decode(
          R"({"topic":"x","topic":"phoenix","event":"heartbeat","payload":{},"ref":"1","ref":2,"payload":[],"event":0})") ==
      errc::none);
  CHECK(c.in.topic == "x");
  CHECK(c.in.event == "heartbeat");
  CHECK(c.in.ref.json == R"("1")");
  CHECK(c.in.payload.raw() == "{}");
}

TEST_CASE("v1_json: keys are compared unescaped") {
  v1 c;
  REQUIRE(c.decode(R"({"\u0074opic":"x","ev\u0065nt":"e","\u0070\u0061\u0079\u006c\u006f\u0061\u0064":[],"re\u0066":"1",)"
                   R"("join\u005fref":"2","topic":"y"})") == errc::none);
  CHECK(c.in.topic == "x");
  CHECK(c.in.event == "e");
  CHECK(c.in.payload.raw() == "[]");
  CHECK(c.in.ref.json == R"("1")");
  CHECK(c.in.join_ref.json == R"("2")");
  CHECK(c.decode(R"({"Topic":"x","event":"e","payload":{},"ref":"1"})") == errc::wrong_shape);
  CHECK(c.decode(R"({"topic ":"x","event":"e","payload":{},"ref":"1"})") == errc::wrong_shape);
}

TEST_CASE("v1_json: topics and events may be of any type, and strings are unescaped") {
  v1 c;
  REQUIRE(c.decode(R"({"topic":null,"event":"phx_join","payload":{},"ref":"9"})") == errc::none);
  CHECK(c.in.topic == "");
  CHECK_FALSE(c.in.topic_name.is_string());
  CHECK(c.encode(phx::reply{{}, c.in.ref, c.in.topic_name, status::error, payload{}}) ==
        R"({"topic":null,"event":"phx_reply","ref":"9","payload":{"status":"error","response":{}}})");
  REQUIRE(c.decode(R"({"topic":"\u0061\n","event":5,"payload":null,"ref":"9"})") == errc::none);
  CHECK(c.in.topic == "a\n");
  CHECK(c.in.event_name.json == "5");
  CHECK(c.in.payload.raw() == "null");
}

TEST_CASE("v1_json: an invalid message has the right error") {
  v1 c;
  for (char const* const text :
       {"", "hello", "{", R"({"topic":"t","event":"e","payload":{},"ref":"1",})",
        R"({"topic":"t","event":"e","payload":{},"ref":"1"}})", R"({"topic" "t"})", R"({1:2})", R"({"topic":})",
        R"({"topic":"t","event":"e","payload":{},"ref":1e400})", "{}x", R"({,})", R"({"a":1,,"b":2})"}) {
    CAPTURE(text);
    CHECK(c.decode(text) == errc::not_json);
  }
  for (char const* const text :
       {"null", "{}", "[]", R"([null,"1","phoenix","heartbeat",{}])", R"({"event":"heartbeat","payload":{},"ref":"1"})",
        R"({"topic":"phoenix","payload":{},"ref":"1"})", R"({"topic":"phoenix","event":"heartbeat","ref":"1"})",
        R"({"topic":"phoenix","event":"heartbeat","payload":{}})"}) {
    CAPTURE(text);
    CHECK(c.decode(text) == errc::wrong_shape);
  }
  CHECK(c.decode("{\"\xc3(\"}") == errc::invalid_utf8);
  CHECK(c.decode("{\"topic\":\"t\",\"event\":\"e\",\"payload\":\"\xff\",\"ref\":\"1\"}") == errc::invalid_utf8);
  c.room.name = 3;
  CHECK(c.decode(R"({"topic":"abc","event":"abc","payload":{},"ref":"abc","join_ref":"abc"})") == errc::none);
  CHECK(c.decode(R"({"topic":"abcd","event":"abc","payload":{},"ref":"abc"})") == errc::name_too_long);
  CHECK(c.decode(R"({"topic":"abc","event":"abcd","payload":{},"ref":"abc"})") == errc::name_too_long);
  CHECK(c.decode(R"({"topic":"abc","event":"abc","payload":{},"ref":"abcd"})") == errc::name_too_long);
  CHECK(c.decode(R"({"topic":"abc","event":"abc","payload":{},"ref":"abc","join_ref":"abcd"})") == errc::name_too_long);
  c.room.json_depth = 2;
  CHECK(c.decode(R"({"topic":"a","event":"a","payload":[[]],"ref":"a"})") == errc::none);
  CHECK(c.decode(R"({"topic":"a","event":"a","payload":[[[]]],"ref":"a"})") == errc::too_deep);
  CHECK(c.decode(R"({"topic":"a","event":"a","payload":{},"ref":"a","more":[[[]]]})") == errc::too_deep);
}

TEST_CASE("v1_json: any frame is read as JSON, bytes cannot be sent") {
  v1 c;
  CHECK(c.decode_binary(R"({"topic":"t","event":"e","payload":{},"ref":"1"})") == errc::none);
  CHECK_FALSE(c.in.payload.is_binary());
  CHECK(c.decode_binary(hex("00 01 01 01 01  31 32 74 65")) == errc::not_json);
  payload const bytes = payload::binary("abc");
  phx::json_text const t{"t", {}};
  CHECK(c.encode(phx::reply{{}, {}, t, status::ok, bytes}) == refusal(errc::bytes_not_carried));
  CHECK(c.encode(phx::push{{}, {}, t, t, bytes}) == refusal(errc::bytes_not_carried));
  CHECK(c.encode(phx::broadcast{"t", "e", bytes}) == refusal(errc::bytes_not_carried));
}

TEST_CASE("v1_json: pushes and broadcasts may be any JSON, while version 2 requires an object") {
  v1 c;
  payload const list = payload::json("[1,2]"), broken = payload::json("{");
  phx::json_text const t{"t", {}}, e{"e", {}};
  CHECK(c.encode(phx::push{{}, {}, t, e, list}) == R"({"topic":"t","event":"e","ref":null,"payload":[1,2]})");
  CHECK(c.encode(phx::broadcast{"t", "e", list, R"("\u0074")"}) ==
        R"({"topic":"\u0074","event":"e","ref":null,"payload":[1,2]})");
  CHECK(c.encode(phx::reply{{}, {}, t, status::ok, list}) ==
        R"({"topic":"t","event":"phx_reply","ref":null,"payload":{"status":"ok","response":[1,2]}})");
  CHECK(c.encode(phx::push{{}, {}, t, e, broken}) == refusal(errc::invalid_payload));
  CHECK(c.encode(phx::broadcast{"t", "e", broken}) == refusal(errc::invalid_payload));
  CHECK(c.encode(phx::reply{{}, {}, t, status::ok, broken}) == refusal(errc::invalid_payload));
}

TEST_CASE("v1_json: serves ~> 1.0.0 with today's rules") {
  v1 c;
  CHECK(c.mode.requirement() == "~> 1.0.0");
  CHECK(c.mode.rules().leave_of_unjoined_answered);
  CHECK_FALSE(c.mode.rules().duplicate_join_refused);
}

#include <phx/serializer/legacy/v1_seed.hpp>

#include "codec.hpp"

#include <memory>

namespace {

using phx::answer;
using phx::errc;
using phx::generation;
using phx::payload;
using phx::status;

template <generation G>
struct old : codec {
  old() : codec(phx::serializer_ref::of<phx::v1_json_seed<G>>()) {}
  std::optional<std::string> reply(answer to, status s = status::ok, payload const& p = {}) {
    return encode(phx::reply{in.join_ref, in.ref, in.topic_name, s, p, to});
  }
  std::optional<std::string> push(payload const& p = {}) { return encode(phx::push{{}, {}, {"t", {}}, {"e", {}}, p}); }
};

constexpr char const join[] = R"({"topic":"t","event":"phx_join","payload":{},"ref":"1"})";
constexpr char const heartbeat[] = R"({"topic":"phoenix","event":"heartbeat","payload":{},"ref":"8"})";
payload const reason = payload::json(R"({"reason":"no"})");

/// The behaviour of all but 0.10: a message needs a ref, and plain `join` is an event like others.
template <generation G>
void takes_what_0_11_sends() {
  old<G> c;
  CHECK(c.decode(R"({"topic":"t","event":"join","payload":{}})") == errc::wrong_shape);
  REQUIRE(c.decode(R"({"topic":"t","event":"join","payload":{},"ref":"1"})") == errc::none);
  CHECK(c.in.event == "join");
  CHECK(c.mode.requirement() == "~> 1.0");
  CHECK_FALSE(c.mode.rules().leave_of_unjoined_answered);
  CHECK(c.mode.rules().duplicate_join_refused == (G == generation::v1_0));
  CHECK(c.push() == R"({"topic":"t","event":"e","ref":null,"payload":{}})");
  CHECK(c.encode(phx::broadcast{"t", "e", reason}) == R"({"topic":"t","event":"e","ref":null,"payload":{"reason":"no"}})");
  CHECK(c.push(payload::binary("x")) == refusal(errc::bytes_not_carried));
  CHECK(c.encode(phx::error_message("t", {}, {R"("1")"})).value().ends_with(R"("payload":{}})"));
}

}  // namespace

TEST_CASE("generation 0.10: join and leave have no prefix, messages no ref") {
  old<generation::v0_10> c;
  REQUIRE(c.decode(R"({"topic":"t","event":"join","payload":{"a":1}})") == errc::none);
  CHECK(c.in.event == "phx_join");
  CHECK(c.in.event_name.text == "phx_join");
  CHECK(c.in.event_name.json.empty());
  CHECK(c.in.ref.absent());
  CHECK(c.in.payload.raw() == R"({"a":1})");
  REQUIRE(c.decode(R"({"topic":"t","event":"leave","payload":{}})") == errc::none);
  CHECK(c.in.event == "phx_leave");
  REQUIRE(c.decode(R"({"topic":"t","event":"joined","payload":{}})") == errc::none);
  CHECK(c.in.event == "joined");
  CHECK(c.decode(R"({"topic":"t","event":"join"})") == errc::wrong_shape);
}

TEST_CASE("generation 0.10: no replies, and the end of a channel is not sent") {
  old<generation::v0_10> c;
  REQUIRE(c.decode(R"({"topic":"t","event":"join","payload":{}})") == errc::none);
  for (answer const to : {answer::message, answer::join, answer::refused_join, answer::leave, answer::unmatched})
    CHECK_FALSE(c.reply(to));
  CHECK_FALSE(c.reply(answer::message, status::ok, payload::binary("x")));
  CHECK_FALSE(c.encode(phx::close_message("t", {}, {R"("1")"})));
  CHECK_FALSE(c.encode(phx::error_message("t")));
}

TEST_CASE("generation 0.10: pushes, broadcasts and heartbeats are topic, event and payload") {
  old<generation::v0_10> c;
  CHECK(c.push() == R"({"topic":"t","event":"e","payload":{}})");
  CHECK(c.encode(phx::broadcast{"t", "e", reason}) == R"({"topic":"t","event":"e","payload":{"reason":"no"}})");
  REQUIRE(c.decode(R"({"topic":"phoenix","event":"heartbeat","payload":{}})") == errc::none);
  CHECK(c.reply(answer::heartbeat) == R"({"topic":"phoenix","event":"heartbeat","payload":{}})");
}

TEST_CASE("generation 0.11: the ref of a reply is in its payload, a refused join is ignored") {
  takes_what_0_11_sends<generation::v0_11>();
  old<generation::v0_11> c;
  REQUIRE(c.decode(join) == errc::none);
  CHECK(c.reply(answer::join) ==
        R"({"topic":"t","event":"phx_reply","ref":null,"payload":{"status":"ok","response":{},"ref":"1"}})");
  CHECK(
      c.reply(answer::refused_join, status::error, reason) ==
      R"({"topic":"t","event":"phx_reply","ref":null,"payload":{"status":"ignore","response":{"reason":"no"},"ref":"1"}})");
  CHECK(c.reply(answer::message, status::error) ==
        R"({"topic":"t","event":"phx_reply","ref":null,"payload":{"status":"error","response":{},"ref":"1"}})");
  CHECK(c.reply(answer::leave) ==
        R"({"topic":"t","event":"phx_reply","ref":null,"payload":{"status":"ok","response":{},"ref":"1"}})");
  CHECK_FALSE(c.reply(answer::unmatched, status::error, reason));
  CHECK(c.encode(phx::close_message("t", {R"("1")"}, {R"("1")"})) ==
        R"({"topic":"t","event":"phx_close","ref":null,"payload":{}})");
  CHECK(c.encode(phx::error_message("t", {R"("1")"}, {R"("1")"})) ==
        R"({"topic":"t","event":"phx_error","ref":null,"payload":{}})");
  REQUIRE(c.decode(heartbeat) == errc::none);
  CHECK(c.reply(answer::heartbeat) == R"({"topic":"phoenix","event":"heartbeat","ref":null,"payload":{}})");
}

TEST_CASE("generation 0.13.0: a refused join is an error") {
  takes_what_0_11_sends<generation::v0_13_0>();
  old<generation::v0_13_0> c;
  REQUIRE(c.decode(join) == errc::none);
  CHECK(c.reply(answer::refused_join, status::error, reason) ==
        R"({"topic":"t","event":"phx_reply","ref":null,"payload":{"status":"error","response":{"reason":"no"},"ref":"1"}})");
  CHECK_FALSE(c.reply(answer::unmatched, status::error));
}

TEST_CASE("generation 0.13.1: the ref of a reply is at the top, heartbeats are still echoed") {
  takes_what_0_11_sends<generation::v0_13_1>();
  old<generation::v0_13_1> c;
  REQUIRE(c.decode(join) == errc::none);
  CHECK(c.reply(answer::join) == R"({"topic":"t","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}})");
  CHECK(c.reply(answer::refused_join, status::error) ==
        R"({"topic":"t","event":"phx_reply","ref":"1","payload":{"status":"error","response":{}}})");
  CHECK_FALSE(c.reply(answer::unmatched, status::error));
  REQUIRE(c.decode(heartbeat) == errc::none);
  CHECK(c.reply(answer::heartbeat) == R"({"topic":"phoenix","event":"heartbeat","ref":null,"payload":{}})");
}

TEST_CASE("generation 0.14: heartbeats get a reply, unmatched topics none") {
  takes_what_0_11_sends<generation::v0_14>();
  old<generation::v0_14> c;
  REQUIRE(c.decode(heartbeat) == errc::none);
  CHECK(c.reply(answer::heartbeat) ==
        R"({"topic":"phoenix","event":"phx_reply","ref":"8","payload":{"status":"ok","response":{}}})");
  CHECK_FALSE(c.reply(answer::unmatched, status::error));
}

TEST_CASE("generations 0.15 and 1.0: unmatched topics are answered, phx_close and phx_error have no ref") {
  takes_what_0_11_sends<generation::v0_15>();
  takes_what_0_11_sends<generation::v1_0>();
  auto const check = [](auto c) {
    REQUIRE(c->decode(join) == errc::none);
    CHECK(c->reply(answer::unmatched, status::error, reason) ==
          R"({"topic":"t","event":"phx_reply","ref":"1","payload":{"status":"error","response":{"reason":"no"}}})");
    CHECK(c->encode(phx::close_message("t", {}, {R"("1")"})) ==
          R"({"topic":"t","event":"phx_close","ref":null,"payload":{}})");
    CHECK(c->encode(phx::error_message("t", {}, {R"("1")"})) ==
          R"({"topic":"t","event":"phx_error","ref":null,"payload":{}})");
  };
  check(std::make_unique<old<generation::v0_15>>());
  check(std::make_unique<old<generation::v1_0>>());
}

TEST_CASE("generation 1.2: phx_close and phx_error have the ref of the join") {
  takes_what_0_11_sends<generation::v1_2>();
  old<generation::v1_2> c;
  CHECK(c.encode(phx::close_message("t", {}, {R"("1")"})) == R"({"topic":"t","event":"phx_close","ref":"1","payload":{}})");
  CHECK(c.encode(phx::error_message("t", {"null"}, {R"("1")"})) ==
        R"({"topic":"t","event":"phx_error","ref":"1","payload":{}})");
  CHECK(c.encode(phx::close_message("t", {R"("4")"}, {R"("1")"})) ==
        R"({"topic":"t","event":"phx_close","ref":"4","payload":{}})");
  CHECK(c.encode(phx::close_message("t")) == R"({"topic":"t","event":"phx_close","ref":null,"payload":{}})");
}

TEST_CASE("generation legacy: both spellings are accepted, distinguished by the ref") {
  old<generation::legacy> c;
  CHECK(c.mode.requirement() == "~> 1.0");
  REQUIRE(c.decode(R"({"topic":"t","event":"join","payload":{}})") == errc::none);
  CHECK(c.in.event == "phx_join");
  REQUIRE(c.decode(R"({"topic":"t","event":"leave","payload":{}})") == errc::none);
  CHECK(c.in.event == "phx_leave");
  REQUIRE(c.decode(R"({"topic":"t","event":"echo","payload":{}})") == errc::none);
  CHECK(c.in.event == "echo");
  REQUIRE(c.decode(R"({"topic":"t","event":"join","payload":{},"ref":"1"})") == errc::none);
  CHECK(c.in.event == "join");
  REQUIRE(c.decode(R"({"topic":"t","event":"join","payload":{},"ref":null})") == errc::none);
  CHECK(c.in.event == "join");
  REQUIRE(c.decode(join) == errc::none);
  CHECK(c.in.event == "phx_join");
  CHECK(c.in.ref.json == R"("1")");
  CHECK(c.decode(R"({"topic":"t","payload":{},"ref":"1"})") == errc::wrong_shape);
}

TEST_CASE("generation legacy: replies have the ref in both places, ends that of the join, everything else is today's") {
  old<generation::legacy> c;
  REQUIRE(c.decode(join) == errc::none);
  CHECK(c.reply(answer::join) ==
        R"({"topic":"t","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{},"ref":"1"}})");
  CHECK(c.reply(answer::refused_join, status::error, reason) ==
        R"({"topic":"t","event":"phx_reply","ref":"1","payload":{"status":"error","response":{"reason":"no"},"ref":"1"}})");
  CHECK(c.reply(answer::unmatched, status::error) ==
        R"({"topic":"t","event":"phx_reply","ref":"1","payload":{"status":"error","response":{},"ref":"1"}})");
  CHECK(c.encode(phx::close_message("t", {}, {R"("1")"})) == R"({"topic":"t","event":"phx_close","ref":"1","payload":{}})");
  CHECK(c.encode(phx::error_message("t", {}, {R"("1")"})) ==
        R"({"topic":"t","event":"phx_error","ref":"1","payload":{"reason":"channel_crash"}})");
  CHECK(c.push() == R"({"topic":"t","event":"e","ref":null,"payload":{}})");
  CHECK(c.mode.rules().leave_of_unjoined_answered);
  CHECK_FALSE(c.mode.rules().duplicate_join_refused);
  REQUIRE(c.decode(R"({"topic":"phoenix","event":"heartbeat","payload":{}})") == errc::none);
  CHECK(c.reply(answer::heartbeat) ==
        R"({"topic":"phoenix","event":"phx_reply","ref":null,"payload":{"status":"ok","response":{},"ref":null}})");
}

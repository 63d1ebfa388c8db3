// The transport contract of the first Phoenix Channels (Phoenix.Channel.Transport, 0.11 to 0.13), sentence by sentence.
// Where today's Phoenix differs, the case tests today's behaviour (protocol 4.4) and, where it matters, the sentence as
// well.

#include <phx/testing/conversation.hpp>
#include <phx/testing/server.hpp>
#include <phx/serializer/legacy/generation.hpp>

#include <support/msgpack.hpp>

#include <doctest/doctest.h>

#include <array>
#include <map>

using namespace std::chrono_literals;
using texts = std::vector<std::string>;
using phx::testing::conversation;

namespace {

/// Replies, pushes and ends as its events request.
struct scripted_channel {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "no") return phx::outcome::reply(phx::status::error, in.payload);
    if (in.event == "push") ctx.push("pushed", in.payload);
    if (in.event == "normal") return phx::outcome::stop(phx::exit_reason::normal);
    if (in.event == "shutdown") return phx::outcome::stop(phx::exit_reason::shutdown);
    if (in.event == "shutdown_tuple") return phx::outcome::stop(phx::exit_reason(phx::exit_reason::shutdown, "tired"));
    if (in.event == "boom") return phx::outcome::stop(phx::exit_reason(phx::exit_reason::error, "boom"));
    if (in.event == "killed") return phx::outcome::stop(phx::exit_reason::killed);
    return phx::outcome::noreply();
  }
};
struct unwelcoming {
  phx::join_result join(phx::joining&, phx::message const&) {
    return phx::join_result::error(phx::payload::json(R"({"reason":"go away"})"));
  }
};

phx::router<> scripted_router() {
  phx::router<> r;
  r.channel<scripted_channel>("room:*").channel<unwelcoming>("private:*");
  return r;
}

/// A dispatcher that gives out the addresses of its channels, as Phoenix gives out pids.
struct id_keeping_dispatcher {
  using session_type = phx::anonymous;
  using channel_type = std::string;  // its topic
  std::map<std::string, phx::channel_id> pids{};
  std::vector<std::string> ended{};

  phx::connect_outcome<session_type> connect(phx::connect_info const&) { return phx::connected<session_type>{}; }
  bool matches(std::string_view topic) noexcept { return topic.starts_with("room:"); }
  phx::join_result join(session_type&, phx::joining& j, phx::message const& in, phx::channel_place<channel_type>& place) {
    pids[std::string(in.topic)] = j.id();
    place.emplace(in.topic);
    return phx::join_result::ok();
  }
  phx::outcome handle_in(channel_type&, phx::context&, phx::message const& in) { return phx::outcome::reply(in.payload); }
  void terminate(channel_type& c, phx::context&, phx::exit_reason) noexcept { ended.push_back(c); }
};

template <class D>
texts topics_of(conversation<D>& c) {
  texts all;
  auto const add = [&](std::string_view topic, phx::channel_state) { all.emplace_back(topic); };
  c.loop().for_each_channel(c.socket().name(), add);
  return all;
}

std::string join(std::string_view topic, std::string_view ref = "1") {
  return R"([")" + std::string(ref) + R"(",")" + std::string(ref) + R"(",")" + std::string(topic) + R"(","phx_join",{}])";
}

unsigned upgrade_status(phx::mount const& m, std::string_view origin) {
  auto d = scripted_router();
  phx::header const headers[] = {{"host", "localhost"}, {"origin", origin}};
  phx::request asked = phx::request::of("GET", "/socket/websocket?vsn=2.0.0", headers);
  if (origin.empty()) asked.headers = asked.headers.first(1);
  auto const judged = phx::handshake(m, d, asked);
  auto const* const no = std::get_if<phx::refused_request>(&judged);
  return no == nullptr ? 101u : no->answer.status;
}

}  // namespace

TEST_CASE("contract: Handles dispatching incoming and outgoing Channel messages") {
  auto d = scripted_router();
  conversation c(d);
  c.in(join("room:a"));
  c.in(R"(["1","2","room:a","push",{"n":1}])");
  CHECK(c.out() ==
        texts{R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])", R"(["1",null,"room:a","pushed",{"n":1}])"});
}

TEST_CASE(
    "contract: The Transport layer dispatches Messages from remote clients, backed by different Channel transport "
    "implementations and serializations") {
  // Any Transport: a minimal one, besides the recorder of the other cases.
  struct poorest {
    std::vector<std::string>& to;
    phx::send_status send(phx::frame const& f) noexcept {
      to.emplace_back(f.data());
      return phx::send_status::ok;
    }
    void close(phx::close_frame) noexcept {}
    std::size_t buffered() const noexcept { return 0; }
  };
  auto d = scripted_router();
  phx::testing::fake_loops loops;
  texts out;
  phx::admission<phx::anonymous> in{phx::serializer_ref::of<phx::v1_json>()};
  in.session.emplace();
  phx::socket<poorest, phx::router<>> s(loops[0], d, std::move(in), poorest{out}, loops.now());
  CHECK(s.receive(phx::opcode::text, R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"1"})", true, loops.now()));
  CHECK(out == texts{R"({"topic":"room:a","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}})"});
  s.gone(phx::lost::normal);

  // Any serialization: the same conversation at three versions.
  phx::mount const m{.serializers = {phx::serializer_ref::of<phx::v1_json>(), phx::serializer_ref::of<phx::v2_json>(),
                                     phx::serializer_ref::of<msgpack::serializer>()}};
  conversation v2(d, "2.0.0", m), v3(d, "3.0.0", m);
  v2.in(join("room:a"));
  v3.in_binary(msgpack::serializer::from_json(join("room:a")));
  auto const packed = v3.out();
  REQUIRE(packed.size() == 1);
  CHECK(v2.out() == texts{msgpack::serializer::to_json(packed[0])});
}

TEST_CASE("contract: To implement a Transport adapter, the Server must broker the following actions") {
  // A host calls only receive, gone and run, and phx calls only send, close and buffered.
  auto d = scripted_router();
  conversation c(d);
  c.in(join("room:a"));
  CHECK(c.out().size() == 1);
  c.gone(phx::lost::normal);
  CHECK(c.loop().sockets() == 0);
  CHECK_FALSE(c.closed());
}

TEST_CASE(
    "contract: Handle receiving incoming, encoded Messages from remote clients, then deserialing and forwarding "
    "message through dispatch: a new channel") {
  id_keeping_dispatcher d;
  conversation c(d);
  c.in(join("room:a"));
  CHECK(topics_of(c) == texts{"room:a"});
  CHECK(d.pids.count("room:a") == 1);
}

TEST_CASE("contract: dispatch: handled") {
  id_keeping_dispatcher d;
  conversation c(d);
  c.in(join("room:a"));
  c.out();
  c.in(R"(["1","2","room:a","any",{"n":1}])");
  CHECK(c.out() == texts{R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"n":1}}])"});
  CHECK(topics_of(c) == texts{"room:a"});
}

TEST_CASE("contract: dispatch: ignore") {
  id_keeping_dispatcher d;
  conversation c(d);
  c.in(join("room:a"));
  c.out();
  c.in(R"(["other life","2","room:a","any",{}])");
  c.in(R"(["other life","3","room:a","phx_leave",{}])");
  CHECK(c.out().empty());
  CHECK(topics_of(c) == texts{"room:a"});
}

TEST_CASE("contract: dispatch: error") {
  auto d = scripted_router();
  conversation c(d);
  c.in(join("private:a"));
  c.in(join("hall", "2"));
  c.in(R"([null,"3","room:a","echo",{}])");
  CHECK(c.out() == texts{R"(["1","1","private:a","phx_reply",{"status":"error","response":{"reason":"go away"}}])",
                         R"([null,"2","hall","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])",
                         R"([null,"3","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])"});
  CHECK(topics_of(c).empty());
}

TEST_CASE("contract: dispatch of the seed: a refused join is answered ignore, an unmatched topic with silence") {
  auto d = scripted_router();
  conversation c(d, "1.0.0", {.generation = phx::legacy::of<phx::generation::v0_11>()});
  c.in(R"({"topic":"private:a","event":"phx_join","payload":{},"ref":"1"})");
  c.in(R"({"topic":"hall","event":"phx_join","payload":{},"ref":"2"})");
  auto const out = c.out();
  REQUIRE(out.size() == 1);
  CHECK(out[0].find(R"("status":"ignore")") != std::string::npos);
}

TEST_CASE("contract: Message keys must be deserialized as strings") {
  // Keys are data: whatever their text, they reach the handler byte for byte, and have no meaning for phx.
  auto d = scripted_router();
  conversation c(d);
  c.in(join("room:a"));
  c.out();
  c.in(R"(["1","2","room:a","echo",{"__proto__":1,"constructor":{"a":2},"\u0000":3}])");
  CHECK(c.out() == texts{R"(["1","2","room:a","phx_reply",{"status":"ok","response":)"
                         R"({"__proto__":1,"constructor":{"a":2},"\u0000":3}}])"});
}

TEST_CASE("contract: storing a HashDict of string topics to Pid matches, and Pid to String topic matches") {
  id_keeping_dispatcher d;
  conversation c(d);
  c.in(join("room:a"));
  c.in(join("room:b", "2"));
  CHECK(topics_of(c) == texts{"room:a", "room:b"});
  c.out();
  d.pids["room:b"].push("for", phx::payload::json(R"({"topic":"b"})"));
  d.pids["room:a"].push("for", phx::payload::json(R"({"topic":"a"})"));
  c.settle();
  CHECK(c.out() == texts{R"(["2",null,"room:b","for",{"topic":"b"}])", R"(["1",null,"room:a","for",{"topic":"a"}])"});
}

TEST_CASE("contract: The HashDict of topic => pids is dispatched through the transport layer's dispatch") {
  // The same message, with the topic in the table and without.
  id_keeping_dispatcher d;
  conversation c(d);
  c.in(R"([null,"1","room:a","any",{}])");
  c.in(join("room:a", "2"));
  c.in(R"([null,"3","room:a","any",{}])");
  CHECK(c.out() == texts{R"([null,"1","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])",
                         R"(["2","2","room:a","phx_reply",{"status":"ok","response":{}}])",
                         R"(["2","3","room:a","phx_reply",{"status":"ok","response":{}}])"});
}

TEST_CASE(
    "contract: Handle receiving outgoing {:socket_push, Message} as process messages, then encoding and forwarding to "
    "remote client") {
  id_keeping_dispatcher d;
  conversation c(d), old(d, "1.0.0");
  c.in(join("room:a"));
  auto const to_v2 = d.pids["room:a"];
  old.in(R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"1"})");
  auto const to_v1 = d.pids["room:a"];
  c.out();
  old.out();
  auto const data = phx::payload::json(R"({"n":1})");
  CHECK(to_v2.push("tick", data) == phx::send_status::ok);
  CHECK(to_v1.push("tick", data) == phx::send_status::ok);
  CHECK(c.out().empty());
  c.settle();
  old.settle();
  CHECK(c.out() == texts{R"(["1",null,"room:a","tick",{"n":1}])"});
  CHECK(old.out() == texts{R"({"topic":"room:a","event":"tick","ref":null,"payload":{"n":1}})"});
}

TEST_CASE(
    "contract: Trap exits and handle receiving {:EXIT, socket_pid, reason} messages and delete the entries from the "
    "kept HashDict of socket processes") {
  id_keeping_dispatcher d;
  conversation c(d);
  c.in(join("room:a"));
  c.in(join("room:b", "2"));
  phx::channel_id const a = d.pids["room:a"];
  CHECK(a.exit(phx::exit_reason::killed) == phx::send_status::ok);
  c.settle();
  c.out();
  CHECK(d.ended == texts{"room:a"});
  CHECK(topics_of(c) == texts{"room:b"});
  // It can be found neither by its topic nor by its address.
  c.in(R"(["1","3","room:a","any",{}])");
  CHECK(c.out() == texts{R"([null,"3","room:a","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])"});
  CHECK(a.push("late", {}) == phx::send_status::ok);
  CHECK(a.exit(phx::exit_reason::normal) == phx::send_status::ok);
  c.settle();
  CHECK(c.out().empty());
  CHECK(d.ended.size() == 1);
  // Nor does the address of an ended channel reach its successor.
  c.in(join("room:a", "4"));
  c.out();
  a.push("late", {});
  c.settle();
  CHECK(c.out().empty());
}

TEST_CASE("contract: When exits are received, the adapter transport must reply to their client with one of two messages") {
  id_keeping_dispatcher d;
  for (auto const reason : {phx::exit_reason::normal, phx::exit_reason::shutdown, phx::exit_reason::left,
                            phx::exit_reason::error, phx::exit_reason::killed}) {
    conversation c(d);
    c.in(join("room:a"));
    c.out();
    d.pids["room:a"].exit(reason);
    c.settle();
    auto const out = c.out();
    REQUIRE(out.size() == 1);
    bool const close = out[0] == R"(["1","1","room:a","phx_close",{}])";
    bool const error = out[0] == R"(["1","1","room:a","phx_error",{"reason":"channel_crash"}])";
    CHECK(close != error);
  }
}

TEST_CASE(
    "contract: for :normal exits and shutdowns, send a reply to the remote client of a message from "
    "chan_close_message") {
  for (char const* const mode : {"normal", "shutdown", "shutdown_tuple"}) {
    CAPTURE(mode);
    auto d = scripted_router();
    conversation c(d);
    c.in(join("room:a"));
    c.out();
    c.in(R"(["1","2","room:a",")" + std::string(mode) + R"(",{}])");
    CHECK(c.out() == texts{R"(["1","1","room:a","phx_close",{}])"});
    CHECK(topics_of(c).empty());
  }
}

TEST_CASE("contract: for abnormal exits, send a reply to the remote client of a message from chan_error_message") {
  for (char const* const mode : {"boom", "killed"}) {
    CAPTURE(mode);
    auto d = scripted_router();
    conversation c(d);
    c.in(join("room:a"));
    c.out();
    c.in(R"(["1","2","room:a",")" + std::string(mode) + R"(",{}])");
    CHECK(c.out() == texts{R"(["1","1","room:a","phx_error",{"reason":"channel_crash"}])"});
    CHECK(topics_of(c).empty());
    CHECK_FALSE(c.closed());
  }
}

TEST_CASE("contract: See Phoenix.Transports.WebSocket for an example transport server implementation") {
  // The recorder satisfies the concept and requires nothing more.
  static_assert(phx::Transport<phx::testing::recorder::transport_type>);
  auto d = scripted_router();
  conversation c(d);
  c.in("not JSON");
  CHECK(c.close_code() == 1011);
  CHECK(c.recorder().closes == 1);
}

TEST_CASE("contract: Channels can reply, synchronously, to any handle_in event") {
  auto d = scripted_router();
  conversation c(d);
  c.in(join("room:a"));
  c.out();
  c.in(R"(["1","2","room:a","echo",{"n":1}])");
  c.in(R"(["1","3","room:a","no",[1,2]])");
  c.in(R"(["1","4","room:a","silent",{}])");
  CHECK(c.out() == texts{R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"n":1}}])",
                         R"(["1","3","room:a","phx_reply",{"status":"error","response":[1,2]}])"});
}

TEST_CASE(
    "contract: clients must include a unique ref with every message and the channel server will reply with a "
    "matching ref") {
  auto d = scripted_router();
  conversation c(d);
  c.in(join("room:a"));
  c.out();
  for (char const* const ref : {R"("7")", "7", "0", R"("")", "null", "1.0", R"(["a"])", R"("\u0031")"}) {
    CAPTURE(ref);
    c.in(R"(["1",)" + std::string(ref) + R"(,"room:a","echo",{}])");
    CHECK(c.out() == texts{R"(["1",)" + std::string(ref) + R"(,"room:a","phx_reply",{"status":"ok","response":{}}])"});
  }
}

TEST_CASE("contract: Phoenix includes a JavaScript client for WebSocket support using JSON encodings") {
  // The messages of phoenix.js for a join, a push, a heartbeat and a leave, at both versions.
  auto d = scripted_router();
  conversation v2(d), v1(d, "1.0.0");
  for (char const* const text : {R"(["1","1","room:a","phx_join",{}])", R"(["1","2","room:a","echo",{"n":1}])",
                                 R"([null,"3","phoenix","heartbeat",{}])", R"(["1","4","room:a","phx_leave",{}])"})
    v2.in(text);
  CHECK(v2.out() == texts{R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])",
                          R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"n":1}}])",
                          R"([null,"3","phoenix","phx_reply",{"status":"ok","response":{}}])",
                          R"(["1","4","room:a","phx_reply",{"status":"ok","response":{}}])",
                          R"(["1","1","room:a","phx_close",{}])"});
  v1.in(R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"1"})");
  v1.in(R"({"topic":"room:a","event":"echo","payload":{"n":1},"ref":"2"})");
  CHECK(v1.out() ==
        texts{R"({"topic":"room:a","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}})",
              R"({"topic":"room:a","event":"phx_reply","ref":"2","payload":{"status":"ok","response":{"n":1}}})"});
}

TEST_CASE(
    "contract: However, a client can be implemented for other protocols and encodings by abiding by the Message "
    "format") {
  auto d = scripted_router();
  conversation c(d, "3.0.0", {.serializers = {phx::serializer_ref::of<msgpack::serializer>()}});
  auto const say = [&](std::string_view json) {
    c.in_binary(msgpack::serializer::from_json(json));
    texts heard;
    for (std::string const& f : c.out()) heard.push_back(msgpack::serializer::to_json(f));
    return heard;
  };
  CHECK(say(R"(["1","1","room:a","phx_join",{}])") ==
        texts{R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])"});
  CHECK(say(R"(["1","2","room:a","echo",{"n":[1,-2,null,true,"\u00e9"]}])") ==
        texts{R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"n":[1,-2,null,true,"é"]}}])"});
  CHECK(say(R"(["1","3","room:a","boom",{}])") == texts{R"(["1","1","room:a","phx_error",{"reason":"channel_crash"}])"});
}

TEST_CASE("contract: See phoenix.js for an example transport client implementation") {
  // testing::client handles frames as phoenix.js does.
  auto d = scripted_router();
  phx::testing::server server(d);
  auto room = server.connect().join("room:a");
  CHECK(room.ok());
  CHECK(room.call("echo", R"({"n":1})") == phx::testing::received_reply{"ok", R"({"n":1})"});
  CHECK(room.leave());
  CHECK(room.expect_close());
}

TEST_CASE("contract: chan_close_message(topic) Returns the Message for a channel close event") {
  phx::push const p = phx::close_message("room:a");
  CHECK(p.topic.text == "room:a");
  CHECK(p.event.text == "phx_close");
  CHECK(p.payload.raw() == "{}");
  CHECK(p.ref.null());
  CHECK(p.join_ref.null());
}

TEST_CASE("contract: chan_error_message(topic) Returns the Message for a channel error event") {
  phx::push const p = phx::error_message("room:a");
  CHECK(p.topic.text == "room:a");
  CHECK(p.event.text == "phx_error");
  CHECK(p.payload.raw() == R"({"reason":"channel_crash"})");
  CHECK(p.ref.null());
  CHECK(p.join_ref.null());
}

TEST_CASE("contract: check_origin checks the Origin request header against the list of allowed origins") {
  phx::mount const m{.origins = {"//localhost", "https://*.example.com"}};
  CHECK(upgrade_status(m, "http://localhost:4000") == 101);
  CHECK(upgrade_status(m, "https://a.example.com") == 101);
  CHECK(upgrade_status(m, "https://example.org") == 403);
  CHECK(upgrade_status(m, "https://evilexample.com") == 403);
}

TEST_CASE(
    "contract: If the Origin header matches the allowed origins, no Origin header was sent or no origins configured "
    "it will return the given conn") {
  phx::mount const list{.origins = {"//localhost"}};
  CHECK(upgrade_status(list, "http://localhost") == 101);
  CHECK(upgrade_status(list, "") == 101);
  // In those versions an unset list allows all; today it means the mount's own host (protocol 9.3).
  phx::mount const seed{.generation = phx::legacy::of<phx::generation::v0_11>(), .websocket_path = "/websocket"};
  auto d = scripted_router();
  phx::header const headers[] = {{"host", "localhost"}, {"origin", "https://example.org"}};
  auto const judged = phx::handshake(seed, d, phx::request::of("GET", "/socket", headers));
  CHECK(std::holds_alternative<phx::admission<phx::anonymous>>(judged));
  CHECK(upgrade_status({}, "https://example.org") == 403);
}

TEST_CASE("contract: Otherwise a 403 Forbidden response will be sent and the connection halted") {
  struct asked_twice : phx::router<> {
    int asked = 0;
    phx::connect_outcome<phx::anonymous> connect(phx::connect_info const&) {
      ++asked;
      return phx::connected<phx::anonymous>{};
    }
  } d;
  phx::mount const m{.origins = {"//localhost"}};
  phx::header const headers[] = {{"host", "localhost"}, {"origin", "https://example.org"}};
  auto const judged = phx::handshake(m, d, phx::request::of("GET", "/socket/websocket?vsn=2.0.0", headers));
  auto const* const no = std::get_if<phx::refused_request>(&judged);
  REQUIRE(no != nullptr);
  CHECK(no->answer.status == 403);
  CHECK(no->answer.body.empty());
  CHECK(no->reason == phx::refusal::origin);
  CHECK(d.asked == 0);
}

TEST_CASE("contract: Dispatches Message in response to a heartbeat message sent from the client") {
  auto d = scripted_router();
  conversation c(d);
  c.in(R"([null,"5","phoenix","heartbeat",{}])");
  CHECK(c.out() == texts{R"([null,"5","phoenix","phx_reply",{"status":"ok","response":{}}])"});
}

TEST_CASE("contract: The Message format sent to phoenix requires topic phoenix, event heartbeat, payload {}") {
  auto d = scripted_router();
  conversation c(d);
  // The payload and the join_ref are ignored (protocol 5, row 1); topic and event are not.
  c.in(R"(["9","1","phoenix","heartbeat",[1]])");
  c.in(R"([null,"2","phoenix","heartbeats",{}])");
  c.in(R"([null,"3","phoenix:x","heartbeat",{}])");
  CHECK(c.out() ==
        texts{R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])",
              R"([null,"2","phoenix","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])",
              R"([null,"3","phoenix:x","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])"});
}

TEST_CASE("contract: The server will respond to heartbeats with the same message") {
  // Literally so in the generations up to 0.13; from 0.14 on it is a reply with the ref (protocol 4.1).
  auto d = scripted_router();
  for (auto const g : {phx::generation::v0_11, phx::generation::v0_13_0, phx::generation::v0_13_1}) {
    conversation c(d, "1.0.0", {.generation = phx::legacy::of(g)});
    c.in(R"({"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"})");
    CHECK(c.out() == texts{R"({"topic":"phoenix","event":"heartbeat","ref":null,"payload":{}})"});
  }
  conversation c(d, "1.0.0", {.generation = phx::legacy::of<phx::generation::v0_14>()});
  c.in(R"({"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"})");
  CHECK(c.out() == texts{R"({"topic":"phoenix","event":"phx_reply","ref":"1","payload":{"status":"ok","response":{}}})"});
}

#include <phx/longpoll/longpoll.hpp>
#include <phx/serializer/legacy/generation.hpp>

#include <support/polls.hpp>

#include <doctest/doctest.h>

namespace {

using namespace support;

constexpr std::string_view join_a = R"(["1","1","room:a","phx_join",{}])";

}  // namespace

TEST_CASE("longpoll: the first GET opens a session, and gets 410 with its token") {
  polls p;
  poll_result const g = p.now({});
  CHECK(g.status == 200);
  CHECK(g.body == R"({"messages":[],"status":410,"token":")" + g.token() + "\"}");
  CHECK(g.token().size() == 43);
  CHECK(g.headers == std::map<std::string, std::string>{{"access-control-allow-origin", "*"},
                                                        {"cache-control", "no-store"},
                                                        {"content-type", "application/json; charset=utf-8"}});
  CHECK(p.sessions.size() == 1);
  CHECK(p.local[0].sockets() == 1);
  CHECK(p.open() != g.token());
}

TEST_CASE("longpoll: a POST is processed before it is answered, and the replies come with the next poll") {
  polls p;
  std::string const token = p.open();
  poll_result const g = p.post(token, join_a);
  CHECK(g.body == R"({"status":200})");
  CHECK(p.local[0].channels() == 1);
  CHECK(p.post(token, R"(["1","2","room:a","push_then_reply",{"x":1}])").says(200));
  poll_result const polled = p.poll(token);
  CHECK(polled.says(200));
  CHECK(polled.token() == token);
  CHECK(polled.body.starts_with(R"({"messages":["[\"1\",\"1\",\"room:a\")"));
  CHECK(polled.messages() == '"' + reply(R"("1")", R"("1")") + "\",\"" + pushed("pushed", R"({"x":1})") + "\",\"" +
                                 reply(R"("1")", R"("2")") + '"');
}

TEST_CASE("longpoll: a poll waits for the first frame, or for the end of the window") {
  polls p;
  std::string const token = p.joined();
  tab t;
  p.ask(t, {.token = token});
  CHECK(t.asked.waiting());
  p.local.advance(5s);
  CHECK(t.responses == 0);
  (void)p.local.endpoint().broadcast("room:a", "news", {});
  p.local.settle();
  CHECK(t.last.messages() == '"' + shouted("news", "{}") + '"');
  CHECK(!t.asked.waiting());

  p.ask(t, {.token = token});
  p.local.advance(9999ms);
  CHECK(t.responses == 1);
  p.local.advance(1ms);
  CHECK(t.last.body == R"({"messages":[],"status":204,"token":")" + token + "\"}");
}

TEST_CASE("longpoll: a preflight request gets the headers it asked for") {
  polls p;
  poll_result const g = p.now({.method = "OPTIONS",
                               .headers = {{"Origin", "http://localhost"},
                                           {"Access-Control-Request-Headers", "x-one"},
                                           {"access-control-request-headers", "x-two, x-three"}}});
  CHECK(g.status == 200);
  CHECK(g.body.empty());
  CHECK(g.headers.at("access-control-allow-headers") == "x-one, x-two, x-three");
  CHECK(g.headers.at("access-control-allow-methods") == "get, post, options");
  CHECK(g.headers.at("access-control-max-age") == "3600");
  CHECK(g.headers.at("access-control-allow-origin") == "*");
  CHECK(p.now({.method = "OPTIONS"}).headers.at("access-control-allow-headers").empty());
}

TEST_CASE("longpoll: other methods are answered 400 with an empty body") {
  polls p;
  for (char const* const method : {"PUT", "DELETE", "HEAD", "get"}) {
    poll_result const g = p.now({.method = method});
    CHECK(g.status == 400);
    CHECK(g.body.empty());
    CHECK(g.headers.at("access-control-allow-origin") == "*");
  }
}

TEST_CASE("longpoll: a later poll replaces the earlier one, which ends with 204 at the end of its own window") {
  polls p;
  std::string const token = p.joined();
  tab first, second;
  p.ask(first, {.token = token});
  p.local.advance(4s);
  p.ask(second, {.token = token});
  p.local.advance(3s);
  (void)p.local.endpoint().broadcast("room:a", "news", {});
  p.local.settle();
  CHECK(second.last.messages() == '"' + shouted("news", "{}") + '"');
  CHECK(first.responses == 0);
  p.local.advance(3s);
  CHECK(first.last.body == R"({"messages":[],"status":204,"token":")" + token + "\"}");
}

TEST_CASE("longpoll: a session that is not polled ends between 1.5 and 3 windows after its last poll began") {
  polls p;
  std::string const token = p.joined();
  p.local.advance(14s);
  CHECK(p.sessions.size() == 1);
  p.local.advance(1s);
  CHECK(p.sessions.size() == 0);
  CHECK(p.log.take() == texts{"room:a: closed", "room:a: gone"});
  CHECK(p.post(token, "x").body == R"({"status":410})");

  std::string const other = p.open();
  for (int i = 0; i < 6; ++i) {  // polls keep it open, whatever the socket's own idle timeout
    tab t;
    p.ask(t, {.token = other});
    p.local.advance(14s);
    CHECK(t.responses == 1);
  }
  CHECK(p.sessions.size() == 1);
  for (int i = 0; i < 3; ++i) {  // posts do not
    p.local.advance(5s);
    (void)p.post(other, R"([null,"1","phoenix","heartbeat",{}])");
  }
  p.local.advance(10s);
  CHECK(p.sessions.size() == 0);
}

TEST_CASE("longpoll: a request for an ended session is answered at once, a poll with a new session") {
  polls p;
  std::string const token = p.open(0, "vsn=2.0.0&user=bob");
  (void)p.local.endpoint().disconnect("user:bob");
  p.local.settle();
  CHECK(p.post(token, "[]").body == R"({"status":410})");
  poll_result const g = p.poll(token);
  CHECK(g.says(410));
  CHECK(g.token() != token);
  CHECK(!g.token().empty());
}

TEST_CASE("longpoll: a disconnect does not wake a waiting poll by default; a drain does") {
  for (bool const wake : {false, true}) {
    polls p(1, {.wake_at_end = wake});
    std::string const token = p.open(0, "vsn=2.0.0&user=bob");
    tab t;
    p.ask(t, {.token = token});
    (void)p.local.endpoint().disconnect("user:bob");
    p.local.settle();
    CHECK(p.sessions.size() == 0);
    CHECK(t.responses == (wake ? 1 : 0));
    p.local.advance(10s);
    CHECK(t.last.body == R"({"messages":[],"status":204,"token":")" + token + "\"}");
  }
  polls p(2);
  std::string const token = p.joined();
  tab local, there;
  p.ask(there, {.token = p.joined(1)}, 0);
  p.ask(local, {.token = token});
  p.local.settle();
  p.local.endpoint().drain();
  p.local.settle();
  CHECK(local.last.says(204));
  CHECK(there.last.says(204));
  CHECK(p.local.endpoint().sockets() == 0);
  poll_result const g = p.poll(token);  // phoenix.js treats an empty body as an error, and reconnects
  CHECK(g.status == 503);
  CHECK(g.body.empty());
  CHECK(g.headers.at("access-control-allow-origin") == "*");
}

TEST_CASE("longpoll: a refusal is 403 in the body; an invalid query is HTTP 400") {
  polls p;
  for (char const* const query : {"vsn=9.0.0", "vsn=2", "vsn[]=2.0.0", "vsn=2.0.0&reject=1", "vsn=2.0.0&reject=429"}) {
    poll_result const g = p.now({.query = query});
    CHECK(g.status == 200);
    CHECK(g.body == R"({"status":403})");
    CHECK(g.headers.size() == 3);
  }
  // a host that delays refusals needs the reason
  CHECK(p.now({.query = "vsn=2.0.0&reject=429"}).refused == phx::refusal::connect);
  CHECK(p.now({.query = "vsn=9.0.0"}).refused == phx::refusal::vsn);
  CHECK(p.now({.query = "vsn=2.0.0&a=%zz"}).refused == phx::refusal::params);
  CHECK(p.now({.method = "PUT"}).refused == std::nullopt);
  CHECK(p.now({.query = "vsn=2.0.0&a=%zz"}).status == 400);
  CHECK(p.now({.query = "vsn=2.0.0&a=" + std::string(70'000, 'x')}).status == 414);
  CHECK(p.now({.path = "/socket/websocket"}).status == 404);
#ifdef __cpp_exceptions
  CHECK(p.now({.query = "vsn=2.0.0&boom=1"}).status == 500);
#endif
  CHECK(p.sessions.size() == 0);
  CHECK(p.local[0].sockets() == 0);
}

TEST_CASE("longpoll: the response to a HEAD has no body") {
  polls p;
  for (std::string_view const query : {"vsn=2.0.0", "vsn=%zz"}) {
    poll_result const g = p.now({.method = "HEAD", .headers = {{"origin", "https://evil.example"}}, .query = query});
    CHECK(g.status == (query == "vsn=2.0.0" ? 200 : 400));
    CHECK(g.refused == (query == "vsn=2.0.0" ? phx::refusal::origin : phx::refusal::params));
    CHECK(g.body.empty());
  }
  CHECK(p.now({.method = "HEAD"}).status == 400);
}

namespace {
/// A connection whose host counts the sessions it opens.
struct counted_tab : tab {
  phx::longpoll::poll_request asks{*this};
  int left = 1;
  std::optional<phx::refused_request> may_open(phx::time_point) {
    if (left-- > 0) return std::nullopt;
    phx::refused_request no = phx::refuse(phx::refusal::too_often, "me");
    no.answer.headers.emplace_back("retry-after", "7");
    return no;
  }
};
static_assert(phx::longpoll::guards_sessions<counted_tab>);
static_assert(!phx::longpoll::guards_sessions<tab>);
}  // namespace

TEST_CASE("longpoll: a host may refuse each new session, and is asked only then") {
  polls p;
  counted_tab t;
  auto const get = [&](std::string const& query) {
    p.services[0]->serve(t.asks, phx::request::of("GET", "/socket/longpoll?" + query, {}), {}, p.local.now());
    p.local.settle();
    return t.last;
  };
  std::string const token = get("vsn=2.0.0").token();
  CHECK(token.size() == 43);
  for (int i = 0; i < 3; ++i) {
    (void)p.post(token, R"([null,"1","phoenix","heartbeat",{}])");
    CHECK(get("vsn=2.0.0&token=" + token).says(200));
  }
  CHECK(t.left == 0);
  poll_result const g = get("vsn=2.0.0");
  CHECK(g.status == 429);
  CHECK(g.headers.at("retry-after") == "7");
  CHECK(g.refused == phx::refusal::too_often);
  CHECK(p.sessions.size() == 1);
  CHECK(p.services[0]->size() == 1);
}

TEST_CASE("longpoll: the origin is checked at every request") {
  polls p;
  std::string const token = p.joined();
  std::vector<phx::header> const evil{{"Origin", "http://evil.org"}};
  for (asked_for const& item :
       {asked_for{.headers = evil}, asked_for{.token = token, .headers = evil},
        asked_for{.method = "POST", .token = token, .body = R"(["1","2","room:a","shout",{}])", .headers = evil},
        asked_for{.method = "OPTIONS", .headers = evil}, asked_for{.method = "PUT", .headers = evil}}) {
    poll_result const g = p.now(item);
    CHECK(g.status == 200);
    CHECK(g.body == R"({"status":403})");
    CHECK(g.headers.at("access-control-allow-origin") == "*");
  }
  CHECK(p.sessions.size() == 1);
  tab t;  // no request was processed, and no frame lost
  p.ask(t, {.token = token});
  CHECK(t.asked.waiting());
}

TEST_CASE("longpoll: forged, truncated and foreign tokens are unknown") {
  polls p;
  polls other_server;  // another server
  std::string const token = p.joined();
  texts bad{"null", "undefined", "x", token.substr(0, 42), token + "A", other_server.open(), std::string(10'000, 'A')};
  for (std::size_t i = 0; i < 42; ++i) {
    bad.push_back(token);
    bad.back()[i] = token[i] == 'A' ? 'B' : 'A';
  }
  for (std::string const& t : bad) {
    CHECK(p.post(t, "[]").body == R"({"status":410})");
    poll_result const g = p.poll(t);
    CHECK(g.says(410));
    CHECK(g.token() != t);
    CHECK(g.token() != token);
  }
  CHECK(p.post("", "[]").says(410));
  CHECK(p.now({.method = "POST", .query = "vsn=2.0.0&token[]=" + token}).says(410));
  CHECK(p.post(token, R"([null,"1","phoenix","heartbeat",{}])").says(200));  // the token still names this session
}

TEST_CASE("longpoll: a token of another mount is unknown") {
  polls p;
  phx::mount const other{.path = "/other", .longpoll = true};
  polls::service beside(p.sessions, p.local[0], other, p.dispatcher);
  std::string const token = p.joined();
  tab t;
  beside.serve(t.asked, phx::request::of("POST", "/other/longpoll?vsn=2.0.0&token=" + token, {}),
               R"(["1","2","room:a","shout",{}])", p.local.now());
  CHECK(t.last.says(410));
  beside.serve(t.asked, phx::request::of("GET", "/other/longpoll?vsn=2.0.0&token=" + token, {}), {}, p.local.now());
  CHECK(t.last.says(410));
  CHECK(t.last.token() != token);
}

TEST_CASE("longpoll: a token expires even if its session is polled") {
  polls p(1, {.token_age = 25s});
  std::string const token = p.open();
  p.local.advance(12s);
  CHECK(p.post(token, R"([null,"1","phoenix","heartbeat",{}])").says(200));
  CHECK(p.poll(token).says(200));
  p.local.advance(13s);
  CHECK(p.sessions.size() == 1);
  CHECK(p.post(token, "[]").says(410));
  CHECK(p.poll(token).token() != token);
}

TEST_CASE("longpoll: the token in the header precedes the one in the query") {
  polls p;
  std::string const token = p.joined(), other = p.joined();
  (void)p.post(token, R"(["1","2","room:a","push",{}])");
  poll_result const g = p.now({.token = token, .query = "vsn=2.0.0&token=" + other, .in_header = true});
  CHECK(g.messages() == '"' + pushed("pushed", "{}") + '"');
  CHECK(p.now({.method = "POST", .token = "nonsense", .query = "vsn=2.0.0&token=" + token, .in_header = true}).says(410));
}

TEST_CASE("longpoll: a body of 8,000,000 bytes is accepted, one byte more is not, nor any for a session that has ended") {
  polls p;
  std::string const token = p.joined();
  std::string body = R"(["1","2","room:a","echo",")";
  body.append(8'000'000 - body.size() - 2, 'x').append("\"]");
  REQUIRE(body.size() == p.services[0]->max_body());
  CHECK(p.post(token, body).says(200));
  CHECK(p.poll(token).body.size() > 8'000'000);
  body.insert(body.size() - 2, "x");
  poll_result const g = p.post(token, body);
  CHECK(g.status == 400);
  CHECK(g.headers.at("access-control-allow-origin") == "*");
  CHECK(p.post("", body).says(410));
  CHECK(p.post(token, R"([null,"1","phoenix","heartbeat",{}])").says(200));
}

TEST_CASE("longpoll: a malformed frame ends its session only") {
  for (std::string_view const bad : {"", "{}", "[]", "not json", "[\"1\",\"1\",\"\xff\",\"phx_join\",{}]", R"(["1"])"}) {
    polls p;
    std::string const token = p.joined(), other = p.joined();
    tab waits;
    p.ask(waits, {.token = token});
    CHECK(p.post(token, bad).body == R"({"status":408})");
    CHECK(p.post(token, R"([null,"1","phoenix","heartbeat",{}])").body == R"({"status":410})");
    CHECK(p.sessions.size() == 1);
    CHECK(p.log.take() == texts{"room:a: connection_error", "room:a: gone"});
    CHECK(p.post(other, R"([null,"1","phoenix","heartbeat",{}])").says(200));
    p.local.advance(10s);
    CHECK(waits.last.says(204));
  }
}

TEST_CASE("longpoll: a batch is checked completely, then processed line by line until the session ends") {
  polls p;
  std::string token = p.joined();
  auto const beat = [](int n) { return "[null,\"" + std::to_string(n) + R"(","phoenix","heartbeat",{}])"; };
  auto const answers = [&] {
    poll_result const g = p.poll(token);
    std::size_t n = 0;
    for (std::size_t at = 0; (at = g.body.find("phx_reply", at)) != std::string::npos; ++at) ++n;
    return n;
  };
  CHECK(p.batch(token, beat(1) + "\n" + beat(2) + "\r\n" + beat(3)).says(200));
  CHECK(answers() == 3);

  poll_result const g = p.batch(token, beat(1) + "\n!!!!");  // not base64: nothing is processed, the session continues
  CHECK(g.status == 500);
  CHECK(p.batch(token, beat(1) + R"(
{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"})")
            .status == 500);
  std::string many;
  for (int i = 0; i < 150; ++i) many += beat(i) + "\n";
  CHECK(p.batch(token, many + "!!!!").says(200));  // lines beyond a hundred are not checked
  CHECK(answers() == 100);

  // 00 01 01 06 03 "1" "2" "room:a" "bin" 00 ff 01
  CHECK(p.batch(token, beat(1) + "\nAAEBBgMxMnJvb206YWJpbgD/AQ==").says(200));
  CHECK(answers() == 1);

  CHECK(p.batch(token, beat(1) + "\n" + "[]\n" + beat(2)).says(408));
  CHECK(p.sessions.size() == 0);
  token = p.joined();
  CHECK(p.batch(token, beat(1) + "\n").says(408));  // an empty line is an empty binary frame
  CHECK(p.batch(p.joined(), "").says(408));
  std::string const two = beat(1) + "\n" + beat(2);  // with a parameter after the type: one frame, which is not JSON
  std::string_view const type = "application/x-ndjson; charset=utf-8";
  CHECK(p.now({.method = "POST", .token = p.joined(), .body = two, .type = type}).says(408));
}

TEST_CASE("longpoll: empty lines are skipped if configured") {
  polls p(1, {.skip_empty_lines = true});
  std::string const token = p.joined();
  CHECK(p.batch(token, "\n\r\n[null,\"1\",\"phoenix\",\"heartbeat\",{}]\n\n").says(200));
  CHECK(p.batch(token, "").says(200));
  CHECK(p.post(token, "").says(408));  // not a batch
}

TEST_CASE("longpoll: a line of base64 beyond its limit is 400; a body of newlines costs little") {
  polls p(1, {.base64 = 64});
  std::string const token = p.joined();
  CHECK(p.batch(token, std::string(68, 'A')).status == 400);
  CHECK(p.post(token, R"([null,"1","phoenix","heartbeat",{}])").says(200));
  CHECK(p.batch(token, std::string(64, '/')).says(408));  // read, but not a message
  polls q(1, {.skip_empty_lines = true});
  CHECK(q.batch(q.open(), std::string(8'000'000, '\n')).says(200));
}

TEST_CASE("longpoll: a frame that cannot be sent in a poll is dropped; strictly, one poll is answered 500") {
  for (bool const strict : {false, true}) {
    watcher seen;  // outlives the loop
    phx::mount m;
    m.bounds.strict_encoding = strict;
    polls p(1, {}, m);
    std::string const token = p.joined();
    auto const bytes = [&](std::string_view text) {  // an event `echo` with a binary payload
      std::string frame{'\0', '\1', '\1', '\6', '\4'};
      frame.append("12room:aecho").append(text);
      constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
      std::string line;
      while (frame.size() % 3 != 0) frame += ' ';
      for (std::size_t i = 0; i < frame.size(); i += 3) {
        unsigned const three = static_cast<unsigned>(static_cast<unsigned char>(frame[i])) << 16 |
                               static_cast<unsigned>(static_cast<unsigned char>(frame[i + 1])) << 8 |
                               static_cast<unsigned char>(frame[i + 2]);
        for (int k = 18; k >= 0; k -= 6) line += letters[three >> k & 63];
      }
      return line;
    };
    p.local[0].observe(seen);
    std::string const beat = R"([null,"7","phoenix","heartbeat",{}])";
    CHECK(p.batch(token, beat + "\n" + bytes("\xff\xfe") + "\n" + beat).says(200));
    if (strict) {
      poll_result const g = p.poll(token);
      CHECK(g.status == 500);
      CHECK(g.body.empty());
    }
    CHECK(seen.count("frame_dropped") == 1);
    std::string const answer = reply("null", R"("7")", "ok", "{}", "phoenix");
    CHECK(p.poll(token).messages() == '"' + answer + "\",\"" + answer + '"');
    // bytes that happen to be UTF-8 are sent as a string, as in Phoenix
    CHECK(p.batch(token, bytes("abc")).says(200));
    CHECK(p.poll(token).body.starts_with(R"({"messages":["\u0001\u0001\u0001\u0006\u000212room:aokabc)"));
    // a waiting poll keeps waiting, or is answered
    tab t;
    p.ask(t, {.token = token});
    CHECK(p.batch(token, bytes("\xff\xfe")).says(200));
    CHECK(t.asked.waiting() == !strict);
  }
}

TEST_CASE("longpoll: waiting frames are limited by limits::outbound, and the policy decides what follows") {
  for (phx::pressure_policy const policy : {phx::pressure_policy::close, phx::pressure_policy::drop_newest}) {
    phx::mount m;
    m.bounds.outbound = 1000;
    m.bounds.pressure = policy;
    polls p(1, {}, m);
    std::string const token = p.joined();
    std::string const shout = R"(["1","2","room:a","shout",{"n":"0123456789012345678901234567890"}])";
    for (int i = 0; i < 30; ++i) (void)p.post(token, shout);
    bool const lives = policy == phx::pressure_policy::drop_newest;
    CHECK(p.sessions.size() == (lives ? 1 : 0));
    if (!lives) {
      CHECK(p.poll(token).says(410));
      continue;
    }
    poll_result const g = p.poll(token);
    CHECK(g.says(200));
    (void)p.post(token, R"(["1","2","room:a","shout",{"n":1}])");
    // the frames after those of the first poll come with the next one
    poll_result const rest = p.poll(token);
    CHECK(g.body.size() + rest.body.size() < 2000);
    CHECK(rest.messages().ends_with('"' + shouted("shout", R"({"n":1})") + '"'));
  }
}

TEST_CASE("longpoll: the number of sessions is limited") {
  polls p(1, {}, {}, {}, 2);
  std::string const token = p.open();
  CHECK(!p.open().empty());
  poll_result const g = p.now({});
  CHECK(g.status == 503);
  CHECK(g.body.empty());
  CHECK(p.now({.query = "vsn=9.9.9"}).status == 503);
  p.local.advance(15s);
  CHECK(p.now({.query = "vsn=9.9.9"}).says(403));  // a refused client takes no place
  CHECK(!p.open().empty());
  CHECK(!p.open().empty());
  CHECK(p.open().empty());
}

TEST_CASE("longpoll: without entropy no session is opened") {
  phx::longpoll::entropy none;
  none.fill = [](void*, unsigned char*, std::size_t) noexcept { return false; };
  polls p(1, {}, {}, {}, 10, none);
  CHECK(p.now({}).status == 503);
  CHECK(p.sessions.size() == 0);
  CHECK(p.local[0].sockets() == 0);
}

TEST_CASE("longpoll: old clients get objects, version 2 gets strings") {
  phx::mount legacy;
  legacy.generation = phx::legacy::of<phx::generation::legacy>();
  polls p(1, {}, legacy);
  std::string const old = p.open(0, "vsn=1.0.0"), young = p.open();
  (void)p.post(old, R"({"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"})");
  (void)p.post(young, R"([null,"1","phoenix","heartbeat",{}])");
  CHECK(p.poll(old).body.starts_with(R"({"messages":[{"topic":"phoenix","event":"phx_reply",)"));
  CHECK(p.poll(young).body.starts_with(R"({"messages":["[null,\"1\",\"phoenix\",)"));

  // 0.10 to 0.14 poll at PATH/poll, with a sig that is ignored; 0.10 reads the HTTP status
  poll_result g = p.now({.query = "token=null&sig=null", .path = "/socket/poll"});
  CHECK(g.status == 410);
  CHECK(g.body.find(R"("status":410)") != std::string::npos);
  std::string const oldest = g.token();
  std::string_view const join = R"({"topic":"room:a","event":"join","payload":{}})";
  g = p.now({.method = "POST", .token = oldest, .body = join, .query = "", .path = "/socket/poll"});
  CHECK(g.status == 200);
  g = p.now({.token = oldest, .query = "sig=undefined", .path = "/socket/poll"});
  CHECK(g.status == 200);
  CHECK(g.body.starts_with(R"({"messages":[{"topic":"room:a")"));
  tab t;
  p.ask(t, {.token = oldest, .query = "", .path = "/socket/poll/"});
  p.local.advance(10s);
  CHECK(t.last.status == 200);  // not 204, which has no body
  CHECK(t.last.says(204));
  CHECK(p.now({.method = "POST", .query = "", .path = "/socket/poll"}).status == 410);
}

TEST_CASE("longpoll: at a mount of 0.10 the HTTP status counts, from 0.11 on only the body") {
  for (auto const g : {phx::generation::v0_10, phx::generation::v0_11, phx::generation::v0_14, phx::generation::v0_15}) {
    phx::mount m;
    m.generation = phx::legacy::of(g);
    polls p(1, {}, m);
    std::string_view const at = g < phx::generation::v0_15 ? "/socket/poll" : "/socket/longpoll";
    bool const real = g == phx::generation::v0_10;
    poll_result const opened = p.now({.query = "", .path = at});
    CHECK(opened.status == (real ? 410 : 200));
    CHECK(opened.body == R"({"messages":[],"status":410,"token":")" + opened.token() + "\"}");
    poll_result const refused = p.now({.query = "reject=1", .path = at});
    CHECK(refused.status == (real ? 403 : 200));
    CHECK(refused.body == R"({"status":403})");
    poll_result const dead = p.now({.method = "POST", .token = "nobody", .body = "{}", .query = "", .path = at});
    CHECK(dead.status == (real ? 410 : 200));
    CHECK(dead.body == R"({"status":410})");
  }
}

TEST_CASE("longpoll: at a mount of 0.10 an unmatched message and a refused join are 401: nothing else tells the client") {
  for (std::size_t const loop : {0u, 1u}) {
    phx::mount m;
    m.generation = phx::legacy::of<phx::generation::v0_10>();
    polls p(2, {}, m);
    std::string const token = p.now({.query = "", .path = "/socket/poll"}).token();
    auto const post = [&](std::string_view topic, std::string_view event, std::string_view payload = "{}") {
      std::string const text = R"({"topic":")" + std::string(topic) + R"(","event":")" + std::string(event) +
                               R"(","payload":)" + std::string(payload) + "}";
      return p.now({.method = "POST", .token = token, .body = text, .query = "", .path = "/socket/poll"}, loop);
    };
    for (poll_result const& no : {post("hall", "join"), post("room:a", "echo"), post("room:a", "join", R"({"deny":1})")}) {
      CHECK(no.status == 401);
      CHECK(no.body == R"({"status":401})");
    }
    CHECK(post("room:a", "join").status == 200);
    CHECK(post("room:a", "echo").status == 200);
    CHECK(post("phoenix", "heartbeat").status == 200);
    CHECK(p.sessions.size() == 1);
  }
  polls today;
  std::string const token = today.open();
  CHECK(today.post(token, R"(["1","1","hall","phx_join",{}])").says(200));
}

TEST_CASE("longpoll: a POST has a limit of its own, not that of WebSocket messages") {
  phx::mount m;
  m.bounds.frame = 200;
  polls p(1, {}, m);
  std::string const token = p.joined(), text = R"(["1","2","room:a","echo",")" + std::string(400, 'x') + "\"]";
  CHECK(p.post(token, text).says(200));
  CHECK(p.batch(token, text).says(200));
  CHECK(p.poll(token).body.size() > 800);
}

// ---- loops

TEST_CASE("longpoll: if the session ends, a poll on its way to its loop is answered 204, a POST and the next poll 410") {
  polls p(2);
  std::string const token = p.open(0, "vsn=2.0.0&user=bob");
  tab t, posts;
  (void)p.local.endpoint().disconnect("user:bob");  // in the mailbox before the other two
  p.ask(t, {.token = token}, 1);
  p.ask(posts, {.method = "POST", .token = token, .body = "[]"}, 1);
  p.local.settle();
  CHECK(posts.last.body == R"({"status":410})");
  CHECK(t.last.body == R"({"messages":[],"status":204,"token":")" + token + "\"}");
  CHECK(p.poll(token, 1).says(410));
}

TEST_CASE("longpoll: a later poll replaces the earlier one, on whichever loops the two arrived") {
  for (std::size_t const loop : {0u, 1u}) {
    polls p(2);
    std::string const token = p.joined(0);
    tab first, second;
    p.ask(first, {.token = token}, loop);
    p.local.settle();
    p.ask(second, {.token = token}, 1 - loop);
    p.local.settle();
    (void)p.local.endpoint().broadcast("room:a", "news", {});
    p.local.settle();
    CHECK(second.last.messages() == '"' + shouted("news", "{}") + '"');
    CHECK(first.responses == 0);
    p.local.advance(10s);
    CHECK(first.last.body == R"({"messages":[],"status":204,"token":")" + token + "\"}");
  }
}

TEST_CASE("longpoll: a session is found from every loop") {
  polls p(2);
  std::string const token = p.open(0);
  CHECK(p.post(token, join_a, 1).says(200));
  CHECK(p.local[0].channels() == 1);
  CHECK(p.local[1].channels() == 0);
  CHECK(p.poll(token, 1).messages() == '"' + reply(R"("1")", R"("1")") + '"');
  tab t;
  p.ask(t, {.token = token}, 1);
  p.local.settle();
  CHECK(t.asked.waiting());
  (void)p.local.endpoint().broadcast("room:a", "news", {});
  p.local.settle();
  CHECK(t.last.messages() == '"' + shouted("news", "{}") + '"');
  p.ask(t, {.token = token}, 1);
  p.local.advance(10s);
  CHECK(t.last.body == R"({"messages":[],"status":204,"token":")" + token + "\"}");
  CHECK(p.batch(token, "!!!!", 1).status == 500);
  CHECK(p.post(token, "{}", 1).says(408));
  CHECK(p.post(token, "[]", 1).says(410));
  CHECK(p.poll(token, 1).says(410));
  CHECK(p.local[1].sockets() == 1);  // the new one is on the loop of its request
}

TEST_CASE("longpoll: frames that another loop could not write, or that no request waited for, return to the session") {
  polls p(2);
  std::string const token = p.joined();
  auto const shout = [&](int n) { (void)p.post(token, R"(["1","2","room:a","shout",{"n":)" + std::to_string(n) + "}]"); };
  tab lost;
  lost.fails = true;
  shout(1);
  p.ask(lost, {.token = token}, 1);
  p.local.settle();
  CHECK(lost.responses == 1);
  shout(2);
  {
    tab gone;
    p.ask(gone, {.token = token}, 1);  // cancelled while the request is on its way
  }
  p.local.settle();
  tab held;
  held.hold = true;
  p.ask(held, {.token = token}, 1);
  p.local.settle();
  std::string const both = '"' + shouted("shout", R"({"n":1})") + "\",\"" + shouted("shout", R"({"n":2})") + '"';
  CHECK(held.last.messages() == both);
  held.held[0].failed();
  p.local.settle();
  CHECK(p.poll(token).messages() == both);
  tab waits;
  p.ask(waits, {.token = token}, 1);
  p.local.settle();
  CHECK(waits.asked.waiting());
}

TEST_CASE("longpoll: a poll that waits on another loop leaves no waiter behind") {
  polls p(2);
  std::string const token = p.joined();
  for (bool const late : {false, true}) {
    {
      tab t;
      p.ask(t, {.token = token}, 1);
      p.local.settle();
      if (late) p.local.advance(10s);  // 204
    }
    p.local.settle();
    (void)p.local.endpoint().broadcast("room:a", "news", {});
    p.local.settle();
    CHECK(p.poll(token).messages() == '"' + shouted("news", "{}") + '"');
  }
}

TEST_CASE("longpoll: a POST that its loop does not process in time is 408 at the end of the window") {
  polls p(2);
  std::string const token = p.joined();
  tab t;
  p.ask(t, {.method = "POST", .token = token, .body = R"(["1","2","room:a","note",{}])"}, 1);
  phx::time_point const later = p.local.now() + 10s;  // loop 0 is busy
  (void)p.local[1].run(later - 1ms);
  CHECK(t.responses == 0);
  (void)p.local[1].run(later);
  CHECK(t.last.body == R"({"status":408})");
}

TEST_CASE("longpoll: destroying a loop answers the polls of other loops that wait for it") {
  polls p(2);
  std::string const token = p.joined(0), other = p.joined(1);
  tab poll, own, post;
  p.ask(poll, {.token = token}, 1);
  p.local.settle();
  p.ask(own, {.token = token}, 0);  // replaced it
  p.ask(poll, {.token = token}, 1);
  p.local.settle();
  p.services[0].reset();
  CHECK(own.responses == 0);
  CHECK(!own.asked.waiting());
  CHECK(p.log.take() == texts{"room:a: closed", "room:a: gone"});
  p.local.settle();
  CHECK(poll.last.says(204));
  CHECK(p.sessions.size() == 1);
  CHECK(p.post(token, "[]", 1).says(410));
  CHECK(p.poll(token, 1).says(410));
  CHECK(p.poll(other, 1).status == 0);  // waits as before
}

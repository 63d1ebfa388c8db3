#include <phx/longpoll/longpoll.hpp>

#include <support/polls.hpp>

#include <doctest/doctest.h>

namespace {

using namespace support;

constexpr std::string_view join_a = R"(["1","1","room:a","phx_join",{}])";



}  // namespace

TEST_CASE("longpoll: the first GET opens a session, and is answered 410 with its token") {
  polls p;
  got const g = p.now({});
  CHECK(g.status == 200);
  CHECK(g.body == R"({"messages":[],"status":410,"token":")" + g.token() + "\"}");
  CHECK(g.token().size() == 43);
  CHECK(g.headers == std::map<std::string, std::string>{{"access-control-allow-origin", "*"},
                                                        {"cache-control", "no-store"},
                                                        {"content-type", "application/json; charset=utf-8"}});
  CHECK(p.sessions.size() == 1);
  CHECK(p.here[0].sockets() == 1);
  CHECK(p.open() != g.token());
}

TEST_CASE("longpoll: what is posted is processed before it is answered, and the answers come with the next poll") {
  polls p;
  std::string const token = p.open();
  got const g = p.post(token, join_a);
  CHECK(g.body == R"({"status":200})");
  CHECK(p.here[0].channels() == 1);
  CHECK(p.post(token, R"(["1","2","room:a","push_then_reply",{"x":1}])").says(200));
  got const polled = p.poll(token);
  CHECK(polled.says(200));
  CHECK(polled.token() == token);
  CHECK(polled.body.starts_with(R"({"messages":["[\"1\",\"1\",\"room:a\")"));
  CHECK(polled.messages() == '"' + reply(R"("1")", R"("1")") + "\",\"" + pushed("pushed", R"({"x":1})") + "\",\"" +
                                 reply(R"("1")", R"("2")") + '"');
}

TEST_CASE("longpoll: a poll waits for the first frame, and for the window's end") {
  polls p;
  std::string const token = p.joined();
  tab t;
  p.ask(t, {.token = token});
  CHECK(t.asked.waiting());
  p.here.advance(5s);
  CHECK(t.responses == 0);
  (void)p.here.endpoint().broadcast("room:a", "news", {});
  p.here.settle();
  CHECK(t.last.messages() == '"' + shouted("news", "{}") + '"');
  CHECK(!t.asked.waiting());

  p.ask(t, {.token = token});
  p.here.advance(9999ms);
  CHECK(t.responses == 1);
  p.here.advance(1ms);
  CHECK(t.last.body == R"({"messages":[],"status":204,"token":")" + token + "\"}");
}

TEST_CASE("longpoll: a preflight request is answered with what it asked for") {
  polls p;
  got const g = p.now({.method = "OPTIONS",
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

TEST_CASE("longpoll: other methods are answered 400 with nothing in it") {
  polls p;
  for (char const* const method : {"PUT", "DELETE", "HEAD", "get"}) {
    got const g = p.now({.method = method});
    CHECK(g.status == 400);
    CHECK(g.body.empty());
    CHECK(g.headers.at("access-control-allow-origin") == "*");
  }
}

#include <phx/longpoll/longpoll.hpp>

#include <support/polls.hpp>

#include <doctest/doctest.h>

namespace {

using namespace support;

/// A connection that is destroyed by its response.
struct self_destroying {
  std::optional<phx::longpoll::poll_request> asked{std::in_place, *this};
  int responses = 0;
  void respond(phx::longpoll::response) noexcept {
    ++responses;
    asked.reset();
  }
};

}  // namespace

TEST_CASE("poll_request: a cancelled or destroyed one gets no response, and its frames stay for the next poll") {
  for (bool const destroyed : {false, true}) {
    polls p;
    std::string const token = p.joined();
    auto t = std::make_unique<tab>();
    p.ask(*t, {.token = token});
    CHECK(t->asked.waiting());
    if (destroyed)
      t.reset();
    else
      t->asked.cancel();
    (void)p.local.endpoint().broadcast("room:a", "news", {});
    p.local.settle();
    if (t != nullptr) CHECK(t->responses == 0);
    CHECK(p.poll(token).messages() == '"' + shouted("news", "{}") + '"');
    p.local.advance(10s);
    if (t != nullptr) CHECK(t->responses == 0);
  }
}

TEST_CASE("poll_request: it may be destroyed while it responds: at once, at a frame and at the end of the window") {
  polls p;
  std::string const token = p.joined();
  auto const ask = [&](self_destroying& b, std::string const& query) {
    p.services[0]->serve(*b.asked, phx::request::of("GET", "/socket/longpoll?vsn=2.0.0" + query, {}), {}, p.local.now());
  };
  self_destroying opens, hears, waits;
  ask(opens, "");
  CHECK(opens.responses == 1);
  ask(hears, "&token=" + token);
  (void)p.local.endpoint().broadcast("room:a", "news", {});
  p.local.settle();
  CHECK(hears.responses == 1);
  ask(waits, "&token=" + token);
  p.local.advance(10s);
  CHECK(waits.responses == 1);
}

TEST_CASE("poll_request: a second request on it cancels the first") {
  polls p;
  std::string const a = p.joined(), b = p.joined();
  tab t;
  p.ask(t, {.token = a});
  p.ask(t, {.token = b});
  p.local.advance(10s);
  CHECK(t.responses == 1);
  CHECK(t.last.token() == b);
}

TEST_CASE("response: frames that were not written come with the next poll, before newer ones, in order") {
  polls p;
  std::string const token = p.joined();
  tab lost;
  lost.fails = true;
  (void)p.post(token, R"(["1","2","room:a","shout",{"n":1}])");
  (void)p.post(token, R"(["1","3","room:a","shout",{"n":2}])");
  p.ask(lost, {.token = token});
  CHECK(lost.responses == 1);
  (void)p.post(token, R"(["1","4","room:a","shout",{"n":3}])");
  auto const n = [](int i) { return shouted("shout", "{\"n\":" + std::to_string(i) + "}"); };
  CHECK(p.poll(token).messages() == '"' + n(1) + "\",\"" + n(2) + "\",\"" + n(3) + '"');
  tab t;
  p.ask(t, {.token = token});
  CHECK(t.asked.waiting());
}

TEST_CASE("response: of two being written, the frames of the failed one are sent again, those of the other are not") {
  polls p;
  std::string const token = p.joined();
  tab first, second;
  first.hold = second.hold = true;
  (void)p.post(token, R"(["1","2","room:a","shout",{"n":1}])");
  p.ask(first, {.token = token});
  (void)p.post(token, R"(["1","3","room:a","shout",{"n":2}])");
  p.ask(second, {.token = token});
  first.held[0].failed();
  second.held[0].written();
  second.held.clear();
  CHECK(p.poll(token).messages() == '"' + shouted("shout", R"({"n":1})") + '"');
  first.held.clear();  // a second report is ignored
  tab t;
  p.ask(t, {.token = token});
  CHECK(t.asked.waiting());
}

TEST_CASE("response: one that its host forgot, or moved from, was not written; the first report counts") {
  for (std::size_t const loop : {0u, 1u}) {
    CAPTURE(loop);
    polls p(2);
    std::string const token = p.joined();
    auto const n = [](int i) { return '"' + shouted("shout", "{\"n\":" + std::to_string(i) + "}") + '"'; };
    auto const held = [&](int i) {
      (void)p.post(token, R"(["1","2","room:a","shout",{"n":)" + std::to_string(i) + "}]");
      tab t;
      t.hold = true;
      p.ask(t, {.token = token}, loop);
      p.local.settle();
      REQUIRE(t.held.size() == 1);
      return std::move(t.held[0]);
    };
    { phx::longpoll::response const forgotten = held(1); }
    p.local.settle();
    CHECK(p.poll(token).messages() == n(1));
    {
      phx::longpoll::response r = held(2);
      r.written();
      r.failed();
    }
    p.local.settle();
    {
      phx::longpoll::response r = held(3);
      r.failed();
      r.written();
    }
    p.local.settle();
    CHECK(p.poll(token).messages() == n(3));
    {
      phx::longpoll::response r = held(4), other = held(5);
      r = std::move(other);  // the fourth was not written
      r.written();
    }
    p.local.settle();
    CHECK(p.poll(token).messages() == n(4));
    tab t;
    p.ask(t, {.token = token});
    CHECK(t.asked.waiting());
  }
}

TEST_CASE("response: whichever of several fail, in any order, their frames return in the order of sending") {
  int orders[] = {0, 1, 2};
  do {
    for (unsigned written = 0; written < 7; ++written) {
      polls p;
      std::string const token = p.joined();
      tab each[3];
      std::string wanted;
      for (unsigned i = 0; i < 3; ++i) {
        each[i].hold = true;
        for (unsigned k = 0; k < 2; ++k) {
          std::string const n = std::to_string(10 * i + k);
          (void)p.post(token, "[\"1\",\"" + n + R"(","room:a","echo",{}])");
          if ((written >> i & 1) == 0) wanted += (wanted.empty() ? "\"" : ",\"") + reply("\"1\"", '"' + n + '"') + '"';
        }
        p.ask(each[i], {.token = token});
        p.local.settle();
        REQUIRE(each[i].held.size() == 1);
      }
      for (int const i : orders) {
        if ((written >> i & 1) != 0)
          each[i].held[0].written();
        else if (i != 1)
          each[i].held[0].failed();  // the second one is destroyed without a report
        each[i].held.clear();
      }
      CHECK(p.poll(token).messages() == wanted);
    }
  } while (std::next_permutation(std::begin(orders), std::end(orders)));
}

TEST_CASE("response: a failed one answers a poll that already waits") {
  polls p;
  std::string const token = p.joined();
  tab first, waits;
  first.hold = true;
  (void)p.post(token, R"(["1","2","room:a","shout",{"n":1}])");
  p.ask(first, {.token = token});
  p.ask(waits, {.token = token});
  CHECK(waits.asked.waiting());
  first.held[0].failed();
  CHECK(waits.last.messages() == '"' + shouted("shout", R"({"n":1})") + '"');
}

TEST_CASE("response: a failed one may be moved by the poll that it answers") {
  polls p;
  std::string const token = p.joined();
  tab t;  // keeps both responses in one vector, whose growth moves the first
  t.hold = true;
  (void)p.post(token, R"(["1","2","room:a","shout",{"n":1}])");
  p.ask(t, {.token = token});
  p.ask(t, {.token = token});
  REQUIRE(t.held.size() == 1);
  t.held.shrink_to_fit();
  t.held[0].failed();
  REQUIRE(t.held.size() == 2);
  CHECK(t.last.messages() == '"' + shouted("shout", R"({"n":1})") + '"');
  t.held[1].written();
  tab waits;
  p.ask(waits, {.token = token});
  CHECK(waits.asked.waiting());
}

TEST_CASE("response: it may outlive its session and its service") {
  tab t, u;
  t.hold = u.hold = true;
  {
    polls p;
    std::string const token = p.open(0, "vsn=2.0.0&user=bob"), other = p.joined();
    (void)p.post(token, R"([null,"1","phoenix","heartbeat",{}])");
    (void)p.post(other, R"([null,"1","phoenix","heartbeat",{}])");
    p.ask(t, {.token = token});
    p.ask(u, {.token = other});
    CHECK(t.last.says(200));
    (void)p.local.endpoint().disconnect("user:bob");
    p.local.settle();
    CHECK(p.sessions.size() == 1);
    std::string const body(t.held[0].body());
    t.held[0].failed();
    CHECK(body.find("heartbeat") == std::string::npos);
  }
  CHECK(u.held[0].body().find("phx_reply") != std::string_view::npos);
  u.held[0].failed();
  u.held.clear();
}

TEST_CASE("response: moving it changes nothing") {
  polls p;
  tab t, u;
  t.hold = u.hold = true;
  p.ask(t, {});
  p.ask(u, {.method = "OPTIONS", .headers = {{"access-control-request-headers", "a-header-of-some-length"}}});
  phx::longpoll::response r = std::move(t.held[0]);
  CHECK(r.body() == t.last.body);
  r = std::move(u.held[0]);
  CHECK(r.http().headers.size() == 5);
  CHECK(r.http().status == 200);
  CHECK(r.body().empty());
}

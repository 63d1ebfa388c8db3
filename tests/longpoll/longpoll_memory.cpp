// Long-polling with little memory: abandoned sessions, and every allocation that can fail.
#include <phx/longpoll/longpoll.hpp>

#include <support/polls.hpp>

#include <doctest/doctest.h>

namespace {

using namespace support;

phx::limits counted() {
  phx::limits l;
  l.memory = metered::hook();
  l.mailbox_bytes = 100'000;  // so small that no frames are kept
  return l;
}

/// A typical sequence of requests: two clients of one loop, the second of which also uses another loop.
int chatter(polls& p, int& unanswered) {
  int fine = 0;
  auto const counted_up = [&](poll_result const& g) {
    if (g.status == 0) ++unanswered;
    return g.says(200) ? 1 : 0;
  };
  std::string const token = p.open(), other = p.open();
  std::string const join = R"(["1","1","room:a","phx_join",{}])";
  fine += counted_up(p.post(token, join));
  fine += counted_up(p.post(other, join, 1));
  tab waits, afar, fails;
  p.ask(waits, {.token = token});
  std::string const two = R"(["1","2","room:a","shout",{}])"
                          "\nAAEBBgQxM3Jvb206YWVjaG8=";
  fine += counted_up(p.batch(other, two, 1));
  p.local.settle();
  p.ask(afar, {.token = other}, 1);
  p.local.settle();
  fails.fails = true;
  (void)p.local.endpoint().broadcast("room:a", "news", {});
  p.local.settle();
  p.ask(fails, {.token = other}, 1);
  p.local.advance(10s);
  fine += waits.last.status == 200 && waits.responses == 1 ? 1 : 0;
  if (waits.responses != 1 || afar.responses != 1 || fails.responses != 1) ++unanswered;
  p.ask(waits, {.token = token}, 1);
  p.local.advance(10s);
  if (waits.responses != 2) ++unanswered;
  p.local.advance(30s);
  return fine;
}

}  // namespace

TEST_CASE("longpoll: 10,000 sessions opened and abandoned leave nothing behind") {
  metered::reset();
  {
    polls p(1, {}, {}, counted());
    std::ptrdiff_t after_one_round = 0;
    for (int round = 0; round < 2; ++round) {
      std::ptrdiff_t const before = metered::bytes;
      std::string const join = R"(["1","1","room:a","phx_join",{}])";
      for (int i = 0; i < 10'000; ++i) {
        tab t;
        p.ask(t, {});
        if (i % 10 != 0) continue;
        p.ask(t, {.method = "POST", .token = t.last.token(), .body = join});
      }
      CHECK(p.sessions.size() == 10'000);
      std::ptrdiff_t const each = (metered::bytes - before) / 10'000;
      MESSAGE("bytes of a session, every tenth with a channel and a frame: " << each);
      CHECK(each < 2048);
      p.local.advance(15s);
      CHECK(p.sessions.size() == 0);
      CHECK(p.local[0].sockets() == 0);
      CHECK(p.local[0].topics() == 0);
      // the loop's table of slots remains, 16 bytes for each slot ever used, and ours
      if (round == 0) after_one_round = metered::bytes;
      CHECK(metered::bytes < 1'000'000);
      CHECK(metered::bytes <= after_one_round);
    }
  }
  CHECK(metered::bytes == 0);
  CHECK(!metered::wrong_size);
}

TEST_CASE("longpoll: whichever allocation fails, every request is answered, nothing leaks, and later requests are served") {
  metered::reset();
  int most = 0, unanswered = 0;
  std::size_t total = 0, start = 0;
  {
    polls p(2, {}, {}, counted());
    start = metered::allocations;
    most = chatter(p, unanswered);
    total = metered::allocations;
  }
  CHECK(most == 4);
  CHECK(unanswered == 0);
  CHECK(metered::bytes == 0);
  REQUIRE(total > start);
  for (bool const all_after : {false, true})
    for (std::size_t n = 0; n < total - start; ++n) {
      metered::reset();
      {
        polls p(2, {}, {}, counted());
        metered::fail_at = metered::allocations + n;
        metered::fail_on = all_after;
        int const fine = chatter(p, unanswered);
        CHECK(fine <= most);
        metered::fail_at = SIZE_MAX;
        metered::fail_on = false;
        p.local.advance(40s);
        CHECK(p.sessions.size() == 0);
        CHECK(unanswered == 0);
        CHECK(chatter(p, unanswered) == most);
      }
      CHECK(metered::bytes == 0);
      CHECK(!metered::wrong_size);
    }
}

TEST_CASE("longpoll: without memory a request is answered 503, and frames stay for the next poll") {
  metered::reset();
  {
    polls p(1, {}, {}, counted());
    std::string const token = p.joined();
    (void)p.post(token, R"(["1","2","room:a","shout",{"n":1}])");
    metered::fail_at = metered::allocations.load();
    metered::fail_on = true;
    CHECK(p.poll(token).status == 503);
    CHECK(p.now({}).status == 503);
    metered::fail_at = SIZE_MAX;
    metered::fail_on = false;
    CHECK(p.poll(token).messages() == '"' + shouted("shout", R"({"n":1})") + '"');
    CHECK(p.sessions.size() == 1);
  }
  CHECK(metered::bytes == 0);
}

#include <phx/loop/report_refusal.hpp>
#include <phx/metrics/metrics.hpp>

#include <support/heap.hpp>
#include <support/room.hpp>

#include <algorithm>
#include <thread>

using namespace support;

namespace {

/// The value of one sample: `name{labels}`; "absent" if there is none.
std::string sample(phx::metrics const& of, std::string_view series) {
  std::string const text = '\n' + of.text();
  std::string const wanted = '\n' + std::string(series) + ' ';
  std::size_t const at = text.find(wanted);
  return at == std::string::npos ? "absent" : text.substr(at + wanted.size(), text.find('\n', at + 1) - at - wanted.size());
}

phx::http::request scrape(std::string_view peer, std::string_view path = "/metrics", std::string_view method = "GET") {
  phx::http::request r;
  r.method = method;
  r.path = path;
  r.peer.address = peer;
  return r;
}

struct counting_observer {
  std::size_t events = 0;
  void on_event(phx::telemetry_event const&) noexcept { ++events; }
};

}  // namespace

TEST_CASE("metrics: joins are counted by topic pattern and by one outcome each") {
  phx::metrics m({.topics = {"room:a", "room:*"}});
  talk t;
  m.observe(t.c.loop());
  (void)t.join("room:a", "1");
  (void)t.join("room:b", "2");
  (void)t.join("room:c", "3", R"({"deny":1})");
  (void)t.join("room:d", "4", R"({"later":1})");
  t.c.advance(5s);  // its deadline
  (void)t.join("room:e", "5", R"({"forever":1})");
  t.log.ids["room:e"].refused({});
  t.c.settle();
  (void)t.join("hall", "6");
  CHECK(sample(m, R"(phx_joins_total{topic="room:a",outcome="ok"})") == "1");
  CHECK(sample(m, R"(phx_joins_total{topic="room:*",outcome="ok"})") == "1");
  CHECK(sample(m, R"(phx_joins_total{topic="room:*",outcome="refused"})") == "2");
  CHECK(sample(m, R"(phx_joins_total{topic="room:*",outcome="timed_out"})") == "1");
  CHECK(sample(m, R"(phx_joins_total{topic="other",outcome="ok"})") == "0");
  CHECK(sample(m, R"(phx_events_total{event="unmatched_topic"})") == "1");
}

TEST_CASE("metrics: handlers, ends of channels and closed sockets are counted") {
  phx::metrics m({.topics = {"room:*"}});
  talk t;
  m.observe(t.c.loop());
  (void)t.join();
  (void)t.tell("echo");
  (void)t.tell("echo");
  (void)t.tell("bad_json");  // what it pushes cannot be encoded: the channel ends with an error
  CHECK(sample(m, R"(phx_handled_in_total{topic="room:*"})") == "2");
  CHECK(sample(m, R"(phx_handlers_crashed_total{topic="room:*"})") == "1");
  CHECK(sample(m, R"(phx_channels_ended_total{topic="room:*",reason="error"})") == "1");
  (void)t.join("room:a", "2");
  (void)t.say(R"(["2","3","room:a","phx_leave",{}])");
  CHECK(sample(m, R"(phx_channels_ended_total{topic="room:*",reason="left"})") == "1");
  (void)t.say("not json");
  CHECK(t.c.close_code() == 1011);
  CHECK(sample(m, R"(phx_sockets_closed_total{code="1011"})") == "1");
  CHECK(sample(m, R"(phx_sockets_closed_total{code="1000"})") == "0");
  CHECK(sample(m, "phx_events_total{event=\"malformed\"}") == "1");
  CHECK(sample(m, "phx_events_total{event=\"socket_closed\"}") == "1");
}

TEST_CASE("metrics: gauges and traffic are the loop's, copied once an interval") {
  phx::metrics m({.topics = {}, .interval = 10s});
  talk t;
  m.observe(t.c.loop());
  t.c.settle();
  CHECK(sample(m, R"(phx_sockets{loop="0"})") == "1");
  CHECK(sample(m, R"(phx_channels{loop="0"})") == "0");
  (void)t.join();
  t.c.advance(9s);
  CHECK(sample(m, R"(phx_channels{loop="0"})") == "0");
  t.c.advance(1s);
  CHECK(sample(m, R"(phx_channels{loop="0"})") == "1");
  CHECK(sample(m, R"(phx_topics{loop="0"})") == "1");
  CHECK(sample(m, R"(phx_messages_received_total{loop="0"})") == "1");
  CHECK(sample(m, R"(phx_messages_sent_total{loop="0"})") == std::to_string(t.c.loop().traffic().messages_out));
  CHECK(sample(m, R"(phx_received_bytes_total{loop="0"})") == std::to_string(t.c.loop().traffic().bytes_in));
  CHECK(sample(m, R"(phx_sent_bytes_total{loop="0"})") == std::to_string(t.c.loop().traffic().bytes_out));
}

TEST_CASE("metrics: the lag of a loop is how late its timer ran, in cumulative buckets") {
  phx::metrics m;
  talk t;
  m.observe(t.c.loop());
  t.c.settle();
  (void)t.c.loop().run(t.c.loops().now() + 1s + 700us);
  (void)t.c.loop().run(t.c.loops().now() + 1s + 700us + 1s + 60ms);
  CHECK(sample(m, R"(phx_loop_lag_seconds_bucket{loop="0",le="0.0005"})") == "0");
  CHECK(sample(m, R"(phx_loop_lag_seconds_bucket{loop="0",le="0.001"})") == "1");
  CHECK(sample(m, R"(phx_loop_lag_seconds_bucket{loop="0",le="0.05"})") == "1");
  CHECK(sample(m, R"(phx_loop_lag_seconds_bucket{loop="0",le="0.1"})") == "2");
  CHECK(sample(m, R"(phx_loop_lag_seconds_bucket{loop="0",le="+Inf"})") == "2");
  CHECK(sample(m, R"(phx_loop_lag_seconds_sum{loop="0"})") == "0.0607");
  CHECK(sample(m, R"(phx_loop_lag_seconds_count{loop="0"})") == "2");
}

namespace {
std::int64_t fake_nanoseconds = 1;
}

TEST_CASE("metrics: one handler in 64 is timed, by topic pattern; without a clock none is") {
  phx::metrics without({.topics = {"room:*"}});
  phx::metrics m({.topics = {"room:*"}, .clock = []() noexcept { return fake_nanoseconds += 30'000; }});
  talk t;
  m.observe(t.c.loop());
  (void)t.join();
  for (int i = 0; i < 63; ++i) (void)t.tell("echo");
  CHECK(sample(m, R"(phx_handler_seconds_count{topic="room:*"})") == "0");
  (void)t.tell("echo");
  CHECK(sample(m, R"(phx_handler_seconds_count{topic="room:*"})") == "1");
  CHECK(sample(m, R"(phx_handler_seconds_sum{topic="room:*"})") == "0.00003");
  CHECK(sample(m, R"(phx_handler_seconds_bucket{topic="room:*",le="0.00001"})") == "0");
  CHECK(sample(m, R"(phx_handler_seconds_bucket{topic="room:*",le="0.00005"})") == "1");
  CHECK(sample(m, R"(phx_handler_seconds_count{topic="other"})") == "0");
  CHECK(sample(m, R"(phx_handled_in_total{topic="room:*"})") == "64");
  for (int i = 0; i < 63; ++i) (void)t.tell("echo");
  (void)t.tell("bad_json");  // the one that would be timed crashes
  (void)t.join("room:a", "2");
  (void)t.say(R"(["2","3","room:a","echo",{}])");
  CHECK(sample(m, R"(phx_handler_seconds_count{topic="room:*"})") == "1");
  CHECK(sample(m, R"(phx_handled_in_total{topic="room:*"})") == "128");
  CHECK(sample(without, R"(phx_handler_seconds_count{topic="room:*"})") == "absent");
}

TEST_CASE("metrics: another observer receives every event too") {
  phx::metrics m;
  counting_observer after;
  talk t;
  m.observe(t.c.loop(), after);
  (void)t.join();
  (void)t.tell("echo");
  CHECK(after.events == 2);
  CHECK(sample(m, R"(phx_events_total{event="handled_in"})") == "1");
}

TEST_CASE("metrics: refused requests are counted by reason, and a name that is no reason is counted as an event only") {
  phx::metrics m;
  talk t;
  m.observe(t.c.loop());
  phx::report_refusal(t.c.loop(), phx::refuse(phx::refusal::origin));
  phx::report_refusal(t.c.loop(), phx::refuse(phx::refusal::too_many));
  CHECK(sample(m, R"(phx_connects_refused_total{reason="origin"})") == "1");
  CHECK(sample(m, R"(phx_connects_refused_total{reason="too_many"})") == "1");
  CHECK(sample(m, R"(phx_connects_refused_total{reason="vsn"})") == "0");
  CHECK(sample(m, R"(phx_events_total{event="connect_refused"})") == "2");
}

TEST_CASE("metrics: what clients write becomes no label, and a pattern of the host's is escaped") {
  phx::metrics m({.topics = {"room:\"\\\n*"}});
  talk t;
  m.observe(t.c.loop());
  auto const lines_of = [&m] {
    std::string const text = m.text();
    return std::count(text.begin(), text.end(), '\n');
  };
  auto const lines = lines_of();
  for (int i = 0; i < 50; ++i) (void)t.join("room:" + std::to_string(i), std::to_string(i + 1));
  CHECK(lines_of() == lines);
  CHECK(m.text().find("room:1") == std::string::npos);
  CHECK(sample(m, R"(phx_joins_total{topic="room:\"\\\n*",outcome="ok"})") == "0");
  CHECK(sample(m, R"(phx_joins_total{topic="other",outcome="ok"})") == "50");
}

TEST_CASE("metrics: a scrape is answered to loopback addresses only, and not through a proxy") {
  phx::metrics m;
  CHECK_FALSE(m.answer(scrape("127.0.0.1", "/other")));
  CHECK(m.answer(scrape("127.0.0.1"))->status == 200);
  CHECK(m.answer(scrape("127.8.9.1"))->status == 200);
  CHECK(m.answer(scrape("::1"))->status == 200);
  CHECK(m.answer(scrape("::ffff:127.0.0.1"))->status == 200);
  CHECK(m.answer(scrape("127.0.0.1", "/metrics", "HEAD"))->status == 200);
  CHECK(m.answer(scrape("127.0.0.1", "/metrics", "POST"))->status == 405);
  for (std::string_view const stranger : {"10.0.0.1", "::2", "2001:db8::1", "", "localhost", "127.0.0.1.example.com"})
    CHECK(m.answer(scrape(stranger))->status == 403);
  phx::http::request proxied = scrape("127.0.0.1");
  for (char const* name : {"X-Forwarded-For", "x-forwarded-proto", "forwarded", "X-Real-IP", "Via"}) {
    phx::http::header const through[] = {{name, "for=1.2.3.4"}};
    proxied.headers = through;
    CHECK(m.answer(proxied)->status == 403);
  }
  CHECK(m.answer(scrape("::1"))->body.starts_with("# HELP phx_sockets_connected_total "));
}

TEST_CASE("metrics: a scrape runs beside the loops, and sums over them") {
  phx::metrics m({.topics = {"room:*"}, .interval = 1ms});
  constexpr std::size_t loops = 2;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < loops; ++i)
    threads.emplace_back([&] {
      talk t;
      m.observe(t.c.loop());
      for (int n = 1; n <= 200; ++n) {
        (void)t.join("room:" + std::to_string(n % 8), std::to_string(n));
        t.c.advance(1ms);
      }
      while (!stop.load()) std::this_thread::yield();  // the loop lives until all has been read
    });
  while (sample(m, R"(phx_joins_total{topic="room:*",outcome="ok"})") != "400") std::this_thread::yield();
  CHECK(sample(m, R"(phx_events_total{event="channel_joined"})") == "400");
  CHECK(sample(m, R"(phx_mailbox_waiting{loop="1"})") == "0");
  stop.store(true);
  for (std::thread& t : threads) t.join();
}

#ifdef __cpp_exceptions
TEST_CASE("metrics: a loop that cannot be observed without memory is left as it was") {
  bool failed = true;
  for (std::size_t n = 0; failed; ++n) {
    phx::metrics m({.topics = {"room:*"}});
    talk t;
    failed = false;
    {
      heap::failure const f(n);
      try {
        m.observe(t.c.loop());
      } catch (std::bad_alloc const&) {
        failed = true;
      }
    }
    (void)t.join("room:a");
    CHECK(sample(m, R"(phx_joins_total{topic="room:*",outcome="ok"})") == (failed ? "0" : "1"));
    if (!failed) CHECK(n >= 2);
  }
}
#endif

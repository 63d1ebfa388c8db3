#include <phx/adapter/blocking.hpp>
#include <phx/adapter/blocking_longpoll.hpp>

#include <doctest/doctest.h>

#include <csignal>
#include <future>
#include <thread>

#include "support/descriptors.hpp"
#include "support/eventually.hpp"
#include "support/host_kicks.hpp"
#include "support/host_pace.hpp"
#include "support/host_polls.hpp"
#include "support/raw_client.hpp"
#include "support/slow.hpp"

using namespace std::chrono_literals;
using phx_tests::eventually;
using phx_tests::in_time;
using phx_tests::poller;
using phx_tests::raw_client;
using phx_tests::request;

namespace {

using room = phx_tests::host_room;

/// The events of the observer, for tests that have stopped the server.
struct log {
  std::vector<std::string> lines{};
  std::atomic<int> closed{0}, pressed{0};
  void on_event(phx::telemetry_event const& n) noexcept {
    if (n.kind == phx::event_code::socket_closed) ++closed;
    if (n.kind == phx::event_code::pressure) ++pressed;
    lines.push_back(std::string(to_string(n.kind)) + " " + std::string(n.event) + " " + std::string(n.text));
  }
  [[nodiscard]] bool has(std::string_view text) const {
    for (std::string const& l : lines)
      if (l.starts_with(text)) return true;
    return false;
  }
};

phx::blocking::options quick(phx::mount m = {}) {
  phx::blocking::options o{.port = 0, .mount = std::move(m)};
  o.goodbye = 500ms;
  return o;
}

/// A server on a thread of its own, stopped at the end of the scope.
template <class Polls>
struct running_with {
  explicit running_with(phx::blocking::options o = quick(), Polls const& polls = {}) : server(app, std::move(o), polls) {
    app.channel<room>("room:*");
    phx_tests::serve_floods(app);
    server.observe(seen);
    thread = std::thread([this] { server.run(); });
  }
  ~running_with() { stop(); }
  void stop() {
    server.stop();
    if (thread.joinable()) thread.join();
  }
  raw_client client(int receive_buffer = 0) const { return raw_client(server.port(), receive_buffer); }
  raw_client joined(std::string const& topic = "room:a") const {
    raw_client c = client();
    REQUIRE(c.open() == 101);
    REQUIRE(c.text("[\"1\",\"1\",\"" + topic + "\",\"phx_join\",{}]"));
    REQUIRE(c.read().data == "[\"1\",\"1\",\"" + topic + "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]");
    return c;
  }
  phx::router<> app{};
  log seen{};
  phx::blocking::server<phx::router<>, Polls> server;
  std::thread thread;
};
using running = running_with<phx::blocking::no_long_polling>;
using running_polls = running_with<phx::blocking::long_polling>;

}  // namespace

TEST_CASE("blocking: a client upgrades, joins, and gets an echo") {
  running r;
  raw_client c = r.joined();
  CHECK(c.head().find("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") != std::string::npos);
  CHECK(c.text(R"(["1","2","room:a","echo",{"n":1}])"));
  raw_client::message const m = c.read();
  CHECK(m.first == 0x81);
  CHECK(m.data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"n":1}}])");
  CHECK(c.close(1000));
  CHECK(c.read().closed() == 1000);
  CHECK(c.read().ended);
}

TEST_CASE("blocking: frames sent with the request are not lost") {
  running r;
  raw_client c = r.client();
  CHECK(c.send(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
               raw_client::frame(0x81, R"([null,"1","phoenix","heartbeat",{}])") +
               raw_client::frame(0x81, R"([null,"2","phoenix","heartbeat",{}])")));
  CHECK(c.read_head() == 101);
  CHECK(c.read().data == R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])");
  CHECK(c.read().data == R"([null,"2","phoenix","phx_reply",{"status":"ok","response":{}}])");
}

TEST_CASE("blocking: a request may arrive byte by byte") {
  running r;
  raw_client c = r.client();
  for (char const byte : raw_client::upgrade_request("/socket/websocket?vsn=2.0.0")) CHECK(c.send({&byte, 1}));
  CHECK(c.read_head() == 101);
}

TEST_CASE("blocking: a request that is not an upgrade of the mount is answered, and the connection ends") {
  running r;
  auto const asks = [&](std::string const& bytes) {
    raw_client c = r.client();
    CHECK(c.send(bytes));
    unsigned const status = c.read_head();
    CHECK(c.read_end());
    return status;
  };
  CHECK(asks("GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: h\r\n\r\n") == 400);
  CHECK(asks("POST /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}") == 400);
  CHECK(asks(raw_client::upgrade_request("/other")) == 404);
  CHECK(asks(raw_client::upgrade_request("/socket/websocket?vsn=9.0.0")) == 403);
  CHECK(asks(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0", "origin: http://evil.example\r\n")) == 403);
  CHECK(asks(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0", "content-length: 9\r\n")) == 400);
  CHECK(asks("nonsense\r\n\r\n") == 400);
  CHECK(asks("GET / HTTP/1.0\r\nhost: h\r\n\r\n") == 404);
  CHECK(asks("GET / HTTP/2.0\r\nhost: h\r\n\r\n") == 505);
  CHECK(asks("GET /socket/websocket?vsn=2.0.0#here HTTP/1.1\r\nhost: h\r\n\r\n") == 400);
  CHECK(asks(raw_client::upgrade_request("/", "x: " + std::string(20'000, 'x') + "\r\n")) == 431);
  r.stop();
  CHECK(r.seen.has("connect_refused path /other"));
  CHECK(r.seen.has("connect_refused origin "));
}

TEST_CASE("blocking: a client that takes too long to send a request is disconnected") {
  CHECK(in_time(100ms, [](std::chrono::milliseconds handshake) {
    auto o = quick();
    o.handshake = handshake;
    running r(o);
    raw_client c = r.client();
    (void)c.send("GET /socket/websocket HTTP/1.1\r\n");
    bool const notified = c.read_head() == 408;
    CHECK(c.read_end());
    return notified;
  }));
}

TEST_CASE("blocking: a ping is answered with its data, a pong is not answered") {
  running r;
  raw_client c = r.joined();
  CHECK(c.send(raw_client::frame(0x8a, "unasked") + raw_client::frame(0x89, "are you there") + raw_client::frame(0x89, "")));
  raw_client::message m = c.read();
  CHECK(m.first == 0x8a);
  CHECK(m.data == "are you there");
  m = c.read();
  CHECK(m.first == 0x8a);
  CHECK(m.data.empty());
}

TEST_CASE("blocking: a client's close is answered as Phoenix's server does") {
  running r;
  for (auto const& [sent, answer] :
       {std::pair{1000u, 1000u}, {1001u, 1000u}, {3000u, 1000u}, {4999u, 1000u}, {1005u, 1002u}, {1012u, 1002u}}) {
    raw_client c = r.joined();
    CHECK(c.close(sent));
    CHECK(c.read().closed() == answer);
    CHECK(c.read().ended);
  }
  raw_client c = r.joined();
  CHECK(c.send(raw_client::frame(0x88, "")));
  c.end_sending();  // its response still arrives
  CHECK(c.read().closed() == 1000);
}

TEST_CASE(
    "blocking: 1002 for invalid frames, 1009 for too large ones, 1007 for invalid UTF-8, 1011 for malformed messages") {
  phx::mount m;
  m.bounds.frame = 1000;
  running r(quick(m));
  auto const ends = [&](std::string const& bytes) {
    raw_client c = r.joined();
    CHECK(c.send(bytes));
    unsigned const code = c.read_close();
    CHECK(c.read_end());
    return code;
  };
  CHECK(ends("\x81\x02hi") == 1002);
  CHECK(ends(raw_client::frame(0xc1, "[]")) == 1002);
  CHECK(ends(raw_client::frame(0x80, "stray")) == 1002);
  CHECK(ends(raw_client::frame(0x81, std::string(1001, 'x'))) == 1009);
  CHECK(ends(raw_client::frame(0x01, std::string(600, 'x')) + raw_client::frame(0x80, std::string(600, 'x'))) == 1009);
  CHECK(ends(raw_client::frame(0x81, "\xff")) == 1007);
  CHECK(ends(raw_client::frame(0x81, "not json")) == 1011);
}

TEST_CASE("blocking: data after an invalid frame is read, so that a reset does not destroy the close frame") {
  auto o = quick();
  o.goodbye = 60s;
  running r(o);
  raw_client c = r.joined();
  CHECK(c.send(raw_client::frame(0xc1, "[]") + std::string(32 << 20, 'x')));
  CHECK(c.read_close() == 1002);
}

TEST_CASE("blocking: a message may arrive in fragments, byte by byte, or both") {
  running r;
  raw_client c = r.joined();
  std::string const message = R"(["1","2","room:a","echo",{"k":"é"}])";
  std::string bytes;
  for (std::size_t i = 0; i < message.size(); ++i)
    bytes += raw_client::frame((i == 0 ? 1u : 0u) | (i + 1 == message.size() ? 0x80u : 0u), message.substr(i, 1)) +
             (i + 1 == message.size() ? "" : raw_client::frame(0x8a, "alive"));
  for (std::size_t at = 0; at < bytes.size(); at += 5) CHECK(c.send(std::string_view(bytes).substr(at, 5)));
  CHECK(c.read().data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"k":"é"}}])");
}

TEST_CASE("blocking: a large message arrives completely in both directions") {
  running r;
  raw_client c = r.joined();
  std::string const fill(3'000'000, 'x');
  auto sent = std::async(std::launch::async, [&] { return c.text(R"(["1","2","room:a","echo",{"k":")" + fill + "\"}]"); });
  CHECK(sent.get());
  CHECK(c.read().data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"k":")" + fill + "\"}}]");
}

TEST_CASE("blocking: a broadcast reaches all clients, from any thread") {
  running r;
  raw_client a = r.joined(), b = r.joined(), other = r.joined("room:b");
  CHECK(a.text(R"(["1","2","room:a","shout",{"n":1}])"));
  for (raw_client* c : {&a, &b}) CHECK(c->read().data == R"([null,null,"room:a","shout",{"n":1}])");
  CHECK(r.server.endpoint().broadcast("room:a", "news", phx::payload::json(R"({"n":2})")) == phx::errc::none);
  for (raw_client* c : {&a, &b}) CHECK(c->read().data == R"([null,null,"room:a","news",{"n":2}])");
  CHECK(other.read(50ms).first == 0);
}

TEST_CASE("blocking: a channel's timer fires while no client sends") {
  running r;
  raw_client c = r.joined();
  CHECK(c.text(R"(["1","2","room:a","later",{"n":1}])"));
  CHECK(c.read().data == R"(["1",null,"room:a","due",{"n":1}])");
}

TEST_CASE("blocking: a client that sends nothing for limits::idle is closed, a client that pings is not") {
  CHECK(in_time(600ms, [](std::chrono::milliseconds idle) {
    phx::mount m;
    m.bounds.idle = idle;
    running r(quick(m));
    raw_client quiet = r.client(), pings = r.client();
    for (raw_client* c : {&quiet, &pings}) {
      // in one piece: a separate join could come too late on a busy machine
      CHECK(c->send(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
                    raw_client::frame(0x81, R"(["1","1","room:a","phx_join",{}])")));
      CHECK(c->read_head() == 101);
      CHECK(c->read().data == R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])");
    }
    for (int i = 0; i < 10; ++i) {
      std::this_thread::sleep_for(idle / 6);
      (void)pings.send(raw_client::frame(0x89, ""));
    }
    CHECK(quiet.read_close() == 1001);
    bool stays = true;
    for (int i = 0; i < 10; ++i) stays = stays && pings.read().first == 0x8a;
    return stays && pings.text(R"(["1","2","room:a","echo",{}])") &&
           pings.read().data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{}}])";
  }));
}

TEST_CASE("blocking: a client that stops reading is closed, and others do not wait for it") {
  phx::mount m;
  m.bounds.outbound = 1'000'000;
  running r(quick(m));
  raw_client deaf(r.server.port(), 4096);
  REQUIRE(deaf.open() == 101);
  CHECK(deaf.text(R"(["1","1","room:a","phx_join",{}])"));
  CHECK(deaf.text(R"(["1","2","room:a","flood",{}])"));
  raw_client other = r.joined("room:b");
  CHECK(other.text(R"(["1","2","room:b","echo",{}])"));
  CHECK(other.read().data == R"(["1","2","room:b","phx_reply",{"status":"ok","response":{}}])");
  // It ends although it never reads: its own sending fails at last.
  auto const until = std::chrono::steady_clock::now() + 60s;
  while (deaf.send_within(raw_client::frame(0x89, ""), 100ms) && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(10ms);
  CHECK(std::chrono::steady_clock::now() < until);
  r.stop();
  CHECK(r.seen.has("pressure"));
}

TEST_CASE("blocking: a client that reads again in time gets everything accepted so far, and 1008") {
  phx::mount m;
  m.bounds.outbound = 1'000'000;
  auto o = quick(m);
  o.goodbye = 60s;
  running r(o);
  raw_client c(r.server.port(), 4096);
  REQUIRE(c.open() == 101);
  CHECK(c.text(R"(["1","1","room:a","phx_join",{}])"));
  CHECK(c.text(R"(["1","2","room:a","flood",{}])"));
  CHECK(eventually([&] { return r.seen.pressed == 1; }));
  CHECK(c.read().data.find("phx_reply") != std::string::npos);
  CHECK(c.read().data.find("flood") != std::string::npos);
  CHECK(c.read_close() == 1008);
}

TEST_CASE("blocking: a client that stops reading loses messages by its topic's policy, but no reply") {
  running r(quick(phx_tests::flooded_mount()));
  phx_tests::all_policies_that_drop([&](int receive_buffer) { return raw_client(r.server.port(), receive_buffer); });
  r.stop();
  CHECK(r.seen.has("slow"));
  CHECK(r.seen.has("caught_up"));
  CHECK_FALSE(r.seen.has("pressure"));
}

TEST_CASE("blocking: a lost connection leaves nothing behind") {
  running r;
  {
    raw_client c = r.joined();
    raw_client d = r.joined();
    d.end_sending();
    CHECK(d.read_end());
  }
  CHECK(eventually([&] { return r.seen.closed == 2; }));
  r.stop();
  CHECK(r.seen.has("channel_ended"));
}

TEST_CASE("blocking: at most max_connections at the same time") {
  auto o = quick();
  o.max_connections = 2;
  running r(o);
  std::optional<raw_client> a(r.joined());
  raw_client b = r.joined(), c = r.client();
  CHECK(c.read_head() == 503);
  CHECK(c.read_end());
  a.reset();
  CHECK(eventually([&] { return r.client().open() == 101; }));
}

TEST_CASE("blocking: stop closes every client with 1012 and returns when all have disconnected") {
  running r;
  raw_client a = r.joined(), b = r.client(), asking = r.client();
  REQUIRE(b.open() == 101);  // without a channel
  CHECK(asking.send("GET /socket"));
  std::this_thread::sleep_for(20ms);
  auto stopped = std::async(std::launch::async, [&] { r.stop(); });
  for (raw_client* c : {&a, &b}) {
    raw_client::message const m = c->read();
    CHECK(m.closed() == 1012);  // the first frame: no phx_error, no phx_close
    CHECK(c->close(1012));
    CHECK(c->read().ended);
  }
  CHECK(asking.read_end());
  CHECK(stopped.wait_for(raw_client::patience) == std::future_status::ready);
  CHECK_FALSE(raw_client(r.server.port()).open() == 101);
}

TEST_CASE("blocking: stop does not wait for a client that never answers") {
  bool soon = false;  // a busy machine may be late once or twice
  for (int i = 0; i < 5 && !soon; ++i) {
    running r;
    raw_client c = r.joined();
    auto const before = std::chrono::steady_clock::now();
    r.stop();
    soon = std::chrono::steady_clock::now() - before < 3s;
    CHECK(c.read_close() == 1012);
  }
  CHECK(soon);
}

namespace {
phx::blocking::server<phx::router<>>* signalled = nullptr;
}
TEST_CASE("blocking: stop may be called in a signal handler and before run") {
  phx::router<> app;
  phx::blocking::server server(app, quick());
  signalled = &server;
  auto const before = std::signal(SIGUSR1, [](int) { signalled->stop(); });
  CHECK(std::raise(SIGUSR1) == 0);
  (void)std::signal(SIGUSR1, before);
  server.run();
  CHECK_FALSE(raw_client(server.port()).connected());
}

#ifdef __cpp_exceptions
TEST_CASE("blocking: a used port and an invalid mount are reported at construction") {
  phx::router<> app;
  phx::blocking::server const first(app, quick());
  CHECK_THROWS_WITH_AS(phx::blocking::server(app, {.port = first.port()}), doctest::Contains("Address already in use"),
                       std::runtime_error);
  CHECK_THROWS_AS(phx::blocking::server(app, {.address = "no address"}), std::runtime_error);
  CHECK_THROWS_AS(phx::blocking::server(app, {.port = 0, .mount = {.path = "socket"}}), std::runtime_error);
  CHECK_THROWS_WITH_AS(phx::blocking::server(app, {.port = 0, .mount = {.longpoll = true}}),
                       doctest::Contains("give it a phx::blocking::long_polling"), std::runtime_error);
}

TEST_CASE("blocking: a connect that throws is answered 500") {
  phx::router app([](phx::connect_info const&) -> phx::connect_outcome<phx::anonymous> { throw std::runtime_error("no"); });
  phx::blocking::server server(app, quick());
  std::thread thread([&] { server.run(); });
  raw_client c(server.port());
  CHECK(c.open() == 500);
  server.stop();
  thread.join();
}
#endif

// ---- long-polling

namespace {

/// The interface that the tests of all hosts use.
struct polling_host : running_polls {
  explicit polling_host(phx_tests::polled_host const& mode)
      : running_polls(
            [&] {
              auto o = quick(mode.mount);
              o.handshake = mode.handshake;
              return o;
            }(),
            {mode.polls}) {}
  bool connections(std::size_t n) const {
    return eventually([&] { return server.connections() == n; });
  }
  phx::endpoint& endpoint() { return server.endpoint(); }
  void begin_end() { server.stop(); }
  bool ended() {
    bool const all_left = connections(0);
    stop();
    return all_left;
  }
  [[nodiscard]] std::size_t channels_ended() const {
    std::size_t n = 0;
    for (std::string const& l : seen.lines) n += l.starts_with("channel_ended") ? 1u : 0u;
    return n;
  }
};

}  // namespace

TEST_CASE("blocking: long-polling, the cases of every host") {
  phx_tests::long_polls([](phx_tests::polled_host const& mode) { return polling_host(mode); }, {1});
}

TEST_CASE("blocking: odd requests, the cases of every host") {
  phx_tests::odd_requests([](phx_tests::polled_host const& mode) { return polling_host(mode); });
}

TEST_CASE("blocking: each transport is served only if the mount enables it") {
  phx::mount m;
  auto const not_found = [](auto const& server) {
    raw_client a = server.client();
    CHECK(a.send(request("GET", "/socket/longpoll?vsn=2.0.0")));
    CHECK(a.read_head() == 404);
    CHECK(a.read_end());
  };
  not_found(running(quick(m)));
  not_found(running_polls(quick(m)));
  m.longpoll = true;
  m.websocket = false;
  running_polls only(quick(m));
  raw_client b = only.client();
  poller().open(b);
  CHECK(b.open() == 404);
}

TEST_CASE("blocking: a poll's connection ends if its client wants it to, or without a descriptor for the wake-up pipe") {
  phx::mount m;
  m.longpoll = true;
  running_polls r(quick(m));
  raw_client c = r.client();
  CHECK(c.send(request("GET", "/socket/longpoll?vsn=2.0.0", "connection: x, Close\r\n")));
  CHECK(c.read_head() == 200);
  CHECK(c.head().find("connection: close\r\n") != std::string::npos);
  CHECK(c.read_body().find("\"token\"") != std::string::npos);
  CHECK(c.read_end());
  c.drop();
  auto const connections = [&](std::size_t n) {  // afterwards no descriptor is opened or closed
    return eventually([&] { return r.server.connections() == n; });
  };
  REQUIRE(connections(0));

  raw_client d = r.client();
  CHECK(d.send("GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\n"));
  REQUIRE(connections(1));
  phx_tests::one_descriptor left;  // one; a pipe needs two
  bool const sent = d.send("host: h\r\n\r\n");
  unsigned const status = d.read_head();
  left.restored();
  CHECK(sent);
  CHECK(status == 503);
  CHECK(d.read_end());
}

TEST_CASE("blocking: the credentials of a page reach connect on both transports") {
  struct cookies {
    std::optional<std::string> session(phx::request const& from, phx::params const& query) const {
      if (query.get("_csrf_token") != "right") return std::nullopt;
      return std::string(from.header("cookie").value_or(""));
    }
    [[nodiscard]] bool checks_csrf() const noexcept { return true; }
  };
  cookies const source;
  std::string shown;  // used on the loop
  phx::router app([&](phx::connect_info const& info) -> phx::connect_outcome<phx::anonymous> {
    shown.append(info.auth_token().value_or("-")).append("|").append(info.session().value_or("-")).append(" ");
    return phx::connected<phx::anonymous>{};
  });
  auto opts = quick();
  opts.mount.longpoll = opts.mount.auth_token = true;
  opts.mount.session = source;
  phx::blocking::server server(app, opts, phx::blocking::long_polling{});
  std::thread thread([&] { server.run(); });
  for (auto const& [query, headers] : {std::pair{"", "X-Phoenix-AuthToken: a.b\r\n"},
                                       {"&_csrf_token=right", "x-phoenix-authtoken: c\r\ncookie: d=1\r\n"},
                                       {"&_csrf_token=wrong", "cookie: d=1\r\n"}}) {
    raw_client c(server.port());
    CHECK(c.send(request("GET", std::string("/socket/longpoll?vsn=2.0.0") + query, headers)));
    CHECK(poller::answer(c).find("\"status\":410") != std::string::npos);
  }
  raw_client c(server.port());
  CHECK(c.open("/socket/websocket?vsn=2.0.0&_csrf_token=right",
               "sec-websocket-protocol: phoenix, base64url.bearer.phx.ZQ\r\ncookie: d=1\r\n") == 101);
  server.stop();
  thread.join();
  CHECK(shown == "a.b|- c|d=1 -|- e|d=1 ");
}

TEST_CASE("blocking: a duration of max() does not overflow") {
  auto o = quick();
  o.handshake = o.goodbye = (phx::duration::max)();
  running r(o);
  raw_client c = r.joined(), d = r.joined();
  CHECK(c.close(1000));
  CHECK(c.read().closed() == 1000);
  c.drop();
  raw_client e = r.client();
  CHECK(e.send("GET /"));
  std::this_thread::sleep_for(20ms);
  CHECK(e.send(" HTTP/1.1\r\nhost: h\r\n\r\n"));
  CHECK(e.read_head() == 404);
  e.drop();
  CHECK(d.close(1000));
  CHECK(d.read().closed() == 1000);
}

// ---- requests of old clients and proxies

TEST_CASE("blocking: an upgrade needs HTTP/1.1, a long-poll does not; an HTTP/1.0 connection ends with its response") {
  phx::mount m;
  m.longpoll = true;
  running_polls r(quick(m));
  raw_client c = r.client();  // as nginx without proxy_http_version, and as HAProxy's health check
  CHECK(c.send("GET /socket/longpoll?vsn=2.0.0 HTTP/1.0\r\nconnection: keep-alive\r\n\r\n"));
  CHECK(poller::answer(c).find("\"status\":410") != std::string::npos);
  CHECK(c.head().find("connection: close\r\n") != std::string::npos);
  CHECK(c.read_end());
  raw_client d = r.client();
  CHECK(d.send("OPTIONS /socket/longpoll HTTP/1.0\r\n\r\n"));
  CHECK(d.read_head() == 200);
  CHECK(d.read_end());
  raw_client e = r.client();
  std::string upgrade = raw_client::upgrade_request("/socket/websocket?vsn=2.0.0");
  upgrade.replace(upgrade.find("HTTP/1.1"), 8, "HTTP/1.0");
  CHECK(e.send(upgrade));
  CHECK(e.read_head() == 505);
  CHECK(e.read_end());
}

TEST_CASE("blocking: an empty line after a body is ignored") {
  phx::mount m;
  m.longpoll = true;
  running_polls r(quick(m));
  raw_client c = r.client();
  poller p;
  p.open(c);
  p.join(c);
  CHECK(c.send(poller::post_of(p.target(), R"(["1","2","room:a","echo",{}])") + "\r\n"));
  CHECK(poller::answer(c) == R"({"status":200})");
  CHECK(p.poll(c) == p.with(R"([\"1\",\"2\",\"room:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}])"));
  raw_client d = r.client();
  CHECK(d.send("\r\n\r\n" + raw_client::upgrade_request("/socket/websocket?vsn=2.0.0")));
  CHECK(d.read_head() == 101);
}

TEST_CASE("blocking: raw UTF-8 in a query is read, and several subprotocol headers are one list") {
  phx::mount m;
  m.subprotocols = std::vector<std::string>{"phoenix"};
  running r(quick(m));
  raw_client c = r.client();
  CHECK(c.open("/socket/websocket?vsn=2.0.0&name=\xc5\xbc\xc3\xb3\xc5\x82w",
               "sec-websocket-protocol: x\r\nsec-websocket-protocol: y, phoenix\r\n") == 101);
  CHECK(c.head().find("sec-websocket-protocol: phoenix\r\n") != std::string::npos);
  CHECK(r.client().open("/socket/websocket?vsn=2.0.0&name=\xff") == 400);
}

// ---- throttle

TEST_CASE("blocking: a client that connects too often gets 429 with Retry-After before anything else is checked") {
  auto o = quick();
  o.mount.longpoll = true;
  o.throttle.each = {.burst = 2, .every = 1h};
  running_polls r(o);
  raw_client a = r.joined(), b = r.client(), c = r.client();
  CHECK(c.send(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0")));
  CHECK(c.read_head() == 429);
  CHECK(c.head().find("connection: close\r\n") != std::string::npos);
  std::size_t const at = c.head().find("retry-after: ");
  REQUIRE(at != std::string::npos);
  CHECK(std::atoi(c.head().c_str() + at + 13) > 3500);
  CHECK(c.read_end());
  poller p;
  p.open(b);  // connections are counted, not requests
  p.join(b);
  CHECK(a.text(R"(["1","2","room:a","echo",{}])"));
  CHECK(a.read().first == 0x81);
  r.stop();
  CHECK(r.seen.has("connect_refused too_often 127.0.0.1"));
}

TEST_CASE("blocking: one connection cannot open more sessions than its address may connect") {
  auto o = quick();
  o.mount.longpoll = true;
  o.throttle.each = {.burst = 3, .every = 1h};
  running_polls r(o);
  raw_client c = r.client();
  poller p;
  for (int i = 0; i < 3; ++i) p.open(c);  // the first one is that of the connection
  p.join(c);
  CHECK(c.send(request("GET", "/socket/longpoll?vsn=2.0.0")));
  CHECK(c.read_head() == 429);
  CHECK(c.head().find("retry-after: ") != std::string::npos);
  CHECK(c.head().find("access-control-allow-origin: *\r\n") != std::string::npos);
  (void)c.read_body();
  CHECK(p.post(c, R"(["1","2","room:a","echo",{}])") == R"({"status":200})");  // the sessions continue
}

TEST_CASE("blocking: too many connections together get 503, and many refusals cost little memory") {
  auto o = quick();
  o.throttle.all = {.burst = 1, .every = 1h};
  running r(o);
  raw_client a = r.joined();
  std::vector<raw_client> many;
  for (std::size_t i = 0; i < phx::detail::rejected_connections::most + 10; ++i) {
    many.push_back(r.client());
    CHECK(many.back().read_head() == 503);
    CHECK(many.back().head().find("retry-after: ") != std::string::npos);
  }
  for (raw_client& c : many) CHECK(c.read_end());
  CHECK(r.server.connections() == 1);
  r.stop();
  CHECK(r.seen.has("connect_refused too_many"));
}

namespace {
std::atomic<int> judged{0};
/// Refuses clients with the param `reject`.
phx::connect_outcome<phx::anonymous> not_all(phx::connect_info const& info) {
  ++judged;
  if (info.param("reject")) return phx::http_answer{401, {}, "no"};
  return phx::connected<phx::anonymous>{};
}
}  // namespace

TEST_CASE("blocking: a refusal is delayed on both transports; an acceptance is not, nor is a client that disconnects") {
  phx::router app(not_all);
  auto opts = quick();
  opts.mount.longpoll = true;
  opts.throttle.refuse_after = 400ms;
  opts.throttle.waiting = 2;
  phx::blocking::server server(app, opts, phx::blocking::long_polling{});
  std::thread thread([&] { server.run(); });
  auto const passed = [from = std::chrono::steady_clock::now()] { return std::chrono::steady_clock::now() - from; };
  raw_client socket(server.port()), poll(server.port());
  CHECK(socket.send(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0&reject=1")));
  CHECK(poll.send(request("GET", "/socket/longpoll?vsn=2.0.0&reject=1") + request("GET", "/socket/longpoll?vsn=2.0.0")));
  CHECK(socket.read_head() == 401);
  CHECK(passed() >= 400ms);
  CHECK(socket.read_body() == "no");
  CHECK(poller::answer(poll) == R"({"status":403})");
  CHECK(passed() >= 400ms);
  CHECK(poller::answer(poll).find("\"status\":410") != std::string::npos);  // the same connection continues

  // A client that disconnects frees one of the two places for delayed refusals.
  judged = 0;
  for (int i = 0; i < 6; ++i) {
    raw_client c(server.port());
    CHECK(c.send(i % 2 == 0 ? raw_client::upgrade_request("/socket/websocket?vsn=2.0.0&reject=1")
                            : request("GET", "/socket/longpoll?vsn=2.0.0&reject=1")));
  }
  REQUIRE(eventually([&] { return judged == 6 && server.connections() <= 2; }));
  auto const before = passed();
  raw_client again(server.port());
  CHECK(again.open("/socket/websocket?vsn=2.0.0&reject=1") == 401);
  CHECK(passed() - before >= 400ms);
  server.stop();
  thread.join();
}

TEST_CASE("blocking: stop answers the refusals that wait") {
  judged = 0;
  phx::router app(not_all);
  auto opts = quick();
  opts.mount.longpoll = true;
  opts.throttle.refuse_after = 1h;
  phx::blocking::server server(app, opts, phx::blocking::long_polling{});
  auto over = std::async(std::launch::async, [&] { server.run(); });
  raw_client c(server.port()), d(server.port());
  CHECK(c.send(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0&reject=1")));
  CHECK(d.send(request("GET", "/socket/longpoll?vsn=2.0.0&reject=1")));
  CHECK(eventually([&] { return judged == 2; }));
  server.stop();
  CHECK(c.read_head() == 401);
  CHECK(poller::answer(d) == R"({"status":403})");
  CHECK(d.head().find("connection: close") != std::string::npos);
  CHECK(over.wait_for(raw_client::patience) == std::future_status::ready);
}

TEST_CASE("blocking: a connect that ends its user's older connections does not end the new one") {
  phx_tests::one_connection_each app;
  phx::mount m;
  m.longpoll = true;
  phx::blocking::server server(app, quick(m), phx::blocking::long_polling{});
  app.everywhere = &server.endpoint();
  std::thread thread([&] { server.run(); });
  phx_tests::only_the_newest_stays(server.port());
  server.stop();
  thread.join();
}

// ---- behind a proxy

namespace {

std::string const proxy_v1 = "PROXY TCP4 203.0.113.5 10.0.0.1 4711 443\r\n";
std::string const heartbeat = R"([null,"1","phoenix","heartbeat",{}])";

}  // namespace

TEST_CASE("blocking: a trusted proxy's headers decide what check_origin::conn compares with; a stranger's do not") {
  auto const opens = [](running& r, std::string const& headers) {
    raw_client c = r.client();
    return c.open("/socket/websocket?vsn=2.0.0", headers);
  };
  phx::mount m{};
  m.origins = phx::check_origin::conn();
  auto o = quick(m);
  running stranger(o);
  o.trusted_proxies = {"127.0.0.1"};
  running r(o);
  std::string const https = "x-forwarded-proto: https\r\nx-forwarded-host: example.com\r\n";
  CHECK(opens(r, "origin: https://example.com\r\n" + https) == 101);
  CHECK(opens(r, "origin: http://example.com\r\n" + https) == 403);
  CHECK(opens(stranger, "origin: https://example.com\r\n" + https) == 403);
  CHECK(opens(stranger, "x-forwarded-for: torn\r\n") == 101);
}

TEST_CASE("blocking: a proxy's headers that are torn or contradict each other are 400") {
  auto o = quick();
  o.mount.longpoll = true;
  o.trusted_proxies = {"127.0.0.1"};
  running_polls r(o);
  for (std::string const headers : {"x-forwarded-for: torn\r\n", "x-forwarded-for: 1.1.1.1\r\nforwarded: for=2.2.2.2\r\n"}) {
    raw_client socket = r.client(), polls = r.client();
    CHECK(socket.open("/socket/websocket?vsn=2.0.0", headers) == 400);
    CHECK(socket.read_end());
    CHECK(polls.send(request("GET", "/socket/longpoll?vsn=2.0.0", headers)));
    CHECK(polls.read_head() == 400);
    CHECK(polls.head().find("access-control-allow-origin: *\r\n") != std::string::npos);
  }
  r.stop();
  CHECK(r.seen.has("connect_refused forwarded x-forwarded-for: torn"));
}

TEST_CASE("blocking: behind a trusted proxy the throttle counts clients, not the proxy's connections") {
  auto o = quick();
  o.mount.longpoll = true;
  o.trusted_proxies = {"127.0.0.1"};
  o.throttle.each = {.burst = 2, .every = 1h};
  running_polls r(o);
  auto const opens = [&](std::string const& client) {
    raw_client c = r.client();
    return c.open("/socket/websocket?vsn=2.0.0", "x-forwarded-for: " + client + "\r\n");
  };
  for (int i = 0; i < 5; ++i) CHECK(opens("203.0.113." + std::to_string(i)) == 101);
  CHECK(opens("203.0.113.1") == 101);
  CHECK(opens("203.0.113.1") == 429);
  raw_client kept = r.client();  // one connection of the proxy, many clients
  for (int i = 0; i < 4; ++i)
    for (std::string const& client : {std::string("198.51.100.1"), "198.51.100.1" + std::to_string(i)}) {
      CHECK(kept.send(request("GET", "/socket/longpoll?vsn=2.0.0", "x-forwarded-for: " + client + "\r\n")));
      CHECK(kept.read_head() == (client.size() == 12 && i >= 2 ? 429u : 200u));
      (void)kept.read_body();
    }
  r.stop();
  CHECK(r.seen.has("connect_refused too_often 203.0.113.1"));
}

TEST_CASE("blocking: with proxy_protocol each connection begins with a header that names its client") {
  auto o = quick();
  o.proxy_protocol = true;
  o.throttle.each = {.burst = 2, .every = 1h};
  running r(o), other;
  std::string const v2_local("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
  std::string const upgrade = raw_client::upgrade_request("/socket/websocket?vsn=2.0.0");
  raw_client together = r.client();
  CHECK(together.send(proxy_v1 + upgrade + raw_client::frame(0x81, heartbeat)));
  CHECK(together.read_head() == 101);
  CHECK(together.read().first == 0x81);
  raw_client slow = r.client();
  for (char const byte : proxy_v1 + upgrade) CHECK(slow.send({&byte, 1}));
  CHECK(slow.read_head() == 101);
  raw_client third = r.client();
  CHECK(third.send(proxy_v1));
  CHECK(third.read_head() == 429);
  for (int i = 0; i < 3; ++i) {  // health checks are nobody's
    raw_client check = r.client();
    CHECK(check.send(v2_local + upgrade));
    CHECK(check.read_head() == 101);
  }
  for (std::string const& wrong :
       {upgrade, std::string("PROXY TCP4 x\r\n"), "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n" + proxy_v1}) {
    raw_client d = r.client();
    (void)d.send(wrong);
    CHECK(d.read_all().empty());
  }
  raw_client d = other.client();
  CHECK(d.send(proxy_v1 + upgrade));
  CHECK(d.read_head() >= 400);
  r.stop();
  CHECK(r.seen.has("connect_refused too_often 203.0.113.5"));
}

TEST_CASE("blocking: a connection that does not finish its PROXY header is closed after options::handshake, and by stop") {
  for (bool const stops : {false, true}) {
    auto o = quick();
    o.proxy_protocol = true;
    o.handshake = stops ? std::chrono::milliseconds(1h) : 100ms;
    running r(o);
    raw_client silent = r.client(), half = r.client();
    CHECK(half.send("PROXY TCP4 203.0."));
    CHECK(eventually([&] { return r.server.connections() == 2 || !stops; }));
    if (stops) r.stop();
    CHECK(silent.read_all().empty());
    CHECK(half.read_all().empty());
  }
}

TEST_CASE(
    "blocking: limits::inbound: a client that sends too fast is slowed down, loses nothing, and can be closed meanwhile") {
  running r(quick(phx_tests::pausing_mount()));
  raw_client c = r.client();
  phx_tests::check_pause(c);

  running slow(quick(phx_tests::long_pausing_mount()));
  raw_client d = slow.client();
  phx_tests::begin_long_pause(d);
  slow.stop();
  CHECK(d.read().closed() == 1012);
}

#include <phx/adapter/epoll.hpp>

#include <doctest/doctest.h>

#include <sys/prctl.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>
#include <random>

#include "support/epoll_host.hpp"
#include "support/descriptors.hpp"
#include "support/host_kicks.hpp"
#include "support/host_pace.hpp"
#include "support/host_proxies.hpp"

using namespace std::chrono_literals;
using namespace phx_tests::on_epoll;
using phx_tests::eventually;
using phx_tests::in_time;
using phx_tests::raw_client;

namespace {

/// A client whose vsn has no serializer: its connect is refused.
raw_client refused(running const& r) {
  raw_client c = r.client();
  CHECK(c.send(raw_client::upgrade_request("/socket/websocket?vsn=9.0.0")));
  return c;
}

}  // namespace

TEST_CASE("epoll: a client upgrades, joins, gets an echo, and closes") {
  running r;
  raw_client c = r.joined();
  CHECK(c.head().find("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") != std::string::npos);
  CHECK(c.head().find("sec-websocket-extensions") == std::string::npos);
  CHECK(c.text(R"(["1","2","room:a","echo",{"n":1}])"));
  raw_client::message const m = c.read();
  CHECK(m.first == 0x81);
  CHECK(m.data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"n":1}}])");
  CHECK(c.close(1000));
  CHECK(c.read().closed() == 1000);
  CHECK(c.read().ended);
  CHECK(r.connections(0));
}

TEST_CASE("epoll: frames sent with the request are not lost") {
  running r;
  raw_client c = r.client();
  CHECK(c.send(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
               raw_client::frame(0x81, R"([null,"1","phoenix","heartbeat",{}])") +
               raw_client::frame(0x81, R"([null,"2","phoenix","heartbeat",{}])")));
  CHECK(c.read_head() == 101);
  CHECK(c.read().data == R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])");
  CHECK(c.read().data == R"([null,"2","phoenix","phx_reply",{"status":"ok","response":{}}])");
}

TEST_CASE("epoll: requests and frames may arrive byte by byte") {
  running r;
  raw_client c = r.client();
  std::string const all = raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
                          raw_client::frame(0x81, R"([null,"1","phoenix","heartbeat",{}])");
  for (char const byte : all) CHECK(c.send({&byte, 1}));
  CHECK(c.read_head() == 101);
  CHECK(c.read().data == R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])");
}

TEST_CASE("epoll: a refused request gets its status, and the observer gets the reason") {
  running r;
  auto const asks = [&](std::string const& bytes) {
    raw_client c = r.client();
    CHECK(c.send(bytes));
    return c.read_head();
  };
  CHECK(asks(raw_client::upgrade_request("/socket/websocket?vsn=9.0.0")) == 403);
  CHECK(asks(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0", "origin: http://evil.example\r\n")) == 403);
  CHECK(asks(raw_client::upgrade_request("/other/websocket?vsn=2.0.0", "origin: http://other.example\r\n")) == 101);
  CHECK(asks(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0", "content-length: 2\r\n") + "[]") == 400);
  CHECK(asks(request("GET", "/socket/websocket?vsn=2.0.0")) == 400);
  CHECK(asks("GET /socket/websocket HTTP/1.0\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
             "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n") == 505);
  CHECK(asks(request("POST", "/socket/websocket?vsn=2.0.0", "content-length: 2\r\n", "{}")) == 400);
  CHECK(asks("nonsense\r\n\r\n") == 400);
  CHECK(asks("GET / HTTP/3.0\r\n\r\n") == 505);
  CHECK(asks(request("GET", "/", "x: " + std::string(20'000, 'x') + "\r\n")) == 431);
  CHECK(asks(request("POST", "/body", "content-length: 100000\r\n")) == 413);
  CHECK(r.seen.has("connect_refused vsn 9.0.0"));
  CHECK(r.seen.has("connect_refused origin"));
  CHECK(r.seen.has("connect_refused upgrade 'connection' header must contain 'upgrade', got []"));
}

TEST_CASE("epoll: a subprotocol of the mount is selected") {
  phx::mount m{};
  m.subprotocols = {"phoenix"};
  running r(quick(), m);
  raw_client c = r.client();
  CHECK(c.open("/socket/websocket?vsn=2.0.0", "sec-websocket-protocol: 123, phoenix\r\n") == 101);
  CHECK(c.head().find("sec-websocket-protocol: phoenix\r\n") != std::string::npos);
  raw_client d = r.client();
  CHECK(d.open("/socket/websocket?vsn=2.0.0", "sec-websocket-protocol: 123\r\n") == 403);
}

TEST_CASE("epoll: the host's routes are called for each request of a connection in turn") {
  running r;
  raw_client c = r.client();
  CHECK(c.send(request("POST", "/body?x", "content-length: 5\r\n", "hello") + request("GET", "/none") +
               request("POST", "/body", "transfer-encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n") +
               request("HEAD", "/peer") + request("GET", "/throws") + request("GET", "/peer", "connection: close\r\n")));
  std::string const all = c.read_all();
  CHECK(all ==
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-method: POST\r\n\r\nhello"
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-method: POST\r\n\r\nabc"
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 9\r\n\r\n127.0.0.1");
}

TEST_CASE("epoll: a response may come later, from another thread; data received meanwhile is processed after it") {
  running r;
  raw_client c = r.client();
  CHECK(c.send(request("GET", "/later") + request("GET", "/none")));
  phx::epoll::late_answer first = r.next_waiting();
  CHECK(c.send(request("HEAD", "/later")));
  std::thread([&] { first({200, {{"x-late", "yes"}}, "at last"}); }).join();
  CHECK(c.read_head() == 200);
  CHECK(c.head() == "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nx-late: yes\r\n\r\n");
  CHECK(c.read_body() == "at last");
  first({500, {}, {}});  // said twice
  CHECK(c.read_head() == 404);
  r.next_waiting()({200, {}, "no body of this"});
  CHECK(c.read_head() == 200);
  CHECK(c.send(request("GET", "/peer")));
  CHECK(c.read_head() == 200);
  CHECK(c.read_body() == "127.0.0.1");
  CHECK(c.open() == 101);  // the connection may still become a WebSocket
  CHECK(c.text(R"([null,"1","phoenix","heartbeat",{}])"));
  CHECK(c.read().first == 0x81);
}

TEST_CASE("epoll: a late response that is never given is 500") {
  running r;
  raw_client c = r.client();
  CHECK(c.send(request("GET", "/later")));
  { phx::epoll::late_answer const dropped = r.next_waiting(); }
  CHECK(c.read_head() == 500);
}

TEST_CASE("epoll: a client that disconnects before a late response ends its connection; the response is discarded") {
  running r;
  raw_client c = r.client();
  CHECK(c.send(request("GET", "/later")));
  phx::epoll::late_answer late = r.next_waiting();
  c.drop();
  CHECK(r.connections(0));
  late({200, {}, "to nobody"});
  CHECK(r.client().open() == 101);
}

TEST_CASE("epoll: reading pauses for a client that sends much more than one request before a late response") {
  running r;
  raw_client c = r.client();
  CHECK(c.send(request("GET", "/later")));
  phx::epoll::late_answer late = r.next_waiting();
  std::string const more = request("POST", "/body", "content-length: 5000\r\n", std::string(5000, 'x'));
  int sent = 0;
  while (sent < 20'000 && c.send_within(more, 300ms)) ++sent;
  REQUIRE(sent < 20'000);
  late({200, {}, {}});
  CHECK(c.read_head() == 200);
  for (int i = 0; i < sent; ++i) {
    REQUIRE(c.read_head() == 200);
    REQUIRE(c.read_body().size() == 5000);
  }
}

TEST_CASE("epoll: a late response may outlive the server; a drain waits options::goodbye for it") {
  CHECK(in_time(500ms, [](std::chrono::milliseconds goodbye) {
    std::optional<phx::epoll::late_answer> first, second;
    bool notified = false;
    {
      phx::epoll::options o = quick();
      o.goodbye = goodbye;
      running r(o);
      raw_client c = r.client(), d = r.client();
      CHECK(c.send(request("GET", "/later")));
      first.emplace(r.next_waiting());
      CHECK(d.send(request("GET", "/later")));
      second.emplace(r.next_waiting());
      r.server.drain();
      (*first)({200, {}, "bye"});
      notified = c.read_head() == 200 && c.head().find("connection: close") != std::string::npos;
      CHECK(d.read_end());
      CHECK(r.ended());
    }
    (*second)({200, {}, {}});
    return notified;
  }));
}

TEST_CASE("epoll: a thousand pipelined requests are answered in order") {
  running r;
  raw_client c = r.client();
  std::string all, wanted;
  for (int i = 0; i < 1000; ++i) {
    all += request("POST", "/body", "content-length: 4\r\n", std::to_string(1000 + i));
    wanted += std::to_string(1000 + i);
  }
  CHECK(c.send(all));
  std::string got;
  for (int i = 0; i < 1000 && c.read_head() == 200; ++i) got += c.read_body();
  CHECK(got == wanted);
}

TEST_CASE("epoll: a response larger than the socket's buffer arrives completely") {
  phx::epoll::options o = quick();
  o.body_bytes = 8'000'000;
  running r(o);
  raw_client c = r.client(4096);
  std::string const body(8'000'000, 'b');
  CHECK(c.send(request("POST", "/body", "content-length: 8000000\r\n", body)));
  CHECK(c.read_head() == 200);
  CHECK(c.read_body() == body);
}

TEST_CASE("epoll: a client that sent Expect: 100-continue gets 100, if its body is acceptable") {
  running r;
  raw_client c = r.client();
  CHECK(c.send(request("POST", "/body", "expect: 100-continue\r\ncontent-length: 5\r\n")));
  CHECK(c.read_head() == 100);
  CHECK(c.send("hello"));
  CHECK(c.read_head() == 200);
  CHECK(c.read_body() == "hello");
  CHECK(c.send(request("POST", "/body", "expect: 100-continue\r\ncontent-length: 500000\r\n")));
  CHECK(c.read_head() == 413);
}

TEST_CASE("epoll: a chunked body has the same limit, and its trailers are not headers") {
  running r;
  auto const asks = [&](std::string const& bytes, std::string_view path = "/body") {
    raw_client c = r.client();
    CHECK(c.send(request("POST", path, "transfer-encoding: chunked\r\n", bytes)));
    unsigned const status = c.read_head();
    return std::to_string(status) + ' ' + c.read_body();
  };
  CHECK(asks("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n") == "200 abcde");
  CHECK(asks("10000\r\n" + std::string(65536, 'x') + "\r\n1\r\nx\r\n0\r\n\r\n") == "413 ");
  CHECK(asks("fffffffffffffff0\r\n") == "413 ");
  CHECK(asks("zz\r\n") == "400 ");
  CHECK(asks("-1\r\n") == "400 ");
  CHECK(asks("3\r\nabcde\r\n") == "400 ");
  CHECK(asks("3;" + std::string(100'000, 'x')) == "400 ");
  CHECK(asks("0\r\nx-forwarded-for: me\r\n\r\n", "/header?x-forwarded-for") == "200 none");
}

TEST_CASE("epoll: a body whose end another server may see elsewhere is refused, and nothing after it is read as a request") {
  running r;
  std::string const next = request("GET", "/peer");
  for (std::string const framing :
       {"transfer-encoding: xchunked\r\n", "transfer-encoding: identity\r\n", "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: gzip, chunked\r\n", "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: xchunked\r\ncontent-length: 3\r\n", "transfer-encoding:\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n", "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "content-length: 3\r\ncontent-length: 4\r\n", "content-length: +3\r\n", "host: other\r\n"}) {
    CAPTURE(framing);
    raw_client c = r.client();
    CHECK(c.send(request("POST", "/body", framing, "0\r\n\r\n") + next));
    CHECK(c.read_all() == "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
  }
  raw_client c = r.client();
  CHECK(c.send("POST /body HTTP/1.0\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n0\r\n\r\n" + next));
  CHECK(c.read_head() == 400);
}

TEST_CASE("epoll: an incomplete request has a deadline, and so has a connection without a request") {
  CHECK(in_time(100ms, [](std::chrono::milliseconds handshake) {
    phx::epoll::options o = quick();
    o.handshake = handshake;
    running r(o);
    raw_client half = r.client(), silent = r.client();
    (void)half.send("GET /socket/websocket HTTP/1.1\r\nhost");
    bool const notified = half.read_head() == 408;
    CHECK(half.read_end());
    CHECK(silent.read_all().empty());
    CHECK(r.connections(0));
    return notified;
  }));
}

TEST_CASE("epoll: a started program does not inherit sockets") {
  auto const before = phx_tests::open_descriptors();
  running r(quick(2));
  raw_client socket = r.joined(), idle = r.client(), polls = r.client();
  for (raw_client* const c : {&idle, &polls}) {
    CHECK(c->send(request("GET", "/peer")));
    CHECK(c->read_head() == 200);
  }
  std::size_t opened = 0;
  CHECK(phx_tests::inherited_since(before, opened) == "");
  CHECK(opened >= 10);  // two epolls and events, the listener, and both ends of three connections
}

// AddressSanitizer sees the fault: an event of a connection that was deleted.
TEST_CASE("epoll: a connection that a forked process has open as well is not called once it has ended") {
  phx::epoll::options o = quick();
  o.goodbye = 20ms;
  running r(std::move(o));
  raw_client c = r.client(), other = r.client();
  CHECK(c.send(request("GET", "/peer")));
  CHECK(c.read_head() == 200);
  CHECK(c.read_body() == "127.0.0.1");
  pid_t const child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);  // should the test abort
    for (;;) ::pause();
  }
  CHECK(c.send(request("GET", "/peer", "connection: close\r\n")));
  CHECK(c.read_head() == 200);
  CHECK(r.connections(1));
  CHECK(c.send("more"));
  CHECK(other.send(request("GET", "/peer")));
  CHECK(other.read_head() == 200);
  CHECK(r.end());
  CHECK(::kill(child, SIGKILL) == 0);
  CHECK(::waitpid(child, nullptr, 0) == child);
}

// ---- deadlines

TEST_CASE("epoll: a client that does not read its response is disconnected after options::handshake") {
  phx::epoll::options o = quick();
  o.body_bytes = 20'000'000;
  o.send_buffer = 4096;
  running r(o);
  raw_client c = r.client(2048);
  CHECK(c.send(request("POST", "/body", "content-length: 20000000\r\n", std::string(20'000'000, 'b'))));
  raw_client other = r.client();
  CHECK(other.send(request("GET", "/peer")));
  CHECK(other.read_head() == 200);
  other.drop();
  CHECK(r.connections(1));
  CHECK(r.connections(0));
}

TEST_CASE("epoll: a drain ends within its limit plus options::goodbye, whatever the state of its clients") {
  phx::epoll::options o = quick(2);
  o.handshake = 1h;
  o.goodbye = 500ms;
  o.send_buffer = 4096;
  o.body_bytes = 20'000'000;
  o.throttle.refuse_after = 1h;
  o.drain.limit = 200ms;
  phx::mount m = polled();
  m.bounds.outbound = 200'000'000;
  running r(o, m, {.window = 1h});
  std::vector<raw_client> all;
  auto const next = [&](int receive_buffer = 0) -> raw_client& { return all.emplace_back(r.client(receive_buffer)); };
  all.reserve(20);
  next();                                                                 // reading, without a byte
  CHECK(next().send("GET /half HTTP/1.1\r\n"));                           // reading, part of a head
  CHECK(next().send(request("POST", "/body", "content-length: 9\r\n")));  // reading, part of a body
  CHECK(next().send(request("GET", "/later")));                           // waiting for a late response
  phx::epoll::late_answer const never = r.next_waiting();
  poller p;
  raw_client& polls = next();
  p.open(polls);
  p.join(polls);
  CHECK(polls.send(p.poll_request()));                                             // waiting for a poll
  CHECK(next().send(raw_client::upgrade_request("/socket/websocket?vsn=9.0.0")));  // held back
  CHECK(r.seen.has("connect_refused"));
  CHECK(
      next(2048).send(request("POST", "/body", "content-length: 20000000\r\n", std::string(20'000'000, 'b'))));  // answering
  raw_client& lingers = next();
  CHECK(lingers.send(request("GET", "/peer", "connection: close\r\n")));
  CHECK(lingers.read_head() == 200);  // lingering
  running::join(next());              // a WebSocket
  raw_client& slow = next(2048);
  running::join(slow);
  CHECK(slow.text(R"(["1","2","room:a","flood",{}])"));  // a client that does not read
  raw_client& leaves = next();
  running::join(leaves);
  CHECK(leaves.close(1000));
  CHECK(leaves.read().closed() == 1000);  // closed, but not disconnected
  auto const begun = std::chrono::steady_clock::now();
  CHECK(r.end());
  CHECK(std::chrono::steady_clock::now() - begun < 20s);  // 700 ms on an idle machine
  CHECK(r.server.connections() == 0);
}

TEST_CASE("epoll: durations may have their maximum value") {
  constexpr auto ever = phx::duration::max();
  phx::epoll::options o = quick(2);
  o.handshake = o.goodbye = o.throttle.refuse_after = ever;
  o.throttle.each = {.burst = 1000, .every = ever};
  o.drain = {.interval = ever, .limit = ever};
  phx::mount m = polled();
  m.bounds.idle = ever;
  running r(o, m);
  {
    raw_client c = r.joined(), plain = r.client(), polls = r.client();
    poller p;
    p.open(polls);
    p.join(polls);
    CHECK(polls.send(p.poll_request()));
    CHECK(plain.send(request("GET", "/peer")));
    CHECK(plain.read_head() == 200);
    raw_client held = refused(r);
    CHECK(held.read_all(100ms).empty());
    CHECK(c.text(R"(["1","2","room:a","shout",{}])"));
    CHECK(c.read().data == R"([null,null,"room:a","shout",{}])");
    CHECK(poller::answer(polls).find("shout") != std::string::npos);
  }
  raw_client c = r.joined();
  r.server.drain();
  CHECK(c.read().closed() == 1012);
  CHECK(r.over.wait_for(50ms) == std::future_status::timeout);  // no client is disconnected: the limit is infinite
  c.drop();
  CHECK(r.ended());
}

TEST_CASE("epoll: beyond max_connections the next client gets 503") {
  phx::epoll::options o = quick();
  o.max_connections = 1;
  running r(o);
  {
    raw_client first = r.joined();
    raw_client second = r.client();
    CHECK(second.read_head() == 503);
    CHECK(second.read_end());
    CHECK(first.text(R"([null,"1","phoenix","heartbeat",{}])"));
    CHECK(first.read().first == 0x81);
  }
  CHECK(r.connections(0));
  CHECK(r.client().open() == 101);
}

TEST_CASE("epoll: without a free descriptor a client waits until there is one") {
  running r;
  raw_client before = r.joined();
  phx_tests::one_descriptor left;  // for the client's own socket
  raw_client c = r.client();
  bool const connected = c.connected();
  bool const served_meanwhile = before.text(R"([null,"1","phoenix","heartbeat",{}])") && before.read().first == 0x81;
  std::this_thread::sleep_for(120ms);
  left.restored();
  CHECK(connected);
  CHECK(served_meanwhile);
  CHECK(c.open() == 101);
}

TEST_CASE("epoll: pings are answered with their data, in order among the replies") {
  running r;
  raw_client c = r.client();
  REQUIRE(c.open() == 101);
  CHECK(c.send(raw_client::frame(0x89, "") + raw_client::frame(0x81, R"([null,"1","phoenix","heartbeat",{}])") +
               raw_client::frame(0x89, std::string(125, 'x'))));
  raw_client::message m = c.read();
  CHECK(m.first == 0x8a);
  CHECK(m.data.empty());
  CHECK(c.read().data == R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])");
  m = c.read();
  CHECK(m.first == 0x8a);
  CHECK(m.data == std::string(125, 'x'));
}

TEST_CASE("epoll: a thousand pings in one packet are all answered, if the client reads") {
  running r;
  raw_client c = r.client();
  REQUIRE(c.open() == 101);
  std::string pings;
  for (int i = 0; i < 1000; ++i) pings += raw_client::frame(0x89, std::to_string(i));
  CHECK(c.send(pings));
  for (int i = 0; i < 1000; ++i) REQUIRE(c.read().data == std::to_string(i));
}

TEST_CASE("epoll: pings of a client that does not read cost little memory, and are answered once it reads") {
  static std::atomic<std::ptrdiff_t> bytes{0};
  phx::epoll::options o = quick();
  o.send_buffer = 4096;
  o.high_water = 64'000'000;
  o.limits.memory = {[](std::size_t n) noexcept {
                       bytes += static_cast<std::ptrdiff_t>(n);
                       return std::malloc(n);
                     },
                     [](void* p, std::size_t n) noexcept {
                       bytes -= static_cast<std::ptrdiff_t>(n);
                       std::free(p);
                     }};
  running r(o);
  raw_client c = r.joined("room:a", 4096);
  auto const heard = [&](std::uint64_t messages) {
    return eventually([&] {
      std::promise<std::uint64_t> now;
      r.server.in_loops([&](phx::loop& l) { now.set_value(l.traffic().messages_in); });
      return now.get_future().get() == messages;
    });
  };
  CHECK(c.text(R"(["1","2","room:a","flood",{"less":1}])"));  // 8 MB: the replies after them must wait
  REQUIRE(heard(2));
  std::ptrdiff_t const before = bytes;
  int const pings = 100'000;
  std::string all;
  for (int i = 0; i < pings; ++i) all += raw_client::frame(0x89, std::to_string(i));
  CHECK(c.send(all + raw_client::frame(0x81, R"([null,"3","phoenix","heartbeat",{}])")));
  REQUIRE(heard(3));
  CHECK(bytes - before < 1'000'000);
  int floods = 0, pongs = 0;
  for (std::string last; last != std::to_string(pings - 1);) {
    raw_client::message const m = c.read(30s);
    REQUIRE(m.first != 0);
    floods += m.data.size() > 65536 ? 1 : 0;
    if (m.first != 0x8a) continue;
    ++pongs;
    last = m.data;
  }
  CHECK(floods == 120);
  CHECK(pongs == pings);
}

TEST_CASE("epoll: fragments with a ping between them are one message") {
  running r;
  raw_client c = r.joined();
  CHECK(c.send(raw_client::frame(0x01, R"(["1","2","ro)") + raw_client::frame(0x89, "?")));
  CHECK(c.read().first == 0x8a);
  CHECK(c.send(raw_client::frame(0x80, R"(om:a","echo",{}])")));
  CHECK(c.read().data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{}}])");
}

TEST_CASE("epoll: a large message arrives completely in both directions") {
  running r;
  raw_client c = r.joined();
  std::string const body = "{\"x\":\"" + std::string(900'000, 'y') + "\"}";
  CHECK(c.text(R"(["1","2","room:a","echo",)" + body + "]"));
  CHECK(c.read().data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":)" + body + "}]");
}

TEST_CASE("epoll: a protocol violation is answered with its close code, and the channels end") {
  running r(quick(), [] {
    phx::mount m{};
    m.bounds.frame = 1000;
    return m;
  }());
  auto const code = [&](std::string const& bytes) {
    raw_client c = r.joined();
    CHECK(c.send(bytes));
    raw_client::message const last = c.read();
    CHECK(c.read().ended);
    return last.closed();
  };
  CHECK(code(raw_client::frame(0x81, std::string(1001, ' '))) == 1009);
  CHECK(code(std::string("\x81\xff\0\0\0\0\0\x10\0\0mask", 14)) == 1009);
  CHECK(code(raw_client::frame(0x01, std::string(600, ' ')) + raw_client::frame(0x80, std::string(600, ' '))) == 1009);
  CHECK(code(raw_client::frame(0x83, "")) == 1002);
  CHECK(code(raw_client::frame(0xc1, "[]")) == 1002);
  CHECK(code(raw_client::frame(0x80, "[]")) == 1002);
  CHECK(code(raw_client::frame(0x89, std::string(126, 'A'))) == 1002);
  CHECK(code(std::string("\x81\x02[]", 4)) == 1002);
  CHECK(code(raw_client::frame(0x81, "\xc3\x28")) == 1007);
  CHECK(code(raw_client::frame(0x81, "[]")) == 1011);
  CHECK(code(raw_client::frame(0x88, std::string("\x0f\xa0", 2))) == 1000);
  CHECK(code(raw_client::frame(0x88, std::string("\x03\xed", 2))) == 1002);
  CHECK(code(raw_client::frame(0x88, "")) == 1000);
  CHECK(r.connections(0));
  CHECK(r.seen.count("channel_ended") == 13);
}

TEST_CASE("epoll: a closed client that does not disconnect is disconnected") {
  running r;
  raw_client c = r.joined();
  CHECK(c.close(1000));
  CHECK(c.read().closed() == 1000);
  CHECK(c.read_end());
  // The client's end of the connection stays open.
  CHECK(r.connections(0));
}

TEST_CASE("epoll: a lost connection ends its channels") {
  running r;
  r.joined().drop();
  CHECK(r.seen.has("channel_ended   lost"));
  CHECK(r.connections(0));
}

TEST_CASE("epoll: clients are distributed over all loops, and a broadcast reaches all of them") {
  running r(quick(4));
  std::vector<raw_client> all;
  for (int i = 0; i < 16; ++i) all.push_back(r.joined());
  CHECK(all[0].text(R"(["1","2","room:a","shout",{"n":1}])"));
  for (raw_client& c : all) CHECK(c.read().data == R"([null,null,"room:a","shout",{"n":1}])");
  CHECK(r.server.endpoint().broadcast("room:a", "news", phx::payload{}) == phx::errc::none);
  for (raw_client& c : all) CHECK(c.read().data == R"([null,null,"room:a","news",{}])");

  std::atomic<std::uint32_t> sockets{0}, loops{0};
  r.server.in_loops([&](phx::loop& l) {
    CHECK(l.sockets() == 4);
    sockets += l.sockets();
    ++loops;
  });
  CHECK(eventually([&] { return loops == 4; }));
  CHECK(sockets == 16);
}

TEST_CASE("epoll: a channel's timer fires") {
  running r;
  raw_client c = r.joined();
  bool soon = false;  // not by the timer of the next attempt; a busy machine may be late three times, not ten
  for (int i = 0; i < 10 && !soon; ++i) {
    auto const before = std::chrono::steady_clock::now();
    CHECK(c.text(R"(["1","2","room:a","later",{"n":2}])"));
    CHECK(c.read().data == R"(["1",null,"room:a","due",{"n":2}])");
    auto const took = std::chrono::steady_clock::now() - before;
    CHECK(took >= 30ms);
    soon = took < 900ms;
  }
  CHECK(soon);
}

TEST_CASE("epoll: a client that sends nothing for limits::idle is closed with 1001") {
  phx::mount m{};
  m.bounds.idle = 150ms;
  running r(quick(), m);
  raw_client c = r.client();
  // in one piece: a separate join could come too late on a busy machine
  CHECK(c.send(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
               raw_client::frame(0x81, R"(["1","1","room:a","phx_join",{}])")));
  CHECK(c.read_head() == 101);
  CHECK(c.read().data == R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])");
  CHECK(c.read_close() == 1001);
}

TEST_CASE("epoll: a client that does not read is not read from, and gets everything in order once it reads") {
  phx::epoll::options o = quick();
  o.high_water = 64 * 1024;
  phx::mount m{};
  m.bounds.outbound = 200'000'000;
  running r(o, m);
  raw_client c = r.joined("room:a", 4096);
  std::string const body = "{\"x\":\"" + std::string(10'000, 'y') + "\"}";
  int sent = 0;
  // Without a limit on reading this would not end.
  while (sent < 20'000 &&
         c.send_within(raw_client::frame(0x81, "[\"1\",\"" + std::to_string(sent) + "\",\"room:a\",\"echo\"," + body + "]"),
                       300ms))
    ++sent;
  REQUIRE(sent < 20'000);
  for (int i = 0; i < sent; ++i)
    REQUIRE(c.read().data ==
            "[\"1\",\"" + std::to_string(i) + "\",\"room:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":" + body + "}]");
}

TEST_CASE("epoll: more than limits::outbound closes with 1008, and other clients are not affected") {
  phx::mount m{};
  m.bounds.outbound = 1'000'000;
  phx::epoll::options o = quick();
  o.goodbye = 60s;  // reading all of that may take so long
  running r(o, m);
  raw_client slow = r.joined("room:a", 4096), other = r.joined("room:b");
  CHECK(slow.text(R"(["1","2","room:a","flood",{}])"));
  CHECK(r.seen.has("pressure"));
  CHECK(other.text(R"(["1","2","room:b","echo",{}])"));
  CHECK(other.read().data == R"(["1","2","room:b","phx_reply",{"status":"ok","response":{}}])");
  // Frames accepted before are still written, then the close.
  CHECK(slow.read_close() == 1008);
}

TEST_CASE("epoll: a client that reads nothing at all is disconnected after options::goodbye") {
  phx::mount m{};
  m.bounds.outbound = 1'000'000;
  running r(quick(), m);
  raw_client slow = r.joined("room:a", 4096);
  CHECK(slow.text(R"(["1","2","room:a","flood",{}])"));
  CHECK(r.seen.has("pressure"));
  CHECK(r.connections(0));
}

TEST_CASE("epoll: a client that stops reading loses messages by its topic's policy, but no reply") {
  running r(quick(), phx_tests::flooded_mount());
  phx_tests::all_policies_that_drop([&](int receive_buffer) { return r.client(receive_buffer); });
  CHECK(r.seen.has("caught_up", 3));
  CHECK(r.seen.count("slow") == 3);
  CHECK(r.seen.count("pressure") == 0);
}

TEST_CASE("epoll: a broadcast much larger than the socket's buffer arrives completely and in order") {
  phx::mount m{};
  m.bounds.outbound = 200'000'000;
  running r(quick(), m);
  raw_client c = r.joined("room:a", 4096);
  CHECK(c.text(R"(["1","2","room:a","flood",{}])"));
  CHECK(c.text(R"(["1","3","room:a","echo",{}])"));
  for (int i = 0; i < 600; ++i) REQUIRE(c.read().data.size() > 65536);
  CHECK(c.read().data == R"(["1","3","room:a","phx_reply",{"status":"ok","response":{}}])");
}

TEST_CASE("epoll: draining closes clients with 1012 and refuses new ones, and run returns") {
  phx::epoll::options o = quick(2);
  o.goodbye = 60s;  // the last client may need so long
  running r(o);
  std::vector<raw_client> all;
  for (int i = 0; i < 8; ++i) all.push_back(r.joined());
  raw_client without_channels = r.client();
  REQUIRE(without_channels.open() == 101);
  raw_client speaks_http = r.client();
  REQUIRE(speaks_http.send(request("GET", "/peer")));
  REQUIRE(speaks_http.read_head() == 200);
  raw_client half = r.client();
  REQUIRE(half.send(request("HEAD", "/peer") + "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\n"));
  REQUIRE(half.read_head() == 200);
  REQUIRE(r.connections(11));

  r.server.drain();
  for (raw_client& c : all) CHECK(c.read().closed() == 1012);
  CHECK(without_channels.read().closed() == 1012);
  CHECK(speaks_http.read_all() == "127.0.0.1");
  CHECK(half.send(raw_client::upgrade_request("/x").substr(17)));
  CHECK(half.read_head() == 503);
  half.drop();
  all.clear();
  without_channels.drop();
  CHECK(r.ended());
  CHECK(r.server.connections() == 0);
  CHECK_FALSE(raw_client(r.server.port()).connected());
}

TEST_CASE("epoll: stopping a server ends its connections and their channels") {
  running r(quick(2));
  raw_client a = r.joined(), b = r.joined();
  r.server.stop();
  CHECK(a.read_end());
  CHECK(b.read_end());
  CHECK(r.ended());
  CHECK(r.server.connections() == 0);
  CHECK(r.seen.count("channel_ended") == 2);
}

TEST_CASE("epoll: an invalid mount, an invalid address and a used port are reported at once") {
  phx::router<> app;
  phx::epoll::server a(quick());
  CHECK_THROWS_WITH_AS(a.serve(app, phx::mount{.path = "socket"}), doctest::Contains("socket"), std::runtime_error);
  CHECK_THROWS_WITH_AS(phx::epoll::server({.port = a.port()}), doctest::Contains(std::to_string(a.port()).c_str()),
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(phx::epoll::server({.address = "localhost"}), doctest::Contains("localhost"), std::runtime_error);
  CHECK_THROWS_AS(phx::epoll::server(app, {.port = 0, .mount = {.path = "socket"}}), std::runtime_error);
}

TEST_CASE("epoll: a server may be destroyed without run, and run returns at once after a stop") {
  phx::router<> app;
  { phx::epoll::server const never(app, quick(2)); }
  for (bool const drains : {true, false}) {
    phx::epoll::server server(app, quick(2));
    drains ? server.drain() : server.stop();
    server.run();
    CHECK_FALSE(raw_client(server.port()).connected());
  }
}

namespace {
phx::epoll::server* signalled = nullptr;
}
TEST_CASE("epoll: drain may be called in a signal handler") {
  running r(quick(2));
  raw_client c = r.joined();
  signalled = &r.server;
  auto const before = std::signal(SIGUSR1, [](int) { signalled->drain(); });
  CHECK(std::raise(SIGUSR1) == 0);
  (void)std::signal(SIGUSR1, before);
  CHECK(c.read().closed() == 1012);
  c.drop();
  CHECK(r.ended());
}

// ---- long-polling

namespace {

/// The interface that the tests of all hosts use.
struct polling_host : running {
  explicit polling_host(phx_tests::polled_host const& mode)
      : running(
            [&] {
              phx::epoll::options o = quick(mode.loops);
              o.handshake = mode.handshake;
              return o;
            }(),
            mode.mount, mode.polls) {}
  ~polling_host() { CHECK(ended()); }
  phx::endpoint& endpoint() { return server.endpoint(); }
  void begin_end() { server.drain(); }
  bool ended() { return end(); }
  std::size_t channels_ended() { return seen.count("channel_ended"); }
};

}  // namespace

TEST_CASE("epoll: long-polling, the cases of every host") {
  phx_tests::long_polls([](phx_tests::polled_host const& mode) { return polling_host(mode); }, {1, 2});
}

TEST_CASE("epoll: unusual requests, the cases of every host") {
  phx_tests::odd_requests([](phx_tests::polled_host const& mode) { return polling_host(mode); });
}

TEST_CASE("epoll: a server that is stopped ends its long-poll sessions") {
  running r(quick(2), polled());
  raw_client c = r.client();
  poller p;
  p.open(c);
  p.join(c);
  CHECK(c.send(p.poll_request()));
  r.server.stop();
  CHECK(r.ended());
  CHECK(c.read_end());
  CHECK(r.seen.count("channel_ended") == 1);
}

// ---- throttle

namespace {

/// "101", "403 ..."; or the status and the seconds it is to come back after, if those are at most the hour the tests ask
/// for.
std::string knocks(raw_client& c) {
  std::string text = std::to_string(c.open());
  if (std::size_t const at = c.head().find("retry-after: "); at != std::string::npos) {
    int const seconds = std::atoi(c.head().c_str() + at + 13);
    text += seconds > 3000 && seconds <= 3600 ? " later" : " soon";
  }
  return text;
}

}  // namespace

TEST_CASE("epoll: an address that connects more often than its rate gets 429 with Retry-After") {
  phx::epoll::options o = quick();
  o.throttle.each = {.burst = 3, .every = 1h};
  running r(o);
  std::vector<raw_client> in;
  for (int i = 0; i < 3; ++i) {
    in.push_back(r.client());
    CHECK(knocks(in.back()) == "101");
  }
  raw_client late = r.client();
  CHECK(knocks(late) == "429 later");
  CHECK(late.read_end());
  CHECK(r.seen.has("connect_refused too_often 127.0.0.1"));
  CHECK(in[0].text(R"([null,"1","phoenix","heartbeat",{}])"));  // other clients are not affected
  CHECK(in[0].read().first == 0x81);
}

TEST_CASE("epoll: a connection counts once for the throttle, however many requests it has") {
  phx::epoll::options o = quick();
  o.throttle.each = {.burst = 1, .every = 1h};
  running r(o);
  raw_client c = r.client();
  for (int i = 0; i < 5; ++i) {
    CHECK(c.send(request("GET", "/peer")));
    CHECK(c.read_head() == 200);
    CHECK(c.read_body() == "127.0.0.1");
  }
  CHECK(c.open() == 101);
}

TEST_CASE("epoll: one connection cannot request sessions more often than its address may connect") {
  phx::epoll::options o = quick();
  o.throttle.each = {.burst = 4, .every = 1h};
  running r(o, polled());
  raw_client c = r.client(), late = r.client();
  for (int i = 0; i < 3; ++i) {
    CHECK(c.open("/socket/websocket?vsn=9.0.0") == 403);  // the first one is that of the connection
    CHECK(c.read_body().empty());
  }
  CHECK(knocks(c) == "429 later");
  for (int i = 0; i < 3; ++i) {
    CHECK(late.send(request("GET", "/socket/longpoll?vsn=2.0.0")));
    CHECK(late.read_head() == (i == 0 ? 200u : 429u));
    (void)late.read_body();
  }
  CHECK(late.head().find("retry-after: ") != std::string::npos);
  CHECK(c.send(request("GET", "/peer")));  // routes outside a mount are not limited
  CHECK(c.read_head() == 200);
}

TEST_CASE("epoll: all addresses together have a rate too: 503, on every loop") {
  phx::epoll::options o = quick(2);
  o.throttle.all = {.burst = 4, .every = 1h};
  running r(o);
  std::vector<raw_client> in;
  for (int i = 0; i < 4; ++i) {
    in.push_back(r.client());
    CHECK(knocks(in.back()) == "101");
  }
  for (int i = 0; i < 3; ++i) {
    raw_client late = r.client();
    CHECK(knocks(late) == "503 later");
  }
  CHECK(r.seen.has("connect_refused too_many", 3));
}

TEST_CASE("epoll: a refused connect is answered after refuse_after, and the connection continues") {
  phx::epoll::options o = quick();
  o.throttle.refuse_after = 50ms;
  running r(o, polled());
  raw_client c = r.client();
  for (bool const polls : {false, true}) {
    CAPTURE(polls);
    auto const asked = std::chrono::steady_clock::now();
    CHECK(c.send(polls ? request("GET", "/socket/longpoll?vsn=9.0.0")
                       : raw_client::upgrade_request("/socket/websocket?vsn=9.0.0")));
    CHECK(c.read_head() == (polls ? 200 : 403));
    CHECK(c.read_body() == (polls ? R"({"status":403})" : ""));
    CHECK(std::chrono::steady_clock::now() - asked >= 50ms);
  }
  // requests received meanwhile are answered after it
  CHECK(c.send(raw_client::upgrade_request("/socket/websocket?vsn=9.0.0") + request("GET", "/peer")));
  CHECK(c.read_head() == 403);
  CHECK(c.read_head() == 200);
  CHECK(c.read_body() == "127.0.0.1");
  CHECK(c.open() == 101);
}

TEST_CASE("epoll: a limited number of refused connects wait, others are answered at once; a disconnect frees a place") {
  phx::epoll::options o = quick();
  o.throttle.refuse_after = 1h;
  o.throttle.waiting = 1;
  running r(o, polled());
  for (bool const polls : {false, true}) {
    CAPTURE(polls);
    std::size_t const before = r.seen.count("connect_refused");
    {
      raw_client held = polls ? r.client() : refused(r);
      if (polls) CHECK(held.send(request("GET", "/socket/longpoll?vsn=9.0.0")));
      CHECK(r.seen.has("connect_refused", before + 1));
      for (int i = 0; i < 3; ++i) {
        raw_client at_once = refused(r);  // with a delay there would be no answer for an hour
        CHECK(at_once.read_head() == 403);
      }
      CHECK(held.read_all(50ms).empty());
    }
    CHECK(r.connections(0));
  }
}

TEST_CASE("epoll: a drain answers the refusals that wait; stopping a server does not") {
  for (bool const drains : {true, false}) {
    CAPTURE(drains);
    phx::epoll::options o = quick(2);
    o.throttle.refuse_after = 1h;
    running r(o, polled());
    raw_client held = refused(r), polls = r.client();
    CHECK(polls.send(request("GET", "/socket/longpoll?vsn=9.0.0")));
    CHECK(r.seen.has("connect_refused", 2));
    if (drains) {
      r.server.drain();
      CHECK(held.read_head() == 403);
      CHECK(held.head().find("connection: close") != std::string::npos);
      CHECK(polls.read_head() == 200);
      CHECK(polls.read_body() == R"({"status":403})");
    } else {
      r.server.stop();
      CHECK(held.read_all().empty());
      CHECK(polls.read_all().empty());
    }
    CHECK(r.ended());
    CHECK(r.server.connections() == 0);
  }
}

TEST_CASE("epoll: a connect that ends its user's older connections does not end the new one") {
  for (std::uint32_t const loops : {1u, 3u}) {
    phx_tests::one_connection_each app;
    phx::epoll::server server(quick(loops));
    app.everywhere = &server.endpoint();
    server.serve(app, polled());
    std::thread thread([&] { server.run(); });
    phx_tests::only_the_newest_stays(server.port());
    server.drain();
    thread.join();
  }
}

// ---- Unix sockets, and ports that several loops listen on

TEST_CASE("epoll: a Unix socket is served, its stale file replaced and its own removed") {
  std::string const path = std::filesystem::temp_directory_path() / ("phx-epoll-" + std::to_string(::getpid()) + ".sock");
  auto const connected = [](std::string const& to) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, to.data(), to.size());
    if (to.front() == '@') at.sun_path[0] = '\0';
    int const fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    auto const size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + to.size() + (to.front() == '@' ? 0u : 1u));
    REQUIRE(::connect(fd, reinterpret_cast<sockaddr const*>(&at), size) == 0);
    return fd;
  };
  auto const told = [](int fd, std::string_view wanted) {
    std::string all;
    char bytes[4096];
    while (all.find(wanted) == std::string::npos) {
      ssize_t const n = ::recv(fd, bytes, sizeof bytes, 0);
      if (n <= 0) return all;
      all.append(bytes, static_cast<std::size_t>(n));
    }
    return std::string(wanted);
  };
  auto const say = [](int fd, std::string const& bytes) {
    CHECK(::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  };
  {
    int const stale = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, path.data(), path.size());
    REQUIRE(::bind(stale, reinterpret_cast<sockaddr const*>(&at), sizeof at) == 0);
    ::close(stale);
  }
  for (std::string const& where : {path, "@phx-epoll-" + std::to_string(::getpid())}) {
    CAPTURE(where);
    phx::epoll::options o = quick(2);
    o.address = "unix:" + where;
    o.reuse_port = true;  // nothing that Unix sockets have
    o.trusted_proxies = {"unix"};
    running r(o);
    CHECK(r.server.port() == 0);
    CHECK_THROWS_AS(phx::epoll::server{o}, std::runtime_error);  // somebody listens there
    int const fd = connected(where);
    say(fd, request("GET", "/peer"));
    CHECK(told(fd, "\r\n\r\nunix:") == "\r\n\r\nunix:");
    say(fd, request("GET", "/peer", "x-forwarded-for: 203.0.113.5\r\n"));
    CHECK(told(fd, "\r\n\r\n203.0.113.5") == "\r\n\r\n203.0.113.5");
    say(fd, raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
                raw_client::frame(0x81, R"(["1","1","room:a","phx_join",{}])"));
    CHECK(told(fd, "phx_reply") == "phx_reply");
    ::close(fd);
    CHECK(r.connections(0));
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("epoll: with reuse_port each loop accepts for itself, on one port") {
  phx::epoll::options o = quick(3);
  o.reuse_port = true;
  running r(o);
  std::vector<raw_client> all;
  for (int i = 0; i < 30; ++i) all.push_back(r.joined());
  std::atomic<std::uint32_t> sockets{0}, used{0}, loops{0};
  r.server.in_loops([&](phx::loop& l) {
    sockets += l.sockets();
    used += l.sockets() != 0 ? 1u : 0u;
    ++loops;
  });
  CHECK(eventually([&] { return loops == 3; }));
  CHECK(sockets == 30);
  CHECK(used > 1);
  CHECK(r.server.endpoint().broadcast("room:a", "news", phx::payload{}) == phx::errc::none);
  for (raw_client& c : all) CHECK(c.read().data == R"([null,null,"room:a","news",{}])");
  r.server.drain();
  for (raw_client& c : all) CHECK(c.read().closed() == 1012);
  all.clear();
  CHECK(r.ended());
}

// ---- behind a proxy

TEST_CASE("epoll: proxies and balancers, the cases of every host") {
  phx_tests::behind_a_proxy([](auto const& set, phx::mount m) {
    phx::epoll::options o = quick();
    set(o);
    return running(std::move(o), std::move(m));
  });
}

TEST_CASE("epoll: mount::linger: frames of several turns leave together, in order, once the time has come") {
  running r(quick(), phx_tests::lingering_mount());
  raw_client c = r.client();
  phx_tests::check_linger(c);
}

TEST_CASE("epoll: mount::linger: a client whose replies exceed high_water is read from, and stays connected") {
  phx::epoll::options o = quick();
  o.high_water = 1024;
  running r(std::move(o), phx_tests::lingering_mount());
  raw_client c = r.client();
  phx_tests::check_linger_beyond_high_water(c);
}

TEST_CASE("epoll: what a client sends in the turn in which it gets more than high_water is read") {
  phx::epoll::options o = quick();
  o.high_water = 1024;
  running r(std::move(o));
  raw_client a = r.joined(), b = r.joined();
  std::promise<void> held, released;
  r.server.in_loops([&](phx::loop&) {
    held.set_value();
    released.get_future().wait();
  });
  held.get_future().wait();
  CHECK(a.text(R"(["1","2","room:a","shout",{"x":")" + std::string(4000, 'x') + R"("}])"));
  CHECK(b.text(R"(["1","2","room:a","echo",{}])"));
  released.set_value();
  CHECK(b.read().data.find("shout") != std::string::npos);
  CHECK(b.read().data.starts_with(R"(["1","2","room:a","phx_reply")"));
}

TEST_CASE(
    "epoll: limits::inbound: a client that sends too fast is slowed down, loses nothing, and can be drained meanwhile") {
  running r(quick(), phx_tests::pausing_mount());
  raw_client c = r.client();
  phx_tests::check_pause(c);

  running slow(quick(), phx_tests::long_pausing_mount());
  raw_client d = slow.client();
  phx_tests::begin_long_pause(d);
  slow.server.drain();
  CHECK(d.read().closed() == 1012);
}

// ---- what waits for one client

TEST_CASE("epoll: a write queue gives back the bytes it was given, however they are cut") {
  namespace inner = phx::epoll::detail;
  phx::frame_pool pool{phx::memory{}};
  std::mt19937 random(7);
  auto const below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
  std::vector<char> buffer(8 * 1024);
  inner::write_parts parts;
  inner::write_queue queue;
  std::string wanted, got;
  for (int round = 0; round < 20'000; ++round) {
    std::string const text(below(8) == 0 ? below(5000) : below(200), static_cast<char>('a' + below(26)));
    if (below(4) == 0) {
      std::string_view const bytes = std::string_view(text).substr(0, inner::bytes_part::room);
      REQUIRE(queue.append(parts, bytes));
      wanted += bytes;
    } else {
      phx::frame_builder builder(pool);
      builder.start(phx::opcode::text, text.size());
      builder.append(text);
      phx::frame const f = builder.finish();
      REQUIRE(queue.append(parts, f));
      wanted += f.websocket();
    }
    REQUIRE(queue.size() == wanted.size() - got.size());
    for (int writes = below(2) == 0 ? 0 : 3; writes != 0 && queue.size() != 0; --writes) {
      iovec pieces[inner::write_queue::most_pieces];
      std::size_t total = 0, sum = 0;
      std::size_t const count = queue.gather(pieces, buffer, total);
      REQUIRE(count != 0);
      std::string all;
      for (std::size_t i = 0; i < count; sum += pieces[i++].iov_len)
        all.append(static_cast<char const*>(pieces[i].iov_base), pieces[i].iov_len);
      REQUIRE(sum == total);
      std::size_t const taken = below(3) == 0 ? below(total + 1) : total;
      got.append(all, 0, taken);
      queue.remove(parts, taken);
    }
    if (below(1000) == 0) {
      wanted.resize(got.size());
      queue.clear(parts);
      REQUIRE(queue.size() == 0);
    }
  }
  queue.clear(parts);
  CHECK(got == wanted.substr(0, got.size()));
}

#ifndef PHX_TESTS_SUPPORT_HOST_POLLS_HPP
#define PHX_TESTS_SUPPORT_HOST_POLLS_HPP
// Long-polling tests for every host in adapter/, over real connections.

#include <phx/longpoll/longpoll.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

#include "support/eventually.hpp"
#include "support/host_room.hpp"
#include "support/raw_client.hpp"

namespace phx_tests {

inline std::string request(std::string_view method, std::string_view target, std::string_view more = {},
                           std::string_view body = {}) {
  return std::string(method) + ' ' + std::string(target) + " HTTP/1.1\r\nhost: h\r\n" + std::string(more) + "\r\n" +
         std::string(body);
}

/// A long-poll client that can use any connection.
struct poller {
  std::string token{};
  static std::string post_of(std::string_view target, std::string_view body) {
    return request("POST", target,
                   "content-type: application/json\r\ncontent-length: " + std::to_string(body.size()) + "\r\n", body);
  }
  [[nodiscard]] std::string target() const { return "/socket/longpoll?vsn=2.0.0&token=" + token; }
  [[nodiscard]] std::string poll_request() const { return request("GET", target()); }
  /// The body of a response with 200; otherwise its status.
  static std::string answer(raw_client& on) {
    unsigned const status = on.read_head();
    return status == 200 ? on.read_body() : "HTTP " + std::to_string(status) + on.read_body();
  }
  void open(raw_client& on) {
    REQUIRE(on.send(request("GET", "/socket/longpoll?vsn=2.0.0")));
    std::string const text = answer(on);
    std::size_t const at = text.find("\"token\":\"");
    REQUIRE(text.find("\"status\":410") != std::string::npos);
    REQUIRE(at != std::string::npos);
    token = text.substr(at + 9, text.find('"', at + 9) - at - 9);
  }
  std::string post(raw_client& on, std::string_view body) const {
    REQUIRE(on.send(post_of(target(), body)));
    return answer(on);
  }
  std::string poll(raw_client& on) const {
    REQUIRE(on.send(poll_request()));
    return answer(on);
  }
  void join(raw_client& on) const {
    REQUIRE(post(on, R"(["1","1","room:a","phx_join",{}])") == R"({"status":200})");
    REQUIRE(poll(on) == with(R"([\"1\",\"1\",\"room:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}])"));
  }
  /// The 200 of a poll with this one frame, escaped.
  [[nodiscard]] std::string with(std::string_view frame) const {
    return "{\"messages\":[\"" + std::string(frame) + "\"],\"status\":200,\"token\":\"" + token + "\"}";
  }
};
inline constexpr std::string_view news = R"([null,null,\"room:a\",\"news\",{}])";

/// The settings of a host that serves host_room at /socket, over both transports.
struct polled_host {
  std::uint32_t loops = 1;  // for hosts with several loops
  phx::longpoll::options polls{};
  std::chrono::milliseconds handshake{10'000};
  phx::mount mount{};
};

/// @param make polled_host -> a running host with: client(receive buffer = 0), joined(): a raw_client, and one whose
///   WebSocket has joined room:a; endpoint(); connections(n): waits until this many are open; begin_end(), ended(): a drain
///   begins, and is over; channels_ended(): how many, after that.
/// @param loops the numbers of loops to test
template <class Make>
void long_polls(Make const& make, std::initializer_list<std::uint32_t> loops) {
  using namespace std::chrono_literals;
  auto const host = [&](polled_host mode = {}) {
    mode.mount.longpoll = true;
    return make(mode);
  };
  auto const asks = [](auto const& r, std::string const& bytes) {
    raw_client c = r.client();
    CHECK(c.send(bytes));
    unsigned const status = c.read_head();
    std::string const body = c.read_body();
    return std::to_string(status) +
           (c.head().find("access-control-allow-origin: *\r\n") != std::string::npos ? " for all " : " ") + body +
           (c.head().find("connection: close\r\n") != std::string::npos && !c.read_end() ? " and stays" : "");
  };

  SUBCASE("a session gets broadcasts from elsewhere, whichever connections its requests use") {
    for (std::uint32_t const n : loops) {
      CAPTURE(n);
      auto r = host({.loops = 2 * n});
      raw_client one = r.client(), two = r.client(), three = r.client(), four = r.client();
      raw_client socket = r.joined();
      poller p;
      p.open(one);
      CHECK(p.post(two, R"(["1","1","room:a","phx_join",{}])") == R"({"status":200})");
      CHECK(p.poll(three) == p.with(R"([\"1\",\"1\",\"room:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}])"));
      CHECK(four.send(p.poll_request()));
      CHECK(socket.text(R"(["1","2","room:a","shout",{"n":1}])"));
      CHECK(poller::answer(four) == p.with(R"([null,null,\"room:a\",\"shout\",{\"n\":1}])"));
      CHECK(four.head().find("access-control-allow-origin: *\r\n") != std::string::npos);
      CHECK(four.head().find("cache-control: no-store\r\n") != std::string::npos);
      CHECK(p.post(one, R"(["1","3","room:a","shout",{"n":2}])") == R"({"status":200})");
      CHECK(socket.read().data == R"([null,null,"room:a","shout",{"n":1}])");
      CHECK(socket.read().data == R"([null,null,"room:a","shout",{"n":2}])");
    }
  }
  SUBCASE("a client that disconnects in the middle of a poll misses nothing") {
    for (std::uint32_t const n : loops) {
      CAPTURE(n);
      auto r = host({.loops = n});
      raw_client c = r.client();
      poller p;
      p.open(c);
      p.join(c);
      {
        raw_client gone = r.client();
        CHECK(gone.send(p.poll_request()));
        CHECK(gone.send("GET /"));  // half of the next request
        CHECK(r.connections(2));    // otherwise it would be accepted, and get the broadcast, when all is over
      }
      CHECK(r.connections(1));
      CHECK(r.endpoint().broadcast("room:a", "news", phx::payload{}) == phx::errc::none);
      CHECK(p.poll(c) == p.with(news));
    }
  }
  SUBCASE("frames of a response that could not be written come with the next poll") {
    for (std::uint32_t const n : loops) {
      CAPTURE(n);
      auto r = host({.loops = n});
      raw_client c = r.client();
      poller p;
      p.open(c);
      p.join(c);
      {
        raw_client slow = r.client(4096);
        CHECK(slow.send(p.poll_request()));
        CHECK(p.post(c, R"(["1","2","room:a","flood",{"less":1}])") == R"({"status":200})");
        CHECK(slow.read_head() == 200);  // begins to be written, and is never read completely
      }
      CHECK(r.connections(1));
      std::string const again = p.poll(c);
      CHECK(again.size() > std::size_t{120} * 65536);
      CHECK(again.find("\"status\":200") != std::string::npos);
      CHECK(p.post(c, R"(["1","3","room:a","echo",{}])") == R"({"status":200})");
      CHECK(p.poll(c) == p.with(R"([\"1\",\"3\",\"room:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}])"));
    }
  }
  SUBCASE("pipelined requests are answered in turn, and a connection may become a WebSocket at the end") {
    // A session lasts only a few windows without a poll.
    CHECK(in_time(150ms, [&](std::chrono::milliseconds window) {
      auto r = host({.polls = {.window = window}});
      raw_client c = r.client();
      poller p;
      p.open(c);
      bool well = p.post(c, R"(["1","1","room:a","phx_join",{}])") == R"({"status":200})";
      CHECK(c.send(p.poll_request() + p.poll_request() + poller::post_of(p.target(), R"(["1","2","room:a","echo",{}])") +
                   p.poll_request() + raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
                   raw_client::frame(0x81, R"([null,"1","phoenix","heartbeat",{}])")));
      well = poller::answer(c).find("phx_reply") != std::string::npos && well;
      well = poller::answer(c).find("\"status\":204") != std::string::npos && well;
      well = poller::answer(c) == R"({"status":200})" && well;
      well = poller::answer(c).find("\\\"2\\\",\\\"room:a\\\",\\\"phx_reply\\\"") != std::string::npos && well;
      CHECK(c.read_head() == 101);
      CHECK(c.read().data == R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])");
      return well;
    }));
  }
  SUBCASE("data received while a poll waits is limited, and processed after the poll is answered") {
    auto r = host({.polls = {.window = 60s}});
    raw_client c = r.client(), other = r.client();
    poller p;
    p.open(c);
    p.join(c);
    CHECK(c.send(p.poll_request()));
    std::string const more =
        poller::post_of(p.target(), R"([null,"1","phoenix","heartbeat",{)" + std::string(5000, ' ') + "}]");
    int sent = 0;
    while (sent < 20'000 && c.send_within(more, 300ms)) ++sent;
    REQUIRE(sent < 20'000);
    CHECK(r.endpoint().broadcast("room:a", "news", phx::payload{}) == phx::errc::none);
    CHECK(poller::answer(c) == p.with(news));
    for (int i = 0; i < sent; ++i) REQUIRE(poller::answer(c) == R"({"status":200})");
  }
  SUBCASE("the body of a POST may have 8,000,000 bytes and not one more; the session continues") {
    auto r = host({.polls = {.window = 60s}});
    raw_client c = r.client();
    poller p;
    p.open(c);
    p.join(c);
    std::string const head = R"(["1","2","room:a","echo",{"x":")", tail = R"("}])";
    CHECK(p.post(c, head + std::string(8'000'000 - head.size() - tail.size(), 'y') + tail) == R"({"status":200})");
    CHECK(p.poll(c).size() > 7'999'000);
    CHECK(asks(r, request("POST", p.target(), "content-length: 8000001\r\n")) == "400 for all ");
    {
      raw_client d = r.client();
      CHECK(d.send(request("POST", p.target(), "transfer-encoding: chunked\r\n")));
      std::string const chunk = "10000\r\n" + std::string(65536, 'x') + "\r\n";
      for (int i = 0; i < 200 && d.send(chunk); ++i) {  // a body that never ends
      }
      CHECK(d.read_head() == 400);
    }
    for (std::string const nonsense : {"zz\r\n", "-1\r\n", "3\r\nabcde\r\n", "fffffffffffffff0\r\n"}) {
      CAPTURE(nonsense);
      CHECK(asks(r, request("POST", p.target(), "transfer-encoding: chunked\r\n", nonsense)) == "400 for all ");
    }
    CHECK(asks(r, request("POST", p.target(), "transfer-encoding: chunked\r\n", "3;" + std::string(100'000, 'x'))) ==
          "400 for all ");
    CHECK(asks(r, request("POST", p.target(), "content-length: nine\r\n", "[]")).starts_with("400 "));
    REQUIRE(c.send(
        request("POST", p.target(), "transfer-encoding: chunked\r\n",
                "8;x=y\r\n[\"1\",\"3\"\r\n12\r\n,\"room:a\",\"echo\",{\r\n2\r\n}]\r\n0\r\nx-forwarded-for: me\r\n\r\n")));
    CHECK(poller::answer(c) == R"({"status":200})");
    CHECK(p.poll(c).find("\\\"3\\\"") != std::string::npos);
  }
  SUBCASE("a client that sent Expect: 100-continue gets 100") {
    auto r = host();
    raw_client c = r.client();
    poller p;
    p.open(c);
    std::string const heartbeat = R"([null,"1","phoenix","heartbeat",{}])";
    CHECK(c.send(request("POST", p.target(),
                         "expect: 100-continue\r\ncontent-length: " + std::to_string(heartbeat.size()) + "\r\n")));
    CHECK(c.read_head() == 100);
    CHECK(c.send(heartbeat));
    CHECK(poller::answer(c) == R"({"status":200})");
    CHECK(asks(r, request("POST", p.target(), "expect: 100-continue\r\ncontent-length: 8000001\r\n")) == "400 for all ");
  }
  SUBCASE("an incomplete request has a deadline, wherever it stops, and so has a connection without a request") {
    CHECK(in_time(300ms, [&](std::chrono::milliseconds handshake) {
      auto r = host({.handshake = handshake});
      raw_client silent = r.client();
      auto const reported = [&](std::string const& bytes, bool for_all) {
        raw_client c = r.client();
        (void)c.send(bytes);
        bool const late = c.read_head() == 408;
        CHECK(c.read_body().empty());
        CHECK(c.read_end());
        return late && for_all == (c.head().find("access-control-allow-origin: *\r\n") != std::string::npos);
      };
      bool well = reported("GET /socket/longpoll HTTP/1.1\r\nhos", false);
      well = reported(request("POST", "/socket/longpoll?vsn=2.0.0", "content-length: 1000\r\n", "["), true) && well;
      well = reported(request("POST", "/socket/longpoll?vsn=2.0.0", "transfer-encoding: chunked\r\n", "10\r\nab"), true) &&
             well;
      CHECK(silent.read_all().empty());
      CHECK(r.connections(0));
      return well;
    }));
  }
  SUBCASE("requests without a valid token get no access to a session") {
    auto r = host();
    raw_client c = r.client();
    poller p;
    p.open(c);
    p.join(c);
    std::string const push = R"(["1","2","room:a","echo",{}])";
    auto const thief = [&](std::string const& target, std::string_view more = {}) {
      return asks(
          r, request("POST", target, std::string(more) + "content-length: " + std::to_string(push.size()) + "\r\n", push));
    };
    std::string forged = p.token;
    forged[20] = forged[20] == 'A' ? 'B' : 'A';
    CHECK(thief("/socket/longpoll?vsn=2.0.0&token=" + forged) == R"(200 for all {"status":410})");
    CHECK(thief("/socket/longpoll?vsn=2.0.0&token=" + p.token.substr(1)) == R"(200 for all {"status":410})");
    CHECK(thief("/socket/longpoll?vsn=2.0.0") == R"(200 for all {"status":410})");
    CHECK(thief(p.target(), "origin: https://evil.example\r\n") == R"(200 for all {"status":403})");
    CHECK(asks(r, request("GET", p.target(), "origin: https://evil.example\r\n")) == R"(200 for all {"status":403})");
    CHECK(asks(r, request("GET", "/socket/longpoll?vsn=9.0.0")) == R"(200 for all {"status":403})");
    CHECK(asks(r, request("PUT", p.target(), "content-length: 2\r\n", "{}")) == "400 for all ");
    CHECK(asks(r, request("OPTIONS", p.target(), "origin: http://localhost\r\naccess-control-request-headers: x-a\r\n")) ==
          "200 for all ");
    CHECK(r.endpoint().broadcast("room:a", "news", phx::payload{}) == phx::errc::none);
    CHECK(p.poll(c) == p.with(news));  // and nothing of all that has reached it
  }
  SUBCASE("the response to a HEAD is its head, so that the next response follows") {
    auto r = host();
    raw_client c = r.client();
    CHECK(c.send(request("HEAD", "/socket/longpoll?vsn=2.0.0", "origin: https://evil.example\r\n") +
                 request("HEAD", "/socket/longpoll?vsn=2.0.0") + request("GET", "/socket/longpoll?vsn=9.0.0")));
    CHECK(c.read_head() == 200);
    CHECK(c.read_head() == 400);
    CHECK(poller::answer(c) == R"({"status":403})");
  }
  SUBCASE("a drain answers waiting polls, ends their sessions, and completes") {
    // From outside it is unknown whether a poll was received; one that was not finds no session.
    bool notified = false;
    for (int i = 0; i < 20 && !notified; ++i) {
      auto r = host({.loops = std::max(loops)});
      raw_client c = r.client(), d = r.client(), e = r.client();
      poller p, replaced, unpolled;
      p.open(c);
      p.join(c);
      replaced.open(d);
      unpolled.open(e);
      unpolled.join(e);
      CHECK(c.send(p.poll_request()));
      CHECK(d.send(poller::post_of(replaced.target(), R"(["1","1","room:a","phx_join",{}])") + replaced.poll_request() +
                   replaced.poll_request()));
      CHECK(e.send(replaced.poll_request()));
      CHECK(poller::answer(d) == R"({"status":200})");
      r.begin_end();
      notified = poller::answer(c).find("\"status\":204") != std::string::npos;
      if (notified) CHECK(c.head().find("connection: close") != std::string::npos);
      CHECK(c.read_end());
      CHECK(d.read_end());
      CHECK(e.read_end());
      CHECK(r.ended());
      CHECK(r.channels_ended() == 3);
    }
    CHECK(notified);
  }
}

/// Unusual and invalid requests, for every host. @param make as above
template <class Make>
void odd_requests(Make const& make) {
  auto const host = [&] {
    polled_host mode;
    mode.mount.longpoll = true;
    mode.mount.subprotocols = {"phoenix"};
    return make(mode);
  };
  std::string const opens = "/socket/longpoll?vsn=2.0.0";
  auto const asks = [](auto const& r, std::string const& bytes) {
    raw_client c = r.client();
    CHECK(c.send(bytes));
    return c.read_head();
  };

  SUBCASE("empty lines before a request are skipped") {
    auto r = host();
    CHECK(asks(r, "\r\n" + request("GET", opens)) == 200);
    CHECK(asks(r, "\r\n" + raw_client::upgrade_request("/socket/websocket?vsn=2.0.0",
                                                       "sec-websocket-protocol: phoenix\r\n")) == 101);
    raw_client c = r.client();
    poller p;
    p.open(c);
    std::string const join = poller::post_of(p.target(), R"(["1","1","room:a","phx_join",{}])");
    CHECK(c.send(join + "\r\n" + p.poll_request()));  // old browsers send one after a body
    CHECK(poller::answer(c) == R"({"status":200})");
    CHECK(poller::answer(c).find("phx_reply") != std::string::npos);
    raw_client slow = r.client();
    for (char const byte : "\r\n" + request("GET", opens)) CHECK(slow.send({&byte, 1}));
    CHECK(slow.read_head() == 200);
    CHECK(asks(r, "\r" + request("GET", opens)) == 400);
  }
  SUBCASE("a repeated Content-Length is refused, equal or not, in several headers or in one") {
    auto r = host();
    for (std::string const lengths :
         {"content-length: 2\r\ncontent-length: 2\r\n", "content-length: 2\r\ncontent-length: 3\r\n",
          "content-length: 2, 2\r\n", "content-length: 2,\r\n"}) {
      CAPTURE(lengths);
      CHECK(asks(r, request("POST", opens, lengths, "[]")) == 400);
    }
  }
  SUBCASE("a fragment in a target is refused") {
    auto r = host();
    CHECK(asks(r, request("GET", opens + "#here")) == 400);
    CHECK(asks(r, raw_client::upgrade_request("/socket/websocket#?vsn=2.0.0", "sec-websocket-protocol: phoenix\r\n")) ==
          400);
  }
  SUBCASE("a query may have bytes that should have been escaped") {
    auto r = host();
    CHECK(asks(r, raw_client::upgrade_request("/socket/websocket?vsn=2.0.0&name=J\xc3\xb6rg",
                                              "sec-websocket-protocol: phoenix\r\n")) == 101);
  }
  SUBCASE("several subprotocol headers are one list") {
    auto r = host();
    raw_client c = r.client();
    CHECK(c.open("/socket/websocket?vsn=2.0.0",
                 "sec-websocket-protocol: soap\r\nx-between: y\r\nSec-WebSocket-Protocol: mqtt, phoenix\r\n") == 101);
    CHECK(c.head().find("sec-websocket-protocol: phoenix\r\n") != std::string::npos);
    CHECK(asks(r, raw_client::upgrade_request("/socket/websocket?vsn=2.0.0",
                                              "sec-websocket-protocol: soap\r\nsec-websocket-protocol: mqtt\r\n")) == 403);
  }
  SUBCASE("long-polling works over HTTP/1.0, and each connection closes") {
    auto r = host();
    auto const old = [&](std::string_view method, std::string const& target, std::string_view more = {},
                         std::string_view body = {}) {
      raw_client c = r.client();
      CHECK(c.send(std::string(method) + ' ' + target + " HTTP/1.0\r\n" + std::string(more) + "\r\n" + std::string(body)));
      CHECK(c.read_head() == 200);
      std::string const text = c.read_body();
      CHECK(c.read_end());
      return text;
    };
    poller p;
    std::string const answer = old("GET", opens, "connection: keep-alive\r\n");
    std::size_t const at = answer.find("\"token\":\"");
    REQUIRE(at != std::string::npos);
    p.token = answer.substr(at + 9, answer.find('"', at + 9) - at - 9);
    std::string const join = R"(["1","1","room:a","phx_join",{}])";
    CHECK(old("POST", p.target(),
              "content-type: application/json\r\ncontent-length: " + std::to_string(join.size()) + "\r\n",
              join) == R"({"status":200})");
    CHECK(old("GET", p.target(), "host: h\r\n").find("phx_reply") != std::string::npos);
  }
}

}  // namespace phx_tests

#endif

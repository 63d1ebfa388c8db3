#ifndef PHX_TESTS_SUPPORT_HOST_PROXIES_HPP
#define PHX_TESTS_SUPPORT_HOST_PROXIES_HPP
// What a host does behind a reverse proxy and behind a balancer, for hosts whose routes answer /peer with the client's address.

#include <phx/connect/mount.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "support/eventually.hpp"
#include "support/host_polls.hpp"
#include "support/raw_client.hpp"

namespace phx_tests {

inline std::string ask_peer(raw_client& c, std::string const& headers = {}) {
  CHECK(c.send(request("GET", "/peer", headers)));
  std::string const status = std::to_string(c.read_head());
  return status + " " + c.read_body();
}
inline constexpr auto as_it_is = [](auto&) {};
inline constexpr auto trusting = [](auto& o) { o.trusted_proxies = {"127.0.0.1"}; };
inline constexpr auto with_proxy_header = [](auto& o) { o.proxy_protocol = true; };

/// @param start `start(set, mount)` gives a running server of which `set(options)` was called.
template <class Start>
void behind_a_proxy(Start const& start) {
  using namespace std::chrono_literals;
  phx::mount polled{};
  polled.longpoll = true;

  SUBCASE("a trusted proxy's headers decide the peer of each request; a stranger's do not") {
    auto r = start(trusting, phx::mount{});
    auto none = start(as_it_is, phx::mount{});
    raw_client c = r.client(), stranger = none.client();
    CHECK(ask_peer(c, "x-forwarded-for: 6.6.6.6, 203.0.113.5\r\n") == "200 203.0.113.5");
    CHECK(ask_peer(c, "forwarded: for=\"[2001:db8::1]:80\"\r\n") == "200 2001:db8::1");
    CHECK(ask_peer(c) == "200 127.0.0.1");
    CHECK(ask_peer(stranger, "x-forwarded-for: 203.0.113.5\r\n") == "200 127.0.0.1");
    CHECK(ask_peer(stranger, "x-forwarded-for: torn\r\nx-forwarded-proto: gopher\r\n") == "200 127.0.0.1");
  }
  SUBCASE("a proxy's headers that are torn or contradict each other are 400") {
    auto r = start(trusting, polled);
    for (std::string const headers : {"x-forwarded-for: torn\r\n", "x-forwarded-for: 1.1.1.1\r\nforwarded: for=2.2.2.2\r\n",
                                      "x-forwarded-proto: http\r\nx-forwarded-proto: https\r\n"}) {
      raw_client c = r.client(), socket = r.client(), polls = r.client();
      CHECK(ask_peer(c, headers) == "400 ");
      CHECK(c.read_end());
      CHECK(socket.open("/socket/websocket?vsn=2.0.0", headers) == 400);
      CHECK(polls.send(request("GET", "/socket/longpoll?vsn=2.0.0", headers)));
      CHECK(polls.read_head() == 400);
      CHECK(polls.head().find("access-control-allow-origin: *\r\n") != std::string::npos);
    }
    CHECK(r.seen.has("connect_refused forwarded", 9));
  }
  SUBCASE("check_origin::conn compares with the URI that the client asked the proxy for") {
    phx::mount m{};
    m.origins = phx::check_origin::conn();
    auto r = start(trusting, m);
    auto const opens = [&](std::string const& headers) {
      raw_client c = r.client();
      return c.open("/socket/websocket?vsn=2.0.0", headers);
    };
    CHECK(opens("origin: https://example.com\r\nx-forwarded-proto: https\r\nx-forwarded-host: example.com\r\n") == 101);
    CHECK(opens("origin: http://example.com\r\nx-forwarded-proto: https\r\nx-forwarded-host: example.com\r\n") == 403);
    CHECK(opens("origin: https://127.0.0.1\r\n") == 403);
  }
  SUBCASE("behind a trusted proxy the throttle counts clients, not the proxy's connections") {
    auto r = start([](auto& o) { trusting(o), o.throttle.each = {.burst = 2, .every = 1h}; }, polled);
    auto const opens = [&](std::string const& client) {
      raw_client c = r.client();
      return c.open("/socket/websocket?vsn=2.0.0", "x-forwarded-for: " + client + "\r\n");
    };
    for (int i = 0; i < 9; ++i) CHECK(opens("203.0.113." + std::to_string(i)) == 101);
    CHECK(opens("203.0.113.1") == 101);
    CHECK(opens("203.0.113.1") == 429);
    CHECK(r.seen.has("connect_refused too_often 203.0.113.1"));
    raw_client kept = r.client();  // one connection of the proxy, many clients
    for (int i = 0; i < 4; ++i) {
      CHECK(kept.send(request("GET", "/socket/longpoll?vsn=2.0.0", "x-forwarded-for: 198.51.100.1\r\n")));
      CHECK(kept.read_head() == (i < 2 ? 200u : 429u));
      (void)kept.read_body();
      CHECK(kept.send(
          request("GET", "/socket/longpoll?vsn=2.0.0", "x-forwarded-for: 198.51.100." + std::to_string(10 + i) + "\r\n")));
      CHECK(kept.read_head() == 200);
      (void)kept.read_body();
    }
  }
  SUBCASE("with proxy_protocol each connection begins with a header that names its client") {
    auto r = start(with_proxy_header, phx::mount{});
    std::string const v1 = "PROXY TCP4 203.0.113.5 10.0.0.1 4711 443\r\n";
    std::string const v2_local("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16);
    raw_client c = r.client();
    CHECK(c.send(v1));
    CHECK(ask_peer(c) == "200 203.0.113.5");
    CHECK(ask_peer(c, "x-forwarded-for: 6.6.6.6\r\n") == "200 203.0.113.5");
    raw_client together = r.client();
    CHECK(together.send(v1 + raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
                        raw_client::frame(0x81, R"([null,"1","phoenix","heartbeat",{}])")));
    CHECK(together.read_head() == 101);
    CHECK(together.read().data == R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])");
    raw_client slow = r.client();
    for (char const byte : v1 + request("GET", "/peer")) CHECK(slow.send({&byte, 1}));
    CHECK(slow.read_head() == 200);
    CHECK(slow.read_body() == "203.0.113.5");
    raw_client check = r.client();
    CHECK(check.send(v2_local));
    CHECK(ask_peer(check) == "200 127.0.0.1");
    raw_client goes = r.client();
    CHECK(goes.send(v2_local));
    goes.drop();

    for (std::string const& wrong :
         {request("GET", "/peer"), std::string("PROXY TCP4 x"), "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n" + v1}) {
      raw_client d = r.client();
      (void)d.send(wrong.starts_with("PROXY TCP4 x") ? wrong + "\r\n" : wrong);
      CHECK(d.read_all().empty());
    }
    auto other = start(as_it_is, phx::mount{});
    raw_client d = other.client();
    CHECK(d.send(v1 + request("GET", "/peer")));
    CHECK(d.read_head() >= 400);
    CHECK(d.read_all().find("203.0.113.5") == std::string::npos);
  }
  SUBCASE("a connection that does not finish its PROXY header is closed after options::handshake, and in a drain") {
    for (bool const drains : {false, true}) {
      auto const patience = drains ? std::chrono::milliseconds(1h) : 100ms;
      auto r = start([=](auto& o) { with_proxy_header(o), o.handshake = patience; }, phx::mount{});
      raw_client silent = r.client(), half = r.client();
      CHECK(half.send("PROXY TCP4 203.0."));
      CHECK(r.connections(2));
      if (drains) r.server.drain();
      CHECK(silent.read_all().empty());
      CHECK(half.read_all().empty());
    }
  }
  SUBCASE("with proxy_protocol the throttle counts the clients that the headers name") {
    auto r = start([](auto& o) { with_proxy_header(o), o.throttle.each = {.burst = 1, .every = 1h}; }, phx::mount{});
    auto const opens = [&](std::string const& header) {
      raw_client c = r.client();
      CHECK(c.send(header));
      return c.open();
    };
    CHECK(opens("PROXY TCP4 203.0.113.5 10.0.0.1 1 443\r\n") == 101);
    CHECK(opens("PROXY TCP4 203.0.113.6 10.0.0.1 1 443\r\n") == 101);
    CHECK(opens("PROXY TCP4 203.0.113.5 10.0.0.1 2 443\r\n") == 429);
    CHECK(r.seen.has("connect_refused too_often 203.0.113.5"));
  }
}

}  // namespace phx_tests

#endif

#include <phx/connect/trusted_proxies.hpp>

#include <phx/connect/throttle.hpp>

#include <doctest/doctest.h>

#include <array>
#include <map>
#include <string>
#include <vector>

namespace {

using headers = std::vector<phx::header>;

/// "PEER PORT SCHEME://HOST:PORT" as the proxies say, or the refusal.
std::string seen(phx::trusted_proxies const& proxies, headers const& sent, std::string_view peer = "10.0.0.1",
                 std::string_view host = "app.internal") {
  headers all = sent;
  all.insert(all.begin(), {"Host", host});
  phx::request asked =
      phx::request::of("GET", "/socket/websocket", all, {.address = peer, .port = 999, .ssl_cert = "its own"});
  auto const before = asked;
  auto const no = proxies.rewrite(asked);
  bool const changed = asked.peer.address.data() != before.peer.address.data();
  CHECK(asked.peer.ssl_cert.has_value() == !changed);
  if (no) {
    CHECK(no->answer.status == 400);
    CHECK(no->reason == phx::refusal::forwarded);
    CHECK(!changed);
    CHECK(asked.scheme == before.scheme);
    CHECK(asked.host == before.host);
    return "400 " + no->detail.substr(0, no->detail.find(':'));
  }
  return std::string(asked.peer.address) + " " + std::to_string(asked.peer.port) + " " + std::string(asked.scheme) + "://" +
         std::string(asked.host) + ":" + std::to_string(asked.port);
}
std::string const nothing_else = " http://app.internal:80";
/// The peer alone, where nothing else changes.
std::string peer(phx::trusted_proxies const& proxies, headers const& sent, std::string_view from = "10.0.0.1") {
  std::string text = seen(proxies, sent, from);
  if (text.ends_with(nothing_else)) text.resize(text.size() - nothing_else.size());
  return text;
}

}  // namespace

TEST_CASE("proxies: addresses and networks") {
  phx::trusted_proxies const t{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/32"};
  CHECK(!t.empty());
  for (char const* const good : {"10.0.0.0", "10.255.255.255", "192.0.2.7", "::ffff:10.1.2.3", "::ffff:192.0.2.7",
                                 "2001:db8::1", "2001:db8:ffff::", "::1", "::1%lo"})
    CHECK_MESSAGE(t.trusts(good), good);
  for (char const* const bad : {"11.0.0.0", "9.255.255.255", "192.0.2.8", "2001:db9::", "::2", "", "unix",
                                "unix:", "localhost", "10.0.0", "10.0.0.1:80", "::10.0.0.1"})
    CHECK_MESSAGE(!t.trusts(bad), bad);

  CHECK(phx::trusted_proxies{}.empty());
  CHECK(!phx::trusted_proxies{}.trusts("10.0.0.1"));
  phx::trusted_proxies const local{"unix"};
  CHECK(!local.empty());
  CHECK(local.trusts("unix"));
  CHECK(local.trusts("unix:/run/nginx.sock"));
  CHECK(!local.trusts("unixx"));
  CHECK(!local.trusts(""));
}

TEST_CASE("proxies: a network of one family has no addresses of the other") {
  CHECK(!phx::trusted_proxies{"::/0"}.trusts("10.0.0.1"));
  CHECK(!phx::trusted_proxies{"::/0"}.trusts("::ffff:10.0.0.1"));
  CHECK(phx::trusted_proxies{"::/0"}.trusts("2001:db8::1"));
  CHECK(phx::trusted_proxies{"0.0.0.0/0"}.trusts("10.0.0.1"));
  CHECK(!phx::trusted_proxies{"0.0.0.0/0"}.trusts("::1"));
  CHECK(phx::trusted_proxies{"::ffff:10.0.0.0/104"}.trusts("10.1.1.1"));
  CHECK(phx::trusted_proxies{"::ffff:10.0.0.1"}.trusts("10.0.0.1"));
  CHECK(!phx::trusted_proxies{"::ffff:10.0.0.1"}.trusts("10.0.0.2"));
}

TEST_CASE("proxies: a list is read at run time, and an invalid entry is reported") {
  CHECK(phx::trusted_proxies::parse({"10.0.0.0/8", "unix"}).value().trusts("unix"));
  CHECK(phx::trusted_proxies::parse(std::vector<std::string>{"::1"}).value().trusts("::1"));
  CHECK(phx::trusted_proxies::parse({}).value().empty());
  for (char const* const bad : {"", "localhost", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/08", "10.0.0.0/-1",
                                "10.0.0.0/8 ", "2001:db8::1/32", "::/129", "*", "10.0.0.0/1000", "unix:", "/8"}) {
    auto const r = phx::trusted_proxies::parse({"::1", bad});
    REQUIRE_MESSAGE(!r, bad);
    CHECK(r.error().code == phx::errc::bad_network);
    CHECK(r.error().entry == bad);
  }
  CHECK(!to_string(phx::errc::bad_network).empty());
}

TEST_CASE("proxies: a stranger's headers are nothing, true or torn") {
  phx::trusted_proxies const none, t{"10.0.0.0/8"};
  headers const all{{"X-Forwarded-For", "1.1.1.1"}, {"X-Forwarded-Proto", "https"}, {"X-Forwarded-Host", "example.com"},
                    {"X-Forwarded-Port", "443"},    {"Forwarded", "for=2.2.2.2"},   {"X-Forwarded-For", "torn\""},
                    {"X-Forwarded-Proto", "gopher"}};
  CHECK(peer(none, all) == "10.0.0.1 999");
  CHECK(peer(t, all, "203.0.113.5") == "203.0.113.5 999");
  CHECK(peer(t, all, "unix") == "unix 999");
  CHECK(peer(t, all, "") == " 999");
  CHECK(peer(t, {}) == "10.0.0.1 999");
}

TEST_CASE("proxies: X-Forwarded-For is read from the right, as far as it is trusted") {
  phx::trusted_proxies const t{"10.0.0.0/8", "2001:db8::/32"};
  auto const of = [&](std::string_view text) { return peer(t, {{"x-forwarded-for", text}}); };
  CHECK(of("203.0.113.5") == "203.0.113.5 0");
  CHECK(of("6.6.6.6, 203.0.113.5") == "203.0.113.5 0");  // forged: the proxy has appended the real address
  CHECK(of("6.6.6.6, 203.0.113.5, 10.9.9.9, 2001:db8::7") == "203.0.113.5 0");
  CHECK(of("10.3.3.3 , 10.2.2.2") == "10.3.3.3 0");  // all are proxies: the outermost one is the client
  CHECK(of("nonsense \"\\, ,, 203.0.113.5,10.2.2.2") == "203.0.113.5 0");
  CHECK(of("203.0.113.5:4711") == "203.0.113.5 4711");
  CHECK(of("[2001:db9::5]:4711") == "2001:db9::5 4711");
  CHECK(of("[2001:db9::5]") == "2001:db9::5 0");
  CHECK(of("2001:db9::5") == "2001:db9::5 0");
  CHECK(of("2001:db9::5, 10.1.1.1:80") == "2001:db9::5 0");
  CHECK(of("::ffff:10.2.2.2") == "::ffff:10.2.2.2 0");
  CHECK(of("203.0.113.5, ::ffff:10.2.2.2") == "203.0.113.5 0");
  CHECK(of("unknown") == "unknown 0");
  CHECK(of("1.1.1.1, unknown") == "unknown 0");  // the next entry's author is unknown
  CHECK(of("") == "10.0.0.1 999");

  // several lines are one list
  CHECK(peer(t, {{"X-Forwarded-For", "6.6.6.6"}, {"x-forwarded-for", "203.0.113.5"}}) == "203.0.113.5 0");
  CHECK(peer(t, {{"X-Forwarded-For", "6.6.6.6, 203.0.113.5"}, {"X-Forwarded-For", "10.2.2.2"}}) == "203.0.113.5 0");
  CHECK(peer(t, {{"X-Forwarded-For", "6.6.6.6, 203.0.113.5"}, {"X-Forwarded-For", ""}}) == "203.0.113.5 0");

  // nginx writes `unix:` for the peer of a Unix socket
  phx::trusted_proxies const local{"10.0.0.1", "unix"};
  CHECK(peer(local, {{"X-Forwarded-For", "203.0.113.5, unix:"}}) == "203.0.113.5 0");
  CHECK(peer(local, {{"X-Forwarded-For", "203.0.113.5"}}, "unix:") == "203.0.113.5 0");
  CHECK(peer(t, {{"X-Forwarded-For", "203.0.113.5, unix:"}}) == "unix: 0");
}

TEST_CASE("proxies: an invalid element in the trusted part is 400") {
  phx::trusted_proxies const t{"10.0.0.0/8"};
  for (std::string_view const torn : {"nobody",
                                      "203.0.113.5,",
                                      ",",
                                      "203.0.113.5, ,10.1.1.1",
                                      "203.0.113.500",
                                      "203.0.113.5:",
                                      "203.0.113.5:x",
                                      "203.0.113.5:65536",
                                      "203.0.113.5:123456",
                                      "[203.0.113.5]",
                                      "[::1",
                                      "::1]",
                                      "[::1]x",
                                      "[::1]:",
                                      "\"203.0.113.5\"",
                                      "_hidden",
                                      "203.0.113.05",
                                      "x, 10.1.1.1",
                                      "1.1.1.1 2.2.2.2",
                                      "fe80::1%eth0"})
    CHECK_MESSAGE(seen(t, {{"X-Forwarded-For", torn}}) == "400 x-forwarded-for", torn);
  for (std::string_view const torn : {"for=",
                                      "for",
                                      "for=\"",
                                      "for=\"203.0.113.5",
                                      "for=203.0.113.5;for=203.0.113.5",
                                      "for=203.0.113.5;proto=http;Proto=http",
                                      "for=203.0.113.5,",
                                      ",",
                                      "for=2001:db8::5",
                                      "for=\"2001:db8::5\"",
                                      "for=\"203.0.113\\.5\"",
                                      "for=\"203.0.113.5\"x",
                                      "for=x",
                                      "=203.0.113.5",
                                      "for=203.0.113.5;proto=gopher",
                                      "for=203.0.113.5;host=",
                                      "for=203.0.113.5;host=\"a b\"",
                                      "for=203.0.113.5;host=a/b",
                                      "for=203.0.113.5;host=a:0",
                                      "fo r=1",
                                      "for=_",
                                      "for=203.0.113.5 x",
                                      "for=\"203.0.113.5:_\"",
                                      "for=1.1.1.1;by=1;by=2",
                                      "for==1.1.1.1"})
    CHECK_MESSAGE(seen(t, {{"Forwarded", torn}}) == "400 forwarded", torn);
  auto const of = [&](std::string_view name, std::string_view text) { return seen(t, {{name, text}}); };
  for (std::string_view const torn : {"gopher", "https;", "https,", "\"https\"", "https http", "https, ,"})
    CHECK_MESSAGE(of("X-Forwarded-Proto", torn) == "400 x-forwarded-proto", torn);
  for (std::string_view const torn :
       {"a b", "a/b", "http://a", "a@b", "a:0", "a:65536", "a:x", "a:", ":80", "[::1", "[x]", "[::1]x", "a,"})
    CHECK_MESSAGE(of("X-Forwarded-Host", torn) == "400 x-forwarded-host", torn);
  for (std::string_view const torn : {"0", "65536", "x", "-1", "443,", "44 3"})
    CHECK_MESSAGE(of("X-Forwarded-Port", torn) == "400 x-forwarded-port", torn);
  for (std::string_view const name : {"X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"}) {
    std::string_view const good = name.ends_with("Proto") ? "https" : name.ends_with("Host") ? "a" : "443";
    CHECK_MESSAGE(seen(t, {{name, good}, {name, good}}).starts_with("400 x-forwarded-"), name);
    CHECK_MESSAGE(seen(t, {{name, good}, {name, ""}}).starts_with("10.0.0.1 "), name);
  }
}

TEST_CASE("proxies: Forwarded of RFC 7239") {
  phx::trusted_proxies const t{"10.0.0.0/8", "2001:db8::/32"};
  auto const of = [&](std::string_view text) { return seen(t, {{"forwarded", text}}); };
  CHECK(of("for=203.0.113.5") == "203.0.113.5 0 http://app.internal:80");
  CHECK(of("For=\"203.0.113.5:4711\";Proto=HTTPS;Host=\"example.com\"") == "203.0.113.5 4711 https://example.com:443");
  CHECK(of("for=\"[2001:db9::5]:4711\";by=\"[2001:db8::1]\" ; proto=wss;host=example.com:8443;secret=x") ==
        "2001:db9::5 4711 https://example.com:8443");
  CHECK(of("for=203.0.113.5:4711") == "203.0.113.5 4711 http://app.internal:80");
  CHECK(of("for=unknown;proto=https") == "unknown 0 https://app.internal:443");
  CHECK(of("for=_gazonk") == "_gazonk 0 http://app.internal:80");
  CHECK(of("for=\"_gazonk:_port\"") == "_gazonk 0 http://app.internal:80");
  CHECK(of("for=6.6.6.6, for=203.0.113.5") == "203.0.113.5 0 http://app.internal:80");
  CHECK(of("for=6.6.6.6;proto=http, for=203.0.113.5;proto=https;host=a.example, for=10.2.2.2;proto=http, "
           "for=\"[2001:db8::1]\"") == "203.0.113.5 0 https://a.example:443");
  // a comma and a quote in a quoted string; an unterminated quote from a client
  CHECK(of("for=203.0.113.5;ext=\"a, for=6.6.6.6;b\"") == "203.0.113.5 0 http://app.internal:80");
  CHECK(of("for=\", for=203.0.113.5") == "203.0.113.5 0 http://app.internal:80");
  CHECK(of("for=\"x\\\", for=203.0.113.5") == "203.0.113.5 0 http://app.internal:80");
  CHECK(of("for=203.0.113.5, for=10.1.1.1;ext=\"\\\", for=6.6.6.6\"") == "400 forwarded");
  // an element without `for` is skipped
  CHECK(of("for=6.6.6.6, proto=https") == "10.0.0.1 999 https://app.internal:443");
  CHECK(of(";;for=203.0.113.5;;") == "203.0.113.5 0 http://app.internal:80");
  CHECK(seen(t, {{"Forwarded", "for=6.6.6.6"}, {"Forwarded", "for=203.0.113.5"}}) == "203.0.113.5 0 http://app.internal:80");
}

TEST_CASE("proxies: scheme, host and port") {
  phx::trusted_proxies const t{"10.0.0.0/8"};
  auto const uri = [&](headers const& sent, std::string_view host = "app.internal") {
    std::string text = seen(t, sent, "10.0.0.1", host);
    return text.substr(text.rfind(' ') + 1);
  };
  CHECK(uri({{"X-Forwarded-Proto", "https"}}) == "https://app.internal:443");
  CHECK(uri({{"X-Forwarded-Proto", "https"}}, "app.internal:4000") == "https://app.internal:4000");
  CHECK(uri({{"X-Forwarded-Proto", "WSS"}}) == "https://app.internal:443");  // Traefik, of a WebSocket
  CHECK(uri({{"X-Forwarded-Proto", "ws"}}) == "http://app.internal:80");
  CHECK(uri({{"X-Forwarded-Host", "example.com"}}, "app.internal:4000") == "http://example.com:80");
  CHECK(uri({{"X-Forwarded-Host", "example.com:8080"}, {"X-Forwarded-Port", "80"}}) == "http://example.com:8080");
  CHECK(uri({{"X-Forwarded-Host", "example.com"}, {"X-Forwarded-Port", "8443"}, {"X-Forwarded-Proto", "https"}}) ==
        "https://example.com:8443");
  CHECK(uri({{"X-Forwarded-Port", "8443"}}, "app.internal:4000") == "http://app.internal:8443");
  CHECK(uri({{"X-Forwarded-Host", "[2001:db8::1]:8080"}}) == "http://2001:db8::1:8080");

  // as many entries as were read in X-Forwarded-For
  headers two{{"X-Forwarded-For", "6.6.6.6, 203.0.113.5, 10.2.2.2"},
              {"X-Forwarded-Proto", "http, https, http"},
              {"X-Forwarded-Host", "evil.example, example.com, inside"}};
  CHECK(uri(two) == "https://example.com:443");
  two[1].value = "https";
  two[2].value = "inside";
  CHECK(uri(two) == "https://inside:443");
  two[0].value = "6.6.6.6, 203.0.113.5";
  two[1].value = "http, https";
  CHECK(uri(two) == "https://inside:443");
}

TEST_CASE("proxies: both dialects must agree") {
  phx::trusted_proxies const t{"10.0.0.0/8"};
  auto const both = [&](std::string_view x, std::string_view rfc, headers more = {}) {
    more.push_back({"X-Forwarded-For", x});
    more.push_back({"Forwarded", rfc});
    return seen(t, more);
  };
  std::string const contradiction = "400 forwarded and x-forwarded-* contradict each other";
  CHECK(both("203.0.113.5", "for=203.0.113.5") == "203.0.113.5 0 http://app.internal:80");
  CHECK(both("203.0.113.5", "for=\"[::ffff:203.0.113.5]:9\"") == "203.0.113.5 9 http://app.internal:80");
  CHECK(both("unknown", "for=UNKNOWN") == "unknown 0 http://app.internal:80");
  CHECK(both("203.0.113.5", "proto=https") == "203.0.113.5 0 https://app.internal:443");
  CHECK(both("", "for=203.0.113.5") == "203.0.113.5 0 http://app.internal:80");
  CHECK(both("203.0.113.5", "for=203.0.113.6") == contradiction);
  CHECK(both("203.0.113.5", "for=unknown") == contradiction);
  CHECK(both("203.0.113.5:1", "for=\"203.0.113.5:2\"") == contradiction);
  CHECK(both("203.0.113.5", "for=203.0.113.5;proto=http", {{"X-Forwarded-Proto", "https"}}) == contradiction);
  CHECK(both("203.0.113.5", "for=203.0.113.5;host=a", {{"X-Forwarded-Host", "b"}}) == contradiction);
  CHECK(both("203.0.113.5", "for=203.0.113.5;host=a:1", {{"X-Forwarded-Host", "A:2"}}) == contradiction);
  CHECK(both("203.0.113.5", "for=203.0.113.5;host=a:1", {{"X-Forwarded-Host", "A"}}) == "203.0.113.5 0 http://A:1");
}

TEST_CASE("proxies: only those headers are read that the proxies write") {
  headers const all{{"X-Forwarded-For", "203.0.113.5"},
                    {"X-Forwarded-Proto", "https"},
                    {"X-Forwarded-Host", "example.com"},
                    {"X-Forwarded-Port", "8443"},
                    {"Forwarded", "for=6.6.6.6"}};
  phx::trusted_proxies const t{"10.0.0.0/8"};
  CHECK(seen(t, all).starts_with("400 "));
  CHECK(seen(t.reading({.forwarded = false}), all) == "203.0.113.5 0 https://example.com:8443");
  CHECK(seen(t.reading({.x_forwarded_host = false, .x_forwarded_port = false, .forwarded = false}), all) ==
        "203.0.113.5 0 https://app.internal:443");
  CHECK(seen(t.reading({false, false, false, false, true}), all) == "6.6.6.6 0 http://app.internal:80");
  CHECK(seen(t.reading({false, false, false, false, false}), all) == "10.0.0.1 999 http://app.internal:80");
}

TEST_CASE("proxies: check_origin::conn, connect_info and the throttle see the client") {
  phx::trusted_proxies const t{"10.0.0.0/8"};
  std::array const sent{phx::header{"host", "127.0.0.1:4000"}, phx::header{"origin", "https://example.com"},
                        phx::header{"x-forwarded-for", "203.0.113.5"}, phx::header{"x-forwarded-proto", "https"},
                        phx::header{"x-forwarded-host", "example.com"}};
  phx::mount const m{.origins = phx::check_origin::conn()};
  auto const asked = [&](std::string_view peer) {
    return phx::request::of("GET", "/socket/websocket?vsn=2.0.0", sent, {.address = peer, .port = 1, .ssl_cert = {}});
  };
  phx::request behind = asked("10.0.0.1"), stranger = asked("198.51.100.1");
  CHECK(!m.origin(behind));
  REQUIRE(!t.rewrite(behind));
  REQUIRE(!t.rewrite(stranger));
  CHECK(m.origin(behind));
  CHECK(!m.origin(stranger));

  phx::params const none;
  phx::connect_info const info(behind, none), other(stranger, none);
  CHECK(info.peer_data().address == "203.0.113.5");
  CHECK(info.uri().scheme == "https");
  CHECK(info.uri().port == 443);
  CHECK(other.peer_data().address == "198.51.100.1");
  CHECK(other.uri().scheme == "http");
  // as in Phoenix, and documented: headers are shown as received
  CHECK(phx::header_value(other.x_headers(), "x-forwarded-for") == "203.0.113.5");

  phx::throttle door({.each = {.burst = 1, .every = std::chrono::seconds(1)}});
  CHECK(!door.try_acquire(behind.peer.address, {}));
  CHECK(door.try_acquire("203.0.113.5", {}));
  CHECK(!door.try_acquire("10.0.0.1", {}));
}

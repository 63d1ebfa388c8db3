#include <phx/socket/websocket_connection.hpp>

#include <doctest/doctest.h>

#include <string>

#include <phx/channel/router.hpp>
#include <phx/connect/trusted_proxies.hpp>
#include <phx/testing/fake_loop.hpp>

using namespace std::string_literals;
using namespace std::chrono_literals;

namespace {

/// The stream of a host: the bytes it was given, and how often it was asked to write.
struct stream {
  std::string out{};
  std::size_t flushed = 0, closed = 0, kept = 0;
  void append(std::string_view bytes) noexcept { out.append(bytes); }
  [[nodiscard]] std::size_t unsent() const noexcept { return kept; }
  void flush() noexcept { ++flushed; }
  void close_after_writing() noexcept { ++closed; }
};

struct echo {
  std::string* ended;
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "shout") ctx.broadcast("shout", in.payload);
    return phx::outcome::reply(in.payload);
  }
  void terminate(phx::context&, phx::exit_reason reason) noexcept {
    *ended += reason.detail().empty() ? "closed;" : "lost;";
  }
};

/// A client's frame with a mask of zeros.
std::string client(unsigned first, std::string const& body) {
  return std::string{static_cast<char>(first), static_cast<char>(0x80 | body.size())} + std::string(4, '\0') + body;
}
std::string server(unsigned first, std::string const& body) {
  return std::string{static_cast<char>(first), static_cast<char>(body.size())} + body;
}
std::string const join = client(0x81, R"(["1","1","room:a","phx_join",{}])");
std::string const joined = server(0x81, R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])");

std::string upgrade(std::string const& target = "/socket/websocket?vsn=2.0.0", std::string const& more = "") {
  return "GET " + target +
         " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
         more + "\r\n";
}
std::string const switched =
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The events of the observer.
struct refusals {
  std::string reasons{};
  void on_event(phx::telemetry_event const& e) noexcept { reasons.append(e.event).append(";"); }
};

using app_type = phx::router<>;

struct host {
  std::string ended{};
  app_type app{};
  phx::mount mount{.origins = {"//localhost"}};
  phx::testing::fake_loops loops{};
  host() {
    app.channel("room:*", [this](phx::anonymous const&) { return echo{&ended}; });
  }
};
struct connected {
  explicit connected(host& of) : at(of) {}
  host& at;
  stream to{};
  phx::websocket_connection<stream, app_type> connection{at.loops[0], at.app, at.mount, to};
  connected& receive(std::string bytes) {
    connection.receive(bytes, at.loops.now(), {"127.0.0.1", 50'000, {}});
    return *this;
  }
  std::string take() { return std::exchange(to.out, {}); }
};

}  // namespace

TEST_CASE("websocket_connection: a request, a join and a reply, one byte at a time and all at once") {
  host h;
  connected whole(h), bytewise(h);
  CHECK_FALSE(whole.connection.established());
  whole.receive(upgrade() + join);
  CHECK(whole.connection.established());
  CHECK(whole.take() == switched + joined);
  for (char const byte : upgrade() + join) bytewise.receive(std::string(1, byte));
  CHECK(bytewise.take() == switched + joined);
  CHECK(bytewise.to.closed == 0);
}

TEST_CASE("websocket_connection: inside a turn each connection is flushed once") {
  host h;
  connected one(h), two(h);
  one.receive(upgrade() + join), two.receive(upgrade() + join);
  one.to.flushed = two.to.flushed = 0;
  {
    auto const turn = h.loops[0].turn();
    for (int i = 0; i < 5; ++i) one.receive(client(0x81, R"(["1","2","room:a","shout",{}])"));
    CHECK(one.to.flushed + two.to.flushed == 0);
  }
  CHECK(one.to.flushed == 1);
  CHECK(two.to.flushed == 1);
}

TEST_CASE("websocket_connection: what is no upgrade, or not admitted, gets its HTTP answer and nothing more is read") {
  host h;
  refusals seen;
  h.loops[0].observe(seen);
  auto const status = [&](std::string const& bytes) {
    connected c(h);
    c.receive(bytes).receive(join);
    CHECK(c.to.closed == 1);
    CHECK(c.connection.ended());
    CHECK(c.to.out.find("phx_reply") == std::string::npos);
    return c.to.out.substr(9, 3);
  };
  CHECK(status(upgrade("/elsewhere")) == "404");
  CHECK(status(upgrade("/socket/websocket", "Origin: http://evil.example\r\n")) == "403");
  CHECK(status("GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n") == "400");
  CHECK(status("no HTTP\r\n\r\n") == "400");
  CHECK(status("GET / HTTP/1.1\r\nx: " + std::string(70'000, 'y')) == "431");
  CHECK(seen.reasons == "path;origin;upgrade;");
  CHECK(h.loops[0].sockets() == 0);
}

TEST_CASE("websocket_connection: the client closes, breaks the protocol, or goes away") {
  host h;
  connected closes(h), breaks(h), leaves(h);
  for (connected* const c : {&closes, &breaks, &leaves}) c->receive(upgrade() + join).take();
  closes.receive(client(0x88, "\x03\xe9") + join);
  CHECK(closes.take() == server(0x88, "\x03\xe8"));
  CHECK(closes.to.closed == 1);
  CHECK(h.ended == "closed;");
  breaks.receive(client(0xc1, "[]"));
  CHECK(breaks.take() == server(0x88, "\x03\xea"));
  CHECK(breaks.to.closed == 1);
  leaves.connection.gone();
  leaves.receive(join);
  CHECK(leaves.take() == "");
  CHECK(leaves.to.closed == 0);
  CHECK(h.ended == "closed;closed;lost;");
  CHECK(h.loops[0].sockets() == 0);
}

TEST_CASE("websocket_connection: what phx closes is written first, and what comes later is ignored") {
  host h;
  connected drained(h), malformed(h);
  drained.receive(upgrade() + join).take();
  malformed.receive(upgrade() + client(0x81, "no message") + join);
  CHECK(malformed.to.out.substr(switched.size(), 1) == "\x88");
  CHECK(malformed.to.out.substr(switched.size() + 2, 2) == "\x03\xf3");  // 1011
  CHECK(malformed.to.closed == 1);
  h.loops[0].drain({}, h.loops.now());
  h.loops.settle();
  CHECK(drained.take().ends_with("\x03\xf4" + std::string("draining")));
  drained.receive(join);
  CHECK(drained.take() == "");
  CHECK(drained.to.closed == 1);
  CHECK_FALSE(drained.connection.established());
}

TEST_CASE("websocket_connection: pongs are bounded by limits::outbound") {
  host h;
  h.mount.bounds.outbound = 1'000;
  connected c(h);
  c.receive(upgrade() + client(0x89, "a"));
  CHECK(c.take() == switched + server(0x8a, "a"));
  c.to.kept = 1'001;
  c.receive(client(0x89, "b") + client(0x89, "c"));
  CHECK(c.take() == "");
  CHECK(c.to.closed == 1);
  CHECK(h.loops[0].sockets() == 0);
}

namespace {

/// A host behind a proxy, with a page of its own.
struct behind_proxy : stream {
  phx::trusted_proxies proxies{"10.0.0.1"};
  std::optional<phx::http::response> on_request(phx::http::request& request) {
    if (request.path == "/health") return phx::http::response{200, {}, "well"};
    if (auto no = proxies.rewrite(request)) return std::move(no->answer);
    return std::nullopt;
  }
};

}  // namespace

TEST_CASE("websocket_connection: a stream may change a request, or answer it") {
  std::string address;
  app_type app([&](phx::connect_info const& info) {
    address = info.peer_data().address;
    return phx::connect_outcome<phx::anonymous>(phx::connected<phx::anonymous>{});
  });
  host h;
  auto const ask = [&](std::string bytes) {
    behind_proxy to;
    phx::websocket_connection<behind_proxy, app_type> client(h.loops[0], app, h.mount, to);
    client.receive(bytes, h.loops.now(), {"10.0.0.1", 50'000, {}});
    return to.out;
  };
  CHECK(ask("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n") ==
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nwell");
  CHECK(ask(upgrade("/socket/websocket?vsn=2.0.0", "X-Forwarded-For: 192.0.2.7\r\n")) == switched);
  CHECK(address == "192.0.2.7");
  CHECK(ask(upgrade("/socket/websocket?vsn=2.0.0", "X-Forwarded-For: no address\r\n")).substr(9, 3) == "400");
}

TEST_CASE("websocket_connection: destroyed while open, its channels end") {
  host h;
  std::optional<connected> c(std::in_place, h);
  c->receive(upgrade() + join);
  c->connection.writable(h.loops.now());
  c.reset();
  CHECK(h.ended == "lost;");
}

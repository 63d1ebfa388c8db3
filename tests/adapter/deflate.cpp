// permessage-deflate at the hosts of adapter/: one option, the same answers.
#include <phx/adapter/blocking.hpp>
#include <phx/websocket/deflate.hpp>
#ifdef __linux__
#include <phx/adapter/epoll.hpp>
#endif

#include <doctest/doctest.h>
#include <zlib.h>

#include <future>
#include <string>
#include <vector>

#include "support/beast_host.hpp"
#include "support/raw_client.hpp"

using namespace std::string_literals;
using phx_tests::raw_client;

namespace {

constexpr auto offer = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n";

/// A client's zlib: each message by itself, unless it keeps its windows.
struct client_zlib {
  explicit client_zlib(bool takeover = false) : takeover_(takeover) {
    REQUIRE(inflateInit2(&in_, -15) == Z_OK);
    REQUIRE(deflateInit2(&out_, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  }
  ~client_zlib() {
    inflateEnd(&in_);
    deflateEnd(&out_);
  }
  client_zlib(client_zlib const&) = delete;
  client_zlib& operator=(client_zlib const&) = delete;
  std::string text(raw_client::message const& m) {
    if (m.first == 0x81) return m.data;
    if (m.first != 0xC1) return "frame " + std::to_string(m.first);
    std::string bytes = m.data + "\0\0\xff\xff"s, out(20'000'000, ' ');
    in_.next_in = reinterpret_cast<Bytef*>(bytes.data());
    in_.avail_in = static_cast<uInt>(bytes.size());
    in_.next_out = reinterpret_cast<Bytef*>(out.data());
    in_.avail_out = static_cast<uInt>(out.size());
    int const status = inflate(&in_, Z_SYNC_FLUSH);
    out.erase(out.size() - in_.avail_out);
    if (!takeover_) inflateReset(&in_);
    return status == Z_OK ? out : "broken";
  }
  std::string message(std::string text) {
    std::string out(deflateBound(&out_, text.size()) + 100, ' ');
    out_.next_in = reinterpret_cast<Bytef*>(text.data());
    out_.avail_in = static_cast<uInt>(text.size());
    out_.next_out = reinterpret_cast<Bytef*>(out.data());
    out_.avail_out = static_cast<uInt>(out.size());
    (void)deflate(&out_, Z_SYNC_FLUSH);
    out.resize(out.size() - out_.avail_out - 4);
    if (!takeover_) deflateReset(&out_);
    return out;
  }

 private:
  z_stream in_{}, out_{};
  bool takeover_;
};

struct on_beast {
  explicit on_beast(phx::websocket::deflate_options const& o, bool on = true) : host(options(o, on), 1, bounded()) {}
  static phx::beast::options options(phx::websocket::deflate_options const& o, bool on) {
    auto opts = phx_tests::on_beast::quick();
    if (on) opts.compression = phx::websocket::permessage_deflate(o);
    return opts;
  }
  static phx::mount bounded() {
    phx::mount m;
    m.bounds.frame = 1'000'000;
    return m;
  }
  [[nodiscard]] std::uint16_t port() const { return host.server.port(); }
  phx_tests::on_beast::running host;
};
struct on_threads {
  explicit on_threads(phx::websocket::deflate_options const& o, bool on = true) : server(app, options(o, on)) {
    app.channel<phx_tests::host_room>("room:*");
    thread = std::thread([this] { server.run(); });
  }
  ~on_threads() {
    server.stop();
    thread.join();
  }
  on_threads(on_threads const&) = delete;
  on_threads& operator=(on_threads const&) = delete;
  static phx::blocking::options options(phx::websocket::deflate_options const& o, bool on) {
    phx::blocking::options opts{.port = 0, .mount = on_beast::bounded()};
    opts.goodbye = std::chrono::milliseconds(500);
    if (on) opts.compression = phx::websocket::permessage_deflate(o);
    return opts;
  }
  [[nodiscard]] std::uint16_t port() const { return server.port(); }
  phx::router<> app{};
  phx::blocking::server<phx::router<>> server;
  std::thread thread;
};

#ifdef __linux__
struct on_epoll {
  explicit on_epoll(phx::websocket::deflate_options const& o, bool on = true) : server(app, options(o, on)) {
    app.channel<phx_tests::host_room>("room:*");
    thread = std::thread([this] { server.run(); });
  }
  ~on_epoll() {
    server.drain();
    thread.join();
  }
  on_epoll(on_epoll const&) = delete;
  on_epoll& operator=(on_epoll const&) = delete;
  static phx::epoll::options options(phx::websocket::deflate_options const& o, bool on) {
    phx::epoll::options opts{.port = 0, .mount = on_beast::bounded()};
    opts.goodbye = std::chrono::milliseconds(500);
    if (on) opts.compression = phx::websocket::permessage_deflate(o);
    return opts;
  }
  [[nodiscard]] std::uint16_t port() const { return server.port(); }
  phx::router<> app{};
  phx::epoll::server server;
  std::thread thread;
};
#define ALL_HOSTS on_beast, on_threads, on_epoll
#else
#define ALL_HOSTS on_beast, on_threads
#endif

constexpr auto join = R"(["1","1","room:a","phx_join",{}])";
constexpr auto joined = R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])";

template <class Host>
raw_client connected(Host const& h, std::string const& headers = offer) {
  raw_client c(h.port());
  REQUIRE(c.open("/socket/websocket?vsn=2.0.0", headers) == 101);
  return c;
}
template <class Host>
raw_client in_room(Host const& h, std::string const& headers = offer) {
  raw_client c = connected(h, headers);
  REQUIRE(c.text(join));
  REQUIRE(c.read().data == joined);
  return c;
}
std::string const large = "{\"items\":\"" + std::string(5000, 'x') + "\"}";
std::string shout(std::string const& payload) { return R"(["1","2","room:a","shout",)" + payload + "]"; }
std::string shouted(std::string const& payload) { return R"([null,null,"room:a","shout",)" + payload + "]"; }

}  // namespace

TEST_CASE_TEMPLATE("deflate at a host: agreed on, in both directions, in fragments too", Host, ALL_HOSTS) {
  Host const h({});
  client_zlib z;
  raw_client c = connected(h);
  CHECK(c.head().find("\r\nsec-websocket-extensions: permessage-deflate; server_no_context_takeover; "
                      "client_no_context_takeover\r\n") != std::string::npos);
  CHECK(c.send(raw_client::frame(0xC1, z.message(join))));
  CHECK(c.read().data == joined);  // shorter than min_size
  std::string const echo = z.message(R"(["1","2","room:a","echo",)" + large + "]");
  for (int i = 0; i < 2; ++i) {
    if (i == 0)
      CHECK(c.send(raw_client::frame(0xC1, echo)));
    else
      CHECK(c.send(raw_client::frame(0x41, echo.substr(0, 9)) + raw_client::frame(0x89, "p") + raw_client::frame(0x00, "") +
                   raw_client::frame(0x80, echo.substr(9))));
    raw_client::message m = c.read();
    if (i == 1) {
      CHECK(m.first == 0x8A);
      m = c.read();
    }
    CHECK(m.first == 0xC1);
    CHECK(m.data.size() < 200);
    CHECK(z.text(m) == R"(["1","2","room:a","phx_reply",{"status":"ok","response":)" + large + "}]");
  }
  CHECK(c.close(1000));
  CHECK(c.read().closed() == 1000);
}

TEST_CASE_TEMPLATE("deflate at a host: all recipients of a broadcast get the same bytes", Host, ALL_HOSTS) {
  Host const h({});
  raw_client a = in_room(h), b = in_room(h), plain = in_room(h, ""),
             small = in_room(h, "sec-websocket-extensions: permessage-deflate; server_max_window_bits=9\r\n");
  CHECK(plain.head().find("sec-websocket-extensions") == std::string::npos);
  CHECK(small.head().find("; server_max_window_bits=9\r\n") != std::string::npos);
  CHECK(plain.text(shout(large)));
  raw_client::message const first = a.read();
  CHECK(first.first == 0xC1);
  CHECK(client_zlib().text(first) == shouted(large));
  CHECK(b.read().data == first.data);
  CHECK(client_zlib().text(small.read()) == shouted(large));
  raw_client::message const uncompressed = plain.read();
  CHECK(uncompressed.first == 0x81);
  CHECK(uncompressed.data == shouted(large));
}

TEST_CASE_TEMPLATE("deflate at a host: off, an offer is ignored and RSV1 is 1002", Host, ALL_HOSTS) {
  Host const h({}, false);
  raw_client c = in_room(h);
  CHECK(c.head().find("sec-websocket-extensions") == std::string::npos);
  CHECK(c.send(raw_client::frame(0xC1, client_zlib().message(join))));
  CHECK(c.read_close() == 1002);
}

TEST_CASE_TEMPLATE("deflate at a host: a wrong offer is declined and the connection goes on", Host, ALL_HOSTS) {
  Host const h({});
  raw_client c = in_room(h, "sec-websocket-extensions: permessage-deflate; client_max_window_bits=99\r\n");
  CHECK(c.head().find("sec-websocket-extensions") == std::string::npos);
  CHECK(c.text(shout(large)));
  CHECK(c.read().first == 0x81);
}

TEST_CASE_TEMPLATE("deflate at a host: bombs are 1009, broken streams and text 1007, stray bits 1002", Host, ALL_HOSTS) {
  Host const h({});
  client_zlib z;
  auto const ends_with = [&](std::string const& bytes) {
    raw_client c = in_room(h);
    CHECK(c.send(bytes));
    return c.read_close();
  };
  CHECK(ends_with(raw_client::frame(0xC2, z.message(std::string(10'000'000, ' ')))) == 1009);
  CHECK(ends_with(raw_client::frame(0xC2, z.message(std::string(1'000'001, ' ')))) == 1009);
  CHECK(ends_with(raw_client::frame(0xC1, "\xff\xff\xff")) == 1007);
  CHECK(ends_with(raw_client::frame(0xC1, z.message("[\"\xff\"]"))) == 1007);
  CHECK(ends_with(raw_client::frame(0x41, z.message(join)) + raw_client::frame(0xC0, "")) == 1002);
  CHECK(ends_with(raw_client::frame(0xA1, join)) == 1002);
  CHECK(ends_with(raw_client::frame(0xC9, "")) == 1002);
  CHECK(ends_with(raw_client::frame(0xC1, z.message("no message"))) == 1011);
  raw_client c = in_room(h);  // the others do not suffer
  CHECK(c.send(raw_client::frame(0xC1, z.message(shout("{}")))));
  CHECK(z.text(c.read()) == shouted("{}"));
}

TEST_CASE_TEMPLATE("deflate at a host: with windows for each connection messages refer to those before", Host, ALL_HOSTS) {
  Host const h({.server_context_takeover = true, .client_context_takeover = true});
  client_zlib z(true), other(true);
  raw_client c = in_room(h), d = in_room(h);
  CHECK(c.head().find("\r\nsec-websocket-extensions: permessage-deflate\r\n") != std::string::npos);
  std::string payload = "{\"a\":\"";
  for (unsigned i = 0; i < 900; ++i) payload += static_cast<char>('a' + i * i * i % 23 % 17);
  payload += "\"}";
  std::size_t first = 0, sent = 0;
  for (int i = 0; i < 3; ++i) {
    std::string const bytes = z.message(shout(payload));
    CHECK(c.send(raw_client::frame(0xC1, bytes)));
    raw_client::message const m = c.read(), n = d.read();
    CHECK(z.text(m) == shouted(payload));
    CHECK(other.text(n) == shouted(payload));
    if (i == 0) {
      first = m.data.size();
      sent = bytes.size();
    }
    if (i == 2) {
      CHECK(m.data.size() * 2 < first);
      CHECK(bytes.size() * 2 < sent);
    }
  }
}

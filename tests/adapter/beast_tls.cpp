#include <phx/adapter/beast_tls.hpp>

#include <doctest/doctest.h>
#include <malloc.h>
#include <openssl/pem.h>

#include <filesystem>

#include "support/beast_host.hpp"
#include "support/tls_client.hpp"

using namespace std::chrono_literals;
using namespace phx_tests::on_beast;
using phx::beast::tls;
using phx_tests::raw_client;
using phx_tests::tls_client;
using terms = phx_tests::tls_terms;

namespace {

tls const& certificate() {
  static tls const one = tls::self_signed();
  return one;
}
X509* of(tls const& t) { return SSL_CTX_get0_certificate(t.native_handle()); }

struct secured : running {
  explicit secured(phx::beast::options o = quick(), unsigned threads = 1, phx::mount m = {}, tls const& with = certificate())
      : running(std::move(o), threads, std::move(m), {}, [&](phx::beast::server& s) {
          s.secure(with);
          s.route([](phx::beast::http_request const& r) -> std::optional<phx::http_answer> {
            if (r.path != "/how") return std::nullopt;
            return phx::http_answer{200, {}, std::string(r.scheme) + ' ' + std::string(r.peer.ssl_cert.value_or("nobody"))};
          });
        }) {}
  [[nodiscard]] tls_client stranger(terms const& mode = {}) const { return tls_client(server.port(), mode); }
  [[nodiscard]] tls_client client(terms const& mode = {}) const {
    tls_client c = stranger(mode);
    REQUIRE(c.shake());
    return c;
  }
  [[nodiscard]] tls_client joined(std::string const& topic = "room:a", terms const& mode = {}) const {
    tls_client c = client(mode);
    join(c, topic);
    return c;
  }
  /// True if the server still accepts new clients.
  [[nodiscard]] bool well() const {
    tls_client c = joined("room:well");
    return c.text(R"(["1","2","room:well","echo",{}])") && c.read().data.find(R"("status":"ok")") != std::string::npos;
  }
};

bool beats(raw_client& c) {
  return c.text(R"([null,"1","phoenix","heartbeat",{}])") &&
         c.read().data == R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])";
}

/// Bytes that OpenSSL has allocated in this process.
std::atomic<std::int64_t> in_hand{0};
void took(void* p, std::int64_t sign) { in_hand += sign * static_cast<std::int64_t>(malloc_usable_size(p)); }
bool const counted = CRYPTO_set_mem_functions(
                         [](std::size_t n, char const*, int) {
                           void* const p = std::malloc(n);
                           took(p, 1);
                           return p;
                         },
                         [](void* p, std::size_t n, char const*, int) {
                           took(p, -1);
                           if (n == 0) return std::free(p), static_cast<void*>(nullptr);
                           void* const q = std::realloc(p, n);
                           took(q != nullptr ? q : p, 1);
                           return q;
                         },
                         [](void* p, char const*, int) {
                           took(p, -1);
                           std::free(p);
                         }) == 1;

/// A temporary folder of this test.
struct folder {
  std::filesystem::path at = std::filesystem::temp_directory_path() / ("phx-tls-" + std::to_string(::getpid()));
  folder() { std::filesystem::create_directory(at); }
  ~folder() { std::filesystem::remove_all(at); }
  template <class F>
  std::string file(char const* name, F write) const {
    std::string const path = at / name;
    std::unique_ptr<BIO, int (*)(BIO*)> const to(BIO_new_file(path.c_str(), "w"), &BIO_free);
    REQUIRE(write(to.get()) == 1);
    return path;
  }
};

}  // namespace

TEST_CASE("beast_tls: a client upgrades, joins, gets an echo, and closes, with TLS 1.3 and 1.2") {
  for (int const version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    CAPTURE(version);
    secured r;
    tls_client c = r.joined("room:a", {.newest = version});
    CHECK(SSL_version(c.tls()) == version);
    CHECK(c.text(R"(["1","2","room:a","echo",{"n":1}])"));
    CHECK(c.read().data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"n":1}}])");
    CHECK(c.close(1000));
    CHECK(c.read().closed() == 1000);
    CHECK(c.read().ended);
    CHECK(c.told_of_end());
    c.drop();
    CHECK(r.connections(0));
  }
}

TEST_CASE("beast_tls: routes are https, requests of a connection are answered in turn, and it may become a WebSocket") {
  secured r;
  tls_client c = r.client();
  for (int i = 0; i < 3; ++i) {
    CHECK(c.send(request("GET", "/how")));
    CHECK(c.read_head() == 200);
    CHECK(c.read_body() == "https nobody");
  }
  std::string const body(60'000, 'b');
  CHECK(c.send(request("POST", "/body", "content-length: 60000\r\n", body) + request("HEAD", "/peer")));
  CHECK(c.read_head() == 200);
  CHECK(c.read_body() == body);
  CHECK(c.read_head() == 200);
  // and data in the same record is not lost
  CHECK(c.send(raw_client::upgrade_request("/socket/websocket?vsn=2.0.0") +
               raw_client::frame(0x81, R"([null,"2","phoenix","heartbeat",{}])")));
  CHECK(c.read_head() == 101);
  CHECK(c.read().data == R"([null,"2","phoenix","phx_reply",{"status":"ok","response":{}}])");
  CHECK(beats(c));
}

TEST_CASE("beast_tls: late responses and polls run on their loops") {
  secured r(quick(2), 2, polled());
  tls_client c = r.client(), d = r.client(), late = r.client();
  poller p;
  p.open(c);
  p.join(d);
  CHECK(d.send(p.poll_request()));
  CHECK(p.post(c, R"(["1","2","room:a","echo",{"n":1}])") == R"({"status":200})");
  CHECK(poller::answer(d) == p.with(R"([\"1\",\"2\",\"room:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"n\":1}}])"));
  CHECK(late.send(request("GET", "/later")));
  r.next_waiting()({200, {}, "at last"});
  CHECK(late.read_head() == 200);
  CHECK(late.read_body() == "at last");
}

TEST_CASE("beast_tls: everything may arrive byte by byte, including the TLS handshake") {
  for (int const version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    CAPTURE(version);
    secured r;
    tls_client c = r.joined("room:a", {.newest = version, .piece = 1});
    CHECK(beats(c));
  }
}

TEST_CASE("beast_tls: a large message arrives completely in both directions") {
  secured r;
  tls_client c = r.joined();
  std::string const body = "{\"x\":\"" + std::string(900'000, 'y') + "\"}";
  CHECK(c.text(R"(["1","2","room:a","echo",)" + body + "]"));
  CHECK(c.read().data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":)" + body + "}]");
}

TEST_CASE("beast_tls: data much larger than the socket's buffer arrives completely and in order") {
  phx::mount m = polled();
  m.bounds.outbound = 200'000'000;
  secured r(quick(), 1, m);
  tls_client c = r.joined("room:a", {.receive_buffer = 4096});
  CHECK(c.text(R"(["1","2","room:a","flood",{"less":1}])"));
  CHECK(c.text(R"(["1","3","room:a","echo",{}])"));
  for (int i = 0; i < 120; ++i) REQUIRE(c.read().data.size() > 65536);
  CHECK(c.read().data == R"(["1","3","room:a","phx_reply",{"status":"ok","response":{}}])");
  // a poll's response too, which is one piece
  tls_client d = r.client({.receive_buffer = 4096});
  poller p;
  p.open(d);
  p.join(d);
  CHECK(p.post(d, R"(["1","2","room:a","flood",{"less":1}])") == R"({"status":200})");
  std::string const text = p.poll(d);
  CHECK(text.size() > std::size_t{120} * 65536);
  CHECK(text.ends_with(p.token + "\"}"));
}

TEST_CASE("beast_tls: the small messages of a turn make one record") {
  struct counter {
    int data = 0;
    static void record(int sent, int, int type, void const* bytes, std::size_t, SSL*, void* to) {
      if (sent == 0 && type == SSL3_RT_HEADER && *static_cast<unsigned char const*>(bytes) == SSL3_RT_APPLICATION_DATA)
        ++static_cast<counter*>(to)->data;
    }
  } records;
  secured r;
  tls_client c = r.joined("room:a", {.newest = TLS1_2_VERSION, .adjust = [&](SSL* s) {
                                       SSL_set_msg_callback(s, &counter::record);
                                       SSL_set_msg_callback_arg(s, &records);
                                     }});
  int const before = records.data;
  std::string all;
  for (int i = 0; i < 20; ++i) all += raw_client::frame(0x81, R"([null,"1","phoenix","heartbeat",{}])");
  CHECK(c.send(all));
  for (int i = 0; i < 20; ++i) CHECK(c.read().data.find("phx_reply") != std::string::npos);
  CHECK(records.data - before == 1);
}

TEST_CASE("beast_tls: clients on all loops receive each other's broadcasts") {
  secured r(quick(4), 2);
  std::vector<tls_client> all;
  for (int i = 0; i < 8; ++i) all.push_back(r.joined());
  CHECK(all[0].text(R"(["1","2","room:a","shout",{"n":1}])"));
  for (tls_client& c : all) CHECK(c.read().data == R"([null,null,"room:a","shout",{"n":1}])");
}

// ---- invalid clients

TEST_CASE("beast_tls: a client that starts with HTTP gets 400 without TLS, however much it sends") {
  secured r;
  for (std::string const& bytes : {request("GET", "/"), request("OPTIONS", "/socket/longpoll"), std::string("G"),
                                   raw_client::upgrade_request("/socket/websocket?vsn=2.0.0"),
                                   request("POST", "/body", "content-length: 100000\r\n", std::string(100'000, 'x'))}) {
    raw_client c = r.running::client();
    CHECK(c.send(bytes));
    CHECK(c.read_all() == "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
  }
  CHECK(r.connections(0));
  CHECK(r.well());
}

TEST_CASE("beast_tls: a client that starts with neither TLS nor a ClientHello is disconnected; others are not affected") {
  secured r;
  tls_client before = r.joined();
  std::string const zero(1, '\0');
  for (std::string const& bytes :
       {zero, std::string("\x80\x2e\x01\x03\x01", 5), std::string("\xff\xff\xff\xff"), std::string("\r\n\r\n"),
        std::string("get / http/1.1\r\n"), std::string("\x16\x03\x01\x00\x05\x02\x00\x00\x01x", 10),
        "\x16\x03\x01\xff\xff" + std::string(70'000, 'x'), std::string("\x16\x03\x01\x00\x2e", 5) + std::string(46, '\xff'),
        std::string("\x16GET / HTTP/1.1\r\n\r\n"),
        std::string("\x16\x03\x01\x00\x06", 5) + "\x01" + std::string("\x00\x00\x02\x03\x03", 5)}) {
    raw_client c = r.running::client();
    (void)c.send(bytes);  // the server may disconnect at the first byte
    CHECK(c.read_end());
  }
  CHECK(r.connections(1));
  CHECK(beats(before));
  CHECK(r.well());
}

TEST_CASE("beast_tls: a ClientHello larger than tls::hello_bytes is disconnected as soon as its length arrives") {
  secured r;  // the handshake's deadline is 10 s
  raw_client c = r.running::client();
  CHECK(c.send(std::string("\x16\x03\x01\x02\x00\x01\x00\x40\x01", 9)));
  CHECK(c.read_end());
  CHECK(r.connections(0));
  auto const with_protocols = [](unsigned count) {
    return terms{.adjust = [count](SSL* s) {
      std::string names;
      for (unsigned i = 0; i < count; ++i) names += '\xff' + std::string(255, 'p');
      SSL_set_alpn_protos(s, reinterpret_cast<unsigned char const*>(names.data()), static_cast<unsigned>(names.size()));
    }};
  };
  tls_client large = r.client(with_protocols(60));
  CHECK(large.open() == 101);
  tls_client larger = r.stranger(with_protocols(64));
  CHECK_FALSE(larger.shake());
  CHECK(r.well());
}

TEST_CASE("beast_tls: the guard finds an oversized ClientHello, however it is fragmented and wherever it occurs") {
  using phx::beast::detail::hello_guard;
  using result = hello_guard::result;
  auto const record = [](int type, std::string const& inside) {
    return std::string{static_cast<char>(type), 3, 1, static_cast<char>(inside.size() >> 8),
                       static_cast<char>(inside.size())} +
           inside;
  };
  auto const message = [](int type, std::size_t size) {
    return std::string{static_cast<char>(type), 0, static_cast<char>(size >> 8), static_cast<char>(size)} +
           std::string(size, 'x');
  };
  auto const judge = [](std::string const& bytes, std::size_t piece, bool old = false) {
    hello_guard guard(1000);
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      if (result const v = guard.check(std::string_view(bytes).substr(at, piece), old); v != result::accepted) return v;
    return result::accepted;
  };
  std::string const fits = message(1, 1000), larger = message(1, 1001);
  std::string in_pieces, fits_in_pieces;
  for (char const c : larger.substr(0, 8)) in_pieces += record(22, {c}) + record(22, "");
  for (std::size_t at = 0; at < fits.size(); at += 3) fits_in_pieces += record(22, fits.substr(at, 3));
  for (std::size_t const piece : {std::size_t{1}, std::size_t{7}, std::size_t{100'000}}) {
    CAPTURE(piece);
    CHECK(judge(record(22, fits), piece) == result::accepted);
    CHECK(judge(record(22, larger), piece) == result::refused);
    CHECK(judge(in_pieces, piece) == result::refused);
    CHECK(judge(fits_in_pieces, piece) == result::accepted);
    CHECK(judge(fits_in_pieces + record(22, larger), piece) == result::refused);
    // after a HelloRetryRequest (TLS 1.3), after a ChangeCipherSpec, and after early data
    CHECK(judge(record(22, fits) + record(20, "\1") + record(22, larger), piece) == result::refused);
    CHECK(judge(record(22, fits) + record(23, std::string(500, '\1')) + record(22, larger), piece) == result::refused);
    // encrypted records are not read: after a key exchange, or in a resumed TLS 1.2 session
    CHECK(judge(record(22, fits) + record(22, message(16, 66)) + record(20, "\1") + record(22, larger), piece) ==
          result::accepted);
    CHECK(judge(record(22, fits) + record(20, "\1") + record(22, larger), piece, true) == result::accepted);
    CHECK(judge("GET / HTTP/1.1\r\n", piece) == result::http);
    CHECK(judge("get", piece) == result::refused);
  }
}

TEST_CASE("beast_tls: a ClientHello after a HelloRetryRequest is allowed") {
  tls const narrow = tls::self_signed();
  REQUIRE(SSL_CTX_set1_groups_list(narrow.native_handle(), "P-256") == 1);
  secured r(quick(), 1, {}, narrow);
  int hellos = 0;
  tls_client c = r.joined(
      "room:a", {.adjust = [&](SSL* s) {
        SSL_set_msg_callback(s, [](int sent, int, int type, void const* bytes, std::size_t, SSL*, void* to) {
          if (sent == 1 && type == SSL3_RT_HANDSHAKE && *static_cast<unsigned char const*>(bytes) == SSL3_MT_CLIENT_HELLO)
            ++*static_cast<int*>(to);
        });
        SSL_set_msg_callback_arg(s, &hellos);
        SSL_set1_groups_list(s, "X25519:P-256");
      }});
  CHECK(hellos == 2);
  CHECK(beats(c));
}

TEST_CASE("beast_tls: versions before 1.2 and ciphers without forward secrecy are refused with an alert") {
  secured r;
  tls_client old = r.stranger({.newest = TLS1_1_VERSION});
  CHECK_FALSE(old.shake());
  CHECK(old.reason() == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
  for (char const* const cipher : {"ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"}) {
    tls_client weak = r.stranger({.newest = TLS1_2_VERSION, .adjust = [&](SSL* s) { SSL_set_cipher_list(s, cipher); }});
    CHECK_FALSE(weak.shake());
    CHECK(weak.reason() == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
  }
  CHECK(r.connections(0));
  CHECK(r.well());
}

TEST_CASE("beast_tls: a client that stops in the middle of a handshake is disconnected after options::handshake") {
  phx::beast::options o = quick();
  o.handshake = 300ms;
  secured r(o);
  std::vector<tls_client> all;
  for (std::size_t const sent : {0u, 1u, 5u, 6u, 9u, 100u}) {
    tls_client& c = all.emplace_back(r.stranger());
    CHECK(c.raw(c.hello().substr(0, sent)));
  }
  tls_client& half = all.emplace_back(r.stranger());  // the server has answered
  CHECK(half.raw(half.hello()));
  for (tls_client& c : all) CHECK(c.read_end());
  CHECK(r.connections(0));

  // On a busy machine a complete handshake may be too slow: try once more.
  auto const in_time = [&](auto what_comes_of_it) {
    for (int i = 0; i < 20; ++i)
      if (tls_client c = r.stranger(); c.shake() && what_comes_of_it(c)) return true;
    return false;
  };
  CHECK(in_time([](tls_client& silent) { return silent.read_all().empty() && silent.read_end(); }));
  CHECK(in_time(
      [](tls_client& c) { return c.send("GET / HTTP") && c.read_head() == 408 && c.read_end() && c.told_of_end(); }));
  CHECK(r.connections(0));
}

TEST_CASE("beast_tls: a client that disconnects in the middle of a handshake ends its connection") {
  secured r;
  for (std::size_t const sent : {0u, 1u, 5u, 6u, 9u, 100u, 100'000u}) {
    tls_client c = r.stranger();
    CHECK(c.raw(c.hello().substr(0, sent)));
    if (sent % 2 == 0)
      c.end_sending();
    else
      c.drop();
    if (sent % 2 == 0) CHECK(c.read_end());
  }
  CHECK(r.connections(0));
  CHECK(r.well());
}

TEST_CASE("beast_tls: a connection may end without close_notify") {
  secured r;
  { tls_client const c = r.joined(); }  // the kernel reports the end, TLS does not
  CHECK(r.seen.has("channel_ended   lost", 1));
  tls_client polite = r.joined();
  SSL_shutdown(polite.tls());
  CHECK(polite.flush());
  CHECK(r.seen.has("channel_ended   lost", 2));
  CHECK(polite.read_end());
  {
    tls_client cut = r.client();
    CHECK(cut.send(request("POST", "/body", "content-length: 10\r\n", "half")));
    cut.end_sending();
    CHECK(cut.read_all().empty());  // a truncated body is discarded
  }
  CHECK(r.connections(0));
  CHECK(r.well());
}

TEST_CASE("beast_tls: renegotiation is refused, and the client disconnected") {
  secured r;
  tls_client other = r.joined();
  tls_client c = r.joined("room:a", {.newest = TLS1_2_VERSION});
  REQUIRE(SSL_renegotiate(c.tls()) == 1);
  CHECK(c.raw(c.hello()));
  CHECK(c.hung_up_on());
  CHECK_FALSE(c.shake());
  CHECK(c.reason() == SSL_R_NO_RENEGOTIATION);
  CHECK(r.seen.has("channel_ended   lost"));
  CHECK(r.connections(1));
  CHECK(beats(other));
}

TEST_CASE("beast_tls: key updates may come any number of times") {
  secured r;
  tls_client c = r.joined();
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(SSL_key_update(c.tls(), i % 10 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
    REQUIRE(SSL_do_handshake(c.tls()) == 1);
    if (i % 100 == 0) CHECK(c.flush());
  }
  CHECK(c.flush());
  CHECK(beats(c));
  CHECK(beats(c));
}

TEST_CASE("beast_tls: data that cannot be decrypted ends the connection and its channels") {
  for (int const version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    CAPTURE(version);
    secured r;
    tls_client c = r.joined("room:a", {.newest = version}), other = r.joined();
    CHECK(c.raw("\x17\x03\x03" + std::string("\x00\x40", 2) + std::string(64, 'x')));
    CHECK(c.read_end());
    CHECK(c.reason() == SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    CHECK(r.seen.has("channel_ended   lost"));
    CHECK(r.connections(1));
    CHECK(beats(other));
  }
}

// ---- throttle

TEST_CASE("beast_tls: a connection that is refused anyway is closed before a handshake") {
  phx::beast::options o = quick();
  SUBCASE("by the throttle") { o.throttle.each = {.burst = 1, .every = 1h}; }
  SUBCASE("by max_connections") { o.max_connections = 1; }
  bool const throttled = o.throttle.each.burst != 0;
  secured r(o);
  tls_client first = r.joined();
  for (int i = 0; i < 3; ++i) {
    tls_client late = r.stranger();
    CHECK_FALSE(late.shake());
    CHECK(late.reason() == 0);  // without any answer
  }
  CHECK(r.seen.has("connect_refused too_often", throttled ? 3 : 0));
  CHECK(beats(first));
  CHECK(r.connections(1));
}

TEST_CASE("beast_tls: a refused connect is delayed here too") {
  phx::beast::options o = quick();
  o.throttle.refuse_after = 50ms;
  secured r(o);
  tls_client c = r.client();
  auto const asked = std::chrono::steady_clock::now();
  CHECK(c.open("/socket/websocket?vsn=9.0.0") == 403);
  CHECK(std::chrono::steady_clock::now() - asked >= 50ms);
}

// ---- certificates

TEST_CASE("beast_tls: a host may pass its own context; peer_data has the client's certificate") {
  tls const mine = tls::self_signed("DNS:mine.example"), theirs = tls::self_signed("DNS:theirs.example");
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> own(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  REQUIRE(SSL_CTX_use_certificate(own.get(), of(mine)) == 1);
  REQUIRE(SSL_CTX_use_PrivateKey(own.get(), SSL_CTX_get0_privatekey(mine.native_handle())) == 1);
  SSL_CTX_set_verify(own.get(), SSL_VERIFY_PEER, [](int, X509_STORE_CTX*) { return 1; });
  std::optional<secured> r;
  r.emplace(quick(), 1u, phx::mount{}, tls(own.get()));
  own.reset();  // the server shares ownership
  tls_client c = r->client({.adjust = [&](SSL* s) {
    SSL_use_certificate(s, of(theirs));
    SSL_use_PrivateKey(s, SSL_CTX_get0_privatekey(theirs.native_handle()));
  }});
  CHECK(X509_cmp(SSL_get0_peer_certificate(c.tls()), of(mine)) == 0);
  CHECK(c.send(request("GET", "/how")));
  CHECK(c.read_head() == 200);
  std::string const text = c.read_body();
  unsigned char* der = nullptr;
  int const size = i2d_X509(of(theirs), &der);
  REQUIRE(size > 0);
  CHECK(text == "https " + std::string(reinterpret_cast<char const*>(der), static_cast<std::size_t>(size)));
  OPENSSL_free(der);
  tls_client anonymous = r->client();
  CHECK(anonymous.send(request("GET", "/how")));
  CHECK(anonymous.read_head() == 200);
  CHECK(anonymous.read_body() == "https nobody");
}

TEST_CASE("beast_tls: a new certificate applies to later connections; existing ones continue") {
  secured r(quick(2), 2);
  tls_client before = r.joined();
  CHECK(X509_cmp(SSL_get0_peer_certificate(before.tls()), of(certificate())) == 0);
  {
    tls const next = tls::self_signed();
    r.server.secure(next);
    for (int i = 0; i < 3; ++i) CHECK(X509_cmp(SSL_get0_peer_certificate(r.client().tls()), of(next)) == 0);
  }
  CHECK(r.well());  // the server has its own reference
  CHECK(beats(before));
}

TEST_CASE("beast_tls: TLS may be enabled while the server runs") {
  running r;
  raw_client before = r.joined();
  r.server.secure(certificate());
  tls_client c(r.server.port());
  CHECK(c.shake());
  CHECK(c.open() == 101);
  CHECK(beats(before));
}

TEST_CASE("beast_tls: a returning client resumes its session by a ticket") {
  for (int const version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    CAPTURE(version);
    secured r;
    std::unique_ptr<SSL_SESSION, void (*)(SSL_SESSION*)> session(nullptr, &SSL_SESSION_free);
    {
      tls_client c = r.joined("room:a", {.newest = version});
      CHECK(SSL_session_reused(c.tls()) == 0);
      CHECK(c.close(1000));
      CHECK(c.read_close() == 1000);
      SSL_shutdown(c.tls());  // otherwise OpenSSL treats the session as broken
      session.reset(SSL_get1_session(c.tls()));
    }
    tls_client c = r.joined("room:a", {.newest = version, .adjust = [&](SSL* s) { SSL_set_session(s, session.get()); }});
    CHECK(SSL_session_reused(c.tls()) == 1);
    CHECK(beats(c));
  }
}

TEST_CASE("beast_tls: missing files, files that do not match, and encrypted keys are reported at once") {
  folder const local;
  tls const a = certificate(), b = tls::self_signed();
  auto const key_of = [&](tls const& t) { return SSL_CTX_get0_privatekey(t.native_handle()); };
  std::string const chain = local.file("chain.pem", [&](BIO* to) { return PEM_write_bio_X509(to, of(a)); });
  std::string const key = local.file(
      "key.pem", [&](BIO* to) { return PEM_write_bio_PrivateKey(to, key_of(a), nullptr, nullptr, 0, nullptr, nullptr); });
  std::string const others = local.file(
      "other.pem", [&](BIO* to) { return PEM_write_bio_PrivateKey(to, key_of(b), nullptr, nullptr, 0, nullptr, nullptr); });
  std::string const locked = local.file("locked.pem", [&](BIO* to) {
    unsigned char phrase[] = "secret";
    return PEM_write_bio_PrivateKey(to, key_of(a), EVP_aes_128_cbc(), phrase, 6, nullptr, nullptr);
  });
  CHECK_THROWS_WITH_AS(tls("/nowhere/chain.pem", key), doctest::Contains("/nowhere/chain.pem"), std::runtime_error);
  CHECK_THROWS_WITH_AS(tls(chain, "/nowhere/key.pem"), doctest::Contains("/nowhere/key.pem"), std::runtime_error);
  CHECK_THROWS_WITH_AS(tls(key, key), doctest::Contains("key.pem"), std::runtime_error);
  CHECK_THROWS_WITH_AS(tls(chain, others), doctest::Contains("mismatch"), std::runtime_error);
  CHECK_THROWS_WITH_AS(tls(chain, locked), doctest::Contains("locked.pem"), std::runtime_error);
  CHECK_THROWS_AS(tls(static_cast<SSL_CTX*>(nullptr)), std::runtime_error);
  CHECK_THROWS_WITH_AS((void)tls::self_signed("nonsense"), doctest::Contains("nonsense"), std::runtime_error);

  secured r(quick(), 1, {}, tls(chain, key));
  CHECK(X509_cmp(SSL_get0_peer_certificate(r.client().tls()), of(a)) == 0);
}

TEST_CASE("beast_tls: a self-signed certificate is valid for its names, for clients that trust it") {
  secured r;
  for (auto const& [name, good] : {std::pair{"localhost", true}, std::pair{"example.com", false}}) {
    std::unique_ptr<X509_STORE, void (*)(X509_STORE*)> trusted(X509_STORE_new(), &X509_STORE_free);
    REQUIRE(X509_STORE_add_cert(trusted.get(), of(certificate())) == 1);
    tls_client c = r.stranger({.adjust = [&, name = name](SSL* s) {
      SSL_set0_verify_cert_store(s, trusted.release());
      SSL_set_verify(s, SSL_VERIFY_PEER, nullptr);
      SSL_set1_host(s, name);
    }});
    CHECK(c.shake() == good);
  }
}

// ---- drain, and memory

TEST_CASE("beast_tls: draining closes clients with 1012 and ends handshakes, and io_context::run returns") {
  secured r(quick(2), 2);
  std::vector<tls_client> all;
  for (int i = 0; i < 4; ++i) all.push_back(r.joined());
  tls_client half = r.stranger();
  CHECK(half.raw(half.hello().substr(0, 100)));
  CHECK(r.connections(5));
  std::promise<void> gone;
  r.server.drain({}, [&] { gone.set_value(); });
  for (tls_client& c : all) {
    CHECK(c.read().closed() == 1012);
    CHECK(c.read_end());
    CHECK(c.told_of_end());
  }
  CHECK(half.read_end());
  all.clear();
  CHECK(gone.get_future().wait_for(raw_client::patience) == std::future_status::ready);
  for (std::thread& t : r.pool) t.join();
  r.pool.clear();
  CHECK(r.server.connections() == 0);
}

TEST_CASE("beast_tls: a server may stop or be destroyed while clients are connected") {
  std::optional<tls_client> c;
  {
    secured r;
    c.emplace(r.joined());
    r.server.stop();
    CHECK(c->read_end());
    for (std::thread& t : r.pool) t.join();
    r.pool.clear();
  }
  {
    boost::asio::io_context io;
    phx::router<> app;
    phx::beast::server server(io, quick());
    server.serve(app, {});
    server.secure(certificate());
    server.start();
    std::thread one([&] { io.run(); });
    c.emplace(server.port());
    CHECK(c->shake());
    CHECK(c->open() == 101);
    io.stop();
    one.join();
  }
  CHECK(c->read_end());
}

TEST_CASE("beast_tls: an idle connection keeps no buffers") {
  REQUIRE(counted);
  secured r;
  std::vector<tls_client> idle;
  constexpr int many = 20;
  std::int64_t before = 0;
  for (int i = 0; i < many + 3; ++i) {  // the first clients cause one-time allocations
    tls_client& c = idle.emplace_back(r.joined());
    CHECK(c.text(R"(["1","2","room:a","echo",{"x":")" + std::string(20'000, 'y') + "\"}]"));
    CHECK(c.read().data.size() > 20'000);
    CHECK(beats(c));
    c.forget_tls();
    if (i == 2) before = in_hand;
  }
  std::int64_t const each = (in_hand - before) / many;
  MESSAGE("an idle TLS connection: ", each, " bytes of OpenSSL's");
  CHECK(each < 16 * 1024);
  CHECK(each > 1024);
}

TEST_CASE("beast_tls: a PROXY header comes before the handshake, in plain bytes") {
  phx::beast::options o = quick();
  o.proxy_protocol = true;
  o.throttle.each = {.burst = 1, .every = 1h};
  secured r(o);
  std::string const v2("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xCB\x00\x71\x05\x0A\x00\x00\x01\x12\x67\x01\xBB\x03\0\4abcd", 35);
  tls_client c = r.stranger();
  CHECK(c.raw(v2));
  REQUIRE(c.shake());
  CHECK(c.send(request("GET", "/peer")));
  CHECK(c.read_head() == 200);
  CHECK(c.read_body() == "203.0.113.5");
  tls_client again = r.stranger();  // the same client
  CHECK(again.raw(v2));
  CHECK_FALSE(again.shake());
  CHECK(r.seen.has("connect_refused too_often 203.0.113.5"));
  tls_client other = r.stranger();
  CHECK(other.raw("PROXY TCP6 2001:db8::5 ::1 4711 443\r\n" + other.hello()));  // in one piece
  REQUIRE(other.shake());
  CHECK(other.open() == 101);
  CHECK(beats(other));
  tls_client without = r.stranger();
  CHECK_FALSE(without.shake());
  CHECK(without.reason() == 0);  // not a word
}

// TLS to a real redis-server, with certificates made for the test.
#include <phx/adapter/redis_tls.hpp>

#include <support/eventually.hpp>
#include <support/redis_node.hpp>
#include <support/redis_server.hpp>

#include <doctest/doctest.h>

#include <stdlib.h>

#include <filesystem>
#include <fstream>

using namespace std::chrono_literals;
using phx_tests::eventually;
using support::redis_node;
using support::redis_server;

namespace {

/// A folder with an authority (ca.pem), a certificate for localhost and 127.0.0.1 (cert.pem, key.pem), and one of an unknown
/// authority (other.pem).
class certificates {
 public:
  certificates() {
    char name[] = "/tmp/phx-redis-tls-XXXXXX";
    folder_ = mkdtemp(name);
    std::ofstream(folder_ + "/san") << "subjectAltName=DNS:localhost,IP:127.0.0.1\n";
    std::string const key = " -newkey rsa:2048 -nodes -days 2 ";
    ok_ = run("openssl req -x509" + key + "-subj /CN=authority -keyout ca.key -out ca.pem") &&
          run("openssl req" + key + "-subj /CN=redis -keyout key.pem -out request.pem") &&
          run("openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out "
              "cert.pem") &&
          run("openssl req -x509" + key + "-subj /CN=stranger -keyout other.key -out other.pem");
  }
  certificates(certificates const&) = delete;
  certificates& operator=(certificates const&) = delete;
  ~certificates() { std::filesystem::remove_all(folder_); }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::string path(std::string_view name) const { return folder_ + '/' + std::string(name); }

 private:
  [[nodiscard]] bool run(std::string const& command) const {
    return std::system(("cd " + folder_ + " && " + command + " >/dev/null 2>&1").c_str()) == 0;
  }
  std::string folder_;
  bool ok_ = false;
};
certificates const& made() {
  static certificates const c;
  return c;
}
/// A redis-server with a TLS port and a plain one.
struct secure_server {
  explicit secure_server(std::string_view clients = "no") {
    for (int i = 0; i < 10 && !server; ++i) {
      port = support::free_port();
      server.emplace(std::vector<std::string>{"--tls-port", std::to_string(port), "--tls-cert-file", made().path("cert.pem"),
                                              "--tls-key-file", made().path("key.pem"), "--tls-ca-cert-file",
                                              made().path("ca.pem"), "--tls-auth-clients", std::string(clients)});
      if (!server->runs()) server.reset();
    }
  }
  std::uint16_t port = 0;
  std::optional<redis_server> server;
};
phx::redis::options at(std::string url, std::string name, phx::redis::tls_options tls) {
  phx::redis::options o = support::fast_redis();
  o.url = std::move(url);
  o.node = std::move(name);
  o.secure = phx::redis::tls(std::move(tls));
  return o;
}

}  // namespace

TEST_CASE("redis_tls: nodes receive each other's messages, including large ones, and reconnect when Redis restarts") {
  REQUIRE(made().ok());
  secure_server s;
  REQUIRE(s.server);
  std::string const port = std::to_string(s.port);
  redis_node a(at("rediss://localhost:" + port, "a", {.ca_file = made().path("ca.pem")}));
  redis_node b(at("rediss://127.0.0.1:" + port + "/1", "b", {.ca_file = made().path("ca.pem")}));
  REQUIRE((a.up() && b.up()));
  CHECK(a.say("x") == phx::errc::none);
  CHECK(b.listening("x {}"));
  std::string const large = '"' + std::string(3'000'000, 'x') + '"';
  CHECK(a.say("large", large) == phx::errc::none);
  CHECK(b.listening("large " + large));
  for (int i = 0; i < 1'000; ++i) (void)b.say("n", std::to_string(i));
  CHECK(a.listening("n 999"));
  CHECK(a.count() == 1'000);
  s.server->kill();
  CHECK(eventually([&] { return !a.between.connected() && !b.between.connected(); }));
  s.server->start();
  REQUIRE(s.server->runs());
  REQUIRE((a.up() && b.up()));
  CHECK(b.say("again") == phx::errc::none);
  CHECK(a.listening("again {}"));
}

TEST_CASE("redis_tls: an untrusted certificate, or one for another name, is refused and reported") {
  REQUIRE(made().ok());
  secure_server s;
  REQUIRE(s.server);
  std::string const port = std::to_string(s.port);
  redis_node stranger(at("rediss://localhost:" + port, "a", {.ca_file = made().path("other.pem")}));
  CHECK(eventually([&] { return stranger.reason().find("TLS: ") != std::string::npos; }));
  CHECK(stranger.reason().find("certificate") != std::string::npos);
  redis_node misnamed(
      at("rediss://localhost:" + port, "b", {.ca_file = made().path("ca.pem"), .server_name = "redis.example.com"}));
  CHECK(eventually([&] { return misnamed.reason().find("mismatch") != std::string::npos; }));
  redis_node careless(at("rediss://localhost:" + port, "c", {.ca_file = made().path("other.pem"), .verify = false}));
  CHECK(careless.up());
  CHECK_FALSE(stranger.between.connected());
  CHECK_FALSE(misnamed.between.connected());
}

TEST_CASE("redis_tls: a client certificate is sent if Redis requires one") {
  REQUIRE(made().ok());
  secure_server s("yes");
  REQUIRE(s.server);
  std::string const url = "rediss://localhost:" + std::to_string(s.port);
  redis_node with(at(
      url, "a", {.ca_file = made().path("ca.pem"), .certificate = made().path("cert.pem"), .key = made().path("key.pem")}));
  redis_node without(at(url, "b", {.ca_file = made().path("ca.pem")}));
  CHECK(with.up());
  CHECK(eventually([&] { return !without.reason().empty(); }));
  CHECK_FALSE(without.between.connected());
}

TEST_CASE("redis_tls: a port without TLS is refused, and a plain connection stays plain") {
  REQUIRE(made().ok());
  redis_server plain;
  REQUIRE(plain.runs());
  std::string const port = std::to_string(plain.port);
  phx::redis::options o = at("rediss://localhost:" + port, "a", {.ca_file = made().path("ca.pem")});
  o.connect = 300ms;  // Redis reads a ClientHello as an incomplete command
  redis_node a(o);
  CHECK(eventually([&] { return !a.reason().empty(); }));
  CHECK_FALSE(a.between.connected());
  redis_node b(at("redis://localhost:" + port, "b", {}));
  CHECK(b.up());
}

#ifdef __cpp_exceptions
TEST_CASE("redis_tls: missing files and files that do not match are reported where the options are made") {
  REQUIRE(made().ok());
  CHECK_THROWS_AS((void)phx::redis::tls({.ca_file = made().path("none.pem")}), std::runtime_error);
  CHECK_THROWS_AS((void)phx::redis::tls({.certificate = made().path("cert.pem"), .key = made().path("ca.key")}),
                  std::runtime_error);
  phx::redis::options o;
  o.url = "rediss://localhost";
  phx::redis::pubsub between(o);
  phx::endpoint local;
  CHECK_THROWS_AS(local.attach(between), std::runtime_error);
}
#endif

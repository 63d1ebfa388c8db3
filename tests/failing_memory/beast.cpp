// The Beast host without memory. In this program every allocation on a server's thread can be made to fail: those of
// operator new, of OpenSSL and of phx's memory hook. Whichever fails, no exception leaves io_context::run, and once there is
// memory again the server accepts every client.

#include <phx/adapter/beast_tls.hpp>

#include <doctest/doctest.h>

#include <openssl/crypto.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <thread>

#include "failing_memory/failing_host.hpp"
#include "support/eventually.hpp"
#include "support/host_room.hpp"
#include "support/tls_client.hpp"

using namespace std::chrono_literals;
using namespace phx_tests;

namespace {
std::atomic<bool> no_room_for_408{false};
}
/// The kernel's send, except that a 408 finds a full buffer. From outside, the buffer would have to be full to within a few
/// bytes.
extern "C" ssize_t send(int fd, void const* bytes, std::size_t n, int flags) {
  if (no_room_for_408 && std::string_view(static_cast<char const*>(bytes), n).starts_with("HTTP/1.1 408")) {
    errno = EAGAIN;
    return -1;
  }
  return ::syscall(SYS_sendto, fd, bytes, n, flags, nullptr, 0);
}

namespace {

/// Runs before OpenSSL has allocated anything.
int const openssl_is_hooked =
    CRYPTO_set_mem_functions([](std::size_t n, char const*, int) { return n == 0 ? nullptr : support::heap::allocate(n); },
                             [](void* p, std::size_t n, char const*, int) -> void* {
                               if (takes_part && n != 0 && memory.fails()) return nullptr;
                               return std::realloc(p, n);
                             },
                             [](void* p, char const*, int) { std::free(p); });

constexpr auto short_wait = 300ms;

struct server_without_memory {
  explicit server_without_memory(phx::beast::tls const* with = nullptr, unsigned threads = 1, bool balanced = false)
      : server(io, [balanced] {
          phx::beast::options o{.port = 0, .loops = 2};
          o.goodbye = 300ms;
          o.handshake = 300ms;
          o.proxy_protocol = balanced;
          if (balanced) o.trusted_proxies = {"10.0.0.0/8"};
          if (balanced) o.throttle.each.burst = 1'000'000;
          o.limits.memory = {[](std::size_t n) noexcept { return support::heap::allocate(n); },
                             [](void* p, std::size_t) noexcept { std::free(p); }};
          return o;
        }()) {
    app.channel<phx_tests::host_room>("room:*");
    phx::mount m;
    m.longpoll = true;
    server.serve(app, m);
    server.route([this](phx::beast::http_request const& r) -> std::optional<phx::http_answer> {
      if (r.path == "/later")
        std::thread([this, late = r.later()]() mutable { late({200, {}, body}); }).detach();
      else if (r.path == "/now")
        return phx::http_answer{200, {}, body};
      return std::nullopt;
    });
    if (with != nullptr) server.secure(*with);
    server.start();
    for (unsigned i = 0; i < threads; ++i)
      pool.emplace_back([this] {
        takes_part = true;
        try {
          io.run();
        } catch (...) {
          takes_part = false;
          thrown = true;
        }
        takes_part = false;
      });
  }
  ~server_without_memory() {
    CHECK(end());
    CHECK_FALSE(thrown);
  }
  /// True if the server's loop ended by itself.
  bool end() {
    if (pool.empty()) return true;
    server.drain({.limit = 500ms}, [this] { gone.set_value(); });
    bool const done = gone.get_future().wait_for(20s) == std::future_status::ready;
    if (!done) io.stop();
    for (std::thread& t : pool) t.join();
    pool.clear();
    return done;
  }
  std::string const body = std::string(100, 'b');
  std::atomic<bool> thrown{false};
  std::promise<void> gone{};
  boost::asio::io_context io{};
  phx::router<> app{};
  phx::beast::server server;
  std::vector<std::thread> pool{};
};

bool speaks_tls(std::uint16_t port, std::chrono::milliseconds most) {
  tls_client c(port);
  return c.shake() && speaks_on(c, most);
}
/// By a balancer that names a proxy, which names the client; and a request of that proxy's that is refused.
bool speaks_balanced(std::uint16_t port, std::chrono::milliseconds most) {
  std::string const header = "PROXY TCP4 10.0.0.1 10.0.0.2 4711 80\r\n", get = "GET /now HTTP/1.1\r\nhost: h\r\n";
  raw_client c(port), wrong(port);
  if (!c.send(header) || !asks(c, get + "x-forwarded-for: 203.0.113.5\r\n\r\n", most) || !speaks_on(c, most)) return false;
  return wrong.send(header + get + "x-forwarded-for: malformed\r\n\r\n") && wrong.read_head(most) == 400;
}
/// Without the timers, which take time: a handshake allocates two thousand times.
bool shakes(std::uint16_t port, std::chrono::milliseconds most) {
  tls_client c(port);
  return c.shake() && asks(c, "GET /now HTTP/1.1\r\nhost: h\r\n\r\n", most);
}

using client = bool (*)(std::uint16_t port, std::chrono::milliseconds most);

/// For the first allocation that serves this client, then the second, and so on: fails it alone.
void each_fails_once(client const& c, phx::beast::tls const* with = nullptr, bool balanced = false) {
  for (long n = 1;; ++n) {
    CAPTURE(n);
    server_without_memory s(with, 1, balanced);
    memory.begin(failures::kind::one, n);
    (void)c(s.server.port(), 2s);
    bool const was_reached = memory.end() >= n;
    REQUIRE(c(s.server.port(), 20s));
    REQUIRE_FALSE(s.thrown);
    if (!was_reached) break;
    REQUIRE(n < 5000);
  }
}
/// From some allocation on all fail, for a while.
void all_fail_for_a_while(client const& c, phx::beast::tls const* with = nullptr) {
  for (long n = 1;; n += n < 20 ? 1 : 13) {
    CAPTURE(n);
    server_without_memory s(with);
    memory.begin(failures::kind::all_from, n);
    (void)c(s.server.port(), 50ms);
    bool const was_reached = memory.end() >= n;
    REQUIRE(c(s.server.port(), 20s));
    REQUIRE_FALSE(s.thrown);
    if (!was_reached) break;
    REQUIRE(n < 5000);
  }
}

}  // namespace

TEST_CASE("beast without memory: any allocation may fail once") {
  SUBCASE("a WebSocket") { each_fails_once(speaks); }
  SUBCASE("requests") { each_fails_once(requests); }
  SUBCASE("long-polling") { each_fails_once(polls); }
  SUBCASE("behind a balancer and a proxy") { each_fails_once(speaks_balanced, nullptr, true); }
  SUBCASE("TLS") {
    phx::beast::tls const with = phx::beast::tls::self_signed();
    each_fails_once(shakes, &with);
  }
}

TEST_CASE("beast without memory: all allocations may fail for a while") {
  SUBCASE("a WebSocket") { all_fail_for_a_while(speaks); }
  SUBCASE("requests") { all_fail_for_a_while(requests); }
  SUBCASE("long-polling") { all_fail_for_a_while(polls); }
  SUBCASE("TLS") {
    phx::beast::tls const with = phx::beast::tls::self_signed();
    all_fail_for_a_while(speaks_tls, &with);
  }
}

TEST_CASE("beast without memory: one of four hundred fails, with many clients on several threads") {
  REQUIRE(openssl_is_hooked == 1);
  for (bool const secured : {false, true}) {
    CAPTURE(secured);
    phx::beast::tls const with = phx::beast::tls::self_signed();
    server_without_memory s(secured ? &with : nullptr, 2);
    memory.begin(failures::kind::one_in, 400);
    int failed = 0;
    for (int i = 0; i < 100; ++i) {
      if (secured) {
        failed += speaks_tls(s.server.port(), short_wait) ? 0 : 1;
      } else {
        failed += speaks(s.server.port(), short_wait) ? 0 : 1;
        failed += polls(s.server.port(), short_wait) ? 0 : 1;
      }
    }
    MESSAGE(memory.end(), " allocations, ", failed, " clients suffered");
    CHECK((secured ? speaks_tls : speaks)(s.server.port(), 20s));
    CHECK((secured || polls(s.server.port(), 20s)));
    REQUIRE_FALSE(s.thrown);
  }
}

TEST_CASE("beast without memory: a drain completes, whichever allocation fails") {
  for (auto const kind : {failures::kind::one, failures::kind::all_from})
    for (long n = 1;; ++n) {
      CAPTURE(n);
      server_without_memory s;
      raw_client socket(s.server.port()), idle(s.server.port()), polling(s.server.port());
      REQUIRE(socket.open() == 101);
      socket.text(R"(["1","1","room:a","phx_join",{}])");
      REQUIRE(socket.read().data.find("\"ok\"") != std::string::npos);
      REQUIRE(asks(polling, "GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nhost: h\r\n\r\n", 20s));
      REQUIRE(asks(idle, "GET /now HTTP/1.1\r\nhost: h\r\n\r\n", 20s));
      memory.begin(kind, n);
      bool const ended = s.end();
      bool const was_reached = memory.end() >= n;
      REQUIRE(ended);
      if (!was_reached) break;
      REQUIRE(n < 1000);
    }
}

TEST_CASE("beast: a 408 that cannot be written has a deadline, alone and in a drain") {
  for (bool const drains : {false, true}) {
    CAPTURE(drains);
    server_without_memory s;
    no_room_for_408 = true;
    raw_client half(s.server.port());
    CHECK(half.send("GET /half"));
    CHECK(eventually([&] { return s.server.connections() == 1; }));
    if (drains) std::this_thread::sleep_for(400ms);  // by now the response is being written
    CHECK((drains ? s.end() : eventually([&] { return s.server.connections() == 0; })));
    no_room_for_408 = false;
  }
}

// The epoll host without memory. In this program every allocation on a loop's thread can be made to fail: those of operator new
// and of phx's memory hook. Whichever fails, the server goes on, and once there is memory again it accepts every client.

#include <phx/adapter/epoll.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <future>
#include <thread>

#include "failing_memory/failing_host.hpp"
#include "support/eventually.hpp"
#include "support/host_room.hpp"

using namespace std::chrono_literals;
using namespace phx_tests;

namespace {

struct server_without_memory {
  server_without_memory()
      : server(app, [] {
          phx::epoll::options o{.port = 0, .loops = 2};
          o.mount.longpoll = true;
          o.goodbye = 300ms;
          o.handshake = 300ms;
          o.drain.limit = 500ms;
          o.limits.memory = {[](std::size_t n) noexcept { return support::heap::allocate(n); },
                             [](void* p, std::size_t) noexcept { std::free(p); }};
          return o;
        }()) {
    app.channel<host_room>("room:*");
    server.route([this](phx::epoll::http_request const& r) -> std::optional<phx::http_answer> {
      if (r.path == "/later")
        std::thread([this, late = r.later()]() mutable { late({200, {}, body}); }).detach();
      else if (r.path == "/now")
        return phx::http_answer{200, {}, body};
      return std::nullopt;
    });
    thread = std::thread([this] {
      server.run();
      takes_part = false;
      gone.set_value();
    });
    std::atomic<int> loops{0};
    server.in_loops([&](phx::loop&) {
      takes_part = true;
      ++loops;
    });
    REQUIRE(eventually([&] { return loops == 2; }));
  }
  ~server_without_memory() { CHECK(end()); }
  /// True if run() returned by itself.
  bool end() {
    if (!thread.joinable()) return true;
    server.drain();
    bool const done = gone.get_future().wait_for(20s) == std::future_status::ready;
    if (!done) server.stop();
    thread.join();
    return done;
  }
  std::string const body = std::string(100, 'b');
  std::promise<void> gone{};
  phx::router<> app{};
  phx::epoll::server server;
  std::thread thread{};
};

using client = bool (*)(std::uint16_t port, std::chrono::milliseconds most);

/// The first allocation of all that serve this client fails, then the second, and so on until none is left.
void each_fails_once(client c) {
  for (long n = 1;; ++n) {
    CAPTURE(n);
    server_without_memory s;
    memory.begin(failures::kind::one, n);
    (void)c(s.server.port(), 500ms);
    bool const was_reached = memory.end() >= n;
    REQUIRE(c(s.server.port(), 20s));
    if (!was_reached) break;
    REQUIRE(n < 1000);
  }
}
/// From some allocation on there is no memory at all, for a while.
void all_fail_for_a_while(client c) {
  for (long n = 1;; ++n) {
    CAPTURE(n);
    server_without_memory s;
    memory.begin(failures::kind::all_from, n);
    (void)c(s.server.port(), 50ms);
    bool const was_reached = memory.end() >= n;
    REQUIRE(c(s.server.port(), 20s));
    if (!was_reached) break;
    REQUIRE(n < 1000);
  }
}

}  // namespace

TEST_CASE("epoll without memory: any allocation may fail once") {
  SUBCASE("a WebSocket") { each_fails_once(speaks); }
  SUBCASE("requests") { each_fails_once(requests); }
  SUBCASE("long-polling") { each_fails_once(polls); }
}

TEST_CASE("epoll without memory: all may fail for a while") {
  SUBCASE("a WebSocket") { all_fail_for_a_while(speaks); }
  SUBCASE("requests") { all_fail_for_a_while(requests); }
  SUBCASE("long-polling") { all_fail_for_a_while(polls); }
}

TEST_CASE("epoll without memory: one in four hundred fails, of many clients on two loops") {
  server_without_memory s;
  memory.begin(failures::kind::one_in, 400);
  int failed = 0;
  for (int i = 0; i < 100; ++i) {
    failed += speaks(s.server.port(), 300ms) ? 0 : 1;
    failed += polls(s.server.port(), 300ms) ? 0 : 1;
  }
  MESSAGE(memory.end(), " allocations, ", failed, " clients suffered");
  CHECK(speaks(s.server.port(), 20s));
  CHECK(polls(s.server.port(), 20s));
}

TEST_CASE("epoll without memory: a drain comes to its end whatever fails") {
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

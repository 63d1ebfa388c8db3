#ifndef PHX_TESTS_SUPPORT_HOST_PACE_HPP
#define PHX_TESTS_SUPPORT_HOST_PACE_HPP
// mount::linger and limits::inbound over real sockets: what a client of any host sees.

#include <phx/connect/mount.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <thread>

#include "support/raw_client.hpp"

namespace phx_tests {

[[nodiscard]] inline phx::mount lingering_mount() {
  phx::mount m{};
  m.linger = std::chrono::milliseconds(200);
  return m;
}
/// Frames of several turns leave together, in order, once the time has come; a pong and a close do not wait.
inline void check_linger(raw_client& c) {
  using namespace std::chrono_literals;
  CHECK(c.open("/socket/websocket?vsn=2.0.0") == 101);
  auto const began = std::chrono::steady_clock::now();
  CHECK(c.text(R"(["1","1","room:a","phx_join",{}])"));
  for (int i = 2; i < 5; ++i) {
    std::this_thread::sleep_for(5ms);
    CHECK(c.text("[\"1\",\"" + std::to_string(i) + R"(","room:a","echo",{}])"));
  }
  CHECK(c.read().data.starts_with(R"(["1","1","room:a","phx_reply")"));
  CHECK(std::chrono::steady_clock::now() - began >= 190ms);
  for (int i = 2; i < 5; ++i)
    CHECK(c.read().data.starts_with("[\"1\",\"" + std::to_string(i) + R"(","room:a","phx_reply")"));
  CHECK(c.text(R"(["1","9","room:a","echo",{}])"));
  CHECK(c.text("not JSON"));
  CHECK(c.read().data.starts_with(R"(["1","9","room:a","phx_reply")"));
  CHECK(c.read().closed() == 1011);
}

/// The same with a `high_water` that one reply exceeds: the client is read from meanwhile, and stays connected.
inline void check_linger_beyond_high_water(raw_client& c) {
  using namespace std::chrono_literals;
  CHECK(c.open("/socket/websocket?vsn=2.0.0") == 101);
  CHECK(c.text(R"(["1","1","room:a","phx_join",{}])"));
  CHECK(c.text(R"(["1","2","room:a","echo",{"x":")" + std::string(4000, 'x') + R"("}])"));
  std::this_thread::sleep_for(20ms);
  CHECK(c.text(R"([null,"3","phoenix","heartbeat",{}])"));
  CHECK(c.read().data.starts_with(R"(["1","1","room:a","phx_reply")"));
  CHECK(c.read().data.starts_with(R"(["1","2","room:a","phx_reply")"));
  CHECK(c.read().data.starts_with(R"([null,"3","phoenix","phx_reply")"));
}

[[nodiscard]] inline phx::mount pausing_mount() {
  phx::mount m{};
  m.bounds.inbound = {.bytes = 400'000, .burst = std::chrono::milliseconds(100), .on_excess = phx::flood_policy::pause};
  return m;
}
/// A client that sends too fast is slowed down, and loses nothing.
inline void check_pause(raw_client& c) {
  using namespace std::chrono_literals;
  CHECK(c.open("/socket/websocket?vsn=2.0.0") == 101);
  CHECK(c.text(R"(["1","1","room:a","phx_join",{}])"));
  CHECK(c.read().data.starts_with(R"(["1","1","room:a","phx_reply")"));
  std::string const body = R"(","room:a","echo",{"x":")" + std::string(4000, 'x') + R"("}])";
  auto const began = std::chrono::steady_clock::now();
  std::thread sends([&] {
    for (int i = 0; i < 100; ++i)
      if (!c.text("[\"1\",\"" + std::to_string(i) + body)) return;
  });
  for (int i = 0; i < 100; ++i)
    CHECK(c.read().data.starts_with("[\"1\",\"" + std::to_string(i) + R"(","room:a","phx_reply",{"status":"ok")"));
  sends.join();
  CHECK(std::chrono::steady_clock::now() - began >= 700ms);
}

[[nodiscard]] inline phx::mount long_pausing_mount() {
  phx::mount m{};
  m.bounds.inbound = {.bytes = 1, .burst = std::chrono::milliseconds(1), .on_excess = phx::flood_policy::pause};
  return m;
}
/// Pauses the client for half a minute: a host must still be able to close it.
inline void begin_long_pause(raw_client& c) {
  CHECK(c.open("/socket/websocket?vsn=2.0.0") == 101);
  CHECK(c.text(R"([null,"1","phoenix","heartbeat",{}])"));
  CHECK(c.read().first == 0x81);
}

}  // namespace phx_tests

#endif

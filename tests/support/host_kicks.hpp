#ifndef PHX_TESTS_SUPPORT_HOST_KICKS_HPP
#define PHX_TESTS_SUPPORT_HOST_KICKS_HPP
// One connection per user: `connect` ends the older ones, as for a fleet of devices that reconnects after a network failure.

#include <atomic>
#include <memory>

#include "support/host_polls.hpp"

namespace phx_tests {

struct one_connection_each : phx::router<> {
  std::atomic<phx::endpoint*> everywhere{nullptr};

  phx::connect_outcome<phx::anonymous> connect(phx::connect_info const&) {
    CHECK(everywhere.load()->disconnect("user:1") == phx::errc::none);
    return phx::connected<phx::anonymous>{{}, "user:1"};
  }
};

/// @param port of a host that serves one_connection_each at /socket, over both transports
inline void only_the_newest_stays(std::uint16_t port) {
  constexpr std::string_view heartbeat = R"([null,"1","phoenix","heartbeat",{}])";
  auto const lives = [&](raw_client& c) {
    return c.text(heartbeat) && c.read().data == R"([null,"1","phoenix","phx_reply",{"status":"ok","response":{}}])";
  };
  auto const lives_polled = [&](poller const& p, raw_client& on) {
    return p.post(on, heartbeat) == R"({"status":200})" &&
           p.poll(on) == p.with(R"([null,\"1\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}])");
  };
  auto older = std::make_unique<raw_client>(port);
  REQUIRE(older->open() == 101);
  CHECK(lives(*older));
  for (int i = 0; i < 5; ++i) {
    auto newer = std::make_unique<raw_client>(port);
    REQUIRE(newer->open() == 101);
    CHECK(older->read_close() == 1001);
    CHECK(lives(*newer));
    older = std::move(newer);
  }
  raw_client on(port);
  poller first, second;
  first.open(on);
  CHECK(older->read_close() == 1001);
  CHECK(lives_polled(first, on));
  second.open(on);
  CHECK(lives_polled(second, on));
  std::string const ended = first.poll(on);
  CHECK(ended.find(R"("messages":[")") == std::string::npos);
  CHECK(ended.find(R"("status":200)") == std::string::npos);
}

}  // namespace phx_tests

#endif

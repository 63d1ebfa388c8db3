#ifndef PHX_TESTS_SUPPORT_EVENTUALLY_HPP
#define PHX_TESTS_SUPPORT_EVENTUALLY_HPP
// Waiting, for tests with threads, sockets and a real clock.

#include <chrono>
#include <thread>
#include <utility>

namespace phx_tests {

/// Waits until the condition is true. On an idle machine that takes milliseconds; only a failure waits this long.
template <class F>
[[nodiscard]] bool eventually(F&& is_so, std::chrono::seconds most = std::chrono::seconds(60)) {
  auto const until = std::chrono::steady_clock::now() + most;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// Runs a test of a server's timeout, which has to be short. A busy machine may be too slow for it, so the test is repeated,
/// each time with a timeout four times as long. A real fault fails every time.
/// @param test milliseconds -> bool: true if everything was as expected. It must not assert anything that depends on being
///   in time.
template <class F>
[[nodiscard]] bool in_time(std::chrono::milliseconds patience, F&& test) {
  for (int tries = 4; tries > 1; --tries, patience *= 4)
    if (test(patience)) return true;
  return test(patience);
}

}  // namespace phx_tests

#endif

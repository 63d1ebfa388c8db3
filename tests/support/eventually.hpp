#ifndef PHX_TESTS_SUPPORT_EVENTUALLY_HPP
#define PHX_TESTS_SUPPORT_EVENTUALLY_HPP
// What tests with threads, sockets and a clock of their own wait by.

#include <chrono>
#include <thread>
#include <utility>

namespace phx_tests {

/// Waits until it is so. On a machine that does nothing else that is a matter of milliseconds; only a failure waits so long.
template <class F>
[[nodiscard]] bool eventually(F&& is_so, std::chrono::seconds most = std::chrono::seconds(60)) {
  auto const until = std::chrono::steady_clock::now() + most;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// Where the server's patience with its client is what is tested, and so has to be short, a machine that was busy with
/// something else may be too slow for it: then once more, the patience of each try four times that of the one before. What
/// is wrong is wrong each time.
/// @param test milliseconds -> bool: whether all was as it should be. It asserts nothing that depends on being in time.
template <class F>
[[nodiscard]] bool in_time(std::chrono::milliseconds patience, F&& test) {
  for (int tries = 4; tries > 1; --tries, patience *= 4)
    if (test(patience)) return true;
  return test(patience);
}

}  // namespace phx_tests

#endif

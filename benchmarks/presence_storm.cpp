// Checks that the presence lists of all nodes agree after a time with an unreliable network, for many schedules, each from a
// seed. Prints their number, and the seed of each failure: add those to tests/presence/tracker.cpp.
//   phx_presence_storm [--seeds N (10000)] [--from SEED (1)] [--steps N (120)]

#include "../tests/presence/storm.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int argc, char** argv) {
  std::uint64_t seeds = 10'000, from = 1, steps = 120;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::uint64_t const n = std::strtoull(argv[i + 1], nullptr, 10);
    if (std::strcmp(argv[i], "--seeds") == 0) seeds = n;
    if (std::strcmp(argv[i], "--from") == 0) from = n;
    if (std::strcmp(argv[i], "--steps") == 0) steps = n;
  }
  auto const began = std::chrono::steady_clock::now();
  std::uint64_t failed = 0, delivered = 0, entries = 0;
  for (std::uint64_t seed = from; seed < from + seeds; ++seed) {
    storm::run weather(seed, steps);
    if (std::string const wrong = weather.heal(); !wrong.empty()) {
      ++failed;
      std::printf("FAIL seed %llu: %s\n", static_cast<unsigned long long>(seed), wrong.c_str());
    }
    delivered += weather.delivered();
    entries += weather.entries();
  }
  double const took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::printf("schedules=%llu failed=%llu entries=%llu messages=%llu seconds=%.1f\n", static_cast<unsigned long long>(seeds),
              static_cast<unsigned long long>(failed), static_cast<unsigned long long>(entries),
              static_cast<unsigned long long>(delivered), took);
  return failed == 0 ? 0 : 1;
}

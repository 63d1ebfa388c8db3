#ifndef BENCHMARKS_ON_THREADS_HPP
#define BENCHMARKS_ON_THREADS_HPP
// Runs the same work on several threads, each on its own core, started together; and the clocks.

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <ctime>
#include <thread>
#include <vector>

[[nodiscard]] inline double seconds(clockid_t which = CLOCK_MONOTONIC) noexcept {
  timespec t{};
  clock_gettime(which, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}
/// Pins the calling thread to the n-th of the cores that this process may use.
inline void pin(unsigned thread) noexcept {
  cpu_set_t mine, one;
  if (sched_getaffinity(0, sizeof mine, &mine) != 0) return;
  auto left = thread % static_cast<unsigned>(CPU_COUNT(&mine));
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &mine) && left-- == 0) {
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
      return;
    }
}

/// Seconds.
struct spent {
  double wall = 0, cpu = 0;  ///< `cpu`: of all threads
};
/// Runs `work(thread)` on this many threads, started together.
template <class F>
spent on_threads(unsigned threads, F work) {
  std::atomic<unsigned> ready{0};
  std::atomic<bool> go{false};
  std::vector<double> cpu(threads);
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      pin(t);
      ++ready;
      go.wait(false);
      double const from = seconds(CLOCK_THREAD_CPUTIME_ID);
      work(t);
      cpu[t] = seconds(CLOCK_THREAD_CPUTIME_ID) - from;
    });
  while (ready != threads) std::this_thread::yield();
  spent s;
  double const from = seconds();
  go = true;
  go.notify_all();
  for (std::thread& t : all) t.join();
  s.wall = seconds() - from;
  for (double const c : cpu) s.cpu += c;
  return s;
}

#endif

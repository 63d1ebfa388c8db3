#ifndef PHX_TESTING_FAKE_LOOP_HPP
#define PHX_TESTING_FAKE_LOOP_HPP
// Loops without a thread or a clock: the test moves the time, and they run until nothing is left to do.

#include <phx/loop/loop.hpp>

#include <atomic>
#include <cassert>
#include <memory>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace testing {

/// A Waker that counts. wake() may be called from any thread.
class fake_waker {
 public:
  /// See Waker.
  void wake() noexcept {
    count_.fetch_add(1, std::memory_order_relaxed);
    woken_.store(true, std::memory_order_release);
  }
  /// Whether it was woken since the last call.
  [[nodiscard]] bool take() noexcept { return woken_.exchange(false, std::memory_order_acq_rel); }
  /// How often it was woken.
  [[nodiscard]] std::size_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> woken_{false};
  std::atomic<std::size_t> count_{0};
};

/// Loops of one endpoint, and their clock, which starts at one hour so that a test may subtract. A loop runs only when it
/// was woken or when the time it asked for has come, as in a host: a wake that phx forgot makes a test fail.
class fake_loops {
 public:
  /// @param count how many loops.
  explicit fake_loops(std::size_t count = 1, limits const& bounds = {}) {
    for (std::size_t i = 0; i < count; ++i) loops_.push_back(std::make_unique<driven_loop>(endpoint_, bounds));
  }
  fake_loops(fake_loops const&) = delete;
  fake_loops& operator=(fake_loops const&) = delete;

  /// Their endpoint.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return endpoint_; }
  /// The loop with this number.
  [[nodiscard]] phx::loop& operator[](std::size_t i) noexcept { return loops_[i]->event_loop; }
  /// The waker of that loop.
  [[nodiscard]] fake_waker& waker(std::size_t i) noexcept { return loops_[i]->waker; }
  /// How many loops there are.
  [[nodiscard]] std::size_t size() const noexcept { return loops_.size(); }
  /// The time.
  [[nodiscard]] time_point now() const noexcept { return now_; }

  /// Runs every loop that has something to do, until none has.
  void settle() noexcept {
    // A channel that sends itself a message in every handle_info would keep this running for ever.
    for (std::size_t rounds = 0; step(); ++rounds) assert(rounds < 100'000 && "the loops always have something to do");
  }
  /// Moves the clock by `d`; whatever is due in between happens at its own time, in order.
  void advance(duration d) noexcept {
    time_point const until = saturating_add(now_, d);
    settle();
    for (;;) {
      time_point next = until;
      for (auto const& l : loops_)
        if (l->due < next) next = l->due;
      if (next > now_) now_ = next;
      settle();
      if (now_ >= until) return;
    }
  }
  /// Moves the clock without running the loops, as if the process had been suspended.
  void sleep(duration d) noexcept { now_ = saturating_add(now_, d); }

 private:
  struct driven_loop {
    driven_loop(phx::endpoint& endpoint, limits const& bounds) : event_loop(endpoint, waker, bounds) {}
    fake_waker waker{};
    phx::loop event_loop;
    time_point due = (time_point::max)();
  };
  bool step() noexcept {
    bool ran = false;
    for (auto const& l : loops_) {
      bool const woken = l->waker.take();
      if (!woken && l->due > now_) continue;
      l->due = l->event_loop.run(now_);
      ran = true;
    }
    return ran;
  }

  phx::endpoint endpoint_{};
  std::vector<std::unique_ptr<driven_loop>> loops_{};
  time_point now_{std::chrono::hours(1)};
};

}  // namespace testing
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_TESTING_FAKE_LOOP_HPP
#define PHX_TESTING_FAKE_LOOP_HPP
// Event loops without a thread or a clock: a test moves the time by hand and they run until nothing is left to do.

#include <phx/loop/loop.hpp>

#include <atomic>
#include <cassert>
#include <memory>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace testing {

/// A Waker that remembers. May be woken from any thread.
class fake_waker {
 public:
  /// See Waker.
  void wake() noexcept {
    count_.fetch_add(1, std::memory_order_relaxed);
    woken_.store(true, std::memory_order_release);
  }
  /// Was it woken since the last call?
  [[nodiscard]] bool take() noexcept { return woken_.exchange(false, std::memory_order_acq_rel); }
  /// How often it was woken.
  [[nodiscard]] std::size_t count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> woken_{false};
  std::atomic<std::size_t> count_{0};
};

/// `count` loops of one endpoint, and their clock. It begins at an hour, so that a test may subtract.
/// Honest as a host may be: a loop runs when it was woken or when the time it asked for has come, and at no other time, so
/// that a wake which phx forgot shows.
class fake_loops {
 public:
  /// `count` loops of one endpoint.
  explicit fake_loops(std::size_t count = 1, limits const& bounds = {}) {
    for (std::size_t i = 0; i < count; ++i) each_.push_back(std::make_unique<one>(everywhere_, bounds));
  }
  fake_loops(fake_loops const&) = delete;
  fake_loops& operator=(fake_loops const&) = delete;

  /// All loops of this test.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return everywhere_; }
  /// The loop with this number.
  [[nodiscard]] phx::loop& operator[](std::size_t i) noexcept { return each_[i]->event_loop; }
  /// The waker of that loop.
  [[nodiscard]] fake_waker& waker(std::size_t i) noexcept { return each_[i]->waker; }
  /// How many loops there are.
  [[nodiscard]] std::size_t size() const noexcept { return each_.size(); }
  /// What the clock says.
  [[nodiscard]] time_point now() const noexcept { return now_; }

  /// Runs every loop that has something to do, until none has.
  void settle() noexcept {
    // A channel that sends itself a message in every handle_info never comes to rest; a test wants to know.
    for (std::size_t rounds = 0; step(); ++rounds) assert(rounds < 100'000 && "the loops never come to rest");
  }
  /// Lets `d` pass: whatever falls due on the way happens at its own time, in order.
  void advance(duration d) noexcept {
    time_point const until = saturating_add(now_, d);
    settle();
    for (;;) {
      time_point next = until;
      for (auto const& l : each_)
        if (l->due < next) next = l->due;
      if (next > now_) now_ = next;
      settle();
      if (now_ >= until) return;
    }
  }
  /// Moves the clock alone: nothing runs, as when a host was asleep.
  void sleep(duration d) noexcept { now_ = saturating_add(now_, d); }

 private:
  struct one {
    one(phx::endpoint& everywhere, limits const& bounds) : event_loop(everywhere, waker, bounds) {}
    fake_waker waker{};
    phx::loop event_loop;
    time_point due = (time_point::max)();
  };
  bool step() noexcept {
    bool ran = false;
    for (auto const& l : each_) {
      bool const woken = l->waker.take();
      if (!woken && l->due > now_) continue;
      l->due = l->event_loop.run(now_);
      ran = true;
    }
    return ran;
  }

  phx::endpoint everywhere_{};
  std::vector<std::unique_ptr<one>> each_{};
  time_point now_{std::chrono::hours(1)};
};

}  // namespace testing
}  // namespace PHX_BUILD
}  // namespace phx

#endif

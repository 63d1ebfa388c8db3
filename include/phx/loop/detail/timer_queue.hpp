#ifndef PHX_LOOP_DETAIL_TIMER_QUEUE_HPP
#define PHX_LOOP_DETAIL_TIMER_QUEUE_HPP
// The timers of a loop: by time, and those of the same time in the order in which they were set.

#include <phx/loop/detail/mail.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// A binary heap of timers: O(log n) to set one and to remove the first. Timers are not cancelled: when a socket or channel
/// ends it counts its own as stale, and they are swept once they are many, which is O(1) per timer in the long run. Inside
/// the loop. It owns the mails in it. Its memory is handed in: call free() before it is destroyed.
class timer_queue {
 public:
  struct timer {
    time_point at;
    std::uint64_t order;
    channel_mail* work;  // null: the idle timer of the socket
    socket_id socket;
    [[nodiscard]] friend bool operator<(timer const& a, timer const& b) noexcept {
      return a.at != b.at ? a.at < b.at : a.order < b.order;
    }
  };

  [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
  /// @pre !empty()
  [[nodiscard]] timer const& front() const noexcept { return heap_[0]; }

  /// Sets a timer. False without memory, or if there are `limit` timers with a mail already: `work` is still the caller's.
  /// @param limit limits::timers
  /// @param alive `bool(timer const&)`: false for a stale timer. May be called for every timer.
  template <class Alive>
  [[nodiscard]] bool set(memory const& from, std::uint32_t limit, time_point at, channel_mail* work, socket_id of,
                         Alive const& alive) noexcept {
    // Stale timers are swept once they are half the heap, or an eighth of a full one, so that a client that joins and leaves
    // in a loop cannot exhaust the limit.
    bool const full = work != nullptr && mails_ >= limit;
    if (stale_ > (full ? limit / 8 : heap_.size() < 128 ? 64 : heap_.size() / 2)) sweep(alive);
    if ((work != nullptr && mails_ >= limit) || !heap_.push(from, {at, orders_, work, of})) return false;
    if (work != nullptr) ++mails_;
    ++orders_;
    sift_up(heap_.size() - 1);
    return true;
  }
  /// Removes the first timer. Its mail becomes the caller's.
  void pop() noexcept {
    if (heap_[0].work != nullptr) --mails_;
    heap_[0] = heap_.back();
    heap_.pop();
    sift_down(0);
  }
  /// Counts timers of sockets and channels that have ended.
  void add_stale(std::uint32_t timers) noexcept { stale_ += timers; }
  void free(memory const& from) noexcept {
    for (timer const& t : heap_)
      if (t.work != nullptr) mail::free(t.work);
    heap_.free(from);
  }

 private:
  template <class Alive>
  void sweep(Alive const& alive) noexcept {
    stale_ = 0;
    std::uint32_t kept = 0;
    for (timer const& t : heap_) {
      if (alive(t)) {
        heap_[kept++] = t;
      } else if (t.work != nullptr) {
        --mails_;
        mail::free(t.work);
      }
    }
    while (heap_.size() != kept) heap_.pop();
    for (std::uint32_t i = kept / 2; i-- != 0;) sift_down(i);
  }
  void sift_up(std::uint32_t i) noexcept {
    while (i != 0) {
      std::uint32_t const parent = (i - 1) / 2;
      if (!(heap_[i] < heap_[parent])) return;
      std::swap(heap_[i], heap_[parent]);
      i = parent;
    }
  }
  void sift_down(std::uint32_t i) noexcept {
    for (;;) {
      std::uint32_t least = i;
      for (std::uint32_t const child : {2 * i + 1, 2 * i + 2})
        if (child < heap_.size() && heap_[child] < heap_[least]) least = child;
      if (least == i) return;
      std::swap(heap_[i], heap_[least]);
      i = least;
    }
  }

  array<timer> heap_;
  std::uint64_t orders_ = 0;  // timers set so far
  std::uint32_t mails_ = 0;   // timers with a mail: these are limited
  std::size_t stale_ = 0;     // at least as many as there are stale timers
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

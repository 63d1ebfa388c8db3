#ifndef PHX_LOOP_DETAIL_TIMERS_HPP
#define PHX_LOOP_DETAIL_TIMERS_HPP
// The timers of a loop: a binary heap, first by time, then in the order they were set. O(log n) to set and to run one; timers
// whose channel is gone are swept once there are many, amortised O(1) each.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

inline bool loop::set_timer(time_point at, detail::mail* work, socket_id of) noexcept {
  // Stale timers are swept once they are half the heap, so that a client that joins and leaves in a loop cannot exhaust
  // limits::timers. Amortised O(1) per timer.
  bool const full = work != nullptr && timed_mails_ >= bounds_.timers;
  if (stale_timers_ > (full ? bounds_.timers / 8 : timers_.size() < 128 ? 64 : timers_.size() / 2)) sweep_timers();
  if ((work != nullptr && timed_mails_ >= bounds_.timers) ||
      !timers_.push(bounds_.memory, {at, timer_order_, work, of.slot, of.generation}))
    return false;
  if (work != nullptr) ++timed_mails_;
  ++timer_order_;
  sift_up(timers_.size() - 1);
  return true;
}
inline void loop::sweep_timers() noexcept {
  stale_timers_ = 0;
  std::uint32_t kept = 0;
  for (timer const& t : timers_) {
    detail::client const* const c = find({t.slot, t.generation});
    if (c != nullptr && (t.work == nullptr || c->awaits(*t.work))) {
      timers_[kept++] = t;
    } else if (t.work != nullptr) {
      --timed_mails_;
      detail::mail::free(t.work);
    }
  }
  while (timers_.size() != kept) timers_.pop();
  for (std::uint32_t i = kept / 2; i-- != 0;) sift_down(i);
}
inline void loop::sift_up(std::uint32_t i) noexcept {
  while (i != 0) {
    std::uint32_t const parent = (i - 1) / 2;
    if (!(timers_[i] < timers_[parent])) return;
    std::swap(timers_[i], timers_[parent]);
    i = parent;
  }
}
inline void loop::sift_down(std::uint32_t i) noexcept {
  for (;;) {
    std::uint32_t least = i;
    for (std::uint32_t const child : {2 * i + 1, 2 * i + 2})
      if (child < timers_.size() && timers_[child] < timers_[least]) least = child;
    if (least == i) return;
    std::swap(timers_[i], timers_[least]);
    i = least;
  }
}
inline void loop::pop_timer() noexcept {
  if (timers_[0].work != nullptr) --timed_mails_;
  timers_[0] = timers_.back();
  timers_.pop();
  sift_down(0);
}
inline void loop::run_timers() noexcept {
  while (!timers_.empty() && timers_[0].at <= now_) {
    timer const due = timers_[0];
    if (due.work != nullptr) {
      pop_timer();
      handle(due.work);
      continue;
    }
    detail::client* const c = find({due.slot, due.generation});
    time_point const again = c == nullptr ? (time_point::max)() : c->on_idle_timer(now_);
    pop_timer();
    // The place that was just freed takes it: this cannot fail.
    if (again != (time_point::max)()) (void)set_timer(again, nullptr, {due.slot, due.generation});
  }
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_LOOP_DETAIL_TURN_HPP
#define PHX_LOOP_DETAIL_TURN_HPP
// What a loop does in which order: when it runs, and at the beginning and the end of each outermost receive, run and gone.
// Rounds of the run queue first, then closing sockets, then one flush for each socket that was sent to.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

inline time_point loop::run(time_point now) noexcept {
  in_run_ = true;
  enter(now);
  // Tickers first: what they publish is in the mailbox before it is taken.
  if (endpoint_ != nullptr && endpoint_->due() <= now_) endpoint_->run_tickers(now_);
  box_->take(inbox_);
  while (detail::mail* const m = inbox_.pop()) handle(m);
  run_timers();
  for (detail::loop_component* l = components_; l != nullptr; l = l->next)
    if (l->due() <= now_) l->on_timer(now_);
  if (drain_.on && now_ >= drain_.next_batch) drain_batch();
  if (slow_ != nullptr && now_ >= next_slow_check_) mark_slow_dirty();
  leave();
  in_run_ = false;
  next_run_ = next_time();
  return next_run_;
}

inline time_point loop::next_time() const noexcept {
  if (!run_queue_.empty() || closing_ != nullptr || detached_channels_ != nullptr || (dirty_ != nullptr && turns_ == 0))
    return now_;
  time_point next = timers_.empty() ? (time_point::max)() : timers_.front().at;
  if (drain_.on && drain_.next_batch < next) next = drain_.next_batch;
  for (detail::loop_component const* l = components_; l != nullptr; l = l->next)
    if (time_point const due = l->due(); due < next) next = due;
  if (slow_ != nullptr && next_slow_check_ < next) next = next_slow_check_;
  if (endpoint_ != nullptr)
    if (time_point const due = endpoint_->due(); due < next) next = due < now_ ? now_ : due;
  return next;
}

inline void loop::enter(time_point now) noexcept {
  if (depth_++ != 0) return;
  if (now > now_) now_ = now;
  // What the call before this one left is done first.
  run_queue();
}

inline void loop::leave() noexcept {
  if (depth_ == 1) {
    run_queue();
    close_sockets();
    if (turns_ == 0 && dirty_ != nullptr) flush_all();
    if (!in_run_) request_wake();
  }
  --depth_;
}

inline void loop::request_wake() noexcept {
  if (next_time() >= next_run_) return;
  next_run_ = next_time();
  box_->wake();
}

inline void loop::run_queue() noexcept {
  if (in_round_) return;
  in_round_ = true;
  for (detail::subscriber* m = std::exchange(detached_channels_, nullptr); m != nullptr;) {
    detail::subscriber* const next = m->next;
    m->end(*this, *m);
    m = next;
  }
  detail::mail_queue round;
  round.swap(run_queue_);
  while (detail::mail* const m = round.pop()) handle(m);
  in_round_ = false;
}

inline void loop::close_sockets() noexcept {
  // Ending channels runs `terminate`, which may begin to close other sockets: these are closed here too.
  while (closing_ != nullptr) {
    detail::client& c = *closing_;
    detail::unlink(c);
    detail::link(ended_, c);
    c.end_channels();
  }
  while (ended_ != nullptr) {
    detail::client& c = *ended_;
    detail::unlink(c);
    c.close();  // may destroy c
  }
}

inline void loop::flush_all() noexcept {
  if (lingering_.number != 0) return flush_or_linger();
  while (dirty_ != nullptr) {
    detail::client& c = *dirty_;
    detail::unlink(c);
    c.dirty = false;
    c.flush();
  }
}

inline void loop::mark_slow_dirty() noexcept {
  next_slow_check_ = saturating_add(now_, slow_check_interval);
  for (detail::slow_client const* s = slow_; s != nullptr; s = s->next)
    if (!s->owner->closing) mark_dirty(*s->owner);
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

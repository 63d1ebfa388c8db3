#ifndef PHX_LOOP_DETAIL_DRAIN_HPP
#define PHX_LOOP_DETAIL_DRAIN_HPP
// Going down without a herd (protocol 12): every socket closes with 1012, in batches.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

inline void loop::drain(drain_options const& opts, time_point now) noexcept {
  if (drain_.on) return;
  if (now > now_) now_ = now;
  drain_.on = true;
  drain_.opts = opts;
  drain_.next = 0;
  drain_.total = live_;
  drain_.next_batch = now_;
  drain_.hard = saturating_add(now_, opts.limit);
  if (depth_ == 0)
    box_->wake();
  else
    drain_batch();
}
inline void loop::drain_batch() noexcept {
  std::uint32_t closed = 0;
  bool const all = now_ >= drain_.hard;
  while (drain_.next < slots_.size() && (all || closed < drain_.opts.batch)) {
    detail::client* const c = slots_[drain_.next++].owner;
    if (c == nullptr || c->closing) continue;
    c->begin_close({close_code::restart, "draining"}, exit_reason::draining);
    ++closed;
  }
  if (closed != 0) observer_({.kind = event_code::draining, .count = closed, .total = drain_.total});
  drain_.next_batch = drain_.next == slots_.size() ? (time_point::max)() : saturating_add(now_, drain_.opts.interval);
  if (drain_.hard < drain_.next_batch && drain_.next != slots_.size()) drain_.next_batch = drain_.hard;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

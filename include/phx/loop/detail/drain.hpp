#ifndef PHX_LOOP_DETAIL_DRAIN_HPP
#define PHX_LOOP_DETAIL_DRAIN_HPP
// Closes all sockets of a loop with 1012, in batches (protocol 12).

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

inline void loop::drain(drain_options const& opts, time_point now) noexcept {
  if (drain_.on) return;
  if (now > now_) now_ = now;
  drain_.on = true;
  drain_.opts = opts;
  drain_.next_slot = 0;
  drain_.total = sockets();
  drain_.next_batch = now_;
  drain_.limit = saturating_add(now_, opts.limit);
  if (depth_ == 0)
    box_->wake();
  else
    drain_batch();
}

/// Closes the next sockets in the order of their slots; all remaining ones once the limit has passed.
inline void loop::drain_batch() noexcept {
  std::uint32_t closed = 0;
  bool const all = now_ >= drain_.limit;
  while (drain_.next_slot < sockets_.slot_count() && (all || closed < drain_.opts.batch)) {
    detail::client* const c = sockets_.at(drain_.next_slot++);
    if (c == nullptr || c->closing) continue;
    c->begin_close({close_code::restart, "draining"}, exit_reason::draining);
    ++closed;
  }
  if (closed != 0) observer_({.kind = event_code::draining, .count = closed, .total = drain_.total});
  bool const done = drain_.next_slot == sockets_.slot_count();
  drain_.next_batch = done ? (time_point::max)() : saturating_add(now_, drain_.opts.interval);
  if (drain_.limit < drain_.next_batch && !done) drain_.next_batch = drain_.limit;
  if (sockets() != 0) return;
  drain_.next_batch = (time_point::max)();
  box_->drained.store(true, std::memory_order_relaxed);
  if (endpoint_ != nullptr) endpoint_->report_drained();
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

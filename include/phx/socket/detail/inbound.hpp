#ifndef PHX_SOCKET_DETAIL_INBOUND_HPP
#define PHX_SOCKET_DETAIL_INBOUND_HPP
// Limits how fast a client may send (limits::inbound and inbound_channel). Change this file when flood_policy changes.
//
//   policy | a message beyond the limit                      | counted against the limit
//   close  | the connection closes with 1008                 | no
//   drop   | dropped before it is decoded, or dispatched     | no
//   pause  | handled; the Transport stops reading for a time | yes

#include <phx/socket/detail/connection.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Counts a message against limits::inbound. False: it is not to be handled.
inline bool connection::within_limit(std::size_t bytes) noexcept {
  return !bounds_->inbound.limited() || within_limit(bounds_->inbound, extras_->inbound, {}, bytes);
}

/// Counts a message. False: it is not to be handled.
/// @param topic for the observer; empty for the limit of the socket
inline bool connection::within_limit(inbound_limit const& limit, inbound_meter& meter, std::string_view topic,
                                     std::size_t bytes) noexcept {
  time_point const now = loop_->now();
  if (limit.on_excess == flood_policy::pause) {
    meter.count(limit, bytes, now);
    if (duration const wait = meter.wait(limit, now); wait > duration::zero()) pause_for(wait, topic, bytes);
    return !closing;
  }
  if (meter.wait(limit, now) <= duration::zero()) {
    meter.count(limit, bytes, now);
    return true;
  }
  if (limit.on_excess == flood_policy::drop) {
    ++loop_access::traffic(*loop_).messages_dropped;
    report({.kind = event_code::flood, .topic = topic, .text = "drop", .count = bytes, .total = ++extras_->dropped});
  } else {
    report({.kind = event_code::flood, .topic = topic, .text = "close", .count = bytes});
    begin_close({close_code::policy, "too many messages"}, exit_reason::closed);
  }
  return false;
}

/// Asks the Transport to stop reading for `wait`, or longer if it is paused already. Closes the connection if it cannot.
inline void connection::pause_for(duration wait, std::string_view topic, std::size_t bytes) noexcept {
  time_point const until = saturating_add(loop_->now(), wait);
  if (extras_->paused) {  // the host had received more already
    if (until > extras_->resume_at) extras_->resume_at = until;
    return;
  }
  auto* const m = mail::make<resume_mail>(loop_access::from(*loop_));
  if (m != nullptr) m->to = id;
  if (m == nullptr || !loop_access::timer(*loop_, until, m, id)) {
    if (m != nullptr) mail::free(m);
    return begin_close({close_code::internal, "no memory"}, exit_reason::closed);
  }
  extras_->paused = true;
  extras_->resume_at = until;
  report({.kind = event_code::flood, .topic = topic, .text = "pause", .count = bytes, .total = ++extras_->pauses});
  if (!pause_reading(true)) begin_close({close_code::policy, "too many messages"}, exit_reason::closed);
}

/// Called when the time of a pause has come.
inline void connection::resume_reading() noexcept {
  if (closing || extras_ == nullptr || !extras_->paused) return;
  if (extras_->resume_at > loop_->now()) {
    auto* const m = mail::make<resume_mail>(loop_access::from(*loop_));
    if (m != nullptr) m->to = id;
    if (m != nullptr && loop_access::timer(*loop_, extras_->resume_at, m, id)) return;
    if (m != nullptr) mail::free(m);  // without memory it resumes too soon
  }
  extras_->paused = false;
  last_received_ = loop_->now();  // for limits::idle: it could not send
  (void)pause_reading(false);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

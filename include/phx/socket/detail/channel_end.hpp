#ifndef PHX_SOCKET_DETAIL_CHANNEL_END_HPP
#define PHX_SOCKET_DETAIL_CHANNEL_END_HPP
// How a channel ends (protocol 6.5 and 6.6): it is removed from the table, the client gets phx_close or phx_error, `terminate`
// runs, its memory is freed. The order depends on the reason. Change this file when that order changes.

#include <phx/socket/detail/connection.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Row 6: sends the reply, then phx_close; no user code decides about it (6.5). A pending join is cancelled, without phx_close.
inline void connection::leave(message const& m, std::uint32_t at) noexcept {
  channel_slot* const s = remove_entry(at);
  send_reply(s->state == channel_state::joined ? s->stamp() : m.join_ref, m, status::ok, {}, answer::leave);
  if (s->state == channel_state::joined) send_end_message(*s, true);
  terminate_and_destroy(s, exit_reason::left);
}

/// Ends a joined channel, and sends phx_close or phx_error (6.6). A graceful end is sent before `terminate` runs, as Phoenix does when it
/// handles the result; any other one after it, as Phoenix does when it learns that the process has died. While `terminate` runs
/// the client still receives broadcasts on the topic.
inline void connection::end_channel(channel_slot& s, exit_reason reason) noexcept {
  channel_slot* const over = remove_entry(channels_.find(s.number));
  if (reason.graceful()) send_end_message(*over, true);
  run_terminate(*over, reason);
  if (!reason.graceful()) send_end_message(*over, false);
  destroy_slot(over);
}

/// Sends phx_close, or phx_error where the end was not graceful.
inline void connection::send_end_message(channel_slot const& s, bool graceful) noexcept {
  frame_builder out(loop_access::pool(*loop_));
  push last = graceful ? close_message(s.on->text(), s.join_ref, s.ref) : error_message(s.on->text(), s.join_ref, s.ref);
  last.topic = s.on->name();
  (void)send(out, wire.encode(out, last));
}

/// Runs the dispatcher's `terminate`, and reports the end to the observer. User code learns of an end by nothing else.
inline void connection::run_terminate(channel_slot& s, exit_reason reason) noexcept {
  s.reason = reason;
  s.waiting.clear();
  report({.kind = event_code::channel_ended, .topic = s.on->text(), .exit = reason});
  call_terminate(*loop_, s.state == channel_state::joined ? this : nullptr, s, reason);
}

/// @param connection null: it cannot push, because the socket has gone or the join was never answered ok.
inline void connection::call_terminate(loop& l, connection* connection, channel_slot& s, exit_reason reason) noexcept {
  if (!s.constructed) return;
  context ctx(l, connection, s, nullptr);
  s.ops->terminate(s.dispatcher, s.channel(), ctx, reason);
}

/// Ends a channel that was removed from the table; its client gets no message.
inline void connection::terminate_and_destroy(channel_slot* s, exit_reason reason) noexcept {
  run_terminate(*s, reason);
  destroy_slot(s);
}

/// Ends a channel whose socket is gone or was destroyed by a callback (subscriber::end): its terminate runs in the loop's next
/// round.
inline void connection::end_detached(loop& l, subscriber& m) noexcept {
  channel_slot& s = static_cast<channel_slot&>(m);
  s.waiting.clear();
  if (observer_ref const& to = loop_access::observer(l))
    to({.kind = event_code::channel_ended,
        .slot = s.socket.slot,
        .generation = s.socket.generation,
        .topic = s.on->text(),
        .exit = s.reason});
  call_terminate(l, nullptr, s, s.reason);
  destroy_slot(l, &s);
}

/// Takes a channel out of the table and off its topic. It is the caller's to destroy.
inline channel_slot* connection::remove_slot(std::uint32_t at) noexcept {
  channel_slot* const s = remove_entry(at);
  loop_access::topics(*loop_).unsubscribe(*s);
  return s;
}

/// Takes a channel out of the table; it receives broadcasts until it is destroyed.
inline channel_slot* connection::remove_entry(std::uint32_t at) noexcept {
  channel_slot* const s = channels_.remove(at);
  --loop_access::channels(*loop_);
  return s;
}

/// Destroys the channel and frees its slot. Its end_watches are called, and its timers become stale.
inline void connection::destroy_slot(loop& l, channel_slot* s) noexcept {
  loop_access::topics(l).unsubscribe(*s);
  while (end_watch* const w = s->watches) {
    s->watches = w->next;
    w->ended(w, s->reason);
  }
  loop_access::stale_timers(l, s->timers);
  loop_access::topics(l).unuse(s->on);
  if (s->constructed) s->ops->destroy(s->channel());
  std::size_t const size = s->size;
  s->~channel_slot();
  loop_access::from(l).release(s, size);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_SOCKET_DETAIL_JOIN_HPP
#define PHX_SOCKET_DETAIL_JOIN_HPP
// How a topic is joined (protocol 5, rows 2 to 5, and 6.1). Change this file when joining changes.
//
//   joining -> joined     the dispatcher accepted, or channel_id::joined did so later
//   joining -> refused    the dispatcher refused; channel_id::refused did; its deadline has passed; it crashed
//   joining -> cancelled  the client left, joined again, or went: terminate runs with context::state() == joining
//
// While a join is pending, messages of the client and mail for the channel are held, in order and bounded. Messages with a
// stale join_ref, of an earlier join, do not get here: see connection::dispatch.

#include <phx/socket/detail/connection.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Row 5: a join for a topic that is joined already replaces the channel. Phoenix 1.0 and 1.1 refuse it (protocol 4.1).
inline void connection::rejoin(message const& m, std::uint32_t at) noexcept {  // row 5
  if (wire.rules().duplicate_join_refused) {                                   // 1.0 and 1.1 (protocol 4.1)
    send_error(m.join_ref, m, R"({"reason":"already joined"})", answer::refused_join);
    return;
  }
  report({.kind = event_code::duplicate_join, .topic = m.topic, .ref = m.ref});
  join(m, remove_slot(at));
}

/// Joins a topic, after ending the channel that the new one replaces.
/// @param replaced its terminate runs before the new join; its phx_close follows the reply to the join, which overtakes it in
///   Phoenix too. Null: the topic was not joined.
inline void connection::join(message const& m, channel_slot* replaced) noexcept {
  if (replaced != nullptr) run_terminate(*replaced, exit_reason::replaced);
  create_and_join(m);
  if (replaced == nullptr) return;
  if (replaced->state == channel_state::joined) send_end_message(*replaced, true);
  destroy_slot(replaced);
}

/// Rows 2 to 4: makes the channel, runs its `join`, and acts on the result: accepted, refused, pending or crashed.
inline void connection::create_and_join(message const& m) noexcept {
  // row 2. No client may read or forge the messages that the presence trackers of the nodes exchange.
  if (!m.topic_name.is_string() || !ops_->matches(dispatcher_, m.topic) || loop_access::is_reserved(*loop_, m.topic))
    return reply_unmatched(m);
  if (channels_.size() >= bounds_->channels) {  // row 3
    report({.kind = event_code::too_many_channels, .topic = m.topic, .ref = m.ref});
    return send_error(m.join_ref, m, R"({"reason":"too many channels joined"})", answer::refused_join);
  }
  channel_slot* const s = create_slot(m);
  if (s == nullptr) {
    report({.kind = event_code::no_memory, .topic = m.topic, .ref = m.ref});
    return send_error(m.join_ref, m, R"({"reason":"overloaded"})", answer::refused_join);
  }
  join_result result = join_result::crash("");
  in_join_ = true;
  bool const ran = try_invoke(
      [&] {
        joining j(*this, *s);
        result = ops_->join(dispatcher_, session_, *s, j, m);
      },
      [&](char const* text) { report({.kind = event_code::join_crashed, .topic = m.topic, .ref = m.ref, .text = text}); });
  in_join_ = false;
  using kind = join_result::kind;
  if (!s->constructed && (result.kind_ == kind::ok || result.kind_ == kind::later))
    result = join_result::crash("a join without a channel");
  if (!ran || result.kind_ == kind::crash) {
    if (ran) report({.kind = event_code::join_crashed, .topic = m.topic, .ref = m.ref, .text = result.reason_});
    destroy_slot(s);
    return send_error(m.join_ref, m, R"({"reason":"join crashed"})", answer::refused_join);
  }
  if (result.kind_ == kind::error) {
    turned_away_ = true;
    report({.kind = event_code::channel_refused, .topic = m.topic, .ref = m.ref, .payload = &m.payload});
    if (errc const fault = send_reply(m.join_ref, m, status::error, result.response_, answer::refused_join);
        fault != errc::none)
      send_error(m.join_ref, m, R"({"reason":"join crashed"})", answer::refused_join);
    call_terminate(*loop_, nullptr, *s, exit_reason::shutdown);
    destroy_slot(s);
    return;
  }
  if (!channels_.insert(loop_access::from(*loop_), *s)) return refuse_overloaded(s);
  ++loop_access::channels(*loop_);
  if (result.kind_ == kind::ok) {
    accept_join(*s, result.response_, &m.payload);
    return;
  }
  time_point const last = saturating_add(loop_->now(), bounds_->join);
  if (auto* const deadline = mail::make<deadline_mail>(loop_access::from(*loop_))) {
    deadline->to = id;
    deadline->number = s->number;
    ++s->timers;
    if (loop_access::timer(*loop_, result.deadline_ < last ? result.deadline_ : last, deadline, id)) return;
    mail::free(deadline);
  }
  refuse_overloaded(remove_slot(channels_.size() - 1));
}

/// Refuses a join for which memory ran out after its channel was made.
inline void connection::refuse_overloaded(channel_slot* s) noexcept {
  reply_to_join(*s, status::error, payload_access::borrow(R"({"reason":"overloaded"})", false), answer::refused_join);
  terminate_and_destroy(s, exit_reason::killed);
}

/// Answers a join with ok. @pre `s` is in the table of channels.
/// @param asked the payload of the phx_join; null if the result came later, by mail.
inline void connection::accept_join(channel_slot& s, payload const& response, payload const* asked) noexcept {
  s.intercepts = s.ops->intercepts(dispatcher_, s.channel());
  s.intercepting = !s.intercepts.empty();
  s.pressure = s.ops->when_slow(dispatcher_, s.channel()).value_or(bounds_->pressure);
  if (s.pressure != pressure_policy::close && s.pressure != pressure_policy::ignore) pressure_above_ = bounds_->outbound / 2;
  if (!loop_access::topics(*loop_).subscribe(s)) return refuse_overloaded(remove_slot(channels_.find(s.number)));
  // A verdict that came by mail: broadcasts posted before it have been handled, those posted after it are for this channel.
  if (asked == nullptr) s.since = 0;
  errc const fault = reply_to_join(s, status::ok, response, answer::join);
  if (fault != errc::none) {
    // A response that this serializer cannot carry: to the client this is a join that crashed.
    report({.kind = event_code::not_encoded, .topic = s.on->text(), .error = fault});
    reply_to_join(s, status::error, payload_access::borrow(R"({"reason":"join crashed"})", false), answer::refused_join);
    terminate_and_destroy(remove_slot(channels_.find(s.number)), exit_reason::error);
    return;
  }
  s.state = channel_state::joined;
  report({.kind = event_code::channel_joined, .topic = s.on->text(), .ref = s.ref, .payload = asked});
}

/// Bytes held for all pending joins of this client: limits::held_bytes bounds their sum, because a client may have as many
/// pending joins as it has channels.
inline std::size_t connection::held_bytes() const noexcept {
  std::size_t sum = 0;
  for (auto const& at : channels_)
    if (at.slot->state == channel_state::joining) sum += at.slot->held_bytes;
  return sum;
}

/// Keeps a message of the client until the pending join is decided. Beyond limits::held_pushes or held_bytes the channel ends.
inline void connection::hold_for_join(message const& m, std::uint32_t at) noexcept {
  channel_slot& s = channels_[at];
  std::size_t const bytes = m.payload.raw().size() + m.join_ref.json.size() + m.ref.json.size() + m.topic.size() +
                            m.event.size() + m.topic_name.json.size() + m.event_name.json.size();
  bool const fits = s.held < bounds_->held_pushes && held_bytes() + bytes <= bounds_->held_bytes;
  inbound_mail* const kept =
      !fits ? nullptr
            : mail::make<inbound_mail>(loop_access::from(*loop_), {{&inbound_mail::join_ref, m.join_ref.json},
                                                                   {&inbound_mail::ref, m.ref.json},
                                                                   {&inbound_mail::topic, m.topic},
                                                                   {&inbound_mail::event, m.event},
                                                                   {&inbound_mail::topic_json, m.topic_name.json},
                                                                   {&inbound_mail::event_json, m.event_name.json}});
  if (kept != nullptr) kept->payload = payload_access::owned(m.payload, loop_access::from(*loop_));
  if (kept == nullptr || !kept->payload.valid()) {
    if (kept != nullptr) mail::free(kept);
    report({.kind = event_code::held_too_much, .topic = m.topic, .event = m.event, .count = s.held});
    reply_to_join(s, status::error, payload_access::borrow(R"({"reason":"join crashed"})", false), answer::refused_join);
    terminate_and_destroy(remove_slot(at), exit_reason::killed);
    return;
  }
  s.waiting.push(kept);
  ++s.held;
  s.held_bytes += bytes;
}

/// Keeps mail for a channel whose join is pending, in order with what its client sends. True: `m` was kept, and is now null, or
/// is to be dropped.
inline bool connection::hold_if_joining(channel_mail*& m) noexcept {
  if (m->kind != mail_kind::push && m->kind != mail_kind::info) return false;
  std::uint32_t const at = channels_.find(m->number);
  if (at == none || channels_[at].state != channel_state::joining) return false;
  channel_slot& s = channels_[at];
  if (s.held < bounds_->held_pushes) {
    ++s.held;
    s.waiting.push(std::exchange(m, nullptr));
  } else {
    std::string_view const event = m->kind == mail_kind::push ? m->as<push_mail>().event : m->as<info_mail>().event;
    report({.kind = event_code::held_too_much, .topic = s.on->text(), .event = event, .count = s.held});
  }
  return true;
}

/// Ends the wait of a pending join: accepts or refuses it, then handles in order what was held meanwhile.
inline void connection::complete_join(channel_slot& s, bool yes, payload const& response) noexcept {
  mail_queue held;
  held.swap(s.waiting);
  if (yes) {
    --s.timers;
    loop_access::stale_timers(*loop_, 1);  // its deadline
    accept_join(s, response, nullptr);
  } else {
    errc const fault = reply_to_join(s, status::error, response, answer::refused_join);
    if (fault != errc::none)
      reply_to_join(s, status::error, payload_access::borrow(R"({"reason":"join crashed"})", false), answer::refused_join);
    report({.kind = event_code::channel_refused, .topic = s.on->text(), .ref = s.ref});
    terminate_and_destroy(remove_slot(channels_.find(s.number)), exit_reason::shutdown);
  }
  // What was held is handled in order, as if it arrived now.
  while (mail* const m = held.pop()) {
    if (closing) {
      // dropped
    } else if (m->kind != mail_kind::inbound) {
      handle_mail(m->as<channel_mail>());
    } else {
      auto const& kept = m->as<inbound_mail>();
      message in;
      in.join_ref = {kept.join_ref};
      in.ref = {kept.ref};
      in.topic = kept.topic;
      in.event = kept.event;
      in.topic_name = {in.topic, kept.topic_json};
      in.event_name = {in.event, kept.event_json};
      in.payload = payload_access::lend(kept.payload);
      dispatch(in, 0);
    }
    mail::free(m);
  }
}

/// Allocates a channel_slot with the dispatcher's channel and the join's refs behind it. Null without memory.
inline channel_slot* connection::create_slot(message const& m) noexcept {
  memory const& from = loop_access::from(*loop_);
  std::size_t const refs = m.join_ref.json.size() + m.ref.json.size();
  bool const metered = bounds_->inbound_channel.limited();
  std::size_t size = sizeof(channel_slot) + ops_->channel_size + refs;
  if (metered)
    size = (size + alignof(inbound_meter) - 1) / alignof(inbound_meter) * alignof(inbound_meter) + sizeof(inbound_meter);
  void* const at = from.allocate(size);
  if (at == nullptr) return nullptr;
  topic* const on = loop_access::topics(*loop_).use(m.topic, canonical(m.topic_name));
  if (on == nullptr) {
    from.release(at, size);
    return nullptr;
  }
  channel_slot* const s = new (at) channel_slot;
  s->owner = this;
  s->on = on;
  s->number = ++last_number_;
  s->end = &end_detached;
  s->dispatcher = dispatcher_;
  s->socket = id;
  s->size = size;
  s->metered = metered;
  if (metered) new (&s->meter()) inbound_meter;
  char* const text = static_cast<char*>(s->channel()) + ops_->channel_size;
  if (!m.join_ref.json.empty()) std::memcpy(text, m.join_ref.json.data(), m.join_ref.json.size());
  if (!m.ref.json.empty()) std::memcpy(text + m.join_ref.json.size(), m.ref.json.data(), m.ref.json.size());
  s->join_ref = {{text, m.join_ref.json.size()}};
  s->ref = {{text + m.join_ref.json.size(), m.ref.json.size()}};
  return s;
}

/// The topic in quotes, with only the escapes that JSON needs: in this form it is compared and sent.
inline std::string_view connection::canonical(json_text const& topic) noexcept {
  if (topic.json.find('\\') == std::string_view::npos) return topic.json;
  frame_builder text(loop_access::pool(*loop_));
  text.start(opcode::text, topic.json.size());
  text.quoted(topic.text);
  frame const done = text.finish();
  // Never longer than the text of the client: it has no escape that was not one before.
  char* const at = done.empty() ? nullptr : loop_access::scratch(*loop_).room(done.data().size());
  if (at == nullptr) return topic.json;
  std::memcpy(at, done.data().data(), done.data().size());
  return {at, done.data().size()};
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

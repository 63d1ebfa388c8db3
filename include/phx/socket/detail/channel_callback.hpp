#ifndef PHX_SOCKET_DETAIL_CHANNEL_CALLBACK_HPP
#define PHX_SOCKET_DETAIL_CHANNEL_CALLBACK_HPP
// Runs the dispatcher's callbacks for messages and mail, and acts on their results (protocol 6.2 to 6.4). Exceptions end the
// channel with phx_error; nothing leaves. Change this file when a callback or a kind of mail is added.

#include <phx/socket/detail/connection.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Runs a callback of `s`. False: the channel has ended, because the callback threw or something could not be encoded.
template <class F>
inline bool connection::call(channel_slot& s, std::string_view name, message const* in, F&& body) noexcept {
  context ctx(*loop_, this, s, in);
  bool const ran =
      try_invoke([&] { body(ctx); },
                 [&](char const* text) {
                   report({.kind = event_code::handler_crashed, .topic = s.on->text(), .event = name, .text = text});
                 });
  if (!ran) {
    end_channel(s, exit_reason::error);
    return false;
  }
  if (ctx.unhandled_ != errc::none) {
    crash_channel(s, name, ctx.unhandled_);
    return false;
  }
  return true;
}

/// Row 8: runs `handle_in`, sends its reply, and ends the channel if it says so.
inline void connection::call_handle_in(message const& m, channel_slot& s) noexcept {
  outcome result;
  observer_ref const& to = loop_access::observer(*loop_);
  if (to.handler_starts != nullptr) to.handler_starts(to.host);
  bool const lives =
      call(s, m.event, &m, [&](context& ctx) { result = s.ops->handle_in(dispatcher_, s.channel(), ctx, m); });
  if (!lives) return;
  if (to) to.handled_in(to.host, m, s.on->text(), id.slot, id.generation);
  if (result.answers_) {
    errc const fault = send_reply(s.stamp(), m, result.status_, result.response_, answer::message);
    if (fault != errc::none && fault != errc::no_memory) return crash_channel(s, m.event, fault);
  }
  if (result.stops_) end_channel(s, result.reason_);
}

/// Ends a channel because its serializer cannot carry what it sends (3.5).
inline void connection::crash_channel(channel_slot& s, std::string_view name, errc ec) noexcept {
  report({.kind = event_code::not_encoded, .topic = s.on->text(), .event = name, .error = ec});
  report({.kind = event_code::handler_crashed, .topic = s.on->text(), .event = name, .text = to_string(ec), .error = ec});
  end_channel(s, exit_reason::error);
}

/// Acts on the result of handle_info and handle_out: noreply or stop. A reply is an error there, as in Phoenix (6.2): there is
/// no message that it could answer.
inline void connection::apply_result(channel_slot& s, std::string_view name, outcome const& result) noexcept {
  if (result.answers_) {
    report({.kind = event_code::handler_crashed,
            .topic = s.on->text(),
            .event = name,
            .text = "an answer where nothing was asked"});
    end_channel(s, exit_reason::error);
  } else if (result.stops_) {
    end_channel(s, result.reason_);
  }
}

/// Queues a message of a channel to itself, now or after `delay`. dropped: limits::channel_timers, limits::timers, or no memory.
inline send_status connection::send_to_self(channel_slot& s, duration delay, std::string_view event,
                                            payload const& data) noexcept {
  bool const timed = delay > duration::zero();
  if (timed && s.timers >= bounds_->channel_timers) return send_status::dropped;
  memory const& from = loop_access::from(*loop_);
  auto* const m = mail::make<info_mail>(from, {{&info_mail::event, event}});
  if (m == nullptr || !mail::set_payload(m, data, from)) return send_status::dropped;
  m->to = id;
  m->number = s.number;
  m->timed = timed;
  if (!timed) {
    loop_access::enqueue(*loop_, m);
  } else if (loop_access::timer(*loop_, saturating_add(loop_->now(), delay), m, id)) {
    ++s.timers;
  } else {
    mail::free(m);
    return send_status::dropped;
  }
  return send_status::ok;
}

/// Broadcasts what a channel_id posted. It goes out whatever has become of its channel: it is for others too.
inline void connection::publish_cast(cast_mail const& m) noexcept {
  std::uint32_t const at = closing ? none : channels_.find(m.number);
  channel_slot* const s = at == none || channels_[at].state == channel_state::joining ? nullptr : &channels_[at];
  errc const fault =
      loop_access::fan_out_cast(*loop_, m, m.except_sender ? s : nullptr, s != nullptr && bounds_->strict_encoding);
  if (s != nullptr && fault != errc::none && fault != errc::no_memory && fault != errc::nodes_not_reached)
    crash_channel(*s, m.event, fault);
}

/// Sends what a reply_to posted, whatever has become of its channel (6.3).
inline void connection::send_late_reply(reply_mail const& m) noexcept {
  frame_builder out(loop_access::pool(*loop_));
  errc const fault =
      send(out, wire.encode(out, reply{{m.join_ref}, {m.ref}, {m.topic, {}}, m.status, m.payload, answer::message}));
  if (fault == errc::none || fault == errc::no_memory) return;
  if (std::uint32_t const at = channels_.find(m.number); at != none && channels_[at].state == channel_state::joined)
    crash_channel(channels_[at], {}, fault);
  else
    report({.kind = event_code::not_encoded, .topic = m.topic, .error = fault});
}

/// Sends what an ended_channel posted, unless the client has joined the topic again.
inline void connection::send_last_push(last_push_mail const& m) noexcept {
  topic const* const t = loop_access::topics(*loop_).find(m.topic);
  if (t != nullptr && channels_.find(*t) != nullptr) return;
  frame_builder out(loop_access::pool(*loop_));
  push const last{{m.join_ref}, {}, {m.topic, {}}, {m.event, {}}, m.payload};
  if (errc const fault = send(out, wire.encode(out, last)); fault != errc::none && fault != errc::no_memory)
    report({.kind = event_code::not_encoded, .topic = m.topic, .event = m.event, .error = fault});
}

/// Handles one mail by kind. Mail for a channel life that is over is dropped, except replies and last pushes.
inline void connection::handle_mail(channel_mail& m) noexcept {
  if (m.kind == mail_kind::reply) return send_late_reply(m.as<reply_mail>());
  if (m.kind == mail_kind::last_push) return send_last_push(m.as<last_push_mail>());
  std::uint32_t const at = channels_.find(m.number);
  if (at == none) return;
  channel_slot& s = channels_[at];
  bool const pending = s.state == channel_state::joining;
  switch (m.kind) {
    case mail_kind::push: {
      auto const& p = m.as<push_mail>();
      if (errc const fault = send_push(s, p.event, p.payload, p.key); fault != errc::none && fault != errc::no_memory)
        crash_channel(s, p.event, fault);
      break;
    }
    case mail_kind::info: {
      auto const& info = m.as<info_mail>();
      message in;
      in.topic = info.on_other_topic() ? info.topic : s.on->text();
      in.topic_name = info.on_other_topic() ? json_text{in.topic, {}} : s.on->name();
      in.event = info.event;
      in.event_name = {in.event, {}};
      in.payload = payload_access::lend(info.payload);
      outcome result;
      if (call(s, in.event, nullptr, [&](context& ctx) { result = s.ops->handle_info(dispatcher_, s.channel(), ctx, in); }))
        apply_result(s, in.event, result);
      break;
    }
    case mail_kind::intercepted: {
      auto const& i = m.as<intercepted_mail>();
      broadcast const b{i.topic, i.event, payload_access::lend(i.payload), {}, i.key};
      outcome result;
      if (call(s, b.event, nullptr, [&](context& ctx) { result = s.ops->handle_out(dispatcher_, s.channel(), ctx, b); }))
        apply_result(s, b.event, result);
      break;
    }
    case mail_kind::watch: {
      auto& w = m.as<watch_mail>();
      w.watch->next = s.watches;
      s.watches = std::exchange(w.watch, nullptr);
      break;
    }
    case mail_kind::verdict:
      if (pending) complete_join(s, m.as<verdict_mail>().accepted, m.payload);
      break;
    case mail_kind::exit:
      if (pending)
        complete_join(s, false, payload_access::borrow(R"({"reason":"join crashed"})", false));
      else
        end_channel(s, m.as<exit_mail>().reason);
      break;
    case mail_kind::deadline:
      if (pending) {
        --s.timers;
        report({.kind = event_code::join_timed_out, .topic = s.on->text(), .ref = s.ref});
        complete_join(s, false, payload_access::borrow(R"({"reason":"timeout"})", false));
      }
      break;
    default: break;
  }
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_LOOP_DETAIL_FAN_OUT_HPP
#define PHX_LOOP_DETAIL_FAN_OUT_HPP
// How a broadcast reaches the subscribers of a topic (protocol 7): encoded once for each serializer, then handed to every
// subscriber of this loop, to the other loops by one mail each, and to the other nodes by the PubSub.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

inline errc loop::publish(broadcast const& b, detail::subscriber const* except, bool strict, bool bounded) noexcept {
  if (!b.payload.valid()) return errc::invalid_payload;
  errc const fault = fan_out(b, except, strict);
  if (fault != errc::none || endpoint_ == nullptr) return fault;
  endpoint_->refresh(peers_, bounds_.memory);
  for (detail::mailbox* const other : peers_.boxes)
    if (other != box_.get()) (void)endpoint::post(*other, b, bounded);
  return publish_to_nodes(b);
}

inline errc loop::publish_to_nodes(broadcast const& b) noexcept {
  if (endpoint_ == nullptr || !endpoint_->pubsub_ || endpoint_->reached_other_nodes(b)) return errc::none;
  observer_({.kind = event_code::nodes_not_reached, .topic = b.topic, .event = b.event, .error = errc::nodes_not_reached});
  return errc::nodes_not_reached;
}

inline errc loop::fan_out_cast(detail::cast_mail const& m, detail::subscriber const* except, bool strict) noexcept {
  broadcast const b{m.topic, m.event, detail::payload_access::lend(m.payload), {}, m.key};
  if (!b.payload.valid()) return errc::invalid_payload;
  errc const local = fan_out(b, except, strict, m.epoch);
  return local == errc::none ? publish_to_nodes(b) : local;
}

namespace detail {

/// One broadcast, encoded once for each serializer in use. On the stack of a fan-out.
class encoded_frames {
 public:
  struct encoded {
    serializer_ref wire;
    errc ec;
    delivery out;
  };
  encoded_frames(frame_pool& pool, topic const& on, broadcast const& b) noexcept : out_(pool), on_(on), broadcast_(b) {}
  /// The frame of this serializer, or the reason why it cannot encode it. Null: more serializers than anybody has.
  [[nodiscard]] encoded const* find(serializer_ref wire) noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if (all_[i].wire == wire) return &all_[i];
    if (count_ == most) return nullptr;
    out_.discard();
    encoded& e = all_[count_++];
    e.wire = wire;
    e.ec = wire.encode(out_, broadcast_);
    if (e.ec == errc::none && out_.failed()) e.ec = errc::no_memory;
    if (e.ec == errc::none) e.out.bytes = out_.finish();
    e.out.on = &on_;
    e.out.event = broadcast_.event;
    e.out.key = broadcast_.key;
    return &e;
  }

 private:
  static constexpr std::size_t most = 8;
  frame_builder out_;
  topic const& on_;
  broadcast const& broadcast_;
  encoded all_[most];
  std::size_t count_ = 0;
};

/// The hot loop of a fan-out. Not inlined: among the other branches Clang keeps one value less in a register. What a pressure
/// policy asks about the message stands behind the frame in the same object, so that it costs a recipient nothing.
[[gnu::noinline]] inline void deliver_all(array<subscription> const& to, subscriber const* except,
                                          delivery const& out) noexcept {
  for (subscription const& s : to)
    if (s.entry != except) s.to->deliver(out);
}

}  // namespace detail

/// Encodes `b` for every serializer that is needed before any subscriber gets it: a broadcast reaches all or fails as a
/// whole, and the caller gets the error (protocol 7: "validate once before the loop").
///
/// Not strict: if a serializer cannot encode it, its subscribers are skipped; otherwise one client could make the channels of
/// all others fail by the serializer that it chooses. If none can encode it, the broadcast itself is wrong, and the caller gets
/// the error; but bytes are not wrong because all subscribers of the moment are clients of version 1.
inline errc loop::encode_all(broadcast const& b, detail::subscriber const* except, bool strict, detail::topic const& t,
                             detail::encoded_frames& frames) noexcept {
  errc last_error = errc::none;
  bool any_encoded = false;
  auto const encode = [&](serializer_ref wire, std::uint32_t clients) {
    detail::encoded_frames::encoded const* const one = frames.find(wire);
    if (one == nullptr) return errc::limit_reached;
    if (one->ec == errc::none) {
      any_encoded = true;
      return errc::none;
    }
    if (strict) return one->ec;
    observer_(
        {.kind = event_code::broadcast_skipped, .topic = b.topic, .event = b.event, .error = one->ec, .count = clients});
    if (one->ec != errc::bytes_not_carried) last_error = one->ec;
    return errc::none;
  };
  for (detail::topic::used_wire const& w : t.wires)
    if (errc const ec = encode(w.wire, w.count); ec != errc::none) return ec;
  for (detail::subscription const& s : t.others)
    if (s.entry != except && s.entry->passes(b.event))
      if (errc const ec = encode(s.to->wire, 1); ec != errc::none) return ec;
  return any_encoded ? errc::none : last_error;
}

inline errc loop::fan_out(broadcast const& b, detail::subscriber const* except, bool strict, std::uint64_t epoch) noexcept {
  detail::topic* const t = topic_table_.find(b.topic);
  if (t == nullptr) return errc::none;
  broadcast const as_written{b.topic, b.event, detail::payload_access::lend(b.payload), t->json(), b.key};
  detail::encoded_frames frames(pool_, *t, as_written);
  if (errc const ec = encode_all(b, except, strict, *t, frames); ec != errc::none) return ec;
  if (t->newest <= epoch && t->wires.size() == 1) {
    if (detail::delivery const& only = frames.find(t->wires[0].wire)->out; !only.bytes.empty())
      detail::deliver_all(t->plain, except, only);
  } else {
    // Several serializers; or, rarely, somebody has subscribed since the broadcast was posted, and does not get it.
    for (detail::subscription const& s : t->plain) {
      if (s.entry == except || s.entry->since > epoch) continue;
      detail::delivery const& out = frames.find(s.to->wire)->out;
      if (!out.bytes.empty()) s.to->deliver(out);
    }
  }
  if (!t->others.empty()) queue_intercepted(b, except, epoch, *t, frames);
  return errc::none;
}

/// Serves the subscribers that do not simply get the frame: channels that intercept events, listeners, and id topics.
inline void loop::queue_intercepted(broadcast const& b, detail::subscriber const* except, std::uint64_t epoch,
                                    detail::topic const& t, detail::encoded_frames& frames) noexcept {
  payload kept;  // shared by all mails
  bool has_kept = false;
  for (std::uint32_t i = 0; i < t.others.size(); ++i) {
    detail::subscription const s = t.others[i];
    if (s.entry == except || s.entry->since > epoch) continue;
    if (s.entry->number == 0) {
      // A socket on its id topic (protocol 8.1): `disconnect` ends the connection, other events are ignored.
      if (b.event == event::disconnect) s.to->begin_close({close_code::going_away, "disconnect"}, exit_reason::closed);
    } else if (s.entry->passes(b.event)) {
      if (detail::delivery const& out = frames.find(s.to->wire)->out; !out.bytes.empty()) s.to->deliver(out);
    } else {
      if (s.entry->listening && static_cast<detail::topic_listener const*>(s.entry)->channel == except) continue;
      if (!std::exchange(has_kept, true)) kept = detail::payload_access::owned(b.payload, bounds_.memory);
      queue_for_handler(b, kept, *s.entry);
    }
  }
}

/// Queues a copy for a channel that intercepts the event (handle_out), or that subscribed to another topic (handle_info). A
/// second subscription to its own topic goes to handle_out too.
inline void loop::queue_for_handler(broadcast const& b, payload const& kept, detail::subscriber const& at) noexcept {
  using detail::info_mail, detail::intercepted_mail, detail::mail;
  detail::subscriber const& channel = at.listening ? *static_cast<detail::topic_listener const&>(at).channel : at;
  if (channel.owner == nullptr) return;  // its socket has gone
  detail::channel_mail* m = nullptr;
  if (!kept.valid())
    m = nullptr;
  else if (channel.on != at.on)
    m = mail::make<info_mail>(bounds_.memory, {{&info_mail::event, b.event}, {&info_mail::topic, b.topic}});
  else
    m = mail::make<intercepted_mail>(
        bounds_.memory,
        {{&intercepted_mail::topic, b.topic}, {&intercepted_mail::event, b.event}, {&intercepted_mail::key, b.key}});
  if (m == nullptr) {
    observer_({.kind = event_code::no_memory, .topic = b.topic, .event = b.event});
    return;
  }
  m->payload = kept;
  m->to = channel.owner->id;
  m->number = channel.number;
  run_queue_.push(m);
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

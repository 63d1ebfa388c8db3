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
  if (fault != errc::none || everywhere_ == nullptr) return fault;
  everywhere_->refresh(peers_, bounds_.memory);
  for (detail::mailbox* const other : peers_.boxes)
    if (other != box_.get()) (void)endpoint::post(*other, b, bounded);
  return publish_to_nodes(b);
}

inline errc loop::publish_to_nodes(broadcast const& b) noexcept {
  if (everywhere_ == nullptr || !everywhere_->others_ || everywhere_->reached_others(b)) return errc::none;
  observer_({.kind = event_code::nodes_not_reached, .topic = b.topic, .event = b.event, .error = errc::nodes_not_reached});
  return errc::nodes_not_reached;
}

inline errc loop::fan_out_cast(detail::mail const& m, detail::subscriber const* except, bool strict) noexcept {
  broadcast const b{m.text(2), m.text(0), detail::payload_access::lend(m.payload), {}, m.text(1)};
  if (!b.payload.valid()) return errc::invalid_payload;
  errc const local = fan_out(b, except, strict, static_cast<std::uint64_t>(m.numbers[0]));
  return local == errc::none ? publish_to_nodes(b) : local;
}

namespace detail {

/// One broadcast in the words of the serializers in use, encoded once for each.
class encoded_frames {
 public:
  struct one {
    serializer_ref wire;
    frame bytes;
    errc ec;
  };
  encoded_frames(frame_pool& pool, broadcast const& b) noexcept : out_(pool), answer_(b) {}
  /// Null: there are more serializers than anybody has.
  [[nodiscard]] one const* in(serializer_ref wire) noexcept {
    for (std::size_t i = 0; i < count_; ++i)
      if (all_[i].wire == wire) return &all_[i];
    if (count_ == most) return nullptr;
    out_.discard();
    errc ec = wire.encode(out_, answer_);
    if (ec == errc::none && out_.failed()) ec = errc::no_memory;
    all_[count_] = {wire, ec == errc::none ? out_.finish() : frame{}, ec};
    return &all_[count_++];
  }

 private:
  static constexpr std::size_t most = 8;
  frame_builder out_;
  broadcast const& answer_;
  one all_[most];
  std::size_t count_ = 0;
};

}  // namespace detail

namespace detail {

/// The hot loop of a fan-out. Not inlined: among the other branches Clang keeps one value less in a register.
[[gnu::noinline]] inline void deliver_all(array<subscription> const& to, subscriber const* except,
                                          frame const& bytes) noexcept {
  for (subscription const& s : to)
    if (s.entry != except) s.to->deliver(bytes);
}

}  // namespace detail

/// Encodes `b` for every serializer that is needed, before any subscriber is served, so that a broadcast fails in its caller
/// and whole (protocol 7: "validate once before the loop"). Only version 2 refuses a payload that is not an object (3.5).
///
/// Not strict: a serializer that refuses has its subscribers skipped, or one client could make the channels of all others
/// fail by the serializer it chooses. If none carries it, the broadcast itself is wrong and its caller is told; but bytes
/// are not wrong because all who listen right now are clients of version 1.
inline errc loop::encode_all(broadcast const& b, detail::subscriber const* except, bool strict, detail::topic const& t,
                             detail::encoded_frames& in) noexcept {
  errc refused = errc::none;
  bool carried = false;
  auto const fits = [&](serializer_ref wire, std::uint32_t clients) {
    detail::encoded_frames::one const* const one = in.in(wire);
    if (one == nullptr) return errc::limit_reached;
    if (one->ec == errc::none) {
      carried = true;
      return errc::none;
    }
    if (strict) return one->ec;
    observer_(
        {.kind = event_code::broadcast_skipped, .topic = b.topic, .event = b.event, .error = one->ec, .count = clients});
    if (one->ec != errc::bytes_not_carried) refused = one->ec;
    return errc::none;
  };
  for (detail::topic::used_wire const& w : t.wires)
    if (errc const ec = fits(w.wire, w.count); ec != errc::none) return ec;
  for (detail::subscription const& s : t.others)
    if (s.entry != except && s.entry->reads(b.event))
      if (errc const fault = fits(s.to->wire, 1); fault != errc::none) return fault;
  return carried ? errc::none : refused;
}

inline errc loop::fan_out(broadcast const& b, detail::subscriber const* except, bool strict, std::uint64_t epoch) noexcept {
  detail::topic* const t = topic_table_.find(b.topic);
  if (t == nullptr) return errc::none;
  broadcast const as_written{b.topic, b.event, detail::payload_access::lend(b.payload), t->json(), b.key};
  detail::encoded_frames in(pool_, as_written);
  if (errc const ec = encode_all(b, except, strict, *t, in); ec != errc::none) return ec;
  detail::delivery const droppable{t, b.event, b.key};
  current_delivery_ = &droppable;
  if (t->newest > epoch) {  // rare: somebody subscribed while it was waiting
    for (detail::subscription const& s : t->plain) {
      if (s.entry == except || s.entry->since > epoch) continue;
      frame const& bytes = in.in(s.to->wire)->bytes;
      if (!bytes.empty()) s.to->deliver(bytes);
    }
  } else if (t->wires.size() == 1) {
    if (frame const& only = in.in(t->wires[0].wire)->bytes; !only.empty()) detail::deliver_all(t->plain, except, only);
  } else {
    for (detail::subscription const& s : t->plain) {
      if (s.entry == except) continue;
      frame const& bytes = in.in(s.to->wire)->bytes;
      if (!bytes.empty()) s.to->deliver(bytes);
    }
  }
  if (!t->others.empty()) queue_intercepted(b, except, epoch, *t, in);
  current_delivery_ = nullptr;
  return errc::none;
}

inline void loop::queue_intercepted(broadcast const& b, detail::subscriber const* except, std::uint64_t epoch,
                                    detail::topic const& t, detail::encoded_frames& in) noexcept {
  payload kept;  // one for all whose turn comes later
  bool has_kept = false;
  for (std::uint32_t i = 0; i < t.others.size(); ++i) {
    detail::subscription const s = t.others[i];
    if (s.entry == except || s.entry->since > epoch) continue;
    if (s.entry->number == 0) {
      // The id topic (protocol 8.1): `disconnect` ends the connection, other events are ignored.
      if (b.event == event::disconnect) s.to->begin_close({close_code::going_away, "disconnect"}, exit_reason::closed);
    } else if (s.entry->reads(b.event)) {
      if (frame const& bytes = in.in(s.to->wire)->bytes; !bytes.empty()) s.to->deliver(bytes);
    } else {
      if (s.entry->listening && static_cast<detail::topic_listener const*>(s.entry)->channel == except) continue;
      if (!std::exchange(has_kept, true)) kept = detail::payload_access::owned(b.payload, bounds_.memory);
      queue_for_handler(b, kept, *s.entry);
    }
  }
}

/// Queues a copy for a channel that intercepts the event (handle_out), or that subscribed to another topic (handle_info). A second
/// subscription to its own topic goes to handle_out too.
inline void loop::queue_for_handler(broadcast const& b, payload const& kept, detail::subscriber const& at) noexcept {
  detail::subscriber const& subscriber = at.listening ? *static_cast<detail::topic_listener const&>(at).channel : at;
  if (subscriber.owner == nullptr) return;  // its socket was destroyed
  bool const heard = subscriber.on != at.on;
  detail::mail* const m = !kept.valid() ? nullptr
                          : heard       ? detail::mail::make(bounds_.memory, detail::mail_kind::info, b.event, b.topic)
                                  : detail::mail::make(bounds_.memory, detail::mail_kind::out, b.topic, b.event, b.key);
  if (m == nullptr) {
    observer_({.kind = event_code::no_memory, .topic = b.topic, .event = b.event});
    return;
  }
  m->payload = kept;
  m->granted = heard;
  m->slot = subscriber.owner->id.slot;
  m->generation = subscriber.owner->id.generation;
  m->number = subscriber.number;
  queue_.push(m);
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

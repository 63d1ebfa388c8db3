#ifndef PHX_SOCKET_DETAIL_OUTBOUND_HPP
#define PHX_SOCKET_DETAIL_OUTBOUND_HPP
// What one client is sent: encoded, and taken by its transport; or, while it reads too slowly, held back or dropped.
//
//   what is sent  | transport                              | backlog
//   in time       | takes it                               | none
//   slow          | fed when it holds half of what it did  | in order: replies stay, pushes and broadcasts by their policy

#include <phx/socket/detail/outbound_queue.hpp>
#include <phx/socket/detail/channel_slot.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

class outbound : public client {
 public:
  // ---- for channels

  errc send_push(channel_slot& s, std::string_view name, payload const& data, std::string_view key) noexcept {
    if (closing) return errc::none;
    frame_builder out(loop_access::pool(*loop_));
    delivery const droppable{s.on, name, key};
    loop_access::said_now(*loop_) = &droppable;
    errc const fault = send(out, wire.encode(out, push{s.stamp(), {}, s.on->name(), {name, {}}, data}));
    loop_access::said_now(*loop_) = nullptr;
    return fault;
  }
  [[nodiscard]] loop& event_loop() const noexcept { return *loop_; }
  [[nodiscard]] bool strict_encoding() const noexcept { return bounds_->strict_encoding; }
  void tell(telemetry_event n) const noexcept {
    observer_ref const& to = loop_access::observer(*loop_);
    if (!to) return;
    n.slot = id.slot;
    n.generation = id.generation;
    to(n);
  }

 protected:
  struct place {
    topic* on;
    channel_slot* slot;
  };
  static constexpr std::uint32_t none = UINT32_MAX;

  outbound(loop& event_loop, limits const& bounds) noexcept : loop_(&event_loop), bounds_(&bounds) {
    bool const drops = bounds.pressure != pressure_policy::close && bounds.pressure != pressure_policy::ignore;
    ahead_ = drops ? bounds.outbound / 2 : bounds.outbound;
  }
  ~outbound() = default;

  // The transport of a slow client.
  virtual send_status hand_over(frame const&) noexcept = 0;
  virtual std::size_t buffered() const noexcept = 0;
  virtual void flush_transport() noexcept = 0;

  // ---- for the socket, which has the transport

  /// The transport did not take a frame, or took it and is congested, or holds more than ahead_.
  void pressed(send_status answer, frame const& f, std::size_t waiting) noexcept {
    if (answer == send_status::closed) return;  // the host will say `gone`
    bool const taken = answer != send_status::dropped;
    delivery const* const delivery = loop_access::said_now(*loop_);
    channel_slot* const of = delivery == nullptr ? nullptr : find(*delivery->on);
    switch (of == nullptr ? bounds_->pressure : of->pressure) {
      case pressure_policy::close:
        if (!taken) missed(of, delivery, f);
        if (!taken || waiting > bounds_->outbound) too_much(waiting);
        return;
      case pressure_policy::ignore:
        if (!taken) missed(of, delivery, f);
        return;
      default:
        if (slow_down(waiting) && !taken) hold_back(f);
    }
  }
  /// Of a slow client: in its place behind what waits already, or dropped.
  void hold_back(frame const& f) noexcept {
    delivery const* const delivery = loop_access::said_now(*loop_);
    channel_slot* const of = delivery == nullptr ? nullptr : find(*delivery->on);
    pressure_policy const policy = of == nullptr ? pressure_policy::close : of->pressure;
    bool const stays = policy == pressure_policy::close || policy == pressure_policy::ignore;
    loop_access::mark_dirty(*loop_, *this);  // what can go, goes with this turn
    outbound_queue::name key{};
    bool const named = policy == pressure_policy::keep_latest;
    if (named) {
      topic_table const& topics = loop_access::topics(*loop_);
      key = {of->number, topics.hash(delivery->event) * 31 + topics.hash(delivery->key) + of->number, delivery->event,
             delivery->key};
      if (outbound_queue::item* const old = outbound_queue_->find(key)) {
        missed(of, delivery, old->bytes);
        if (outbound_queue_->may_change(*old)) {
          outbound_queue_->change(*old, f);
          (void)make_room(0);
          return;
        }
        outbound_queue_->remove(*old);
      }
    }
    std::size_t const cost = outbound_queue::cost(f, named ? &key : nullptr);
    bool const fits = policy == pressure_policy::drop_newest ? !beyond(cost) : make_room(cost);
    if (fits && outbound_queue_->append(f, of == nullptr ? 0 : of->number, !stays, policy == pressure_policy::drop_newest,
                                        named ? &key : nullptr))
      return;
    if (!stays) return missed(of, delivery, f);
    if (fits) return begin_close({close_code::internal, "no memory"}, exit_reason::closed);
    if (bounds_->pressure != pressure_policy::ignore) return too_much(buffered() + outbound_queue_->bytes());
    hand_over_all();
    caught_up();
    deliver(f);
  }
  /// At the end of a turn, when the host says `writable`, and from time to time: what the transport has room for.
  void feed() noexcept {
    flush_transport();
    while (outbound_queue_ != nullptr && !closing && buffered() <= outbound_queue_->resume_at) {
      bool const took = hand_over_some();
      flush_transport();
      if (!took) return;
    }
  }
  void sending(std::size_t bytes) noexcept {
    phx::traffic& seen = loop_access::traffic(*loop_);
    ++seen.messages_out;
    seen.bytes_out += bytes;
  }
  void dirty_now() noexcept { loop_access::mark_dirty(*loop_, *this); }

  // ---- frames out

  errc answer_with(json_ref join_ref, message const& m, phx::status s, payload const& response, answer to) noexcept {
    frame_builder out(loop_access::pool(*loop_));
    // A topic is written without the escapes its client may have needed; what is no string has to come back as it came.
    json_text const topic = m.topic_name.is_string() && m.topic_name.json.find('\\') != std::string_view::npos
                                ? json_text{m.topic, {}}
                                : m.topic_name;
    return send(out, wire.encode(out, reply{join_ref, m.ref, topic, s, response, to}));
  }
  void static_answer(json_ref join_ref, message const& m, std::string_view response, answer to) noexcept {
    turned_away_ = true;
    (void)answer_with(join_ref, m, status::error, payload_access::borrow(response, false), to);
  }
  errc join_answer(channel_slot const& s, phx::status st, payload const& response, answer to) noexcept {
    frame_builder out(loop_access::pool(*loop_));
    return send(out, wire.encode(out, reply{s.join_ref, s.ref, s.on->name(), st, response, to}));
  }
  /// What was encoded goes to the client, whole or not at all.
  errc send(frame_builder& out, errc fault) noexcept {
    if (fault != errc::none) return fault;
    if (!out.started() && !out.failed()) return errc::none;  // this generation is silent
    frame const f = out.finish();
    if (f.empty()) {
      tell({.kind = event_code::no_memory});
      return errc::no_memory;
    }
    if (!closing) deliver(f);
    return errc::none;
  }

  // ---- the end of a slow client

  /// Whatever the transport says to it.
  void hand_over_all() noexcept {
    if (outbound_queue_ == nullptr) return;
    while (outbound_queue::item* const head = outbound_queue_->first()) {
      if (hand_over(head->bytes) <= send_status::congested) sending(head->bytes.data().size());
      outbound_queue_->remove(*head);
    }
  }
  void forget_backlog() noexcept {
    if (outbound_queue_ == nullptr) return;
    unlink(outbound_queue_->link);
    destroy(loop_access::from(*loop_), std::exchange(outbound_queue_, nullptr));
  }

  // ---- its channels

  [[nodiscard]] std::uint32_t find(message const& m) const noexcept {
    if (!m.topic_name.is_string()) return none;
    if (slots_.size() <= 4) {
      for (std::uint32_t i = 0; i < slots_.size(); ++i)
        if (slots_[i].on->text() == m.topic) return i;
      return none;
    }
    topic const* const t = loop_access::topics(*loop_).find(m.topic);
    for (std::uint32_t i = 0; t != nullptr && i < slots_.size(); ++i)
      if (slots_[i].on == t) return i;
    return none;
  }
  [[nodiscard]] std::uint32_t find(std::uint32_t number) const noexcept {
    for (std::uint32_t i = 0; i < slots_.size(); ++i)
      if (slots_[i].slot->number == number) return i;
    return none;
  }
  [[nodiscard]] std::uint32_t find(channel_slot const& s) const noexcept { return find(s.number); }
  [[nodiscard]] channel_slot* find(topic const& t) const noexcept {
    for (place const& p : slots_)
      if (p.on == &t) return p.slot;
    return nullptr;
  }

  loop* loop_;
  limits const* bounds_;
  array<place> slots_;
  outbound_queue* outbound_queue_ = nullptr;  // of a slow client
  std::size_t ahead_;                         // bytes that the transport may hold before somebody asks
  std::uint32_t dropped_ = 0;
  bool turned_away_ = false;  // since somebody asked

 private:
  // ---- a slow client

  void too_much(std::size_t waiting) noexcept {
    tell({.kind = event_code::pressure, .count = waiting});
    begin_close({close_code::policy, "too much waiting"}, exit_reason::closed);
  }
  void missed(channel_slot* of, delivery const* delivery, frame const& f) noexcept {
    ++dropped_;
    if (of != nullptr) ++of->dropped;
    tell({.kind = event_code::frame_dropped,
          .topic = of == nullptr ? std::string_view{} : of->on->text(),
          .event = delivery == nullptr ? std::string_view{} : delivery->event,
          .count = f.data().size(),
          .total = dropped_});
  }
  [[nodiscard]] bool slow_down(std::size_t waiting) noexcept {
    if (outbound_queue_ != nullptr) return true;
    outbound_queue_ = make<outbound_queue>(loop_access::from(*loop_), loop_access::from(*loop_));
    if (outbound_queue_ == nullptr) {
      begin_close({close_code::internal, "no memory"}, exit_reason::closed);
      return false;
    }
    outbound_queue_->resume_at = waiting / 2;
    outbound_queue_->dropped_before = dropped_;
    outbound_queue_->link.owner = this;
    loop_access::look_after(*loop_, outbound_queue_->link);
    tell({.kind = event_code::slow, .count = waiting});
    return true;
  }
  [[nodiscard]] bool beyond(std::size_t more) const noexcept {
    return buffered() + outbound_queue_->bytes() + more > bounds_->outbound;
  }
  /// Drops what may be dropped, as little as is needed. False, and nothing is dropped, if that would not do.
  [[nodiscard]] bool make_room(std::size_t more) noexcept {
    if (buffered() + outbound_queue_->bytes() - outbound_queue_->loose_bytes() + more > bounds_->outbound) return false;
    while (beyond(more)) {
      outbound_queue::item* const out = outbound_queue_->victim();
      if (out == nullptr) return false;
      std::uint32_t const at = find(out->number);
      missed(at == none ? nullptr : slots_[at].slot, nullptr, out->bytes);
      outbound_queue_->remove(*out);
    }
    return true;
  }
  /// As much as the transport wants. False when it takes no more.
  [[nodiscard]] bool hand_over_some() noexcept {
    while (outbound_queue::item* const head = outbound_queue_->first()) {
      send_status const answer = hand_over(head->bytes);
      if (answer > send_status::congested) return false;
      sending(head->bytes.data().size());
      outbound_queue_->remove(*head);
      std::size_t const waiting = buffered();
      if (answer == send_status::ok && waiting <= ahead_) continue;
      outbound_queue_->resume_at = waiting / 2;
      return true;
    }
    caught_up();
    return true;
  }
  void caught_up() noexcept {
    std::uint32_t const meanwhile = dropped_ - outbound_queue_->dropped_before;
    forget_backlog();
    tell({.kind = event_code::caught_up, .count = meanwhile, .total = dropped_});
    if (!bounds_->tell_dropped || meanwhile == 0 || closing) return;
    delivery const* const outer = std::exchange(loop_access::said_now(*loop_), nullptr);  // this is not to be dropped
    for (place const& p : slots_) {
      if (p.slot->dropped == 0) continue;
      char text[32] = R"({"count":)";
      char* const end = decimal(text + 9, std::exchange(p.slot->dropped, 0));
      *end = '}';
      payload const count = payload_access::borrow({text, static_cast<std::size_t>(end + 1 - text)}, false);
      frame_builder out(loop_access::pool(*loop_));
      (void)send(out, wire.encode(out, push{p.slot->stamp(), {}, p.on->name(), {event::dropped, {}}, count}));
    }
    loop_access::said_now(*loop_) = outer;
  }
  [[nodiscard]] static char* decimal(char* to, std::uint32_t number) noexcept {
    char digits[10];
    std::size_t n = 0;
    do digits[n++] = static_cast<char>('0' + number % 10);
    while ((number /= 10) != 0);
    while (n != 0) *to++ = digits[--n];
    return to;
  }
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_SOCKET_DETAIL_OUTBOUND_HPP
#define PHX_SOCKET_DETAIL_OUTBOUND_HPP
// What one client is sent: encoded, and taken by its transport; or, while it reads too slowly, held back or dropped.
//
//   what is sent  | transport                              | backlog
//   in time       | takes it                               | none
//   slow          | fed when it holds half of what it did  | in order: replies stay, pushes and broadcasts by their policy

#include <phx/socket/detail/outbound_queue.hpp>
#include <phx/socket/detail/channel_table.hpp>

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
    loop_access::current_delivery(*loop_) = &droppable;
    errc const fault = send(out, wire.encode(out, push{s.stamp(), {}, s.on->name(), {name, {}}, data}));
    loop_access::current_delivery(*loop_) = nullptr;
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
  static constexpr std::uint32_t none = channel_table::none;

  outbound(loop& event_loop, limits const& bounds) noexcept : loop_(&event_loop), bounds_(&bounds) {
    bool const drops = bounds.pressure != pressure_policy::close && bounds.pressure != pressure_policy::ignore;
    pressure_above_ = drops ? bounds.outbound / 2 : bounds.outbound;
  }
  ~outbound() = default;

  // The transport of a slow client.
  virtual send_status write_frame(frame const&) noexcept = 0;
  virtual std::size_t buffered() const noexcept = 0;
  virtual void flush_transport() noexcept = 0;

  // ---- for the socket, which has the transport

  /// The transport did not take a frame, or took it and is congested, or holds more than pressure_above_.
  void on_pressure(send_status answer, frame const& f, std::size_t waiting) noexcept {
    if (answer == send_status::closed) return;  // the host will say `gone`
    bool const taken = answer != send_status::dropped;
    delivery const* const delivery = loop_access::current_delivery(*loop_);
    channel_slot* const of = delivery == nullptr ? nullptr : channels_.find(*delivery->on);
    switch (of == nullptr ? bounds_->pressure : of->pressure) {
      case pressure_policy::close:
        if (!taken) count_dropped(of, delivery, f);
        if (!taken || waiting > bounds_->outbound) close_for_pressure(waiting);
        return;
      case pressure_policy::ignore:
        if (!taken) count_dropped(of, delivery, f);
        return;
      default:
        if (become_slow(waiting) && !taken) enqueue_frame(f);
    }
  }
  /// Of a slow client: in its place behind what waits already, or dropped.
  void enqueue_frame(frame const& f) noexcept {
    delivery const* const delivery = loop_access::current_delivery(*loop_);
    channel_slot* const of = delivery == nullptr ? nullptr : channels_.find(*delivery->on);
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
        count_dropped(of, delivery, old->bytes);
        if (outbound_queue_->replaceable_in_place(*old)) {
          outbound_queue_->replace_frame(*old, f);
          (void)make_room(0);
          return;
        }
        outbound_queue_->remove(*old);
      }
    }
    std::size_t const cost = outbound_queue::cost(f, named ? &key : nullptr);
    bool const fits = policy == pressure_policy::drop_newest ? !exceeds_limit(cost) : make_room(cost);
    if (fits && outbound_queue_->append(f, of == nullptr ? 0 : of->number, !stays, policy == pressure_policy::drop_newest,
                                        named ? &key : nullptr))
      return;
    if (!stays) return count_dropped(of, delivery, f);
    if (fits) return begin_close({close_code::internal, "no memory"}, exit_reason::closed);
    if (bounds_->pressure != pressure_policy::ignore) return close_for_pressure(buffered() + outbound_queue_->bytes());
    write_all_queued();
    on_caught_up();
    deliver(f);
  }
  /// At the end of a turn, when the host says `writable`, and from time to time: what the transport has room for.
  void write_queued() noexcept {
    flush_transport();
    while (outbound_queue_ != nullptr && !closing && buffered() <= outbound_queue_->resume_at) {
      bool const took = write_some_queued();
      flush_transport();
      if (!took) return;
    }
  }
  void count_sent(std::size_t bytes) noexcept {
    phx::traffic& seen = loop_access::traffic(*loop_);
    ++seen.messages_out;
    seen.bytes_out += bytes;
  }
  void mark_dirty() noexcept { loop_access::mark_dirty(*loop_, *this); }

  // ---- frames out

  errc send_reply(json_ref join_ref, message const& m, phx::status s, payload const& response, answer to) noexcept {
    frame_builder out(loop_access::pool(*loop_));
    // A topic is written without the escapes its client may have needed; what is no string has to come back as it came.
    json_text const topic = m.topic_name.is_string() && m.topic_name.json.find('\\') != std::string_view::npos
                                ? json_text{m.topic, {}}
                                : m.topic_name;
    return send(out, wire.encode(out, reply{join_ref, m.ref, topic, s, response, to}));
  }
  void send_error(json_ref join_ref, message const& m, std::string_view response, answer to) noexcept {
    turned_away_ = true;
    (void)send_reply(join_ref, m, status::error, payload_access::borrow(response, false), to);
  }
  errc reply_to_join(channel_slot const& s, phx::status st, payload const& response, answer to) noexcept {
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
  void write_all_queued() noexcept {
    if (outbound_queue_ == nullptr) return;
    while (outbound_queue::item* const head = outbound_queue_->first()) {
      if (write_frame(head->bytes) <= send_status::congested) count_sent(head->bytes.data().size());
      outbound_queue_->remove(*head);
    }
  }
  void destroy_queue() noexcept {
    if (outbound_queue_ == nullptr) return;
    unlink(outbound_queue_->link);
    destroy(loop_access::from(*loop_), std::exchange(outbound_queue_, nullptr));
  }

  loop* loop_;
  limits const* bounds_;
  channel_table channels_;
  outbound_queue* outbound_queue_ = nullptr;  // of a slow client
  std::size_t pressure_above_;                // bytes that the transport may hold before somebody asks
  std::uint32_t dropped_ = 0;
  bool turned_away_ = false;  // since somebody asked

 private:
  // ---- a slow client

  void close_for_pressure(std::size_t waiting) noexcept {
    tell({.kind = event_code::pressure, .count = waiting});
    begin_close({close_code::policy, "too much waiting"}, exit_reason::closed);
  }
  void count_dropped(channel_slot* of, delivery const* delivery, frame const& f) noexcept {
    ++dropped_;
    if (of != nullptr) ++of->dropped;
    tell({.kind = event_code::frame_dropped,
          .topic = of == nullptr ? std::string_view{} : of->on->text(),
          .event = delivery == nullptr ? std::string_view{} : delivery->event,
          .count = f.data().size(),
          .total = dropped_});
  }
  [[nodiscard]] bool become_slow(std::size_t waiting) noexcept {
    if (outbound_queue_ != nullptr) return true;
    outbound_queue_ = make<outbound_queue>(loop_access::from(*loop_), loop_access::from(*loop_));
    if (outbound_queue_ == nullptr) {
      begin_close({close_code::internal, "no memory"}, exit_reason::closed);
      return false;
    }
    outbound_queue_->resume_at = waiting / 2;
    outbound_queue_->dropped_before = dropped_;
    outbound_queue_->link.owner = this;
    loop_access::watch_slow(*loop_, outbound_queue_->link);
    tell({.kind = event_code::slow, .count = waiting});
    return true;
  }
  [[nodiscard]] bool exceeds_limit(std::size_t more) const noexcept {
    return buffered() + outbound_queue_->bytes() + more > bounds_->outbound;
  }
  /// Drops what may be dropped, as little as is needed. False, and nothing is dropped, if that would not do.
  [[nodiscard]] bool make_room(std::size_t more) noexcept {
    if (buffered() + outbound_queue_->bytes() - outbound_queue_->droppable_bytes() + more > bounds_->outbound) return false;
    while (exceeds_limit(more)) {
      outbound_queue::item* const out = outbound_queue_->next_to_drop();
      if (out == nullptr) return false;
      std::uint32_t const at = channels_.find(out->number);
      count_dropped(at == none ? nullptr : &channels_[at], nullptr, out->bytes);
      outbound_queue_->remove(*out);
    }
    return true;
  }
  /// As much as the transport wants. False when it takes no more.
  [[nodiscard]] bool write_some_queued() noexcept {
    while (outbound_queue::item* const head = outbound_queue_->first()) {
      send_status const answer = write_frame(head->bytes);
      if (answer > send_status::congested) return false;
      count_sent(head->bytes.data().size());
      outbound_queue_->remove(*head);
      std::size_t const waiting = buffered();
      if (answer == send_status::ok && waiting <= pressure_above_) continue;
      outbound_queue_->resume_at = waiting / 2;
      return true;
    }
    on_caught_up();
    return true;
  }
  void on_caught_up() noexcept {
    std::uint32_t const meanwhile = dropped_ - outbound_queue_->dropped_before;
    destroy_queue();
    tell({.kind = event_code::caught_up, .count = meanwhile, .total = dropped_});
    if (!bounds_->tell_dropped || meanwhile == 0 || closing) return;
    delivery const* const outer =
        std::exchange(loop_access::current_delivery(*loop_), nullptr);  // this is not to be dropped
    for (channel_table::entry const& p : channels_) {
      if (p.slot->dropped == 0) continue;
      char text[32] = R"({"count":)";
      char* const end = decimal(text + 9, std::exchange(p.slot->dropped, 0));
      *end = '}';
      payload const count = payload_access::borrow({text, static_cast<std::size_t>(end + 1 - text)}, false);
      frame_builder out(loop_access::pool(*loop_));
      (void)send(out, wire.encode(out, push{p.slot->stamp(), {}, p.on->name(), {event::dropped, {}}, count}));
    }
    loop_access::current_delivery(*loop_) = outer;
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

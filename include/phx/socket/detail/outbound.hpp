#ifndef PHX_SOCKET_DETAIL_OUTBOUND_HPP
#define PHX_SOCKET_DETAIL_OUTBOUND_HPP
// What one client is sent: encoded and passed to its transport; or, while the client reads too slowly, queued or dropped.
//
//   client    | the transport gets                              | queue (outbound_queue)
//   keeps up  | every frame at once                             | none
//   slow      | frames when it holds half of what it held then  | in order; replies stay, pushes and broadcasts by policy

#include <phx/socket/detail/outbound_queue.hpp>
#include <phx/socket/detail/channel_table.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// The sending half of a connection: its loop, its channels and its queue. Inside the loop. Sending takes one allocation for a
/// large frame, none for others once warm.
class outbound : public client {
 public:
  // ---- for channels

  errc send_push(channel_slot& s, std::string_view name, payload const& data, std::string_view key) noexcept {
    if (closing) return errc::none;
    frame_builder out(loop_access::pool(*loop_));
    errc const fault = wire.encode(out, push{s.stamp(), {}, s.on->name(), {name, {}}, data});
    return send(out, fault, {.on = s.on, .event = name, .key = key});
  }
  [[nodiscard]] loop& event_loop() const noexcept { return *loop_; }
  [[nodiscard]] bool strict_encoding() const noexcept { return bounds_->strict_encoding; }
  /// Reports an event of this socket to the observer.
  void report(telemetry_event n) const noexcept {
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

  // ---- the transport, for slow clients

  virtual send_status write_frame(frame const&) noexcept = 0;
  virtual std::size_t buffered() const noexcept = 0;
  virtual void flush_transport() noexcept = 0;

  // ---- for the socket, which has the transport

  /// Called when the transport did not take a frame, took it and is congested, or holds more than pressure_above_.
  void on_pressure(send_status answer, delivery const& d, std::size_t waiting) noexcept {
    if (answer == send_status::closed) return;  // the host will call `gone`
    bool const taken = answer != send_status::dropped;
    channel_slot* const of = d.on == nullptr ? nullptr : channels_.find(*d.on);
    switch (of == nullptr ? bounds_->pressure : of->pressure) {
      case pressure_policy::close:
        if (!taken) count_dropped(of, d);
        if (!taken || waiting > bounds_->outbound) close_for_pressure(waiting);
        return;
      case pressure_policy::ignore:
        if (!taken) count_dropped(of, d);
        return;
      default:
        if (become_slow(waiting) && !taken) enqueue(d);
    }
  }
  /// Queues or drops a frame for a slow client.
  void enqueue(delivery const& d) noexcept {
    channel_slot* const of = d.on == nullptr ? nullptr : channels_.find(*d.on);
    pressure_policy const policy = of == nullptr ? pressure_policy::close : of->pressure;
    bool const stays = policy == pressure_policy::close || policy == pressure_policy::ignore;
    loop_access::mark_dirty(*loop_, *this);  // the next flush writes what the transport has room for
    outbound_queue::name key{};
    bool const named = policy == pressure_policy::keep_latest;
    if (named) {
      topic_table const& topics = loop_access::topics(*loop_);
      key = {of->number, topics.hash(d.event) * 31 + topics.hash(d.key) + of->number, d.event, d.key};
      if (outbound_queue::item* const old = outbound_queue_->find(key)) {
        count_dropped(of, {.bytes = old->bytes, .on = d.on, .event = d.event});
        if (outbound_queue_->replaceable_in_place(*old)) {
          outbound_queue_->replace_frame(*old, d.bytes);
          (void)make_room(0);
          return;
        }
        outbound_queue_->remove(*old);
      }
    }
    std::size_t const cost = outbound_queue::cost(d.bytes, named ? &key : nullptr);
    bool const fits = policy == pressure_policy::drop_newest ? !exceeds_limit(cost) : make_room(cost);
    if (fits && outbound_queue_->append(d.bytes, of == nullptr ? 0 : of->number, !stays,
                                        policy == pressure_policy::drop_newest, named ? &key : nullptr))
      return;
    if (!stays) return count_dropped(of, d);
    if (fits) return begin_close({close_code::internal, "no memory"}, exit_reason::closed);
    if (bounds_->pressure != pressure_policy::ignore) return close_for_pressure(buffered() + outbound_queue_->bytes());
    write_all_queued();
    on_caught_up();
    deliver(d);
  }
  /// Writes what the transport has room for. At the end of a turn, when the host calls `writable`, and at the loop's interval
  /// for slow clients.
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
    // A topic is sent without unneeded escapes that the client may have used; a value that is no string is sent back as it
    // was received.
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
  /// Sends what was encoded. @param d for a frame that may be dropped: what it is about
  errc send(frame_builder& out, errc fault, delivery d = {}) noexcept {
    if (fault != errc::none) return fault;
    if (!out.started() && !out.failed()) return errc::none;  // this generation of the protocol sends nothing here
    d.bytes = out.finish();
    if (d.bytes.empty()) {
      report({.kind = event_code::no_memory});
      return errc::no_memory;
    }
    if (!closing) deliver(d);
    return errc::none;
  }

  // ---- the end of a slow client

  /// Whatever the transport answers.
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
  outbound_queue* outbound_queue_ = nullptr;  // of a slow client; else null
  std::size_t pressure_above_;                // bytes that the transport may hold before on_pressure is called
  std::uint32_t dropped_ = 0;                 // messages, since it connected
  bool turned_away_ = false;                  // see connection::turned_away

 private:
  // ---- a slow client

  void close_for_pressure(std::size_t waiting) noexcept {
    report({.kind = event_code::pressure, .count = waiting});
    begin_close({close_code::policy, "too much waiting"}, exit_reason::closed);
  }
  void count_dropped(channel_slot* of, delivery const& d) noexcept {
    ++dropped_;
    if (of != nullptr) ++of->dropped;
    report({.kind = event_code::frame_dropped,
            .topic = of == nullptr ? std::string_view{} : of->on->text(),
            .event = d.event,
            .count = d.bytes.data().size(),
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
    report({.kind = event_code::slow, .count = waiting});
    return true;
  }
  [[nodiscard]] bool exceeds_limit(std::size_t more) const noexcept {
    return buffered() + outbound_queue_->bytes() + more > bounds_->outbound;
  }
  /// Drops as few of the queued frames as are needed. False if dropping all that may be dropped is not enough: none is dropped.
  [[nodiscard]] bool make_room(std::size_t more) noexcept {
    if (buffered() + outbound_queue_->bytes() - outbound_queue_->droppable_bytes() + more > bounds_->outbound) return false;
    while (exceeds_limit(more)) {
      outbound_queue::item* const out = outbound_queue_->next_to_drop();
      if (out == nullptr) return false;
      std::uint32_t const at = channels_.find(out->number);
      count_dropped(at == none ? nullptr : &channels_[at], {.bytes = out->bytes});
      outbound_queue_->remove(*out);
    }
    return true;
  }
  /// Passes queued frames to the transport until it is congested. False: it did not take one.
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
    std::uint32_t const missed = dropped_ - outbound_queue_->dropped_before;
    destroy_queue();
    report({.kind = event_code::caught_up, .count = missed, .total = dropped_});
    if (!bounds_->tell_dropped || missed == 0 || closing) return;
    for (channel_table::entry const& p : channels_) {
      if (p.slot->dropped == 0) continue;
      char text[32] = R"({"count":)";
      char* const end = decimal(text + 9, std::exchange(p.slot->dropped, 0));
      *end = '}';
      payload const count = payload_access::borrow({text, static_cast<std::size_t>(end + 1 - text)}, false);
      frame_builder out(loop_access::pool(*loop_));
      (void)send(out, wire.encode(out, push{p.slot->stamp(), {}, p.on->name(), {event::dropped, {}}, count}));
    }
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

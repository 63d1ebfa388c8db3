#ifndef PHX_SOCKET_DETAIL_OUTGOING_HPP
#define PHX_SOCKET_DETAIL_OUTGOING_HPP
// What one client is sent: encoded, and taken by its transport; or, while it reads too slowly, held back or dropped.
//
//   what is sent  | transport                              | backlog
//   in time       | takes it                               | none
//   slow          | fed when it holds half of what it did  | in order: replies stay, pushes and broadcasts by their policy

#include <phx/socket/detail/backlog.hpp>
#include <phx/socket/detail/seat.hpp>

namespace phx::inline PHX_BUILD::detail {

class outgoing : public client {
 public:
  // ---- for channels

  errc send_push(seat& s, std::string_view name, payload const& what, std::string_view key) noexcept {
    if (closing) return errc::none;
    frame_builder out(loop_access::pool(*loop_));
    said const droppable{s.on, name, key};
    loop_access::said_now(*loop_) = &droppable;
    errc const fault = send(out, wire.encode(out, push{s.stamp(), {}, s.on->name(), {name, {}}, what}));
    loop_access::said_now(*loop_) = nullptr;
    return fault;
  }
  [[nodiscard]] loop& here() const noexcept { return *loop_; }
  [[nodiscard]] bool strict_encoding() const noexcept { return bounds_->strict_encoding; }
  void tell(notice n) const noexcept {
    observer_ref const& to = loop_access::observer(*loop_);
    if (!to) return;
    n.slot = id.slot;
    n.generation = id.generation;
    to(n);
  }

 protected:
  struct place {
    topic* on;
    seat* who;
  };
  static constexpr std::uint32_t none = UINT32_MAX;

  outgoing(loop& here, limits const& bounds) noexcept : loop_(&here), bounds_(&bounds) {
    bool const drops = bounds.pressure != pressure_policy::close && bounds.pressure != pressure_policy::ignore;
    ahead_ = drops ? bounds.outbound / 2 : bounds.outbound;
  }
  ~outgoing() = default;

  // The transport of a slow client.
  virtual send_status hand_over(frame const&) noexcept = 0;
  virtual std::size_t buffered() const noexcept = 0;
  virtual void flush_transport() noexcept = 0;

  // ---- for the socket, which has the transport

  /// The transport did not take a frame, or took it and is congested, or holds more than ahead_.
  void pressed(send_status answer, frame const& f, std::size_t waiting) noexcept {
    if (answer == send_status::closed) return;  // the host will say `gone`
    bool const taken = answer != send_status::dropped;
    said const* const what = loop_access::said_now(*loop_);
    seat* const of = what == nullptr ? nullptr : find(*what->on);
    switch (of == nullptr ? bounds_->pressure : of->pressure) {
      case pressure_policy::close:
        if (!taken) missed(of, what, f);
        if (!taken || waiting > bounds_->outbound) too_much(waiting);
        return;
      case pressure_policy::ignore:
        if (!taken) missed(of, what, f);
        return;
      default:
        if (slow_down(waiting) && !taken) hold_back(f);
    }
  }
  /// Of a slow client: in its place behind what waits already, or dropped.
  void hold_back(frame const& f) noexcept {
    said const* const what = loop_access::said_now(*loop_);
    seat* const of = what == nullptr ? nullptr : find(*what->on);
    pressure_policy const policy = of == nullptr ? pressure_policy::close : of->pressure;
    bool const stays = policy == pressure_policy::close || policy == pressure_policy::ignore;
    loop_access::mark_dirty(*loop_, *this);  // what can go, goes with this turn
    backlog::name who{};
    bool const named = policy == pressure_policy::keep_latest;
    if (named) {
      hub const& topics = loop_access::topics(*loop_);
      who = {of->number, topics.hash(what->event) * 31 + topics.hash(what->key) + of->number, what->event, what->key};
      if (backlog::item* const old = backlog_->find(who)) {
        missed(of, what, old->what);
        if (backlog_->may_change(*old)) {
          backlog_->change(*old, f);
          (void)make_room(0);
          return;
        }
        backlog_->remove(*old);
      }
    }
    std::size_t const cost = backlog::cost(f, named ? &who : nullptr);
    bool const fits = policy == pressure_policy::drop_newest ? !beyond(cost) : make_room(cost);
    if (fits && backlog_->append(f, of == nullptr ? 0 : of->number, !stays, policy == pressure_policy::drop_newest,
                                 named ? &who : nullptr))
      return;
    if (!stays) return missed(of, what, f);
    if (fits) return doom({close_code::internal, "no memory"}, exit_reason::closed);
    if (bounds_->pressure != pressure_policy::ignore) return too_much(buffered() + backlog_->bytes());
    hand_over_all();
    caught_up();
    deliver(f);
  }
  /// At the end of a turn, when the host says `writable`, and from time to time: what the transport has room for.
  void feed() noexcept {
    flush_transport();
    while (backlog_ != nullptr && !closing && buffered() <= backlog_->resume_at) {
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

  errc answer_with(token join_ref, message const& m, phx::status s, payload const& response, answer to) noexcept {
    frame_builder out(loop_access::pool(*loop_));
    // A topic is written without the escapes its client may have needed; what is no string has to come back as it came.
    name const topic = m.topic_name.is_string() && m.topic_name.json.find('\\') != std::string_view::npos ? name{m.topic, {}}
                                                                                                          : m.topic_name;
    return send(out, wire.encode(out, reply{join_ref, m.ref, topic, s, response, to}));
  }
  void static_answer(token join_ref, message const& m, std::string_view response, answer to) noexcept {
    turned_away_ = true;
    (void)answer_with(join_ref, m, status::error, payload_access::borrow(response, false), to);
  }
  errc join_answer(seat const& s, phx::status st, payload const& response, answer to) noexcept {
    frame_builder out(loop_access::pool(*loop_));
    return send(out, wire.encode(out, reply{s.join_ref, s.ref, s.on->name(), st, response, to}));
  }
  /// What was encoded goes to the client, whole or not at all.
  errc send(frame_builder& out, errc fault) noexcept {
    if (fault != errc::none) return fault;
    if (!out.started() && !out.failed()) return errc::none;  // this generation is silent
    frame const f = out.finish();
    if (f.empty()) {
      tell({.what = noted::no_memory});
      return errc::no_memory;
    }
    if (!closing) deliver(f);
    return errc::none;
  }

  // ---- the end of a slow client

  /// Whatever the transport says to it.
  void hand_over_all() noexcept {
    if (backlog_ == nullptr) return;
    while (backlog::item* const head = backlog_->first()) {
      if (hand_over(head->what) <= send_status::congested) sending(head->what.data().size());
      backlog_->remove(*head);
    }
  }
  void forget_backlog() noexcept {
    if (backlog_ == nullptr) return;
    unlink(backlog_->link);
    destroy(loop_access::from(*loop_), std::exchange(backlog_, nullptr));
  }

  // ---- its channels

  [[nodiscard]] std::uint32_t find(message const& m) const noexcept {
    if (!m.topic_name.is_string()) return none;
    if (seats_.size() <= 4) {
      for (std::uint32_t i = 0; i < seats_.size(); ++i)
        if (seats_[i].on->text() == m.topic) return i;
      return none;
    }
    topic const* const t = loop_access::topics(*loop_).find(m.topic);
    for (std::uint32_t i = 0; t != nullptr && i < seats_.size(); ++i)
      if (seats_[i].on == t) return i;
    return none;
  }
  [[nodiscard]] std::uint32_t find(std::uint32_t number) const noexcept {
    for (std::uint32_t i = 0; i < seats_.size(); ++i)
      if (seats_[i].who->number == number) return i;
    return none;
  }
  [[nodiscard]] std::uint32_t find(seat const& s) const noexcept { return find(s.number); }
  [[nodiscard]] seat* find(topic const& t) const noexcept {
    for (place const& p : seats_)
      if (p.on == &t) return p.who;
    return nullptr;
  }

  loop* loop_;
  limits const* bounds_;
  array<place> seats_;
  backlog* backlog_ = nullptr;  // of a slow client
  std::size_t ahead_;           // bytes that the transport may hold before somebody asks
  std::uint32_t dropped_ = 0;
  bool turned_away_ = false;    // since somebody asked

 private:
  // ---- a slow client

  void too_much(std::size_t waiting) noexcept {
    tell({.what = noted::pressure, .count = waiting});
    doom({close_code::policy, "too much waiting"}, exit_reason::closed);
  }
  void missed(seat* of, said const* what, frame const& f) noexcept {
    ++dropped_;
    if (of != nullptr) ++of->dropped;
    tell({.what = noted::frame_dropped,
          .topic = of == nullptr ? std::string_view{} : of->on->text(),
          .event = what == nullptr ? std::string_view{} : what->event,
          .count = f.data().size(),
          .total = dropped_});
  }
  [[nodiscard]] bool slow_down(std::size_t waiting) noexcept {
    if (backlog_ != nullptr) return true;
    backlog_ = make<backlog>(loop_access::from(*loop_), loop_access::from(*loop_));
    if (backlog_ == nullptr) {
      doom({close_code::internal, "no memory"}, exit_reason::closed);
      return false;
    }
    backlog_->resume_at = waiting / 2;
    backlog_->dropped_before = dropped_;
    backlog_->link.who = this;
    loop_access::look_after(*loop_, backlog_->link);
    tell({.what = noted::slow, .count = waiting});
    return true;
  }
  [[nodiscard]] bool beyond(std::size_t more) const noexcept {
    return buffered() + backlog_->bytes() + more > bounds_->outbound;
  }
  /// Drops what may be dropped, as little as is needed. False, and nothing is dropped, if that would not do.
  [[nodiscard]] bool make_room(std::size_t more) noexcept {
    if (buffered() + backlog_->bytes() - backlog_->loose_bytes() + more > bounds_->outbound) return false;
    while (beyond(more)) {
      backlog::item* const out = backlog_->victim();
      if (out == nullptr) return false;
      std::uint32_t const at = find(out->number);
      missed(at == none ? nullptr : seats_[at].who, nullptr, out->what);
      backlog_->remove(*out);
    }
    return true;
  }
  /// As much as the transport wants. False when it takes no more.
  [[nodiscard]] bool hand_over_some() noexcept {
    while (backlog::item* const head = backlog_->first()) {
      send_status const answer = hand_over(head->what);
      if (answer > send_status::congested) return false;
      sending(head->what.data().size());
      backlog_->remove(*head);
      std::size_t const waiting = buffered();
      if (answer == send_status::ok && waiting <= ahead_) continue;
      backlog_->resume_at = waiting / 2;
      return true;
    }
    caught_up();
    return true;
  }
  void caught_up() noexcept {
    std::uint32_t const meanwhile = dropped_ - backlog_->dropped_before;
    forget_backlog();
    tell({.what = noted::caught_up, .count = meanwhile, .total = dropped_});
    if (!bounds_->tell_dropped || meanwhile == 0 || closing) return;
    said const* const outer = std::exchange(loop_access::said_now(*loop_), nullptr);  // this is not to be dropped
    for (place const& p : seats_) {
      if (p.who->dropped == 0) continue;
      char text[32] = R"({"count":)";
      char* const end = decimal(text + 9, std::exchange(p.who->dropped, 0));
      *end = '}';
      payload const count = payload_access::borrow({text, static_cast<std::size_t>(end + 1 - text)}, false);
      frame_builder out(loop_access::pool(*loop_));
      (void)send(out, wire.encode(out, push{p.who->stamp(), {}, p.on->name(), {event::dropped, {}}, count}));
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

}  // namespace phx::inline PHX_BUILD::detail

#endif

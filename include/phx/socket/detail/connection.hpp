#ifndef PHX_SOCKET_DETAIL_CONNECTION_HPP
#define PHX_SOCKET_DETAIL_CONNECTION_HPP
// The state machine of one connection (protocol 5 and 6), compiled once for all transports and dispatchers.
//
//   state \ event | bytes            | a mail for it      | doom             | gone
//   open          | row of section 5 | done               | -> closing       | channels end, detached
//   closing       | ignored          | dropped            | ignored          | channels end, detached
//   detached      | (not called)     | (not found)        | (not found)      | ignored
//
//   a seat (one topic): joining -> pending -> joined -> ended, or joining -> joined, or joining -> refused.

#include <phx/socket/detail/outbound.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// An ear with its place among what is to be told when its channel ends: it goes then.
struct channel_listener : topic_listener, end_watch {
  loop* event_loop;
  channel_listener(loop& l, channel_slot& of, topic* to) noexcept : event_loop(&l) {
    owner = of.owner;
    on = to;
    number = of.number;
    intercepting = listening = true;
    channel = &of;
    ended = &go;
  }
  static void go(end_watch* self, exit_reason) noexcept {
    channel_listener* const e = static_cast<channel_listener*>(self);
    topic_table& topics = loop_access::topics(*e->event_loop);
    topics.unsubscribe(*e);
    topics.unuse(e->on);
    destroy(loop_access::from(*e->event_loop), e);
  }
};

class connection : public outbound {
 public:
  connection(loop& event_loop, void* dispatcher, dispatch_table const& ops, void* session, limits const& bounds,
             time_point now) noexcept
      : outbound(event_loop, bounds), ops_(&ops), dispatcher_(dispatcher), session_(session), heard_(now) {}

  void open(serializer_ref chosen, std::string_view id_topic, time_point now) noexcept {
    wire = chosen;
    loop_access::tick(*loop_, now);
    if (!loop_access::add(*loop_, *this)) {
      begin_close({close_code::internal, "no memory"}, exit_reason::closed);
      loop_access::request_wake(*loop_);
      return;
    }
    if (!id_topic.empty() && !listen(id_topic)) begin_close({close_code::internal, "no memory"}, exit_reason::closed);
    if (loop_->draining()) begin_close({close_code::restart, "draining"}, exit_reason::draining);
    if (bounds_->idle != duration::zero() && !loop_access::timer(*loop_, saturating_add(now, bounds_->idle), nullptr, id))
      begin_close({close_code::internal, "no memory"}, exit_reason::closed);
    tell({.kind = event_code::socket_connected, .text = id_topic});
    // A host is still building its connection here: what has to be closed is closed by the next receive or run.
    loop_access::request_wake(*loop_);
  }

  [[nodiscard]] bool receive(opcode op, std::string_view part, bool last, time_point now) noexcept {
    if (detached_) return false;
    bool alive = true;
    alive_ = &alive;
    {
      loop_entry entry(*loop_, now);
      if (alive) {  // what the last entry left runs first: a callback in there may have destroyed this socket
        heard_ = loop_->now();
        if (!closing && (op == opcode::text || op == opcode::binary)) take_part(op, part, last);
      }
    }
    if (alive) alive_ = nullptr;
    return alive;
  }

  /// What waited in the transport has been written: a slow client gets what was held back for it.
  [[nodiscard]] bool writable(time_point now) noexcept {
    if (detached_) return false;
    if (outbound_queue_ == nullptr) return true;
    if (!closing) loop_access::mark_dirty(*loop_, *this);
    time_point const heard = heard_;  // what it reads is no sign that it speaks
    bool const alive = receive(opcode::pong, {}, true, now);
    if (alive) heard_ = heard;
    return alive;
  }

  void gone(exit_reason reason) noexcept {
    if (detached_) return;
    tell({.kind = event_code::socket_closed, .text = "the other end left", .exit = reason});
    bool const was_doomed = std::exchange(closing, true);
    if (!was_doomed) exit_ = reason;
    while (!slots_.empty()) {
      channel_slot* const s = remove_slot(slots_.size() - 1);
      s->reason = exit_;
      s->owner = nullptr;
      loop_access::orphan(*loop_, *s);
    }
    loop& event_loop = *loop_;
    detach();
    // Its channels are told at once, or after the callback that destroys this connection. Callbacks of others may run too,
    // and destroy it: from here on nothing of *this is touched.
    if (!loop_access::busy(event_loop)) loop_entry now(event_loop, event_loop.now());
  }

  /// For long-polls of 0.10: was a message for no channel, or a join refused, since the last time this was asked?
  [[nodiscard]] bool turned_away() noexcept { return std::exchange(turned_away_, false); }

  /// Its life goes on.
  [[nodiscard]] bool has(channel_slot const& s) const noexcept { return find(s) != none; }

  // ---- for channels: other topics (6.4)

  [[nodiscard]] send_status hear(channel_slot& s, std::string_view text) noexcept {
    std::uint32_t ears = 0;
    for (end_watch const* w = s.watches; w != nullptr; w = w->next) ears += w->ended == &channel_listener::go ? 1u : 0u;
    if (ears >= bounds_->subscriptions) return send_status::dropped;
    topic_table& topics = loop_access::topics(*loop_);
    topic* const to = topics.use(text, {});
    if (to == nullptr) return send_status::dropped;
    auto* const e = make<channel_listener>(loop_access::from(*loop_), *loop_, s, to);
    if (e == nullptr || !topics.subscribe_plain(*e)) {
      destroy(loop_access::from(*loop_), e);
      topics.unuse(to);
      return send_status::dropped;
    }
    static_cast<end_watch*>(e)->next = s.watches;
    s.watches = e;
    return send_status::ok;
  }
  static void unhear(channel_slot& s, std::string_view text) noexcept {
    for (end_watch** link = &s.watches; *link != nullptr;) {
      end_watch* const w = *link;
      if (w->ended != &channel_listener::go || static_cast<channel_listener*>(w)->on->text() != text) {
        link = &w->next;
        continue;
      }
      *link = w->next;
      w->ended(w, exit_reason::normal);
    }
  }

  // ---- for channels: messages to themselves, now or after a while

  [[nodiscard]] send_status send_self(channel_slot& s, duration delay, std::string_view event,
                                      payload const& data) noexcept {
    bool const timed = delay > duration::zero();
    if (timed && s.timers >= bounds_->channel_timers) return send_status::dropped;
    memory const& from = loop_access::from(*loop_);
    mail* const m = mail::make(from, mail_kind::info, event);
    if (m == nullptr || !mail::carries(m, data, from)) return send_status::dropped;
    m->slot = id.slot;
    m->generation = id.generation;
    m->number = s.number;
    m->numbers[0] = timed ? 1 : 0;
    if (!timed) {
      loop_access::later(*loop_, m);
    } else if (loop_access::timer(*loop_, saturating_add(loop_->now(), delay), m, id)) {
      ++s.timers;
    } else {
      mail::free(m);
      return send_status::dropped;
    }
    return send_status::ok;
  }

  // ---- client
  void take(mail* m) noexcept override {
    if (m->kind == mail_kind::info && m->numbers[0] != 0)
      if (std::uint32_t const at = find(m->number); at != none) --slots_[at].slot->timers;
    if (m->kind == mail_kind::cast)
      cast(*m);
    else if (!closing && !wait_for_verdict(m))
      work(*m);
    if (m != nullptr) mail::free(m);
  }
  time_point on_idle_timer(time_point now) noexcept override {
    if (closing) return (time_point::max)();
    if (time_point const until = saturating_add(heard_, bounds_->idle); until > now) return until;
    tell({.kind = event_code::idle});
    begin_close({close_code::going_away, "idle"}, exit_reason::closed);
    return (time_point::max)();
  }
  bool awaits(mail const& m) const noexcept override {
    if (closing) return false;
    if (in_join_ && m.number == numbers_) return true;
    std::uint32_t const at = find(m.number);
    return at != none && (m.kind != mail_kind::deadline || slots_[at].slot->state == channel_state::joining);
  }
  void begin_close(close_frame frame, exit_reason reason) noexcept override {
    if (closing) return;
    closing = true;
    code_ = frame.code;
    reason_ = frame.reason.data();
    reason_size_ = static_cast<std::uint8_t>(frame.reason.size() < 123 ? frame.reason.size() : 123);
    exit_ = reason;
    loop_access::begin_close(*loop_, *this);
  }
  void end_channels() noexcept override {  // they may destroy other sockets, not this one
    while (!slots_.empty()) end_now(remove_slot(slots_.size() - 1), exit_);
  }
  void close() noexcept override {
    close_frame const frame{code_, {reason_, reason_size_}};
    tell({.kind = event_code::socket_closed,
          .text = frame.reason,
          .exit = exit_,
          .code = static_cast<std::uint16_t>(frame.code)});
    hand_over_all();
    detach();
    close_transport(frame);  // may destroy *this
  }
  void list(void* with, void (*each)(void*, std::string_view, channel_state)) const noexcept override {
    for (place const& p : slots_) each(with, p.on->text(), p.slot->state);
  }

 protected:
  ~connection() = default;
  virtual void close_transport(close_frame) noexcept = 0;
  bool detached_ = false;  // not in the loop any more: nothing of the Transport is called

 private:
  // ---- bytes in

  void take_part(opcode op, std::string_view part, bool last) noexcept {
    if (part.size() + parts_.size() > bounds_->frame) {
      tell({.kind = event_code::too_large, .count = part.size() + parts_.size()});
      begin_close({close_code::too_large, "message too large"}, exit_reason::closed);
      return;
    }
    if (parts_.empty() && last) return decode(op, part);
    if (!parts_.append(loop_access::from(*loop_), part.data(), part.size())) {
      begin_close({close_code::internal, "no memory"}, exit_reason::closed);
      return;
    }
    if (!last) return;
    array<char> whole;
    whole.swap(parts_);
    decode(op, {whole.begin(), whole.size()});
    whole.free(loop_access::from(*loop_));
  }

  void decode(opcode op, std::string_view whole) noexcept {
    phx::traffic& seen = loop_access::traffic(*loop_);
    ++seen.messages_in;
    seen.bytes_in += whole.size();
    phx::scratch& room = loop_access::scratch(*loop_);
    room.name = bounds_->name;
    room.json_depth = bounds_->json_depth;
    {
      message in;
      errc const fault = wire.decode(op, whole, room, in);
      if (fault == errc::none) {
        dispatch(in);
      } else {
        // Decoding errors are not answered: the connection dies, and its channels with it, abnormally (protocol 3.6).
        tell({.kind = event_code::malformed, .error = fault, .count = whole.size()});
        bool const text = fault == errc::invalid_utf8 && op == opcode::text;
        begin_close({text ? close_code::invalid_text : close_code::internal, to_string(fault)},
                    exit_reason::connection_error);
      }
    }
    room.reset();
  }

  // ---- dispatch: the rows of section 5, in their order

  void dispatch(message const& m) noexcept {
    if (m.topic == "phoenix" && m.event == event::heartbeat) {  // row 1
      answer_with({}, m, status::ok, {}, answer::heartbeat);
      return;
    }
    std::uint32_t const at = find(m);
    if (m.event == event::join) {
      if (at == none)
        join(m, nullptr);
      else
        rejoin(m, at);
      return;
    }
    if (at != none) {
      channel_slot& s = *slots_[at].slot;
      if (!m.join_ref.null() && !(m.join_ref == s.join_ref)) {  // rows 7, 9: of another life
        tell({.kind = event_code::stale_message, .topic = m.topic, .event = m.event, .ref = m.ref});
        return;
      }
      if (m.event == event::leave)
        leave(m, at);  // row 6
      else if (s.state == channel_state::joining)
        hold(m, at);
      else
        hand_in(m, s);  // row 8
      return;
    }
    if (m.event == event::leave && wire.rules().leave_of_unjoined_answered) {  // row 10
      answer_with(m.join_ref, m, status::ok, {}, answer::leave);
      return;
    }
    unmatched(m);  // row 11
  }

  void unmatched(message const& m) noexcept {
    tell({.kind = event_code::unmatched_topic, .topic = m.topic, .event = m.event, .ref = m.ref});
    static_answer({}, m, R"({"reason":"unmatched topic"})", answer::unmatched);
  }

  void rejoin(message const& m, std::uint32_t at) noexcept {  // row 5
    if (wire.rules().duplicate_join_refused) {                // 1.0 and 1.1 (protocol 4.1)
      static_answer(m.join_ref, m, R"({"reason":"already joined"})", answer::refused_join);
      return;
    }
    tell({.kind = event_code::duplicate_join, .topic = m.topic, .ref = m.ref});
    join(m, remove_slot(at));
  }

  /// @param replaced the channel whose place this takes: it is told before, and its phx_close follows the join's reply,
  /// which overtakes it in Phoenix.
  void join(message const& m, channel_slot* replaced) noexcept {
    if (replaced != nullptr) told(*replaced, exit_reason::replaced);
    join_new(m);
    if (replaced == nullptr) return;
    if (replaced->state == channel_state::joined) notify(*replaced, true);
    destroy_slot(replaced);
  }

  void join_new(message const& m) noexcept {
    // row 2. What trackers say to each other is no client's to hear, nor to say.
    if (!m.topic_name.is_string() || !ops_->matches(dispatcher_, m.topic) || loop_access::taken(*loop_, m.topic))
      return unmatched(m);
    if (slots_.size() >= bounds_->channels) {  // row 3
      tell({.kind = event_code::too_many_channels, .topic = m.topic, .ref = m.ref});
      return static_answer(m.join_ref, m, R"({"reason":"too many channels joined"})", answer::refused_join);
    }
    channel_slot* const s = create_slot(m);
    if (s == nullptr) {
      tell({.kind = event_code::no_memory, .topic = m.topic, .ref = m.ref});
      return static_answer(m.join_ref, m, R"({"reason":"overloaded"})", answer::refused_join);
    }
    dispatch_table::verdict verdict;
    in_join_ = true;
    bool const ran = try_invoke(
        [&] {
          joining j(*this, *s);
          verdict = ops_->join(dispatcher_, session_, s->channel(), j, m);
        },
        [&](char const* text) { tell({.kind = event_code::join_crashed, .topic = m.topic, .ref = m.ref, .text = text}); });
    in_join_ = false;
    if (!ran || verdict.kind == dispatch_table::verdict::crashed) {
      if (ran) tell({.kind = event_code::join_crashed, .topic = m.topic, .ref = m.ref, .text = verdict.reason});
      destroy_slot(s);
      return static_answer(m.join_ref, m, R"({"reason":"join crashed"})", answer::refused_join);
    }
    s->constructed = verdict.constructed;
    if (verdict.kind == dispatch_table::verdict::refused) {
      turned_away_ = true;
      tell({.kind = event_code::channel_refused, .topic = m.topic, .ref = m.ref, .payload = &m.payload});
      if (errc const fault = answer_with(m.join_ref, m, status::error, verdict.response, answer::refused_join);
          fault != errc::none)
        static_answer(m.join_ref, m, R"({"reason":"join crashed"})", answer::refused_join);
      terminate(*loop_, nullptr, *s, exit_reason::shutdown);
      destroy_slot(s);
      return;
    }
    if (!slots_.push(loop_access::from(*loop_), {s->on, s})) return overloaded(s);
    ++loop_access::channels(*loop_);
    if (verdict.kind == dispatch_table::verdict::accepted) {
      granted(*s, verdict.response, &m.payload);
      return;
    }
    time_point const last = saturating_add(loop_->now(), bounds_->join);
    mail* const bell = mail::make(loop_access::from(*loop_), mail_kind::deadline);
    if (bell != nullptr) {
      bell->slot = id.slot;
      bell->generation = id.generation;
      bell->number = s->number;
      ++s->timers;
      if (loop_access::timer(*loop_, verdict.deadline < last ? verdict.deadline : last, bell, id)) return;
      mail::free(bell);
    }
    overloaded(remove_slot(slots_.size() - 1));
  }

  void overloaded(channel_slot* s) noexcept {
    join_answer(*s, status::error, payload_access::borrow(R"({"reason":"overloaded"})", false), answer::refused_join);
    end_now(s, exit_reason::killed);
  }

  /// The join of `s`, which has its place, is answered ok.
  void granted(channel_slot& s, payload const& response, payload const* asked) noexcept {
    s.intercepts = ops_->intercepts(dispatcher_, s.channel());
    s.intercepting = !s.intercepts.empty();
    s.pressure = ops_->when_slow(dispatcher_, s.channel()).value_or(bounds_->pressure);
    if (s.pressure != pressure_policy::close && s.pressure != pressure_policy::ignore) ahead_ = bounds_->outbound / 2;
    if (!loop_access::topics(*loop_).subscribe(s)) return overloaded(remove_slot(find(s)));
    // A verdict came by mail: what was posted before it has been handled, what was posted after it is for this channel.
    if (asked == nullptr) s.since = 0;
    errc const fault = join_answer(s, status::ok, response, answer::join);
    if (fault != errc::none) {
      // A response that this serializer cannot carry: to the client this is a join that crashed.
      tell({.kind = event_code::not_encoded, .topic = s.on->text(), .error = fault});
      join_answer(s, status::error, payload_access::borrow(R"({"reason":"join crashed"})", false), answer::refused_join);
      end_now(remove_slot(find(s)), exit_reason::error);
      return;
    }
    s.state = channel_state::joined;
    tell({.kind = event_code::channel_joined, .topic = s.on->text(), .ref = s.ref, .payload = asked});
  }

  void leave(message const& m, std::uint32_t at) noexcept {
    channel_slot* const s = unlist(at);
    // Reply first, close second; user code is not asked (6.5). A pending join is cancelled: there is nothing to close.
    answer_with(s->state == channel_state::joined ? s->stamp() : m.join_ref, m, status::ok, {}, answer::leave);
    if (s->state == channel_state::joined) notify(*s, true);
    end_now(s, exit_reason::left);
  }

  /// Of all pending joins: a client may have as many of them as it has channels.
  [[nodiscard]] std::size_t held_bytes() const noexcept {
    std::size_t sum = 0;
    for (auto const& at : slots_)
      if (at.slot->state == channel_state::joining) sum += at.slot->held_bytes;
    return sum;
  }
  void hold(message const& m, std::uint32_t at) noexcept {
    channel_slot& s = *slots_[at].slot;
    std::size_t const bytes = m.payload.raw().size() + m.join_ref.json.size() + m.ref.json.size() + m.topic.size() +
                              m.event.size() + m.topic_name.json.size() + m.event_name.json.size();
    mail* const kept = s.held >= bounds_->held_pushes || held_bytes() + bytes > bounds_->held_bytes
                           ? nullptr
                           : mail::make(loop_access::from(*loop_), mail_kind::inbound, m.join_ref.json, m.ref.json, m.topic,
                                        m.event, m.topic_name.json, m.event_name.json);
    if (kept != nullptr) kept->payload = payload_access::owned(m.payload, loop_access::from(*loop_));
    if (kept == nullptr || !kept->payload.valid()) {
      if (kept != nullptr) mail::free(kept);
      tell({.kind = event_code::held_too_much, .topic = m.topic, .event = m.event, .count = s.held});
      join_answer(s, status::error, payload_access::borrow(R"({"reason":"join crashed"})", false), answer::refused_join);
      end_now(remove_slot(at), exit_reason::killed);
      return;
    }
    s.waiting.push(kept);
    ++s.held;
    s.held_bytes += bytes;
  }

  void hand_in(message const& m, channel_slot& s) noexcept {
    outcome result;
    bool const lives =
        call(s, m.event, &m, [&](context& ctx) { result = ops_->handle_in(dispatcher_, s.channel(), ctx, m); });
    if (!lives) return;
    if (loop_access::observer(*loop_))  // a notice takes longer to fill in than a small message to handle
      tell({.kind = event_code::handled_in, .topic = m.topic, .event = m.event, .ref = m.ref, .payload = &m.payload});
    if (result.answers_) {
      errc const fault = answer_with(s.stamp(), m, result.status_, result.response_, answer::message);
      if (fault != errc::none && fault != errc::no_memory) return crash(s, m.event, fault);
    }
    if (result.stops_) finish(s, result.reason_);
  }

  // ---- mails

  /// What is for a channel whose join is pending waits with the messages of its client; `m` is null then.
  [[nodiscard]] bool wait_for_verdict(mail*& m) noexcept {
    if (m->kind != mail_kind::push && m->kind != mail_kind::info) return false;
    std::uint32_t const at = find(m->number);
    if (at == none || slots_[at].slot->state != channel_state::joining) return false;
    channel_slot& s = *slots_[at].slot;
    if (s.held < bounds_->held_pushes) {
      ++s.held;
      s.waiting.push(std::exchange(m, nullptr));
    } else {
      tell({.kind = event_code::held_too_much, .topic = s.on->text(), .event = m->text(0), .count = s.held});
    }
    return true;
  }

  /// A broadcast by a channel_id is for others too: it goes out whatever has become of its channel.
  void cast(mail const& m) noexcept {
    std::uint32_t const at = closing ? none : find(m.number);
    channel_slot* const s = at == none || slots_[at].slot->state == channel_state::joining ? nullptr : slots_[at].slot;
    errc const fault = loop_access::serve_cast(*loop_, m, m.granted ? s : nullptr, s != nullptr && bounds_->strict_encoding);
    if (s != nullptr && fault != errc::none && fault != errc::no_memory && fault != errc::nodes_not_reached)
      crash(*s, m.text(0), fault);
  }

  void work(mail& m) noexcept {
    if (m.kind == mail_kind::reply) {  // goes out whatever has become of its channel (6.3)
      frame_builder out(loop_access::pool(*loop_));
      errc const fault = send(
          out, wire.encode(out, reply{{m.text(2)}, {m.text(1)}, {m.text(0), {}}, m.status, m.payload, answer::message}));
      if (fault == errc::none || fault == errc::no_memory) return;
      if (std::uint32_t const at = find(m.number); at != none && slots_[at].slot->state == channel_state::joined)
        crash(*slots_[at].slot, {}, fault);
      else
        tell({.kind = event_code::not_encoded, .topic = m.text(0), .error = fault});
      return;
    }
    if (m.kind == mail_kind::last_push) {
      topic const* const t = loop_access::topics(*loop_).find(m.text(0));
      if (t != nullptr && find(*t) != nullptr) return;  // the client has joined it again
      frame_builder out(loop_access::pool(*loop_));
      push const last{{m.text(2)}, {}, {m.text(0), {}}, {m.text(1), {}}, m.payload};
      if (errc const fault = send(out, wire.encode(out, last)); fault != errc::none && fault != errc::no_memory)
        tell({.kind = event_code::not_encoded, .topic = m.text(0), .event = m.text(1), .error = fault});
      return;
    }
    std::uint32_t const at = find(m.number);
    if (at == none) return;  // that life is over
    channel_slot& s = *slots_[at].slot;
    bool const pending = s.state == channel_state::joining;
    switch (m.kind) {
      case mail_kind::push:
        if (errc const fault = send_push(s, m.text(0), m.payload, m.text(1));
            fault != errc::none && fault != errc::no_memory)
          crash(s, m.text(0), fault);
        break;
      case mail_kind::info: {
        message in;
        in.topic = m.granted ? m.text(1) : s.on->text();
        in.topic_name = m.granted ? json_text{in.topic, {}} : s.on->name();
        in.event = m.text(0);
        in.event_name = {in.event, {}};
        in.payload = payload_access::lend(m.payload);
        outcome result;
        if (call(s, in.event, nullptr, [&](context& ctx) { result = ops_->handle_info(dispatcher_, s.channel(), ctx, in); }))
          nothing_asked(s, in.event, result);
        break;
      }
      case mail_kind::out: {
        broadcast const b{m.text(0), m.text(1), payload_access::lend(m.payload), {}, m.text(2)};
        outcome answer;
        if (call(s, b.event, nullptr, [&](context& ctx) { answer = ops_->handle_out(dispatcher_, s.channel(), ctx, b); }))
          nothing_asked(s, b.event, answer);
        break;
      }
      case mail_kind::watch:
        m.watch->next = s.watches;
        s.watches = std::exchange(m.watch, nullptr);
        break;
      case mail_kind::verdict:
        if (pending) decided(s, m.granted, m.payload);
        break;
      case mail_kind::exit:
        if (pending)
          decided(s, false, payload_access::borrow(R"({"reason":"join crashed"})", false));
        else
          finish(s, m.reason);
        break;
      case mail_kind::deadline:
        if (pending) {
          --s.timers;
          tell({.kind = event_code::join_timed_out, .topic = s.on->text(), .ref = s.ref});
          decided(s, false, payload_access::borrow(R"({"reason":"timeout"})", false));
        }
        break;
      default: break;
    }
  }

  void decided(channel_slot& s, bool yes, payload const& response) noexcept {
    mail_queue held;
    held.swap(s.waiting);
    if (yes) {
      --s.timers;
      loop_access::stale_timers(*loop_, 1);  // its deadline
      granted(s, response, nullptr);
    } else {
      errc const fault = join_answer(s, status::error, response, answer::refused_join);
      if (fault != errc::none)
        join_answer(s, status::error, payload_access::borrow(R"({"reason":"join crashed"})", false), answer::refused_join);
      tell({.kind = event_code::channel_refused, .topic = s.on->text(), .ref = s.ref});
      end_now(remove_slot(find(s)), exit_reason::shutdown);
    }
    // What waited goes its way in order, as if it came now.
    while (mail* const m = held.pop()) {
      if (closing) {
        // nothing more
      } else if (m->kind != mail_kind::inbound) {
        work(*m);
      } else {
        message in;
        in.join_ref = {m->text(0)};
        in.ref = {m->text(1)};
        in.topic = m->text(2);
        in.event = m->text(3);
        in.topic_name = {in.topic, m->text(4)};
        in.event_name = {in.event, m->text(5)};
        in.payload = payload_access::lend(m->payload);
        dispatch(in);
      }
      mail::free(m);
    }
  }

  // ---- calling user code, and what follows

  /// Runs a callback of `s`. False when the channel ended by it: it threw, or something could not be encoded.
  template <class F>
  [[nodiscard]] bool call(channel_slot& s, std::string_view name, message const* in, F&& body) noexcept {
    context ctx(*loop_, this, s, in);
    bool const ran =
        try_invoke([&] { body(ctx); },
                   [&](char const* text) {
                     tell({.kind = event_code::handler_crashed, .topic = s.on->text(), .event = name, .text = text});
                   });
    if (!ran) {
      finish(s, exit_reason::error);
      return false;
    }
    if (ctx.unhandled_ != errc::none) {
      crash(s, name, ctx.unhandled_);
      return false;
    }
    return true;
  }
  void crash(channel_slot& s, std::string_view name, errc ec) noexcept {
    tell({.kind = event_code::not_encoded, .topic = s.on->text(), .event = name, .error = ec});
    tell({.kind = event_code::handler_crashed, .topic = s.on->text(), .event = name, .text = to_string(ec), .error = ec});
    finish(s, exit_reason::error);
  }
  /// What handle_info and handle_out said: noreply or stop. An answer, where nobody asked, is an error as in Phoenix (6.2).
  void nothing_asked(channel_slot& s, std::string_view name, outcome const& result) noexcept {
    if (result.answers_) {
      tell({.kind = event_code::handler_crashed,
            .topic = s.on->text(),
            .event = name,
            .text = "an answer where nothing was asked"});
      finish(s, exit_reason::error);
    } else if (result.stops_) {
      finish(s, result.reason_);
    }
  }
  /// Ends a joined channel and tells its client (6.6): of a graceful end before `terminate` says its last, as Phoenix does
  /// when it handles the result; of any other after that, as Phoenix does when it learns that the channel's process has
  /// died. While `terminate` runs the client still gets what is broadcast on the topic.
  void finish(channel_slot& s, exit_reason reason) noexcept {
    channel_slot* const over = unlist(find(s));
    if (reason.graceful()) notify(*over, true);
    told(*over, reason);
    if (!reason.graceful()) notify(*over, false);
    destroy_slot(over);
  }
  void notify(channel_slot const& s, bool graceful) noexcept {
    frame_builder out(loop_access::pool(*loop_));
    push last = graceful ? close_message(s.on->text(), s.join_ref, s.ref) : error_message(s.on->text(), s.join_ref, s.ref);
    last.topic = s.on->name();
    (void)send(out, wire.encode(out, last));
  }
  /// The dispatcher's only notice.
  void told(channel_slot& s, exit_reason reason) noexcept {
    s.reason = reason;
    s.waiting.clear();
    tell({.kind = event_code::channel_ended, .topic = s.on->text(), .exit = reason});
    terminate(*loop_, s.state == channel_state::joined ? this : nullptr, s, reason);
  }
  /// @param who null: there is no client to push to.
  static void terminate(loop& l, connection* connection, channel_slot& s, exit_reason reason) noexcept {
    if (!s.constructed) return;
    context ctx(l, connection, s, nullptr);
    s.ops->terminate(s.dispatcher, s.channel(), ctx, reason);
  }
  void end_now(channel_slot* s, exit_reason reason) noexcept {
    told(*s, reason);
    destroy_slot(s);
  }
  /// A channel whose socket is gone, or was destroyed by a callback (subscriber::end).
  static void end_orphan(loop& l, subscriber& m) noexcept {
    channel_slot& s = static_cast<channel_slot&>(m);
    s.waiting.clear();
    if (observer_ref const& to = loop_access::observer(l))
      to({.kind = event_code::channel_ended,
          .slot = s.socket.slot,
          .generation = s.socket.generation,
          .topic = s.on->text(),
          .exit = s.reason});
    terminate(l, nullptr, s, s.reason);
    destroy_slot(l, &s);
  }

  // ---- seats

  [[nodiscard]] channel_slot* create_slot(message const& m) noexcept {
    memory const& from = loop_access::from(*loop_);
    std::size_t const refs = m.join_ref.json.size() + m.ref.json.size();
    std::size_t const size = sizeof(channel_slot) + ops_->channel_size + refs;
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
    s->number = ++numbers_;
    s->end = &end_orphan;
    s->ops = ops_;
    s->dispatcher = dispatcher_;
    s->socket = id;
    s->size = size;
    char* const text = static_cast<char*>(s->channel()) + ops_->channel_size;
    if (!m.join_ref.json.empty()) std::memcpy(text, m.join_ref.json.data(), m.join_ref.json.size());
    if (!m.ref.json.empty()) std::memcpy(text + m.join_ref.json.size(), m.ref.json.data(), m.ref.json.size());
    s->join_ref = {{text, m.join_ref.json.size()}};
    s->ref = {{text + m.join_ref.json.size(), m.ref.json.size()}};
    return s;
  }
  /// The topic quoted with no needless escapes, whatever the client needed to write it.
  [[nodiscard]] std::string_view canonical(json_text const& topic) noexcept {
    if (topic.json.find('\\') == std::string_view::npos) return topic.json;
    frame_builder text(loop_access::pool(*loop_));
    text.start(opcode::text, topic.json.size());
    text.quoted(topic.text);
    frame const done = text.finish();
    // Never longer than what came: every escape it keeps was one already.
    char* const at = done.empty() ? nullptr : loop_access::scratch(*loop_).room(done.data().size());
    if (at == nullptr) return topic.json;
    std::memcpy(at, done.data().data(), done.data().size());
    return {at, done.data().size()};
  }
  [[nodiscard]] channel_slot* remove_slot(std::uint32_t at) noexcept {
    channel_slot* const s = unlist(at);
    loop_access::topics(*loop_).unsubscribe(*s);
    return s;
  }
  /// The same for one that still hears its topic, until it is given back.
  [[nodiscard]] channel_slot* unlist(std::uint32_t at) noexcept {
    channel_slot* const s = slots_[at].slot;
    slots_[at] = slots_.back();
    slots_.pop();
    --loop_access::channels(*loop_);
    return s;
  }
  void destroy_slot(channel_slot* s) noexcept { destroy_slot(*loop_, s); }
  static void destroy_slot(loop& l, channel_slot* s) noexcept {
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

  [[nodiscard]] bool listen(std::string_view on_id) noexcept {
    topic* const t = loop_access::topics(*loop_).use(on_id, {});
    if (t == nullptr) return false;
    id_ = make<subscriber>(loop_access::from(*loop_));
    if (id_ == nullptr) {
      loop_access::topics(*loop_).unuse(t);
      return false;
    }
    id_->owner = this;
    id_->on = t;
    if (loop_access::topics(*loop_).subscribe_plain(*id_)) return true;
    destroy(loop_access::from(*loop_), std::exchange(id_, nullptr));
    loop_access::topics(*loop_).unuse(t);
    return false;
  }
  void detach() noexcept {
    if (std::exchange(detached_, true)) return;
    if (alive_ != nullptr) *alive_ = false;
    closing = true;
    if (id_ != nullptr) {
      loop_access::topics(*loop_).unsubscribe(*id_);
      loop_access::topics(*loop_).unuse(id_->on);
      destroy(loop_access::from(*loop_), id_);
    }
    loop_access::remove(*loop_, *this);
    forget_backlog();
    parts_.free(loop_access::from(*loop_));
    slots_.free(loop_access::from(*loop_));
  }

  dispatch_table const* ops_;
  void* dispatcher_;
  void* session_;
  bool* alive_ = nullptr;  // receive is on the stack and wants to know
  time_point heard_;
  array<char> parts_;         // of a fragmented message
  subscriber* id_ = nullptr;  // on the id topic
  // How it ends. A close_frame in 11 bytes.
  exit_reason exit_ = exit_reason::closed;
  char const* reason_ = nullptr;
  std::uint32_t numbers_ = 0;
  close_code code_ = close_code::internal;
  std::uint8_t reason_size_ = 0;
  bool in_join_ = false;  // the channel with the last number is not among the seats yet
};
// The budget: a million idle clients are as many of these. What only some have is behind a pointer.
static_assert(sizeof(void*) != 8 || sizeof(connection) <= 200, "each client pays for what you add here");

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

namespace phx {
inline namespace PHX_BUILD {

inline std::string_view joining::topic() const noexcept { return channel_.on->text(); }
inline socket_id joining::socket() const noexcept { return connection_.id; }
inline loop& joining::event_loop() const noexcept { return connection_.event_loop(); }
inline time_point joining::now() const noexcept { return event_loop().now(); }
inline channel_id joining::id() const noexcept {
  return {detail::loop_access::box(event_loop()), *channel_.on, connection_.id, channel_.number};
}

namespace detail {
/// For presence: to hear of a channel's end.
struct watch_access {
  struct address {
    void const* loop;
    std::uint32_t slot, generation, number;
    [[nodiscard]] friend auto operator<=>(address const&, address const&) = default;
  };
  [[nodiscard]] static address of(channel_id const& c) noexcept {
    return {c.box_.get(), c.socket_.slot, c.socket_.generation, c.number_};
  }
  /// Inside the loop.
  static void watch(context& ctx, end_watch* w) noexcept { add(ctx.channel_, w); }
  static void watch(joining& ctx, end_watch* w) noexcept { add(ctx.channel_, w); }
  /// From any thread. It may be called before this returns. @return false: there was no memory, it will never be called.
  [[nodiscard]] static bool watch(channel_id const& c, end_watch* w) noexcept {
    if (!c.box_) {
      w->ended(w, exit_reason::closed);
      return true;
    }
    mail* const m = c.make(mail_kind::watch, {});
    if (m == nullptr) return false;
    m->watch = w;
    (void)c.box_->post(m, false);
    return true;
  }

 private:
  static void add(channel_slot& s, end_watch* w) noexcept {
    w->next = s.watches;
    s.watches = w;
  }
};
}  // namespace detail

inline send_status joining::send(std::string_view event, payload const& data) noexcept {
  return send_after(duration::zero(), event, data);
}
inline send_status joining::send_after(duration delay, std::string_view event, payload const& data) noexcept {
  return connection_.send_self(channel_, delay, event, data);
}

inline send_status joining::subscribe(std::string_view topic) noexcept { return connection_.hear(channel_, topic); }

inline std::string_view context::topic() const noexcept { return channel_.on->text(); }
inline socket_id context::socket() const noexcept { return channel_.socket; }
inline time_point context::now() const noexcept { return loop_.now(); }
inline channel_state context::state() const noexcept { return channel_.state; }
inline channel_id context::id() const noexcept {
  return {detail::loop_access::box(loop_), *channel_.on, socket(), channel_.number};
}
inline sent context::push(std::string_view event, payload const& data, std::string_view key) noexcept {
  return {connection_ == nullptr ? errc::none : connection_->send_push(channel_, event, data, key), unhandled_};
}
namespace detail {
inline errc publish(loop& event_loop, connection const* connection, broadcast const& b, subscriber const* except) noexcept {
  return loop_access::publish(event_loop, b, except, connection != nullptr && connection->strict_encoding());
}
}  // namespace detail
inline sent context::broadcast(std::string_view event, payload const& data, std::string_view key) noexcept {
  return publish(topic(), event, data, key);
}
inline sent context::broadcast_from(std::string_view event, payload const& data, std::string_view key) noexcept {
  return publish_from(topic(), event, data, key);
}
inline sent context::publish(std::string_view topic, std::string_view event, payload const& data,
                             std::string_view key) noexcept {
  return {detail::publish(loop_, connection_, {topic, event, detail::payload_access::lend(data), {}, key}, nullptr),
          unhandled_};
}
inline sent context::publish_from(std::string_view topic, std::string_view event, payload const& data,
                                  std::string_view key) noexcept {
  return {detail::publish(loop_, connection_, {topic, event, detail::payload_access::lend(data), {}, key}, &channel_),
          unhandled_};
}
inline send_status context::send(std::string_view event, payload const& data) noexcept {
  return send_after(duration::zero(), event, data);
}
inline send_status context::send_after(duration delay, std::string_view event, payload const& data) noexcept {
  return connection_ == nullptr ? send_status::closed : connection_->send_self(channel_, delay, event, data);
}
inline send_status context::subscribe(std::string_view topic) noexcept {
  return connection_ == nullptr ? send_status::closed : connection_->hear(channel_, topic);
}
inline void context::unsubscribe(std::string_view topic) noexcept { detail::connection::unhear(channel_, topic); }
inline ended_channel context::after_end() const noexcept {
  ended_channel e;
  if (connection_ == nullptr || connection_->closing || connection_->has(channel_)) return e;
  e.box_ = detail::loop_access::box(loop_);
  e.socket_ = channel_.socket;
  e.text_ = detail::payload_access::assembled(detail::loop_access::from(loop_), topic(), channel_.stamp().json);
  e.topic_ = topic().size();
  return e;
}
inline reply_to context::reply() const noexcept {
  reply_to r;
  if (in_ == nullptr || connection_ == nullptr) return r;
  r.box_ = detail::loop_access::box(loop_);
  r.socket_ = connection_->id;
  r.number_ = channel_.number;
  std::string_view const ref = in_->ref.json;
  r.text_ = detail::payload_access::assembled(detail::loop_access::from(loop_), topic(), ref, channel_.stamp().json);
  r.topic_ = topic().size();
  r.ref_ = ref.size();
  return r;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

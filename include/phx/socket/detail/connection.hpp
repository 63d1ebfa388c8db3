#ifndef PHX_SOCKET_DETAIL_CONNECTION_HPP
#define PHX_SOCKET_DETAIL_CONNECTION_HPP
// The state of one connection and the rows of protocol section 5, compiled once for all transports and dispatchers. Change
// this file when the protocol's table of rows, or the life of a connection, changes.
//
//   state \ event | bytes            | mail for it        | begin_close      | gone
//   open          | row of section 5 | handled            | -> closing       | channels end, detached
//   closing       | ignored          | dropped            | ignored          | channels end, detached
//   detached      | (not called)     | (not found)        | (not found)      | ignored
//
// dispatch() selects the row of a message. One with a stale join_ref (rows 7 and 9) ends there: it is ignored and reported.
//
// Its parts: detail/channel_table.hpp (the channels), join.hpp (how one is joined), channel_callback.hpp (user code and mail),
// channel_end.hpp (how one ends), channel_listener.hpp (subscriptions to other topics), inbound.hpp (limits), outbound.hpp (sending). The table and the
// queue of outbound are classes of their own; the other files define members of this class.

#include <phx/socket/detail/outbound.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// What only some connections have: those with an id topic, or with limits::inbound or inbound_channel.
struct connection_extras {
  subscriber id{};          // on the id topic; `on` is null without one
  inbound_meter inbound{};  // against limits::inbound
  std::uint32_t dropped = 0, pauses = 0;
  time_point resume_at{};  // once a pause is over
  bool paused = false;     // a resume_mail waits in the timers
};

/// One client's side of the protocol, without its transport and session: phx::socket adds these and inherits privately.
///
/// Order: construct, `open`, then `receive` and `writable` until one returns false, or `gone`. All inside its loop. It owns its
/// channels (detail/channel_table.hpp) and the frames held back for a slow client; the dispatcher and the limits outlive it.
/// A callback may destroy it during `receive`, `writable` and `gone`, but not during `end_channels`.
class connection : public outbound {
 public:
  connection(loop& event_loop, void* dispatcher, dispatcher_ops const& ops, void* session, limits const& bounds,
             time_point now) noexcept
      : outbound(event_loop, bounds), ops_(&ops), dispatcher_(dispatcher), session_(session), last_received_(now) {}
  /// @param linger mount::linger
  void open(serializer_ref chosen, std::string_view id_topic, duration linger, time_point now) noexcept {
    wire = chosen;
    set_linger(linger);
    loop_access::set_time(*loop_, now);
    if (!loop_access::add(*loop_, *this)) {
      begin_close({close_code::internal, "no memory"}, exit_reason::closed);
      loop_access::request_wake(*loop_);
      return;
    }
    if ((!id_topic.empty() || bounds_->inbound.limited() || bounds_->inbound_channel.limited()) && !make_extras(id_topic))
      begin_close({close_code::internal, "no memory"}, exit_reason::closed);
    if (loop_->draining()) begin_close({close_code::restart, "draining"}, exit_reason::draining);
    if (bounds_->idle != duration::zero() && !loop_access::timer(*loop_, saturating_add(now, bounds_->idle), nullptr, id))
      begin_close({close_code::internal, "no memory"}, exit_reason::closed);
    report({.kind = event_code::socket_connected, .text = id_topic});
    // The host is still constructing its connection: if it has to be closed, the next receive or run closes it.
    loop_access::request_wake(*loop_);
  }
  [[nodiscard]] bool receive(opcode op, std::string_view part, bool last, time_point now) noexcept {
    if (detached_) return false;
    bool alive = true;
    alive_ = &alive;
    {
      loop_entry entry(*loop_, now);
      if (alive) {  // loop_entry runs what the call before left: a callback there may have destroyed this socket
        last_received_ = loop_->now();
        if (!closing && (op == opcode::text || op == opcode::binary))
          receive_part(op, part, last);
        else if (extras_ != nullptr && op == opcode::ping && !closing)
          (void)within_limit(part.size());
      }
    }
    if (alive) alive_ = nullptr;
    return alive;
  }
  /// Writes what is queued for a slow client, after the transport has written.
  [[nodiscard]] bool writable(time_point now) noexcept {
    if (detached_) return false;
    if (outbound_queue_ == nullptr) return true;
    if (!closing) loop_access::mark_dirty(*loop_, *this);
    time_point const received = last_received_;  // that it reads does not show that it sends: limits::idle
    bool const alive = receive(opcode::pong, {}, true, now);
    if (alive) last_received_ = received;
    return alive;
  }
  void gone(exit_reason reason) noexcept {
    if (detached_) return;
    report({.kind = event_code::socket_closed, .text = "the other end left", .exit = reason});
    bool const was_closing = std::exchange(closing, true);
    if (!was_closing) exit_ = reason;
    while (!channels_.empty()) {
      channel_slot* const s = remove_slot(channels_.size() - 1);
      s->reason = exit_;
      s->owner = nullptr;
      loop_access::add_detached(*loop_, *s);
    }
    loop& event_loop = *loop_;
    detach();
    // Ends its channels at once, or after the callback that destroys this connection. Callbacks of other sockets may run too,
    // and destroy it: *this is not used from here on.
    if (!loop_access::busy(event_loop)) loop_entry now(event_loop, event_loop.now());
  }
  /// Whether a message for no channel or a refused join was seen since the last call. For long-polls of Phoenix 0.10.
  [[nodiscard]] bool turned_away() noexcept { return std::exchange(turned_away_, false); }
  /// Whether this channel life goes on.
  [[nodiscard]] bool contains(channel_slot const& s) const noexcept { return channels_.find(s.number) != none; }

  // ---- for contexts: detail/channel_listener.hpp and channel_callback.hpp
  [[nodiscard]] send_status subscribe_to(channel_slot& s, std::string_view text) noexcept;
  static void unsubscribe_from(channel_slot& s, std::string_view text) noexcept;
  [[nodiscard]] send_status send_to_self(channel_slot& s, duration delay, std::string_view event,
                                         payload const& data) noexcept;

  // ---- client: what the loop calls
  void handle(channel_mail* m) noexcept override {
    if (m->kind == mail_kind::info && m->as<info_mail>().timed)
      if (std::uint32_t const at = channels_.find(m->number); at != none) --channels_[at].timers;
    if (m->kind == mail_kind::cast)
      publish_cast(m->as<cast_mail>());
    else if (m->kind == mail_kind::resume)
      resume_reading();
    else if (!closing && !hold_if_joining(m))
      handle_mail(*m);
    if (m != nullptr) mail::free(m);
  }
  time_point on_idle_timer(time_point now) noexcept override {
    if (closing) return (time_point::max)();
    if (extras_ != nullptr && extras_->paused) return saturating_add(now, bounds_->idle);  // it cannot receive anything
    if (time_point const until = saturating_add(last_received_, bounds_->idle); until > now) return until;
    report({.kind = event_code::idle});
    begin_close({close_code::going_away, "idle"}, exit_reason::closed);
    return (time_point::max)();
  }
  bool awaits(channel_mail const& m) const noexcept override {
    if (closing) return false;
    if (m.kind == mail_kind::resume) return true;
    if (in_join_ && m.number == last_number_) return true;
    std::uint32_t const at = channels_.find(m.number);
    return at != none && (m.kind != mail_kind::deadline || channels_[at].state == channel_state::joining);
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
  void end_channels() noexcept override {  // callbacks may destroy other sockets, not this one
    while (!channels_.empty()) terminate_and_destroy(remove_slot(channels_.size() - 1), exit_);
  }
  void close() noexcept override {
    close_frame const frame{code_, {reason_, reason_size_}};
    report({.kind = event_code::socket_closed,
            .text = frame.reason,
            .exit = exit_,
            .code = static_cast<std::uint16_t>(frame.code)});
    write_all_queued();
    detach();
    close_transport(frame);  // may destroy *this
  }
  void list(void* with, void (*each)(void*, std::string_view, channel_state)) const noexcept override {
    for (channel_table::entry const& p : channels_) each(with, p.on->text(), p.slot->state);
  }

 protected:
  ~connection() = default;
  virtual void close_transport(close_frame) noexcept = 0;
  /// Asks the Transport to stop or to continue reading. False: it cannot.
  virtual bool pause_reading(bool paused) noexcept = 0;
  bool detached_ = false;  // not in the loop any more: the Transport is not called

 private:
  // ---- bytes in

  void receive_part(opcode op, std::string_view part, bool last) noexcept {
    if (part.size() + parts_.size() > bounds_->frame) {
      report({.kind = event_code::too_large, .count = part.size() + parts_.size()});
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
    if (extras_ != nullptr && !within_limit(whole.size())) return;
    phx::scratch& room = loop_access::scratch(*loop_);
    room.name = bounds_->name;
    room.json_depth = bounds_->json_depth;
    {
      message in;
      errc const fault = wire.decode(op, whole, room, in);
      if (fault == errc::none) {
        dispatch(in, whole.size());
      } else {
        // Decoding errors are not answered: the connection dies, and its channels with it, abnormally (protocol 3.6).
        report({.kind = event_code::malformed, .error = fault, .count = whole.size()});
        bool const text = fault == errc::invalid_utf8 && op == opcode::text;
        begin_close({text ? close_code::invalid_text : close_code::internal, to_string(fault)},
                    exit_reason::connection_error);
      }
    }
    room.reset();
  }

  // ---- the rows of protocol section 5, in their order

  /// @param bytes of the whole message; 0: it was held for a join, and counted when it was received
  void dispatch(message const& m, std::size_t bytes) noexcept {
    if (m.topic == "phoenix" && m.event == event::heartbeat) {  // row 1
      send_reply({}, m, status::ok, {}, answer::heartbeat);
      return;
    }
    std::uint32_t const at = channels_.find(loop_access::topics(*loop_), m);
    if (m.event == event::join) {
      if (at == none)
        join(m, nullptr);
      else
        rejoin(m, at);
      return;
    }
    if (at != none) {
      channel_slot& s = channels_[at];
      if (!m.join_ref.null() && !(m.join_ref == s.join_ref)) {  // rows 7, 9: a stale message, sent for an earlier join
        report({.kind = event_code::stale_message, .topic = m.topic, .event = m.event, .ref = m.ref});
        return;
      }
      if (m.event == event::leave)
        leave(m, at);  // row 6
      else if (s.metered && bytes != 0 && !within_limit(bounds_->inbound_channel, s.meter(), s.on->text(), bytes))
        return;
      else if (s.state == channel_state::joining)
        hold_for_join(m, at);
      else
        call_handle_in(m, s);  // row 8
      return;
    }
    if (m.event == event::leave && wire.rules().leave_of_unjoined_answered) {  // row 10
      send_reply(m.join_ref, m, status::ok, {}, answer::leave);
      return;
    }
    reply_unmatched(m);  // row 11
  }

  void reply_unmatched(message const& m) noexcept {
    report({.kind = event_code::unmatched_topic, .topic = m.topic, .event = m.event, .ref = m.ref});
    send_error({}, m, R"({"reason":"unmatched topic"})", answer::unmatched);
  }

  // ---- joins: detail/join.hpp

  void rejoin(message const& m, std::uint32_t at) noexcept;
  void join(message const& m, channel_slot* replaced) noexcept;
  void create_and_join(message const& m) noexcept;
  void refuse_overloaded(channel_slot* s) noexcept;
  void accept_join(channel_slot& s, payload const& response, payload const* asked) noexcept;
  [[nodiscard]] std::size_t held_bytes() const noexcept;
  void hold_for_join(message const& m, std::uint32_t at) noexcept;
  [[nodiscard]] bool hold_if_joining(channel_mail*& m) noexcept;
  void complete_join(channel_slot& s, bool yes, payload const& response) noexcept;
  [[nodiscard]] channel_slot* create_slot(message const& m) noexcept;
  [[nodiscard]] std::string_view canonical(json_text const& topic) noexcept;

  // ---- callbacks and mail: detail/channel_callback.hpp

  template <class F>
  [[nodiscard]] bool call(channel_slot& s, std::string_view name, message const* in, F&& body) noexcept;
  void call_handle_in(message const& m, channel_slot& s) noexcept;
  void crash_channel(channel_slot& s, std::string_view name, errc ec) noexcept;
  void apply_result(channel_slot& s, std::string_view name, outcome const& result) noexcept;
  void publish_cast(cast_mail const& m) noexcept;
  void handle_mail(channel_mail& m) noexcept;
  void send_late_reply(reply_mail const& m) noexcept;
  void send_last_push(last_push_mail const& m) noexcept;

  // ---- ends of channels: detail/channel_end.hpp

  void leave(message const& m, std::uint32_t at) noexcept;
  void end_channel(channel_slot& s, exit_reason reason) noexcept;
  void send_end_message(channel_slot const& s, bool graceful) noexcept;
  void run_terminate(channel_slot& s, exit_reason reason) noexcept;
  static void call_terminate(loop& l, connection* connection, channel_slot& s, exit_reason reason) noexcept;
  void terminate_and_destroy(channel_slot* s, exit_reason reason) noexcept;
  static void end_detached(loop& l, subscriber& m) noexcept;
  [[nodiscard]] channel_slot* remove_slot(std::uint32_t at) noexcept;
  [[nodiscard]] channel_slot* remove_entry(std::uint32_t at) noexcept;
  void destroy_slot(channel_slot* s) noexcept { destroy_slot(*loop_, s); }
  static void destroy_slot(loop& l, channel_slot* s) noexcept;

  // ---- how fast the client sends: detail/inbound.hpp

  [[nodiscard]] bool within_limit(std::size_t bytes) noexcept;
  [[nodiscard]] bool within_limit(inbound_limit const& limit, inbound_meter& meter, std::string_view topic,
                                  std::size_t bytes) noexcept;
  void pause_for(duration wait, std::string_view topic, std::size_t bytes) noexcept;
  void resume_reading() noexcept;

  // ---- the connection itself

  void set_linger(duration linger) noexcept {
    auto const ms = saturating_cast<std::chrono::duration<std::int64_t, std::milli>>(linger).count();
    linger_ms = ms <= 0 ? 0 : ms < UINT32_MAX ? static_cast<std::uint32_t>(ms) : UINT32_MAX;
    if (linger_ms != 0) loop_access::expect_lingering(*loop_);
  }
  /// False without memory.
  [[nodiscard]] bool make_extras(std::string_view id_topic) noexcept {
    extras_ = make<connection_extras>(loop_access::from(*loop_));
    if (extras_ == nullptr) return false;
    if (id_topic.empty()) return true;
    topic_table& topics = loop_access::topics(*loop_);
    subscriber& on_id = extras_->id;
    on_id.owner = this;
    on_id.on = topics.use(id_topic, {});
    return on_id.on != nullptr && topics.subscribe_plain(on_id);
  }
  void free_extras() noexcept {
    if (extras_ == nullptr) return;
    if (extras_->paused) loop_access::stale_timers(*loop_, 1);
    if (topic* const on = extras_->id.on) {
      loop_access::topics(*loop_).unsubscribe(extras_->id);
      loop_access::topics(*loop_).unuse(on);
    }
    destroy(loop_access::from(*loop_), std::exchange(extras_, nullptr));
  }
  void detach() noexcept {
    if (std::exchange(detached_, true)) return;
    if (alive_ != nullptr) *alive_ = false;
    closing = true;
    free_extras();
    loop_access::remove(*loop_, *this);
    destroy_queue();
    parts_.free(loop_access::from(*loop_));
    channels_.free(loop_access::from(*loop_));
  }

  dispatcher_ops const* ops_;
  void* dispatcher_;
  void* session_;
  bool* alive_ = nullptr;  // set to false when it is detached, for a receive that is running
  time_point last_received_;
  array<char> parts_;  // of a fragmented message
  connection_extras* extras_ = nullptr;
  // How it ends: a close_frame in 11 bytes.
  exit_reason exit_ = exit_reason::closed;
  char const* reason_ = nullptr;
  std::uint32_t last_number_ = 0;
  close_code code_ = close_code::internal;
  std::uint8_t reason_size_ = 0;
  bool in_join_ = false;  // the channel with the last number is not in the channel table yet
};
// A million idle clients have a million of these: what only some clients need is behind a pointer.
static_assert(sizeof(void*) != 8 || sizeof(connection) <= 200, "every client pays for a new member");

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_SOCKET_CONTEXT_HPP
#define PHX_SOCKET_CONTEXT_HPP
// What a channel holds in its hands: its address, its answer, its context.

#include <phx/loop/loop.hpp>

#include <optional>
#include <variant>

namespace phx {
inline namespace PHX_BUILD {

class context;
class joining;

namespace detail {
class connection;
struct channel_slot;
struct watch_access;
}  // namespace detail

/// A channel's address, what Elixir calls its pid: a value, for any thread, that may outlive channel, socket and loop.
/// What is sent to a channel life that is over is dropped; what it broadcasts is not. Every member answers `ok` when the
/// mail was taken, `dropped` when limits::mailbox was reached, `closed` when the loop is gone; exits and verdicts always get
/// in.
class channel_id {
 public:
  /// The address of no channel: sending to it answers `closed`.
  channel_id() = default;
  /// Another address of the same channel. Copies share counts, atomically; nothing is allocated.
  channel_id(channel_id const& other) noexcept
      : box_(other.box_), topic_(other.topic_), socket_(other.socket_), number_(other.number_) {
    if (topic_ != nullptr) topic_->keep();
  }
  /// Takes the address over; `other` becomes the address of no channel.
  channel_id(channel_id&& other) noexcept
      : box_(std::move(other.box_)),
        topic_(std::exchange(other.topic_, nullptr)),
        socket_(other.socket_),
        number_(other.number_) {}
  /// From now on the address of `other`'s channel.
  channel_id& operator=(channel_id other) noexcept {
    std::swap(box_, other.box_);
    std::swap(topic_, other.topic_);
    std::swap(socket_, other.socket_);
    std::swap(number_, other.number_);
    return *this;
  }
  ~channel_id() {
    if (topic_ != nullptr) topic_->drop(box_->from());
  }

  /// To its client. One that the serializer cannot carry ends the channel with phx_error.
  send_status push(std::string_view event, payload const& data, std::string_view key = {}) const noexcept {
    return post(detail::mail_kind::push, event, data, false, key);
  }
  /// To all who are subscribed to its topic now, in every loop of every node: before what is posted after it. As a Phoenix
  /// task's broadcast it is heard also while the join is pending, and after the channel has left, for as long as the loop is
  /// there. If no serializer of its loop's subscribers can carry it (with limits::strict_encoding: if one cannot), the
  /// channel ends with phx_error, if it is still joined.
  /// @return dropped: its own loop's mailbox was full, and nobody gets it; or another loop's was, and only that one's
  ///   subscribers do not. That other nodes were not reached is told to the loop's observer.
  send_status broadcast(std::string_view event, payload const& data, std::string_view key = {}) const noexcept {
    return cast(event, data, false, key);
  }
  /// The same, but for the channel itself.
  send_status broadcast_from(std::string_view event, payload const& data, std::string_view key = {}) const noexcept {
    return cast(event, data, true, key);
  }
  /// To the channel: arrives as handle_info.
  send_status send(std::string_view event, payload const& data = {}) const noexcept {
    return post(detail::mail_kind::info, event, data, false);
  }
  /// The verdict on a pending join: yes. A late one, or one after the join was cancelled, is ignored.
  send_status joined(payload const& response = {}) const noexcept {
    return post(detail::mail_kind::verdict, {}, response, true);
  }
  /// The verdict: no.
  send_status refused(payload const& response = {}) const noexcept {
    return post(detail::mail_kind::verdict, {}, response, false);
  }
  /// Ends the channel: `phx_close` for a graceful reason, else `phx_error` (protocol 6.6).
  send_status exit(exit_reason reason) const noexcept {
    detail::mail* const m = make(detail::mail_kind::exit, {});
    if (m == nullptr) return send_status::dropped;
    m->reason = reason;
    return box_->post(m, false);
  }

  /// Its connection.
  [[nodiscard]] socket_id socket() const noexcept { return socket_; }
  /// The same life of the same channel?
  [[nodiscard]] friend bool operator==(channel_id const& a, channel_id const& b) noexcept {
    return a.box_.get() == b.box_.get() && a.socket_ == b.socket_ && a.number_ == b.number_;
  }

 private:
  friend class context;
  friend class joining;
  friend struct detail::watch_access;
  channel_id(detail::mailbox_ref box, detail::topic& on, socket_id socket, std::uint32_t number) noexcept
      : box_(std::move(box)), topic_(&on), socket_(socket), number_(number) {
    topic_->keep();
  }

  [[nodiscard]] detail::mail* make(detail::mail_kind kind, std::string_view event, std::string_view key = {},
                                   std::string_view topic = {}) const noexcept {
    if (!box_) return nullptr;
    detail::mail* const m = detail::mail::make(box_->from(), kind, event, key, topic);
    if (m == nullptr) return nullptr;
    m->slot = socket_.slot;
    m->generation = socket_.generation;
    m->number = number_;
    return m;
  }
  send_status post(detail::mail_kind kind, std::string_view event, payload const& data, bool granted,
                   std::string_view key = {}) const noexcept {
    detail::mail* const m = make(kind, event, key);
    if (m == nullptr) return box_ ? send_status::dropped : send_status::closed;
    if (!detail::mail::carries(m, data, box_->from())) return send_status::dropped;
    m->granted = granted;
    return box_->post(m, kind != detail::mail_kind::verdict);
  }
  /// The own loop leaves out the channel, judges, and publishes to the nodes. The other loops are posted to right here: if
  /// the own loop did, whoever subscribes there in the meantime would get it.
  send_status cast(std::string_view event, payload const& data, bool from, std::string_view key) const noexcept {
    if (!box_ || !box_->enter()) return send_status::closed;
    send_status outcome = send_status::dropped;
    detail::mail* const m = make(detail::mail_kind::cast, event, key, topic_->text());
    if (m != nullptr && detail::mail::carries(m, data, box_->from())) {
      m->granted = from;
      m->numbers[0] = static_cast<std::int64_t>(box_->epoch.load(std::memory_order_relaxed));
      outcome = box_->post(m, true);
    }
    if (outcome == send_status::ok && data.valid() &&
        detail::loop_access::post_to_others(
            *box_.get(), {topic_->text(), event, detail::payload_access::lend(data), {}, key}) != errc::none)
      outcome = send_status::dropped;
    box_->leave();
    return outcome;
  }

  detail::mailbox_ref box_;
  detail::topic* topic_ = nullptr;  // shared with the loop, which may be done with it: only its text is read
  socket_id socket_;
  std::uint32_t number_ = 0;
};

/// An answer to be given later, from any thread, any number of times. It goes out as long as the *socket* lives, even if the
/// channel has left, crashed or been replaced meanwhile (protocol 6.3). One that the serializer cannot carry ends the
/// channel, if it still lives: whoever encodes it in Phoenix, which is the channel or a task linked to it, crashes (3.5).
class reply_to {
 public:
  reply_to() = default;
  /// Answers the message, from any thread. @return closed if the loop has gone.
  send_status operator()(phx::status s, payload const& response = {}) const noexcept {
    if (!box_) return send_status::closed;
    if (!text_.valid()) return send_status::dropped;  // there was no memory when it was taken
    std::string_view const all = text_.raw();
    detail::mail* const m = detail::mail::make(box_->from(), detail::mail_kind::reply, all.substr(0, topic_),
                                               all.substr(topic_, ref_), all.substr(topic_ + ref_));
    if (m == nullptr) return send_status::dropped;
    m->slot = socket_.slot;
    m->generation = socket_.generation;
    m->number = number_;
    m->status = s;
    if (!detail::mail::carries(m, response, box_->from())) return send_status::dropped;
    return box_->post(m, true);
  }
  /// Answers the message, from any thread. @return closed if the loop has gone.
  send_status operator()(payload const& response = {}) const noexcept { return (*this)(phx::status::ok, response); }
  /// False when the client sent a null ref: it will not know what this answers. (Phoenix's socket_ref raises there.)
  [[nodiscard]] bool has_ref() const noexcept {
    return ref_ != 0 && text_.valid() && text_.raw().substr(topic_, ref_) != "null";
  }

 private:
  friend class context;
  detail::mailbox_ref box_;
  socket_id socket_;
  std::uint32_t number_ = 0;
  payload text_;  // topic, ref and join_ref in one counted piece
  std::size_t topic_ = 0, ref_ = 0;
};

/// The address of a channel life that is over: what `terminate` pushes by its context, a channel that lives on another
/// thread pushes by this, when it learns of its end. Taken in `terminate` (context::after_end); a value, for any thread,
/// that may outlive socket and loop. The frames carry the join_ref of that life and follow its phx_close or phx_error. They
/// go out until the client joins the topic again or its connection ends; limits::mailbox bounds them as all mail, the socket
/// keeps nothing for them. To broadcast use endpoint::broadcast: that needs no channel.
class ended_channel {
 public:
  ended_channel() = default;
  /// To its client. One that the serializer cannot carry is dropped, and the observer is told.
  /// @return as channel_id's; `closed` too where no client hears it: the connection has ended, or the join was never
  /// answered ok.
  send_status push(std::string_view event, payload const& data) const noexcept {
    if (!box_) return send_status::closed;
    if (!text_.valid()) return send_status::dropped;  // there was no memory when it was taken
    std::string_view const all = text_.raw();
    detail::mail* const m =
        detail::mail::make(box_->from(), detail::mail_kind::last_push, all.substr(0, topic_), event, all.substr(topic_));
    if (m == nullptr) return send_status::dropped;
    m->slot = socket_.slot;
    m->generation = socket_.generation;
    if (!detail::mail::carries(m, data, box_->from())) return send_status::dropped;
    return box_->post(m, true);
  }

 private:
  friend class context;
  detail::mailbox_ref box_;
  socket_id socket_;
  payload text_;  // topic and join_ref in one counted piece
  std::size_t topic_ = 0;
};

/// What a handler answers (protocol 6.2).
class outcome {
 public:
  /// Nothing is answered now; reply_to may do so later.
  [[nodiscard]] static outcome noreply() noexcept { return {}; }
  /// `{"status":"ok","response":...}`. A message's own payload is relayed without a copy.
  [[nodiscard]] static outcome reply(payload const& response = {}) noexcept { return reply(phx::status::ok, response); }
  /// Answered with this status.
  [[nodiscard]] static outcome reply(phx::status s, payload const& response = {}) noexcept {
    outcome o;
    o.answers_ = true;
    o.status_ = s;
    o.keep(response);
    return o;
  }
  /// The channel ends: `phx_close` for normal and shutdown, else `phx_error`.
  [[nodiscard]] static outcome stop(exit_reason reason = exit_reason::normal) noexcept {
    outcome o;
    o.stops_ = true;
    o.reason_ = reason;
    return o;
  }
  /// The reply first, then the end.
  [[nodiscard]] static outcome stop(exit_reason reason, phx::status s, payload const& response = {}) noexcept {
    outcome o = reply(s, response);
    o.stops_ = true;
    o.reason_ = reason;
    return o;
  }

  outcome() = default;
  outcome(outcome const&) = delete;
  outcome& operator=(outcome const&) = delete;
  /// Moved only.
  outcome(outcome&&) = default;
  /// Moved only.
  outcome& operator=(outcome&&) = default;

  // For a Dispatcher that carries it out itself, because the channel lives on another thread.
  /// For a Dispatcher: is there an answer?
  [[nodiscard]] bool replies() const noexcept { return answers_; }
  /// For a Dispatcher: its status.
  [[nodiscard]] phx::status reply_status() const noexcept { return status_; }
  /// For a Dispatcher: its payload.
  [[nodiscard]] payload const& response() const noexcept { return response_; }
  /// For a Dispatcher: does the channel end?
  [[nodiscard]] bool stops() const noexcept { return stops_; }
  /// For a Dispatcher: why the channel ends.
  [[nodiscard]] exit_reason reason() const noexcept { return reason_; }

 private:
  friend class detail::connection;
  void keep(payload const& p) noexcept {
    // A borrowed payload is the message's in hand: it lives until this outcome has been carried out.
    // Two statements: of `a ? lend(p) : p` the type is a const payload, which can only be copied.
    if (detail::payload_access::borrowed(p))
      response_ = detail::payload_access::lend(p);
    else
      response_ = p;
  }
  bool answers_ = false, stops_ = false;
  phx::status status_ = phx::status::ok;
  exit_reason reason_ = exit_reason::normal;
  payload response_{};
};

/// What became of a push or broadcast. Looking at it (`if (!here.push(...))`, or error()) takes charge of a failure; a
/// failure nobody looked at ends the channel with phx_error, as the exception would in Phoenix (protocol 3.5).
class sent {
 public:
  /// Was it sent?
  [[nodiscard]] explicit operator bool() const noexcept { return error() == errc::none; }
  /// Why it was not.
  [[nodiscard]] errc error() const noexcept {
    if (ec_ != errc::none && *unhandled_ == ec_) *unhandled_ = errc::none;
    return ec_;
  }

 private:
  friend class context;
  sent(errc ec, errc& unhandled) noexcept : ec_(ec), unhandled_(&unhandled) {
    // Without memory a frame is dropped and nothing else suffers; that other nodes are away is no fault of the channel.
    if (ec_ != errc::none && ec_ != errc::no_memory && ec_ != errc::nodes_not_reached) unhandled = ec_;
  }
  errc ec_;
  errc* unhandled_;
};

/// For `join`: everything but pushing, so that nothing can overtake the join's reply (protocol 6.1).
class joining {
 public:
  joining(joining const&) = delete;
  joining& operator=(joining const&) = delete;

  /// The topic that is being joined.
  [[nodiscard]] std::string_view topic() const noexcept;
  /// The address of the channel to be.
  [[nodiscard]] channel_id id() const noexcept;
  /// Its connection.
  [[nodiscard]] socket_id socket() const noexcept;
  /// The time that the host gave.
  [[nodiscard]] time_point now() const noexcept;
  /// The loop that it runs in.
  [[nodiscard]] loop& event_loop() const noexcept;
  /// A message to the channel itself: handle_info gets it once the join has been answered ok.
  send_status send(std::string_view event, payload const& data = {}) noexcept;
  /// A message to itself after `delay`; it is dropped if the join is refused. As context::send_after.
  [[nodiscard]] send_status send_after(duration delay, std::string_view event, payload const& data = {}) noexcept;
  /// As context::subscribe: what is broadcast from now on comes once the join has been answered ok.
  [[nodiscard]] send_status subscribe(std::string_view topic) noexcept;

 private:
  friend class detail::connection;
  friend struct detail::watch_access;
  joining(detail::connection& connection, detail::channel_slot& channel) noexcept
      : connection_(connection), channel_(channel) {}
  detail::connection& connection_;
  detail::channel_slot& channel_;
};

/// For every other callback. Lives as long as the callback.
class context {
 public:
  context(context const&) = delete;
  context& operator=(context const&) = delete;

  // `key` says what a message is about, where a slow client is to get the latest only (pressure_policy::keep_latest): one
  // message waits for each topic, event and key.

  /// To this channel's client. In `terminate` of a connection that has ended, or of a join that was never answered ok, it
  /// goes nowhere.
  sent push(std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// To all subscribers of the topic in every loop of every node, this channel's client included. Encoded for all
  /// serializers of this loop's subscribers before anybody gets it: one that cannot carry it has its subscribers skipped,
  /// and if none can, it is an error and nobody gets it (limits::strict_encoding). errc::nodes_not_reached: this node's have
  /// it.
  sent broadcast(std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// To all but this channel: other channels of the same connection get it.
  sent broadcast_from(std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// To all subscribers of another topic.
  sent publish(std::string_view topic, std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// To all but this channel, should it have subscribed there.
  sent publish_from(std::string_view topic, std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// Ends every socket with this id in every loop of every node: close 1001 (protocol 8.1).
  sent disconnect(std::string_view id) noexcept { return {detail::loop_access::disconnect(loop_, id), unhandled_}; }
  /// A message to the channel itself: handle_info, after this callback.
  send_status send(std::string_view event, payload const& data = {}) noexcept;
  /// The same after `delay`; dropped when the channel ends before. A delay of max() is never.
  /// @return dropped beyond limits::channel_timers or limits::timers, or without memory. closed: the socket is gone, and the
  ///   channel with it.
  [[nodiscard]] send_status send_after(duration delay, std::string_view event, payload const& data = {}) noexcept;
  /// To hear another topic as well, until unsubscribe or the channel's end: what anybody broadcasts there, on any node,
  /// comes as handle_info with that `topic`, after this callback; its client gets what the channel pushes of it. Subscribed
  /// twice it comes twice (protocol 6.4). @return dropped beyond limits::subscriptions, or without memory.
  [[nodiscard]] send_status subscribe(std::string_view topic) noexcept;
  /// Whatever the channel has subscribed to `topic` so far. Its own topic it hears all the same.
  void unsubscribe(std::string_view topic) noexcept;
  /// The answer to the message in hand, for later. In handle_in only.
  [[nodiscard]] reply_to reply() const noexcept;
  /// For a channel that lives elsewhere: what it pushes after its end. In terminate only.
  [[nodiscard]] ended_channel after_end() const noexcept;

  /// The channel's topic.
  [[nodiscard]] std::string_view topic() const noexcept;
  /// The channel's address, for any thread.
  [[nodiscard]] channel_id id() const noexcept;
  /// Its connection.
  [[nodiscard]] socket_id socket() const noexcept;
  /// `joining` in `terminate` of a join that was still pending: its client was never told yes.
  [[nodiscard]] channel_state state() const noexcept;
  /// The time that the host gave.
  [[nodiscard]] time_point now() const noexcept;
  /// The loop that it runs in.
  [[nodiscard]] loop& event_loop() const noexcept { return loop_; }

 private:
  friend class detail::connection;
  friend struct detail::watch_access;
  context(loop& event_loop, detail::connection* connection, detail::channel_slot& channel, message const* in) noexcept
      : loop_(event_loop), connection_(connection), channel_(channel), in_(in) {}
  loop& loop_;
  detail::connection*
      connection_;  // null when the socket was destroyed, or may not be pushed to because the join was not answered ok
  detail::channel_slot& channel_;
  message const* in_;
  errc unhandled_ = errc::none;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

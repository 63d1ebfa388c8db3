#ifndef PHX_SOCKET_CONTEXT_HPP
#define PHX_SOCKET_CONTEXT_HPP
// What a channel works with: its address for other threads, its results, and the context of its callbacks.

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

/// The address of a channel, as a pid in Elixir: a value for any thread, which may outlive channel, socket and loop. What is
/// sent to a channel that has ended is dropped; what is broadcast is not. Every member returns `ok` if the message was taken,
/// `dropped` if limits::mailbox was reached, and `closed` if the loop has gone; exits and verdicts are always taken. Costs one
/// allocation and a few atomic operations.
class channel_id {
 public:
  /// The address of no channel: sending to it returns `closed`.
  channel_id() = default;
  /// Another address of the same channel. Copying increments two atomic counts; it allocates nothing.
  channel_id(channel_id const& other) noexcept
      : box_(other.box_), topic_(other.topic_), socket_(other.socket_), number_(other.number_) {
    if (topic_ != nullptr) topic_->add_ref();
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
    if (topic_ != nullptr) topic_->drop_ref(box_->from());
  }

  /// Pushes to the channel's client. A payload that the serializer cannot encode ends the channel with phx_error.
  send_status push(std::string_view event, payload const& data, std::string_view key = {}) const noexcept {
    using detail::push_mail;
    return post(make<push_mail>({{&push_mail::event, event}, {&push_mail::key, key}}), data, true);
  }
  /// Broadcasts to all who are subscribed to the channel's topic now, in every loop of every node, before what is posted
  /// later. As a broadcast by a Phoenix task, it goes out also while the join is pending, and after the channel has ended,
  /// while the loop exists. If no serializer of its loop's subscribers can encode it (with limits::strict_encoding: if one
  /// cannot), the channel ends with phx_error, if it is still joined.
  /// @return dropped: the mailbox of its own loop was full, and nobody gets it; or that of another loop was, and only the
  ///   subscribers there do not get it. If other nodes were not reached, the loop's observer is told.
  send_status broadcast(std::string_view event, payload const& data, std::string_view key = {}) const noexcept {
    return cast(event, data, false, key);
  }
  /// Broadcasts to all subscribers except the channel itself.
  send_status broadcast_from(std::string_view event, payload const& data, std::string_view key = {}) const noexcept {
    return cast(event, data, true, key);
  }
  /// Sends a message to the channel, whose handle_info gets it.
  send_status send(std::string_view event, payload const& data = {}) const noexcept {
    using detail::info_mail;
    return post(make<info_mail>({{&info_mail::event, event}}), data, true);
  }
  /// Accepts a pending join. Ignored if the join was decided or cancelled before.
  send_status joined(payload const& response = {}) const noexcept { return decide(true, response); }
  /// Refuses a pending join. Ignored if the join was decided or cancelled before.
  send_status refused(payload const& response = {}) const noexcept { return decide(false, response); }
  /// Ends the channel: with `phx_close` for a graceful reason, else with `phx_error` (protocol 6.6).
  send_status exit(exit_reason reason) const noexcept {
    auto* const m = make<detail::exit_mail>();
    if (m == nullptr) return box_ ? send_status::dropped : send_status::closed;
    m->reason = reason;
    return box_->post(m, false);
  }

  /// Its connection.
  [[nodiscard]] socket_id socket() const noexcept { return socket_; }
  /// Whether both are addresses of the same channel: of the same join, that is.
  [[nodiscard]] friend bool operator==(channel_id const& a, channel_id const& b) noexcept {
    return a.box_.get() == b.box_.get() && a.socket_ == b.socket_ && a.number_ == b.number_;
  }

 private:
  friend class context;
  friend class joining;
  friend struct detail::watch_access;
  channel_id(detail::mailbox_ref box, detail::topic& on, socket_id socket, std::uint32_t number) noexcept
      : box_(std::move(box)), topic_(&on), socket_(socket), number_(number) {
    topic_->add_ref();
  }

  /// A mail for this channel with copies of the texts; null without memory, or if there is no loop.
  template <class M, std::size_t N>
  [[nodiscard]] M* make(detail::mail_text<M> const (&texts)[N]) const noexcept {
    return addressed(box_ ? detail::mail::make<M>(box_->from(), texts) : nullptr);
  }
  template <class M>
  [[nodiscard]] M* make() const noexcept {
    return addressed(box_ ? detail::mail::make<M>(box_->from()) : nullptr);
  }
  template <class M>
  [[nodiscard]] M* addressed(M* m) const noexcept {
    if (m == nullptr) return nullptr;
    m->to = socket_;
    m->number = number_;
    return m;
  }
  /// Takes `m`, which may be null.
  send_status post(detail::mail* m, payload const& data, bool bounded) const noexcept {
    if (m == nullptr) return box_ ? send_status::dropped : send_status::closed;
    if (!detail::mail::set_payload(m, data, box_->from())) return send_status::dropped;
    return box_->post(m, bounded);
  }
  send_status decide(bool accepted, payload const& response) const noexcept {
    auto* const m = make<detail::verdict_mail>();
    if (m != nullptr) m->accepted = accepted;
    return post(m, response, false);
  }
  /// The channel's own loop leaves out the channel, checks the encoding, and publishes to the nodes. The other loops are posted
  /// to at once: if the own loop did it later, those who subscribe there in between would get the message.
  send_status cast(std::string_view event, payload const& data, bool except_sender, std::string_view key) const noexcept {
    using detail::cast_mail;
    if (!box_ || !box_->enter()) return send_status::closed;
    send_status outcome = send_status::dropped;
    auto* const m =
        make<cast_mail>({{&cast_mail::event, event}, {&cast_mail::key, key}, {&cast_mail::topic, topic_->text()}});
    if (m != nullptr && detail::mail::set_payload(m, data, box_->from())) {
      m->except_sender = except_sender;
      m->epoch = box_->epoch.load(std::memory_order_relaxed);
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
  detail::topic* topic_ = nullptr;  // shared with the loop, which may have removed it: only the text is read
  socket_id socket_;
  std::uint32_t number_ = 0;
};

/// A reply to be sent later, from any thread, any number of times. It goes out as long as the *socket* lives, even if the
/// channel has left, crashed or been replaced meanwhile (protocol 6.3). A response that the serializer cannot encode ends the
/// channel, if it still lives, because in Phoenix the process that encodes it crashes (3.5): the channel, or a task linked to
/// it. Costs one allocation when it is taken and one for each reply.
class reply_to {
 public:
  reply_to() = default;
  /// Sends the reply. @return closed if the loop has gone.
  send_status operator()(phx::status s, payload const& response = {}) const noexcept {
    if (!box_) return send_status::closed;
    if (!text_.valid()) return send_status::dropped;  // there was no memory when it was taken
    using detail::mail, detail::reply_mail;
    std::string_view const all = text_.raw();
    auto* const m = mail::make<reply_mail>(box_->from(), {{&reply_mail::topic, all.substr(0, topic_)},
                                                          {&reply_mail::ref, all.substr(topic_, ref_)},
                                                          {&reply_mail::join_ref, all.substr(topic_ + ref_)}});
    if (m == nullptr) return send_status::dropped;
    m->to = socket_;
    m->number = number_;
    m->status = s;
    if (!mail::set_payload(m, response, box_->from())) return send_status::dropped;
    return box_->post(m, true);
  }
  /// Sends the reply with the status ok. @return closed if the loop has gone.
  send_status operator()(payload const& response = {}) const noexcept { return (*this)(phx::status::ok, response); }
  /// False if the client sent a null ref: it cannot match the reply. (Phoenix's socket_ref raises an error then.)
  [[nodiscard]] bool has_ref() const noexcept {
    return ref_ != 0 && text_.valid() && text_.raw().substr(topic_, ref_) != "null";
  }

 private:
  friend class context;
  detail::mailbox_ref box_;
  socket_id socket_;
  std::uint32_t number_ = 0;
  payload text_;                     // topic, ref and join_ref, shared by copies
  std::size_t topic_ = 0, ref_ = 0;  // their sizes
};

/// The address of a channel that has ended. A channel pushes its last messages in `terminate` by its context; one that lives
/// on another thread pushes them by this address, which the Dispatcher takes in `terminate` (context::after_end). A value for
/// any thread, which may outlive socket and loop. The frames have the join_ref of the ended channel, and follow its phx_close
/// or phx_error. They are sent until the client joins the topic again or its connection ends; limits::mailbox limits them as
/// all mail. To broadcast use endpoint::broadcast, which needs no channel.
class ended_channel {
 public:
  ended_channel() = default;
  /// Pushes to the client. A payload that the serializer cannot encode is dropped, and the observer is told.
  /// @return as channel_id's; `closed` too if the connection had ended already, or the join was never answered ok.
  send_status push(std::string_view event, payload const& data) const noexcept {
    if (!box_) return send_status::closed;
    if (!text_.valid()) return send_status::dropped;  // there was no memory when it was taken
    using detail::last_push_mail, detail::mail;
    std::string_view const all = text_.raw();
    auto* const m = mail::make<last_push_mail>(box_->from(), {{&last_push_mail::topic, all.substr(0, topic_)},
                                                              {&last_push_mail::event, event},
                                                              {&last_push_mail::join_ref, all.substr(topic_)}});
    if (m == nullptr) return send_status::dropped;
    m->to = socket_;
    if (!mail::set_payload(m, data, box_->from())) return send_status::dropped;
    return box_->post(m, true);
  }

 private:
  friend class context;
  detail::mailbox_ref box_;
  socket_id socket_;
  payload text_;  // topic and join_ref, shared by copies
  std::size_t topic_ = 0;
};

/// The result of a handler (protocol 6.2). Cheap to move; a reply's payload is copied only if it is borrowed from elsewhere than
/// the message.
class outcome {
 public:
  /// No reply now; a reply_to may send one later.
  [[nodiscard]] static outcome noreply() noexcept { return {}; }
  /// Replies `{"status":"ok","response":...}`. The payload of the message itself is sent back without a copy.
  [[nodiscard]] static outcome reply(payload const& response = {}) noexcept { return reply(phx::status::ok, response); }
  /// Replies with this status.
  [[nodiscard]] static outcome reply(phx::status s, payload const& response = {}) noexcept {
    outcome o;
    o.answers_ = true;
    o.status_ = s;
    o.keep(response);
    return o;
  }
  /// Ends the channel: with `phx_close` for a graceful reason, such as normal, else with `phx_error`.
  [[nodiscard]] static outcome stop(exit_reason reason = exit_reason::normal) noexcept {
    outcome o;
    o.stops_ = true;
    o.reason_ = reason;
    return o;
  }
  /// Sends the reply, then ends the channel.
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

  // For a Dispatcher whose channels live on another thread, and which acts on the result itself.
  /// For a Dispatcher: whether there is a reply.
  [[nodiscard]] bool replies() const noexcept { return answers_; }
  /// For a Dispatcher: the status of the reply.
  [[nodiscard]] phx::status reply_status() const noexcept { return status_; }
  /// For a Dispatcher: the payload of the reply.
  [[nodiscard]] payload const& response() const noexcept { return response_; }
  /// For a Dispatcher: whether the channel ends.
  [[nodiscard]] bool stops() const noexcept { return stops_; }
  /// For a Dispatcher: why the channel ends.
  [[nodiscard]] exit_reason reason() const noexcept { return reason_; }

 private:
  friend class detail::connection;
  void keep(payload const& p) noexcept {
    // A borrowed payload is that of the message: it lives until the result has been acted on.
    // Not `a ? lend(p) : p`: that has the type of a const payload, which can only be copied.
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

/// The result of a push or broadcast. A channel that looks at it (`if (!ctx.push(...))`, or error()) handles the failure itself;
/// a failure that it does not look at ends the channel with phx_error, as the exception does in Phoenix (protocol 3.5).
class sent {
 public:
  /// Whether it was sent.
  [[nodiscard]] explicit operator bool() const noexcept { return error() == errc::none; }
  /// The reason why it was not sent; errc::none if it was.
  [[nodiscard]] errc error() const noexcept {
    if (ec_ != errc::none && *unhandled_ == ec_) *unhandled_ = errc::none;
    return ec_;
  }

 private:
  friend class context;
  sent(errc ec, errc& unhandled) noexcept : ec_(ec), unhandled_(&unhandled) {
    // Without memory only that frame is dropped; and that other nodes cannot be reached is no error of the channel.
    if (ec_ != errc::none && ec_ != errc::no_memory && ec_ != errc::nodes_not_reached) unhandled = ec_;
  }
  errc ec_;
  errc* unhandled_;
};

/// The context of `join`. It cannot push, so that nothing overtakes the reply to the join (protocol 6.1). It lives until join
/// returns; inside the loop.
class joining {
 public:
  joining(joining const&) = delete;
  joining& operator=(joining const&) = delete;

  /// The topic that is being joined.
  [[nodiscard]] std::string_view topic() const noexcept;
  /// The address of the channel, for any thread.
  [[nodiscard]] channel_id id() const noexcept;
  /// Its connection.
  [[nodiscard]] socket_id socket() const noexcept;
  /// The time that the host gave.
  [[nodiscard]] time_point now() const noexcept;
  /// The loop that it runs in.
  [[nodiscard]] loop& event_loop() const noexcept;
  /// Sends a message to the channel itself: its handle_info gets it once the join has been answered ok.
  send_status send(std::string_view event, payload const& data = {}) noexcept;
  /// Sends it after `delay`, as context::send_after. It is dropped if the join is refused.
  [[nodiscard]] send_status send_after(duration delay, std::string_view event, payload const& data = {}) noexcept;
  /// As context::subscribe. What is broadcast from now on arrives once the join has been answered ok.
  [[nodiscard]] send_status subscribe(std::string_view topic) noexcept;

 private:
  friend class detail::connection;
  friend struct detail::watch_access;
  joining(detail::connection& connection, detail::channel_slot& channel) noexcept
      : connection_(connection), channel_(channel) {}
  detail::connection& connection_;
  detail::channel_slot& channel_;
};

/// The context of every callback but join: what a channel may do. It lives until the callback returns; inside the loop. Sending
/// encodes at once, and costs no allocation for small messages once warm.
class context {
 public:
  context(context const&) = delete;
  context& operator=(context const&) = delete;

  // `key`: what a message is about, for slow clients that are to get only the latest one (pressure_policy::keep_latest): one
  // message is queued for each topic, event and key.

  /// Pushes to this channel's client. In `terminate` of a connection that has ended, or of a join that was never answered ok,
  /// it is not sent.
  sent push(std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// Broadcasts to all subscribers of the topic in every loop of every node, this channel's client included. It is encoded for
  /// all serializers of this loop's subscribers before anybody gets it: the subscribers of one that cannot encode it are
  /// skipped, and if none can, it is an error and nobody gets it (limits::strict_encoding). errc::nodes_not_reached: the
  /// subscribers of this node got it.
  sent broadcast(std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// Broadcasts to all subscribers except this channel. Other channels of the same connection get it.
  sent broadcast_from(std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// Broadcasts to all subscribers of another topic.
  sent publish(std::string_view topic, std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// Broadcasts to all subscribers of another topic except this channel.
  sent publish_from(std::string_view topic, std::string_view event, payload const& data, std::string_view key = {}) noexcept;
  /// Closes every socket with this id in every loop of every node with 1001 (protocol 8.1).
  sent disconnect(std::string_view id) noexcept { return {detail::loop_access::disconnect(loop_, id), unhandled_}; }
  /// Sends a message to the channel itself: its handle_info gets it after this callback.
  send_status send(std::string_view event, payload const& data = {}) noexcept;
  /// Sends it after `delay`, if the channel has not ended by then. A delay of max() is never over.
  /// @return dropped: limits::channel_timers or limits::timers was reached, or there is no memory. closed: the socket has gone,
  ///   and the channel with it.
  [[nodiscard]] send_status send_after(duration delay, std::string_view event, payload const& data = {}) noexcept;
  /// Subscribes to another topic, until unsubscribe or the channel's end: what is broadcast there, on any node, arrives as
  /// handle_info with that `topic`, after this callback. It is not sent to the client: the channel may push it. With two
  /// subscriptions it arrives twice (protocol 6.4). @return dropped: limits::subscriptions was reached, or there is no memory.
  [[nodiscard]] send_status subscribe(std::string_view topic) noexcept;
  /// Ends all subscriptions of the channel to `topic`. It still receives the broadcasts on its own topic.
  void unsubscribe(std::string_view topic) noexcept;
  /// A reply to the current message, to be sent later. In handle_in only.
  [[nodiscard]] reply_to reply() const noexcept;
  /// For a channel that lives on another thread: the address to push to after its end. In terminate only.
  [[nodiscard]] ended_channel after_end() const noexcept;

  /// The channel's topic.
  [[nodiscard]] std::string_view topic() const noexcept;
  /// The channel's address, for any thread.
  [[nodiscard]] channel_id id() const noexcept;
  /// Its connection.
  [[nodiscard]] socket_id socket() const noexcept;
  /// `joining` in `terminate` of a join that was still pending, and so was never answered ok.
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
  detail::connection* connection_;  // null: the socket has gone, or must not be pushed to, as the join was not answered ok
  detail::channel_slot& channel_;
  message const* in_;
  errc unhandled_ = errc::none;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

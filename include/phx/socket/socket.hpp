#ifndef PHX_SOCKET_SOCKET_HPP
#define PHX_SOCKET_SOCKET_HPP
// One client: what the host feeds bytes into, and what speaks through the host's Transport.

#include <phx/socket/detail/channel_callback.hpp>
#include <phx/socket/detail/channel_end.hpp>
#include <phx/socket/detail/context_impl.hpp>
#include <phx/socket/detail/join.hpp>
#include <phx/connect/handshake.hpp>
#include <phx/socket/transport.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// How the other end left.
enum class lost : std::uint8_t {
  normal,  ///< a close handshake, or a close the host began (1002, 1009): channels end with {shutdown, closed}
  error,   ///< it just went away: the same, `detail()` says "lost"
};

namespace detail {

/// The table of a Dispatcher.
template <class D>
struct dispatch_of {
  using channel = typename D::channel_type;
  using session = typename D::session_type;
  static_assert(connects<D>, "your dispatcher needs: connect_outcome<session_type> connect(connect_info const&)");
  static_assert(matches_topics<D>, "your dispatcher needs: bool matches(std::string_view topic) noexcept");
  static_assert(joins<D>, "your dispatcher needs: join_outcome<channel_type> join(session_type&, joining&, message const&)");
  static_assert(handles_in<D>, "your dispatcher needs: outcome handle_in(channel_type&, context&, message const&)");
  static_assert(terminates_channels<D>,
                "your dispatcher needs: void terminate(channel_type&, context&, exit_reason) noexcept");
  static_assert(intercepts_events<D> || !names_intercepts<D>,
                "intercepts must be: std::span<std::string_view const> intercepts(channel_type const&) noexcept");
  static_assert(handles_out<D> || !names_handle_out<D>,
                "handle_out must be: outcome handle_out(channel_type&, context&, broadcast const&)");
  static_assert(handles_info<D> || !names_handle_info<D>,
                "handle_info must be: outcome handle_info(channel_type&, context&, message const&)");
  static_assert(chooses_pressure<D> || !names_choice_when_slow<D>,
                "when_slow must be: std::optional<pressure_policy> when_slow(channel_type const&) noexcept");
  static_assert(alignof(channel) <= alignof(std::max_align_t), "your channel_type is over-aligned");

  static D& the(void* d) noexcept { return *static_cast<D*>(d); }
  static channel& ch(void* c) noexcept { return *static_cast<channel*>(c); }

  static dispatch_table::verdict join(void* d, void* me, void* place, joining& j, message const& in) {
    join_outcome<channel> result = the(d).join(*static_cast<session*>(me), j, in);
    dispatch_table::verdict v;
    if (auto* const yes = std::get_if<accepted<channel>>(&result)) {
      new (place) channel(std::move(yes->channel));
      v.constructed = true;
      v.kind = dispatch_table::verdict::accepted;
      if (yes->response) v.response = std::move(*yes->response);
    } else if (auto* const later = std::get_if<pending<channel>>(&result)) {
      new (place) channel(std::move(later->channel));
      v.constructed = true;
      v.kind = dispatch_table::verdict::pending;
      v.deadline = later->deadline;
    } else if (auto* const no = std::get_if<refused>(&result)) {
      v.kind = dispatch_table::verdict::refused;
      v.response = std::move(no->response);
    } else if (auto* const reported = std::get_if<refused_channel<channel>>(&result)) {
      new (place) channel(std::move(reported->channel));
      v.constructed = true;
      v.kind = dispatch_table::verdict::refused;
      v.response = std::move(reported->response);
    } else if (auto const* const fell = std::get_if<crashed>(&result)) {
      v.reason = fell->reason;
    }
    return v;
  }
  static outcome handle_out(void* d, void* c, context& ctx, broadcast const& b) {
    if constexpr (handles_out<D>)
      return the(d).handle_out(ch(c), ctx, b);
    else
      return (void)d, (void)c, (void)ctx, (void)b, outcome::noreply();
  }
  static outcome handle_info(void* d, void* c, context& ctx, message const& in) {
    if constexpr (handles_info<D>)
      return the(d).handle_info(ch(c), ctx, in);
    else
      return (void)d, (void)c, (void)ctx, (void)in, outcome::noreply();
  }
  static std::span<std::string_view const> intercepts(void* d, void const* c) noexcept {
    if constexpr (intercepts_events<D>)
      return the(d).intercepts(*static_cast<channel const*>(c));
    else
      return (void)d, (void)c, std::span<std::string_view const>{};
  }
  static std::optional<pressure_policy> when_slow(void* d, void const* c) noexcept {
    if constexpr (chooses_pressure<D>)
      return the(d).when_slow(*static_cast<channel const*>(c));
    else
      return (void)d, (void)c, std::nullopt;
  }

  static constexpr dispatch_table table{
      sizeof(channel),
      [](void* d, std::string_view topic) noexcept { return the(d).matches(topic); },
      &join,
      [](void* d, void* c, context& ctx, message const& in) { return the(d).handle_in(ch(c), ctx, in); },
      &handle_out,
      &handle_info,
      [](void* d, void* c, context& ctx, exit_reason reason) noexcept { the(d).terminate(ch(c), ctx, reason); },
      &intercepts,
      &when_slow,
      [](void* c) noexcept { ch(c).~channel(); }};
};

}  // namespace detail

/// One client. Neither copied nor moved: a host's connection holds it by value, and the Transport in it points back there.
///
/// Order: construct it with the admission that `handshake` returned; call `receive` for each part of a message, `writable`
/// when the transport has written; `gone` when the other end has left. After one of them returned false touch nothing.
/// Thread: inside its loop only, one caller at a time. It owns the Transport, the session and its channels; loop, dispatcher
/// and mount outlive it. Cost: no allocation for echo and broadcast once warm; 200 bytes at most beside Transport and session.
template <class T, class D>
class socket final : detail::connection {
  static_assert(FrameSink<T>, "your transport needs: phx::send_status send(phx::frame const&) noexcept");
  static_assert(closes<T>, "your transport needs: void close(phx::close_frame) noexcept");
  static_assert(counts_buffered<T>, "your transport needs: std::size_t buffered() const noexcept");
  static_assert(flushes<T> || !names_flush<T>, "flush must be: void flush() noexcept");
  static_assert(std::move_constructible<T>, "your transport must be movable: a small handle, not the connection");

 public:
  /// What `connect` makes of a client.
  using session_type = typename D::session_type;

  /// @pre `admitted.session` is filled in: by `handshake`, or by a host that called `admit`.
  /// @param dispatcher shared by all sockets; outlives them and the loop. The mount that admitted it outlives the socket.
  /// Without memory, and while the loop drains, the socket is born closing: the next receive or run closes it.
  socket(loop& event_loop, D& dispatcher, admission<session_type> admitted, T transport, time_point now) noexcept
      : connection(event_loop, &dispatcher, detail::dispatch_of<D>::table, &session_, *admitted.bounds, now),
        transport_(std::move(transport)),
        session_(std::move(admitted.session).value()) {  // checked: else GCC 12 at -O2 sees it read unset
    open(admitted.serializer, admitted.id ? std::string_view(*admitted.id) : std::string_view{}, now);
  }
  /// gone(lost::error), if nobody said it before.
  ~socket() { gone(lost::error); }

  /// One part of a message; `last` completes it. A part may be a WebSocket frame, half of one, or empty: a host need not
  /// hold a frame. Pings and pongs are signs of life: the host answers them, bounded, and passes them here. A close frame is
  /// `gone`.
  /// @param op the message's, the same with each of its parts.
  /// @param part borrowed until return. Text need not have been checked to be UTF-8.
  /// @param now must not go backwards on one loop.
  /// @return false if phx closed this socket: Transport::close has been called, *this may be destroyed, touch nothing.
  /// @par Errors: none; a malformed message closes with 1011, text that is not UTF-8 with 1007, more than limits::frame
  ///   bytes with 1009 (protocol 3.6). @par Cost: echo and broadcast allocate nothing once warm.
  [[nodiscard]] bool receive(opcode op, std::string_view part, bool last, time_point now) noexcept {
    return connection::receive(op, part, last, now);
  }
  /// The transport has written what waited in it, or half of that: a slow client, whose policy is to drop, gets what was
  /// held back for it. Of one that is not slow this costs a test. A host that never says it has its slow clients looked
  /// after by `run`, ten times a second. As with receive, not from inside the Transport.
  /// @return as receive.
  [[nodiscard]] bool writable(time_point now) noexcept { return connection::writable(now); }
  /// The other end has left: its channels end. The Transport is not called any more.
  void gone(lost how_lost) noexcept {
    connection::gone(how_lost == lost::normal ? exit_reason(exit_reason::closed) : exit_reason(exit_reason::closed, "lost"));
  }
  /// The host wants it closed: its channels end with {shutdown, closed}, then Transport::close is called, by the next
  /// receive or run, or before this callback's outermost call returns.
  void disconnect(close_frame frame = {close_code::going_away, "disconnect"}) noexcept {
    begin_close(frame, exit_reason::closed);
    if (!detail::loop_access::busy(event_loop())) detail::loop_access::request_wake(event_loop());
  }

  /// Its place in its loop, for logs and for late work.
  [[nodiscard]] socket_id name() const noexcept { return this->id; }
  /// Messages that this client did not get: dropped by limits::pressure or by the transport, or replaced by later ones.
  [[nodiscard]] std::uint32_t dropped() const noexcept { return dropped_; }
  /// Whether a policy that drops holds messages back for it.
  [[nodiscard]] bool slow() const noexcept { return outbound_queue_ != nullptr; }
  /// What `connect` made of this client.
  [[nodiscard]] session_type& session() noexcept { return session_; }
  /// What `connect` made of this client.
  [[nodiscard]] session_type const& session() const noexcept { return session_; }
  /// Whether phx has begun to close it: what is received is ignored, and the next receive or run calls Transport::close.
  [[nodiscard]] bool closing() const noexcept { return connection::closing; }
  /// The loop it was made in.
  [[nodiscard]] loop& event_loop() const noexcept { return connection::event_loop(); }
  /// Was a message for no channel, or a join refused, since the last call? A long-poll of Phoenix 0.10 is answered 401 then.
  [[nodiscard]] bool turned_away() noexcept { return connection::turned_away(); }
  /// Yours, as it was handed in.
  [[nodiscard]] T& transport() noexcept { return transport_; }

 private:
  void deliver(detail::delivery const& d) noexcept override {
    if (connection::closing) return;
    if (outbound_queue_ != nullptr) return enqueue(d);
    send_status const answer = transport_.send(d.bytes);
    count_sent(d.bytes.data().size());
    if constexpr (flushes<T>) mark_dirty();
    std::size_t const waiting = transport_.buffered();
    if (answer != send_status::ok || waiting > pressure_above_) on_pressure(answer, d, waiting);
  }
  void flush() noexcept override {
    if (detached_) return;
    if (outbound_queue_ != nullptr) return write_queued();
    if constexpr (flushes<T>) transport_.flush();
  }
  send_status write_frame(frame const& f) noexcept override { return transport_.send(f); }
  std::size_t buffered() const noexcept override { return transport_.buffered(); }
  void flush_transport() noexcept override {
    if constexpr (flushes<T>) transport_.flush();
  }
  void close_transport(close_frame frame) noexcept override {
    if constexpr (flushes<T>) transport_.flush();
    transport_.close(frame);
  }

  T transport_;
  session_type session_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

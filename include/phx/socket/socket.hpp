#ifndef PHX_SOCKET_SOCKET_HPP
#define PHX_SOCKET_SOCKET_HPP
// One client: the host passes it what was received, and it sends by the host's Transport.

#include <phx/socket/detail/channel_callback.hpp>
#include <phx/socket/detail/channel_end.hpp>
#include <phx/socket/detail/context_impl.hpp>
#include <phx/socket/detail/dispatch.hpp>
#include <phx/socket/detail/inbound.hpp>
#include <phx/socket/detail/join.hpp>
#include <phx/connect/handshake.hpp>
#include <phx/socket/transport.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// How a connection ended.
enum class lost : std::uint8_t {
  normal,  ///< by a close handshake, or a close by the host (1002, 1009): its channels end with {shutdown, closed}
  error,   ///< without one: the same, with "lost" as exit_reason::detail
};

/// One client. Neither copied nor moved: the host's connection holds it by value, and the Transport in it refers to the
/// connection.
///
/// Order: construct it with the admission that `handshake` returned; call `receive` for each part of a message, `writable` when
/// the transport has written, and `gone` when the connection has ended. Do not use it after one of them has returned false.
/// Thread: inside its loop only, one caller at a time. It owns the Transport, the session and its channels; loop, dispatcher
/// and mount outlive it. Cost: no allocation for echo and broadcast once warm; at most 200 bytes plus Transport and session.
template <class T, class D>
class socket final : detail::connection {
  static_assert(FrameSink<T>, "your transport needs: phx::send_status send(phx::frame const&) noexcept");
  static_assert(closes<T>, "your transport needs: void close(phx::close_frame) noexcept");
  static_assert(counts_buffered<T>, "your transport needs: std::size_t buffered() const noexcept");
  static_assert(flushes<T> || !names_flush<T>, "flush must be: void flush() noexcept");
  static_assert(pauses_reading<T> || !names_pause_reading<T>,
                "pause_reading must be: void pause_reading(bool paused) noexcept");
  static_assert(std::move_constructible<T>, "your transport must be movable: a small handle, not the connection");

 public:
  /// What `connect` makes of a client.
  using session_type = typename D::session_type;

  /// Adds the client to its loop. Without memory, and while the loop drains, it begins to close: the next receive or run calls
  /// Transport::close.
  /// @pre `admitted.session` has a value: set by `handshake`, or by a host that called `admit`.
  /// @param dispatcher shared by all sockets; outlives them and the loop
  /// @param admitted its mount outlives the socket
  socket(loop& event_loop, D& dispatcher, admission<session_type> admitted, T transport, time_point now) noexcept
      : connection(event_loop, &dispatcher, detail::dispatch_of<D>::table, &session_, *admitted.bounds, now),
        transport_(std::move(transport)),
        session_(std::move(admitted.session).value()) {  // checked: else GCC 12 at -O2 sees it read unset
    open(admitted.serializer, admitted.id ? std::string_view(*admitted.id) : std::string_view{}, admitted.linger, now);
  }
  /// Calls gone(lost::error), if the host has not called gone.
  ~socket() { gone(lost::error); }

  /// Takes one part of a message; `last` completes it. A part may be a WebSocket frame, a piece of one, or empty: the host need
  /// not collect frames. The host answers pings, within limits, and passes pings and pongs here, which keep the connection from
  /// being idle. For a close frame it calls `gone`.
  /// @param op of the message, the same for each of its parts
  /// @param part used until the call returns. Text need not be valid UTF-8.
  /// @param now must not go backwards on one loop
  /// @return false: phx closed this socket. Transport::close has been called, and *this may have been destroyed: do not use it.
  /// @par Errors: none; a malformed message closes with 1011, text that is not UTF-8 with 1007, a message of more than
  ///   limits::frame bytes with 1009 (protocol 3.6). @par Cost: echo and broadcast allocate nothing once warm.
  [[nodiscard]] bool receive(opcode op, std::string_view part, bool last, time_point now) noexcept {
    return connection::receive(op, part, last, now);
  }
  /// Tells phx that the transport has written what it held, or half of it: a slow client then gets the messages that were queued
  /// for it (pressure_policy). For other clients it costs one test. If a host never calls it, `run` writes to slow clients ten
  /// times a second. As receive, it must not be called from inside the Transport.
  /// @return as receive.
  [[nodiscard]] bool writable(time_point now) noexcept { return connection::writable(now); }
  /// Tells phx that the connection has ended: its channels end, and the Transport is not called any more.
  void gone(lost how_lost) noexcept {
    connection::gone(how_lost == lost::normal ? exit_reason(exit_reason::closed) : exit_reason(exit_reason::closed, "lost"));
  }
  /// Closes the connection: its channels end with {shutdown, closed}, then Transport::close is called. Inside a callback this
  /// happens before the outermost call returns, else in the next receive or run. Besides the host, a socket is closed by a
  /// `disconnect` on its id (context::disconnect, endpoint::disconnect), by a drain, and by phx itself (close_code).
  void disconnect(close_frame frame = {close_code::going_away, "disconnect"}) noexcept {
    begin_close(frame, exit_reason::closed);
    if (!detail::loop_access::busy(event_loop())) detail::loop_access::request_wake(event_loop());
  }

  /// Identifies it in its loop, for logs and for work that may outlive it.
  [[nodiscard]] socket_id name() const noexcept { return this->id; }
  /// Messages that this client missed: dropped by its pressure policy or the transport, or replaced by later ones.
  [[nodiscard]] std::uint32_t dropped() const noexcept { return dropped_; }
  /// Whether messages are queued for it, because it reads too slowly (pressure_policy).
  [[nodiscard]] bool slow() const noexcept { return outbound_queue_ != nullptr; }
  /// What `connect` made of this client.
  [[nodiscard]] session_type& session() noexcept { return session_; }
  /// What `connect` made of this client.
  [[nodiscard]] session_type const& session() const noexcept { return session_; }
  /// Whether phx has begun to close it: what is received is ignored, and the next receive or run calls Transport::close.
  [[nodiscard]] bool closing() const noexcept { return connection::closing; }
  /// The loop it was made in.
  [[nodiscard]] loop& event_loop() const noexcept { return connection::event_loop(); }
  /// Whether a message matched no channel, or a join was refused, since the last call. A long-poll of Phoenix 0.10 is then
  /// answered with 401.
  [[nodiscard]] bool turned_away() noexcept { return connection::turned_away(); }
  /// The Transport given to the constructor.
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
  bool pause_reading(bool paused) noexcept override {
    if constexpr (pauses_reading<T>)
      return transport_.pause_reading(paused), true;
    else
      return (void)paused, false;
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

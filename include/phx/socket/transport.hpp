#ifndef PHX_SOCKET_TRANSPORT_HPP
#define PHX_SOCKET_TRANSPORT_HPP
// The Transport: how a socket writes to the connection of a host.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Takes encoded messages for one client.
/// send: queues or copies `f`, in order, and never blocks. A WebSocket host writes f.websocket(), or passes f.data() and f.op() to
///   its own framing. A transport that keeps `f` copies the handle, not the bytes.
///   Returns ok or congested: it was taken; phx then compares buffered() with limits::outbound. dropped: it was not taken, for
///   example because the transport's queue found no memory; it must not throw. closed: the connection has ended.
/// send, flush and buffered must not call phx, nor destroy the socket: if a write fails, the host remembers it and calls `gone`
/// after the outermost receive or run has returned.
// clang-format off
template <class T>
concept FrameSink = requires(T& t, frame const& f) {
  { t.send(f) } noexcept -> std::same_as<send_status>;
};
template <class T>
concept closes = requires(T& t, close_frame reason) {
  { t.close(reason) } noexcept;
};
template <class T>
concept counts_buffered = requires(T const& t) {
  { t.buffered() } noexcept -> std::convertible_to<std::size_t>;
};
template <class T>
concept flushes = requires(T& t) {
  { t.flush() } noexcept;
};
template <class T>
concept names_flush = requires { &T::flush; };
template <class T>
concept pauses_reading = requires(T& t, bool paused) {
  { t.pause_reading(paused) } noexcept;
};
template <class T>
concept names_pause_reading = requires { &T::pause_reading; };
// clang-format on

/// A small handle of the host's connection, such as a reference; not the connection itself. Inside the loop.
/// close: called at most once, as the last act of an outermost receive, run or gone; it may destroy the socket. No member of the
///   Transport is called after it, after `gone`, nor in ~socket.
/// buffered: the bytes that were taken and not yet passed to the kernel.
/// flush() noexcept, optional: writes what `send` queued. Called once for each socket that was sent to, when the outermost
///   receive, run or turn ends, and before close: one write per connection and turn. With mount::linger it is called later. A
///   Transport without it writes in `send`.
/// pause_reading(bool paused) noexcept, optional, for flood_policy::pause: true: read nothing more from the connection, once
///   `receive` has returned; false: read again. What was read before may still be passed to `receive`. Called inside receive and
///   run; it must not call phx. After `close` it is not called again.
template <class T>
concept Transport = std::move_constructible<T> && FrameSink<T> && closes<T> && counts_buffered<T>;

}  // namespace PHX_BUILD
}  // namespace phx

#endif

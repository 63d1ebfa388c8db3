#ifndef PHX_SOCKET_TRANSPORT_HPP
#define PHX_SOCKET_TRANSPORT_HPP
// What phx asks of a host's connection.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Somewhere to put whole encoded messages for one client.
/// send: queues or copies `f`, keeps order, never blocks. A WebSocket host writes f.websocket(), or hands f.data() and
/// f.op()
///   to its own framing. A transport that keeps `f` copies the handle.
///   `ok`, or `congested`: taken; phx then compares buffered() with limits::outbound. `dropped`: not taken; out of memory in
///   your queue is this, never a throw. `closed`: the peer is gone.
/// Neither send nor flush nor buffered calls phx or destroys the socket: a write that fails is remembered, and `gone` said
/// once the outermost receive or run has returned.
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
// clang-format on

/// A small handle (a reference to the connection will do), not the connection.
/// close: at most once, as the last act of an outermost receive, run or gone; it may destroy the socket. After it, after
///   `gone` and in ~socket no member of the Transport is called.
/// buffered: bytes taken and not yet handed to the kernel.
/// flush() noexcept, optional: write what `send` queued. Called once for each socket that was sent to, as the outermost
///   receive, run or turn ends, and before close: one write per connection and turn of the loop.
template <class T>
concept Transport = std::move_constructible<T> && FrameSink<T> && closes<T> && counts_buffered<T>;

}  // namespace PHX_BUILD
}  // namespace phx

#endif

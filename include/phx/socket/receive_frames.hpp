#ifndef PHX_SOCKET_RECEIVE_FRAMES_HPP
#define PHX_SOCKET_RECEIVE_FRAMES_HPP
// For hosts that read WebSocket connections themselves: passes what recv() returned to phx::socket, in one call.

#include <phx/socket/socket.hpp>
#include <phx/websocket/compression.hpp>
#include <phx/websocket/frame_reader.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The state of a connection after receive_frames.
enum class frames_result : std::uint8_t {
  open,              ///< receive more
  closed_by_phx,     ///< Transport::close was called, and the socket may have been destroyed: do not use it
  closed_by_client,  ///< the client closed, or violated the protocol: `gone` was called, and the last control frame is a close.
                     ///< End the connection once that has been written
};

/// Reads all frames in `bytes` and passes them to `client`, in order. Pings are answered. They keep the connection from being
/// idle, as does a part of a header: Phoenix's idle timeout counts bytes (protocol 11).
///
///     auto const turn = loop.turn();        // one flush, however many messages came
///     switch (phx::receive_frames(socket, reader, bytes, now, [&](auto const& frame) { out.append(frame.bytes()); })) ...
///
/// @param client an open socket @param reader this connection's @param bytes what was received, not empty; unmasked in place
/// @param write called with each websocket::control_frame to send, after what the transport already holds. It must not throw nor
///   call phx. Limit what it queues: a client may send pings and read nothing.
/// @param codec of a connection that agreed on permessage-deflate (websocket/compression.hpp); null for others
/// As socket::receive: inside the loop, @pre no callback is running. @par Errors: none. @par Cost: allocates nothing itself.
template <class T, class D, class Write>
[[nodiscard]] frames_result receive_frames(socket<T, D>& client, websocket::frame_reader& reader, std::span<char> bytes,
                                           time_point now, Write&& write,
                                           websocket::message_codec* codec = nullptr) noexcept {
  auto const end = [&](std::uint16_t code) {
    client.gone(lost::normal);
    write(websocket::control_frame::close(code));
    return frames_result::closed_by_client;
  };
  for (bool any = false;; any = true) {
    websocket::frame_event const event = reader.next(bytes);
    switch (event.kind) {
      case websocket::event_kind::need_more:
        if (any) return frames_result::open;
        return client.receive(opcode::pong, {}, true, now) ? frames_result::open : frames_result::closed_by_phx;
      case websocket::event_kind::ping: write(websocket::control_frame::pong(event.part)); [[fallthrough]];
      case websocket::event_kind::pong:
      case websocket::event_kind::data:
        if (event.compressed && codec != nullptr) {
          auto const [open, code] = websocket::deliver_inflated(
              *codec, event.part, event.last,
              [&](std::string_view part, bool last) noexcept { return client.receive(event.op, part, last, now); });
          if (!open) return frames_result::closed_by_phx;
          if (code != 0) return end(code);
          break;
        }
        if (!client.receive(event.op, event.part, event.last, now)) return frames_result::closed_by_phx;
        break;
      case websocket::event_kind::close:
      case websocket::event_kind::error: return end(event.code);
    }
  }
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

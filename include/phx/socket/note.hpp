#ifndef PHX_SOCKET_NOTE_HPP
#define PHX_SOCKET_NOTE_HPP
// How a host tells the loop's observer of a request that was refused before there was a socket.

#include <phx/loop/loop.hpp>
#include <phx/connect/handshake.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Tells the loop's observer of a refusal: `event` is the reason code's name, `text` the detail, `code` the HTTP status.
/// Inside the loop.
inline void note(loop& to, refused_request const& no) noexcept {
  detail::loop_access::observer(to)(
      {.kind = event_code::connect_refused, .event = to_string(no.reason), .text = no.detail, .code = no.answer.status});
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

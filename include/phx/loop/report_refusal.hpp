#ifndef PHX_LOOP_REPORT_REFUSAL_HPP
#define PHX_LOOP_REPORT_REFUSAL_HPP
// How a host tells the observer of a loop that a request was refused: before there is a socket nobody else can.

#include <phx/connect/handshake.hpp>
#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Tells the loop's observer of a refusal: `event` is the reason code's name, `text` the detail. Inside the loop; for hosts.
inline void report_refusal(loop& event_loop, refused_request const& no) noexcept {
  detail::loop_access::observer(event_loop)(
      {.kind = event_code::connect_refused, .event = to_string(no.reason), .text = no.detail, .code = no.answer.status});
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

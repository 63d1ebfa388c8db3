#ifndef PHX_LOOP_REPORT_REFUSAL_HPP
#define PHX_LOOP_REPORT_REFUSAL_HPP
// Telemetry for requests that a host refuses. Before there is a socket, phx cannot report them itself.

#include <phx/connect/handshake.hpp>
#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Sends event_code::connect_refused to the loop's observer: `event` is the name of the reason, `text` the detail. For hosts,
/// inside the loop.
inline void report_refusal(loop& event_loop, refused_request const& no) noexcept {
  detail::loop_access::observer(event_loop)(
      {.kind = event_code::connect_refused, .event = to_string(no.reason), .text = no.detail, .code = no.answer.status});
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

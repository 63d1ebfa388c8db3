#ifndef PHX_CORE_CLOSE_HPP
#define PHX_CORE_CLOSE_HPP
// The opcodes of RFC 6455 and the close codes that phx sends (protocol 12).

#include <phx/core/error.hpp>
#include <phx/core/time.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The opcodes of RFC 6455, section 5.2. A host passes text, binary, ping and pong to socket::receive. It reports a close by
/// socket::gone, and it joins the fragments of a message first, so that a socket never sees a continuation.
enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// The codes that phx closes with. It never starts a close with 1000: phoenix.js 1.7 and later do not reconnect after that.
enum class close_code : std::uint16_t {
  going_away = 1001,      ///< a `disconnect`, or nothing was received for limits::idle
  protocol_error = 1002,  ///< a frame that breaks RFC 6455; sent by the host, which then calls socket::gone
  invalid_text = 1007,    ///< a text message that is not UTF-8
  policy = 1008,          ///< more bytes wait for the client than limits::outbound
  too_large = 1009,       ///< a message longer than limits::frame
  internal = 1011,        ///< a malformed message, or out of memory
  restart = 1012,         ///< the server is draining
};

/// The content of a close frame.
struct close_frame {
  /// The status code.
  close_code code = close_code::internal;
  std::string_view reason{};  ///< static text, at most 123 bytes
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

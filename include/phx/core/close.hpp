#ifndef PHX_CORE_CLOSE_HPP
#define PHX_CORE_CLOSE_HPP
// The words of RFC 6455 that phx speaks: kinds of message, and why a connection closes (protocol 12).

#include <phx/core/error.hpp>
#include <phx/core/time.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// RFC 6455, section 5.2. A socket is given text, binary, ping and pong; a close is socket::gone, and a continuation has the
/// opcode of its message.
enum class opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// Codes phx closes with. It never begins a close with 1000: phoenix.js from 1.7 on takes that as final.
enum class close_code : std::uint16_t {
  going_away = 1001,      ///< a `disconnect`, or nothing was received for limits::idle
  protocol_error = 1002,  ///< for hosts: a broken frame (the socket is told by `gone`)
  invalid_text = 1007,
  policy = 1008,  ///< more bytes waiting than limits::outbound
  too_large = 1009,
  internal = 1011,  ///< a malformed message, no memory
  restart = 1012,   ///< drained
};

/// Why a connection is closed, for its close frame.
struct close_frame {
  /// RFC 6455's status code.
  close_code code = close_code::internal;
  std::string_view reason{};  ///< static text, at most 123 bytes
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

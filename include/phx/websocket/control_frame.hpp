#ifndef PHX_WEBSOCKET_CONTROL_FRAME_HPP
#define PHX_WEBSOCKET_CONTROL_FRAME_HPP
// The control frames that a server sends (RFC 6455, section 5.5) and the codes of a close (section 7.4). No I/O, no
// allocation.

#include <phx/core/close.hpp>
#include <phx/core/text/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace websocket {

/// The most payload bytes of a control frame (section 5.5); in a close the first two are the code.
inline constexpr std::size_t max_control_payload = 125;

/// A normal closure. phx never starts a close with this code (see phx::close_code), but answers with it.
inline constexpr std::uint16_t normal_closure = 1000;

/// True if a client may send this code (section 7.4): not 1004 to 1006, nor unassigned or reserved codes. 1012 to 1014 were
/// registered later; like Phoenix's servers, phx does not accept them from a client.
[[nodiscard]] constexpr bool client_may_send(std::uint16_t code) noexcept {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1011) || code >= 3000;
}

/// The name of a close code (section 7.4.1 and IANA's registry), for logs; empty for application codes.
[[nodiscard]] constexpr std::string_view close_code_name(std::uint16_t code) noexcept {
  switch (code) {
    case 1000: return "normal closure";
    case 1001: return "going away";
    case 1002: return "protocol error";
    case 1003: return "unsupported data";
    case 1005: return "no status received";
    case 1006: return "abnormal closure";
    case 1007: return "invalid payload data";
    case 1008: return "policy violation";
    case 1009: return "message too big";
    case 1010: return "mandatory extension";
    case 1011: return "internal error";
    case 1012: return "service restart";
    case 1013: return "try again later";
    case 1014: return "bad gateway";
    case 1015: return "TLS handshake";
    default: return "";
  }
}

/// The code to answer a client's close with, as Phoenix's servers do (protocol 12): 1000, or 1002 if a client may not send
/// its code.
/// @param payload the payload of the close frame: code and reason
[[nodiscard]] constexpr std::uint16_t answer_to_close(std::string_view payload) noexcept {
  if (payload.empty()) return normal_closure;
  if (payload.size() == 1 || !detail::is_utf8(payload.substr(2)))
    return static_cast<std::uint16_t>(close_code::protocol_error);
  auto const byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(payload[i])); };
  bool const allowed = client_may_send(static_cast<std::uint16_t>(byte(0) << 8 | byte(1)));
  return allowed ? normal_closure : static_cast<std::uint16_t>(close_code::protocol_error);
}

/// A whole control frame as a server sends it: unmasked, with its header. A value of 128 bytes; may be copied to any thread.
class control_frame {
 public:
  /// @param data at most 125 bytes, more are cut off; a received ping never has more
  [[nodiscard]] static control_frame pong(std::string_view data) noexcept {
    return {opcode::pong, data.substr(0, max_control_payload)};
  }
  /// A ping with at most 125 bytes of data.
  [[nodiscard]] static control_frame ping(std::string_view data = {}) noexcept {
    return {opcode::ping, data.substr(0, max_control_payload)};
  }
  /// @param reason UTF-8; cut to 123 bytes at a character boundary
  [[nodiscard]] static control_frame close(std::uint16_t code, std::string_view reason = {}) noexcept {
    reason = detail::utf8_prefix(reason, max_control_payload - 2);
    char payload[max_control_payload] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    if (!reason.empty()) std::memcpy(payload + 2, reason.data(), reason.size());
    return {opcode::close, {payload, 2 + reason.size()}};
  }
  /// The frame for the argument of Transport::close.
  [[nodiscard]] static control_frame close(close_frame const& frame) noexcept {
    return close(static_cast<std::uint16_t>(frame.code), frame.reason);
  }

  /// The bytes to write, header included.
  [[nodiscard]] std::string_view bytes() const noexcept { return {bytes_, size_}; }
  /// Ping, pong or close.
  [[nodiscard]] opcode op() const noexcept { return static_cast<opcode>(bytes_[0] & 0x0f); }

 private:
  control_frame(opcode op, std::string_view payload) noexcept : size_(static_cast<std::uint8_t>(2 + payload.size())) {
    bytes_[0] = static_cast<char>(0x80 | static_cast<unsigned>(op));
    bytes_[1] = static_cast<char>(payload.size());
    if (!payload.empty()) std::memcpy(bytes_ + 2, payload.data(), payload.size());
  }
  char bytes_[2 + max_control_payload];
  std::uint8_t size_;
};

}  // namespace websocket
}  // namespace PHX_BUILD
}  // namespace phx

#endif

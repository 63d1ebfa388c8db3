#ifndef PHX_WEBSOCKET_FRAME_HEADER_HPP
#define PHX_WEBSOCKET_FRAME_HEADER_HPP
// The header of a data frame that a server sends (RFC 6455, section 5.2), for messages of the host's own. A phx::frame
// already has its header: see frame::websocket().

#include <phx/message/frame.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace websocket {

/// The header as a value of 11 bytes, for any thread. Write bytes(), then the payload, unmasked.
class frame_header {
 public:
  /// @param op text or binary for the first frame of a message, continuation for the others
  /// @param size bytes of this frame's payload @param last true if this frame completes the message
  explicit frame_header(opcode op, std::size_t size, bool last = true) noexcept
      : size_(detail::write_frame_header(bytes_ + sizeof bytes_, (last ? 0x80u : 0u) | static_cast<unsigned>(op), size)) {}
  /// The bytes of the header.
  [[nodiscard]] std::string_view bytes() const noexcept { return {bytes_ + sizeof bytes_ - size_, size_}; }

 private:
  char bytes_[10];
  std::uint8_t size_;
};

}  // namespace websocket
}  // namespace PHX_BUILD
}  // namespace phx

#endif

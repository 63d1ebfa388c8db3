#ifndef PHX_WEBSOCKET_FRAME_READER_HPP
#define PHX_WEBSOCKET_FRAME_READER_HPP
// Reads the frames of a client from a host's bytes (RFC 6455, section 5). No I/O, no allocation, no exceptions.
//
//     phx::websocket::frame_reader reader(mount.bounds.frame);      // one per connection, after the 101
//     std::span<char> bytes = ...;                                  // received and writable: the reader unmasks in place
//     for (;;) {
//       phx::websocket::frame_event const event = reader.next(bytes);
//       switch (event.kind) {
//         case phx::websocket::event_kind::need_more: return;       // receive more
//         case phx::websocket::event_kind::ping:                    // write control_frame::pong(event.part).bytes()
//         case phx::websocket::event_kind::pong:
//         case phx::websocket::event_kind::data:                    // socket.receive(event.op, event.part, event.last, now)
//         case phx::websocket::event_kind::close:                   // socket.gone(lost::normal), write
//         case phx::websocket::event_kind::error:                   //   control_frame::close(event.code).bytes(), disconnect
//       }
//     }
//
// phx::receive_frames (socket/receive_frames.hpp) is this loop. To send, see frame::websocket() and control_frame.hpp.

#include <phx/core/close.hpp>
#include <phx/websocket/control_frame.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace websocket {

/// Removes a client's mask in place (section 5.3). @param key the four bytes of the mask. @param phase the number of payload
/// bytes before these.
inline void unmask(std::span<char> bytes, char const (&key)[4], std::size_t phase) noexcept {
  char turned[8];
  for (std::size_t i = 0; i < 8; ++i) turned[i] = key[(phase + i) & 3];
  std::uint64_t word = 0;
  std::memcpy(&word, turned, 8);
  char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 32; left -= 32, at += 32) {  // four at once: compilers make one or two vector instructions of it
    std::uint64_t block[4];
    std::memcpy(block, at, 32);
    for (std::uint64_t& w : block) w ^= word;
    std::memcpy(at, block, 32);
  }
  for (; left >= 8; left -= 8, at += 8) {
    std::uint64_t one = 0;
    std::memcpy(&one, at, 8);
    one ^= word;
    std::memcpy(at, &one, 8);
  }
  for (std::size_t i = 0; i < left; ++i) at[i] = static_cast<char>(at[i] ^ turned[i]);
}

enum class event_kind : std::uint8_t {
  need_more,  ///< all bytes were read; receive more
  data,       ///< `part` of a text or binary message; `last`: it completes the message
  ping,       ///< answer it with control_frame::pong(part)
  pong,
  close,  ///< the client closes: answer with control_frame::close(code). No event follows
  error,  ///< the client violated the protocol: close with `code`, 1002 or 1009. No event follows
};
/// What next() found in the bytes.
struct frame_event {
  /// The kind of this event.
  event_kind kind = event_kind::need_more;
  opcode op = opcode::text;  ///< for data: text or binary, in later fragments too. Else ping or pong
  /// For data: true if it completes the message.
  bool last = true;
  std::uint16_t code = 0;  ///< for close and error: the code to close with
  /// A view of the caller's bytes or, for a control frame, of the reader: valid until the next call. For a close: the
  /// client's code and reason.
  std::string_view part{};
  bool compressed = false;  ///< for data: inflate `part` first, see websocket::message_codec
};

/// Reads the frames of a client, received in pieces of any size. Returns a message in the parts it arrived in (one, if it
/// arrived whole), so that the reader stores only a header or a control frame that was split: a connection costs
/// sizeof(frame_reader).
///
/// | state   | header of                                       | becomes                    | event             |
/// | ------- | ----------------------------------------------- | -------------------------- | ----------------- |
/// | between | text, binary; final or not                      | payload                    | data as it comes  |
/// | message | continuation; final or not                      | payload                    | data as it comes  |
/// | both    | ping, pong, close; at most 125 bytes            | the same; ended by a close | ping, pong, close |
/// | between | continuation                                    | ended                      | error 1002        |
/// | message | text, binary                                    | ended                      | error 1002        |
/// | both    | close of one byte, or with a reason not UTF-8   | ended                      | error 1002        |
/// | both    | unmasked, RSV bit, unknown opcode, control frame in fragments or longer | ended | error 1002    |
/// | both    | a message of more than `max_message` bytes, fragments together | ended | error 1009, the payload unread |
/// | ended   | anything                                        | ended                      | need_more         |
///
/// Does not check that text is UTF-8: phx::socket does that (1007). If permessage-deflate was agreed on, the first frame of a
/// message may have RSV1: the message is compressed, and may be a little longer than `max_message`, since deflate makes what
/// does not compress longer. Every other RSV bit is an error. Used by one thread at a time. @par Cost: one pass over the
/// payload, to unmask it; 184 bytes.
class frame_reader {
 public:
  /// @param max_message the most bytes of one message: limits::frame of the mount
  /// @param deflate true if permessage-deflate was agreed on with this client (websocket/compression.hpp)
  explicit frame_reader(std::size_t max_message, bool deflate = false) noexcept
      : max_message_(max_message), deflate_(deflate) {}

  /// Removes what it has read from the front of `bytes`, and unmasks it there. Call it until it returns need_more. After
  /// close or error, ignore the rest of `bytes`.
  [[nodiscard]] frame_event next(std::span<char>& bytes) noexcept {
    if (ended_) bytes = {};
    if (!in_payload_) {
      if (!read_header(bytes)) return ended_ ? error(code_) : frame_event{};
      in_payload_ = true;
    }
    if (is_control()) return control(bytes);
    return data(bytes);
  }

 private:
  enum : unsigned {
    fin_bit = 0x80,
    rsv_bits = 0x70,
    rsv1_bit = 0x40,
    opcode_bits = 0x0f,
    mask_bit = 0x80,
    length_bits = 0x7f
  };

  [[nodiscard]] unsigned byte(std::size_t i) const noexcept { return static_cast<unsigned char>(header_[i]); }
  [[nodiscard]] opcode op() const noexcept { return static_cast<opcode>(byte(0) & opcode_bits); }
  [[nodiscard]] bool is_control() const noexcept { return op() >= opcode::close; }
  [[nodiscard]] bool fin() const noexcept { return (byte(0) & fin_bit) != 0; }
  /// RSV1 on the first frame of a message, if deflate was agreed on: no other bit, no other frame (RFC 7692, section 6).
  [[nodiscard]] bool says_compressed() const noexcept {
    return deflate_ && (byte(0) & rsv_bits) == rsv1_bit && (op() == opcode::text || op() == opcode::binary);
  }
  /// Bytes that a message may have on the wire. Deflate adds five to each block that it cannot make smaller.
  [[nodiscard]] std::size_t most() const noexcept {
    std::size_t const grown = max_message_ + max_message_ / 64 + 64;
    return !message_compressed_ ? max_message_ : grown < max_message_ ? max_message_ : grown;
  }

  [[nodiscard]] bool fill(std::span<char>& bytes, std::size_t wanted) noexcept {
    if (have_ < wanted && !bytes.empty()) {  // an empty span may have a null pointer, which memcpy must not see
      std::size_t const missing = wanted - have_, n = missing < bytes.size() ? missing : bytes.size();
      std::memcpy(header_ + have_, bytes.data(), n);
      have_ = static_cast<std::uint8_t>(have_ + n);
      bytes = bytes.subspan(n);
    }
    return have_ >= wanted;
  }
  [[nodiscard]] bool refuse(close_code code) noexcept {
    ended_ = true;
    code_ = static_cast<std::uint16_t>(code);
    return false;
  }
  /// True if a header is complete and valid.
  [[nodiscard]] bool read_header(std::span<char>& bytes) noexcept {
    if (ended_ || !fill(bytes, 2)) return false;
    // Checked as soon as two bytes are there: an unmasked frame may be too short for more.
    bool const known = op() <= opcode::binary || (op() >= opcode::close && op() <= opcode::pong);
    bool const masked = (byte(1) & mask_bit) != 0;
    std::size_t const announced = byte(1) & length_bits;
    if (!known || !masked || ((byte(0) & rsv_bits) != 0 && !says_compressed())) return refuse(close_code::protocol_error);
    if (is_control() && (!fin() || announced > sizeof control_)) return refuse(close_code::protocol_error);
    if (!is_control() && (op() == opcode::continuation) != in_message_) return refuse(close_code::protocol_error);

    std::size_t const wide = announced == 126 ? 2 : announced == 127 ? 8 : 0;
    if (!fill(bytes, 2 + wide + 4)) return false;
    // A length encoded in more bytes than needed is accepted, as by Phoenix's servers.
    left_ = wide == 0 ? announced : 0;
    for (std::size_t i = 0; i < wide; ++i) left_ = left_ << 8 | byte(2 + i);
    std::memcpy(key_, header_ + 2 + wide, 4);
    phase_ = 0;
    have_ = 0;
    if (is_control()) {
      control_size_ = 0;
      return true;
    }
    if (op() != opcode::continuation) {
      message_op_ = op();
      message_ = 0;
      message_compressed_ = (byte(0) & rsv1_bit) != 0;
    }
    if (left_ > most() - message_) return refuse(close_code::too_large);
    message_ += static_cast<std::size_t>(left_);
    in_message_ = true;
    return true;
  }
  /// The part of the payload that was received, unmasked.
  [[nodiscard]] std::span<char> take(std::span<char>& bytes) noexcept {
    std::size_t const n = left_ < bytes.size() ? static_cast<std::size_t>(left_) : bytes.size();
    std::span<char> const part = bytes.first(n);
    unmask(part, key_, phase_);
    phase_ = static_cast<std::uint8_t>((phase_ + n) & 3);
    left_ -= n;
    bytes = bytes.subspan(n);
    if (left_ == 0) in_payload_ = false;
    return part;
  }
  [[nodiscard]] frame_event data(std::span<char>& bytes) noexcept {
    if (left_ != 0 && bytes.empty()) return {};
    std::span<char> const part = take(bytes);
    bool const last = fin() && !in_payload_;
    if (last) in_message_ = false;
    return {event_kind::data, message_op_, last, 0, {part.data(), part.size()}, message_compressed_};
  }
  [[nodiscard]] frame_event control(std::span<char>& bytes) noexcept {
    std::span<char> const part = take(bytes);
    if (!part.empty()) std::memcpy(control_ + control_size_, part.data(), part.size());
    control_size_ = static_cast<std::uint8_t>(control_size_ + part.size());
    if (in_payload_) return {};
    std::string_view const all{control_, control_size_};
    if (op() == opcode::ping) return {event_kind::ping, opcode::ping, true, 0, all};
    if (op() == opcode::pong) return {event_kind::pong, opcode::pong, true, 0, all};
    ended_ = true;
    if (all.size() == 1 || (all.size() > 2 && !detail::is_utf8(all.substr(2))))
      return error(static_cast<std::uint16_t>(close_code::protocol_error));
    return {event_kind::close, opcode::close, true, answer_to_close(all), all};
  }
  /// Reports an error once; after it there is only need_more.
  [[nodiscard]] frame_event error(std::uint16_t code) noexcept {
    code_ = 0;
    return code == 0 ? frame_event{} : frame_event{event_kind::error, opcode::text, true, code, {}};
  }

  std::size_t max_message_;
  std::size_t message_ = 0;  // bytes announced for the message so far
  std::uint64_t left_ = 0;   // bytes of this frame's payload not received yet
  std::uint16_t code_ = 0;
  bool in_payload_ = false, in_message_ = false, ended_ = false;
  bool deflate_;
  bool message_compressed_ = false;
  opcode message_op_ = opcode::text;
  std::uint8_t have_ = 0, control_size_ = 0, phase_ = 0;
  char key_[4] = {};
  char header_[14] = {};
  char control_[125];
};

}  // namespace websocket
}  // namespace PHX_BUILD
}  // namespace phx

#endif

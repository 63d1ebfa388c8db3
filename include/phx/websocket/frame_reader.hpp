#ifndef PHX_WEBSOCKET_FRAME_READER_HPP
#define PHX_WEBSOCKET_FRAME_READER_HPP
// The server's half of RFC 6455 for hosts that read and write raw bytes. What a server says is in `frame::websocket()`;
// here is what a client says, and the two control frames a host answers by itself. No I/O, no allocation.

#include <phx/core/close.hpp>
#include <phx/connect/connect_info.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace phx::inline PHX_BUILD::detail {

/// Takes the mask off in place. @param key four bytes as they came. @param phase bytes of the payload seen before these.
inline void unmask(std::span<char> bytes, char const (&key)[4], std::size_t phase) noexcept {
  char turned[8];
  for (std::size_t i = 0; i < 8; ++i) turned[i] = key[(phase + i) & 3];
  std::uint64_t word = 0;
  std::memcpy(&word, turned, 8);
  char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 32; left -= 32, at += 32) {  // four at once: compilers make two or one vector instructions of it
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

/// What the next bytes of a client mean.
struct frame_event {
  enum kind : std::uint8_t {
    nothing,  ///< all bytes are taken; bring more
    data,     ///< `part` of a message, unmasked; `last` completes it
    ping,     ///< answer with control_frame::pong(part)
    pong,
    close,   ///< the client said goodbye; answer with control_frame::close(code). Nothing follows
    broken,  ///< the client broke the protocol: close with `code`, 1002 or 1009. Nothing follows
  };
  kind what = nothing;
  opcode op = opcode::text;  ///< of the message, also for its later fragments
  bool last = true;
  std::uint16_t code = 0;
  std::string_view part{};  ///< in the caller's bytes or, of a control frame, in the reader: good until the next call
};

/// Reads what a client sends, in pieces of any size. A message comes out in the parts it arrived in (one, if it arrived
/// whole), so nothing is kept here but a header or a control frame that is cut in two.
///
/// | state   | whole header of                            | becomes | event           |
/// | ------- | ------------------------------------------ | ------- | --------------- |
/// | between | text, binary, last or not                  | payload | data as it comes |
/// | message | continuation, last or not                  | payload | data as it comes |
/// | both    | ping, pong, close, at most 125 bytes, whole | the same; ended after close | ping, pong, close |
/// | between | continuation                               | ended   | broken 1002     |
/// | message | text, binary                               | ended   | broken 1002     |
/// | both    | close of one byte, or whose reason is no UTF-8 | ended | broken 1002 |
/// | both    | unmasked, RSV bit, unknown opcode, control frame in fragments or longer | ended | broken 1002 |
/// | both    | a message beyond `most`, fragments together | ended  | broken 1009, the payload unread |
/// | ended   | anything                                   | ended   | nothing         |
class frame_reader {
 public:
  /// @param most bytes of one message; limits::frame.
  explicit frame_reader(std::size_t most) noexcept : most_(most) {}

  /// Takes the front of `bytes` (writes there, too) and says what it means. Call until it says `nothing`, or until `bytes`
  /// is not worth looking at after `close` and `broken`.
  [[nodiscard]] frame_event next(std::span<char>& bytes) noexcept {
    if (ended_) bytes = {};
    if (!in_payload_) {
      if (!read_header(bytes)) return ended_ ? broken(code_) : frame_event{};
      in_payload_ = true;
    }
    if (is_control()) return control(bytes);
    return data(bytes);
  }

 private:
  enum : unsigned { fin_bit = 0x80, rsv_bits = 0x70, opcode_bits = 0x0f, mask_bit = 0x80, length_bits = 0x7f };
  enum : unsigned { continuation = 0, text = 1, binary = 2, closing = 8, ping = 9, pong = 10 };

  [[nodiscard]] unsigned byte(std::size_t i) const noexcept { return static_cast<unsigned char>(header_[i]); }
  [[nodiscard]] unsigned op() const noexcept { return byte(0) & opcode_bits; }
  [[nodiscard]] bool is_control() const noexcept { return op() >= closing; }
  [[nodiscard]] bool fin() const noexcept { return (byte(0) & fin_bit) != 0; }

  [[nodiscard]] bool fill(std::span<char>& bytes, std::size_t wanted) noexcept {
    if (have_ < wanted && !bytes.empty()) {  // an empty span may have a null pointer, which memcpy must not see
      std::size_t const n = std::min(wanted - have_, bytes.size());
      std::memcpy(header_ + have_, bytes.data(), n);
      have_ = static_cast<std::uint8_t>(have_ + n);
      bytes = bytes.subspan(n);
    }
    return have_ >= wanted;
  }
  [[nodiscard]] bool refuse(close_code why) noexcept {
    ended_ = true;
    code_ = static_cast<std::uint16_t>(why);
    return false;
  }
  /// True when a header is complete and allowed.
  [[nodiscard]] bool read_header(std::span<char>& bytes) noexcept {
    if (ended_ || !fill(bytes, 2)) return false;
    // Judged on its first two bytes: an unmasked frame may be no longer than that.
    bool const known = op() <= binary || (op() >= closing && op() <= pong);
    bool const masked = (byte(1) & mask_bit) != 0;
    std::size_t const announced = byte(1) & length_bits;
    if (!known || !masked || (byte(0) & rsv_bits) != 0) return refuse(close_code::protocol_error);
    if (is_control() && (!fin() || announced > sizeof control_)) return refuse(close_code::protocol_error);
    if (!is_control() && (op() == continuation) != in_message_) return refuse(close_code::protocol_error);

    std::size_t const wide = announced == 126 ? 2 : announced == 127 ? 8 : 0;
    if (!fill(bytes, 2 + wide + 4)) return false;
    // Longer forms of a short length pass, as they do with Phoenix's servers.
    left_ = wide == 0 ? announced : 0;
    for (std::size_t i = 0; i < wide; ++i) left_ = left_ << 8 | byte(2 + i);
    std::memcpy(key_, header_ + 2 + wide, 4);
    phase_ = 0;
    have_ = 0;
    if (is_control()) {
      control_size_ = 0;
      return true;
    }
    if (op() != continuation) {
      message_op_ = op() == text ? opcode::text : opcode::binary;
      message_ = 0;
    }
    if (left_ > most_ - message_) return refuse(close_code::too_large);
    message_ += static_cast<std::size_t>(left_);
    in_message_ = true;
    return true;
  }
  /// As much of the payload as is here, unmasked.
  [[nodiscard]] std::span<char> take(std::span<char>& bytes) noexcept {
    std::size_t const n = left_ < bytes.size() ? static_cast<std::size_t>(left_) : bytes.size();
    std::span<char> const part = bytes.first(n);
    unmask(part, key_, phase_);
    phase_ = (phase_ + n) & 3;
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
    return {frame_event::data, message_op_, last, 0, {part.data(), part.size()}};
  }
  [[nodiscard]] frame_event control(std::span<char>& bytes) noexcept {
    std::span<char> const part = take(bytes);
    if (!part.empty()) std::memcpy(control_ + control_size_, part.data(), part.size());
    control_size_ = static_cast<std::uint8_t>(control_size_ + part.size());
    if (in_payload_) return {};
    std::string_view const all{control_, control_size_};
    if (op() == ping) return {frame_event::ping, opcode::ping, true, 0, all};
    if (op() == pong) return {frame_event::pong, opcode::pong, true, 0, all};
    ended_ = true;
    if (all.size() == 1 || (all.size() > 2 && !well_formed(all.substr(2))))
      return broken(static_cast<std::uint16_t>(close_code::protocol_error));
    return {frame_event::close, opcode::text, true, answer_to(all), all};
  }
  /// What Phoenix's server answers to a client's close (protocol 12).
  [[nodiscard]] static std::uint16_t answer_to(std::string_view said) noexcept {
    if (said.empty()) return 1000;
    unsigned const code =
        static_cast<unsigned>(static_cast<unsigned char>(said[0])) << 8 | static_cast<unsigned char>(said[1]);
    bool const fit = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1011) || code >= 3000;
    return fit ? std::uint16_t{1000} : static_cast<std::uint16_t>(close_code::protocol_error);
  }
  /// Said once; afterwards there is nothing.
  [[nodiscard]] frame_event broken(std::uint16_t code) noexcept {
    code_ = 0;
    return code == 0 ? frame_event{} : frame_event{frame_event::broken, opcode::text, true, code, {}};
  }

  std::size_t most_;
  std::size_t message_ = 0;  // bytes announced for the message so far
  std::uint64_t left_ = 0;   // bytes of this frame's payload still to come
  std::size_t phase_ = 0;
  std::uint16_t code_ = 0;
  bool in_payload_ = false, in_message_ = false, ended_ = false;
  opcode message_op_ = opcode::text;
  std::uint8_t have_ = 0, control_size_ = 0;
  char key_[4] = {};
  char header_[14] = {};
  char control_[125];
};

/// A control frame as a server sends it, header included.
class control_frame {
 public:
  /// @param data at most 125 bytes; a ping's came through a reader, which sees to that.
  [[nodiscard]] static control_frame pong(std::string_view data) noexcept { return {0x8a, data.substr(0, 125)}; }
  /// @param reason UTF-8, at most 123 bytes.
  [[nodiscard]] static control_frame close(std::uint16_t code, std::string_view reason = {}) noexcept {
    char body[125] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    std::size_t const n = std::min<std::size_t>(reason.size(), 123);
    if (n != 0) std::memcpy(body + 2, reason.data(), n);
    return {0x88, {body, 2 + n}};
  }
  [[nodiscard]] std::string_view bytes() const noexcept { return {bytes_, size_}; }

 private:
  control_frame(unsigned first, std::string_view body) noexcept : size_(2 + body.size()) {
    bytes_[0] = static_cast<char>(first);
    bytes_[1] = static_cast<char>(body.size());
    if (!body.empty()) std::memcpy(bytes_ + 2, body.data(), body.size());
  }
  char bytes_[127];
  std::size_t size_;
};

}  // namespace phx::inline PHX_BUILD::detail

#endif

#ifndef PHX_WEBSOCKET_DETAIL_ZLIB_STREAM_HPP
#define PHX_WEBSOCKET_DETAIL_ZLIB_STREAM_HPP
// zlib's streams as permessage-deflate uses them (RFC 7692, section 7.2): raw deflate, each message ended by an empty stored
// block whose last four bytes are not sent. Their memory comes from the hook.

#include <phx/message/frame.hpp>
#include <phx/websocket/compression.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include <zlib.h>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// zlib's allocator. zlib frees without the size, which the hook needs, so the size is stored before the memory.
struct zlib_memory {
  static constexpr std::size_t front = alignof(std::max_align_t);
  static_assert(front >= sizeof(std::size_t));

  static voidpf allocate(voidpf hook, uInt items, uInt size) noexcept {
    std::size_t const bytes = front + std::size_t{items} * size;
    void* const at = static_cast<memory const*>(hook)->allocate(bytes);
    if (at == nullptr) return nullptr;
    std::memcpy(at, &bytes, sizeof bytes);
    return static_cast<char*>(at) + front;
  }
  static void release(voidpf hook, voidpf at) noexcept {
    void* const whole = static_cast<char*>(at) - front;
    std::size_t bytes = 0;
    std::memcpy(&bytes, whole, sizeof bytes);
    static_cast<memory const*>(hook)->release(whole, bytes);
  }
  [[nodiscard]] static z_stream stream(memory const& from) noexcept {
    z_stream z{};
    z.zalloc = &zlib_memory::allocate;
    z.zfree = &zlib_memory::release;
    z.opaque = const_cast<memory*>(&from);  // only read
    return z;
  }
};

/// zlib does not write to its input; without ZLIB_CONST its type is not const.
[[nodiscard]] inline Bytef* zlib_input(std::string_view bytes) noexcept {
  return reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
}
[[nodiscard]] inline Bytef* zlib_output(std::span<char> bytes) noexcept { return reinterpret_cast<Bytef*>(bytes.data()); }

/// What a message ends with and what is not sent of it.
inline constexpr std::string_view deflate_tail{"\0\0\xff\xff", 4};

/// Compresses messages, one after the other.
class deflater {
 public:
  /// @param from outlives it
  deflater(memory const& from, websocket::deflate_options const& options, std::uint8_t window_bits) noexcept
      : z_(zlib_memory::stream(from)),
        usable_(deflateInit2(&z_, within(options.level, 1, 9), Z_DEFLATED, -int{window_bits},
                             within(options.memory_level, 1, 9), Z_DEFAULT_STRATEGY) == Z_OK) {}
  deflater(deflater const&) = delete;
  deflater& operator=(deflater const&) = delete;
  ~deflater() { (void)deflateEnd(&z_); }

  /// False without memory.
  [[nodiscard]] bool usable() const noexcept { return usable_; }
  /// Messages to come do not refer to those before.
  void reset() noexcept { (void)deflateReset(&z_); }
  /// The compressed message; empty if it does not get smaller, and without memory: it is reset then.
  /// @param scratch any bytes @pre usable()
  [[nodiscard]] frame compress(frame const& f, frame_builder& out, std::span<char> scratch) noexcept {
    std::string_view const message = f.data();
    out.start(f.op(), message.size() / 2);
    z_.next_in = zlib_input(message);
    z_.avail_in = static_cast<uInt>(message.size());  // a frame has at most 2^32 - 1 bytes
    for (std::size_t held = 0;;) {                    // the last bytes made: they may be the tail
      z_.next_out = zlib_output(scratch.subspan(held));
      z_.avail_out = static_cast<uInt>(scratch.size() - held);
      int const status = deflate(&z_, Z_SYNC_FLUSH);
      bool const done = z_.avail_out != 0;
      std::size_t const made = scratch.size() - z_.avail_out;
      std::size_t const ready = made < deflate_tail.size() ? 0 : made - deflate_tail.size();
      if ((status != Z_OK && status != Z_BUF_ERROR) || out.size() + ready >= message.size()) {
        out.discard();
        reset();
        return {};
      }
      out.append(std::string_view(scratch.data(), ready));
      if (done) break;
      held = made - ready;
      std::memmove(scratch.data(), scratch.data() + ready, held);
    }
    frame done = out.finish_compressed();
    if (done.empty()) reset();
    return done;
  }

 private:
  [[nodiscard]] static int within(int value, int least, int most) noexcept {
    return value < least ? least : value > most ? most : value;
  }
  z_stream z_;
  bool usable_;
};

/// Inflates messages, one after the other, in pieces.
class inflater {
 public:
  /// @param from outlives it
  inflater(memory const& from, std::uint8_t window_bits) noexcept
      : z_(zlib_memory::stream(from)), usable_(inflateInit2(&z_, -int{window_bits}) == Z_OK) {}
  inflater(inflater const&) = delete;
  inflater& operator=(inflater const&) = delete;
  ~inflater() { (void)inflateEnd(&z_); }

  /// False without memory.
  [[nodiscard]] bool usable() const noexcept { return usable_; }
  /// Messages to come may not refer to those before. @par Cost: none to speak of, the window stays allocated.
  void reset() noexcept {
    (void)inflateReset(&z_);
    begin_message();
  }
  /// As message_codec::inflate. @param into where the piece is made @param most bytes of a message
  [[nodiscard]] websocket::inflated inflate(std::string_view& bytes, bool last, std::span<char> into,
                                            std::size_t most) noexcept {
    z_.next_out = zlib_output(into);
    z_.avail_out = static_cast<uInt>(into.size());
    for (;;) {
      bool const in_tail = bytes.empty() && last && !full_;
      // Some clients end a message with a final block and do not send the empty one that should follow it (section 7.2.3.4).
      if (in_tail && tail_read_ == 0 && at_end_) return piece(into, most, true);
      std::string_view const from = (in_tail ? deflate_tail.substr(tail_read_) : bytes).substr(0, UINT32_MAX);
      z_.next_in = zlib_input(from);
      z_.avail_in = static_cast<uInt>(from.size());
      uInt const room = z_.avail_out;
      int const status = ::inflate(&z_, Z_SYNC_FLUSH);
      std::size_t const read = from.size() - z_.avail_in;
      bool const tail_as_data = in_tail && z_.avail_out != room;  // a block that promised more than came
      full_ = z_.avail_out == 0;
      if (read != 0) at_end_ = false;
      if (in_tail)
        tail_read_ += read;
      else
        bytes.remove_prefix(read);
      if (status == Z_MEM_ERROR) return failed(close_code::internal);
      if (status == Z_STREAM_END) {
        if (inflateReset(&z_) != Z_OK) return failed(close_code::internal);
        at_end_ = true;
      } else if ((status != Z_OK && status != Z_BUF_ERROR) || tail_as_data) {
        return failed(close_code::invalid_text);
      }
      if (full_) {
        websocket::inflated full = piece(into, most, false);
        full.more = full.code == 0;
        return full;
      }
      // There is room left, so all that was given is read, or a final block ended.
      if (!bytes.empty()) continue;
      if (!last) return piece(into, most, false);
      if (!in_tail || tail_read_ < deflate_tail.size()) continue;
      bool const between_blocks = at_end_ || (z_.data_type & 128) != 0;
      return between_blocks ? piece(into, most, true) : failed(close_code::invalid_text);
    }
  }

 private:
  void begin_message() noexcept {
    made_ = 0;
    tail_read_ = 0;
    at_end_ = true;
    full_ = false;
  }
  [[nodiscard]] static websocket::inflated failed(close_code code) noexcept {
    return {{}, false, false, static_cast<std::uint16_t>(code)};
  }
  [[nodiscard]] websocket::inflated piece(std::span<char> into, std::size_t most, bool last) noexcept {
    std::size_t const made = into.size() - z_.avail_out;
    if (made > most - made_) return failed(close_code::too_large);
    made_ += made;
    if (last) begin_message();
    return {{into.data(), made}, last, false, 0};
  }
  z_stream z_;
  std::size_t made_ = 0;       // bytes of this message
  std::size_t tail_read_ = 0;  // bytes of the tail that were given
  bool at_end_ = true;         // nothing was read since the message began or its last final block ended
  bool full_ = false;          // the last piece was: zlib may hold more of what it read
  bool usable_;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

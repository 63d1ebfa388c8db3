#ifndef PHX_MESSAGE_FRAME_HPP
#define PHX_MESSAGE_FRAME_HPP
// One encoded message: an immutable, reference-counted block behind an 8-byte handle, and the pool and builder that make it.

#include <phx/core/close.hpp>
#include <phx/core/memory.hpp>
#include <phx/core/text/json_string.hpp>

namespace phx {
inline namespace PHX_BUILD {

class frame_builder;

/// One encoded message, shared by all clients that receive it. A transport gets one in `send`: test op(), then write data()
/// (a host with a WebSocket library) or websocket() (a host that writes raw sockets). Keep a copy of the handle as long as
/// the bytes are needed; a transport that copies the bytes need not keep it. May be read and released on any thread.
/// @par Cost: a copy is one atomic increment.
class frame {
 public:
  frame() noexcept = default;
  /// Another handle of the same bytes. @par Cost: an atomic increment.
  frame(frame const& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) block_->add_ref();
  }
  /// Takes the handle over; `other` becomes empty.
  frame(frame&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  /// Releases the handle it had.
  frame& operator=(frame other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~frame() {
    if (block_ != nullptr) block_->drop_ref();
  }

  /// True for no message: the serializer chose to send nothing, or memory ran out.
  [[nodiscard]] bool empty() const noexcept { return block_ == nullptr; }
  /// Text or binary.
  [[nodiscard]] opcode op() const noexcept { return info().op; }
  /// The message, without WebSocket framing. @pre !empty()
  [[nodiscard]] std::string_view data() const noexcept { return {block_->bytes() + sizeof(head), info().size}; }
  /// The message with its RFC 6455 header in front, contiguous: bytes to write to a socket as they are, since a server does
  /// not mask its frames. @pre !empty()
  [[nodiscard]] std::string_view websocket() const noexcept {
    return {block_->bytes() + sizeof(head) - info().header, std::size_t{info().header} + info().size};
  }

 private:
  friend class frame_builder;
  friend class frame_pool;
  // 16 bytes before the message. `wire` has room for the longest WebSocket header of a server, which ends at the message.
  struct head {
    std::uint32_t size;
    opcode op;
    std::uint8_t header;
    char wire[10];
  };
  static_assert(sizeof(head) == 16);

  explicit frame(detail::block* adopted) noexcept : block_(adopted) {}
  [[nodiscard]] head& info() const noexcept { return *reinterpret_cast<head*>(block_->bytes()); }

  detail::block* block_ = nullptr;
};

/// Blocks of earlier frames, reused for new ones, so that a warm loop encodes without allocating. Each loop owns one and
/// uses it on its own thread. A block is reused only if no frame refers to it any more, whichever thread held the last one.
class frame_pool {
 public:
  static constexpr std::size_t most = 64;            ///< blocks kept at most
  static constexpr std::size_t largest = 16 * 1024;  ///< bytes of the largest block kept

  /// @param from the allocator of the blocks. @param keep how many blocks are kept.
  explicit frame_pool(memory const& from, std::size_t keep = most) noexcept
      : from_(from), keep_(keep < most ? keep : most) {}
  frame_pool(frame_pool const&) = delete;
  frame_pool& operator=(frame_pool const&) = delete;
  ~frame_pool() {
    for (detail::block* kept : blocks_)
      if (kept != nullptr) kept->drop_ref();
  }
  /// The allocator of its blocks.
  [[nodiscard]] memory const& from() const noexcept { return from_; }

 private:
  friend class frame_builder;

  /// A block with room for `room` bytes; the caller owns one reference. Null without memory.
  [[nodiscard]] detail::block* take(std::size_t room) noexcept {
    if (room > largest || keep_ == 0) return detail::block::make(from_, room);
    // If transports copy bytes, the newest block is free again at once; if they hold handles, the oldest is the first.
    for (int probe = 0; probe < 4; ++probe) {
      detail::block*& slot = blocks_[next_];
      if (slot != nullptr && slot->unique() && slot->capacity >= room) {
        slot->add_ref();
        return slot;
      }
      if (slot == nullptr) break;
      next_ = (next_ + 1) % keep_;
    }
    std::size_t size = 256;
    while (size < room) size *= 2;
    detail::block* const fresh = detail::block::make(from_, size);
    if (fresh == nullptr) return nullptr;
    if (blocks_[next_] != nullptr) blocks_[next_]->drop_ref();
    blocks_[next_] = fresh;
    fresh->add_ref();
    return fresh;
  }

  memory from_;
  std::size_t keep_;
  std::size_t next_ = 0;
  detail::block* blocks_[most] = {};
};

namespace detail {
/// Writes the header of a frame that a server sends (RFC 6455, section 5.2) so that it ends at `end`.
/// @param first the first byte: FIN bit and opcode @param size bytes of the payload @return bytes of the header: 2, 4 or 10
inline std::uint8_t write_frame_header(char* end, unsigned first, std::size_t size) noexcept {
  if (size < 126) {
    end[-2] = static_cast<char>(first);
    end[-1] = static_cast<char>(size);
    return 2;
  }
  if (size < 65536) {
    end[-4] = static_cast<char>(first);
    end[-3] = 126;
    end[-2] = static_cast<char>(size >> 8);
    end[-1] = static_cast<char>(size);
    return 4;
  }
  end[-10] = static_cast<char>(first);
  end[-9] = 127;
  for (int i = 0; i < 8; ++i) end[i - 8] = static_cast<char>(std::uint64_t{size} >> (56 - 8 * i));
  return 10;
}
}  // namespace detail

/// Builds one frame; a serializer writes into it. Call start, append any number of times, then finish; then it can start the
/// next one. Never throws: when memory runs out, appends do nothing and finish returns an empty frame. One thread at a time.
class frame_builder {
 public:
  /// @param pool where it takes its memory from; outlives it.
  explicit frame_builder(frame_pool& pool) noexcept : pool_(&pool) {}
  frame_builder(frame_builder const&) = delete;
  frame_builder& operator=(frame_builder const&) = delete;
  ~frame_builder() {
    if (block_ != nullptr) block_->drop_ref();
  }

  /// Starts a frame, and discards an unfinished one. @param room bytes expected; more are allowed and cost a copy.
  void start(opcode op, std::size_t room) noexcept {
    if (block_ != nullptr) block_->drop_ref();
    block_ = pool_->take(sizeof(frame::head) + room);
    op_ = op;
    size_ = 0;
    room_ = block_ == nullptr ? 0 : block_->capacity - sizeof(frame::head);
    at_ = block_ == nullptr ? nullptr : block_->bytes() + sizeof(frame::head);
    failed_ = block_ == nullptr;
  }
  /// Appends bytes.
  void append(std::string_view bytes) noexcept {
    if (bytes.size() > room_ - size_ && !grow(bytes.size())) return;
    if (!bytes.empty()) std::memcpy(at_ + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  /// Appends one byte.
  void append(char byte) noexcept {
    if (size_ == room_ && !grow(1)) return;
    at_[size_++] = byte;
  }
  /// Appends characters and texts in order. @par Cost: one check for room, however many parts there are.
  template <class... Part>
  void append_all(Part const&... parts) noexcept {
    std::size_t const more = (std::size_t{0} + ... + size_of(parts));
    if (more > room_ - size_ && !grow(more)) return;
    char* to = at_ + size_;
    ((to = put(to, parts)), ...);
    size_ += more;
  }
  /// Appends `text` as a JSON string with no needless escapes: `"`, `\` and control characters only.
  void quoted(std::string_view text) noexcept {
    json::detail::append_quoted_pieces(text, [this](auto part) noexcept { append(part); });
  }
  /// Bytes appended so far.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// True when memory ran out.
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  /// Has `start` been called?
  [[nodiscard]] bool started() const noexcept { return block_ != nullptr; }
  /// Discards the unfinished frame, so that nothing is sent.
  void discard() noexcept {
    if (block_ != nullptr) block_->drop_ref();
    block_ = nullptr;
    size_ = room_ = 0;
    failed_ = false;
  }

  /// The frame, with its WebSocket header written; empty when nothing was started or memory ran out.
  [[nodiscard]] frame finish() noexcept {
    if (block_ == nullptr || failed_ || size_ > UINT32_MAX) {
      discard();
      return {};
    }
    frame done{std::exchange(block_, nullptr)};
    frame::head& head = done.info();
    head.size = static_cast<std::uint32_t>(size_);
    head.op = op_;
    head.header = detail::write_frame_header(at_, 0x80u | static_cast<unsigned>(op_), size_);
    size_ = room_ = 0;
    return done;
  }
  /// The same for a message that permessage-deflate compressed (websocket/compression.hpp): its header says so, and data()
  /// is the compressed message.
  [[nodiscard]] frame finish_compressed() noexcept {
    frame done = finish();
    if (!done.empty()) {
      frame::head& head = done.info();
      char& first = head.wire[sizeof head.wire - head.header];
      first = static_cast<char>(static_cast<unsigned char>(first) | 0x40u);  // RSV1
    }
    return done;
  }

 private:
  [[nodiscard]] static constexpr std::size_t size_of(char) noexcept { return 1; }
  [[nodiscard]] static constexpr std::size_t size_of(std::string_view text) noexcept { return text.size(); }
  [[nodiscard]] static char* put(char* to, char byte) noexcept {
    *to = byte;
    return to + 1;
  }
  [[nodiscard]] static char* put(char* to, std::string_view text) noexcept {
    std::size_t const n = text.size();
    if (n != 0) std::memcpy(to, text.data(), n);
    return to + n;
  }
  [[nodiscard]] bool grow(std::size_t more) noexcept {
    if (block_ == nullptr || failed_) {
      failed_ = true;
      size_ = 0;  // no room is left, so that later appends fail too
      room_ = 0;
      return false;
    }
    std::size_t const wanted = (size_ + more) * 3 / 2 + sizeof(frame::head);
    detail::block* const larger = pool_->take(wanted);
    if (larger == nullptr) {
      failed_ = true;
      room_ = size_ = 0;
      return false;
    }
    std::memcpy(larger->bytes(), block_->bytes(), sizeof(frame::head) + size_);
    block_->drop_ref();
    block_ = larger;
    at_ = block_->bytes() + sizeof(frame::head);
    room_ = block_->capacity - sizeof(frame::head);
    return true;
  }
  frame_pool* pool_;
  detail::block* block_ = nullptr;
  char* at_ = nullptr;
  std::size_t size_ = 0, room_ = 0;
  opcode op_ = opcode::text;
  bool failed_ = false;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

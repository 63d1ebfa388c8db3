#ifndef PHX_MESSAGE_FRAME_HPP
#define PHX_MESSAGE_FRAME_HPP
// One encoded message: an immutable counted block behind an 8-byte handle, and the pool and builder that make it.

#include <phx/core/close.hpp>
#include <phx/core/memory.hpp>

namespace phx {
inline namespace PHX_BUILD {

class frame_builder;

/// A whole message as it goes to one client, or to a thousand. Copying the handle is one atomic increment; a transport that
/// copies the bytes in `send` touches no count. May be read and released on any thread.
class frame {
 public:
  frame() noexcept = default;
  /// Another handle of the same bytes. @par Cost: an atomic addition for a copy.
  frame(frame const& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) block_->keep();
  }
  /// Another handle of the same bytes. @par Cost: an atomic addition for a copy.
  frame(frame&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  /// Lets go of what it held.
  frame& operator=(frame other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~frame() {
    if (block_ != nullptr) block_->drop();
  }

  /// True for a frame that a serializer chose not to send.
  [[nodiscard]] bool empty() const noexcept { return block_ == nullptr; }
  /// Text or binary.
  [[nodiscard]] opcode op() const noexcept { return info().op; }
  /// The message itself, without WebSocket framing.
  [[nodiscard]] std::string_view data() const noexcept { return {block_->bytes() + sizeof(head), info().size}; }
  /// The same with its RFC 6455 header before it, in one piece: a server's frames are unmasked, so these bytes serve every
  /// host that writes raw sockets.
  [[nodiscard]] std::string_view websocket() const noexcept {
    return {block_->bytes() + sizeof(head) - info().header, std::size_t{info().header} + info().size};
  }

 private:
  friend class frame_builder;
  friend class frame_pool;
  // 16 bytes before the message: 10 for the longest server header (it grows leftwards from the message), 6 for these.
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

/// Blocks that were frames, kept to be frames again: what makes echo and broadcast allocate nothing once warm. Belongs to
/// one loop. A frame still held by a transport, on whatever thread, is left alone: its count says so.
class frame_pool {
 public:
  static constexpr std::size_t most = 64;            ///< blocks kept
  static constexpr std::size_t largest = 16 * 1024;  ///< bytes of a block kept

  /// @param from where blocks come from. @param keep how many free blocks are kept.
  explicit frame_pool(memory const& from, std::size_t keep = most) noexcept
      : from_(from), keep_(keep < most ? keep : most) {}
  frame_pool(frame_pool const&) = delete;
  frame_pool& operator=(frame_pool const&) = delete;
  ~frame_pool() {
    for (detail::block* kept : blocks_)
      if (kept != nullptr) kept->drop();
  }
  /// Where its blocks come from.
  [[nodiscard]] memory const& from() const noexcept { return from_; }

 private:
  friend class frame_builder;

  /// A block with room for `room` bytes, whose count the caller owns one of; null without memory.
  [[nodiscard]] detail::block* take(std::size_t room) noexcept {
    if (room > largest || keep_ == 0) return detail::block::make(from_, room);
    // A transport that copied has given back the newest; one that holds handles gives back the oldest first.
    for (int probe = 0; probe < 4; ++probe) {
      detail::block*& slot = blocks_[next_];
      if (slot != nullptr && slot->alone() && slot->capacity >= room) {
        slot->keep();
        return slot;
      }
      if (slot == nullptr) break;
      next_ = (next_ + 1) % keep_;
    }
    std::size_t size = 256;
    while (size < room) size *= 2;
    detail::block* const fresh = detail::block::make(from_, size);
    if (fresh == nullptr) return nullptr;
    if (blocks_[next_] != nullptr) blocks_[next_]->drop();
    blocks_[next_] = fresh;
    fresh->keep();
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

/// Where a serializer writes. Never throws; without memory it swallows the rest and `finish` gives no frame.
class frame_builder {
 public:
  /// Takes its memory from the pool, which outlives it.
  explicit frame_builder(frame_pool& pool) noexcept : pool_(&pool) {}
  frame_builder(frame_builder const&) = delete;
  frame_builder& operator=(frame_builder const&) = delete;
  ~frame_builder() {
    if (block_ != nullptr) block_->drop();
  }

  /// Begins a frame; whatever was begun before is forgotten. @param room bytes expected; more is allowed and costs a copy.
  void start(opcode op, std::size_t room) noexcept {
    if (block_ != nullptr) block_->drop();
    block_ = pool_->take(sizeof(frame::head) + room);
    op_ = op;
    size_ = 0;
    room_ = block_ == nullptr ? 0 : block_->capacity - sizeof(frame::head);
    at_ = block_ == nullptr ? nullptr : block_->bytes() + sizeof(frame::head);
    failed_ = block_ == nullptr;
  }
  /// Behind what is there. Without memory nothing is appended, and `finish` answers no_memory.
  void append(std::string_view bytes) noexcept {
    if (bytes.size() > room_ - size_ && !grow(bytes.size())) return;
    if (!bytes.empty()) std::memcpy(at_ + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  /// Behind what is there. Without memory nothing is appended, and `finish` answers no_memory.
  void append(char byte) noexcept {
    if (size_ == room_ && !grow(1)) return;
    at_[size_++] = byte;
  }
  /// Appends characters and texts one behind the other, with one look at whether there is room.
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
    append('"');
    std::size_t from = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      auto const c = static_cast<unsigned char>(text[i]);
      if (c >= 0x20 && c != '"' && c != '\\') continue;
      append(text.substr(from, i - from));
      escape(c);
      from = i + 1;
    }
    append(text.substr(from));
    append('"');
  }
  /// Bytes of the message so far.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// True when memory ran out.
  [[nodiscard]] bool failed() const noexcept { return failed_; }
  /// Has `start` been called?
  [[nodiscard]] bool started() const noexcept { return block_ != nullptr; }
  /// Forgets what was started: this generation stays silent.
  void discard() noexcept {
    if (block_ != nullptr) block_->drop();
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
      size_ = 0;  // room_ - size_ stays the truth: nothing is written any more
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
    block_->drop();
    block_ = larger;
    at_ = block_->bytes() + sizeof(frame::head);
    room_ = block_->capacity - sizeof(frame::head);
    return true;
  }
  void escape(unsigned char c) noexcept {
    constexpr std::string_view digits = "0123456789abcdef";
    switch (c) {
      case '"': append("\\\""); break;
      case '\\': append("\\\\"); break;
      case '\n': append("\\n"); break;
      case '\r': append("\\r"); break;
      case '\t': append("\\t"); break;
      case '\b': append("\\b"); break;
      case '\f': append("\\f"); break;
      default:
        append("\\u00");
        append(digits[c >> 4]);
        append(digits[c & 15]);
    }
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

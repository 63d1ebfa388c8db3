#ifndef PHX_ADAPTER_EPOLL_DETAIL_WRITE_QUEUE_HPP
#define PHX_ADAPTER_EPOLL_DETAIL_WRITE_QUEUE_HPP
// Bytes that wait for one client: small frames side by side in blocks, which one system call writes, large ones as handles.

#include <phx/message/frame.hpp>

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll::detail {

/// A part of a queue: the bytes [begin, end) of `whole`, or, where that is empty, of the block that it is.
struct write_part {
  write_part* next = nullptr;
  frame whole{};
  std::uint32_t begin = 0, end = 0;
};
struct write_block : write_part {
  static constexpr std::size_t room = 4096 - sizeof(write_part) - 16;  // with the allocator's header: a page
  char bytes[room];
};

/// The parts that the queues of one loop have given back, kept for the next ones: a warm loop writes without allocating.
class write_parts {
 public:
  write_parts() = default;
  write_parts(write_parts const&) = delete;
  write_parts& operator=(write_parts const&) = delete;
  ~write_parts() {
    while (blocks_ != nullptr) delete static_cast<write_block*>(std::exchange(blocks_, blocks_->next));
    while (handles_ != nullptr) delete std::exchange(handles_, handles_->next);
  }

  /// Null without memory.
  [[nodiscard]] write_block* take_block() noexcept {
    if (blocks_ == nullptr) return new (std::nothrow) write_block;
    --kept_blocks_;
    auto* const b = static_cast<write_block*>(std::exchange(blocks_, blocks_->next));
    b->next = nullptr;
    b->begin = b->end = 0;
    return b;
  }
  /// For a frame. Null without memory.
  [[nodiscard]] write_part* take_handle() noexcept {
    if (handles_ == nullptr) return new (std::nothrow) write_part;
    --kept_handles_;
    write_part* const p = std::exchange(handles_, handles_->next);
    p->next = nullptr;
    return p;
  }
  void give(write_part* p) noexcept {
    if (p->whole.empty()) {
      if (kept_blocks_ == most_blocks) return delete static_cast<write_block*>(p);
      ++kept_blocks_;
      p->next = std::exchange(blocks_, p);
    } else {
      p->whole = frame();
      if (kept_handles_ == most_handles) return delete p;
      ++kept_handles_;
      p->next = std::exchange(handles_, p);
    }
  }

 private:
  static constexpr std::uint32_t most_blocks = 512, most_handles = 4096;  // 2 MiB and 128 KiB
  write_part* blocks_ = nullptr;
  write_part* handles_ = nullptr;
  std::uint32_t kept_blocks_ = 0, kept_handles_ = 0;
};

/// First in, first out. A frame that waits alone is a handle; a second one, if it is small, makes both bytes of a block. So one
/// broadcast to a thousand clients copies nothing, and sixteen replies to one client are one block and one write.
/// Used inside one loop. @par Cost: 40 bytes when empty; a small frame is copied at most twice; no allocation once warm.
class write_queue {
 public:
  static constexpr std::size_t largest_copied = 2048;  ///< bytes; a larger frame stays a handle

  write_queue() = default;
  write_queue(write_queue const&) = delete;
  write_queue& operator=(write_queue const&) = delete;
  ~write_queue() = default;  // its owner has called clear

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// False without memory: then nothing was taken.
  [[nodiscard]] bool append(write_parts& from, frame const& f) noexcept {
    std::size_t const more = f.websocket().size();
    if (size_ == 0) {
      only_ = f;
      only_begin_ = 0;
    } else if (!spread(from) || !(more > largest_copied ? link(from, f, 0) : copy(from, f.websocket()))) {
      return false;
    }
    size_ += more;
    return true;
  }
  /// The same for bytes, which are copied. @param bytes at most largest_copied
  [[nodiscard]] bool append(write_parts& from, std::string_view bytes) noexcept {
    if (!spread(from) || !copy(from, bytes)) return false;
    size_ += bytes.size();
    return true;
  }

  /// What waits, from the front, in at most `most` pieces. @param total their bytes @return how many pieces
  [[nodiscard]] std::size_t gather(iovec* into, std::size_t most, std::size_t& total) const noexcept {
    auto const piece = [](std::string_view bytes) { return iovec{const_cast<char*>(bytes.data()), bytes.size()}; };
    if (!only_.empty()) {
      total = size_;
      into[0] = piece(only_.websocket().substr(only_begin_));
      return 1;
    }
    std::size_t n = 0;
    total = 0;
    for (write_part const* p = first_; p != nullptr && n != most; p = p->next) {
      char const* const bytes = p->whole.empty() ? static_cast<write_block const*>(p)->bytes : p->whole.websocket().data();
      into[n] = piece({bytes + p->begin, std::size_t{p->end} - p->begin});
      total += into[n++].iov_len;
    }
    return n;
  }
  /// The first `n` bytes have been written. @pre n <= size()
  void remove(write_parts& to, std::size_t n) noexcept {
    size_ -= n;
    if (!only_.empty()) {
      only_begin_ += static_cast<std::uint32_t>(n);
      if (size_ == 0) only_ = frame();
      return;
    }
    while (first_ != nullptr && n >= std::size_t{first_->end} - first_->begin) {
      n -= std::size_t{first_->end} - first_->begin;
      to.give(std::exchange(first_, first_->next));
    }
    if (first_ != nullptr)
      first_->begin += static_cast<std::uint32_t>(n);
    else
      last_ = nullptr;
  }
  void clear(write_parts& to) noexcept {
    only_ = frame();
    while (first_ != nullptr) to.give(std::exchange(first_, first_->next));
    last_ = nullptr;
    size_ = 0;
  }

 private:
  void push(write_part* p) noexcept {
    (last_ == nullptr ? first_ : last_->next) = p;
    last_ = p;
  }
  /// The frame that was alone becomes the first part.
  [[nodiscard]] bool spread(write_parts& from) noexcept {
    if (only_.empty()) return true;
    std::string_view const left = only_.websocket().substr(only_begin_);
    if (!(left.size() > largest_copied ? link(from, only_, only_begin_) : copy(from, left))) return false;
    only_ = frame();
    return true;
  }
  [[nodiscard]] bool link(write_parts& from, frame const& f, std::uint32_t begin) noexcept {
    write_part* const p = from.take_handle();
    if (p == nullptr) return false;
    p->whole = f;
    p->begin = begin;
    p->end = static_cast<std::uint32_t>(f.websocket().size());
    push(p);
    return true;
  }
  [[nodiscard]] bool copy(write_parts& from, std::string_view bytes) noexcept {
    write_block* const last = last_ != nullptr && last_->whole.empty() ? static_cast<write_block*>(last_) : nullptr;
    std::size_t const fits = last == nullptr ? 0 : (std::min)(write_block::room - last->end, bytes.size());
    write_block* fresh = nullptr;
    if (fits != bytes.size() && (fresh = from.take_block()) == nullptr) return false;
    if (fits != 0) {
      std::memcpy(last->bytes + last->end, bytes.data(), fits);
      last->end += static_cast<std::uint32_t>(fits);
    }
    if (fresh == nullptr) return true;
    bytes.remove_prefix(fits);
    std::memcpy(fresh->bytes, bytes.data(), bytes.size());
    fresh->end = static_cast<std::uint32_t>(bytes.size());
    push(fresh);
    return true;
  }

  write_part* first_ = nullptr;
  write_part* last_ = nullptr;
  frame only_{};  // what waits, if that is one frame
  std::size_t size_ = 0;
  std::uint32_t only_begin_ = 0;
};
static_assert(write_queue::largest_copied <= write_block::room);

}  // namespace epoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

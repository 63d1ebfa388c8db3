#ifndef PHX_ADAPTER_EPOLL_DETAIL_WRITE_QUEUE_HPP
#define PHX_ADAPTER_EPOLL_DETAIL_WRITE_QUEUE_HPP
// Bytes that wait for one client: frames as handles, control frames side by side in blocks.

#include <phx/message/frame.hpp>

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll::detail {

/// A part of a queue, [begin, end) of what it holds.
struct write_part {
  write_part* next = nullptr;
  std::uint16_t begin = 0, end = 0;
  bool const holds_frames;
  explicit write_part(bool frames) noexcept : holds_frames(frames) {}
};
/// Frames side by side: a list of single ones would be a cache miss for each frame of each client.
struct frames_part : write_part {
  static constexpr std::uint16_t room = 14;  // two cache lines in all
  frame frames[room];
  frames_part() noexcept : write_part(true) {}
};
struct bytes_part : write_part {
  static constexpr std::size_t room = 1024 - sizeof(write_part) - 16;  // with the allocator's header: 1 KiB
  char bytes[room];
  bytes_part() noexcept : write_part(false) {}
};

/// The parts that the queues of one loop have given back, kept for the next ones: a warm loop writes without allocating.
class write_parts {
 public:
  write_parts() = default;
  write_parts(write_parts const&) = delete;
  write_parts& operator=(write_parts const&) = delete;
  ~write_parts() {
    while (frames_ != nullptr) delete static_cast<frames_part*>(std::exchange(frames_, frames_->next));
    while (bytes_ != nullptr) delete static_cast<bytes_part*>(std::exchange(bytes_, bytes_->next));
  }

  /// Null without memory.
  [[nodiscard]] frames_part* take_frames() noexcept { return take<frames_part>(frames_, kept_frames_); }
  [[nodiscard]] bytes_part* take_bytes() noexcept { return take<bytes_part>(bytes_, kept_bytes_); }
  /// @pre its frames are empty
  void give(write_part* p) noexcept {
    if (p->holds_frames)
      give(static_cast<frames_part*>(p), frames_, kept_frames_, most_frames);
    else
      give(static_cast<bytes_part*>(p), bytes_, kept_bytes_, most_bytes);
  }

 private:
  static constexpr std::uint32_t most_frames = 8192, most_bytes = 256;  // 1 MiB and 256 KiB

  template <class T>
  [[nodiscard]] static T* take(write_part*& list, std::uint32_t& kept) noexcept {
    if (list == nullptr) return new (std::nothrow) T;
    --kept;
    T* const p = static_cast<T*>(std::exchange(list, list->next));
    p->next = nullptr;
    p->begin = p->end = 0;
    return p;
  }
  template <class T>
  static void give(T* p, write_part*& list, std::uint32_t& kept, std::uint32_t most) noexcept {
    if (kept == most) return delete p;
    ++kept;
    p->next = std::exchange(list, p);
  }

  write_part* frames_ = nullptr;
  write_part* bytes_ = nullptr;
  std::uint32_t kept_frames_ = 0, kept_bytes_ = 0;
};

/// First in, first out. Frames are handles, so that one broadcast to a thousand clients is copied for none of them; `gather` puts
/// small ones side by side in a buffer that all connections of the loop use, which is cheaper than to name each to the kernel.
/// Used inside one loop. @par Cost: 40 bytes when empty; no allocation once warm.
class write_queue {
 public:
  static constexpr std::size_t largest_copied = 2048;  ///< bytes of one piece; a larger one is named to the kernel
  static constexpr std::size_t most_pieces = 16;       ///< of one write

  write_queue() = default;
  write_queue(write_queue const&) = delete;
  write_queue& operator=(write_queue const&) = delete;
  ~write_queue() = default;  // its owner has called clear

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// False without memory: then nothing was taken.
  [[nodiscard]] bool append(write_parts& from, frame const& f) noexcept {
    if (size_ == 0)
      only_ = f;
    else if (!spread(from) || !push(from, f))
      return false;
    size_ += f.websocket().size();
    return true;
  }
  /// The same for bytes, which are copied. @param bytes at most bytes_part::room
  [[nodiscard]] bool append(write_parts& from, std::string_view bytes) noexcept {
    if (!spread(from)) return false;
    bytes_part* const last = last_ != nullptr && !last_->holds_frames ? static_cast<bytes_part*>(last_) : nullptr;
    std::size_t const fits = last == nullptr ? 0 : (std::min)(bytes_part::room - last->end, bytes.size());
    bytes_part* fresh = nullptr;
    if (fits != bytes.size() && (fresh = from.take_bytes()) == nullptr) return false;
    size_ += bytes.size();
    if (fits != 0) copy(*last, bytes.substr(0, fits));
    if (fresh == nullptr) return true;
    copy(*fresh, bytes.substr(fits));
    push(fresh);
    return true;
  }

  /// What is to be written next, from the front. @param into most_pieces of them @param buffer for small pieces
  /// @param total the bytes in all @return how many pieces
  [[nodiscard]] std::size_t gather(iovec* into, std::span<char> buffer, std::size_t& total) const noexcept {
    auto const piece = [](std::string_view bytes) { return iovec{const_cast<char*>(bytes.data()), bytes.size()}; };
    if (!only_.empty()) {
      total = size_;
      into[0] = piece(only_.websocket().substr(written_));
      return 1;
    }
    std::size_t count = 0, used = 0, skip = written_;
    bool copying = false;  // the last piece is in the buffer, and may become longer
    total = 0;
    auto const add = [&](std::string_view bytes) {
      bool const is_small = bytes.size() <= largest_copied;
      if (is_small && bytes.size() > buffer.size() - used) return false;
      if (count == most_pieces && !(is_small && copying)) return false;
      if (is_small) std::memcpy(buffer.data() + used, bytes.data(), bytes.size());
      if (is_small && copying)
        into[count - 1].iov_len += bytes.size();
      else
        into[count++] = is_small ? iovec{buffer.data() + used, bytes.size()} : piece(bytes);
      copying = is_small;
      used += is_small ? bytes.size() : 0;
      total += bytes.size();
      return true;
    };
    for (write_part const* p = first_; p != nullptr; p = p->next) {
      if (!p->holds_frames) {
        if (!add({static_cast<bytes_part const*>(p)->bytes + p->begin, std::size_t{p->end} - p->begin})) break;
        continue;
      }
      for (std::size_t i = p->begin; i != p->end; ++i) {
        if (!add(static_cast<frames_part const*>(p)->frames[i].websocket().substr(skip))) return count;
        skip = 0;
      }
    }
    return count;
  }
  /// The first `n` bytes have been written. @pre n <= size()
  void remove(write_parts& to, std::size_t n) noexcept {
    if (n == size_) return clear(to);
    size_ -= n;
    if (!only_.empty()) {
      written_ += n;
      return;
    }
    while (n != 0) {
      write_part& p = *first_;
      if (p.holds_frames) {
        frame& f = static_cast<frames_part&>(p).frames[p.begin];
        std::size_t const left = f.websocket().size() - written_;
        if (n < left) {
          written_ += n;
          return;
        }
        n -= left;
        written_ = 0;
        f = frame();
        ++p.begin;
      } else {
        auto const part = static_cast<std::uint16_t>((std::min)(n, std::size_t{p.end} - p.begin));
        n -= part;
        p.begin = static_cast<std::uint16_t>(p.begin + part);
      }
      if (p.begin == p.end) give_first(to);
    }
  }
  void clear(write_parts& to) noexcept {
    only_ = frame();
    written_ = size_ = 0;
    while (first_ != nullptr) {
      if (first_->holds_frames)
        for (frame& f :
             std::span(static_cast<frames_part*>(first_)->frames).subspan(first_->begin, first_->end - first_->begin))
          f = frame();
      give_first(to);
    }
  }

 private:
  void push(write_part* p) noexcept {
    (last_ == nullptr ? first_ : last_->next) = p;
    last_ = p;
  }
  [[nodiscard]] bool push(write_parts& from, frame const& f) noexcept {
    if (last_ == nullptr || !last_->holds_frames || last_->end == frames_part::room) {
      frames_part* const fresh = from.take_frames();
      if (fresh == nullptr) return false;
      push(fresh);
    }
    static_cast<frames_part*>(last_)->frames[last_->end++] = f;
    return true;
  }
  /// The frame that was alone becomes the first part.
  [[nodiscard]] bool spread(write_parts& from) noexcept {
    if (only_.empty()) return true;
    if (!push(from, only_)) return false;
    only_ = frame();
    return true;
  }
  void give_first(write_parts& to) noexcept {
    write_part* const p = std::exchange(first_, first_->next);
    if (first_ == nullptr) last_ = nullptr;
    to.give(p);
  }
  static void copy(bytes_part& to, std::string_view bytes) noexcept {
    std::memcpy(to.bytes + to.end, bytes.data(), bytes.size());
    to.end = static_cast<std::uint16_t>(to.end + bytes.size());
  }

  write_part* first_ = nullptr;
  write_part* last_ = nullptr;
  frame only_{};  // what waits, if that is one frame
  std::size_t size_ = 0;
  std::size_t written_ = 0;  // of the first frame
};

static_assert(sizeof(frames_part) == 128 && sizeof(bytes_part) <= 1024 - 16);

}  // namespace epoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

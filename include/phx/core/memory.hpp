#ifndef PHX_CORE_MEMORY_HPP
#define PHX_CORE_MEMORY_HPP
// The allocation hook, and what is built on it: an array that reports failed growth, and a reference-counted block of bytes.

#include <phx/core/error.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {

/// The allocator of frames, topics, subscriptions, channels and mailbox items: malloc and free unless you set both. Both
/// may be called from any thread, at the same time. When `allocate` returns null, that frame is dropped or that join is
/// refused, and nothing else is affected.
struct memory {
  /// Returns memory aligned for std::max_align_t, or null when there is none. Must not throw.
  void* (*allocate)(std::size_t) noexcept = [](std::size_t n) noexcept -> void* { return std::malloc(n); };
  /// Frees what `allocate` returned; the size is the one that was asked for.
  void (*release)(void*, std::size_t) noexcept = [](void* p, std::size_t) noexcept { std::free(p); };
};

namespace detail {

template <class T, class... A>
[[nodiscard]] T* make(memory const& from, A&&... args) noexcept {
  void* at = from.allocate(sizeof(T));
  return at == nullptr ? nullptr : new (at) T(std::forward<A>(args)...);
}
template <class T>
void destroy(memory const& from, T* object) noexcept {
  if (object == nullptr) return;
  object->~T();
  from.release(object, sizeof(T));
}

/// A vector of trivially copyable values in memory from the hook. 16 bytes; growth returns false where std::vector throws.
/// It does not store the hook: the owner passes it, and must call free() before the array is destroyed.
template <class T>
class array {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  array() = default;
  array(array const&) = delete;
  array& operator=(array const&) = delete;
  ~array() = default;  // the owner has called free()

  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] T& operator[](std::size_t i) noexcept { return data_[i]; }
  [[nodiscard]] T const& operator[](std::size_t i) const noexcept { return data_[i]; }
  [[nodiscard]] T* begin() noexcept { return data_; }
  [[nodiscard]] T* end() noexcept { return data_ + size_; }
  [[nodiscard]] T const* begin() const noexcept { return data_; }
  [[nodiscard]] T const* end() const noexcept { return data_ + size_; }
  [[nodiscard]] T& back() noexcept { return data_[size_ - 1]; }

  [[nodiscard]] bool reserve(memory const& from, std::size_t n) noexcept {
    if (n <= capacity_) return true;
    // Most arrays are small (a socket has one channel): start with one element and grow by a half.
    std::size_t const grown = capacity_ + capacity_ / 2 + 1;
    std::size_t const room = n > grown ? n : grown;
    if (room > UINT32_MAX) return false;
    T* const fresh = static_cast<T*>(from.allocate(room * sizeof(T)));
    if (fresh == nullptr) return false;
    if (data_ != nullptr) {
      std::memcpy(static_cast<void*>(fresh), data_, size_ * sizeof(T));
      from.release(data_, capacity_ * sizeof(T));
    }
    data_ = fresh;
    capacity_ = static_cast<std::uint32_t>(room);
    return true;
  }
  [[nodiscard]] bool push(memory const& from, T const& value) noexcept {
    T const copy = value;  // `value` may be an element of this array
    if (!reserve(from, std::size_t{size_} + 1)) return false;
    new (data_ + size_) T(copy);
    ++size_;
    return true;
  }
  [[nodiscard]] bool append(memory const& from, T const* values, std::size_t n) noexcept {
    if (!reserve(from, size_ + n)) return false;
    if (n != 0) std::memcpy(static_cast<void*>(data_ + size_), values, n * sizeof(T));
    size_ += static_cast<std::uint32_t>(n);
    return true;
  }
  void pop() noexcept { --size_; }
  void clear() noexcept { size_ = 0; }
  void swap(array& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  void free(memory const& from) noexcept {
    if (data_ != nullptr) from.release(data_, capacity_ * sizeof(T));
    data_ = nullptr;
    size_ = capacity_ = 0;
  }

 private:
  T* data_ = nullptr;
  std::uint32_t size_ = 0, capacity_ = 0;
};

/// A block of bytes with an atomic reference count; payloads and frames share it. The bytes follow the header.
struct block {
  std::atomic<std::uint32_t> count{1};
  std::uint32_t capacity;
  void (*release)(void*, std::size_t) noexcept;

  block(std::uint32_t room, void (*function)(void*, std::size_t) noexcept) noexcept : capacity(room), release(function) {}
  [[nodiscard]] char* bytes() noexcept { return reinterpret_cast<char*>(this + 1); }
  [[nodiscard]] char const* bytes() const noexcept { return reinterpret_cast<char const*>(this + 1); }
  [[nodiscard]] static block* make(memory const& from, std::size_t room) noexcept {
    if (room > UINT32_MAX - 64) return nullptr;
    void* const at = from.allocate(sizeof(block) + room);
    return at == nullptr ? nullptr : new (at) block(static_cast<std::uint32_t>(room), from.release);
  }
  void add_ref() noexcept { count.fetch_add(1, std::memory_order_relaxed); }
  void drop_ref() noexcept {
    // The last owner skips the atomic write: no other thread can reach the block any more.
    if (count.load(std::memory_order_acquire) == 1 || count.fetch_sub(1, std::memory_order_acq_rel) == 1)
      release(this, sizeof(block) + capacity);
  }
  [[nodiscard]] bool unique() const noexcept { return count.load(std::memory_order_acquire) == 1; }
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

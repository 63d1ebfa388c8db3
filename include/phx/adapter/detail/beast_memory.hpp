#ifndef PHX_ADAPTER_DETAIL_BEAST_MEMORY_HPP
#define PHX_ADAPTER_DETAIL_BEAST_MEMORY_HPP
// Memory that the Beast host sets aside for Asio's operations, so that none of those it depends on can fail for want of it.
//
// Where Asio allocates, and what is done about it:
//
// | what                                     | without memory Asio             | here
// | ---------------------------------------- | ------------------------------- | -----------------------------------------
// | a wait on a socket, a post, its dispatch | throws, before it has begun     | each has an op_room, which is large enough
// | an accept                                | throws out of io_context::run   | not used: a wait, then accept (core::admit)
// | a wait of a timer: its operation         | throws, before it has begun     | an op_room; one wait at a time
// | a wait of a timer: the vector of timers  | throws, before it has begun     | tried again, a millisecond later
// | a strand scheduling itself: from a post  | throws; the strand stands still | reserved_executor
// | a strand scheduling itself: after a turn | throws in a destructor: aborts  | reserved_executor
//
// The last two are so in every Boost from 1.74 to 1.90 at least: a program's own strands on the same io_context have them.

#include <phx/core/time.hpp>

#include <utility>  // before Asio: Boost 1.74 uses std::exchange and forgets this

#include <boost/asio/error.hpp>
#include <boost/asio/execution.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/require.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>
#include <type_traits>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

namespace net = boost::asio;
using error_code = boost::system::error_code;

/// Memory for one operation at a time. It is taken and given back by one thread after another, never by two at once.
struct op_room {
  static constexpr std::size_t size = 160;
  alignas(std::max_align_t) char bytes[size];
  bool taken = false;
};
/// Gives out the room; while that is taken, memory from the heap.
template <class T>
class op_allocator {
 public:
  using value_type = T;
  explicit op_allocator(op_room& room) noexcept : room_(&room) {}
  template <class U>
  op_allocator(op_allocator<U> const& other) noexcept : room_(other.room_) {}

  [[nodiscard]] T* allocate(std::size_t n) {
    static_assert(sizeof(T) <= op_room::size && alignof(T) <= alignof(std::max_align_t));
    if (room_->taken || n != 1) return std::allocator<T>{}.allocate(n);
    room_->taken = true;
    return static_cast<T*>(static_cast<void*>(room_->bytes));
  }
  void deallocate(T* at, std::size_t n) noexcept {
    if (static_cast<void*>(at) != room_->bytes) return std::allocator<T>{}.deallocate(at, n);
    room_->taken = false;
  }
  template <class U>
  [[nodiscard]] friend bool operator==(op_allocator const& a, op_allocator<U> const& b) noexcept {
    return a.room_ == b.room_;
  }
  template <class U>
  [[nodiscard]] friend bool operator!=(op_allocator const& a, op_allocator<U> const& b) noexcept {
    return a.room_ != b.room_;
  }

 private:
  template <class U>
  friend class op_allocator;
  op_room* room_;
};

/// A handler whose operations take that room. The room is part of something that the handler keeps alive.
template <class F>
class in_room {
 public:
  in_room(op_room& room, F f) noexcept : room_(&room), f_(std::move(f)) {}
  using allocator_type = op_allocator<char>;
  [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*room_); }
  template <class... A>
  void operator()(A... a) {
    f_(a...);
  }

 private:
  op_room* room_;
  F f_;
};

class core;

/// What a strand is scheduled with. A strand is in its io_context's queue once at most.
class strand_memory {
 public:
  explicit strand_memory(core& owner) noexcept : owner_(&owner) {}
  strand_memory(strand_memory const&) = delete;
  strand_memory& operator=(strand_memory const&) = delete;
  ~strand_memory() = default;
  /// Keeps this alive. @pre something does already.
  [[nodiscard]] std::shared_ptr<void> owner() const;
  op_room room{};

 private:
  core* owner_;
};

/// The executor of an io_context, for one strand: whatever allocator the strand asks for, it is scheduled in strand_memory.
template <class Inner>
class reserved_executor {
 public:
  reserved_executor(Inner inner, strand_memory& memory) noexcept : inner_(std::move(inner)), memory_(&memory) {}

  template <class F>
  void execute(F&& f) const {
    net::prefer(inner_, net::execution::allocator(op_allocator<char>(memory_->room)))
        .execute(kept<std::decay_t<F>>{memory_->owner(), std::forward<F>(f)});
  }
  template <class P>
  requires(net::can_query<Inner const&, P>::value) [[nodiscard]] decltype(auto) query(P const& p) const
      noexcept(net::is_nothrow_query<Inner const&, P>::value) {
    return net::query(inner_, p);
  }
  template <class P>
  requires(net::can_require<Inner const&, P>::value) [[nodiscard]] auto require(P const& p) const
      noexcept(net::is_nothrow_require<Inner const&, P>::value) {
    return reserved_executor<std::decay_t<decltype(net::require(inner_, p))>>(net::require(inner_, p), *memory_);
  }
  template <class P>
  requires(net::can_prefer<Inner const&, P>::value) [[nodiscard]] auto prefer(P const& p) const
      noexcept(net::is_nothrow_prefer<Inner const&, P>::value) {
    return reserved_executor<std::decay_t<decltype(net::prefer(inner_, p))>>(net::prefer(inner_, p), *memory_);
  }
  [[nodiscard]] friend bool operator==(reserved_executor const& a, reserved_executor const& b) noexcept {
    return a.inner_ == b.inner_;
  }
  [[nodiscard]] friend bool operator!=(reserved_executor const& a, reserved_executor const& b) noexcept { return !(a == b); }

 private:
  template <class F>
  struct kept {
    std::shared_ptr<void> owner;  // destroyed last
    F f;
    void operator()() { f(); }
  };
  Inner inner_;
  strand_memory* memory_;
};

/// Things to do inside a strand that need no memory: a set of bits, and one post while there are any.
class strand_tasks {
 public:
  /// From any thread. @param owner is kept until it is done, and keeps all this. @param perform calls take().
  template <class Strand, class Owner, class F>
  void request(Strand const& in, Owner& owner, unsigned tasks, F perform) noexcept {
    if (bits_.fetch_or(tasks, std::memory_order_acq_rel) != 0) return;
    if (auto alive = owner.weak_from_this().lock())
      net::post(in, in_room(room_, [alive = std::move(alive), perform] { perform(); }));
  }
  [[nodiscard]] unsigned take() noexcept { return bits_.exchange(0, std::memory_order_acq_rel); }

 private:
  std::atomic<unsigned> bits_{0};
  op_room room_{};
};

/// Before something is tried again that had no memory: others may give some back meanwhile.
inline void without_memory() noexcept { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_BEAST_DETAIL_OPERATION_MEMORY_HPP
#define PHX_ADAPTER_BEAST_DETAIL_OPERATION_MEMORY_HPP
// Memory that is reserved for Asio's operations, so that no operation the host depends on can fail for lack of memory.
//
// Where Asio allocates, and what the host does about it:
//
// | operation                                | without memory Asio             | the host
// | ---------------------------------------- | ------------------------------- | -----------------------------------------------
// | a wait on a socket, a post, its dispatch | throws, before it has begun     | an operation_memory, large enough, for each
// | an accept                                | throws out of io_context::run   | does not use it: waits, then accepts (acceptor)
// | a wait of a timer: its operation         | throws, before it has begun     | an operation_memory; one wait at a time
// | a wait of a timer: the vector of timers  | throws, before it has begun     | tries again a millisecond later
// | a strand scheduling itself: from a post  | throws; the strand stands still | strand_executor
// | a strand scheduling itself: after a turn | throws in a destructor: aborts  | strand_executor
//
// The last two are so in every Boost from 1.74 to 1.90 at least: a program's own strands on the same io_context have them.

#include <phx/core/error.hpp>

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

/// Runs `f`; false if it threw.
template <class F>
[[nodiscard]] bool attempt(F&& f) noexcept {
  return phx::detail::try_invoke(std::forward<F>(f), [](char const*) noexcept {});
}

/// Memory for one operation at a time. One thread after another may use it, never two at once.
struct operation_memory {
  static constexpr std::size_t size = 160;
  alignas(std::max_align_t) char bytes[size];
  bool used = false;
};
/// Allocates from an operation_memory; while that is in use, from the heap.
template <class T>
class operation_allocator {
 public:
  using value_type = T;
  explicit operation_allocator(operation_memory& from) noexcept : memory_(&from) {}
  template <class U>
  operation_allocator(operation_allocator<U> const& other) noexcept : memory_(other.memory_) {}

  [[nodiscard]] T* allocate(std::size_t n) {
    static_assert(sizeof(T) <= operation_memory::size && alignof(T) <= alignof(std::max_align_t));
    if (memory_->used || n != 1) return std::allocator<T>{}.allocate(n);
    memory_->used = true;
    return static_cast<T*>(static_cast<void*>(memory_->bytes));
  }
  void deallocate(T* p, std::size_t n) noexcept {
    if (static_cast<void*>(p) != memory_->bytes) return std::allocator<T>{}.deallocate(p, n);
    memory_->used = false;
  }
  template <class U>
  [[nodiscard]] friend bool operator==(operation_allocator const& a, operation_allocator<U> const& b) noexcept {
    return a.memory_ == b.memory_;
  }
  template <class U>
  [[nodiscard]] friend bool operator!=(operation_allocator const& a, operation_allocator<U> const& b) noexcept {
    return a.memory_ != b.memory_;
  }

 private:
  template <class U>
  friend class operation_allocator;
  operation_memory* memory_;
};

/// A handler whose operations are allocated in `memory`, which is part of something that the handler keeps alive.
template <class F>
class with_memory {
 public:
  with_memory(operation_memory& memory, F f) noexcept : memory_(&memory), f_(std::move(f)) {}
  using allocator_type = operation_allocator<char>;
  [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*memory_); }
  template <class... A>
  void operator()(A... a) {
    f_(a...);
  }

 private:
  operation_memory* memory_;
  F f_;
};

class server_state;

/// What one strand is scheduled with. A strand is in its io_context's queue at most once, so one operation_memory is enough.
class strand_memory {
 public:
  explicit strand_memory(server_state& owner) noexcept : owner_(&owner) {}
  strand_memory(strand_memory const&) = delete;
  strand_memory& operator=(strand_memory const&) = delete;
  ~strand_memory() = default;
  /// Keeps this alive. @pre the owner is not being destroyed.
  [[nodiscard]] std::shared_ptr<void> owner() const;
  operation_memory memory{};

 private:
  server_state* owner_;
};

/// The executor of an io_context, for one strand: whatever allocator the strand asks for, it is scheduled in strand_memory.
template <class Inner>
class strand_executor {
 public:
  strand_executor(Inner inner, strand_memory& memory) noexcept : inner_(std::move(inner)), memory_(&memory) {}

  template <class F>
  void execute(F&& f) const {
    net::prefer(inner_, net::execution::allocator(operation_allocator<char>(memory_->memory)))
        .execute(owned<std::decay_t<F>>{memory_->owner(), std::forward<F>(f)});
  }
  template <class P>
  requires(net::can_query<Inner const&, P>::value) [[nodiscard]] decltype(auto) query(P const& p) const
      noexcept(net::is_nothrow_query<Inner const&, P>::value) {
    return net::query(inner_, p);
  }
  template <class P>
  requires(net::can_require<Inner const&, P>::value) [[nodiscard]] auto require(P const& p) const
      noexcept(net::is_nothrow_require<Inner const&, P>::value) {
    return strand_executor<std::decay_t<decltype(net::require(inner_, p))>>(net::require(inner_, p), *memory_);
  }
  template <class P>
  requires(net::can_prefer<Inner const&, P>::value) [[nodiscard]] auto prefer(P const& p) const
      noexcept(net::is_nothrow_prefer<Inner const&, P>::value) {
    return strand_executor<std::decay_t<decltype(net::prefer(inner_, p))>>(net::prefer(inner_, p), *memory_);
  }
  [[nodiscard]] friend bool operator==(strand_executor const& a, strand_executor const& b) noexcept {
    return a.inner_ == b.inner_;
  }
  [[nodiscard]] friend bool operator!=(strand_executor const& a, strand_executor const& b) noexcept { return !(a == b); }

 private:
  template <class F>
  struct owned {
    std::shared_ptr<void> owner;  // destroyed last
    F f;
    void operator()() { f(); }
  };
  Inner inner_;
  strand_memory* memory_;
};

/// Tasks to do inside a strand, requested without memory: a set of bits, and one post while any is set.
class strand_tasks {
 public:
  /// From any thread. @param owner is kept alive until the tasks are done, and with it all this. @param perform calls
  /// take().
  template <class Strand, class Owner, class F>
  void request(Strand const& strand, Owner& owner, unsigned tasks, F perform) noexcept {
    if (bits_.fetch_or(tasks, std::memory_order_acq_rel) != 0) return;
    if (auto alive = owner.weak_from_this().lock())
      net::post(strand, with_memory(memory_, [alive = std::move(alive), perform] { perform(); }));
  }
  [[nodiscard]] unsigned take() noexcept { return bits_.exchange(0, std::memory_order_acq_rel); }

 private:
  std::atomic<unsigned> bits_{0};
  operation_memory memory_{};
};

/// Before something that failed for lack of memory is tried again: other threads may free some meanwhile.
inline void pause_for_memory() noexcept { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

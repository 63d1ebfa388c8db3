#ifndef TESTS_SUPPORT_HEAP_HPP
#define TESTS_SUPPORT_HEAP_HPP
// operator new of the test programs (heap.cpp defines it): counts allocations, and fails if a test requests it. It sees
// allocations that bypass phx's memory hook.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace support {

struct heap {
  static inline std::atomic<std::size_t> allocations{0};
  static inline std::atomic<std::size_t> fail_at{SIZE_MAX};  // the allocation (by `allocations`) that fails
  static inline std::atomic<bool> fail_on{false};            // and all after it

  /// Whether this allocation fails. A program may set a function of its own; the default is for `failure`.
  static inline std::atomic<bool (*)() noexcept> fails{[]() noexcept {
    std::size_t const number = allocations++;
    return number == fail_at || (fail_on && number > fail_at);
  }};
  /// What operator new calls: null if it fails. std::free frees it.
  [[nodiscard]] static void* allocate(std::size_t n) noexcept;

  /// During its lifetime the allocation after `n` others fails, and with `all_after` every later one too. Allocations of
  /// other threads count as well.
  class failure {
   public:
    explicit failure(std::size_t n, bool all_after = false) noexcept {
      fail_on = all_after;
      fail_at = allocations + n;
    }
    failure(failure const&) = delete;
    failure& operator=(failure const&) = delete;
    ~failure() { stop(); }
    /// @return true if the allocation that was to fail was requested.
    static bool stop() noexcept {
      bool const reached = allocations > fail_at;
      fail_at = SIZE_MAX;
      fail_on = false;
      return reached;
    }
  };
};

}  // namespace support

#endif

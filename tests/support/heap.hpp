#ifndef TESTS_SUPPORT_HEAP_HPP
#define TESTS_SUPPORT_HEAP_HPP
// The test program's operator new: counted, and failing when a test asks for it. It sees what goes past phx's memory hook.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace support {

struct heap {
  static inline std::atomic<std::size_t> allocations{0};
  static inline std::atomic<std::size_t> fail_at{SIZE_MAX};  // the allocation (by `allocations`) that fails
  static inline std::atomic<bool> fail_on{false};            // and all after it

  /// While it lives the allocation that comes after `n` others fails, and with `all_after` every one after that too.
  /// Other threads' allocations count as well.
  class failure {
   public:
    explicit failure(std::size_t n, bool all_after = false) noexcept {
      fail_on = all_after;
      fail_at = allocations + n;
    }
    failure(failure const&) = delete;
    failure& operator=(failure const&) = delete;
    ~failure() { stop(); }
    /// @return whether the allocation that was to fail was asked for.
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

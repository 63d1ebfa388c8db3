#ifndef PHX_ADAPTER_REDIS_DETAIL_WAKE_EVENT_HPP
#define PHX_ADAPTER_REDIS_DETAIL_WAKE_EVENT_HPP

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>

#include <phx/core/time.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// A timeout for poll(): rounded up, at most a minute.
[[nodiscard]] inline int poll_timeout(duration d) noexcept {
  auto const ms = std::chrono::duration_cast<std::chrono::milliseconds>(d).count() + 1;
  return ms < 0 ? 0 : ms > 60'000 ? 60'000 : static_cast<int>(ms);
}

/// An eventfd that wakes a thread which waits in poll(). Linux.
class wake_event {
 public:
  wake_event() noexcept : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  wake_event(wake_event const&) = delete;
  wake_event& operator=(wake_event const&) = delete;
  ~wake_event() {
    if (fd_ >= 0) ::close(fd_);
  }
  /// From any thread.
  void wake() noexcept {
    std::uint64_t const one = 1;
    (void)!::write(fd_, &one, sizeof one);
  }
  [[nodiscard]] pollfd to_poll() const noexcept { return {fd_, POLLIN, 0}; }
  /// After it woke poll(): poll() waits again until the next wake().
  void clear() noexcept {
    std::uint64_t ignored;
    (void)!::read(fd_, &ignored, sizeof ignored);
  }
  void wait(duration limit) noexcept {
    pollfd woken = to_poll();
    (void)::poll(&woken, 1, poll_timeout(limit));
    clear();
  }

 private:
  int fd_;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

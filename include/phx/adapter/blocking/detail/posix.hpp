#ifndef PHX_ADAPTER_BLOCKING_DETAIL_POSIX_HPP
#define PHX_ADAPTER_BLOCKING_DETAIL_POSIX_HPP
// What the blocking host asks of POSIX, without phx in it.

#include <phx/core/close.hpp>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Only adapters read a clock; phx gets the time as an argument.
[[nodiscard]] inline time_point clock_now() noexcept { return std::chrono::steady_clock::now(); }

/// For poll: -1 is for ever. Rounded up, or its caller would spin through the last millisecond.
[[nodiscard]] inline int milliseconds_until(time_point when) noexcept {
  if (when == (time_point::max)()) return -1;
  time_point const now = clock_now();
  if (when <= now) return 0;
  auto const left = std::chrono::ceil<std::chrono::milliseconds>(when - now).count();
  return static_cast<int>(left < 3'600'000 ? left : 3'600'000);
}
[[nodiscard]] inline bool readable_before(int fd, time_point deadline) noexcept {
  for (;;) {
    int const left = milliseconds_until(deadline);
    pollfd on{fd, POLLIN, 0};
    int const n = left == 0 ? 0 : ::poll(&on, 1, left);
    if (n >= 0 || errno != EINTR) return n > 0;
  }
}
/// As recv: 0 at the end, below 0 for an error.
[[nodiscard]] inline ssize_t receive_some(int fd, std::span<char> into) noexcept {
  for (;;) {
    ssize_t const n = ::recv(fd, into.data(), into.size(), 0);
    if (n >= 0 || errno != EINTR) return n;
  }
}
/// @param deadline looked at between two calls, neither of which takes longer than accept_from's patience
[[nodiscard]] inline bool send_all(int fd, std::string_view bytes, time_point deadline) noexcept {
  while (!bytes.empty()) {
    if (clock_now() >= deadline) return false;
    ssize_t const n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0 && errno != EINTR) return false;
    if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// `seed`; if it is 0, a random number. Still 0 where the kernel has none.
[[nodiscard]] inline std::uint64_t seed_or_random(std::uint64_t seed) noexcept {
  if (seed == 0 && ::getentropy(&seed, sizeof seed) != 0) seed = 0;
  return seed;
}

/// A thread; std::thread without the exceptions, whose header costs more to compile than this. Joined before it is destroyed.
class thread {
 public:
  /// Calls `body()` on a thread of its own. False: there is none to be had. @param body outlives it
  template <class F>
  [[nodiscard]] bool start(F& body) noexcept {
    auto const run = [](void* f) noexcept -> void* {
      (*static_cast<F*>(f))();
      return nullptr;
    };
    return ::pthread_create(&id_, nullptr, run, &body) == 0;
  }
  void join() noexcept { (void)::pthread_join(id_, nullptr); }

 private:
  ::pthread_t id_{};
};

/// A byte in here gets a thread out of poll.
class self_pipe {
 public:
  self_pipe() noexcept {
    if (::pipe(ends_) != 0) return;
    for (int const end : ends_) {
      (void)::fcntl(end, F_SETFL, O_NONBLOCK);
      (void)::fcntl(end, F_SETFD, FD_CLOEXEC);
    }
  }
  self_pipe(self_pipe const&) = delete;
  self_pipe& operator=(self_pipe const&) = delete;
  ~self_pipe() {
    for (int const end : ends_)
      if (end >= 0) (void)::close(end);
  }
  /// Async-signal-safe. A full pipe is as good as a byte in it.
  void write() noexcept {
    int const before = errno;
    [[maybe_unused]] ssize_t const n = ::write(ends_[1], "", 1);
    errno = before;
  }
  [[nodiscard]] int readable() const noexcept { return ends_[0]; }
  void drain() noexcept {
    char bytes[64];
    while (::read(ends_[0], bytes, sizeof bytes) > 0) {
    }
  }

 private:
  int ends_[2] = {-1, -1};
};

/// Connections that were told no and have no thread to wait until they have read it: closed when they hang up, or a while
/// later. With bytes unread the kernel would reset them, answer and all.
class rejected_connections {
 public:
  static constexpr std::size_t most = 64;  ///< at once; beyond, the next is closed without a wait

  explicit rejected_connections(duration patience) noexcept : patience_(patience) {}
  rejected_connections(rejected_connections const&) = delete;
  rejected_connections& operator=(rejected_connections const&) = delete;
  ~rejected_connections() {
    while (count_ != 0) (void)::close(all_[--count_].fd);
  }
  /// Takes a socket whose answer fits into the kernel's buffer.
  void add(int fd, std::string_view answer) noexcept {
    (void)::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)::shutdown(fd, SHUT_WR);
    if (count_ == most)
      (void)::close(fd);
    else
      all_[count_++] = {fd, saturating_add(clock_now(), patience_)};
  }
  /// Closes those whose time has come. @return when to look again: before that nobody is in a hurry.
  [[nodiscard]] time_point look() noexcept {
    time_point const now = clock_now();
    std::size_t stay = 0;
    for (std::size_t i = 0; i < count_; ++i) {
      char bytes[4096];
      ssize_t const n = ::recv(all_[i].fd, bytes, sizeof bytes, MSG_DONTWAIT);
      bool const there = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
      if (there && now < all_[i].until)
        all_[stay++] = all_[i];
      else
        (void)::close(all_[i].fd);
    }
    count_ = stay;
    return count_ == 0 ? (time_point::max)() : all_[0].until;
  }

 private:
  struct one {
    int fd;
    time_point until;
  };
  duration patience_;
  one all_[most] = {};
  std::size_t count_ = 0;
};

/// A listening socket, or fd < 0 and an errno.
struct listener {
  int fd = -1;
  int error = 0;
  std::uint16_t port = 0;  ///< the one it got

  listener(std::string const& address, std::uint16_t wanted) noexcept {
    char digits[8] = {};
    char* service = digits + 7;
    unsigned rest = wanted;
    do *--service = static_cast<char>('0' + rest % 10);
    while ((rest /= 10) != 0);

    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
    addrinfo* at = nullptr;
    if (::getaddrinfo(address.c_str(), service, &hints, &at) != 0) {
      error = EINVAL;
      return;
    }
    int const on = 1;
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    fd = ::socket(at->ai_family, SOCK_STREAM, 0);
    bool const good = fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                      ::fcntl(fd, F_SETFL, O_NONBLOCK) == 0 && ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
                      ::bind(fd, at->ai_addr, at->ai_addrlen) == 0 && ::listen(fd, SOMAXCONN) == 0 &&
                      ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) == 0;
    if (!good) error = errno;
    ::freeaddrinfo(at);
    if (good)
      port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6 const&>(bound).sin6_port
                                               : reinterpret_cast<sockaddr_in const&>(bound).sin_port);
    else
      close();
  }
  listener(listener const&) = delete;
  listener& operator=(listener const&) = delete;
  ~listener() { close(); }
  void close() noexcept {
    if (fd >= 0) (void)::close(std::exchange(fd, -1));
  }
};

struct accepted_socket {
  int fd = -1;
  char host[120] = {};  // or `unix:` and a path, where a PROXY header says so
  std::uint16_t port = 0;
};
/// A blocking socket whose send gives up, with EAGAIN, when the other end has taken nothing for `patience`.
/// fd < 0: none came.
[[nodiscard]] inline accepted_socket accept_from(int listening, duration patience) noexcept {
  accepted_socket s;
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  s.fd = ::accept(listening, reinterpret_cast<sockaddr*>(&from), &size);
  if (s.fd < 0) {
    // Out of descriptors: the listener stays readable, so do not spin.
    if (errno == EMFILE || errno == ENFILE) (void)::poll(nullptr, 0, 20);
    return s;
  }
  auto const micro = std::chrono::ceil<std::chrono::microseconds>(patience).count();
  timeval const limit{static_cast<time_t>(micro / 1'000'000), static_cast<suseconds_t>(micro % 1'000'000)};
  int const on = 1;
  (void)::fcntl(s.fd, F_SETFL, 0);
  (void)::fcntl(s.fd, F_SETFD, FD_CLOEXEC);
  (void)::setsockopt(s.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  // phx says when a turn ends; Nagle would wait for more.
  (void)::setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  char service[8] = {};
  (void)::getnameinfo(reinterpret_cast<sockaddr const*>(&from), size, s.host, sizeof s.host, service, sizeof service,
                      NI_NUMERICHOST | NI_NUMERICSERV);
  s.port = static_cast<std::uint16_t>(std::strtoul(service, nullptr, 10));
  return s;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_EPOLL_DETAIL_NET_HPP
#define PHX_ADAPTER_EPOLL_DETAIL_NET_HPP
// What the epoll host asks of Linux: sockets that do not block and that no program started later inherits.

#include <phx/adapter/blocking/detail/posix.hpp>
#include <phx/http/request.hpp>

#ifndef __linux__
#error "phx/adapter/epoll.hpp needs Linux"
#endif

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll::detail {

using phx::detail::clock_now;
using phx::detail::milliseconds_until;
using phx::detail::try_invoke;

/// Owns a file descriptor.
class descriptor {
 public:
  explicit descriptor(int fd = -1) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor() {
    if (fd_ >= 0) (void)::close(fd_);
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

/// Where a client is.
struct peer_address {
  char text[120] = "unix:";  // and a path, where a PROXY header says so
  std::uint16_t port = 0;

  peer_address() = default;
  /// What a PROXY header says.
  explicit peer_address(peer_data const& peer) noexcept : port(peer.port) {
    text[peer.address.copy(text, sizeof text - 1)] = '\0';
  }
  explicit peer_address(sockaddr_storage const& from) noexcept {
    if (from.ss_family == AF_INET) {
      auto const& at = reinterpret_cast<sockaddr_in const&>(from);
      write_v4(ntohl(at.sin_addr.s_addr));
      port = ntohs(at.sin_port);
    } else if (from.ss_family == AF_INET6) {
      auto const& at = reinterpret_cast<sockaddr_in6 const&>(from);
      (void)::inet_ntop(AF_INET6, &at.sin6_addr, text, sizeof text);
      port = ntohs(at.sin6_port);
    }
  }

 private:
  /// As inet_ntop, which goes through printf for each client.
  void write_v4(std::uint32_t address) noexcept {
    char* to = text;
    for (int shift = 24; shift >= 0; shift -= 8) {
      unsigned const part = address >> shift & 0xff;
      if (part >= 100) *to++ = static_cast<char>('0' + part / 100);
      if (part >= 10) *to++ = static_cast<char>('0' + part / 10 % 10);
      *to++ = static_cast<char>('0' + part % 10);
      *to++ = shift == 0 ? '\0' : '.';
    }
  }
};

/// A connection, and its place in the counts of all and of its loop.
class tcp_socket {
 public:
  using count = std::atomic<std::uint32_t>;
  tcp_socket(descriptor fd, count& all, count& of_loop) noexcept : fd_(std::move(fd)), all_(&all), of_loop_(&of_loop) {
    all.fetch_add(1, std::memory_order_relaxed);
    of_loop.fetch_add(1, std::memory_order_relaxed);
  }
  tcp_socket(tcp_socket&& other) noexcept
      : fd_(std::move(other.fd_)), all_(std::exchange(other.all_, nullptr)), of_loop_(other.of_loop_) {}
  tcp_socket& operator=(tcp_socket&&) = delete;
  ~tcp_socket() {
    fd_ = descriptor();
    if (all_ == nullptr) return;
    all_->fetch_sub(1, std::memory_order_relaxed);
    of_loop_->fetch_sub(1, std::memory_order_release);
  }
  [[nodiscard]] int get() const noexcept { return fd_.get(); }

 private:
  descriptor fd_;
  count* all_;
  count* of_loop_;
};

/// A connection on its way to its loop.
struct arrival {
  tcp_socket socket;
  peer_address peer;
};

/// A listening socket; TCP, or a Unix socket, whose file it removes.
class listener {
 public:
  listener() = default;
  listener(listener const&) = delete;
  listener& operator=(listener const&) = delete;
  ~listener() { close(); }

  /// @return 0, or an errno.
  [[nodiscard]] int open(std::string const& address, std::uint16_t port, bool reuse_port) noexcept {
    int const error = is_unix(address) ? open_unix(std::string_view(address).substr(unix_prefix.size()))
                                       : open_tcp(address.c_str(), port, reuse_port);
    if (error != 0) fd_ = descriptor();
    return error;
  }
  void close() noexcept {
    if (!fd_) return;
    fd_ = descriptor();
    if (file_[0] != '\0') (void)::unlink(file_);
  }
  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }  ///< 0 of a Unix socket

  [[nodiscard]] static bool is_unix(std::string_view address) noexcept { return address.starts_with(unix_prefix); }

  /// The next client; empty: none, errno says why. @param send_buffer 0: the kernel's choice
  [[nodiscard]] descriptor accept(std::uint32_t send_buffer, peer_address& peer) const noexcept {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    descriptor s(::accept4(get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!s) return s;
    peer = peer_address(from);
    int const on = 1;  // phx says when a turn ends; Nagle's algorithm would wait for more
    if (from.ss_family != AF_UNIX) (void)::setsockopt(s.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int const bytes = static_cast<int>((std::min)(send_buffer, 1U << 30));
    if (bytes != 0) (void)::setsockopt(s.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return s;
  }
  /// Whether an errno of accept concerns that one client only: the next one may be there.
  [[nodiscard]] static bool only_that_one(int error) noexcept {
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM || error == ENETDOWN ||
           error == ENETUNREACH || error == EHOSTDOWN || error == EHOSTUNREACH || error == ENOPROTOOPT ||
           error == EOPNOTSUPP || error == ETIMEDOUT;
  }

 private:
  static constexpr std::string_view unix_prefix = "unix:";

  [[nodiscard]] int listen_on(int family, sockaddr const* at, socklen_t size, bool reuse_port) noexcept {
    fd_ = descriptor(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int const on = 1;
    if (family != AF_UNIX && ::setsockopt(get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return errno;
    if (reuse_port && ::setsockopt(get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return errno;
    return ::bind(get(), at, size) != 0 || ::listen(get(), SOMAXCONN) != 0 ? errno : 0;
  }
  [[nodiscard]] int open_tcp(char const* address, std::uint16_t port, bool reuse_port) noexcept {
    sockaddr_in four{};
    sockaddr_in6 six{};
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    int error = EINVAL;
    if (::inet_pton(AF_INET, address, &four.sin_addr) == 1) {
      four.sin_family = AF_INET;
      four.sin_port = htons(port);
      error = listen_on(AF_INET, reinterpret_cast<sockaddr*>(&four), sizeof four, reuse_port);
    } else if (::inet_pton(AF_INET6, address, &six.sin6_addr) == 1) {
      six.sin6_family = AF_INET6;
      six.sin6_port = htons(port);
      error = listen_on(AF_INET6, reinterpret_cast<sockaddr*>(&six), sizeof six, reuse_port);
    }
    if (error != 0) return error;
    if (::getsockname(get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) return errno;
    port_ = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6 const&>(bound).sin6_port
                                              : reinterpret_cast<sockaddr_in const&>(bound).sin_port);
    return 0;
  }
  [[nodiscard]] int open_unix(std::string_view path) noexcept {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof at.sun_path) return EINVAL;
    std::memcpy(at.sun_path, path.data(), path.size());
    bool const abstract = path.front() == '@';
    if (abstract) at.sun_path[0] = '\0';
    auto const size =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? std::size_t{0} : std::size_t{1}));
    auto const* const where = reinterpret_cast<sockaddr const*>(&at);
    int error = listen_on(AF_UNIX, where, size, false);
    if (error == EADDRINUSE && !abstract && nobody_listens(where, size, at.sun_path)) {
      (void)::unlink(at.sun_path);
      error = listen_on(AF_UNIX, where, size, false);
    }
    if (error == 0 && !abstract) std::memcpy(file_, at.sun_path, sizeof file_);
    return error;
  }
  /// A socket's file that a server has left behind.
  [[nodiscard]] static bool nobody_listens(sockaddr const* at, socklen_t size, char const* file) noexcept {
    struct stat is {};
    if (::lstat(file, &is) != 0 || !S_ISSOCK(is.st_mode)) return false;
    descriptor const probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    return probe && ::connect(probe.get(), at, size) != 0 && errno == ECONNREFUSED;
  }

  descriptor fd_{};
  std::uint16_t port_ = 0;
  char file_[sizeof(sockaddr_un::sun_path)] = {};
};

/// Gets one loop out of epoll_wait. From any thread, and from a signal handler; from the loop's own it costs no system call.
class waker {
 public:
  waker() noexcept : event_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  void wake() noexcept {
    if (woken_.exchange(true) || !waits_.load()) return;
    int const before = errno;
    std::uint64_t const one = 1;
    [[maybe_unused]] ssize_t const n = ::write(event_.get(), &one, sizeof one);
    errno = before;
  }
  /// To be registered with EPOLLET: it is never read.
  [[nodiscard]] int get() const noexcept { return event_.get(); }

  /// Around epoll_wait, by its own thread. @return whether it was woken: then epoll_wait must not wait
  [[nodiscard]] bool begin_wait() noexcept {
    waits_.store(true);
    return woken_.load();
  }
  /// @return whether it was woken
  [[nodiscard]] bool end_wait() noexcept {
    waits_.store(false);
    return woken_.load(std::memory_order_relaxed) && woken_.exchange(false);
  }

 private:
  descriptor event_;
  std::atomic<bool> woken_{true}, waits_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);  // wake() is called in signal handlers
};

}  // namespace epoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_BEAST_DETAIL_LISTENING_SOCKET_HPP
#define PHX_ADAPTER_BEAST_DETAIL_LISTENING_SOCKET_HPP
// Opening, and accepting from, a listening socket. A program that the server starts does not inherit these sockets (close on
// exec); it would inherit Asio's own, and keep the port and the clients' connections open.

#include <phx/adapter/beast/detail/operation_memory.hpp>

#include <boost/asio/ip/tcp.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

[[nodiscard]] inline int close_on_exec(int fd) noexcept {
  if (fd >= 0) (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return fd;
}

/// As acceptor.open(protocol, ec), with close on exec. @par Errors: std::bad_alloc.
template <class Acceptor>
void open_listener(Acceptor& acceptor, net::ip::tcp const& protocol, error_code& ec) {
  struct descriptor {
    int fd;
    ~descriptor() {
      if (fd >= 0) (void)::close(fd);
    }
  };
#ifdef SOCK_CLOEXEC
  descriptor made{::socket(protocol.family(), protocol.type() | SOCK_CLOEXEC, protocol.protocol())};
#else
  descriptor made{close_on_exec(::socket(protocol.family(), protocol.type(), protocol.protocol()))};
#endif
  if (made.fd < 0) {
    ec = error_code(errno, net::error::get_system_category());
    return;
  }
  acceptor.assign(protocol, made.fd, ec);
  if (!ec) made.fd = -1;
}

/// The next client of a listening socket that does not block, with close on exec.
class accepted_socket {
 public:
  explicit accepted_socket(int listening) noexcept
#ifdef SOCK_CLOEXEC
      : fd_(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC)),
#else
      : fd_(close_on_exec(::accept(listening, nullptr, nullptr))),
#endif
        error_(fd_ < 0 ? errno : 0) {
  }
  accepted_socket(accepted_socket const&) = delete;
  accepted_socket& operator=(accepted_socket const&) = delete;
  ~accepted_socket() {
    if (fd_ >= 0) (void)::close(fd_);
  }
  [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
  [[nodiscard]] int error() const noexcept { return error_; }
  /// The error concerns that client alone, which has gone: accepting the next may succeed.
  [[nodiscard]] bool concerns_one_client() const noexcept {
    return error_ == EINTR || error_ == ECONNABORTED || error_ == EPROTO || error_ == EPERM || error_ == ENETDOWN ||
           error_ == ENETUNREACH || error_ == EHOSTDOWN || error_ == EHOSTUNREACH || error_ == ENOPROTOOPT ||
           error_ == EOPNOTSUPP || error_ == ETIMEDOUT;
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  void release() noexcept { fd_ = -1; }

 private:
  int fd_;
  int error_;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

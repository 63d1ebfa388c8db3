#ifndef PHX_ADAPTER_BEAST_DETAIL_STREAM_HPP
#define PHX_ADAPTER_BEAST_DETAIL_STREAM_HPP
// The byte stream of one client: a TCP socket on a strand, or TLS over it, read and written when the socket is ready.

#include <phx/adapter/beast/detail/operation_memory.hpp>
#include <phx/core/error.hpp>
#include <phx/core/time.hpp>

#include <utility>  // before Asio: Boost 1.74 uses std::exchange and forgets this

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

using strand = net::strand<strand_executor<net::io_context::executor_type>>;
using tcp_socket = net::basic_stream_socket<net::ip::tcp, strand>;
using tcp_acceptor = net::basic_socket_acceptor<net::ip::tcp, strand>;
using strand_timer =
    net::basic_waitable_timer<std::chrono::steady_clock, net::wait_traits<std::chrono::steady_clock>, strand>;

/// Only adapters read a clock; phx gets the time as an argument.
[[nodiscard]] inline time_point clock_now() noexcept { return std::chrono::steady_clock::now(); }

/// TLS of one connection. It reads and writes the socket itself and never blocks.
class tls_stream {
 public:
  tls_stream() = default;
  tls_stream(tls_stream const&) = delete;
  tls_stream& operator=(tls_stream const&) = delete;
  virtual ~tls_stream() = default;
  /// As stream::read and stream::write. If nothing was read, the socket must become ready as `read_needs` says before more
  /// can be.
  [[nodiscard]] virtual std::size_t read(std::span<char> into, error_code& ec) noexcept = 0;
  [[nodiscard]] virtual std::size_t write(std::string_view bytes, error_code& ec) noexcept = 0;
  [[nodiscard]] virtual net::socket_base::wait_type read_needs() const noexcept = 0;
  /// Whether a read would give something although the socket has nothing.
  [[nodiscard]] virtual bool has_pending() const noexcept = 0;
  /// The peer's certificate, DER; empty without one.
  [[nodiscard]] virtual std::string certificate() const = 0;
  /// Tells the peer that nothing more will be written.
  virtual void finish() noexcept = 0;
};
/// Makes the tls_stream of each connection (adapter/beast_tls.hpp).
class tls_factory {
 public:
  tls_factory() = default;
  tls_factory(tls_factory const&) = delete;
  tls_factory& operator=(tls_factory const&) = delete;
  virtual ~tls_factory() = default;
  /// From any thread. @par Errors: std::bad_alloc.
  [[nodiscard]] virtual std::unique_ptr<tls_stream> make(tcp_socket::native_handle_type accepted) const = 0;
};
/// The error of a client that should speak TLS and has begun with HTTP.
[[nodiscard]] inline error_code plain_http_error() noexcept {
  return make_error_code(boost::system::errc::wrong_protocol_type);
}

/// A client's bytes: TCP, or TLS over it. Without TLS it costs one more test for each system call.
class stream {
 public:
  stream(tcp_socket&& s, std::unique_ptr<tls_stream> t) noexcept : socket_(std::move(s)), tls_(std::move(t)) {}

  /// As recv; the end is net::error::eof. 0 and no error: there is nothing now.
  [[nodiscard]] std::size_t read(std::span<char> into, error_code& ec) noexcept {
    return tls_ ? tls_->read(into, ec) : read_before_tls(into, ec);
  }
  /// The same below TLS, before its first byte: what a balancer writes there (http/proxy_protocol.hpp).
  [[nodiscard]] std::size_t read_before_tls(std::span<char> into, error_code& ec) noexcept {
    std::size_t const n = socket_.receive(net::buffer(into.data(), into.size()), 0, ec);
    clear_if_not_ready(ec);
    return n;
  }
  /// The number of bytes taken. Fewer than all and no error: the rest can be written when the socket is writable.
  [[nodiscard]] std::size_t write(std::string_view bytes, error_code& ec) noexcept {
    if (tls_) return tls_->write(bytes, ec);
    std::size_t const n = socket_.send(net::buffer(bytes.data(), bytes.size()), 0, ec);
    clear_if_not_ready(ec);
    return n;
  }
  /// Calls `done(error_code)` once, later, when there is something to read, or the end.
  template <class Done>
  void when_readable(Done&& done) {
    if (tls_ && tls_->has_pending())
      return net::post(socket_.get_executor(), without_error<std::decay_t<Done>>{std::forward<Done>(done)});
    socket_.async_wait(tls_ ? tls_->read_needs() : net::socket_base::wait_read, std::forward<Done>(done));
  }
  template <class Done>
  void when_writable(Done&& done) {
    socket_.async_wait(net::socket_base::wait_write, std::forward<Done>(done));
  }
  /// Nothing more will be written; reading goes on.
  void finish() noexcept {
    if (tls_) tls_->finish();
    shutdown(net::socket_base::shutdown_send);
  }
  void shutdown(net::socket_base::shutdown_type direction) noexcept {
    error_code ignored;
    socket_.shutdown(direction, ignored);
  }
  void close() noexcept {
    tls_.reset();  // first: it uses the descriptor, whose number another socket may get
    error_code ignored;
    socket_.close(ignored);
  }
  /// Everything from now on is sent and read as plain bytes.
  void drop_tls() noexcept { tls_.reset(); }
  [[nodiscard]] net::ip::tcp::endpoint peer() const noexcept {
    error_code ignored;
    return socket_.remote_endpoint(ignored);
  }
  [[nodiscard]] bool secure() const noexcept { return tls_ != nullptr; }
  [[nodiscard]] std::string certificate() const { return tls_ ? tls_->certificate() : std::string(); }

 private:
  template <class Done>
  struct without_error {
    Done done;
    using allocator_type = typename Done::allocator_type;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return done.get_allocator(); }
    void operator()() { done(error_code()); }
  };
  static void clear_if_not_ready(error_code& ec) noexcept {
    if (ec == net::error::would_block || ec == net::error::try_again || ec == net::error::interrupted) ec = {};
  }
  tcp_socket socket_;
  std::unique_ptr<tls_stream> tls_;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

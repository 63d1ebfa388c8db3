#ifndef PHX_ADAPTER_DETAIL_BEAST_STREAM_HPP
#define PHX_ADAPTER_DETAIL_BEAST_STREAM_HPP
// The bytes of one client of the Beast host: a TCP socket on a strand, or TLS over it, read and written by readiness.

#include <phx/adapter/detail/beast_memory.hpp>
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

using strand = net::strand<reserved_executor<net::io_context::executor_type>>;
using tcp_socket = net::basic_stream_socket<net::ip::tcp, strand>;
using tcp_acceptor = net::basic_socket_acceptor<net::ip::tcp, strand>;
using strand_timer =
    net::basic_waitable_timer<std::chrono::steady_clock, net::wait_traits<std::chrono::steady_clock>, strand>;
using phx::detail::try_invoke;

/// Only adapters read a clock; phx gets the time as an argument.
[[nodiscard]] inline time_point clock_now() noexcept { return std::chrono::steady_clock::now(); }

/// TLS on a connection. It works on the socket by itself and never blocks.
class cipher {
 public:
  cipher() = default;
  cipher(cipher const&) = delete;
  cipher& operator=(cipher const&) = delete;
  virtual ~cipher() = default;
  /// As stream's. Where nothing came, the socket has to be ready for what `reads_by` says before it can go on.
  [[nodiscard]] virtual std::size_t read(std::span<char> into, error_code& ec) noexcept = 0;
  [[nodiscard]] virtual std::size_t write(std::string_view bytes, error_code& ec) noexcept = 0;
  [[nodiscard]] virtual net::socket_base::wait_type reads_by() const noexcept = 0;
  /// Whether there is something to read although the socket has nothing.
  [[nodiscard]] virtual bool holds_more() const noexcept = 0;
  /// The peer's certificate, DER; empty without one.
  [[nodiscard]] virtual std::string certificate() const = 0;
  /// Says that nothing more will be written.
  virtual void finish() noexcept = 0;
};
/// Where connections get theirs (adapter/beast_tls.hpp).
class ciphers {
 public:
  ciphers() = default;
  ciphers(ciphers const&) = delete;
  ciphers& operator=(ciphers const&) = delete;
  virtual ~ciphers() = default;
  /// From any thread. @par Errors: std::bad_alloc.
  [[nodiscard]] virtual std::unique_ptr<cipher> make(tcp_socket::native_handle_type accepted) const = 0;
};
/// A client that was to speak TLS has begun with HTTP.
[[nodiscard]] inline error_code speaks_http() noexcept { return make_error_code(boost::system::errc::wrong_protocol_type); }

/// A client's bytes, by readiness: TCP, or a cipher over it. A plain one pays for the other with a test for each system
/// call.
class stream {
 public:
  stream(tcp_socket&& s, std::unique_ptr<cipher> c) noexcept : socket_(std::move(s)), cipher_(std::move(c)) {}

  /// As recv, the end is net::error::eof. Nothing there now: 0 and no error.
  [[nodiscard]] std::size_t read(std::span<char> into, error_code& ec) noexcept {
    if (cipher_) return cipher_->read(into, ec);
    std::size_t const n = socket_.receive(net::buffer(into.data(), into.size()), 0, ec);
    not_yet(ec);
    return n;
  }
  /// Gives how many were taken. Fewer than all and no error: the rest when the socket is writable.
  [[nodiscard]] std::size_t write(std::string_view bytes, error_code& ec) noexcept {
    if (cipher_) return cipher_->write(bytes, ec);
    std::size_t const n = socket_.send(net::buffer(bytes.data(), bytes.size()), 0, ec);
    not_yet(ec);
    return n;
  }
  /// Calls `done(error_code)` once, later, when there is something to read, or the end.
  template <class Done>
  void when_readable(Done&& done) {
    if (cipher_ && cipher_->holds_more())
      return net::post(socket_.get_executor(), now<std::decay_t<Done>>{std::forward<Done>(done)});
    socket_.async_wait(cipher_ ? cipher_->reads_by() : net::socket_base::wait_read, std::forward<Done>(done));
  }
  template <class Done>
  void when_writable(Done&& done) {
    socket_.async_wait(net::socket_base::wait_write, std::forward<Done>(done));
  }
  /// No more will be written; what still comes can be read.
  void finish() noexcept {
    if (cipher_) cipher_->finish();
    shut(net::socket_base::shutdown_send);
  }
  void shut(net::socket_base::shutdown_type direction) noexcept {
    error_code ignored;
    socket_.shutdown(direction, ignored);
  }
  void close() noexcept {
    cipher_.reset();  // it knows the socket by a number that will be another's
    error_code ignored;
    socket_.close(ignored);
  }
  /// From now on.
  void speak_plainly() noexcept { cipher_.reset(); }
  [[nodiscard]] net::ip::tcp::endpoint peer() const noexcept {
    error_code ignored;
    return socket_.remote_endpoint(ignored);
  }
  [[nodiscard]] bool secure() const noexcept { return cipher_ != nullptr; }
  [[nodiscard]] std::string certificate() const { return cipher_ ? cipher_->certificate() : std::string(); }

 private:
  template <class Done>
  struct now {
    Done done;
    using allocator_type = typename Done::allocator_type;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return done.get_allocator(); }
    void operator()() { done(error_code()); }
  };
  static void not_yet(error_code& ec) noexcept {
    if (ec == net::error::would_block || ec == net::error::try_again || ec == net::error::interrupted) ec = {};
  }
  tcp_socket socket_;
  std::unique_ptr<cipher> cipher_;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

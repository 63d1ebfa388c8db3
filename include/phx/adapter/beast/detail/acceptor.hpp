#ifndef PHX_ADAPTER_BEAST_DETAIL_ACCEPTOR_HPP
#define PHX_ADAPTER_BEAST_DETAIL_ACCEPTOR_HPP
// Accepts connections and hands each to the loop that has the fewest.

#include <phx/adapter/beast/detail/http_connection.hpp>
#include <phx/adapter/beast/detail/listening_socket.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

/// An accepted socket on its way into its loop.
struct accepted_connection {
  connection_permit permit;
  tcp_socket socket;
  std::shared_ptr<tls_factory const> tls;
  std::optional<refused_request> refused;

  void operator()() {
    (void)attempt([this] {
      if (refused) report_refusal(permit.ctx().loop(), *refused);
      // A client that is refused gets no TLS handshake, which would cost more than all that it is refused.
      if (tls && (refused || permit.server()->full())) return;
      auto encrypted = tls ? tls->make(socket.native_handle()) : nullptr;
      http_connection::begin(std::move(permit), stream(std::move(socket), std::move(encrypted)), refused);
    });
  }
};

/// All members but set_tls() and start() are called inside its strand.
class acceptor {
 public:
  /// @param contexts the loops; not empty once the first client comes.
  acceptor(net::io_context& io, server_state& server, std::vector<std::unique_ptr<strand_context>> const& contexts)
      : server_(server),
        contexts_(contexts),
        memory_(server),
        strand_(strand_executor(io.get_executor(), memory_)),
        acceptor_(strand_),
        pause_(strand_) {}
  acceptor(acceptor const&) = delete;
  acceptor& operator=(acceptor const&) = delete;
  ~acceptor() = default;

  [[nodiscard]] strand const& executor() const noexcept { return strand_; }
  /// Binds and listens; `port` is the port then. @return why the address or the port was refused.
  [[nodiscard]] error_code start(std::uint16_t& port) {
    error_code ec;
    auto const address = net::ip::make_address(server_.opts.address, ec);
    if (ec) return ec;
    net::ip::tcp::endpoint const local(address, server_.opts.port);
    open_listener(acceptor_, local.protocol(), ec);
    if (!ec) acceptor_.non_blocking(true, ec);
    if (!ec) acceptor_.set_option(net::socket_base::reuse_address(true), ec);
    if (!ec) acceptor_.bind(local, ec);
    if (!ec) acceptor_.listen(net::socket_base::max_listen_connections, ec);
    if (!ec) port = acceptor_.local_endpoint(ec).port();
    protocol_ = local.protocol();
    if (!ec) request(begin);
    return ec;
  }
  /// For connections that are accepted from now on. From any thread.
  void set_tls(std::shared_ptr<tls_factory const> tls) noexcept {
    std::lock_guard const lock(mutex_);
    tls_.swap(tls);
  }
  void close() noexcept {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel(ignored);
  }

 private:
  enum task : unsigned { begin = 1, retry_pause = 2 };
  void request(unsigned tasks) noexcept {
    tasks_.request(strand_, server_, tasks, [this] {
      if ((tasks_.take() & retry_pause) != 0) pause_for_memory();
      await_clients();
    });
  }

  // Not async_accept: its sockets stay open across exec, and Asio throws out of io_context::run when it has no memory to
  // register one, after which nothing would accept the next.
  void await_clients() noexcept {
    if (!acceptor_.is_open()) return;
    acceptor_.async_wait(
        net::socket_base::wait_read,
        with_memory(accept_memory_, [owner = server_.shared_from_this(), this](error_code ec) { on_clients(ec); }));
  }
  void on_clients(error_code ec) noexcept {
    if (!acceptor_.is_open()) return;
    if (ec) return pause();
    for (int left = 16; left != 0; --left) {  // then other work of this io_context gets its turn
      accepted_socket client(acceptor_.native_handle());
      if (client) {
        if (!hand_over(client)) return pause();
      } else if (client.error() == EAGAIN || client.error() == EWOULDBLOCK) {
        break;
      } else if (!client.concerns_one_client()) {
        return pause();
      }
    }
    await_clients();
  }
  /// False: no memory.
  [[nodiscard]] bool hand_over(accepted_socket& client) noexcept {
    strand_context& ctx = least_busy();
    error_code ec;
    bool const done = attempt([&] {
      tcp_socket s(ctx.executor());
      s.assign(protocol_, client.get(), ec);
      if (ec) return;
      client.release();
      set_options(s);
      auto refused = try_acquire(s);
      net::post(ctx.executor(), accepted_connection{connection_permit(server_.shared_from_this(), ctx), std::move(s), tls(),
                                                    std::move(refused)});
    });
    return done && !ec;
  }
  [[nodiscard]] strand_context& least_busy() const noexcept {
    auto const count = [](std::unique_ptr<strand_context> const& c) {
      return c->connection_count.load(std::memory_order_relaxed);
    };
    strand_context* least = contexts_.front().get();
    std::uint32_t fewest = count(contexts_.front());
    for (auto const& c : contexts_) {
      std::uint32_t const n = count(c);
      if (n >= fewest) continue;
      fewest = n;
      least = c.get();
    }
    return *least;
  }
  void set_options(tcp_socket& s) const {
    error_code ignored;
    s.set_option(net::ip::tcp::no_delay(true),
                 ignored);  // phx tells when a turn ends; Nagle's algorithm would wait for more
    if (server_.opts.send_buffer != 0) {
      auto const size = static_cast<int>((std::min)(server_.opts.send_buffer, 1U << 30));
      s.set_option(net::socket_base::send_buffer_size(size), ignored);
    }
    s.non_blocking(true, ignored);
  }
  /// A balancer's or proxy's connection takes nothing: its clients do, once they are known. @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> try_acquire(tcp_socket const& s) {
    if (!server_.throttles() || server_.opts.proxy_protocol) return std::nullopt;
    error_code ignored;
    std::string const address = s.remote_endpoint(ignored).address().to_string();
    return server_.opts.trusted_proxies.trusts(address) ? std::nullopt : server_.try_acquire(address);
  }
  [[nodiscard]] std::shared_ptr<tls_factory const> tls() {
    std::lock_guard const lock(mutex_);
    return tls_;
  }
  /// Out of descriptors or memory: accepts again in 50 ms. Clients wait in the kernel's backlog meanwhile.
  void pause() noexcept {
    bool const begun = attempt([&] {
      pause_.expires_after(std::chrono::milliseconds(50));
      pause_.async_wait(with_memory(pause_memory_, [owner = server_.shared_from_this(), this](error_code ec) {
        if (!ec) await_clients();
      }));
    });
    if (!begun) request(retry_pause);  // Asio keeps all timers in one vector, which may have to grow
  }

  server_state& server_;
  std::vector<std::unique_ptr<strand_context>> const& contexts_;
  strand_memory memory_;
  strand strand_;
  tcp_acceptor acceptor_;
  strand_timer pause_;
  operation_memory accept_memory_{}, pause_memory_{};
  strand_tasks tasks_{};
  net::ip::tcp protocol_ = net::ip::tcp::v4();
  std::mutex mutex_;                          // of tls_
  std::shared_ptr<tls_factory const> tls_{};  // null: no TLS
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_EPOLL_DETAIL_SERVER_STATE_HPP
#define PHX_ADAPTER_EPOLL_DETAIL_SERVER_STATE_HPP
// What the loops of the epoll host share: options, mounts, routes, the throttle, and the end.

#include <phx/adapter/epoll/options.hpp>
#include <phx/adapter/epoll/request.hpp>
#include <phx/adapter/detail/seeded.hpp>
#include <phx/http/body_reader.hpp>
#include <phx/longpoll/longpoll.hpp>
#include <phx/phx.hpp>

#include <optional>
#include <string>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll::detail {

class event_loop;
class websocket_connection;

/// A mount and its dispatcher, whose type is forgotten.
class mounted {
 public:
  mounted(phx::mount m, longpoll::options const& opts) : terms(std::move(m)), polls(opts) {}
  mounted(mounted const&) = delete;
  mounted& operator=(mounted const&) = delete;
  virtual ~mounted() = default;
  /// The WebSocket of an upgrade request, which takes `from` over, its 101 in its queue; null without memory. Or the refusal.
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] virtual std::variant<websocket_connection*, refused_request> upgrade(phx::request const& request,
                                                                                     tcp_socket& from, event_loop& on) = 0;
  [[nodiscard]] virtual std::unique_ptr<longpoll::service> polling(longpoll::sessions&, phx::loop&) = 0;
  phx::mount const terms;
  longpoll::options const polls;
  std::size_t number = 0;  // among the server's
};

/// A request on its way in, and what came behind it. There is none while there is no request: idle connections and waiting
/// polls are small.
struct incoming {
  explicit incoming(std::size_t head_bytes) : reader(head_bytes), room(head_bytes + 4096), bytes(new char[room]) {}
  http::request_reader reader;
  std::optional<http::body_reader> body{};
  std::string text{};          // of the body
  std::size_t room, size = 0;  // bytes received
  std::size_t used = 0;        // bytes that belong to the request
  bool must_continue = false;  // the client waits for continue_response
  std::unique_ptr<char[]> bytes;

  void reset() noexcept {
    reader.reset();
    body.reset();
    text = std::string();
    size = used = 0;
    must_continue = false;
  }
};

/// Constant once the loops run, but for what is atomic or behind a mutex.
class server_state {
 public:
  using route = std::function<std::optional<http_answer>(http_request const&)>;

  explicit server_state(options o);
  server_state(server_state const&) = delete;
  server_state& operator=(server_state const&) = delete;
  ~server_state();

  /// The mount that has this path, and what for; null: none.
  [[nodiscard]] std::pair<mounted*, transport_kind> find(std::string_view path) const noexcept {
    for (auto const& m : mounts)
      if (auto const kind = m->terms.route(path)) return {m.get(), *kind};
    return {nullptr, transport_kind::websocket};
  }
  /// When a client that a mount has refused gets its answer: now, or later; release() once for each that is later.
  [[nodiscard]] time_point delay_until(refusal reason, time_point now) noexcept {
    if (opts.throttle.refuse_after <= duration::zero()) return now;
    std::lock_guard const hold(throttling_);
    return throttle_.delay_until(reason, now);
  }
  void release() noexcept {
    std::lock_guard const hold(throttling_);
    throttle_.release();
  }
  /// Whether the throttle counts a connection when it is accepted. A proxy's it does not: its clients are, once they are known.
  [[nodiscard]] bool counts(std::string_view address) const noexcept {
    return !opts.proxy_protocol && !opts.trusted_proxies.trusts(address);
  }
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> try_acquire(std::string_view address, time_point now) {
    if (opts.throttle.each.burst == 0 && opts.throttle.all.burst == 0) return std::nullopt;
    std::lock_guard const hold(throttling_);
    return throttle_.try_acquire(address, now);
  }

  options const opts;
  phx::endpoint everywhere{};
  longpoll::sessions polls;
  std::vector<std::unique_ptr<mounted>> mounts{};
  std::vector<route> routes{};
  std::vector<std::unique_ptr<event_loop>> loops{};  // after `everywhere`, which their phx::loops are in
  std::atomic<std::uint32_t> connection_count{0};
  std::atomic<std::uint32_t> empty_loops{0};  // that drain and have nobody left
  std::atomic<bool> draining{false}, stopping{false};

 private:
  std::mutex throttling_{};
  phx::throttle throttle_;
};

}  // namespace epoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_BEAST_DETAIL_SERVER_STATE_HPP
#define PHX_ADAPTER_BEAST_DETAIL_SERVER_STATE_HPP
// What all loops of one server share: options, mounts, routes, counts, the throttle. Operations that are under way keep it
// alive after the server is gone.

#include <phx/adapter/beast/detail/mounted.hpp>
#include <phx/adapter/beast/detail/operation_memory.hpp>
#include <phx/adapter/beast/detail/stream.hpp>
#include <phx/adapter/beast_options.hpp>
#include <phx/adapter/beast_request.hpp>
#include <phx/adapter/detail/seeded.hpp>
#include <phx/phx.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

class server_state : public std::enable_shared_from_this<server_state> {
 public:
  using route = std::function<std::optional<http_answer>(http_request const&)>;

  explicit server_state(options o)
      : opts(std::move(o)),
        sessions(opts.max_sessions, {}, opts.limits.memory),
        throttle_(phx::detail::seeded(opts.throttle)) {}
  server_state(server_state const&) = delete;
  server_state& operator=(server_state const&) = delete;
  virtual ~server_state() = default;

  /// The last connection of a server that drains or has stopped has gone. From any thread.
  virtual void on_last_connection_gone() noexcept = 0;

  /// The mount whose path this is, and for which transport; null: none.
  [[nodiscard]] std::pair<mounted*, transport_kind> find(std::string_view path) const noexcept {
    for (auto const& m : mounts)
      if (auto const kind = m->mount.route(path)) return {m.get(), *kind};
    return {nullptr, transport_kind::websocket};
  }

  // The throttle, from any thread. The lock is taken when a client connects or is refused, not for its frames.

  /// When a client that a mount has refused is answered: now, or later. Each that is later needs one release().
  [[nodiscard]] time_point delay_until(refusal reason, time_point now) noexcept {
    std::lock_guard const lock(throttle_mutex_);
    return throttle_.delay_until(reason, now);
  }
  void release() noexcept {
    std::lock_guard const lock(throttle_mutex_);
    throttle_.release();
  }
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> try_acquire(std::string_view address) {
    if (!throttles()) return std::nullopt;
    std::lock_guard const lock(throttle_mutex_);
    return throttle_.try_acquire(address, clock_now());
  }
  [[nodiscard]] bool throttles() const noexcept { return opts.throttle.each.burst != 0 || opts.throttle.all.burst != 0; }

  [[nodiscard]] bool full() const noexcept { return connection_count.load() > opts.max_connections; }

  options const opts;
  phx::endpoint endpoint;
  longpoll::sessions sessions;
  std::vector<std::unique_ptr<mounted>> mounts;  // not changed once the server has started, as routes
  std::vector<route> routes;
  std::atomic<std::uint32_t> connection_count{0};
  std::atomic<bool> draining{false};
  drain_options drain_opts{};  // valid once `draining`

 private:
  std::mutex throttle_mutex_;
  phx::throttle throttle_;
};

inline std::shared_ptr<void> strand_memory::owner() const { return owner_->shared_from_this(); }

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

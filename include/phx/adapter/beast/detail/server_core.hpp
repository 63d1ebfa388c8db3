#ifndef PHX_ADAPTER_BEAST_DETAIL_SERVER_CORE_HPP
#define PHX_ADAPTER_BEAST_DETAIL_SERVER_CORE_HPP
// The parts of a server put together: shared state, loops, acceptor; and how it drains and stops.

#include <phx/adapter/beast/detail/acceptor.hpp>

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

class server_core final : public server_state {
 public:
  server_core(net::io_context& io, options o) : server_state(std::move(o)), io_(io), acceptor_(io, *this, contexts) {}

  /// Makes the loops; once this is owned by a std::shared_ptr.
  void make_contexts() {
    std::uint32_t const n = opts.loops == 0 ? 1 : opts.loops;
    for (std::uint32_t i = 0; i < n; ++i) contexts.push_back(std::make_unique<strand_context>(*this, io_));
  }
  [[nodiscard]] error_code start() { return acceptor_.start(port); }
  /// From any thread.
  void set_tls(std::shared_ptr<tls_factory const> tls) noexcept { acceptor_.set_tls(std::move(tls)); }
  /// Accepts no more; `done` is called once the last connection has gone. From any thread. @par Errors: std::bad_alloc, and
  /// nothing is done.
  void drain(drain_options const& options, std::function<void()> done) {
    {
      std::lock_guard const lock(mutex_);
      if (done) done_.push_back(std::move(done));
      if (!std::exchange(drain_requested_, true)) drain_opts = options;
    }
    request(begin_drain);
  }
  void stop() noexcept { request(begin_stop); }
  void on_last_connection_gone() noexcept override { request(finish); }
  /// Runs `f(strand_context&)` inside each loop. @par Errors: std::bad_alloc; some loops may have been posted it then.
  template <class F>
  void post_to_all(F f) {
    for (auto const& c : contexts)
      net::post(c->executor(), [owner = shared_from_this(), ctx = c.get(), f]() mutable { f(*ctx); });
  }

  std::vector<std::unique_ptr<strand_context>> contexts;
  std::uint16_t port = 0;

 private:
  // Done inside the acceptor's strand.
  enum task : unsigned { begin_drain = 1, begin_stop = 2, finish = 4 };
  void request(unsigned tasks) noexcept {
    tasks_.request(acceptor_.executor(), *this, tasks, [this] { perform(); });
  }
  void perform() noexcept {
    unsigned const tasks = tasks_.take();
    if ((tasks & (begin_drain | begin_stop)) != 0) {
      acceptor_.close();
      draining.store(true);
      if ((tasks & begin_drain) != 0) endpoint.drain(drain_opts);  // other loops that the program made on this endpoint
      for (auto const& c : contexts)
        c->request(((tasks & begin_drain) != 0 ? strand_context::begin_drain : 0u) |
                   ((tasks & begin_stop) != 0 ? strand_context::begin_stop : 0u));
      if (connection_count.load() == 0) on_drained();
    }
    if ((tasks & finish) != 0) on_drained();
  }
  void on_drained() noexcept {
    for (auto const& c : contexts) c->request(strand_context::cancel_timer);
    std::vector<std::function<void()>> callbacks;
    {
      std::lock_guard const lock(mutex_);
      callbacks.swap(done_);
    }
    for (auto& done : callbacks) (void)attempt([&] { done(); });
  }

  net::io_context& io_;
  acceptor acceptor_;
  strand_tasks tasks_{};
  std::mutex mutex_;  // of what follows
  std::vector<std::function<void()>> done_;
  bool drain_requested_ = false;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_BEAST_DETAIL_STRAND_CONTEXT_HPP
#define PHX_ADAPTER_BEAST_DETAIL_STRAND_CONTEXT_HPP
// One loop of the Beast host: a strand, the phx::loop that runs in it, its timer, and what its connections share.

#include <phx/adapter/beast/detail/queued_frames.hpp>
#include <phx/adapter/beast/detail/tcp_connection.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

/// All members but wake() and request() are called inside the strand. Two cache lines of alignment, because processors fetch
/// lines in pairs: neighbouring loops do not write into each other's lines.
class alignas(128) strand_context {
 public:
  static constexpr std::size_t buffer_size = 64 * 1024;

  strand_context(server_state& server, net::io_context& io)
      : control_frames(server.opts.limits.memory, 8),
        read_buffer(new char[buffer_size]),
        write_buffer(new char[buffer_size]),
        compressor(server.opts.compression.make_compressor(server.opts.limits.memory)),
        server_(server),
        memory_(server),
        strand_(strand_executor(io.get_executor(), memory_)),
        timer_(strand_) {
    loop_.emplace(server.endpoint, *this, phx::detail::seeded(server.opts.limits));
  }
  strand_context(strand_context const&) = delete;
  strand_context& operator=(strand_context const&) = delete;
  ~strand_context() = default;

  /// phx's Waker: from any thread.
  void wake() noexcept { request(run_loop); }
  /// What any thread may ask of the loop. It is done inside the strand, soon. Requesting needs no memory, because several
  /// requests of one kind are one.
  enum task : unsigned {
    run_loop = 1,
    retry_timer = 2,   ///< run_loop a millisecond later: there was no memory for the timer
    begin_drain = 4,   ///< drain()
    begin_stop = 8,    ///< stop()
    cancel_timer = 16  ///< nothing this loop waits for keeps the io_context from its end
  };
  void request(unsigned tasks) noexcept {
    tasks_.request(strand_, server_, tasks, [this] { perform(); });
  }

  [[nodiscard]] server_state& server() const noexcept { return server_; }
  [[nodiscard]] phx::loop& loop() noexcept { return *loop_; }
  [[nodiscard]] strand const& executor() const noexcept { return strand_; }

  // A connection has one of these deadlines at a time; each call replaces the one before.

  void clear_deadline(tcp_connection& c) noexcept { open_.push_back(c, (time_point::max)()); }
  /// options::handshake: for a request to come, or an answer to go out.
  void start_request_deadline(tcp_connection& c) noexcept {
    start_deadline(c, awaiting_request_, saturating_add(clock_now(), server_.opts.handshake));
  }
  /// options::goodbye.
  void start_close_deadline(tcp_connection& c) noexcept {
    start_deadline(c, closing_, saturating_add(clock_now(), server_.opts.goodbye));
  }
  /// @param until not before the one of the previous call.
  void start_refusal_delay(tcp_connection& c, time_point until) noexcept { start_deadline(c, delayed_, until); }
  void remove(tcp_connection& c) noexcept { deadline_list::erase(c); }

  void run() noexcept;
  void drain() noexcept;
  /// Ends all connections.
  void stop() noexcept;
  /// Destroys the phx::loop. @pre stop().
  void destroy_loop() noexcept {
    services_.clear();
    loop_.reset();
  }
  /// The long-polling of a mount on this loop; made by the first call. @par Errors: std::bad_alloc.
  [[nodiscard]] longpoll::service& service(mounted& m) {
    if (services_.size() <= m.number) services_.resize(m.number + 1);
    auto& slot = services_[m.number];
    if (!slot) slot = m.make_service(server_.sessions, *loop_);
    return *slot;
  }

  frame_pool control_frames;
  std::unique_ptr<char[]> read_buffer;                      // one read at a time, of any connection of this loop
  std::unique_ptr<char[]> write_buffer;                     // small frames are copied together for one send
  std::unique_ptr<websocket::compressor> const compressor;  // null: nothing is compressed
  std::atomic<std::uint32_t> connection_count{0};
  queued_frame_pool queued_frames;

 private:
  void perform() noexcept;
  void start_deadline(tcp_connection& c, deadline_list& list, time_point until) noexcept {
    list.push_back(c, until);
    arm(until);
  }
  void arm(time_point when) noexcept;
  void wait() noexcept;
  void on_timer(error_code ec) noexcept;
  void stop_timer() noexcept {
    error_code ignored;
    armed_at_ = (time_point::max)();
    timer_.cancel(ignored);
  }

  server_state& server_;
  strand_memory memory_;
  strand strand_;
  strand_timer timer_;
  operation_memory timer_memory_{};
  time_point armed_at_ = (time_point::max)();    // max: not armed
  time_point drain_ends_ = (time_point::max)();  // connections that are left then are closed
  bool waiting_ = false;                         // the timer's wait is under way; there is never a second
  deadline_list awaiting_request_{}, open_{}, delayed_{}, closing_{};
  alignas(128) strand_tasks tasks_{};  // written by other threads
  alignas(128) std::optional<phx::loop> loop_;
  std::vector<std::unique_ptr<longpoll::service>> services_;  // by mounted::number
};
static_assert(Waker<strand_context>);

inline connection_permit::connection_permit(std::shared_ptr<server_state> server, strand_context& ctx) noexcept
    : server_(std::move(server)), ctx_(&ctx) {
  server_->connection_count.fetch_add(1);
  ctx_->connection_count.fetch_add(1, std::memory_order_relaxed);
}
inline connection_permit::~connection_permit() {
  if (!server_) return;
  ctx_->connection_count.fetch_sub(1, std::memory_order_relaxed);
  if (server_->connection_count.fetch_sub(1) == 1 && server_->draining.load()) server_->on_last_connection_gone();
}
inline tcp_connection::~tcp_connection() { ctx_->remove(*this); }

inline void strand_context::perform() noexcept {
  unsigned const tasks = tasks_.take();
  if ((tasks & retry_timer) != 0) pause_for_memory();
  if ((tasks & begin_drain) != 0) drain();
  if ((tasks & begin_stop) != 0) stop();
  run();
  if ((tasks & cancel_timer) != 0) stop_timer();
}

inline void strand_context::run() noexcept {
  if (!loop_) return;
  time_point const now = clock_now();
  time_point next = loop_->run(now);
  for (deadline_list* const list : {&awaiting_request_, &delayed_, &closing_}) {
    while (list->first_deadline() <= now && list->first() != nullptr) {
      tcp_connection& late = *list->first();
      clear_deadline(late);  // on_deadline may set another
      late.on_deadline();
    }
    if (list->first_deadline() < next) next = list->first_deadline();
  }
  if (drain_ends_ <= now) {
    drain_ends_ = (time_point::max)();
    stop();
  }
  if (drain_ends_ < next) next = drain_ends_;
  // A loop that drains and has no connections must not keep the io_context from its end.
  bool const idle = connection_count.load(std::memory_order_relaxed) == 0;
  if (!idle || !server_.draining.load()) arm(next);
}

inline void strand_context::arm(time_point when) noexcept {
  if (when >= armed_at_) return;
  armed_at_ = when;
  if (!waiting_) return wait();
  // The wait that is under way ends now and begins again: a second wait at once would need memory.
  error_code ignored;
  timer_.cancel(ignored);
}
inline void strand_context::wait() noexcept {
  waiting_ = attempt([&] {
    timer_.expires_at(armed_at_);
    timer_.async_wait(
        with_memory(timer_memory_, [owner = server_.shared_from_this(), this](error_code ec) { on_timer(ec); }));
  });
  if (waiting_) return;
  armed_at_ = (time_point::max)();
  request(retry_timer);  // Asio keeps all timers in one vector, which may have to grow
}
inline void strand_context::on_timer(error_code ec) noexcept {
  waiting_ = false;
  if (ec && armed_at_ != (time_point::max)()) return wait();  // cancelled for an earlier time
  armed_at_ = (time_point::max)();
  if (!ec) run();
}

inline void strand_context::drain() noexcept {
  if (!loop_) return;
  time_point const now = clock_now();
  loop_->drain(server_.drain_opts, now);  // the endpoint's mail alone would need memory
  if (drain_ends_ == (time_point::max)())
    drain_ends_ = saturating_add(saturating_add(now, server_.drain_opts.limit), server_.opts.goodbye);
  for (deadline_list* const list : {&awaiting_request_, &open_, &delayed_})
    list->for_each([](tcp_connection& c) { c.on_drain(); });
}
inline void strand_context::stop() noexcept {
  // By the first each time: ending one connection may end another, or add it to another list.
  for (deadline_list* const list : {&awaiting_request_, &open_, &delayed_, &closing_})
    while (list->first() != nullptr) {
      tcp_connection& c = *list->first();
      remove(c);
      c.on_stop();
    }
  services_.clear();
}

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

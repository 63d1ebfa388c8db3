#ifndef PHX_ADAPTER_EPOLL_DETAIL_EVENT_LOOP_HPP
#define PHX_ADAPTER_EPOLL_DETAIL_EVENT_LOOP_HPP
// One loop of the epoll host: a thread, an epoll, a phx::loop, and what its connections share.
//
// One round: epoll_wait; then, in one phx turn, the events, what other threads have posted, phx::loop::run, deadlines, and the
// connections that asked to be resumed. So whatever was said to a client in a round is one write, when the turn ends; a client
// that was read from gets its replies at once, while they are in the cache.
//
// Connections are registered edge-triggered: for reading from the beginning, for writing from the first time the kernel takes
// less than it is given. No epoll_ctl afterwards.

#include <phx/adapter/epoll/detail/server_state.hpp>
#include <phx/adapter/epoll/detail/write_queue.hpp>

#include <array>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll::detail {

class connection;

/// First in, first out; a connection is in one of them at most.
struct connection_list {
  connection* first = nullptr;
  connection* last = nullptr;
};

/// A client's connection and its place in a loop, which owns it and deletes it outside of all its callbacks.
class connection {
 public:
  connection(tcp_socket&& s, event_loop& on) noexcept : socket_(std::move(s)), loop_(&on) {}
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;
  virtual ~connection();

  /// @param events of epoll
  virtual void ready(std::uint32_t events) noexcept = 0;
  /// It asked for that, with event_loop::resume_soon.
  virtual void resume() noexcept = 0;
  /// Its deadline has come.
  virtual void on_deadline() noexcept = 0;
  /// The server drains: a connection with nothing under way goes, one that waits for a late answer has options::goodbye.
  virtual void on_drain() noexcept = 0;
  /// The server ends now: nothing is written any more.
  virtual void on_stop() noexcept = 0;

 protected:
  [[nodiscard]] event_loop& ctx() const noexcept { return *loop_; }
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  /// As recv: 0 at the end, below 0 for an error.
  [[nodiscard]] ssize_t receive(std::span<char> into) const noexcept {
    for (;;) {
      ssize_t const n = ::recv(fd(), into.data(), into.size(), 0);
      if (n >= 0 || errno != EINTR) return n;
    }
  }
  tcp_socket socket_;

 private:
  friend class event_loop;
  event_loop* loop_;
  connection_list* in_ = nullptr;
  connection* before_ = nullptr;
  connection* after_ = nullptr;
  connection* resumed_after_ = nullptr;
  time_point deadline_ = (time_point::max)();
  bool to_resume_ = false, ended_ = false;
};

/// On cache lines of its own (two: processors fetch them in pairs), so that loops do not write into each other's.
class alignas(128) event_loop {
 public:
  static constexpr std::size_t room = 64 * 1024;  // of one read

  /// @par Errors: std::bad_alloc; no descriptor: std::runtime_error.
  event_loop(server_state& all, bool accepts)
      : in(new char[room]),
        out(new char[room]),
        compressor(all.opts.compression.make_compressor(all.opts.limits.memory)),
        inbox_(std::make_shared<detail::inbox>()),
        server_(all),
        accepts_(accepts),
        loop_(std::in_place, all.everywhere, *this, phx::detail::seeded(all.opts.limits)),
        poller_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!poller_ || !watch(EPOLL_CTL_ADD, inbox_->waker.get(), inbox_.get(), EPOLLIN | EPOLLET))
      phx::detail::no_value("phx::epoll: no descriptor for a loop");
  }
  event_loop(event_loop const&) = delete;
  event_loop& operator=(event_loop const&) = delete;
  ~event_loop() {
    (void)inbox_->close();
    close_all();
  }

  // ---- from any thread

  /// phx's Waker; from a signal handler as well.
  void wake() noexcept { inbox_->waker.wake(); }
  [[nodiscard]] std::shared_ptr<detail::inbox> const& inbox() const noexcept { return inbox_; }
  std::atomic<std::uint32_t> connection_count{0};

  // ---- by its thread, or before it runs

  [[nodiscard]] phx::loop& loop() noexcept { return *loop_; }
  [[nodiscard]] server_state& server() const noexcept { return server_; }
  [[nodiscard]] time_point now() const noexcept { return now_; }
  /// @return 0, or an errno
  [[nodiscard]] int listen(std::uint16_t port) noexcept {
    if (!accepts_) return 0;
    if (int const error = listener_.open(server_.opts.address, port, server_.opts.reuse_port); error != 0) return error;
    return watch(EPOLL_CTL_ADD, listener_.get(), &listener_, EPOLLIN) ? 0 : errno;
  }
  [[nodiscard]] std::uint16_t port() const noexcept { return listener_.port(); }

  /// Until server_state::stopping, or a drain has ended.
  void run() noexcept {
    now_ = clock_now();
    for (time_point next{}; !over();) next = round(next);
    listener_.close();
    close_all();
    services_.clear();
    (void)inbox_->close();
    loop_->run(clock_now());  // the last words of channels, which may be broadcasts to other loops
  }

  // ---- for its connections

  /// False without memory.
  [[nodiscard]] bool watch(int mode, int fd, void* with, std::uint32_t events) noexcept {
    epoll_event e{};
    e.events = events;
    e.data.ptr = with;
    return ::epoll_ctl(poller_.get(), mode, fd, &e) == 0;
  }
  [[nodiscard]] bool watch(int mode, connection& c, bool writes = false) noexcept {
    return watch(mode, c.fd(), &c, EPOLLIN | EPOLLRDHUP | EPOLLET | (writes ? std::uint32_t{EPOLLOUT} : std::uint32_t{0}));
  }
  /// No deadline.
  void clear_deadline(connection& c) noexcept { move(c, &open_, (time_point::max)()); }
  /// options::handshake from now. All in one of these lists have the same time, so that the list is in order of deadline.
  void start_request_deadline(connection& c) noexcept { move(c, &reading_, saturating_add(now_, server_.opts.handshake)); }
  /// options::goodbye from now.
  void start_close_deadline(connection& c) noexcept { move(c, &closing_, saturating_add(now_, server_.opts.goodbye)); }
  /// @param until not before that of the connection before
  void start_refusal_delay(connection& c, time_point until) noexcept { move(c, &delayed_, until); }
  /// c.resume() is called in this round or the next, outside of phx.
  void resume_soon(connection& c) noexcept {
    if (std::exchange(c.to_resume_, true)) return;
    c.resumed_after_ = nullptr;
    (resumed_last_ == nullptr ? resumed_ : resumed_last_->resumed_after_) = &c;
    resumed_last_ = &c;
  }
  /// Deletes it in this round or the next, outside of phx. It is called no more.
  void end(connection& c) noexcept {
    c.ended_ = true;
    move(c, nullptr, (time_point::max)());
    resume_soon(c);
  }
  /// For the next request of a connection. @par Errors: std::bad_alloc.
  [[nodiscard]] std::unique_ptr<incoming> take_incoming() {
    if (spare_count_ == 0) return std::make_unique<incoming>(server_.opts.head_bytes);
    return std::move(spare_[--spare_count_]);
  }
  /// @param i null: nothing
  void give(std::unique_ptr<incoming> i) noexcept {
    if (!i || spare_count_ == spare_.size()) return;
    i->reset();
    spare_[spare_count_++] = std::move(i);
  }
  /// The long-polling of a mount on this loop, made when it is first asked for. @par Errors: std::bad_alloc.
  [[nodiscard]] longpoll::service& service(mounted& at) {
    if (services_.size() <= at.number) services_.resize(at.number + 1);
    auto& mine = services_[at.number];
    if (!mine) mine = at.polling(server_.polls, *loop_);
    return *mine;
  }

  std::unique_ptr<char[]> in;                               // what was read last
  std::unique_ptr<char[]> out;                              // small frames of one connection, side by side for one write
  std::unique_ptr<websocket::compressor> const compressor;  // null: nothing is compressed
  write_parts parts{};

 private:
  [[nodiscard]] bool over() noexcept {
    if (server_.stopping.load()) return true;
    if (!loop_->draining()) return false;
    if (leave_by_ <= now_) return true;
    bool const empty = connection_count.load(std::memory_order_acquire) == 0 && loop_->sockets() == 0;
    // A loop that is empty still passes on what others' requests ask of its long-poll sessions, until all are.
    if (empty && !std::exchange(counted_empty_, true) && server_.empty_loops.fetch_add(1) + 1 == server_.loops.size())
      for (auto const& l : server_.loops) l->wake();
    return server_.empty_loops.load() == server_.loops.size();
  }

  /// @param next when it has something to do @return the same, of the next round
  [[nodiscard]] time_point round(time_point next) noexcept {
    bool const at_once = inbox_->waker.begin_wait() || resumed_ != nullptr;
    int const n = ::epoll_wait(poller_.get(), events_, most_events, at_once ? 0 : milliseconds_to(next));
    bool const woken = inbox_->waker.end_wait();
    now_ = clock_now();
    auto const turn = loop_->turn();
    for (int i = 0; i < n; ++i) {
      void* const with = events_[i].data.ptr;
      if (with == &listener_)
        accept_some();
      else if (with != inbox_.get())
        if (auto* const c = static_cast<connection*>(with); !c->ended_) c->ready(events_[i].events);
    }
    if (woken) take_inbox();
    if (woken || run_at_ <= now_) run_at_ = loop_->run(now_);
    resume_all();
    return (std::min)(run_at_, check_deadlines());
  }
  /// The clock was read when the round before began; a time far away need not be more exact.
  [[nodiscard]] int milliseconds_to(time_point next) const noexcept {
    constexpr auto limit = std::chrono::seconds(1);
    bool const soon = next < saturating_add(now_, duration(limit));
    return soon ? milliseconds_until(next)
                : static_cast<int>(std::chrono::floor<std::chrono::milliseconds>(
                                       (std::min)(saturating_sub(next, now_), duration(std::chrono::hours(1))))
                                       .count());
  }
  void resume_all() noexcept {
    connection* c = std::exchange(resumed_, nullptr);
    resumed_last_ = nullptr;
    while (c != nullptr) {
      connection* const next = std::exchange(c->resumed_after_, nullptr);
      c->to_resume_ = false;
      if (c->ended_)
        delete c;
      else
        c->resume();
      c = next;
    }
  }
  [[nodiscard]] time_point check_deadlines() noexcept {
    time_point next = (std::min)(leave_by_, accept_at_);
    for (connection_list* const list : {&reading_, &delayed_, &closing_}) {
      while (list->first != nullptr && list->first->deadline_ <= now_) {
        connection& late = *list->first;
        clear_deadline(late);  // unless it finds itself another end
        late.on_deadline();
      }
      if (list->first != nullptr && list->first->deadline_ < next) next = list->first->deadline_;
    }
    if (accept_at_ <= now_) {
      accept_at_ = (time_point::max)();
      (void)watch(EPOLL_CTL_MOD, listener_.get(), &listener_, EPOLLIN);
    }
    return next;
  }

  void take_inbox() noexcept {
    if (server_.draining.load() && !loop_->draining()) drain();
    inbox::content content = inbox_->take();
    for (arrival& a : content.clients) begin(std::move(a));
    while (auto const answered = content.next_answer()) answer(*answered);
    for (auto& task : content.tasks) (void)try_invoke([&] { task(*loop_); }, [](char const*) noexcept {});
  }
  void drain() noexcept {
    (void)watch(EPOLL_CTL_DEL, listener_.get(), nullptr, 0);  // a forked process may have it open, and clients connect to it
    listener_.close();
    accept_at_ = (time_point::max)();
    loop_->drain(server_.opts.drain, now_);
    leave_by_ = saturating_add(saturating_add(now_, server_.opts.drain.limit), server_.opts.goodbye);
    for (connection_list* const list : {&reading_, &open_, &delayed_})
      for (connection* c = list->first; c != nullptr;) {
        connection* const next = c->after_;
        c->on_drain();
        c = next;
      }
  }
  /// Ends all, without a word.
  void close_all() noexcept {
    auto const turn = loop_->turn();
    for (connection_list* const list : {&reading_, &open_, &delayed_, &closing_})
      while (list->first != nullptr) {  // one may take another with it
        connection& c = *list->first;
        c.on_stop();
        end(c);
      }
    while (resumed_ != nullptr) resume_all();
  }

  // ---- new connections

  void accept_some() noexcept {
    for (int most = 64; most != 0; --most) {
      peer_address peer;
      descriptor client = listener_.accept(server_.opts.send_buffer, peer);
      if (client) {
        event_loop& to = server_.opts.reuse_port ? *this : least_busy();
        arrival next{tcp_socket(std::move(client), server_.connection_count, to.connection_count), peer};
        if (&to == this)
          begin(std::move(next));
        else if (!to.inbox_->post(next))
          return rest();
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      } else if (!listener::only_that_one(errno)) {
        return rest();
      }
    }
  }
  [[nodiscard]] event_loop& least_busy() const noexcept {
    event_loop* at = server_.loops.front().get();
    for (auto const& l : server_.loops)
      if (l->connection_count.load(std::memory_order_relaxed) < at->connection_count.load(std::memory_order_relaxed))
        at = l.get();
    return *at;
  }
  /// Without descriptors or memory: the kernel keeps those that come meanwhile.
  void rest() noexcept {
    accept_at_ = saturating_add(now_, std::chrono::milliseconds(50));
    (void)watch(EPOLL_CTL_MOD, listener_.get(), &listener_, 0);
  }
  void begin(arrival&& a) noexcept;                     // http_connection.hpp
  void answer(late_answer_state const& late) noexcept;  // http_connection.hpp

  void move(connection& c, connection_list* to, time_point deadline) noexcept {
    if (c.in_ != nullptr) {
      (c.before_ == nullptr ? c.in_->first : c.before_->after_) = c.after_;
      (c.after_ == nullptr ? c.in_->last : c.after_->before_) = c.before_;
    }
    c.in_ = to;
    c.deadline_ = deadline;
    c.after_ = c.before_ = nullptr;
    if (to == nullptr) return;
    c.before_ = to->last;
    (to->last == nullptr ? to->first : to->last->after_) = &c;
    to->last = &c;
  }
  friend class connection;

  static constexpr int most_events = 256;
  std::shared_ptr<detail::inbox> inbox_;
  server_state& server_;
  bool const accepts_;
  bool counted_empty_ = false;  // in server_state::empty_loops
  std::optional<phx::loop> loop_;
  descriptor poller_;
  listener listener_{};
  time_point now_{}, run_at_{};
  time_point accept_at_ = (time_point::max)();  // when the listener is asked again
  time_point leave_by_ = (time_point::max)();   // of a drain: then the rest is cut off
  connection_list reading_{}, open_{}, delayed_{}, closing_{};
  std::array<std::unique_ptr<incoming>, 16> spare_{};
  std::size_t spare_count_ = 0;
  connection* resumed_ = nullptr;
  connection* resumed_last_ = nullptr;
  std::vector<std::unique_ptr<longpoll::service>> services_{};  // by mounted::number
  epoll_event events_[most_events];
};
static_assert(Waker<event_loop>);

inline server_state::server_state(options o)
    : opts([&] {
        o.reuse_port = o.reuse_port && !listener::is_unix(o.address);
        o.loops = (std::max)(o.loops, 1U);
        return std::move(o);
      }()),
      polls(opts.max_sessions, {}, opts.limits.memory),
      throttle_(phx::detail::seeded(opts.throttle)) {}
inline server_state::~server_state() = default;

inline connection::~connection() {
  // To close it is not enough: while a forked process has the descriptor, epoll would still report it, with this address.
  if (fd() >= 0) (void)loop_->watch(EPOLL_CTL_DEL, fd(), nullptr, 0);
  loop_->move(*this, nullptr, (time_point::max)());
}

}  // namespace epoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

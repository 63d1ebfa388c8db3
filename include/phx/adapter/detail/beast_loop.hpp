#ifndef PHX_ADAPTER_DETAIL_BEAST_LOOP_HPP
#define PHX_ADAPTER_DETAIL_BEAST_LOOP_HPP
// What the connections of the Beast host share: the server's inner part, and its loops, each of them a strand.

#include <phx/adapter/beast_options.hpp>
#include <phx/adapter/detail/beast_memory.hpp>
#include <phx/adapter/detail/beast_sockets.hpp>
#include <phx/adapter/detail/beast_stream.hpp>
#include <phx/adapter/random_seed.hpp>
#include <phx/longpoll/longpoll.hpp>
#include <phx/phx.hpp>
#include <phx/websocket/frame_reader.hpp>

#include <utility>  // before Asio: Boost 1.74 uses std::exchange and forgets this

#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

class late_answer;
namespace detail {
class http_connection;
}

/// A request for the host's own routes. Views: they die when the route returns.
struct http_request : phx::request {
  std::string_view body{};
  /// The right to answer when the route has returned, and said nothing: from any thread. There is one; who asks again gets
  /// an empty one.
  [[nodiscard]] late_answer later() const;

 private:
  friend class detail::http_connection;
  detail::http_connection* from_ = nullptr;
};

namespace detail {

// ---- whoever is connected

class core;
class strand_context;
class tcp_connection;
class mounted;

/// A place in a loop and in the count of all, taken when a connection is accepted, given back when it is gone.
class connection_permit {
 public:
  connection_permit(std::shared_ptr<core> all, strand_context& on) noexcept;
  connection_permit(connection_permit&& other) noexcept : all_(std::move(other.all_)), on_(other.on_) {}
  connection_permit& operator=(connection_permit&&) = delete;
  ~connection_permit();
  [[nodiscard]] std::shared_ptr<core> const& all() const noexcept { return all_; }
  [[nodiscard]] strand_context& on() const noexcept { return *on_; }

 private:
  std::shared_ptr<core> all_;
  strand_context* on_;
};

/// First in, first out; a tcp_connection is in one of them.
struct tcp_connection_list {
  tcp_connection* first = nullptr;
  tcp_connection* last = nullptr;
};

/// A TCP connection and its place in a loop. It lives as long as one of its operations is under way: each holds it, from the
/// inside of its strand or, when the io_context ends, alone. So the count needs no atomic.
class tcp_connection {
 public:
  tcp_connection(connection_permit&& t, stream&& s) noexcept
      : stream_(std::move(s)), permit_(std::move(t)), all_(permit_.all()), strand_context_(&permit_.on()) {}
  tcp_connection(tcp_connection const&) = delete;
  tcp_connection& operator=(tcp_connection const&) = delete;

  class hold {
   public:
    explicit hold(tcp_connection& g) noexcept : connection_(&g) { ++g.holds_; }
    hold(hold&& other) noexcept : connection_(std::exchange(other.connection_, nullptr)) {}
    hold& operator=(hold&&) = delete;
    ~hold() {
      if (connection_ != nullptr && --connection_->holds_ == 0) delete connection_;
    }

   private:
    tcp_connection* connection_;
  };

  /// The time it had is over.
  virtual void expired() noexcept = 0;
  /// The server stops: nothing of the host's is called after this.
  virtual void dismissed() noexcept = 0;
  /// The server drains: who has nothing under way goes, who waits for a late answer has not long.
  virtual void asked_to_leave() noexcept = 0;

 protected:
  virtual ~tcp_connection();
  void hang_up() noexcept { stream_.close(); }
  [[nodiscard]] strand_context& event_loop() const noexcept { return *strand_context_; }
  [[nodiscard]] core& all() const noexcept { return *all_; }
  /// For the tcp_connection that this one becomes.
  [[nodiscard]] connection_permit pass_on() noexcept { return std::move(permit_); }
  stream stream_;

 private:
  friend class strand_context;
  connection_permit permit_;
  std::shared_ptr<core> all_;
  strand_context* strand_context_;
  tcp_connection_list* in_ = nullptr;
  tcp_connection* before_ = nullptr;
  tcp_connection* after_ = nullptr;
  time_point deadline_ = (time_point::max)();
  std::uint32_t holds_ = 0;
};

/// An operation's completion: a member function of a tcp_connection, run inside the tcp_connection's strand.
template <class G, void (G::*Done)(error_code)>
struct completion {
  G* who;
  op_room* room;
  tcp_connection::hold held;
  using allocator_type = op_allocator<char>;
  [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*room); }
  void operator()(error_code ec) { (who->*Done)(ec); }
};

// ---- a loop

/// One loop: a strand, a phx::loop, and what the connections on it share. On cache lines of its own (two: processors fetch
/// them in pairs), so that loops made one behind the other do not write into each other's.
class alignas(128) strand_context {
 public:
  static constexpr std::size_t room = 64 * 1024;

  strand_context(core& all, net::io_context& io);
  strand_context(strand_context const&) = delete;
  strand_context& operator=(strand_context const&) = delete;
  ~strand_context() = default;

  /// phx's Waker: from any thread.
  void wake() noexcept { request(turn); }
  /// What can be asked of a strand_context from any thread. It is done inside the strand, soon, and needs no memory: of each kind one
  /// is enough.
  enum task : unsigned {
    turn = 1,       ///< the loop runs
    again = 2,      ///< the same, a millisecond later: there was no memory for the timer
    leave = 4,      ///< ask_to_leave()
    dismissal = 8,  ///< dismiss()
    no_timer = 16   ///< stop_timer(): what a loop still waits for must not keep the io_context from its end
  };
  void request(unsigned tasks) noexcept;

  // All below: inside the strand.
  [[nodiscard]] phx::loop& loop() noexcept { return *loop_; }
  [[nodiscard]] strand const& executor() const noexcept { return strand_; }
  void run() noexcept;
  /// No deadline.
  void keep(tcp_connection& g) noexcept { move(g, &open_, (time_point::max)()); }
  /// All who wait for a request, and all who leave, have the same time for it: so both lists are in order of time.
  void greet(tcp_connection& g) noexcept;
  void part(tcp_connection& g) noexcept;
  /// @param until not before that of the one before.
  void hold_back(tcp_connection& g, time_point until) noexcept;
  void forget(tcp_connection& g) noexcept { move(g, nullptr, (time_point::max)()); }
  void ask_to_leave() noexcept;
  void dismiss() noexcept;
  void stop_timer() noexcept {
    error_code ignored;
    armed_at_ = (time_point::max)();
    timer_.cancel(ignored);
  }
  /// Destroys the phx::loop. @pre dismiss().
  void end() noexcept {
    polling_.clear();
    loop_.reset();
  }
  /// The long-polling of a mount on this loop, made when it is first asked for. @par Errors: std::bad_alloc.
  [[nodiscard]] longpoll::service& polling(mounted& at);

  frame_pool pool;              // of pongs and closes
  std::unique_ptr<char[]> in;   // what was read last
  std::unique_ptr<char[]> out;  // small frames, put together for one write
  std::atomic<std::uint32_t> connection_count{0};

  // Places in the queues of frames, kept for all connections of this loop.
  struct place {
    place* next = nullptr;
    frame bytes{};
  };
  [[nodiscard]] place* take_place() noexcept {
    if (free_places_ == nullptr) return new (std::nothrow) place;
    --places_;
    place* const p = std::exchange(free_places_, free_places_->next);
    p->next = nullptr;
    return p;
  }
  void give_place(place* p) noexcept {
    p->bytes = frame();
    if (places_ == most_places) return delete p;
    ++places_;
    p->next = std::exchange(free_places_, p);
  }

 private:
  static constexpr std::uint32_t most_places = 64 * 1024;  // 1 MiB
  struct places_owner {
    strand_context& l;
    ~places_owner() {
      while (l.free_places_ != nullptr) delete std::exchange(l.free_places_, l.free_places_->next);
    }
  };

  void perform() noexcept;
  void move(tcp_connection& g, tcp_connection_list* to, time_point deadline) noexcept;
  void arm(time_point when) noexcept;
  void wait() noexcept;
  void on_timer(error_code ec) noexcept;
  template <class F>
  static void each(tcp_connection_list& of, F&& f) noexcept {
    for (tcp_connection* g = of.first; g != nullptr;) {
      tcp_connection* const next = g->after_;
      f(*g);
      g = next;
    }
  }

  core& all_;
  strand_memory memory_;
  strand strand_;
  strand_timer timer_;
  op_room timer_room_{};
  time_point armed_at_ = (time_point::max)();  // max: not
  time_point leave_by_ = (time_point::max)();  // of a drain: then whoever is left is cut off
  bool waiting_ = false;                       // a wait of the timer is under way; there is never a second
  tcp_connection_list greeting_{}, open_{}, held_back_{}, leaving_{};
  place* free_places_ = nullptr;
  std::uint32_t places_ = 0;
  places_owner owner_{*this};
  alignas(128) strand_tasks tasks_{};  // written by whoever posts
  alignas(128) std::optional<phx::loop> loop_;
  std::vector<std::unique_ptr<longpoll::service>> polling_;  // by mounted::number
};
static_assert(Waker<strand_context>);

// ---- what the server consists of

/// A mount and its dispatcher, erased.
class opening {
 public:
  opening() = default;
  opening(opening const&) = delete;
  opening& operator=(opening const&) = delete;
  virtual ~opening() = default;
  /// @param early frames that came with the request.
  virtual void open(connection_permit&&, stream&&, std::span<char> early) = 0;
  std::string subprotocol{};
};
class mounted {
 public:
  mounted(phx::mount m, longpoll::options const& opts) : terms(std::move(m)), polls(opts) {}
  mounted(mounted const&) = delete;
  mounted& operator=(mounted const&) = delete;
  virtual ~mounted() = default;
  [[nodiscard]] virtual std::variant<std::unique_ptr<opening>, refused_request> judge(phx::request const&) = 0;
  [[nodiscard]] virtual std::unique_ptr<longpoll::service> polling(longpoll::sessions&, phx::loop&) = 0;
  phx::mount const terms;
  longpoll::options const polls;
  std::size_t number = 0;  // among the server's
};

/// Everything that the operations under way may still need when the server is gone.
class core : public std::enable_shared_from_this<core> {
 public:
  using route = std::function<std::optional<http_answer>(http_request const&)>;

  core(net::io_context& io, options o)
      : opts(std::move(o)),
        polls(opts.max_sessions, {}, opts.limits.memory),
        io_(io),
        door_memory_(*this),
        door_(reserved_executor(io.get_executor(), door_memory_)),
        acceptor_(door_),
        pause_(door_),
        throttle_(phx::detail::seeded(opts.throttle)) {}
  core(core const&) = delete;
  core& operator=(core const&) = delete;
  ~core() = default;

  void prepare() {
    std::uint32_t const n = opts.loops == 0 ? 1 : opts.loops;
    for (std::uint32_t i = 0; i < n; ++i) strands.push_back(std::make_unique<strand_context>(*this, io_));
  }
  /// @par Errors: what the address or the port was refused for.
  [[nodiscard]] error_code listen() {
    error_code ec;
    auto const address = net::ip::make_address(opts.address, ec);
    if (ec) return ec;
    net::ip::tcp::endpoint const at(address, opts.port);
    open_listener(acceptor_, at.protocol(), ec);
    if (!ec) acceptor_.non_blocking(true, ec);
    if (!ec) acceptor_.set_option(net::socket_base::reuse_address(true), ec);
    if (!ec) acceptor_.bind(at, ec);
    if (!ec) acceptor_.listen(net::socket_base::max_listen_connections, ec);
    if (!ec) port = acceptor_.local_endpoint(ec).port();
    protocol_ = at.protocol();
    if (!ec) request(open_door);
    return ec;
  }
  /// No new connections; `done` once the last has gone. From any thread. @par Errors: std::bad_alloc, and nothing is done.
  void drain(drain_options const& options, std::function<void()> done) {
    {
      std::lock_guard const one(mutex_);
      if (done) done_.push_back(std::move(done));
      if (!std::exchange(drain_asked_, true)) how_to_drain = options;
    }
    request(begin_drain);
  }
  void stop() noexcept { request(stop_all); }
  /// Connections that are accepted from now on. From any thread.
  void secure(std::shared_ptr<ciphers const> with) noexcept {
    std::lock_guard const one(mutex_);
    secure_.swap(with);
  }
  /// The last tcp_connection left a server that takes no more. From any thread.
  void left() noexcept {
    if (connection_count.fetch_sub(1) == 1 && draining.load()) request(tell_empty);
  }
  /// `f(strand_context&)` inside each loop. @par Errors: std::bad_alloc; some loops may have it then.
  template <class F>
  void post_to_all_strands(F f) {
    for (auto const& l : strands)
      net::post(l->executor(), [self = shared_from_this(), at = l.get(), f]() mutable { f(*at); });
  }
  /// The mount that has this path, and what for; null: none.
  [[nodiscard]] std::pair<mounted*, transport_kind> find(std::string_view path) const noexcept {
    for (auto const& m : mounts)
      if (auto const kind = m->terms.route(path)) return {m.get(), *kind};
    return {nullptr, transport_kind::websocket};
  }

  /// When a client that a mount has refused is told so: now, or later. For each that is later, release() once.
  [[nodiscard]] time_point delay_until(refusal reason, time_point now) noexcept {
    std::lock_guard const one(throttling_);
    return throttle_.delay_until(reason, now);
  }
  void release() noexcept {
    std::lock_guard const one(throttling_);
    throttle_.release();
  }
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> try_acquire(std::string_view address) {
    if (!throttles()) return std::nullopt;
    std::lock_guard const one(throttling_);
    return throttle_.try_acquire(address, clock_now());
  }
  [[nodiscard]] bool throttles() const noexcept { return opts.throttle.each.burst != 0 || opts.throttle.all.burst != 0; }

  options const opts;
  phx::endpoint everywhere;
  longpoll::sessions polls;
  std::vector<std::unique_ptr<mounted>> mounts;
  std::vector<route> routes;
  std::vector<std::unique_ptr<strand_context>> strands;  // after `everywhere`, which their loops are in
  std::uint16_t port = 0;
  std::atomic<std::uint32_t> connection_count{0};
  std::atomic<bool> draining{false};
  drain_options how_to_drain{};  // once it drains

 private:
  friend class strand_context;

  // As strand_context::task, of the door: the strand that accepts, and sees to the end.
  enum task : unsigned { open_door = 1, begin_drain = 2, stop_all = 4, tell_empty = 8, door_again = 16 };
  void request(unsigned tasks) noexcept {
    door_tasks_.request(door_, *this, tasks, [this] { perform(); });
  }
  void perform() noexcept {
    unsigned const tasks = door_tasks_.take();
    if ((tasks & door_again) != 0) without_memory();
    if ((tasks & (begin_drain | stop_all)) != 0) {
      close_door();
      draining.store(true);
      if ((tasks & begin_drain) != 0) everywhere.drain(how_to_drain);  // loops of the host's own
      for (auto const& l : strands)
        l->request(((tasks & begin_drain) != 0 ? strand_context::leave : 0u) |
                   ((tasks & stop_all) != 0 ? strand_context::dismissal : 0u));
      if (connection_count.load() == 0) empty();
    }
    if ((tasks & (open_door | door_again)) != 0) await_clients();
    if ((tasks & tell_empty) != 0) empty();
  }

  void close_door() noexcept {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel(ignored);
  }
  // Not async_accept: it leaves sockets open across exec, and Asio throws out of io_context::run when it has no memory to
  // register one, with nobody left to accept the next.
  void await_clients() noexcept {
    if (!acceptor_.is_open()) return;
    acceptor_.async_wait(net::socket_base::wait_read,
                         in_room(accept_room_, [self = shared_from_this()](error_code ec) { self->on_clients(ec); }));
  }
  void on_clients(error_code ec) noexcept {
    if (!acceptor_.is_open()) return;
    if (ec) return rest();
    for (int most = 16; most != 0; --most) {  // then the others of this io_context have their turn
      accepted_socket client(acceptor_.native_handle());
      if (client) {
        if (!admit(client)) return rest();
      } else if (client.error() == EAGAIN || client.error() == EWOULDBLOCK) {
        break;
      } else if (!client.only_that_one()) {
        return rest();
      }
    }
    await_clients();
  }
  /// False: there is no memory for it.
  [[nodiscard]] bool admit(accepted_socket& client) noexcept;  // beast_http_connection.hpp
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> try_acquire(tcp_socket const& s) {
    error_code ignored;
    return throttles() ? try_acquire(s.remote_endpoint(ignored).address().to_string()) : std::nullopt;
  }
  /// Out of descriptors or memory: the backlog keeps those who come meanwhile.
  void rest() noexcept {
    bool const begun = try_invoke(
        [&] {
          pause_.expires_after(std::chrono::milliseconds(50));
          pause_.async_wait(in_room(pause_room_, [self = shared_from_this()](error_code ec) {
            if (!ec) self->await_clients();
          }));
        },
        [](char const*) noexcept {});
    if (!begun) request(door_again);  // Asio keeps all timers in one vector, which may have to grow
  }
  void empty() noexcept {
    for (auto const& l : strands) l->request(strand_context::no_timer);
    std::vector<std::function<void()>> callbacks;
    {
      std::lock_guard const one(mutex_);
      callbacks.swap(done_);
    }
    for (auto& done : callbacks) (void)try_invoke([&] { done(); }, [](char const*) noexcept {});
  }

  net::io_context& io_;
  strand_memory door_memory_;
  strand door_;
  tcp_acceptor acceptor_;
  strand_timer pause_;
  op_room accept_room_{}, pause_room_{};
  strand_tasks door_tasks_{};
  net::ip::tcp protocol_ = net::ip::tcp::v4();
  std::mutex throttling_;  // nothing that happens often
  phx::throttle throttle_;
  std::mutex mutex_;                         // of what follows
  std::shared_ptr<ciphers const> secure_{};  // none: no TLS
  std::vector<std::function<void()>> done_;
  bool drain_asked_ = false;
};

// ---- bodies

inline std::shared_ptr<void> strand_memory::owner() const { return owner_->shared_from_this(); }

inline connection_permit::connection_permit(std::shared_ptr<core> all, strand_context& on) noexcept
    : all_(std::move(all)), on_(&on) {
  all_->connection_count.fetch_add(1);
  on_->connection_count.fetch_add(1, std::memory_order_relaxed);
}
inline connection_permit::~connection_permit() {
  if (!all_) return;
  on_->connection_count.fetch_sub(1, std::memory_order_relaxed);
  all_->left();
}
inline tcp_connection::~tcp_connection() { strand_context_->forget(*this); }

inline strand_context::strand_context(core& all, net::io_context& io)
    : pool(all.opts.limits.memory, 8),
      in(new char[room]),
      out(new char[room]),
      all_(all),
      memory_(all),
      strand_(reserved_executor(io.get_executor(), memory_)),
      timer_(strand_) {
  loop_.emplace(all.everywhere, *this, phx::detail::seeded(all.opts.limits));
}

inline void strand_context::request(unsigned tasks) noexcept {
  tasks_.request(strand_, all_, tasks, [this] { perform(); });
}
inline void strand_context::perform() noexcept {
  unsigned const tasks = tasks_.take();
  if ((tasks & again) != 0) without_memory();
  if ((tasks & leave) != 0) ask_to_leave();
  if ((tasks & dismissal) != 0) dismiss();
  run();
  if ((tasks & no_timer) != 0) stop_timer();
}

inline void strand_context::run() noexcept {
  if (!loop_) return;
  time_point const now = clock_now();
  time_point next = loop_->run(now);
  for (tcp_connection_list* const list : {&greeting_, &held_back_, &leaving_}) {
    while (list->first != nullptr && list->first->deadline_ <= now) {
      tcp_connection& late = *list->first;
      keep(late);  // unless it finds itself another end
      late.expired();
    }
    if (list->first != nullptr && list->first->deadline_ < next) next = list->first->deadline_;
  }
  if (leave_by_ <= now) {
    leave_by_ = (time_point::max)();
    dismiss();
  }
  if (leave_by_ < next) next = leave_by_;
  bool const deserted = connection_count.load(std::memory_order_relaxed) == 0;
  if (!deserted || !all_.draining.load())
    arm(next);  // what a loop still waits for must not keep the io_context from its end
}

inline void strand_context::arm(time_point when) noexcept {
  if (when >= armed_at_) return;
  armed_at_ = when;
  if (!waiting_) return wait();
  // Waited for once more when this wait has ended: one at a time needs no more memory than there is.
  error_code ignored;
  timer_.cancel(ignored);
}
inline void strand_context::wait() noexcept {
  waiting_ = try_invoke(
      [&] {
        timer_.expires_at(armed_at_);
        timer_.async_wait(in_room(timer_room_, [self = all_.shared_from_this(), this](error_code ec) { on_timer(ec); }));
      },
      [](char const*) noexcept {});
  if (waiting_) return;
  armed_at_ = (time_point::max)();
  request(again);  // Asio keeps all timers in one vector, which may have to grow
}
inline void strand_context::on_timer(error_code ec) noexcept {
  waiting_ = false;
  if (ec && armed_at_ != (time_point::max)()) return wait();  // for less long; or stopped
  armed_at_ = (time_point::max)();
  if (!ec) run();
}

inline void strand_context::move(tcp_connection& g, tcp_connection_list* to, time_point deadline) noexcept {
  if (g.in_ != nullptr) {
    (g.before_ == nullptr ? g.in_->first : g.before_->after_) = g.after_;
    (g.after_ == nullptr ? g.in_->last : g.after_->before_) = g.before_;
  }
  g.in_ = to;
  g.deadline_ = deadline;
  g.after_ = nullptr;
  g.before_ = nullptr;
  if (to == nullptr) return;
  g.before_ = to->last;
  (to->last == nullptr ? to->first : to->last->after_) = &g;
  to->last = &g;
}
inline void strand_context::greet(tcp_connection& g) noexcept {
  time_point const until = saturating_add(clock_now(), all_.opts.handshake);
  move(g, &greeting_, until);
  arm(until);
}
inline void strand_context::part(tcp_connection& g) noexcept {
  time_point const until = saturating_add(clock_now(), all_.opts.goodbye);
  move(g, &leaving_, until);
  arm(until);
}
inline void strand_context::hold_back(tcp_connection& g, time_point until) noexcept {
  move(g, &held_back_, until);
  arm(until);
}
inline longpoll::service& strand_context::polling(mounted& at) {
  if (polling_.size() <= at.number) polling_.resize(at.number + 1);
  auto& mine = polling_[at.number];
  if (!mine) mine = at.polling(all_.polls, *loop_);
  return *mine;
}
inline void strand_context::ask_to_leave() noexcept {
  if (!loop_) return;
  time_point const now = clock_now();
  loop_->drain(all_.how_to_drain, now);  // not by the endpoint's mail alone, which needs memory
  if (leave_by_ == (time_point::max)())
    leave_by_ = saturating_add(saturating_add(now, all_.how_to_drain.limit), all_.opts.goodbye);
  for (tcp_connection_list* const list : {&greeting_, &open_, &held_back_})
    each(*list, [](tcp_connection& g) { g.asked_to_leave(); });
}
inline void strand_context::dismiss() noexcept {
  // One may take another with it, or make it say goodbye.
  for (tcp_connection_list* const list : {&greeting_, &open_, &held_back_, &leaving_})
    while (list->first != nullptr) {
      tcp_connection& g = *list->first;
      forget(g);
      g.dismissed();
    }
  polling_.clear();
}

}  // namespace detail
}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_BLOCKING_HPP
#define PHX_ADAPTER_BLOCKING_HPP
// A host on POSIX blocking sockets and threads, short enough to be the tutorial on putting phx behind sockets of your own.
// From top to bottom: a Waker, and who calls the loop when; the Transport is in blocking/write_queue.hpp. Long-polling is in
// blocking_longpoll.hpp, which a program includes that wants it.
//
// phx starts no thread; this host does: one for each connection, and a second that writes once it is a WebSocket, beside the
// thread that calls run(). All of them share one loop, which here is a mutex: whoever calls into phx holds it. That is
// enough for some hundreds of connections; for many more take a host on an event loop.

#include <phx/adapter/blocking/detail/http_stream.hpp>
#include <phx/adapter/blocking/detail/start.hpp>
#include <phx/adapter/blocking/write_queue.hpp>
#include <phx/adapter/blocking_options.hpp>
#include <phx/http/proxy_protocol.hpp>
#include <phx/phx.hpp>
#include <phx/socket/receive_frames.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <new>

namespace phx {
inline namespace PHX_BUILD {
namespace blocking {

// ---- A Waker: how any thread gets the one in run() out of poll()

/// Wakes the thread that calls loop::run, through a pipe.
struct waker {
  /// The write end of the pipe.
  detail::self_pipe pipe{};
  /// From any thread, and from a signal handler.
  void wake() noexcept { pipe.write(); }
};
static_assert(Waker<waker>);

// ---- The server

/// Third argument of a server that has long-polling (blocking_longpoll.hpp).
struct long_polling;
/// Third argument of a server that has none.
struct no_long_polling {};

}  // namespace blocking
namespace detail {

/// What a server has that is only for long-polls. Nothing; blocking_longpoll.hpp specializes it.
template <class D, class Polls>
struct poll_host {
  struct client {};
};

}  // namespace detail
namespace blocking {

/// A host with a thread for each connection. Construct it, `run`; from another thread or a signal handler, `stop`.
///
///     phx::blocking::server server(app, {.port = 4000});
///     phx::blocking::server server(app, {.port = 4000, .mount = {.longpoll = true}}, phx::blocking::long_polling{});
///
/// As in Phoenix a long-poll is answered 404 unless the mount says `longpoll`. Such a mount needs the third argument, from
/// blocking_longpoll.hpp: without it the constructor refuses, and nothing of long-polling is compiled into the program.
template <class D, class Polls = no_long_polling>
class server {
  static constexpr bool has_polls = std::is_same_v<Polls, long_polling>;
  static_assert(has_polls || std::is_same_v<Polls, no_long_polling>, "the third argument is a phx::blocking::long_polling");

 public:
  /// Listens at once; run() serves. @param app outlives the server. @param polls a long_polling, for a mount with `longpoll`
  /// @par Errors: an address that cannot be had, a mount that is wrong: std::runtime_error, or abort without exceptions.
  server(D& app, options opts, [[maybe_unused]] Polls const& polls = {})
      : app_(app),
        how_(detail::seeded(std::move(opts))),
        door_(how_.throttle),
        compressor_(how_.compression.make_compressor(how_.limits.memory)),
        loop_(everywhere_, waker_, how_.limits),
        listener_(how_.address, how_.port),
        rejected_connections_(how_.goodbye) {
    detail::check_start(how_, has_polls, listener_.error);
    if constexpr (has_polls) polling_.start(*this, polls);
  }
  server(server const&) = delete;
  server& operator=(server const&) = delete;
  /// @pre run() is not running.
  ~server() = default;

  /// The port it listens on: the one asked for, or the kernel's choice where 0 was.
  [[nodiscard]] std::uint16_t port() const noexcept { return listener_.port; }
  /// TCP connections, those included that speak HTTP or are on their way out. From any thread.
  [[nodiscard]] std::size_t connections() const noexcept { return count_.load(); }
  /// Broadcasts and disconnects from any thread.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return everywhere_; }
  /// @param o told of everything, refused requests included; inside the loop. Before run().
  template <Observer O>
  void observe(O& o) noexcept {
    loop_.observe(o);
  }
  /// @param m observes each loop by itself, as phx::metrics does. @param next at most one: gets every event after m. Both outlive
  ///   the server. Before run(). @par Errors: those of M::observe.
  template <class M, Observer... O>
  requires(!Observer<M> && sizeof...(O) <= 1 &&
           requires(M & m, phx::loop& l, O&... next) { m.observe(l, next...); }) void observe(M& m, O&... next) {
    m.observe(loop_, next...);
  }

  /// Accepts connections and runs the loop, until stop(); then every client is told 1012, and all threads have ended when it
  /// returns. Once.
  void run() noexcept {
    time_point next = detail::clock_now();
    for (;;) {
      if (stopping_.load() && listener_.fd >= 0) drain();
      reap();
      if (stopping_.load() && nobody_left()) {
        if (connections_ == nullptr) return;
        hang_up(connection::polls);  // that a later one has replaced: they would wait for the end of their window
      }
      if (time_point const look = rejected_connections_.look(); look < next) next = look;

      pollfd on[2] = {{waker_.pipe.readable(), POLLIN, 0}, {listener_.fd, POLLIN, 0}};  // poll skips a closed one, -1
      (void)::poll(on, 2, detail::milliseconds_until(next));
      waker_.pipe.drain();
      if (on[1].revents != 0) accept_one();

      std::lock_guard const inside(mutex_);
      next = loop_.run(detail::clock_now());
    }
  }
  /// From any thread, and from a signal handler.
  void stop() noexcept {
    stopping_.store(true);
    waker_.wake();
  }

 private:
  using session_type = typename D::session_type;
  using client = phx::socket<transport, D>;
  friend detail::poll_host<D, Polls>;
  struct connection {
    connection(server& of, detail::accepted_socket const& s) noexcept : in(of), from(s) {}
    void operator()() noexcept { in.serve(*this); }
    server& in;
    detail::accepted_socket from;
    bool counted = true;                       // by the throttle; else each socket and session is, behind a trusted proxy
    enum { asks, polls, talks } state = asks;  // guarded by mutex_
    std::atomic<bool> done{false};
    detail::thread reader{};
    std::unique_ptr<websocket::message_codec> codec{};  // null: uncompressed. Guarded by mutex_
    connection* next = nullptr;
  };
  using bytes_in = detail::http_stream::buffer;

  // ---- a connection's thread

  void serve(connection& c) noexcept {
    bytes_in in;
    detail::http_stream stream(c.from.fd, in);
    std::optional<admission<session_type>> admitted;
    auto const serve_http = [&] {
      if (!how_.proxy_protocol || read_proxy_header(c, stream)) answer_requests(c, stream, admitted);
    };
    if (detail::try_invoke(serve_http, [](char const*) noexcept {}) && admitted) {
      write_queue out(c.from.fd, how_.mount.bounds.outbound, how_.goodbye);
      std::optional<client> phoenix;  // guarded by mutex_
      auto write = [&] {
        out.write_all([&] {
          std::lock_guard const inside(mutex_);
          if (phoenix) (void)phoenix->writable(detail::clock_now());
        });
      };
      detail::thread writer;
      if (writer.start(write)) {
        talk(c, phoenix, std::move(*admitted), out, stream.rest(), in);
        // What still comes is read and dropped: with bytes unread the kernel would reset the connection, and the client
        // might never see why it was closed. The writer ends this, if the client does not.
        while (detail::receive_some(c.from.fd, in) > 0) {
        }
        out.ended();
        writer.join();
      }
    }
    (void)::shutdown(c.from.fd, SHUT_RDWR);
    if (c.codec != nullptr) {
      std::lock_guard const inside(mutex_);
      c.codec.reset();
    }
    c.done.store(true);
    waker_.wake();
  }

  /// The part of a host that is about phx. @param early frames that came with the request.
  void talk(connection& c, std::optional<client>& phoenix, admission<session_type> admitted, write_queue& out,
            std::span<char> early, bytes_in& in) noexcept {
    websocket::frame_reader frames(how_.mount.bounds.frame, c.codec != nullptr);
    {
      std::lock_guard const inside(mutex_);
      phoenix.emplace(loop_, app_, std::move(admitted), transport{&out, c.codec.get()}, detail::clock_now());
      c.state = connection::talks;
    }
    bool open = feed(*phoenix, c, frames, out, early);
    while (open) {
      out.wait_to_read();
      ssize_t const n = detail::receive_some(c.from.fd, in);
      if (n <= 0) break;
      open = feed(*phoenix, c, frames, out, std::span(in).first(static_cast<std::size_t>(n)));
    }
    std::lock_guard const inside(mutex_);
    phoenix.reset();  // says gone(), if nobody said goodbye
  }

  /// False once either side has closed.
  [[nodiscard]] bool feed(client& phoenix, connection& c, websocket::frame_reader& frames, write_queue& out,
                          std::span<char> bytes) noexcept {
    std::lock_guard const inside(mutex_);
    if (out.finished()) return false;  // phx closed it from another thread: a timer, a broadcast
    auto const turn = loop_.turn();    // many messages, one flush
    auto const write = [&](websocket::control_frame const& f) { out.control(f); };
    return receive_frames(phoenix, frames, bytes, detail::clock_now(), write, c.codec.get()) == frames_result::open;
  }

  /// With options::proxy_protocol, before the first request: who the client of the balancer is. False: the connection ends.
  [[nodiscard]] bool read_proxy_header(connection& c, detail::http_stream& stream) {
    http::proxy_protocol_reader header;
    if (!stream.read_proxy_header(header, saturating_add(detail::clock_now(), how_.handshake))) return false;
    if (header.names_peer()) {
      peer_data const peer = header.peer({});
      c.from.host[peer.address.copy(c.from.host, sizeof c.from.host - 1)] = '\0';
      c.from.port = peer.port;
    }
    c.counted = !how_.trusted_proxies.trusts(c.from.host);
    if (!header.names_peer() || !c.counted) return true;
    std::optional<refused_request> no;
    {
      std::lock_guard const inside(mutex_);
      no = door_.try_acquire(c.from.host, detail::clock_now());
      if (no) report_refusal(loop_, *no);
    }
    if (no) say_no(c, stream, no->answer);
    return !no;
  }

  /// Answers one request after the other, until one was told 101: `admitted` is a session to open, and stream.rest() its first
  /// frames.
  void answer_requests(connection& c, detail::http_stream& stream, std::optional<admission<session_type>>& admitted) {
    using result = detail::http_stream::result;
    [[maybe_unused]] typename detail::poll_host<D, Polls>::client polls;
    for (;;) {
      time_point const deadline = saturating_add(detail::clock_now(), how_.handshake);
      result const came = stream.next(deadline);
      if (came == result::ended) return;
      if (came == result::refused) return say_no(c, stream, {stream.status(), {}, {}});

      request from = stream.head().request({c.from.host, c.from.port, {}});
      bool const is_poll = has_polls && how_.mount.route(from.path) == transport_kind::longpoll;
      if (auto no = how_.trusted_proxies.rewrite(from)) {
        {
          std::lock_guard const inside(mutex_);
          report_refusal(loop_, *no);
        }
        if (is_poll) no->answer.headers.emplace_back("access-control-allow-origin", "*");
        return say_no(c, stream, no->answer);
      }
      if constexpr (has_polls)
        if (is_poll) {
          if (!polling_.answer(*this, c, stream, polls, from, deadline)) return;
          continue;
        }
      return upgrade(c, stream, from, admitted);
    }
  }

  /// Somebody wants to become a WebSocket.
  void upgrade(connection& c, detail::http_stream& stream, request const& from,
               std::optional<admission<session_type>>& admitted) {
    std::optional<refused_request> no;
    websocket::extension_answer extensions;
    {
      std::lock_guard const inside(mutex_);  // `connect` is user code: one callback at a time
      if (loop_.draining())
        no.emplace(refuse(refusal::draining));
      else if (!c.counted)
        no = door_.try_acquire(from.peer.address, detail::clock_now());
      if (!no) {
        auto judged = phx::handshake(how_.mount, app_, from);
        auto* const yes = std::get_if<admission<session_type>>(&judged);
        if (yes == nullptr)
          no.emplace(std::move(*std::get_if<refused_request>(&judged)));
        else if (!(no = upgrade_refusal(from)))
          admitted.emplace(std::move(*yes));
        if (!no && compressor_ != nullptr) {
          websocket::accepted_compression agreed = compressor_->accept(from.headers, how_.mount.bounds.frame);
          c.codec = std::move(agreed.codec);
          extensions = agreed.answer;
        }
      }
      if (no) report_refusal(loop_, *no);
    }
    if (!no) {
      if (!send(c, websocket::switching_protocols(from, admitted->subprotocol, extensions.view()))) admitted.reset();
      return;
    }
    stream.forget();
    if (waits_for(no->reason, stream)) say_no(c, stream, no->answer);
  }

  /// Who was refused may have to wait for its answer (options::throttle). False: it has left meanwhile.
  [[nodiscard]] bool waits_for(refusal reason, detail::http_stream& stream) noexcept {
    time_point const now = detail::clock_now();
    time_point until;
    {
      std::lock_guard const inside(mutex_);
      until = door_.delay_until(reason, now);
    }
    if (until <= now) return true;
    bool const present = stream.wait(-1, until) == detail::http_stream::wait_result::timeout;
    std::lock_guard const inside(mutex_);
    door_.release();
    return present || loop_.draining();  // stop() tells them at once
  }
  [[nodiscard]] bool send(connection& c, std::string_view answer) noexcept {
    return detail::send_all(c.from.fd, answer, saturating_add(detail::clock_now(), how_.handshake));
  }
  /// The last answer of a connection.
  void say_no(connection& c, detail::http_stream& stream, http_answer const& no) {
    if (send(c, http::to_bytes(no))) stream.finish(saturating_add(detail::clock_now(), how_.goodbye));
  }

  // ---- the thread in run()

  void accept_one() noexcept {
    detail::accepted_socket from = detail::accept_from(listener_.fd, how_.goodbye);
    if (from.fd < 0) return;
    std::string no;
    bool const judged = detail::try_invoke(
        [&] {
          std::lock_guard const inside(mutex_);
          auto const refused = counts(from) ? door_.try_acquire(from.host, detail::clock_now()) : std::nullopt;
          if (refused) {
            report_refusal(loop_, *refused);
            no = http::to_bytes(refused->answer);
          } else if (count_.load() == how_.max_connections) {
            no = http::to_bytes({503, {}, {}});
          }
        },
        [](char const*) noexcept {});
    if (judged && no.empty() && begin(from)) return;
    constexpr std::string_view no_memory = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n";  // or threads
    rejected_connections_.add(from.fd, no.empty() ? no_memory : std::string_view(no));
  }
  /// Whether the throttle counts a connection when it is accepted. A proxy's it does not: its clients are, once they are
  /// known.
  [[nodiscard]] bool counts(detail::accepted_socket const& from) const noexcept {
    return !how_.proxy_protocol && !how_.trusted_proxies.trusts(from.host);
  }
  [[nodiscard]] bool begin(detail::accepted_socket const& from) noexcept {
    auto* const c = new (std::nothrow) connection(*this, from);
    if (c == nullptr) return false;
    c->counted = counts(from);
    ++count_;
    if (c->reader.start(*c)) {
      c->next = std::exchange(connections_, c);
      return true;
    }
    --count_;
    delete c;
    return false;
  }
  void reap() noexcept {
    for (connection** link = &connections_; *link != nullptr;) {
      connection* const c = *link;
      if (!c->done.load()) {
        link = &c->next;
        continue;
      }
      c->reader.join();
      (void)::close(c->from.fd);
      *link = c->next;
      delete c;
      --count_;
    }
  }
  void drain() noexcept {
    listener_.close();
    {
      std::lock_guard const inside(mutex_);
      loop_.drain(how_.drain, detail::clock_now());
    }
    hang_up(connection::asks);  // what came whole is answered 503; WebSockets and polls are phx's to end
  }
  /// Their threads see the end of what those clients send.
  void hang_up(decltype(connection::state) those) noexcept {
    std::lock_guard const inside(mutex_);
    for (connection const* c = connections_; c != nullptr; c = c->next)
      if (c->state == those) (void)::shutdown(c->from.fd, SHUT_RD);
  }
  /// Not even a long-poll's session, which has no connection between two.
  [[nodiscard]] bool nobody_left() noexcept {
    std::lock_guard const inside(mutex_);
    return loop_.sockets() == 0;
  }

  D& app_;
  options const how_;
  std::atomic<bool> stopping_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);  // stop() is called in signal handlers

  std::mutex mutex_;    // the loop: held around every call into phx
  phx::throttle door_;  // called holding it, too
  waker waker_;
  std::unique_ptr<websocket::compressor> compressor_;  // null: nothing is compressed. Called holding it, too
  phx::endpoint everywhere_;
  phx::loop loop_;
  [[no_unique_address]] detail::poll_host<D, Polls> polling_;
  detail::listener listener_;
  std::atomic<std::size_t> count_{0};  // of connections_, which are run()'s alone; a connection's thread knows only its own
  connection* connections_ = nullptr;
  detail::rejected_connections rejected_connections_;
};

}  // namespace blocking
}  // namespace PHX_BUILD
}  // namespace phx

#endif

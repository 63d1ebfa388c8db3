#ifndef PHX_ADAPTER_BLOCKING_HPP
#define PHX_ADAPTER_BLOCKING_HPP
// A host on POSIX blocking sockets and threads, short enough to be the tutorial on putting phx behind sockets of your own.
// From top to bottom: a Transport, a Waker, and who calls the loop when.
//
// phx starts no thread; this host does: two for each connection, one that reads and one that writes, beside the thread that
// calls run(). All of them share one loop, which here is a mutex: whoever calls into phx holds it. That is enough for some
// hundreds of connections; for many more take a host on an event loop.

#include <phx/adapter/detail/http.hpp>
#include <phx/adapter/detail/posix.hpp>
#include <phx/adapter/detail/rfc6455.hpp>
#include <phx/phx.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>

namespace phx::inline PHX_BUILD::blocking {

struct options {
  std::string address = "127.0.0.1";              ///< numeric, IPv4 or IPv6
  std::uint16_t port = 4000;                      ///< 0: any free one, server::port() tells
  phx::mount mount{};                             ///< where the socket is, who may connect, and each connection's limits
  phx::limits limits{};                           ///< the loop's
  std::size_t max_connections = 1000;             ///< beyond: 503
  duration handshake = std::chrono::seconds(10);  ///< from accept to the last byte of the request's head; beyond: 408
  duration goodbye = std::chrono::seconds(5);     ///< after a close: to write what waits, and again to be answered
  drain_options drain{};                          ///< what stop() does
};

// ---- A Transport: where phx puts frames for one client

/// What waits to be written to one client. Two threads that write one blocking socket would mix their frames, and a reader
/// that writes stops reading while the client does not; so one thread alone writes, and everybody else appends here.
class outbox {
 public:
  static constexpr std::size_t high_water = 256 * 1024;

  /// @param most bytes that may wait; limits::outbound. The frame that goes beyond is taken still, no more after it.
  outbox(int fd, std::size_t most, duration goodbye) noexcept : fd_(fd), most_(most), goodbye_(goodbye) {}

  // phx's side of it: quick, never blocks. `congested` makes phx ask its pressure policy: the default closes only when there
  // is more than limits::outbound; one that drops holds back from now on, until write_all has written half.
  send_status send(frame const& f) noexcept {
    std::lock_guard const hold(mutex_);
    if (finished_) return send_status::closed;
    if (waiting() > most_ || !append(f.websocket())) return send_status::dropped;
    if (waiting() <= high_water && waiting() <= most_ / 2) return send_status::ok;
    congested_ = true;
    return send_status::congested;
  }
  [[nodiscard]] std::size_t buffered() const noexcept {
    std::lock_guard const hold(mutex_);
    return waiting();
  }
  /// At the end of each turn: all that one turn said goes out in one write.
  void flush() noexcept { changed_.notify_all(); }
  /// The last frame. The writer gets so long to write it and what is before it, then hangs up.
  void finish(std::uint16_t code, std::string_view reason = {}) noexcept {
    std::lock_guard const hold(mutex_);
    if (finished_) return;
    (void)append(detail::control_frame::close(code, reason).bytes());
    finished_ = true;
    deadline_ = detail::clock_now() + goodbye_;
    changed_.notify_all();
  }

  // The reader's.
  void pong(std::string_view data) noexcept {
    std::lock_guard const hold(mutex_);
    if (finished_ || waiting() > most_) return;
    (void)append(detail::control_frame::pong(data).bytes());
    changed_.notify_all();
  }
  [[nodiscard]] bool finished() const noexcept {
    std::lock_guard const hold(mutex_);
    return finished_;
  }
  /// The client sends no more.
  void ended() noexcept {
    std::lock_guard const hold(mutex_);
    if (!finished_) deadline_ = detail::clock_now() + goodbye_;
    finished_ = ended_ = true;
    changed_.notify_all();
  }

  /// The writer thread. It also sees to it that the reader gets to an end: recv() returns once the socket is shut down.
  /// @param writable called, with no lock held, when what made it congested has been written
  template <class F>
  void write_all(F writable) noexcept {
    std::string writing;
    std::unique_lock hold(mutex_);
    bool written = true;
    while (written) {
      changed_.wait(hold, [&] { return !bytes_.empty() || finished_; });
      if (bytes_.empty()) break;
      writing.swap(bytes_);
      unwritten_ = writing.size();
      hold.unlock();
      written = write(writing);
      writing.clear();
      if (writing.capacity() > 64 * 1024) writing = std::string();  // one burst is no reason to keep megabytes
      hold.lock();
      if (std::exchange(congested_, false) && !finished_) {
        hold.unlock();
        writable();
        hold.lock();
      }
    }
    if (written) {
      (void)::shutdown(fd_, SHUT_WR);
      changed_.wait_for(hold, goodbye_, [&] { return ended_; });  // the client answers the close, then hangs up
    }
    (void)::shutdown(fd_, SHUT_RDWR);
    finished_ = true;
  }

 private:
  [[nodiscard]] std::size_t waiting() const noexcept { return bytes_.size() + unwritten_; }
  /// Out of memory is false, not a throw.
  [[nodiscard]] bool append(std::string_view more) noexcept {
    return detail::guarded([&] { bytes_.append(more); }, [](char const*) noexcept {});
  }
  [[nodiscard]] bool write(std::string_view bytes) noexcept {
    for (;;) {
      {
        std::lock_guard const hold(mutex_);
        unwritten_ = bytes.size();
        if (bytes.empty()) return true;
        if (finished_ && detail::clock_now() >= deadline_) break;
      }
      ssize_t const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
      // EAGAIN: the client took nothing for SO_SNDTIMEO. Before a close that is its own affair: the queue is bounded.
      else if (n < 0 && errno != EAGAIN && errno != EINTR)
        break;
    }
    return false;
  }

  mutable std::mutex mutex_;  // taken inside the loop's, never the other way round
  std::condition_variable changed_;
  std::string bytes_;
  std::size_t unwritten_ = 0;  // of what the writer has taken out of bytes_
  bool finished_ = false, ended_ = false, congested_ = false;
  time_point deadline_{};
  int const fd_;
  std::size_t const most_;
  duration const goodbye_;
};

/// The Transport itself: a handle to the outbox, as small as a reference.
struct transport {
  outbox* to;
  send_status send(frame const& f) noexcept { return to->send(f); }
  void close(close_frame why) noexcept { to->finish(static_cast<std::uint16_t>(why.code), why.reason); }
  [[nodiscard]] std::size_t buffered() const noexcept { return to->buffered(); }
  void flush() noexcept { to->flush(); }
};
static_assert(Transport<transport>);

// ---- A Waker: how any thread gets the one in run() out of poll()

struct waker {
  detail::self_pipe pipe{};
  /// From any thread, and from a signal handler.
  void wake() noexcept { pipe.write(); }
};
static_assert(Waker<waker>);

// ---- The server

template <class D>
class server {
 public:
  /// Listens at once; run() serves. @param app outlives the server.
  /// @par Errors: an address that cannot be had, a mount that is wrong: std::runtime_error, or abort without exceptions.
  server(D& app, options how)
      : app_(app), how_(std::move(how)), loop_(everywhere_, waker_, how_.limits), listener_(how_.address, how_.port) {
    if (error const wrong = how_.mount.check(); wrong.code != errc::none)
      detail::no_value((std::string(to_string(wrong.code)) + ": " + wrong.entry).c_str());
    if (listener_.fd < 0)
      detail::no_value(
          ("cannot listen on " + how_.address + " port " + std::to_string(how_.port) + ": " + std::strerror(listener_.error))
              .c_str());
  }
  server(server const&) = delete;
  server& operator=(server const&) = delete;
  /// @pre run() is not running.
  ~server() = default;

  [[nodiscard]] std::uint16_t port() const noexcept { return listener_.port; }
  /// Broadcasts and disconnects from any thread.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return everywhere_; }
  /// @param o told of everything, refused requests included; inside the loop. Before run().
  template <Observer O>
  void observe(O& o) noexcept {
    loop_.observe(o);
  }

  /// Accepts connections and runs the loop, until stop(); then every client is told 1012, and all threads have ended when it
  /// returns. Once.
  void run() noexcept {
    time_point next = detail::clock_now();
    for (;;) {
      if (stopping_.load() && listener_.fd >= 0) drain();
      reap();
      if (stopping_.load() && connections_.empty()) return;

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
  struct connection {
    explicit connection(detail::accepted_socket const& s) noexcept : from(s) {}
    detail::accepted_socket from;
    bool upgraded = false;  // guarded by mutex_
    std::atomic<bool> done{false};
    std::thread reader{};
  };
  using bytes_in = std::array<char, detail::head_reader::most_bytes>;

  // ---- a connection's thread

  void serve(connection& c) noexcept {
    bytes_in in;
    std::size_t have = 0;
    if (auto admitted = shake_hands(c, in, have)) {
      outbox out(c.from.fd, how_.mount.bounds.outbound, how_.goodbye);
      std::optional<client> phoenix;  // guarded by mutex_
      auto const write = [&] {
        out.write_all([&] {
          std::lock_guard const inside(mutex_);
          if (phoenix) (void)phoenix->writable(detail::clock_now());
        });
      };
      std::thread writer;
      if (detail::guarded([&] { writer = std::thread(write); }, [](char const*) noexcept {})) {
        talk(c, phoenix, std::move(*admitted), out, {in.data(), have}, in);
        // What still comes is read and dropped: with bytes unread the kernel would reset the connection, and the client
        // might never see why it was closed. The writer ends this, if the client does not.
        while (detail::receive_some(c.from.fd, in) > 0) {
        }
        out.ended();
        writer.join();
      }
    }
    (void)::shutdown(c.from.fd, SHUT_RDWR);
    c.done.store(true);
    waker_.wake();
  }

  /// The part of a host that is about phx. @param early frames that came with the request.
  void talk(connection& c, std::optional<client>& phoenix, admission<session_type> admitted, outbox& out,
            std::span<char> early, bytes_in& in) noexcept {
    detail::frame_reader frames(how_.mount.bounds.frame);
    {
      std::lock_guard const inside(mutex_);
      phoenix.emplace(loop_, app_, std::move(admitted), transport{&out}, detail::clock_now());
      c.upgraded = true;
    }
    bool open = feed(*phoenix, frames, out, early);
    while (open) {
      ssize_t const n = detail::receive_some(c.from.fd, in);
      if (n <= 0) break;
      open = feed(*phoenix, frames, out, std::span(in).first(static_cast<std::size_t>(n)));
    }
    std::lock_guard const inside(mutex_);
    phoenix.reset();  // says gone(), if nobody said goodbye
  }

  /// False once either side has said goodbye.
  [[nodiscard]] bool feed(client& phoenix, detail::frame_reader& frames, outbox& out, std::span<char> bytes) noexcept {
    std::lock_guard const inside(mutex_);
    if (out.finished()) return false;  // phx closed it from another thread: a timer, a broadcast
    auto const turn = loop_.turn();    // many messages, one flush
    time_point const now = detail::clock_now();
    for (bool heard = false;; heard = true) {
      detail::frame_event const e = frames.next(bytes);
      switch (e.what) {
        case detail::frame_event::nothing:
          // Half a header is a sign of life as well: Phoenix's idle timeout counts bytes (protocol 11).
          return heard || phoenix.receive(opcode::pong, {}, true, now);
        case detail::frame_event::ping:
          out.pong(e.part);
          [[fallthrough]];
        case detail::frame_event::pong:
        case detail::frame_event::data:
          if (!phoenix.receive(e.op, e.part, e.last, now)) return false;
          break;
        case detail::frame_event::close:
        case detail::frame_event::broken:
          phoenix.gone(lost::normal);
          out.finish(e.code);
          return false;
      }
    }
  }

  /// Reads the request and answers it. A session to open, if the answer was 101; `in` then holds `have` bytes of frames.
  [[nodiscard]] std::optional<admission<session_type>> shake_hands(connection& c, bytes_in& in, std::size_t& have) noexcept {
    time_point const deadline = detail::clock_now() + how_.handshake;
    detail::head_reader head;
    auto progress = detail::head_reader::progress::more;
    while (progress == detail::head_reader::progress::more && detail::readable_before(c.from.fd, deadline)) {
      ssize_t const n = detail::receive_some(c.from.fd, std::span(in).subspan(have));
      if (n <= 0) return std::nullopt;
      have += static_cast<std::size_t>(n);
      progress = head.read({in.data(), have});
    }
    std::optional<admission<session_type>> admitted;
    std::string answer;
    auto const judge = [&] {
      if (progress != detail::head_reader::progress::done) {
        bool const late = progress == detail::head_reader::progress::more;
        answer = detail::to_bytes({late ? std::uint16_t{408} : head.status(), {}, {}});
        return;
      }
      request const from = request::of(head.method(), head.target(), head.headers(), {c.from.host, c.from.port, {}});
      std::lock_guard const inside(mutex_);  // `connect` is user code: one callback at a time
      std::optional<refused_request> no;
      if (loop_.draining()) {
        no = refuse(refusal::draining);
      } else {
        auto judged = phx::handshake(how_.mount, app_, from);
        if (auto* const said = std::get_if<refused_request>(&judged))
          no = std::move(*said);
        else
          no = upgrade_refusal(from);
        if (!no && head.has_body()) no = refuse(refusal::upgrade, "a request with a body");
        if (!no) admitted = std::move(*std::get_if<admission<session_type>>(&judged));
      }
      if (no) note(loop_, *no);
      answer = no ? detail::to_bytes(no->answer)
                  : detail::switching_protocols(*from.header("sec-websocket-key"), admitted->subprotocol);
    };
    if (!detail::guarded(judge, [](char const*) noexcept {})) return std::nullopt;  // no memory
    if (!detail::send_all(c.from.fd, answer)) return std::nullopt;
    if (admitted) {
      have -= head.size();
      std::memmove(in.data(), in.data() + head.size(), have);
      return admitted;
    }
    (void)::shutdown(c.from.fd, SHUT_WR);
    time_point const patience = detail::clock_now() + how_.goodbye;
    while (detail::readable_before(c.from.fd, patience) && detail::receive_some(c.from.fd, in) > 0) {
    }
    return std::nullopt;
  }

  // ---- the thread in run()

  void accept_one() noexcept {
    detail::accepted_socket from = detail::accept_from(listener_.fd, how_.goodbye);
    if (from.fd < 0) return;
    bool const room = connections_.size() < how_.max_connections;
    if (room && detail::guarded([&] { connections_.emplace_back(from); }, [](char const*) noexcept {})) {
      connection& c = connections_.back();
      if (detail::guarded([&] { c.reader = std::thread([this, &c] { serve(c); }); }, [](char const*) noexcept {})) return;
      connections_.pop_back();  // no more threads
    }
    (void)detail::guarded(
        [&] {
          (void)detail::send_all(from.fd, detail::to_bytes({503, {}, {}}));
        },
        [](char const*) noexcept {});
    (void)::close(from.fd);
  }
  void reap() noexcept {
    connections_.remove_if([](connection& c) {
      if (!c.done.load()) return false;
      c.reader.join();
      (void)::close(c.from.fd);
      return true;
    });
  }
  void drain() noexcept {
    listener_.close();
    std::lock_guard const inside(mutex_);
    loop_.drain(how_.drain, detail::clock_now());
    for (connection& c : connections_)
      if (!c.upgraded) (void)::shutdown(c.from.fd, SHUT_RD);  // still asking: its thread sees the end, or answers 503
  }

  D& app_;
  options const how_;
  std::atomic<bool> stopping_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);  // stop() is called in signal handlers

  std::mutex mutex_;  // the loop: held around every call into phx
  waker waker_;
  phx::endpoint everywhere_;
  phx::loop loop_;
  detail::listener listener_;
  std::list<connection> connections_;  // run()'s alone; a connection's thread knows only its own
};

}  // namespace phx::inline PHX_BUILD::blocking

#endif

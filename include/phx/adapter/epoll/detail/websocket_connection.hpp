#ifndef PHX_ADAPTER_EPOLL_DETAIL_WEBSOCKET_CONNECTION_HPP
#define PHX_ADAPTER_EPOLL_DETAIL_WEBSOCKET_CONNECTION_HPP
// One WebSocket of the epoll host, after its handshake.
//
//   state \ event | phx closes        | client closes, breaks   | last byte written | EOF, error, deadline
//   open          | leaving, a close  | gone; leaving, a close  |                   | gone; ended
//   leaving       | (not called)      | dropped                 | shut down         | ended; EOF: once all is written
//
//   state   | its deadline                                | what ends it
//   open    | limits::idle, which phx looks at; a drain:  | see above; a drain closes it with 1012
//           | drain_options::limit                        |
//   leaving | options::goodbye; a drain: limit + goodbye, | the client hangs up, an error, the deadline
//           | from its beginning                          |
//
// A client that does not read stays open as long as it sends heartbeats and stays within limits::outbound.

#include <phx/adapter/epoll/detail/event_loop.hpp>
#include <phx/socket/receive_frames.hpp>
#include <phx/websocket/handshake.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll::detail {

/// What is the same for all dispatchers: bytes in, frames out. An idle one owns no buffer.
class websocket_connection : public connection {
 public:
  websocket_connection(tcp_socket&& s, event_loop& on, std::size_t max_message) noexcept
      : connection(std::move(s), on), frames_(max_message) {}
  ~websocket_connection() override { out_.clear(ctx().parts); }

  // ---- the Transport

  send_status send(frame const& f) noexcept {
    if (state_ != state::open || failed_) return send_status::closed;
    if (codec_ == nullptr) {
      if (!out_.append(ctx().parts, f)) return send_status::dropped;
    } else if (!out_.append(ctx().parts, codec_->compress(f))) {
      codec_->not_sent();
      return send_status::dropped;
    }
    // A turn that says a lot need not wait for its end.
    if (out_.size() >= early_write && !blocked_) write();
    return failed_ ? send_status::closed : out_.size() > high_water() ? send_status::congested : send_status::ok;
  }
  void flush() noexcept {
    if (!blocked_) write();
  }
  void pause_reading(bool paused) noexcept {
    paused_ = paused;
    if (!paused && unread_) ctx().resume_soon(*this);
  }
  void close(close_frame reason) noexcept { leave(websocket::control_frame::close(reason)); }
  [[nodiscard]] std::size_t buffered() const noexcept { return out_.size(); }

  // ---- a connection

  void ready(std::uint32_t events) noexcept override {
    constexpr std::uint32_t broken = EPOLLHUP | EPOLLERR;
    if (blocked_ && (events & (EPOLLOUT | broken)) != 0) on_writable();
    if ((events & (EPOLLIN | EPOLLRDHUP | broken)) == 0) return;
    unread_ = true;
    // Without this a read that gets less than it asks for has got all: an edge follows when more comes.
    read_to_end_ = read_to_end_ || (events & (EPOLLRDHUP | broken)) != 0;
    read();
  }
  void resume() noexcept override {
    if (failed_) return on_lost();
    if (unread_) read();
  }
  void on_deadline() noexcept override { ctx().end(*this); }
  void on_drain() noexcept override {}
  void on_stop() noexcept override { state_ = state::leaving; }

  /// Writes the 101 and begins to read. @param early frames that came with the request
  void begin(std::span<char> early) noexcept {
    ctx().clear_deadline(*this);
    if (!ctx().watch(EPOLL_CTL_MOD, *this)) return on_lost();  // reports what has come already
    if (!early.empty()) feed(early);
    flush();
  }

 protected:
  /// To phx::receive_frames, with control() for what that writes.
  [[nodiscard]] virtual frames_result receive_frames(std::span<char> bytes, time_point now) noexcept = 0;
  virtual void writable(time_point now) noexcept = 0;
  virtual void gone(lost how_lost) noexcept = 0;

  void control(websocket::control_frame const& f) noexcept {
    if (f.op() == opcode::close) return leave(f);
    // A client that sends pings and does not read is not answered beyond what is read from it.
    if (state_ == state::open && out_.size() <= high_water()) ponged_ = out_.append(ctx().parts, f.bytes()) || ponged_;
  }
  /// Queues the 101, before anything else is sent, and agrees on compression. False without memory.
  [[nodiscard]] bool answer(phx::request const& request, std::string_view subprotocol, std::size_t max_message) noexcept {
    websocket::accepted_compression agreed;
    if (ctx().compressor != nullptr) agreed = ctx().compressor->accept(request.headers, max_message);
    codec_ = std::move(agreed.codec);
    if (codec_ != nullptr) frames_ = websocket::frame_reader(max_message, true);
    struct output {
      websocket_connection* to;
      bool taken = true;
      void append(std::string_view bytes) noexcept {
        for (; taken && !bytes.empty(); bytes.remove_prefix((std::min)(bytes.size(), bytes_part::room)))
          taken = to->out_.append(to->ctx().parts, bytes.substr(0, bytes_part::room));
      }
    } out{this};
    websocket::write_switching_protocols(out, request, subprotocol, agreed.answer.view());
    return out.taken;
  }

 private:
  enum class state : std::uint8_t { open, leaving };

  // What a fan-out touches comes first, beside the base's.
  write_queue out_{};

 protected:
  std::unique_ptr<websocket::message_codec> codec_{};  // null: uncompressed

 private:
  state state_ = state::open;
  bool unread_ = false;           // the kernel may have more, and no edge will say so
  bool read_to_end_ = false;      // an edge has said that there is an end: to be read up to
  bool ended_input_ = false;      // and it was
  bool blocked_ = false;          // the kernel takes no more; an edge will say when it does
  bool watches_writing_ = false;  // from the first time on
  bool failed_ = false;           // a write
  bool shut_down_ = false;
  bool paused_ = false;  // by phx: flood_policy::pause
  bool ponged_ = false;  // since feed last flushed

 protected:
  bool lingers_ = false;  // mount::linger: phx says when to flush
  websocket::frame_reader frames_;

 private:
  static constexpr std::size_t early_write = 64 * 1024;

  [[nodiscard]] std::size_t high_water() const noexcept { return ctx().server().opts.high_water; }

  void read() noexcept {
    // A client that sends a lot must not keep the others of its loop waiting: so many buffers, then they have their turn.
    for (int rounds = 4; rounds != 0; --rounds) {
      // What waits for the end of the turn, or lingers, is written first: no edge follows a write that takes all of it.
      if (state_ == state::open && !blocked_ && out_.size() > high_water()) write();
      // on_writable goes on, or pause_reading(false)
      if (state_ == state::open && (paused_ || out_.size() > high_water())) return;
      std::span<char> const into(ctx().in.get(), event_loop::room);
      ssize_t const n = receive(into);
      if (n <= 0) {
        unread_ = false;
        return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? void() : on_end_of_input(n == 0);
      }
      auto const size = static_cast<std::size_t>(n);
      unread_ = size == into.size() || read_to_end_;
      if (state_ == state::open) feed(into.first(size));
      if (!unread_ || ended()) return;
    }
    ctx().resume_soon(*this);
  }
  void feed(std::span<char> bytes) noexcept {
    (void)receive_frames(bytes, ctx().now());  // a close is in the queue, and the state is leaving
    // Its replies, while they are in the cache: what the turn says to others may become more, but not to this one, mostly.
    if (!lingers_ || std::exchange(ponged_, false)) flush();
  }
  void on_end_of_input(bool orderly) noexcept {
    read_to_end_ = true;
    if (!orderly || state_ == state::open || failed_ || out_.size() == 0) return on_lost();
    ended_input_ = true;  // the rest of the queue, with the close, may still be read
  }
  /// The client is gone.
  void on_lost() noexcept {
    if (ended()) return;
    if (std::exchange(state_, state::leaving) == state::open) gone(lost::error);
    ctx().end(*this);
  }

  /// Hands the kernel what it takes.
  void write() noexcept {
    while (out_.size() != 0) {
      iovec pieces[write_queue::most_pieces];
      std::size_t total = 0;
      std::size_t const count = out_.gather(pieces, {ctx().out.get(), event_loop::room}, total);
      ssize_t const n =
          count == 1 ? ::send(fd(), pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL) : send_pieces(pieces, count);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return on_write_error();
      if (n > 0) out_.remove(ctx().parts, static_cast<std::size_t>(n));
      if (n < 0 || static_cast<std::size_t>(n) < total) return wait_to_write();
    }
    if (state_ == state::leaving) finish();
  }
  [[nodiscard]] ssize_t send_pieces(iovec* pieces, std::size_t count) const noexcept {
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    return ::sendmsg(fd(), &message, MSG_NOSIGNAL);
  }
  void wait_to_write() noexcept {
    blocked_ = true;
    if (!std::exchange(watches_writing_, true) && !ctx().watch(EPOLL_CTL_MOD, *this, true)) on_write_error();
  }
  void on_writable() noexcept {
    blocked_ = false;
    write();
    if (ended() || failed_ || out_.size() > high_water() / 2) return;
    // What phx held back for a slow client. It may close, which is no matter here.
    if (state_ == state::open) writable(ctx().now());
    if (unread_) ctx().resume_soon(*this);
  }
  /// Called in the middle of phx, which is told later.
  void on_write_error() noexcept {
    failed_ = true;
    out_.clear(ctx().parts);
    ctx().resume_soon(*this);
  }
  void leave(websocket::control_frame const& last) noexcept {
    if (state_ == state::leaving) return;
    (void)out_.append(ctx().parts, last.bytes());
    state_ = state::leaving;
    ctx().start_close_deadline(*this);
    // What the client still sends is read and dropped until it hangs up: with bytes unread the kernel would reset the
    // connection, and the client might never see why it was closed.
    if (unread_) ctx().resume_soon(*this);
    flush();
  }
  /// All is written, the close too.
  void finish() noexcept {
    if (std::exchange(shut_down_, true)) return;
    (void)::shutdown(fd(), SHUT_WR);
    if (ended_input_) ctx().end(*this);
  }
};

/// The Transport itself: a handle to the connection, as small as a reference.
struct transport {
  websocket_connection* to;
  send_status send(frame const& f) noexcept { return to->send(f); }
  void flush() noexcept { to->flush(); }
  void close(close_frame frame) noexcept { to->close(frame); }
  void pause_reading(bool paused) noexcept { to->pause_reading(paused); }
  [[nodiscard]] std::size_t buffered() const noexcept { return to->buffered(); }
};
static_assert(Transport<transport>);

template <class D>
class websocket_of final : public websocket_connection {
 public:
  using admitted_as = admission<typename D::session_type>;

  /// Null without memory; then `s` may be closed.
  static websocket_connection* make(tcp_socket& s, event_loop& on, D& app, admitted_as&& admitted,
                                    phx::request const& request) noexcept {
    std::unique_ptr<websocket_of> made(new (std::nothrow) websocket_of(std::move(s), on, admitted.bounds->frame));
    if (!made || !made->answer(request, admitted.subprotocol, admitted.bounds->frame)) return nullptr;
    made->lingers_ = admitted.linger > duration::zero();
    made->phoenix_.emplace(on.loop(), app, std::move(admitted), transport{made.get()}, on.now());
    return made.release();
  }

 private:
  websocket_of(tcp_socket&& s, event_loop& on, std::size_t max_message) noexcept
      : websocket_connection(std::move(s), on, max_message) {}
  frames_result receive_frames(std::span<char> bytes, time_point now) noexcept override {
    return phx::receive_frames(
        *phoenix_, frames_, bytes, now, [this](websocket::control_frame const& f) noexcept { control(f); }, codec_.get());
  }
  void writable(time_point now) noexcept override { (void)phoenix_->writable(now); }
  void gone(lost how_lost) noexcept override { phoenix_->gone(how_lost); }

  std::optional<phx::socket<transport, D>> phoenix_{};
};

}  // namespace epoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

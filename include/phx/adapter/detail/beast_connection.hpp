#ifndef PHX_ADAPTER_DETAIL_BEAST_CONNECTION_HPP
#define PHX_ADAPTER_DETAIL_BEAST_CONNECTION_HPP
// One WebSocket of the Beast host, after its handshake.
//
//   state \ event | phx closes           | client closes, breaks    | last byte written | EOF, error, deadline
//   open          | -> leaving, close    | gone, -> leaving, close  |                   | gone, hang up
//   leaving       | (not called)         | not looked at            | shut down         | hang up
//
//   state   | its deadline                                | what ends it
//   open    | limits::idle, which phx looks at; a drain:  | see above; a drain closes it with 1012
//           | drain_options::limit                        |
//   leaving | options::goodbye; a drain: limit + goodbye, | the client hangs up, an error, the deadline
//           | from its begin                              |
//
// One that does not read is open as long as it sends heartbeats and stays within limits::outbound.

#include <phx/adapter/detail/beast_loop.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

/// What is the same for all dispatchers: bytes in, frames out. An idle one owns no buffer: it waits for the socket to become
/// readable, then reads into its loop's.
class connection : public tcp_connection {
 public:
  connection(connection_permit&& t, stream&& s, std::size_t most)
      : tcp_connection(std::move(t), std::move(s)), frames_(most) {
    event_loop().keep(*this);
  }

  // ---- the Transport
  send_status send(frame const& f) noexcept {
    if (state_ != state::open || failed_) return send_status::closed;
    if (!queue(f)) return send_status::dropped;
    // A turn that says a lot need not wait for its end.
    if (waiting_ >= strand_context::room && !blocked_) write();
    return failed_ ? send_status::closed : waiting_ > all().opts.high_water ? send_status::congested : send_status::ok;
  }
  void flush() noexcept {
    if (!blocked_) write();
  }
  void close(close_frame frame) noexcept { leave(static_cast<std::uint16_t>(frame.code), frame.reason); }
  [[nodiscard]] std::size_t buffered() const noexcept { return waiting_; }

  // ---- a tcp_connection
  /// The client was told goodbye and does not hang up.
  void expired() noexcept override { hang_up(); }
  void asked_to_leave() noexcept override {}
  void dismissed() noexcept override {
    state_ = state::leaving;
    forget();
    hang_up();
  }

 protected:
  ~connection() override { drop_queue(); }
  [[nodiscard]] virtual bool receive(opcode, std::string_view part, bool last, time_point) noexcept = 0;
  virtual void writable(time_point) noexcept = 0;
  virtual void gone(lost) noexcept = 0;
  /// Destroys the phx::socket.
  virtual void forget() noexcept = 0;

  void begin(std::span<char> early) noexcept {
    if (!early.empty()) {
      auto const turn = event_loop().loop().turn();
      feed(early, clock_now());
    }
    flush();
    await_more();
  }

 private:
  enum class state : std::uint8_t { open, leaving };

  // ---- bytes in

  // A wait costs an epoll_ctl in Asio each time. A read begun instead would cost the same: Asio tries a recv first, which
  // finds nothing; and each connection that waits would need a buffer.
  void await_more() noexcept {
    if (state_ == state::open && !failed_ && waiting_ > all().opts.high_water) {
      paused_ = true;  // on_writable goes on
      return;
    }
    wait_to_read();
  }
  void wait_to_read() noexcept {
    bool const begun = try_invoke(
        [&] {
          stream_.when_readable(completion<connection, &connection::on_readable>{this, &read_room_, hold(*this)});
        },
        [](char const*) noexcept {});
    if (!begun) hang_up();
  }
  void wait_to_write() noexcept {
    bool const begun = try_invoke(
        [&] {
          stream_.when_writable(completion<connection, &connection::on_writable>{this, &write_room_, hold(*this)});
        },
        [](char const*) noexcept {});
    if (!begun) hang_up();
  }
  void on_readable(error_code ec) noexcept {
    // One client with much to say must not keep the others of its loop waiting: so many buffers, then they have their turn.
    if (!ec) {
      auto const turn = event_loop().loop().turn();
      std::span<char> const into(event_loop().in.get(), strand_context::room);
      for (int rounds = 4; rounds != 0 && !ec; --rounds) {
        std::size_t const n = stream_.read(into, ec);
        if (!ec && n != 0 && state_ == state::open) feed(into.first(n), clock_now());
        if (n < into.size()) break;
      }
    }
    if (!ec) {
      flush();  // phx flushes its own; a pong is ours
      return await_more();
    }
    if (state_ == state::open) {
      state_ = state::leaving;
      gone(lost::error);
    }
    drop_queue();
    hang_up();
  }
  void feed(std::span<char> bytes, time_point now) noexcept {
    using event = websocket::event_kind;
    for (bool heard = false;; heard = true) {
      websocket::frame_event const e = frames_.next(bytes);
      switch (e.kind) {
        case event::need_more:
          // Half a header is a sign of life as well: Phoenix's idle timeout counts bytes (protocol 11).
          if (!heard) (void)receive(opcode::pong, {}, true, now);
          return;
        case event::ping: pong(e.part); [[fallthrough]];
        case event::pong:
        case event::data:
          if (!receive(e.op, e.part, e.last, now) || state_ != state::open) return;
          break;
        case event::close:
        case event::error: {
          // What the turn said so far goes first; `gone` then says nothing more.
          gone(lost::normal);
          leave(e.code, {});
          return;
        }
      }
    }
  }

  // ---- bytes out

  [[nodiscard]] bool queue(frame const& f) noexcept {
    if (first_.empty()) {
      first_ = f;
    } else {
      strand_context::place* const p = event_loop().take_place();
      if (p == nullptr) return false;
      p->bytes = f;
      (rest_ == nullptr ? rest_ : last_->next) = p;
      last_ = p;
    }
    waiting_ += f.websocket().size();
    return true;
  }
  void pop() noexcept {
    first_ = frame();
    written_ = 0;
    if (rest_ == nullptr) return;
    strand_context::place* const p = std::exchange(rest_, rest_->next);
    first_ = std::move(p->bytes);
    event_loop().give_place(p);
  }
  void drop_queue() noexcept {
    while (!first_.empty()) pop();
    waiting_ = 0;
    last_pong_ = frame();
  }
  [[nodiscard]] frame control(opcode op, std::string_view data) noexcept {
    frame_builder out(event_loop().pool);
    out.start(op, data.size());
    out.append(data);
    return out.finish();
  }
  /// Goes out with what the turn says. Two bytes on the wire are three hundred in memory, so that few wait: who sends pings
  /// and does not read is then answered the last of them, which is all that is due (RFC 6455, 5.5.3).
  void pong(std::string_view data) noexcept {
    if (state_ != state::open || failed_) return;
    if (pongs_ == most_pongs && !blocked_) write();
    frame f = control(opcode::pong, data);
    if (f.empty() || failed_) return;
    if (pongs_ == most_pongs)
      last_pong_ = std::move(f);
    else if (queue(f))
      ++pongs_;
  }

  /// Hands the kernel what it takes. One send for a turn: small frames are put together, which is cheaper than to name them.
  void write() noexcept {
    do write_queue();
    while (!blocked_ && !failed_ && state_ == state::open && !last_pong_.empty() && queue(std::exchange(last_pong_, {})));
    if (state_ == state::leaving && !blocked_) finish();
  }
  void write_queue() noexcept {
    while (waiting_ != 0 && !failed_) {
      std::string_view next = first_.websocket().substr(written_);
      if (rest_ != nullptr && next.size() < strand_context::room / 2) next = together(next);
      error_code ec;
      std::size_t const n = stream_.write(next, ec);
      if (ec) return fail();
      written(n);
      if (n < next.size()) {
        blocked_ = true;
        wait_to_write();
        return;
      }
    }
    pongs_ = 0;
  }
  [[nodiscard]] std::string_view together(std::string_view next) noexcept {
    char* const to = event_loop().out.get();
    std::memcpy(to, next.data(), next.size());
    std::size_t have = next.size();
    for (strand_context::place const* p = rest_; p != nullptr; p = p->next) {
      std::string_view const more = p->bytes.websocket();
      if (more.size() > strand_context::room - have) break;
      std::memcpy(to + have, more.data(), more.size());
      have += more.size();
    }
    return {to, have};
  }
  void written(std::size_t n) noexcept {
    waiting_ -= n;
    while (n != 0) {
      std::size_t const left = first_.websocket().size() - written_;
      if (n < left) {
        written_ += n;
        return;
      }
      n -= left;
      pop();
    }
  }
  void on_writable(error_code ec) noexcept {
    blocked_ = false;
    if (ec) return;  // closed
    write();
    // What phx held back for a slow client. It may close, which is no matter here: this tcp_connection is held.
    if (state_ == state::open && !failed_ && waiting_ <= all().opts.high_water / 2) writable(clock_now());
    if (paused_ && waiting_ <= all().opts.high_water / 2) go_on();
  }
  void go_on() noexcept {
    if (std::exchange(paused_, false)) wait_to_read();
  }
  /// The client is gone; the read that is under way, or the one begun here, will say so.
  void fail() noexcept {
    failed_ = true;
    drop_queue();
    stream_.shut(net::socket_base::shutdown_both);
    go_on();
  }

  // ---- the end

  void leave(std::uint16_t code, std::string_view reason) noexcept {
    if (state_ == state::leaving) return;
    char body[125] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    std::size_t const n = (std::min)(reason.size(), sizeof body - 2);
    if (n != 0) std::memcpy(body + 2, reason.data(), n);
    if (frame const f = control(opcode::close, {body, n + 2}); !f.empty()) (void)queue(f);
    state_ = state::leaving;
    event_loop().part(*this);
    // What the client still sends is read and dropped until it hangs up: with bytes unread the kernel would reset the
    // connection, and the client might never see why it was closed.
    go_on();
    flush();
  }
  void finish() noexcept { stream_.finish(); }

  websocket::frame_reader frames_;
  static constexpr std::uint8_t most_pongs = 64;  // in the queue; then one more
  frame first_{};
  frame last_pong_{};
  strand_context::place* rest_ = nullptr;
  strand_context::place* last_ = nullptr;
  std::size_t written_ = 0;  // of first_
  std::size_t waiting_ = 0;
  state state_ = state::open;
  bool blocked_ = false;  // the kernel is full: a wait is under way
  bool paused_ = false;   // not read from until half of what waits is gone
  bool failed_ = false;
  std::uint8_t pongs_ = 0;  // in the queue
  op_room read_room_{}, write_room_{};
};

/// The Transport itself: a handle to the connection, as small as a reference.
struct transport {
  connection* to;
  send_status send(frame const& f) noexcept { return to->send(f); }
  void flush() noexcept { to->flush(); }
  void close(close_frame frame) noexcept { to->close(frame); }
  [[nodiscard]] std::size_t buffered() const noexcept { return to->buffered(); }
};
static_assert(Transport<transport>);

template <class D>
class connection_to final : public connection {
 public:
  using admitted_as = admission<typename D::session_type>;

  static void open(connection_permit&& t, stream&& s, D& app, admitted_as&& admitted, std::span<char> early) {
    auto* const made = new connection_to(std::move(t), std::move(s), app, std::move(admitted));
    hold const while_it_begins(*made);
    made->begin(early);
  }

 private:
  connection_to(connection_permit&& t, stream&& s, D& app, admitted_as&& admitted)
      : connection(std::move(t), std::move(s), admitted.bounds->frame) {
    phoenix_.emplace(event_loop().loop(), app, std::move(admitted), transport{this}, clock_now());
  }
  bool receive(opcode op, std::string_view part, bool last, time_point now) noexcept override {
    return phoenix_->receive(op, part, last, now);
  }
  void writable(time_point now) noexcept override { (void)phoenix_->writable(now); }
  void gone(lost how_lost) noexcept override { phoenix_->gone(how_lost); }
  void forget() noexcept override { phoenix_.reset(); }

  std::optional<phx::socket<transport, D>> phoenix_;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_BEAST_DETAIL_WEBSOCKET_CONNECTION_HPP
#define PHX_ADAPTER_BEAST_DETAIL_WEBSOCKET_CONNECTION_HPP
// One WebSocket of the Beast host, after its handshake.
//
//   state \ event | phx closes           | client closes, breaks    | last byte written | EOF, error, deadline
//   open          | -> closing, close    | gone, -> closing, close  |                   | gone, stream closed
//   closing       | (not called)         | ignored                  | shut down         | stream closed
//
//   state   | its deadline                                | what ends it
//   open    | limits::idle, which phx checks; a drain:    | see above; a drain closes it with 1012
//           | drain_options::limit                        |
//   closing | options::goodbye; a drain: limit + goodbye, | the client closes, an error, the deadline
//           | from its begin                              |
//
// A client that does not read stays open as long as it sends heartbeats and stays within limits::outbound.

#include <phx/adapter/beast/detail/strand_context.hpp>
#include <phx/websocket/frame_reader.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

/// All of a WebSocket but its phx::socket, whose type depends on the dispatcher: bytes in, frames out. An idle one owns no
/// buffer: it waits until the socket is readable, then reads into its loop's buffer.
class websocket_connection : public tcp_connection {
 public:
  /// @param codec null: uncompressed
  websocket_connection(connection_permit&& p, stream&& s, std::size_t max_frame,
                       std::unique_ptr<websocket::message_codec> codec)
      : tcp_connection(std::move(p), std::move(s)), codec_(std::move(codec)), frames_(max_frame, codec_ != nullptr) {
    ctx().clear_deadline(*this);
  }

  // ---- the Transport

  send_status send(frame const& f) noexcept {
    if (state_ != state::open || failed_) return send_status::closed;
    if (codec_ == nullptr) {
      if (!enqueue(f)) return send_status::dropped;
    } else if (!enqueue(codec_->compress(f))) {
      codec_->not_sent();
      return send_status::dropped;
    }
    if (queued_bytes_ >= strand_context::buffer_size && !blocked_)
      write();  // a turn that sends much need not wait for its end
    return failed_                                    ? send_status::closed
           : queued_bytes_ > server().opts.high_water ? send_status::congested
                                                      : send_status::ok;
  }
  void flush() noexcept {
    if (!blocked_) write();
  }
  void pause_reading(bool paused) noexcept {
    paused_by_phx_ = paused;
    if (!paused && queued_bytes_ <= server().opts.high_water) resume_reading();
  }
  void close(close_frame frame) noexcept { start_close(static_cast<std::uint16_t>(frame.code), frame.reason); }
  [[nodiscard]] std::size_t buffered() const noexcept { return queued_bytes_; }

  // ---- a tcp_connection

  /// The close was sent, and the client does not close its side.
  void on_deadline() noexcept override {
    keep_alive const meanwhile(*this);
    while_paused_.reset();
    close_stream();
  }
  void on_drain() noexcept override {}
  void on_stop() noexcept override {
    keep_alive const meanwhile(*this);
    while_paused_.reset();
    state_ = state::closing;
    destroy_socket();
    close_stream();
  }

 protected:
  ~websocket_connection() override { drop_queue(); }
  // Members of phx::socket.
  [[nodiscard]] virtual bool receive(opcode, std::string_view part, bool last, time_point) noexcept = 0;
  virtual void writable(time_point) noexcept = 0;
  virtual void gone(lost) noexcept = 0;
  virtual void destroy_socket() noexcept = 0;

  /// @param early bytes that came with the handshake's request.
  void begin(std::span<char> early) noexcept {
    if (!early.empty()) {
      auto const turn = ctx().loop().turn();
      feed(early, clock_now());
    }
    flush();
    read_on();
  }

 private:
  enum class state : std::uint8_t { open, closing };

  // ---- bytes in

  /// Waits for more, unless so much waits to be written that the client must read first: on_writable goes on then; or unless the
  /// client sends too fast (flood_policy::pause): pause_reading(false) goes on then.
  // A wait costs one epoll_ctl each time. Starting a read instead would cost the same, because Asio tries a recv first,
  // which finds nothing; and each waiting connection would need a buffer.
  void read_on() noexcept {
    // What lingers is written first: without a write under way nobody would go on, nor keep this connection alive.
    if (state_ == state::open && !blocked_ && queued_bytes_ > server().opts.high_water) write();
    if (state_ == state::open && !failed_ && (paused_by_phx_ || queued_bytes_ > server().opts.high_water))
      paused_ = true;
    else
      (void)wait_to_read();
    if (paused_ && paused_by_phx_) while_paused_.emplace(*this);
  }
  /// False without memory: the stream is closed.
  bool wait_to_read() noexcept {
    using done = completion<websocket_connection, &websocket_connection::on_readable>;
    if (attempt([&] { stream_.when_readable(done{this, &read_memory_, keep_alive(*this)}); })) return true;
    close_stream();
    return false;
  }
  void wait_to_write() noexcept {
    using done = completion<websocket_connection, &websocket_connection::on_writable>;
    if (!attempt([&] { stream_.when_writable(done{this, &write_memory_, keep_alive(*this)}); })) close_stream();
  }
  void on_readable(error_code ec) noexcept {
    if (!ec) {
      auto const turn = ctx().loop().turn();
      std::span<char> const into(ctx().read_buffer.get(), strand_context::buffer_size);
      for (int rounds = 4; rounds != 0 && !ec; --rounds) {  // then the other connections of the loop get their turn
        std::size_t const n = stream_.read(into, ec);
        if (!ec && n != 0 && state_ == state::open) feed(into.first(n), clock_now());
        if (n < into.size() || paused_by_phx_) break;
      }
    }
    if (!ec) {
      if (pongs_ != 0) flush();  // phx flushes its own frames
      return read_on();
    }
    if (state_ == state::open) {
      state_ = state::closing;
      gone(lost::error);
    }
    drop_queue();
    close_stream();
  }
  void feed(std::span<char> bytes, time_point now) noexcept {
    using event = websocket::event_kind;
    for (bool any = false;; any = true) {
      websocket::frame_event const e = frames_.next(bytes);
      switch (e.kind) {
        case event::need_more:
          // Bytes without a whole frame also restart the idle timeout, as in Phoenix (protocol 11).
          if (!any) (void)receive(opcode::pong, {}, true, now);
          return;
        case event::ping: pong(e.part); [[fallthrough]];
        case event::pong:
        case event::data:
          if (e.compressed) {
            if (!feed_compressed(e, now)) return;
            break;
          }
          if (!receive(e.op, e.part, e.last, now) || state_ != state::open) return;
          break;
        case event::close:
        case event::error: return end_by_client(e.code);
      }
    }
  }
  /// False: the connection is closing.
  [[nodiscard]] bool feed_compressed(websocket::frame_event const& e, time_point now) noexcept {
    auto const [open, code] = websocket::deliver_inflated(
        *codec_, e.part, e.last,
        [&](std::string_view part, bool last) noexcept { return receive(e.op, part, last, now) && state_ == state::open; });
    if (code != 0) end_by_client(code);
    return open && code == 0;
  }
  /// The client has closed, or violated the protocol.
  void end_by_client(std::uint16_t code) noexcept {
    // The frames of this turn are queued before the close; gone() queues none.
    gone(lost::normal);
    start_close(code, {});
  }

  // ---- bytes out

  [[nodiscard]] bool enqueue(frame const& f) noexcept {
    if (first_.empty()) {
      first_ = f;
    } else {
      queued_frame* const p = ctx().queued_frames.acquire();
      if (p == nullptr) return false;
      p->bytes = f;
      (rest_ == nullptr ? rest_ : last_->next) = p;
      last_ = p;
    }
    queued_bytes_ += f.websocket().size();
    return true;
  }
  void pop() noexcept {
    first_ = frame();
    written_ = 0;
    if (rest_ == nullptr) return;
    queued_frame* const p = std::exchange(rest_, rest_->next);
    first_ = std::move(p->bytes);
    ctx().queued_frames.release(p);
  }
  void drop_queue() noexcept {
    while (!first_.empty()) pop();
    queued_bytes_ = 0;
    last_pong_ = frame();
  }
  [[nodiscard]] frame control(opcode op, std::string_view data) noexcept {
    frame_builder out(ctx().control_frames);
    out.start(op, data.size());
    out.append(data);
    return out.finish();
  }
  /// Queues a pong, written with the other frames of the turn. Two bytes on the wire are three hundred in memory, so few are
  /// queued: a client that sends pings and does not read gets the answer to the last of them, which is all that RFC 6455,
  /// 5.5.3, asks for.
  void pong(std::string_view data) noexcept {
    if (state_ != state::open || failed_) return;
    if (pongs_ == max_pongs && !blocked_) write();
    frame f = control(opcode::pong, data);
    if (f.empty() || failed_) return;
    if (pongs_ == max_pongs)
      last_pong_ = std::move(f);
    else if (enqueue(f))
      ++pongs_;
  }

  /// Writes what the kernel takes. Small frames are copied together into one send, which is cheaper than a list of buffers.
  void write() noexcept {
    do write_queue();
    while (!blocked_ && !failed_ && state_ == state::open && !last_pong_.empty() && enqueue(std::exchange(last_pong_, {})));
    if (state_ == state::closing && !blocked_) stream_.finish();
  }
  void write_queue() noexcept {
    while (queued_bytes_ != 0 && !failed_) {
      std::string_view next = first_.websocket().substr(written_);
      if (rest_ != nullptr && next.size() < strand_context::buffer_size / 2) next = coalesce(next);
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
  /// `next` and as many frames behind it as fit into the loop's buffer, as one run of bytes.
  [[nodiscard]] std::string_view coalesce(std::string_view next) noexcept {
    char* const to = ctx().write_buffer.get();
    std::memcpy(to, next.data(), next.size());
    std::size_t have = next.size();
    for (queued_frame const* p = rest_; p != nullptr; p = p->next) {
      std::string_view const more = p->bytes.websocket();
      if (more.size() > strand_context::buffer_size - have) break;
      std::memcpy(to + have, more.data(), more.size());
      have += more.size();
    }
    return {to, have};
  }
  void written(std::size_t n) noexcept {
    queued_bytes_ -= n;
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
    // phx sends what it held back for a slow client. It may close; the completion handler keeps this connection alive.
    if (state_ == state::open && !failed_ && queued_bytes_ <= server().opts.high_water / 2) writable(clock_now());
    if (paused_ && !paused_by_phx_ && queued_bytes_ <= server().opts.high_water / 2) resume_reading();
  }
  void resume_reading() noexcept {
    if (!std::exchange(paused_, false)) return;
    // Called in the middle of phx: the connection must not be destroyed here. Without memory its deadline does that.
    if (wait_to_read())
      while_paused_.reset();
    else if (while_paused_)
      ctx().start_close_deadline(*this);
  }
  /// A write failed: the client is gone. The read that is under way, or the one begun here, completes with the error.
  void fail() noexcept {
    failed_ = true;
    drop_queue();
    stream_.shutdown(net::socket_base::shutdown_both);
    resume_reading();
  }

  // ---- the end

  void start_close(std::uint16_t code, std::string_view reason) noexcept {
    if (state_ == state::closing) return;
    char body[125] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    std::size_t const n = (std::min)(reason.size(), sizeof body - 2);
    if (n != 0) std::memcpy(body + 2, reason.data(), n);
    if (frame const f = control(opcode::close, {body, n + 2}); !f.empty()) (void)enqueue(f);
    state_ = state::closing;
    ctx().start_close_deadline(*this);
    // Reads and drops what the client still sends until it closes: if bytes were left unread, the kernel would reset the
    // connection, and the client might never see the close.
    resume_reading();
    flush();
  }

  std::unique_ptr<websocket::message_codec> codec_;  // null: uncompressed
  websocket::frame_reader frames_;
  static constexpr std::uint8_t max_pongs = 64;  // in the queue; the last one is in last_pong_
  frame first_{};
  frame last_pong_{};
  queued_frame* rest_ = nullptr;
  queued_frame* last_ = nullptr;
  std::size_t written_ = 0;  // of first_
  std::size_t queued_bytes_ = 0;
  state state_ = state::open;
  bool blocked_ = false;  // the kernel took less than all: a wait is under way
  bool paused_ = false;   // not read from until half of the queue is written, or phx says so
  bool paused_by_phx_ = false;
  std::optional<keep_alive> while_paused_;  // by phx: no operation may be under way then
  bool failed_ = false;
  std::uint8_t pongs_ = 0;  // in the queue
  operation_memory read_memory_{}, write_memory_{};
};

/// The Transport: a pointer to the connection.
struct transport {
  websocket_connection* connection;
  send_status send(frame const& f) noexcept { return connection->send(f); }
  void flush() noexcept { connection->flush(); }
  void close(close_frame frame) noexcept { connection->close(frame); }
  void pause_reading(bool paused) noexcept { connection->pause_reading(paused); }
  [[nodiscard]] std::size_t buffered() const noexcept { return connection->buffered(); }
};
static_assert(Transport<transport>);

/// A WebSocket with the phx::socket of one dispatcher.
template <class D>
class websocket_connection_of final : public websocket_connection {
 public:
  using admission_type = admission<typename D::session_type>;

  /// @par Errors: std::bad_alloc.
  static void open(connection_permit&& p, stream&& s, D& app, admission_type&& admitted,
                   std::unique_ptr<websocket::message_codec> codec, std::span<char> early) {
    auto* const made = new websocket_connection_of(std::move(p), std::move(s), app, std::move(admitted), std::move(codec));
    keep_alive const while_it_begins(*made);
    made->begin(early);
  }

 private:
  websocket_connection_of(connection_permit&& p, stream&& s, D& app, admission_type&& admitted,
                          std::unique_ptr<websocket::message_codec> codec)
      : websocket_connection(std::move(p), std::move(s), admitted.bounds->frame, std::move(codec)) {
    socket_.emplace(ctx().loop(), app, std::move(admitted), transport{this}, clock_now());
  }
  bool receive(opcode op, std::string_view part, bool last, time_point now) noexcept override {
    return socket_->receive(op, part, last, now);
  }
  void writable(time_point now) noexcept override { (void)socket_->writable(now); }
  void gone(lost reason) noexcept override { socket_->gone(reason); }
  void destroy_socket() noexcept override { socket_.reset(); }

  std::optional<phx::socket<transport, D>> socket_;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

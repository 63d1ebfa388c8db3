#ifndef PHX_ADAPTER_EPOLL_DETAIL_HTTP_CONNECTION_HPP
#define PHX_ADAPTER_EPOLL_DETAIL_HTTP_CONNECTION_HPP
// A connection of the epoll host while it speaks HTTP: one request after the other, until one becomes a WebSocket.
//
//   state              | its deadline                     | what ends it
//   reading, no byte   | handshake, from accept or the    | a byte; EOF, a drain or the deadline: hung up
//   or a PROXY header  | last answer                      |
//   reading, some of a | the same                         | the rest: served; the deadline: 408, which has goodbye to go out
//   request            |                                  |
//   waiting for a late | none, it is the route's; a       | the answer; the client hangs up
//   answer             | drain: goodbye                   |
//   waiting for a poll | the session's window; a drain:   | the same; a drain, which answers it
//                      | goodbye                          |
//   held back          | throttle_options::refuse_after   | the deadline and a drain: the refusal; the client hangs up
//   answering          | handshake; a 408: goodbye        | the last byte: the next request, lingering; an error and the
//                      |                                  | deadline: hung up
//   lingering          | goodbye                          | EOF, an error, the deadline: hung up
//   any, in a drain    | limit + goodbye, from its begin  | hung up
//
// handshake and goodbye are in options, limit is in drain_options. As a WebSocket: websocket_connection.hpp.

#include <phx/adapter/epoll/detail/websocket_connection.hpp>
#include <phx/http/body_reader.hpp>
#include <phx/http/proxy_protocol.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll::detail {

class http_connection final : public connection {
 public:
  http_connection(tcp_socket&& s, peer_address const& peer, event_loop& on) noexcept
      : connection(std::move(s), on), peer_(peer), accept_counts_(!on.server().opts.trusted_proxies.trusts(peer_.text)) {}
  ~http_connection() override {
    cancel();
    ctx().give(std::move(in_));
  }

  /// @param refused the refusal: this address, or all of them, connect too often.
  void begin(std::optional<refused_request> const& refused) noexcept {
    ctx().start_request_deadline(*this);
    if (!ctx().watch(EPOLL_CTL_ADD, *this)) return ctx().end(*this);
    or_close([&] {
      if (refused)
        refuse(refused->answer);
      else if (ctx().server().connection_count.load(std::memory_order_relaxed) > ctx().server().opts.max_connections)
        refuse(http_answer{503, {}, {}});
      else if (ctx().server().opts.proxy_protocol)
        proxy_header_ = std::make_unique<http::proxy_protocol_reader>();
    });
  }

  /// For http_request::later, while a route is asked. Null when it was asked before.
  [[nodiscard]] std::shared_ptr<late_answer_state> answer_later() {
    if (late_) return nullptr;
    return late_ = std::make_shared<late_answer_state>(ctx().inbox(), *this);
  }
  /// The late answer.
  void on_late_answer(http_answer const& answer) noexcept {
    stop_waiting();
    if (state_ != state::waiting || ended()) return;
    ctx().start_request_deadline(*this);  // as long as a request may take to come, its answer may take to go
    or_close([&] { write(answer); });
  }

  /// The mounts are asked by this connection no more often than by connections of their own: it was counted when it was
  /// accepted, and is again for each socket or session after the first; of a trusted proxy's connection also for the first.
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> may_open(time_point now) {
    if (std::exchange(accept_counts_, false)) return std::nullopt;
    return ctx().server().try_acquire(request_.peer.address, now);
  }
  /// The response to a poll or a POST, during serve() or later, in the middle of what the loop does.
  void respond(longpoll::response r) noexcept {
    poll_response_.emplace(std::move(r));
    if (state_ == state::waiting) ctx().resume_soon(*this);
  }

  // ---- a connection

  void ready(std::uint32_t events) noexcept override {
    if (state_ == state::writing && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) write_more();
    if (ended() || (events & ~std::uint32_t{EPOLLOUT}) == 0) return;
    unread_ = true;
    read_to_end_ = read_to_end_ || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    read();
  }
  void resume() noexcept override {
    if (state_ == state::waiting && poll_response_) {
      stop_waiting();
      ctx().start_request_deadline(*this);
      or_close([&] { write_poll_response(); });
    } else if (state_ == state::reading && in_) {
      or_close([&] { parse(); });
    }
    if (unread_ && !ended()) read();
  }
  void on_deadline() noexcept override {
    if (state_ == state::refusal_delayed) return write_delayed_refusal();
    if (state_ != state::reading || !in_ || !begun()) return end();
    ctx().start_close_deadline(*this);  // a client that does not read it is not waited for
    refuse(408);
  }
  void on_drain() noexcept override {
    if (state_ == state::reading && (!in_ || !begun())) end();
    if (state_ == state::waiting) ctx().start_close_deadline(*this);
    if (state_ == state::refusal_delayed) write_delayed_refusal();
  }
  void on_stop() noexcept override { cancel(); }

 private:
  enum class state : std::uint8_t { reading, waiting, refusal_delayed, writing, lingering, closed };

  /// Runs `f`; without memory the connection ends.
  template <class F>
  void or_close(F&& f) noexcept {
    if (!try_invoke(std::forward<F>(f), [](char const*) noexcept {})) end();
  }
  void end() noexcept {
    if (ended()) return;
    cancel();
    ctx().end(*this);
  }
  /// Nobody is to be answered any more.
  void cancel() noexcept {
    if (std::exchange(state_, state::closed) == state::refusal_delayed) ctx().server().release();
    stop_waiting();
    poll_request_.reset();
    poll_response_.reset();  // was not written: its frames come with the next poll
  }
  void stop_waiting() noexcept {
    if (late_) late_->connection = nullptr;
    late_.reset();
  }
  [[nodiscard]] bool begun() const noexcept { return in_->body || in_->reader.begun(); }

  // ---- a request comes

  /// Also while an answer is awaited, as far as there is room: a client that hangs up then is not answered.
  void read() noexcept {
    for (int rounds = 8; rounds != 0; --rounds) {
      std::span<char> into(ctx().in.get(), event_loop::room);
      if (state_ != state::lingering) {
        if (!in_) {
          or_close([&] { in_ = ctx().take_incoming(); });
          if (ended()) return;
        }
        into = {in_->bytes.get() + in_->size, in_->room - in_->size};
        if (into.empty()) return;  // goes on when the request has been answered
      }
      ssize_t const n = receive(into);
      if (n <= 0) {
        unread_ = false;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return release_if_empty();
        return n < 0 ? end() : on_end_of_input();
      }
      unread_ = static_cast<std::size_t>(n) == into.size() || read_to_end_;
      if (state_ != state::lingering) {
        in_->size += static_cast<std::size_t>(n);
        if (state_ == state::reading) or_close([&] { parse(); });
      }
      if (!unread_ || ended()) return;
    }
    ctx().resume_soon(*this);
  }
  void release_if_empty() noexcept {
    if (state_ != state::lingering && in_->size == 0 && !in_->body) ctx().give(std::move(in_));
  }
  void on_end_of_input() noexcept {
    eof_ = true;
    if (state_ == state::writing && in_ && in_->size != 0) return;  // what came before the end is answered
    if (state_ == state::reading && in_ && in_->size != in_->used) return or_close([&] { parse(); });
    if (state_ != state::writing) end();
  }

  /// With options::proxy_protocol, before the first request: who the client of the balancer is. False: there is no more to do.
  [[nodiscard]] bool read_proxy_header() {
    std::string_view rest(in_->bytes.get(), in_->size);
    http::progress const p = proxy_header_->read(rest);
    in_->size = rest.size();
    std::memmove(in_->bytes.get(), rest.data(), rest.size());
    // Refused without an answer: it may not even be HTTP.
    if (p == http::progress::refused || (p == http::progress::need_more && eof_)) end();
    if (p != http::progress::complete) return false;
    auto const header = std::move(proxy_header_);
    if (!header->names_peer()) return true;
    peer_ = peer_address(header->peer({}));
    accept_counts_ = !ctx().server().opts.trusted_proxies.trusts(peer_.text);
    if (!accept_counts_) return true;
    auto const refused = ctx().server().try_acquire(peer_.text, ctx().now());
    if (!refused) return true;
    report_refusal(ctx().loop(), *refused);
    refuse(refused->answer);
    return false;
  }
  /// @pre state::reading
  void parse() {
    if (proxy_header_ && !read_proxy_header()) return;
    if (!in_->body) {
      http::progress const p = in_->reader.read({in_->bytes.get(), in_->size});
      if (p == http::progress::need_more) return eof_ ? end() : void();
      if (p == http::progress::refused) return refuse(in_->reader.status());
      in_->used = in_->reader.size();
      begin_body();
      if (auto const refused = ctx().server().opts.trusted_proxies.rewrite(request_)) {
        report_refusal(ctx().loop(), *refused);
        return refuse(refused->answer.status);
      }
    }
    std::string_view rest(in_->bytes.get() + in_->used, in_->size - in_->used);
    http::body_event event = in_->body->next(rest);
    for (; event.state == http::body_event::data; event = in_->body->next(rest)) in_->text.append(event.part);
    in_->used = in_->size - rest.size();
    if (event.state == http::body_event::complete) return serve();
    if (event.state == http::body_event::refused) return refuse(in_->body->status());
    // All of it was the body's. Nothing else is on its way out, so there is room for the few bytes.
    bool const continues = std::exchange(in_->must_continue, false) && in_->size == in_->reader.size();
    in_->size = in_->used = in_->reader.size();
    constexpr std::string_view go_on = http::continue_response;
    if (eof_ || (continues && ::send(fd(), go_on.data(), go_on.size(), MSG_NOSIGNAL) != ssize_t{go_on.size()})) end();
  }
  void begin_body() {
    request_ = {};
    static_cast<phx::request&>(request_) = in_->reader.request({peer_.text, peer_.port, {}});
    target_ = ctx().server().find(request_.path);
    in_->body.emplace(in_->reader, polls() ? target_.first->polls.body : std::size_t{ctx().server().opts.body_bytes});
    in_->must_continue = in_->reader.expects_continue();
  }
  [[nodiscard]] bool polls() const noexcept {
    return target_.first != nullptr && target_.second == transport_kind::longpoll;
  }

  // ---- and is answered

  void serve() {
    state_ = state::writing;
    request_.body = in_->text;
    keep_alive_ = in_->reader.keep_alive();
    head_only_ = request_.method == "HEAD";
    if (polls()) return poll(*target_.first);
    if (target_.first != nullptr) return upgrade(*target_.first);
    std::optional<http_answer> answer;
    request_.from_ = this;
    for (server_state::route const& r : ctx().server().routes) {
      // What a route throws is the host's fault, and no reason to end.
      if (!try_invoke([&] { answer = r(request_); }, [](char const*) noexcept {})) answer = http_answer{500, {}, {}};
      if (answer || late_) break;
    }
    if (!answer && late_) return wait();
    stop_waiting();
    write(answer ? *answer : http_answer{404, {}, {}});
  }
  /// For a late answer or a poll's, as long as it takes.
  void wait() noexcept {
    state_ = state::waiting;
    release_request();
    ctx().clear_deadline(*this);
    if (ctx().loop().draining()) ctx().start_close_deadline(*this);
    if (unread_) ctx().resume_soon(*this);
  }
  void poll(mounted& at) {
    if (!poll_request_) poll_request_.emplace(*this);
    ctx().service(at).serve(*poll_request_, request_, request_.body, ctx().now());
    if (!poll_response_) return wait();
    if (auto const reason = poll_response_->refused()) return delay_refusal(*reason);
    write_poll_response();
  }
  void write_poll_response() {
    keep_alive_ = keep_alive_ && !ctx().loop().draining();
    write(http::to_bytes(*poll_response_, persistence()));
  }
  void upgrade(mounted& at) {
    std::optional<refused_request> refused;
    websocket_connection* made = nullptr;
    if (ctx().loop().draining()) {
      refused = phx::refuse(refusal::draining);
    } else if (!(refused = may_open(ctx().now()))) {
      auto judged = at.upgrade(request_, socket_, ctx());
      if (auto* const by_mount = std::get_if<refused_request>(&judged))
        refused = std::move(*by_mount);
      else
        made = *std::get_if<websocket_connection*>(&judged);
    }
    if (refused) {
      report_refusal(ctx().loop(), *refused);
      refused_.emplace(std::move(refused->answer));
      return delay_refusal(refused->reason);
    }
    if (made != nullptr) made->begin({in_->bytes.get() + in_->used, in_->size - in_->used});
    end();
  }
  [[nodiscard]] http::persistence persistence() const noexcept {
    return keep_alive_ ? http::persistence::keep_alive : http::persistence::close;
  }
  /// The refusal goes out; or waits as long as options::throttle has it, and while its client does.
  void delay_refusal(refusal reason) {
    if (ctx().loop().draining()) return write_refusal();
    time_point const until = ctx().server().delay_until(reason, ctx().now());
    if (until <= ctx().now()) return write_refusal();
    state_ = state::refusal_delayed;
    release_request();
    ctx().start_refusal_delay(*this, until);
    if (unread_) ctx().resume_soon(*this);
  }
  void write_delayed_refusal() noexcept {
    ctx().server().release();
    state_ = state::writing;
    ctx().start_request_deadline(*this);  // as long as a request may take to come, its answer may take to go
    or_close([&] { write_refusal(); });
  }
  void write_refusal() {
    if (poll_response_) return write_poll_response();
    http_answer const answer = std::move(*refused_);
    refused_.reset();
    write(answer);
  }
  /// The answer to what is no request; the connection ends with it.
  void refuse(std::uint16_t status) noexcept {
    or_close([&] {
      // A body too long for a poll is 400, and for any origin to see (protocol 10.2).
      if (in_->body && polls())
        refuse(http_answer{status == 413 ? std::uint16_t{400} : status, {{"access-control-allow-origin", "*"}}, {}});
      else
        refuse(http_answer{status, {}, {}});
    });
  }
  void refuse(http_answer const& answer) {
    keep_alive_ = head_only_ = false;
    write(answer);
  }
  void write(http_answer const& answer) {
    keep_alive_ = keep_alive_ && !ctx().loop().draining();
    write(http::to_bytes(answer, persistence(), head_only_));
  }
  void write(std::string bytes) {
    state_ = state::writing;
    release_request();
    out_ = std::move(bytes);
    sent_ = 0;
    write_more();
  }
  /// A client that waits, or is slow to take its answer, keeps no request in memory.
  void release_request() noexcept {
    request_ = {};
    if (!in_) return;
    in_->body.reset();
    in_->text = std::string();
    in_->reader.reset();
    in_->size -= in_->used;
    std::memmove(in_->bytes.get(), in_->bytes.get() + std::exchange(in_->used, 0), in_->size);
    if (in_->size == 0) ctx().give(std::move(in_));
  }
  void write_more() noexcept {
    while (sent_ != out_.size()) {
      ssize_t const n = ::send(fd(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
      if (n > 0) {
        sent_ += static_cast<std::size_t>(n);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (!std::exchange(watches_writing_, true) && !ctx().watch(EPOLL_CTL_MOD, *this, true)) end();
        return;
      } else if (errno != EINTR) {
        return end();
      }
    }
    out_ = std::string();
    if (poll_response_) poll_response_->written();  // its frames are the kernel's
    poll_response_.reset();
    if (keep_alive_ && (!ctx().loop().draining() || in_)) {
      ctx().start_request_deadline(*this);
      state_ = state::reading;
      // A client that has sent many requests has its turn for the next when the others of its loop had theirs.
      if (in_ || unread_) return ctx().resume_soon(*this);
      return eof_ ? end() : void();
    }
    // Read what still comes, for a while: with bytes unread the kernel would reset the connection, answer and all.
    state_ = state::lingering;
    (void)::shutdown(fd(), SHUT_WR);
    if (eof_) return end();
    ctx().start_close_deadline(*this);
    in_.reset();
    if (unread_) ctx().resume_soon(*this);
  }

  std::unique_ptr<incoming> in_{};
  http_request request_{};  // views into in_ and peer_
  std::shared_ptr<late_answer_state> late_{};
  std::pair<mounted*, transport_kind> target_{nullptr, transport_kind::websocket};  // for which the request is
  std::optional<longpoll::poll_request> poll_request_{};
  std::optional<longpoll::response> poll_response_{};            // until it is written, or cannot be
  std::optional<http_answer> refused_{};                         // of a mount, until it is written
  std::unique_ptr<http::proxy_protocol_reader> proxy_header_{};  // while it is read
  std::string out_{};
  std::size_t sent_ = 0;  // of out_
  peer_address peer_;
  state state_ = state::reading;
  bool keep_alive_ = false;       // after this answer
  bool head_only_ = false;        // the answer to a HEAD
  bool accept_counts_;            // may_open has not been asked; never, of a trusted proxy's connection
  bool unread_ = false;           // the kernel may have more, and no edge will say so
  bool read_to_end_ = false;      // an edge has said that there is an end: to be read up to
  bool eof_ = false;              // and it was
  bool watches_writing_ = false;  // from the first time on
};

inline void event_loop::begin(arrival&& a) noexcept {
  std::optional<refused_request> refused;
  std::unique_ptr<http_connection> made;
  bool const done = try_invoke(
      [&] {
        if (server_.counts(a.peer.text)) refused = server_.try_acquire(a.peer.text, now_);
        made = std::make_unique<http_connection>(std::move(a.socket), a.peer, *this);
      },
      [](char const*) noexcept {});
  if (!done) return;
  if (refused) report_refusal(*loop_, *refused);
  made.release()->begin(refused);  // it is in one of the lists now
}
inline void event_loop::answer(late_answer_state const& late) noexcept {
  if (late.connection != nullptr) late.connection->on_late_answer(late.answer);
}

}  // namespace epoll::detail

namespace epoll {
inline late_answer http_request::later() const { return late_answer(from_->answer_later()); }
}  // namespace epoll

}  // namespace PHX_BUILD
}  // namespace phx

#endif

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
      : connection(std::move(s), on), peer_(peer), first_(!on.all().opts.trusted_proxies.trusts(peer_.text)) {}
  ~http_connection() override {
    forget();
    on().give(std::move(in_));
  }

  /// @param no the refusal: this address, or all of them, connect too often.
  void begin(std::optional<refused_request> const& no) noexcept {
    on().greet(*this);
    if (!on().watch(EPOLL_CTL_ADD, *this)) return on().end(*this);
    or_end([&] {
      if (no)
        refuse(no->answer);
      else if (on().all().connection_count.load(std::memory_order_relaxed) > on().all().opts.max_connections)
        refuse(http_answer{503, {}, {}});
      else if (on().all().opts.proxy_protocol)
        proxy_header_ = std::make_unique<http::proxy_protocol_reader>();
    });
  }

  /// For http_request::later, while a route is asked. Null when it was asked before.
  [[nodiscard]] std::shared_ptr<awaited> wanted_later() {
    if (later_) return nullptr;
    return later_ = std::make_shared<awaited>(on().inbox(), *this);
  }
  /// The late answer.
  void answered(http_answer const& answer) noexcept {
    forget_later();
    if (state_ != state::waiting || ended()) return;
    on().greet(*this);  // as long as a request may take to come, its answer may take to go
    or_end([&] { write(answer); });
  }

  /// The mounts are asked by this connection no more often than by connections of their own: it was counted when it was
  /// accepted, and is again for each socket or session after the first; of a trusted proxy's connection also for the first.
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> may_open(time_point now) {
    if (std::exchange(first_, false)) return std::nullopt;
    return on().all().try_acquire(asked_.peer.address, now);
  }
  /// The response to a poll or a POST, during serve() or later, in the middle of what the loop does.
  void respond(longpoll::response r) noexcept {
    going_.emplace(std::move(r));
    if (state_ == state::waiting) on().resume_soon(*this);
  }

  // ---- a connection

  void ready(std::uint32_t events) noexcept override {
    if (state_ == state::answering && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) write_more();
    if (ended() || (events & ~std::uint32_t{EPOLLOUT}) == 0) return;
    unread_ = true;
    hangs_up_ = hangs_up_ || (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    read();
  }
  void resume() noexcept override {
    if (state_ == state::waiting && going_) {
      forget_later();
      on().greet(*this);
      or_end([&] { answer_poll(); });
    } else if (state_ == state::reading && in_) {
      or_end([&] { parse(); });
    }
    if (unread_ && !ended()) read();
  }
  void expired() noexcept override {
    if (state_ == state::held_back) return tell_refusal();
    if (state_ != state::reading || !in_ || !begun()) return end();
    on().part(*this);  // a client that does not read it is not waited for
    refuse(408);
  }
  void asked_to_leave() noexcept override {
    if (state_ == state::reading && (!in_ || !begun())) end();
    if (state_ == state::waiting) on().part(*this);
    if (state_ == state::held_back) tell_refusal();
  }
  void dismissed() noexcept override { forget(); }

 private:
  enum class state : std::uint8_t { reading, waiting, held_back, answering, lingering, over };

  /// Runs `f`; without memory the connection ends.
  template <class F>
  void or_end(F&& f) noexcept {
    if (!try_invoke(std::forward<F>(f), [](char const*) noexcept {})) end();
  }
  void end() noexcept {
    if (ended()) return;
    forget();
    on().end(*this);
  }
  /// Nobody is to be answered any more.
  void forget() noexcept {
    if (std::exchange(state_, state::over) == state::held_back) on().all().release();
    forget_later();
    polling_.reset();
    going_.reset();  // was not written: its frames come with the next poll
  }
  void forget_later() noexcept {
    if (later_) later_->connection = nullptr;
    later_.reset();
  }
  [[nodiscard]] bool begun() const noexcept { return in_->body || in_->reader.begun(); }

  // ---- a request comes

  /// Also while an answer is awaited, as far as there is room: a client that hangs up then is not answered.
  void read() noexcept {
    for (int rounds = 8; rounds != 0; --rounds) {
      std::span<char> into(on().in.get(), event_loop::room);
      if (state_ != state::lingering) {
        if (!in_) {
          or_end([&] { in_ = on().take_incoming(); });
          if (ended()) return;
        }
        into = {in_->bytes.get() + in_->size, in_->room - in_->size};
        if (into.empty()) return;  // goes on when the request has been answered
      }
      ssize_t const n = receive(into);
      if (n <= 0) {
        unread_ = false;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return release_if_empty();
        return n < 0 ? end() : end_of_input();
      }
      unread_ = static_cast<std::size_t>(n) == into.size() || hangs_up_;
      if (state_ != state::lingering) {
        in_->size += static_cast<std::size_t>(n);
        if (state_ == state::reading) or_end([&] { parse(); });
      }
      if (!unread_ || ended()) return;
    }
    on().resume_soon(*this);
  }
  void release_if_empty() noexcept {
    if (state_ != state::lingering && in_->size == 0 && !in_->body) on().give(std::move(in_));
  }
  void end_of_input() noexcept {
    eof_ = true;
    if (state_ == state::answering && in_ && in_->size != 0) return;  // what came before the end is answered
    if (state_ == state::reading && in_ && in_->size != in_->used) return or_end([&] { parse(); });
    if (state_ != state::answering) end();
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
    first_ = !on().all().opts.trusted_proxies.trusts(peer_.text);
    if (!first_) return true;
    auto const no = on().all().try_acquire(peer_.text, on().now());
    if (!no) return true;
    report_refusal(on().loop(), *no);
    refuse(no->answer);
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
      if (auto const no = on().all().opts.trusted_proxies.rewrite(asked_)) {
        report_refusal(on().loop(), *no);
        return refuse(no->answer.status);
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
    asked_ = {};
    static_cast<phx::request&>(asked_) = in_->reader.request({peer_.text, peer_.port, {}});
    at_ = on().all().find(asked_.path);
    in_->body.emplace(in_->reader, polls() ? at_.first->polls.body : std::size_t{on().all().opts.body_bytes});
    in_->must_continue = in_->reader.expects_continue();
  }
  [[nodiscard]] bool polls() const noexcept { return at_.first != nullptr && at_.second == transport_kind::longpoll; }

  // ---- and is answered

  void serve() {
    state_ = state::answering;
    asked_.body = in_->text;
    stays_ = in_->reader.keep_alive();
    head_only_ = asked_.method == "HEAD";
    if (polls()) return poll(*at_.first);
    if (at_.first != nullptr) return upgrade(*at_.first);
    std::optional<http_answer> answer;
    asked_.from_ = this;
    for (core::route const& r : on().all().routes) {
      // What a route throws is the host's fault, and no reason to end.
      if (!try_invoke([&] { answer = r(asked_); }, [](char const*) noexcept {})) answer = http_answer{500, {}, {}};
      if (answer || later_) break;
    }
    if (!answer && later_) return wait();
    forget_later();
    write(answer ? *answer : http_answer{404, {}, {}});
  }
  /// For a late answer or a poll's, as long as it takes.
  void wait() noexcept {
    state_ = state::waiting;
    let_go();
    on().keep(*this);
    if (on().loop().draining()) on().part(*this);
    if (unread_) on().resume_soon(*this);
  }
  void poll(mounted& at) {
    if (!polling_) polling_.emplace(*this);
    on().polling(at).serve(*polling_, asked_, asked_.body, on().now());
    if (!going_) return wait();
    if (auto const reason = going_->refused()) return hold_back(*reason);
    answer_poll();
  }
  void answer_poll() {
    stays_ = stays_ && !on().loop().draining();
    write(http::to_bytes(*going_, after()));
  }
  void upgrade(mounted& at) {
    std::optional<refused_request> no;
    websocket_connection* made = nullptr;
    if (on().loop().draining()) {
      no = phx::refuse(refusal::draining);
    } else if (!(no = may_open(on().now()))) {
      auto judged = at.upgrade(asked_, socket_, on());
      if (auto* const refused = std::get_if<refused_request>(&judged))
        no = std::move(*refused);
      else
        made = *std::get_if<websocket_connection*>(&judged);
    }
    if (no) {
      report_refusal(on().loop(), *no);
      refused_.emplace(std::move(no->answer));
      return hold_back(no->reason);
    }
    if (made != nullptr) made->begin({in_->bytes.get() + in_->used, in_->size - in_->used});
    end();
  }
  [[nodiscard]] http::persistence after() const noexcept {
    return stays_ ? http::persistence::keep_alive : http::persistence::close;
  }
  /// The refusal goes out; or waits as long as options::throttle has it, and while its client does.
  void hold_back(refusal reason) {
    if (on().loop().draining()) return write_refusal();
    time_point const until = on().all().delay_until(reason, on().now());
    if (until <= on().now()) return write_refusal();
    state_ = state::held_back;
    let_go();
    on().hold_back(*this, until);
    if (unread_) on().resume_soon(*this);
  }
  void tell_refusal() noexcept {
    on().all().release();
    state_ = state::answering;
    on().greet(*this);  // as long as a request may take to come, its answer may take to go
    or_end([&] { write_refusal(); });
  }
  void write_refusal() {
    if (going_) return answer_poll();
    http_answer const answer = std::move(*refused_);
    refused_.reset();
    write(answer);
  }
  /// The answer to what is no request; the connection ends with it.
  void refuse(std::uint16_t status) noexcept {
    or_end([&] {
      // A body too long for a poll is 400, and for any origin to see (protocol 10.2).
      if (in_->body && polls())
        refuse(http_answer{status == 413 ? std::uint16_t{400} : status, {{"access-control-allow-origin", "*"}}, {}});
      else
        refuse(http_answer{status, {}, {}});
    });
  }
  void refuse(http_answer const& answer) {
    stays_ = head_only_ = false;
    write(answer);
  }
  void write(http_answer const& answer) {
    stays_ = stays_ && !on().loop().draining();
    write(http::to_bytes(answer, after(), head_only_));
  }
  void write(std::string bytes) {
    state_ = state::answering;
    let_go();
    out_ = std::move(bytes);
    sent_ = 0;
    write_more();
  }
  /// A client that waits, or is slow to take its answer, keeps no request in memory.
  void let_go() noexcept {
    asked_ = {};
    if (!in_) return;
    in_->body.reset();
    in_->text = std::string();
    in_->reader.reset();
    in_->size -= in_->used;
    std::memmove(in_->bytes.get(), in_->bytes.get() + std::exchange(in_->used, 0), in_->size);
    if (in_->size == 0) on().give(std::move(in_));
  }
  void write_more() noexcept {
    while (sent_ != out_.size()) {
      ssize_t const n = ::send(fd(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
      if (n > 0) {
        sent_ += static_cast<std::size_t>(n);
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (!std::exchange(watches_writing_, true) && !on().watch(EPOLL_CTL_MOD, *this, true)) end();
        return;
      } else if (errno != EINTR) {
        return end();
      }
    }
    out_ = std::string();
    if (going_) going_->written();  // its frames are the kernel's
    going_.reset();
    if (stays_ && (!on().loop().draining() || in_)) {
      on().greet(*this);
      state_ = state::reading;
      // A client that has sent many requests has its turn for the next when the others of its loop had theirs.
      if (in_ || unread_) return on().resume_soon(*this);
      return eof_ ? end() : void();
    }
    // Read what still comes, for a while: with bytes unread the kernel would reset the connection, answer and all.
    state_ = state::lingering;
    (void)::shutdown(fd(), SHUT_WR);
    if (eof_) return end();
    on().part(*this);
    in_.reset();
    if (unread_) on().resume_soon(*this);
  }

  std::unique_ptr<incoming> in_{};
  http_request asked_{};  // views into in_ and peer_
  std::shared_ptr<awaited> later_{};
  std::pair<mounted*, transport_kind> at_{nullptr, transport_kind::websocket};  // for which the request is
  std::optional<longpoll::poll_request> polling_{};
  std::optional<longpoll::response> going_{};                    // until it is written, or cannot be
  std::optional<http_answer> refused_{};                         // of a mount, until it is written
  std::unique_ptr<http::proxy_protocol_reader> proxy_header_{};  // while it is read
  std::string out_{};
  std::size_t sent_ = 0;  // of out_
  peer_address peer_;
  state state_ = state::reading;
  bool stays_ = false;            // after this answer
  bool head_only_ = false;        // the answer to a HEAD
  bool first_;                    // may_open has not been asked; never, of a trusted proxy's connection
  bool unread_ = false;           // the kernel may have more, and no edge will say so
  bool hangs_up_ = false;         // an edge has said that there is an end: to be read up to
  bool eof_ = false;              // and it was
  bool watches_writing_ = false;  // from the first time on
};

inline void event_loop::begin(arrival&& a) noexcept {
  std::optional<refused_request> no;
  std::unique_ptr<http_connection> made;
  bool const done = try_invoke(
      [&] {
        if (all_.counts(a.peer.text)) no = all_.try_acquire(a.peer.text, now_);
        made = std::make_unique<http_connection>(std::move(a.socket), a.peer, *this);
      },
      [](char const*) noexcept {});
  if (!done) return;
  if (no) report_refusal(*loop_, *no);
  made.release()->begin(no);  // it is in one of the lists now
}
inline void event_loop::answer(awaited const& what) noexcept {
  if (what.connection != nullptr) what.connection->answered(what.answer);
}

}  // namespace epoll::detail

namespace epoll {
inline late_answer http_request::later() const { return late_answer(from_->wanted_later()); }
}  // namespace epoll

}  // namespace PHX_BUILD
}  // namespace phx

#endif

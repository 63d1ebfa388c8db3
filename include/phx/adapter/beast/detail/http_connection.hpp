#ifndef PHX_ADAPTER_BEAST_DETAIL_HTTP_CONNECTION_HPP
#define PHX_ADAPTER_BEAST_DETAIL_HTTP_CONNECTION_HPP
// A connection of the Beast host while it speaks HTTP: one request after the other, until one becomes a WebSocket.
//
//   state              | its deadline                     | what ends it
//   reading, no byte   | handshake, from accept or the    | a byte; EOF, a drain or the deadline: closed
//   or a PROXY header  | last answer                      |
//   reading, part of a | the same                         | the rest: served; the deadline: 408, which has goodbye to be
//   request            |                                  | written
//   waiting for a late | none, the route decides; a       | the answer; the client closes
//   answer             | drain: goodbye                   |
//   waiting for a poll | the session's window; a drain:   | the same; a drain, which answers it
//                      | goodbye                          |
//   refusal_delayed    | throttle_options::refuse_after   | the deadline and a drain: the refusal is written; the client closes
//   writing            | handshake; a 408: goodbye        | the last byte: the next request, a WebSocket, lingering;
//                      |                                  | an error and the deadline: closed
//   lingering          | goodbye                          | EOF, an error, the deadline: closed
//   any, in a drain    | limit + goodbye, from its begin  | closed
//
// handshake and goodbye are in options, limit is in drain_options. As a WebSocket: websocket_connection.hpp.

#include <phx/adapter/beast/detail/late_answer_state.hpp>
#include <phx/adapter/beast/detail/received_request.hpp>
#include <phx/adapter/beast/detail/request_parser.hpp>
#include <phx/adapter/beast/detail/strand_context.hpp>
#include <phx/http/proxy_protocol.hpp>
#include <phx/http/response.hpp>
#include <phx/websocket/handshake.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

class http_connection final : public tcp_connection {
 public:
  /// @param refused by the throttle: this address, or all of them, connect too often. @par Errors: std::bad_alloc.
  static void begin(connection_permit&& p, stream&& s, std::optional<refused_request> const& refused) {
    auto* const made = new http_connection(std::move(p), std::move(s));
    keep_alive const while_it_begins(*made);
    made->ctx().start_request_deadline(*made);
    if (refused) {
      made->refuse(refused->answer);
    } else if (made->server().full()) {
      made->refuse(503);
    } else if (made->server().opts.proxy_protocol) {
      made->or_close([&] {
        made->proxy_header_ = std::make_unique<phx::http::proxy_protocol_reader>();
        made->read();
      });
    } else {
      made->next_request();
    }
  }

  // ---- late answers

  /// For http_request::later, while a route runs. Null: it was called before. @par Errors: std::bad_alloc.
  [[nodiscard]] std::shared_ptr<late_answer_state> answer_later() {
    if (late_) return nullptr;
    return late_ = std::make_shared<late_answer_state>(server().weak_from_this(), ctx(), *this);
  }
  void on_late_answer(http_answer const& answer) noexcept {
    keep_alive const meanwhile(*this);
    stop_waiting();
    if (state_ != state::waiting) return;
    ctx().start_request_deadline(*this);  // an answer may take as long to go out as a request to come
    or_close([&] { write(answer); });
  }

  // ---- long-polling: the host of a longpoll::poll_request

  /// Takes from the throttle for each socket and session after the first, which was counted when the connection was
  /// accepted: a connection that stays open may ask for many. Of a trusted proxy's connection, also for the first.
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> may_open(time_point) {
    if (std::exchange(accept_counts_, false)) return std::nullopt;
    return server().try_acquire(request_.peer.address);
  }
  /// The response of a poll or a POST, during serve() or later, in the middle of what the loop does.
  void respond(longpoll::response response) noexcept {
    poll_response_.emplace(std::move(response));
    if (state_ != state::waiting) return;
    or_close([&] {
      using call = completion<http_connection, &http_connection::on_poll_response>;
      net::post(ctx().executor(), call{this, &write_memory_, keep_alive(*this)});
    });
  }

  // ---- a tcp_connection

  void on_deadline() noexcept override {
    if (state_ == state::refusal_delayed) return write_delayed_refusal();
    if (state_ != state::reading || !parser_.begun()) return end();
    keep_alive const meanwhile(*this);
    ctx().start_close_deadline(*this);  // a client that does not read the 408 is not waited for
    refuse(408);
  }
  void on_stop() noexcept override { end(); }
  void on_drain() noexcept override {
    if (state_ == state::reading && !parser_.begun()) close_stream();
    if (state_ == state::waiting) ctx().start_close_deadline(*this);
    if (state_ == state::refusal_delayed) write_delayed_refusal();
  }

 private:
  enum class state : std::uint8_t { reading, waiting, refusal_delayed, writing, lingering, closed };

  http_connection(connection_permit&& p, stream&& s)
      : tcp_connection(std::move(p), std::move(s)), parser_(server().opts.head_bytes) {
    auto const peer = stream_.peer();
    set_peer(peer.address().to_string(), peer.port());
  }
  ~http_connection() override {
    if (late_) late_->connection = nullptr;
  }

  void set_peer(std::string address, std::uint16_t port) {
    request_.peer_address = std::move(address);
    request_.peer_port = port;
    accept_counts_ = !server().opts.trusted_proxies.trusts(request_.peer_address);
  }
  /// Runs `f`; without memory the connection ends.
  template <class F>
  void or_close(F&& f) noexcept {
    if (!attempt(std::forward<F>(f))) end();
  }
  void end() noexcept {
    keep_alive const meanwhile(*this);
    if (std::exchange(state_, state::closed) == state::refusal_delayed) server().release();
    close_stream();
    stop_waiting();
    poll_request_.reset();
    poll_response_.reset();  // was not written
  }
  void start_waiting() {
    while_waiting_.emplace(*this);
    release_request();
  }
  void stop_waiting() noexcept {
    if (late_) late_->connection = nullptr;
    late_.reset();
    while_waiting_.reset();
  }

  // ---- reading a request

  void next_request() noexcept {
    or_close([&] {
      state_ = state::reading;
      parser_.start();
      parse();
    });
  }
  void on_turn_for_next_request() {
    if (state_ == state::writing) next_request();
  }
  /// Also while an answer is waited for, to see when the client closes.
  void read() {
    if (reading_ || parser_.full()) return;
    stream_.when_readable(
        completion<http_connection, &http_connection::on_readable>{this, &read_memory_, keep_alive(*this)});
    reading_ = true;
  }
  void on_readable(error_code ec) noexcept {
    reading_ = false;
    if (state_ == state::closed) return;
    if (!ec) or_close([&] { read_bytes(ec); });
    if (ec == plain_http_error()) {
      stream_.drop_tls();
      refuse(400);
    } else if (ec) {
      end();
    }
  }
  void read_bytes(error_code& ec) {
    if (proxy_header_) return read_proxy_header(ec);
    if (state_ == state::lingering) {
      (void)stream_.read({ctx().read_buffer.get(), strand_context::buffer_size}, ec);
      return ec ? void() : read();
    }
    std::size_t const n = stream_.read(parser_.prepare(), ec);
    if (ec) return;
    parser_.commit(n);
    if (state_ != state::reading) return read();
    parse();
  }
  /// With options::proxy_protocol, before the first request and before TLS: who the client of the balancer is.
  void read_proxy_header(error_code& ec) {
    using phx::http::progress;
    while (proxy_header_->state() == progress::need_more) {
      char bytes[256];
      std::size_t const n = stream_.read_before_tls({bytes, (std::min)(sizeof bytes, proxy_header_->wants())}, ec);
      if (ec) return;
      if (n == 0) return read();
      std::string_view part(bytes, n);
      (void)proxy_header_->read(part);
    }
    if (proxy_header_->state() == progress::refused) return end();  // without an answer: it may not even be HTTP
    bool const names_peer = proxy_header_->names_peer();
    if (names_peer) {
      peer_data const peer = proxy_header_->peer({});
      set_peer(std::string(peer.address), peer.port);
    }
    proxy_header_.reset();
    if (names_peer && accept_counts_)
      if (auto const refused = server().try_acquire(request_.peer_address)) {
        report_refusal(ctx().loop(), *refused);
        return stream_.secure() ? end() : refuse(refused->answer);
      }
    next_request();
  }
  void parse() {
    for (;;) {
      switch (parser_.advance()) {
        case request_parser::step::need_more: return read();
        case request_parser::step::failed: return refuse(parser_.error_status());
        case request_parser::step::complete: return serve();
        case request_parser::step::head:
          if (std::uint16_t const status = on_head(); status != 0) return refuse(status);
          break;
      }
    }
  }
  /// The status to refuse the request with, or 0.
  [[nodiscard]] std::uint16_t on_head() {
    if (std::uint16_t const status = request_.read_head(parser_, stream_, ctx()); status != 0) return status;
    if (parser_.version() < 11 || !parser_.body_missing()) return 0;
    if (!phx::detail::equal_ignoring_case(request_.header("expect").value_or(""), "100-continue")) return 0;
    // No other bytes are being written, so the kernel has room for these.
    constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
    error_code ec;
    return stream_.write(go_on, ec) == go_on.size() ? std::uint16_t{0} : std::uint16_t{417};
  }

  // ---- serving it

  void serve() {
    state_ = state::writing;
    request_.body = parser_.body();
    persistent_ = parser_.persistent();
    without_body_ = parser_.is_head_request();
    if (request_.is_poll()) return serve_poll();
    if (request_.mount != nullptr) return upgrade();
    serve_route();
  }
  void serve_route() {
    std::optional<http_answer> answer;
    request_.connection_ = this;
    for (server_state::route const& route : server().routes) {
      if (!attempt([&] { answer = route(request_); })) answer = http_answer{500, {}, {}};  // the route threw
      if (answer || late_) break;
    }
    if (!answer && late_) return await_answer();
    stop_waiting();
    write(answer ? *answer : http_answer{404, {}, {}});
  }
  void await_answer() {
    state_ = state::waiting;
    start_waiting();
    ctx().clear_deadline(*this);
    if (server().draining.load()) ctx().start_close_deadline(*this);
    read();
  }
  void serve_poll() {
    if (!poll_request_) poll_request_.emplace(*this);
    ctx().service(*request_.mount).serve(*poll_request_, request_, request_.body, clock_now());
    if (state_ == state::closed) return;
    if (!poll_response_) return await_answer();
    if (auto const reason = poll_response_->refused()) return delay_refusal(*reason);
    write_poll_response();
  }
  void on_poll_response() {
    if (state_ != state::waiting || !poll_response_) return;
    stop_waiting();
    ctx().start_request_deadline(*this);
    or_close([this] { write_poll_response(); });
  }
  void upgrade() {
    if (auto refused = connect()) {
      report_refusal(ctx().loop(), *refused);
      without_body_ = false;
      refusal_.emplace(std::move(refused->answer));
      return delay_refusal(refused->reason);
    }
    websocket::accepted_compression agreed;
    if (ctx().compressor) agreed = ctx().compressor->accept(request_.headers, request_.mount->mount.bounds.frame);
    websocket_->codec = std::move(agreed.codec);
    write(websocket::switching_protocols(request_, websocket_->subprotocol, agreed.answer.view()));
  }
  /// Sets websocket_, or gives the refusal. In the order of Phoenix: the WebSocket headers are looked at last (protocol 8.1,
  /// step 6).
  [[nodiscard]] std::optional<refused_request> connect() {
    if (server().draining.load()) return phx::refuse(refusal::draining);
    if (auto refused = may_open(clock_now())) return refused;
    auto result = request_.mount->connect(request_);
    if (auto* const refused = std::get_if<refused_request>(&result)) return std::move(*refused);
    if (auto refused = upgrade_refusal(request_)) return refused;
    if (parser_.version() < 11) return phx::refuse(refusal::upgrade, "HTTP before 1.1");
    if (!request_.body.empty() || parser_.chunked()) return phx::refuse(refusal::upgrade, "a request with a body");
    websocket_ = std::move(*std::get_if<std::unique_ptr<accepted_websocket>>(&result));
    return std::nullopt;
  }

  // ---- refusals

  /// Writes refusal_ or the poll's response after the delay that options::throttle has for this reason, if the client waits
  /// so long.
  void delay_refusal(refusal reason) {
    if (server().draining.load()) return write_refusal();
    time_point const now = clock_now(), until = server().delay_until(reason, now);
    if (until <= now) return write_refusal();
    state_ = state::refusal_delayed;
    start_waiting();
    ctx().start_refusal_delay(*this, until);
    read();
  }
  void write_delayed_refusal() noexcept {
    keep_alive const meanwhile(*this);
    server().release();
    state_ = state::writing;
    while_waiting_.reset();
    ctx().start_request_deadline(*this);
    or_close([&] { write_refusal(); });
  }
  void write_refusal() {
    if (poll_response_) return write_poll_response();
    write(*refusal_);
    refusal_.reset();
  }
  /// Answers something that is no valid request; the connection ends with it.
  void refuse(std::uint16_t status) noexcept {
    // A body too long for a poll is 400, and readable by any origin (protocol 10.2).
    bool const polls = parser_.has_head() && request_.is_poll();
    or_close([&] {
      if (polls)
        refuse(http_answer{status == 413 ? std::uint16_t{400} : status, {{"access-control-allow-origin", "*"}}, {}});
      else
        refuse(http_answer{status, {}, {}});
    });
  }
  void refuse(http_answer const& answer) {
    persistent_ = without_body_ = false;
    write(answer);
  }

  // ---- writing an answer

  [[nodiscard]] phx::http::persistence persistence() noexcept {
    persistent_ = persistent_ && !server().draining.load();
    return persistent_ ? phx::http::persistence::keep_alive : phx::http::persistence::close;
  }
  void write(http_answer const& answer) { write(phx::http::to_bytes(answer, persistence(), without_body_)); }
  void write_poll_response() { write(phx::http::to_bytes(*poll_response_, persistence())); }
  void write(std::string bytes) {
    state_ = state::writing;
    release_request();
    output_ = std::move(bytes);
    written_ = 0;
    write_more();
  }
  /// A connection that waits, or is slow to read its answer, keeps no request in memory.
  void release_request() noexcept { parser_.release(); }
  void write_more() noexcept {
    error_code ec;
    written_ += stream_.write(std::string_view(output_).substr(written_), ec);
    if (ec) return end();
    if (written_ == output_.size()) return on_written();
    or_close([&] {
      stream_.when_writable(
          completion<http_connection, &http_connection::on_writable>{this, &write_memory_, keep_alive(*this)});
    });
  }
  void on_writable(error_code ec) noexcept {
    if (state_ != state::writing) return;
    if (ec) return end();
    write_more();
  }
  void on_written() noexcept {
    output_ = std::string();
    if (poll_response_) poll_response_->written();
    poll_response_.reset();
    if (websocket_) return open_websocket();
    if (persistent_ && (!server().draining.load() || parser_.has_rest())) {
      ctx().start_request_deadline(*this);
      if (!parser_.has_rest()) return next_request();
      // A client that has sent many requests at once gets its next turn after the other connections of its loop.
      return or_close([&] {
        using call = completion<http_connection, &http_connection::on_turn_for_next_request>;
        net::post(ctx().executor(), call{this, &write_memory_, keep_alive(*this)});
      });
    }
    linger();
  }
  void open_websocket() noexcept {
    or_close([&] {
      state_ = state::closed;
      websocket_->open(take_permit(), std::move(stream_), parser_.rest());
    });
  }
  /// Reads for a while what the client still sends: if bytes were left unread, the kernel would reset the connection, and
  /// the client might lose the answer.
  void linger() noexcept {
    state_ = state::lingering;
    stream_.finish();
    ctx().start_close_deadline(*this);
    parser_.discard_rest();
    or_close([&] { read(); });
  }

  request_parser parser_;
  received_request request_;
  std::unique_ptr<accepted_websocket> websocket_;  // set while the 101 answer is being written
  std::shared_ptr<late_answer_state> late_;
  std::optional<longpoll::poll_request> poll_request_;
  std::optional<longpoll::response> poll_response_;                 // until it is written, or cannot be
  std::optional<http_answer> refusal_;                              // of a mount, until it is written
  std::optional<keep_alive> while_waiting_;                         // no operation may be under way then
  std::unique_ptr<phx::http::proxy_protocol_reader> proxy_header_;  // while it is read
  std::string output_;
  std::size_t written_ = 0;  // of output_
  state state_ = state::reading;
  bool persistent_ = false;
  bool without_body_ = false;  // the answer to a HEAD
  bool reading_ = false;
  bool accept_counts_ = true;  // the next socket or session is the one that accepting the connection counted
  operation_memory read_memory_{}, write_memory_{};
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

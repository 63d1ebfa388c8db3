#ifndef PHX_ADAPTER_DETAIL_BEAST_HTTP_CONNECTION_HPP
#define PHX_ADAPTER_DETAIL_BEAST_HTTP_CONNECTION_HPP
// A connection of the Beast host while it speaks HTTP: one request after the other, until one becomes a WebSocket.
//
//   state              | its deadline                     | what ends it
//   reading, no byte   | handshake, from accept or the    | a byte; EOF, a drain or the deadline: hung up
//                      | last answer                      |
//   reading, some of a | the same                         | the rest: asked; the deadline: 408, which has goodbye to go out
//   request            |                                  |
//   waiting for a late | none, it is the route's; a       | the answer; the client hangs up
//   answer             | drain: goodbye                   |
//   waiting for a poll | the session's window; a drain:   | the same; a drain, which answers it
//                      | goodbye                          |
//   held back          | throttle_options::refuse_after   | the deadline and a drain: the refusal; the client hangs up
//   answering          | handshake; a 408: goodbye        | the last byte: the next request, a WebSocket, lingering;
//                      |                                  | an error and the deadline: hung up
//   lingering          | goodbye                          | EOF, an error, the deadline: hung up
//   any, in a drain    | limit + goodbye, from its begin  | hung up
//
// handshake and goodbye are in options, limit is in drain_options. As a WebSocket: beast_connection.hpp.

#include <phx/adapter/detail/beast_connection.hpp>
#include <phx/http/response.hpp>
#include <phx/websocket/handshake.hpp>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>

#include <algorithm>
#include <limits>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

namespace http = boost::beast::http;

/// A body that grows as it comes: http::string_body believes a content-length and takes all of it beforehand.
struct text_body {
  using value_type = std::string;
  class reader {
   public:
    template <bool IsRequest, class Fields>
    reader(http::header<IsRequest, Fields>&, value_type& body) noexcept : body_(body) {}
    template <class Length>
    void init(Length const&, error_code& ec) noexcept {
      ec = {};
    }
    template <class Buffers>
    std::size_t put(Buffers const& buffers, error_code& ec) {
      std::size_t const before = body_.size();
      for (auto it = net::buffer_sequence_begin(buffers); it != net::buffer_sequence_end(buffers); ++it) {
        net::const_buffer const part(*it);
        body_.append(static_cast<char const*>(part.data()), part.size());
      }
      ec = {};
      return body_.size() - before;
    }
    void finish(error_code& ec) noexcept { ec = {}; }

   private:
    value_type& body_;
  };
};

class http_connection;
/// What a late_answer still has of its http_connection. `who` is looked at inside the strand alone, and null once nobody waits. The
/// answer and the memory to bring it there are in here, so that it cannot get lost.
struct awaited {
  awaited(std::weak_ptr<core> server, strand_context& of, http_connection& waiting) noexcept
      : all(std::move(server)), at(&of), connection(&waiting) {}
  std::weak_ptr<core> all;
  strand_context* at;
  http_connection* connection;
  op_room room{};
  http_answer answer{};
};

class http_connection final : public tcp_connection {
 public:
  /// @param no the refusal: this address, or all of them, connect too often.
  static void begin(connection_permit&& t, stream&& s, std::optional<refused_request> const& no) {
    auto* const made = new http_connection(std::move(t), std::move(s));
    hold const while_it_begins(*made);
    made->event_loop().greet(*made);
    if (no) {
      made->refuse(no->answer);
    } else if (made->all().connection_count.load() > made->all().opts.max_connections) {
      made->refuse(503);
    } else {
      made->next_request();
    }
  }

  /// For http_request::later, while a route is asked. Null when it was asked before.
  [[nodiscard]] std::shared_ptr<awaited> wanted_later() {
    if (later_) return nullptr;
    return later_ = std::make_shared<awaited>(all().weak_from_this(), event_loop(), *this);
  }
  /// The late answer.
  void answered(http_answer const& answer) noexcept {
    hold const meanwhile(*this);
    forget_later();
    if (state_ != state::waiting) return;
    event_loop().greet(*this);  // as long as a request may take to come, its answer may take to go
    or_hang_up([&] { write(answer); });
  }

  /// What this connection asks mounts for is to be no more than connections, which are counted: it was counted when it was accepted,
  /// and does so again for each socket or session after the first. @par Errors: std::bad_alloc.
  [[nodiscard]] std::optional<refused_request> may_open(time_point) {
    if (std::exchange(knocked_, false)) return std::nullopt;
    return all().try_acquire(address_);
  }
  /// What a poll or a POST is answered, during serve() or later, in the middle of what the loop does.
  void respond(longpoll::response answer) noexcept {
    going_.emplace(std::move(answer));
    if (state_ != state::waiting) return;
    or_hang_up([&] { net::post(event_loop().executor(), poll_answered{this, &write_room_, hold(*this)}); });
  }

  // ---- a tcp_connection
  void expired() noexcept override {
    if (state_ == state::held_back) return tell_refusal();
    if (state_ != state::reading || !begun_) return end();
    hold const meanwhile(*this);
    event_loop().part(*this);  // who does not read it is not waited for
    refuse(408);
  }
  void dismissed() noexcept override { end(); }
  void asked_to_leave() noexcept override {
    if (state_ == state::reading && !begun_) hang_up();
    if (state_ == state::waiting) event_loop().part(*this);
    if (state_ == state::held_back) tell_refusal();
  }

 private:
  enum class state : std::uint8_t { reading, waiting, held_back, answering, lingering, over };
  using parser = http::request_parser<text_body>;
  static constexpr std::size_t room = 16 * 1024;  // of one read

  http_connection(connection_permit&& t, stream&& s)
      : tcp_connection(std::move(t), std::move(s)), bytes_(std::size_t{all().opts.head_bytes} + 4096) {
    auto const peer = stream_.peer();
    address_ = peer.address().to_string();
    peer_port_ = peer.port();
  }
  ~http_connection() override {
    if (later_) later_->connection = nullptr;
  }

  /// Runs `f`; without memory the connection ends.
  template <class F>
  void or_hang_up(F&& f) noexcept {
    if (!try_invoke(std::forward<F>(f), [](char const*) noexcept {})) end();
  }
  void end() noexcept {
    hold const meanwhile(*this);
    if (std::exchange(state_, state::over) == state::held_back) all().release();
    hang_up();
    forget_later();
    polling_.reset();
    going_.reset();  // was not written
  }
  void forget_later() noexcept {
    if (later_) later_->connection = nullptr;
    later_.reset();
    stays_here_.reset();
  }

  // ---- a request comes

  void next_request() noexcept {
    or_hang_up([&] {
      state_ = state::reading;
      begun_ = headed_ = false;
      parser_.emplace();
      parser_->header_limit(all().opts.head_bytes);
      parser_->body_limit((std::numeric_limits<std::uint64_t>::max)());  // until it is known whose body that is
      parse();
    });
  }
  /// While a late answer is waited for as well: who hangs up then is not answered.
  void read() {
    if (reading_ || bytes_.size() == bytes_.max_size()) return;
    stream_.when_readable(completion<http_connection, &http_connection::on_readable>{this, &read_room_, hold(*this)});
    reading_ = true;
  }
  void on_readable(error_code ec) noexcept {
    reading_ = false;
    if (state_ == state::over) return;
    if (!ec) or_hang_up([&] { take_bytes(ec); });
    if (ec == speaks_http()) {
      stream_.speak_plainly();
      refuse(400);
    } else if (ec) {
      end();
    }
  }
  void take_bytes(error_code& ec) {
    if (state_ == state::lingering) {
      (void)stream_.read({event_loop().in.get(), strand_context::room}, ec);
      return ec ? void() : read();
    }
    auto const to = bytes_.prepare((std::min)(room, bytes_.max_size() - bytes_.size()));
    std::size_t const n = stream_.read({static_cast<char*>(to.data()), to.size()}, ec);
    if (ec) return;
    bytes_.commit(n);
    if (state_ != state::reading) return read();
    parse();
  }
  /// Empty lines before a request are ignored (RFC 9112, 2.2): old clients send one behind a body. False: only those came.
  [[nodiscard]] bool begins() noexcept {
    while (!begun_ && bytes_.size() != 0) {
      auto const* const at = static_cast<char const*>(bytes_.data().data());
      if (at[0] == '\r' && bytes_.size() == 1) break;
      begun_ = at[0] != '\r' || at[1] != '\n';
      if (!begun_) bytes_.consume(2);
    }
    return begun_;
  }
  void parse() {
    if (!begins()) return read();
    while (bytes_.size() != 0 && !parser_->is_done()) {
      error_code ec;
      std::size_t const used = parser_->put(bytes_.data(), ec);
      bytes_.consume(used);
      if (ec == http::error::need_more) ec = {};
      if (ec) return refuse(status_of(ec));
      if (!headed_ && parser_->is_header_done()) {
        headed_ = true;
        if (std::uint16_t const no = head(); no != 0) return refuse(no);
      } else if (used == 0) {
        break;
      }
    }
    if (parser_->is_done()) return serve();
    if (bytes_.size() == bytes_.max_size()) return refuse(headed_ ? 400 : 431);
    read();
  }
  [[nodiscard]] static std::uint16_t status_of(error_code ec) noexcept {
    if (ec == http::error::header_limit || ec == http::error::buffer_overflow) return 431;
    if (ec == http::error::body_limit) return 413;
    if (ec == http::error::bad_version) return 505;
    return 400;
  }
  /// The head is there. What a chunked body has behind it, trailers, is not taken for headers: a proxy has not seen them.
  /// Gives the status it is refused with, or 0.
  [[nodiscard]] std::uint16_t head() {
    auto const view = [](auto text) { return std::string_view(text.data(), text.size()); };
    auto const& value = parser_->get();
    headers_.clear();
    for (auto const& field : value) headers_.push_back({view(field.name_string()), view(field.value())});
    if (stream_.secure()) certificate_ = stream_.certificate();
    asked_ = {};
    static_cast<phx::request&>(asked_) =
        phx::request::of(view(value.method_string()), view(value.target()), headers_,
                         {.address = address_,
                          .port = peer_port_,
                          .ssl_cert = certificate_.empty() ? std::nullopt : std::optional<std::string_view>(certificate_)},
                         stream_.secure() ? "https" : "http");
    at_ = all().find(asked_.path);
    if (!whole()) return 400;
    bool const polls = at_.first != nullptr && at_.second == transport_kind::longpoll;
    std::uint64_t const most = polls ? at_.first->polls.body : all().opts.body_bytes;
    if (auto const length = parser_->content_length(); length && *length > most) return 413;
    parser_->body_limit(most);
    parser_->eager(true);
    bool const waits =
        value.version() >= 11 && phx::detail::same_but_for_case(asked_.header("expect").value_or(""), "100-continue");
    if (waits && !parser_->is_done() && bytes_.size() == 0) {
      // Nothing else is on its way out, so there is room for it.
      constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
      error_code ec;
      if (stream_.write(go_on, ec) != go_on.size()) return 417;
    }
    return 0;
  }

  /// Beast takes a body for none whose coding it does not know, and reads it as the next request; another server may know
  /// it. It takes lengths that agree for one, and a fragment for part of the target.
  [[nodiscard]] bool whole() const noexcept {
    using phx::detail::same_but_for_case;
    std::size_t hosts = 0, lengths = 0;
    if (parser_->get().target().find('#') != boost::beast::string_view::npos) return false;
    for (header const& h : headers_) {
      if (same_but_for_case(h.name, "content-length")) lengths += h.value.find(',') == std::string_view::npos ? 1u : 2u;
      if (same_but_for_case(h.name, "transfer-encoding") &&
          (!same_but_for_case(h.value, "chunked") || parser_->get().version() < 11))
        return false;
      hosts += same_but_for_case(h.name, "host") ? 1u : 0u;
    }
    return hosts < 2 && lengths < 2;
  }

  // ---- and is answered

  void serve() {
    state_ = state::answering;
    auto const& value = parser_->get();
    asked_.body = value.body();
    stays_ = value.keep_alive() && value.version() >= 11;
    head_only_ = value.method() == http::verb::head;

    if (at_.first != nullptr && at_.second == transport_kind::longpoll) return poll(*at_.first);
    if (at_.first != nullptr) return try_acquire(*at_.first, asked_, value.version() >= 11);
    std::optional<http_answer> answer;
    asked_.from_ = this;
    for (core::route const& r : all().routes) {
      // What a route throws is its host's fault, and no reason to fall over.
      if (!try_invoke([&] { answer = r(asked_); }, [](char const*) noexcept {})) answer = http_answer{500, {}, {}};
      if (answer || later_) break;
    }
    if (!answer && later_) return wait();
    forget_later();
    write(answer ? *answer : http_answer{404, {}, {}});
  }
  /// For a late answer; as long as it takes.
  void wait() {
    state_ = state::waiting;
    stays_here_.emplace(*this);
    let_go();
    event_loop().keep(*this);
    if (all().draining.load()) event_loop().part(*this);
    read();
  }
  void poll(mounted& at) {
    if (!polling_) polling_.emplace(*this);
    event_loop().polling(at).serve(*polling_, asked_, asked_.body, clock_now());
    if (state_ == state::over) return;
    if (!going_) return wait();
    if (auto const reason = going_->refused()) return hold_back(*reason);
    write_poll();
  }
  void write_poll() {
    stays_ = stays_ && !all().draining.load();
    write(phx::http::to_bytes(*going_, after()));
  }
  void try_acquire(mounted& at, http_request const& asked, bool new_enough) {
    std::optional<refused_request> no;
    if (all().draining.load()) {
      no = phx::refuse(refusal::draining);
    } else if ((no = may_open(clock_now()))) {
      // not asked
    } else {
      auto judged = at.judge(asked);
      if (auto* const answer = std::get_if<refused_request>(&judged))
        no = std::move(*answer);
      else
        no = upgrade_refusal(asked);  // asked last, as in Phoenix (protocol 8.1, step 6)
      if (!no && !new_enough) no = phx::refuse(refusal::upgrade, "HTTP before 1.1");
      if (!no && (!asked.body.empty() || parser_->chunked())) no = phx::refuse(refusal::upgrade, "a request with a body");
      if (!no) opening_ = std::move(*std::get_if<std::unique_ptr<opening>>(&judged));
    }
    if (no) {
      report_refusal(event_loop().loop(), *no);
      head_only_ = false;
      refused_.emplace(std::move(no->answer));
      return hold_back(no->reason);
    }
    write(websocket::switching_protocols(asked, opening_->subprotocol));
  }
  [[nodiscard]] phx::http::persistence after() const noexcept {
    return stays_ ? phx::http::persistence::keep_alive : phx::http::persistence::close;
  }
  /// `refused_`, or a poll's answer, goes out; or waits as long as options::throttle has it, and while its client does.
  void hold_back(refusal reason) {
    if (all().draining.load()) return write_refusal();
    time_point const now = clock_now(), until = all().delay_until(reason, now);
    if (until <= now) return write_refusal();
    state_ = state::held_back;
    stays_here_.emplace(*this);
    let_go();
    event_loop().hold_back(*this, until);
    read();
  }
  void tell_refusal() noexcept {
    hold const meanwhile(*this);
    all().release();
    state_ = state::answering;
    stays_here_.reset();
    event_loop().greet(*this);  // as long as a request may take to come, its answer may take to go
    or_hang_up([&] { write_refusal(); });
  }
  void write_refusal() {
    if (going_) return write_poll();
    write(*refused_);
    refused_.reset();
  }
  /// An answer to what is no request; the connection ends with it.
  void refuse(std::uint16_t status) noexcept {
    // A body too long for a poll is 400, and for any origin to see (protocol 10.2).
    bool const polls = headed_ && at_.first != nullptr && at_.second == transport_kind::longpoll;
    or_hang_up([&] {
      if (polls)
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
    stays_ = stays_ && !all().draining.load();
    write(phx::http::to_bytes(answer, after(), head_only_));
  }
  void write(std::string bytes) {
    state_ = state::answering;
    let_go();
    out_ = std::move(bytes);
    sent_ = 0;
    write_more();
  }
  /// Who waits, or is slow to take its answer, keeps no request in memory.
  void let_go() noexcept {
    parser_.reset();
    headers_.clear();
    if (bytes_.size() == 0) bytes_ = boost::beast::flat_buffer(bytes_.max_size());
  }
  void write_more() noexcept {
    error_code ec;
    sent_ += stream_.write(std::string_view(out_).substr(sent_), ec);
    if (ec) return end();
    if (sent_ == out_.size()) return on_written();
    or_hang_up([&] {
      stream_.when_writable(completion<http_connection, &http_connection::on_writable>{this, &write_room_, hold(*this)});
    });
  }
  void on_writable(error_code ec) noexcept {
    if (state_ != state::answering) return;
    if (ec) return end();
    write_more();
  }
  void on_written() noexcept {
    out_ = std::string();
    if (going_) going_->written();  // its frames are the kernel's
    going_.reset();
    if (opening_) {
      or_hang_up([&] {
        state_ = state::over;
        auto const early = bytes_.data();
        opening_->open(pass_on(), std::move(stream_), {static_cast<char*>(early.data()), early.size()});
      });
      return;
    }
    if (stays_ && (!all().draining.load() || bytes_.size() != 0)) {
      event_loop().greet(*this);
      if (bytes_.size() == 0) return next_request();
      // Who has sent many requests has its turn for the next when the others of its loop had theirs.
      return or_hang_up([&] { net::post(event_loop().executor(), next{this, &write_room_, hold(*this)}); });
    }
    // Read what still comes, for a while: with bytes unread the kernel would reset the connection, answer and all.
    state_ = state::lingering;
    stream_.finish();
    event_loop().part(*this);
    bytes_.clear();
    or_hang_up([&] { read(); });
  }
  struct poll_answered {
    http_connection* connection;
    op_room* room;
    hold held;
    using allocator_type = op_allocator<char>;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*room); }
    void operator()() {
      if (connection->state_ != state::waiting || !connection->going_) return;
      connection->forget_later();
      connection->event_loop().greet(*connection);
      connection->or_hang_up([this] { connection->write_poll(); });
    }
  };
  struct next {
    http_connection* connection;
    op_room* room;
    hold held;
    using allocator_type = op_allocator<char>;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*room); }
    void operator()() {
      if (connection->state_ == state::answering) connection->next_request();
    }
  };

  boost::beast::flat_buffer bytes_;
  std::optional<parser> parser_;
  std::vector<header> headers_;
  http_request asked_{};  // views into the parser and what is below
  std::unique_ptr<opening> opening_;
  std::shared_ptr<awaited> later_;
  std::pair<mounted*, transport_kind> at_{nullptr, transport_kind::websocket};  // whose request this is
  std::optional<longpoll::poll_request> polling_;
  std::optional<longpoll::response> going_;  // until it is written, or cannot be
  std::optional<http_answer> refused_;       // of a mount, until it is written
  std::optional<hold> stays_here_;           // while waiting: there may be no operation under way
  std::string out_, address_, certificate_;
  std::size_t sent_ = 0;  // of out_
  std::uint16_t peer_port_ = 0;
  state state_ = state::reading;
  bool begun_ = false;   // a request is on its way in
  bool headed_ = false;  // its head is complete
  bool stays_ = false;
  bool head_only_ = false;
  bool reading_ = false;
  bool knocked_ = true;
  op_room read_room_{}, write_room_{};
};

/// Somebody was accepted, and comes to the loop.
struct arrival {
  connection_permit place;
  tcp_socket socket;
  std::shared_ptr<ciphers const> secure;
  std::optional<refused_request> no;

  void operator()() {
    (void)try_invoke(
        [this] {
          core const& all = *place.all();
          if (no) report_refusal(place.on().loop(), *no);
          // Who is not to come in is not worth a handshake, which costs more than all that it is kept from.
          bool const turned_away = no || all.connection_count.load() > all.opts.max_connections;
          if (secure && turned_away) return;
          auto cipher = secure ? secure->make(socket.native_handle()) : nullptr;
          http_connection::begin(std::move(place), stream(std::move(socket), std::move(cipher)), no);
        },
        [](char const*) noexcept {});
  }
};

inline bool core::admit(accepted_socket& client) noexcept {
  strand_context* at = strands.front().get();
  for (auto const& l : strands)
    if (l->connection_count.load(std::memory_order_relaxed) < at->connection_count.load(std::memory_order_relaxed))
      at = l.get();
  error_code ec;
  bool const done = try_invoke(
      [&] {
        tcp_socket s(at->executor());
        s.assign(protocol_, client.get(), ec);
        if (ec) return;
        client.release();
        error_code ignored;
        s.set_option(net::ip::tcp::no_delay(true), ignored);  // phx says when a turn ends; Nagle would wait for more
        if (opts.send_buffer != 0)
          s.set_option(net::socket_base::send_buffer_size(static_cast<int>((std::min)(opts.send_buffer, 1U << 30))),
                       ignored);
        s.non_blocking(true, ignored);
        auto no = try_acquire(s);
        auto with = [&] {
          std::lock_guard const one(mutex_);
          return secure_;
        }();
        net::post(at->executor(),
                  arrival{connection_permit(shared_from_this(), *at), std::move(s), std::move(with), std::move(no)});
      },
      [](char const*) noexcept {});
  return done && !ec;
}

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

/// The answer to one request, for later: a value, from any thread, that may outlive the request and the server, not the
/// io_context. Who hangs up meanwhile is not answered; while the server drains it has options::goodbye.
class late_answer {
 public:
  late_answer(late_answer&&) noexcept = default;
  late_answer& operator=(late_answer&&) = delete;
  /// Nothing was said: 500.
  ~late_answer() { (*this)(http_answer{500, {}, {}}); }
  /// Once; what is said after that is not heard. It needs no memory.
  void operator()(http_answer answer) noexcept {
    auto const to = std::exchange(to_, nullptr);
    if (!to) return;
    to->answer = std::move(answer);
    if (auto all = to->all.lock())
      detail::net::post(to->at->executor(), detail::in_room(to->room, [all = std::move(all), to] {
                          if (to->connection != nullptr) to->connection->answered(to->answer);
                        }));
  }

 private:
  friend struct http_request;
  explicit late_answer(std::shared_ptr<detail::awaited> to) noexcept : to_(std::move(to)) {}
  std::shared_ptr<detail::awaited> to_;
};
inline late_answer http_request::later() const { return late_answer(from_->wanted_later()); }

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

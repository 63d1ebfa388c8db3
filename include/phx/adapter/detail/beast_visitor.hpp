#ifndef PHX_ADAPTER_DETAIL_BEAST_VISITOR_HPP
#define PHX_ADAPTER_DETAIL_BEAST_VISITOR_HPP
// A connection of the Beast host while it speaks HTTP: one request after the other, until one becomes a WebSocket.

#include <phx/adapter/detail/beast_connection.hpp>
#include <phx/adapter/detail/http.hpp>

#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>

#include <algorithm>

namespace phx::inline PHX_BUILD::beast::detail {

namespace http = boost::beast::http;

/// The answer as bytes. A header that would break out of its line, or that speaks of the length or the connection, is left
/// out: those two are said here.
[[nodiscard]] inline std::string to_bytes(http_answer const& answer, bool stays, bool without_body) {
  std::uint16_t const status = answer.status >= 200 && answer.status <= 599 ? answer.status : std::uint16_t{500};
  auto const phrase = http::obsolete_reason(http::int_to_status(status));
  std::string out = "HTTP/1.1 " + std::to_string(status) + ' ';
  out.append(phrase.data(), phrase.size());
  out += stays ? "\r\n" : "\r\nconnection: close\r\n";
  bool const bodiless = status == 204 || status == 304;
  if (!bodiless) out += "content-length: " + std::to_string(answer.body.size()) + "\r\n";
  for (auto const& [name, value] : answer.headers) {
    using phx::detail::same_but_for_case;
    bool const ours = same_but_for_case(name, "connection") || same_but_for_case(name, "content-length") ||
                      same_but_for_case(name, "transfer-encoding");
    bool const breaks = name.empty() || name.find_first_of(std::string_view(": \t\r\n\0", 6)) != std::string::npos ||
                        value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos;
    if (!ours && !breaks) out.append(name).append(": ").append(value).append("\r\n");
  }
  out += "\r\n";
  if (!bodiless && !without_body) out += answer.body;
  return out;
}

class visitor final : public guest {
 public:
  static void begin(ticket&& t, tcp_socket&& s) {
    auto* const made = new visitor(std::move(t), std::move(s));
    hold const while_it_begins(*made);
    made->here().greet(*made);
    if (made->all().guests.load() > made->all().how.max_connections) made->refuse(503);
    else made->next_request();
  }

  // ---- a guest
  void expired() noexcept override {
    if (state_ != state::reading || !begun_) return hang_up();
    refuse(408);
  }
  void dismissed() noexcept override { hang_up(); }
  void asked_to_leave() noexcept override {
    if (state_ == state::reading && !begun_) hang_up();
  }

 private:
  enum class state : std::uint8_t { reading, answering, lingering };
  using parser = http::request_parser<http::string_body>;

  visitor(ticket&& t, tcp_socket&& s)
      : guest(std::move(t), std::move(s)), bytes_(std::size_t{all().how.head_bytes} + 4096) {
    error_code ignored;
    auto const peer = socket_.remote_endpoint(ignored);
    address_ = peer.address().to_string();
    peer_port_ = peer.port();
  }

  /// Runs `f`; without memory the connection ends.
  template <class F>
  void or_hang_up(F&& f) noexcept {
    if (!guarded(std::forward<F>(f), [](char const*) noexcept {})) hang_up();
  }

  // ---- a request comes

  void next_request() noexcept {
    or_hang_up([&] {
      state_ = state::reading;
      begun_ = bytes_.size() != 0;
      parser_.emplace();
      parser_->eager(true);
      parser_->header_limit(all().how.head_bytes);
      parser_->body_limit(all().how.body_bytes);
      parse();
    });
  }
  void read() {
    if (reading_) return;  // since before a deadline was answered
    std::size_t const more = std::min<std::size_t>(2048, bytes_.max_size() - bytes_.size());
    socket_.async_receive(bytes_.prepare(more), received{this, &read_room_, hold(*this)});
    reading_ = true;
  }
  void on_bytes(error_code ec, std::size_t n) noexcept {
    reading_ = false;
    if (ec) return hang_up();
    switch (state_) {
      case state::answering: return;
      case state::lingering: return or_hang_up([&] { read(); });
      case state::reading:
        begun_ = true;
        bytes_.commit(n);
        return or_hang_up([&] { parse(); });
    }
  }
  void parse() {
    while (bytes_.size() != 0 && !parser_->is_done()) {
      error_code ec;
      std::size_t const used = parser_->put(bytes_.data(), ec);
      bytes_.consume(used);
      if (ec == http::error::need_more) ec = {};
      if (ec) return refuse(status_of(ec));
      if (used == 0) break;
    }
    if (parser_->is_done()) return serve();
    if (bytes_.size() == bytes_.max_size()) return refuse(431);
    read();
  }
  [[nodiscard]] static std::uint16_t status_of(error_code ec) noexcept {
    if (ec == http::error::header_limit || ec == http::error::buffer_overflow) return 431;
    if (ec == http::error::body_limit) return 413;
    if (ec == http::error::bad_version) return 505;
    return 400;
  }

  // ---- and is answered

  void serve() {
    state_ = state::answering;
    auto const view = [](auto text) { return std::string_view(text.data(), text.size()); };
    auto const& said = parser_->get();
    std::vector<header> headers;
    for (auto const& field : said) headers.push_back({view(field.name_string()), view(field.value())});
    http_request asked;
    static_cast<phx::request&>(asked) = phx::request::of(view(said.method_string()), view(said.target()), headers,
                                                         {.address = address_, .port = peer_port_, .ssl_cert = {}});
    asked.body = said.body();
    stays_ = said.keep_alive() && said.version() >= 11 && !all().draining.load();
    bool const head_only = said.method() == http::verb::head;

    if (mounted* const at = all().find(asked.path)) return knock(*at, asked, said.version() >= 11);
    std::optional<http_answer> answer;
    for (core::route const& r : all().routes) {
      // What a route throws is its host's fault, and no reason to fall over.
      if (!guarded([&] { answer = r(asked); }, [](char const*) noexcept {})) answer = http_answer{500, {}, {}};
      if (answer) break;
    }
    write(to_bytes(answer ? *answer : http_answer{404, {}, {}}, stays_, head_only));
  }
  void knock(mounted& at, http_request const& asked, bool new_enough) {
    std::optional<refused_request> no;
    if (all().draining.load()) {
      no = phx::refuse(refusal::draining);
    } else {
      auto judged = at.judge(asked);
      if (auto* const said = std::get_if<refused_request>(&judged)) no = std::move(*said);
      else no = upgrade_refusal(asked);  // asked last, as in Phoenix (protocol 8.1, step 6)
      if (!no && !new_enough) no = phx::refuse(refusal::upgrade, "HTTP before 1.1");
      if (!no && (!asked.body.empty() || parser_->chunked())) no = phx::refuse(refusal::upgrade, "a request with a body");
      if (!no) opening_ = std::move(*std::get_if<std::unique_ptr<opening>>(&judged));
    }
    if (no) note(here().loop(), *no);
    write(no ? to_bytes(no->answer, stays_, false)
             : phx::detail::switching_protocols(*asked.header("sec-websocket-key"), opening_->subprotocol));
  }
  /// An answer to what is no request; the connection ends with it.
  void refuse(std::uint16_t status) noexcept {
    or_hang_up([&] {
      state_ = state::answering;
      stays_ = false;
      write(to_bytes({status, {}, {}}, false, false));
    });
  }
  void write(std::string bytes) {
    out_ = std::move(bytes);
    net::async_write(socket_, net::buffer(out_), written{this, &write_room_, hold(*this)});
  }
  void on_written(error_code ec) noexcept {
    if (ec) return hang_up();
    out_.clear();
    if (opening_) {
      or_hang_up([&] {
        auto const early = bytes_.data();
        opening_->open(pass_on(), std::move(socket_), {static_cast<char*>(early.data()), early.size()});
      });
      return;
    }
    if (stays_ && (!all().draining.load() || bytes_.size() != 0)) {
      here().greet(*this);
      return next_request();
    }
    // Read what still comes, for a while: with bytes unread the kernel would reset the connection, answer and all.
    state_ = state::lingering;
    error_code ignored;
    socket_.shutdown(net::socket_base::shutdown_send, ignored);
    here().part(*this);
    bytes_.clear();
    or_hang_up([&] { read(); });
  }

  struct received {
    visitor* who;
    op_room* room;
    hold held;
    using allocator_type = op_allocator<char>;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*room); }
    void operator()(error_code ec, std::size_t n) { who->on_bytes(ec, n); }
  };
  struct written {
    visitor* who;
    op_room* room;
    hold held;
    using allocator_type = op_allocator<char>;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator_type(*room); }
    void operator()(error_code ec, std::size_t) { who->on_written(ec); }
  };

  boost::beast::flat_buffer bytes_;
  std::optional<parser> parser_;
  std::unique_ptr<opening> opening_;
  std::string out_, address_;
  std::uint16_t peer_port_ = 0;
  state state_ = state::reading;
  bool begun_ = false;  // a request is on its way in
  bool stays_ = false;
  bool reading_ = false;
  op_room read_room_{}, write_room_{};
};

inline void core::accepted(error_code ec, lane& at, tcp_socket&& s) noexcept {
  if (!acceptor_.is_open()) return;
  if (ec) {
    if (ec == net::error::no_descriptors || ec == net::error::no_memory || ec == net::error::no_buffer_space ||
        ec == boost::system::errc::too_many_files_open_in_system)
      return rest();
    return accept();  // that one client is gone
  }
  bool const taken = guarded(
      [&] {
        error_code ignored;
        s.set_option(net::ip::tcp::no_delay(true), ignored);  // phx says when a turn ends; Nagle would wait for more
        if (how.send_buffer != 0)
          s.set_option(net::socket_base::send_buffer_size(static_cast<int>(std::min(how.send_buffer, 1U << 30))), ignored);
        s.non_blocking(true, ignored);
        net::post(at.executor(), [t = ticket(shared_from_this(), at), s = std::move(s)]() mutable {
          (void)guarded([&] { visitor::begin(std::move(t), std::move(s)); }, [](char const*) noexcept {});
        });
      },
      [](char const*) noexcept {});
  if (taken) accept();
  else rest();
}

}  // namespace phx::inline PHX_BUILD::beast::detail

#endif

#ifndef PHX_LONGPOLL_LONGPOLL_HPP
#define PHX_LONGPOLL_LONGPOLL_HPP
// Long-polling (protocol 10): a Transport made of HTTP requests, for clients whose way is barred to WebSockets. No I/O in
// here: a request goes in, a response comes out, at once or when there is something to tell or the window ends.
//
// What a host does, in the order in which it is made; it is destroyed the other way round.
//
//     phx::mount const mount{.path = "/socket", .longpoll = true};
//     phx::endpoint everywhere;
//     phx::longpoll::sessions sessions;                                        // of the process
//     phx::loop loop(everywhere, waker);                                       // each loop
//     phx::longpoll::service_for<decltype(app)> polling(sessions, loop, mount, app);   // each loop and mount
//
//     struct connection {                                                      // one HTTP connection
//       phx::longpoll::exchange asked{*this};
//       void respond(phx::longpoll::response r) noexcept { write(std::move(r)); }      // r.failed(), should the write fail
//       std::optional<phx::refused_request> may_open(phx::time_point now);             // if you like: of each new session
//     };
//
//     // a request has come, with its body
//     auto const request = phx::request::of(method, target, headers, {peer_address, peer_port});
//     if (mount.route(request.path) == phx::transport_kind::longpoll)
//       polling.serve(c.asked, request, body, now);                            // c.respond is called, now or later
//
// Timers are the loop's: what loop.run returns covers them. A session belongs to the loop its first request came to;
// requests for it that come to other loops are passed on, and answered where they came (a POST is copied once for that).
//
// Better than Phoenix, and nobody can tell but by the clock or by what is not lost:
// - a session that is gone is known at once, where Phoenix waits 2 s for nobody's answer;
// - what waits for a client is bounded by limits::outbound of its mount, with its pressure_policy; by default such a session
//   ends, the next poll is answered 410, and phoenix.js connects anew;
// - the frames of a response that could not be written come with the next poll (response::failed);
// - a frame that cannot stand in a poll (binary, and not UTF-8 by chance) is answered 500, once; the others stay;
// - polls that wait for a session that drain has ended are answered at once (204), so that a server can go.

#include <phx/longpoll/detail/batch.hpp>
#include <phx/longpoll/detail/outbox.hpp>
#include <phx/longpoll/detail/places.hpp>
#include <phx/longpoll/exchange.hpp>
#include <phx/socket/socket.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

/// What a mount's long-polling keeps to. Phoenix's defaults.
struct options {
  /// How long a poll waits for something to tell (then 204), and a POST to be processed (then 408). A session ends when it
  /// finds itself, at one of the checks it makes every 1.5 windows, not polled for 1.5 windows or more.
  duration window = std::chrono::seconds(10);
  duration token_age = std::chrono::hours(24 * 14);  ///< then a token is nobody's; it is not renewed
  std::size_t body = 8'000'000;                      ///< bytes of a POST; beyond: 400
  std::uint32_t lines = 100;                         ///< of a batch that are read; the rest is dropped, and 200 all the same
  std::size_t base64 = 10'000'000;                   ///< characters of one line of base64; beyond: 400
  bool skip_empty_lines = false;  ///< Phoenix takes one for an empty binary frame: it ends the session, 408
  bool wake_at_end = false;       ///< a waiting poll is answered (204) when its session ends; Phoenix lets it wait
};

namespace detail {

/// One client: what its socket speaks through, and who waits for it.
class session {
 public:
  session(service& s) noexcept : home(&s) {}
  session(session const&) = delete;
  session& operator=(session const&) = delete;

  /// @return false: it has ended, touch nothing.
  [[nodiscard]] virtual bool receive(opcode, std::string_view, time_point) noexcept = 0;
  [[nodiscard]] virtual bool closing() const noexcept = 0;
  [[nodiscard]] virtual bool turned_away() noexcept = 0;  ///< what it received was for no channel, or a refused join
  virtual void begin_close() noexcept = 0;                ///< nobody polls it
  virtual void gone() noexcept = 0;                       ///< its loop goes
  virtual void destroy_slot(memory const&) noexcept = 0;

  service* home;
  entry line{};
  outbox out{};
  exchange* waiter = nullptr;  // of this loop
  mail* from_afar = nullptr;   // or a poll that came from another: its mail
  time_point polled{}, check{};
  session* previous = nullptr;  // by `check`
  session* next = nullptr;

 protected:
  ~session() = default;
};

/// The Transport.
struct feed {
  session* to;
  send_status send(frame const& f) noexcept;
  [[nodiscard]] std::size_t buffered() const noexcept { return to->out.bytes(); }
  void flush() noexcept;
  void close(close_frame frame) noexcept;
};

template <class D>
class session_of final : public session {
 public:
  session_of(service& s, loop& event_loop, D& app, admission<typename D::session_type> admitted, time_point now) noexcept
      : session(s), socket_(event_loop, app, std::move(admitted), feed{this}, now) {}
  [[nodiscard]] bool receive(opcode op, std::string_view whole, time_point now) noexcept override {
    return socket_.receive(op, whole, true, now);
  }
  [[nodiscard]] bool closing() const noexcept override { return socket_.closing; }
  [[nodiscard]] bool turned_away() noexcept override { return socket_.turned_away(); }
  void begin_close() noexcept override { socket_.disconnect({close_code::going_away, "inactive"}); }
  void gone() noexcept override { socket_.gone(lost::normal); }
  void destroy_slot(memory const& from) noexcept override { phx::detail::destroy(from, this); }

 private:
  phx::socket<feed, D> socket_;
};

/// A list through T::previous and T::next, in the order of arrival: what has the same delay is due in the order it came.
template <class T, T* T::*Previous, T* T::*Next>
struct in_line {
  T* first = nullptr;
  T* last = nullptr;
  void push(T& one) noexcept {
    one.*Previous = last;
    one.*Next = nullptr;
    (last == nullptr ? first : last->*Next) = &one;
    last = &one;
  }
  void remove(T& one) noexcept {
    T* const before = one.*Previous;
    T* const behind = one.*Next;
    if (before == nullptr && behind == nullptr && first != &one) return;
    (before == nullptr ? first : before->*Next) = behind;
    (behind == nullptr ? last : behind->*Previous) = before;
    one.*Previous = one.*Next = nullptr;
  }
};

}  // namespace detail

/// The long-polling of one mount on one loop. Everything of it happens inside its loop. Made of a dispatcher: service_for.
class service : private phx::detail::loop_component {
 public:
  service(service const&) = delete;
  service& operator=(service const&) = delete;
  /// Its sessions end ({shutdown, closed}); exchanges that wait for a response of its own loop get none any more, those of
  /// other loops are answered 204 or 408. Before the loop goes.
  virtual ~service() = default;

  /// @param x gets the response, in this call or later; whatever it waited for before is cancelled.
  /// @param from, @param body only read. `body` is the whole of a POST's; of one that is longer than options::body, any that
  ///   is longer. @pre `mount.route(from.path)` is a long-poll's: else 404. @pre no callback of this loop is running.
  /// @par Errors: none leave; without memory: 503.
  ///
  // clang-format off
  /// | request | response, HTTP 200 unless it says HTTP |
  /// | --- | --- |
  /// | GET, no token, one that is nobody's, or whose session has ended | a new session: 410 and its token |
  /// | GET, `connect` or `vsn` or the origin refused | 403; other refusals as on WebSockets (HTTP 400, 414, 429, 500, 503) |
  /// | GET, frames are there | 200, all of them |
  /// | GET, none are there | waits: 200 with the first turn's; 204 when the window ends, also for one that a later GET replaced |
  /// | POST, no token, one that is nobody's, or whose session has ended | 410 |
  /// | POST, its frames processed | 200 |
  /// | POST at a mount of 0.10, for no channel, or a join that is refused | HTTP 401 |
  /// | POST, not processed within the window, or the session died of it | 408 |
  /// | POST, too long | HTTP 400 |
  /// | POST, no base64 | HTTP 500, the session lives |
  /// | OPTIONS | HTTP 200, what CORS asks; another origin: 403 |
  /// | anything else | HTTP 400 |
  /// | loop draining, sessions::most reached, no entropy, no memory | HTTP 503: phoenix.js comes back |
  // clang-format on
  void serve(exchange& x, phx::request const& from, std::string_view body, time_point now) noexcept;

  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }  ///< sessions
  /// How much of a body a host needs to read; one byte more, and it is too long.
  [[nodiscard]] std::size_t most_body() const noexcept { return options_.body; }

 protected:
  service(sessions& all, loop& event_loop, phx::mount const& at, options const& opts)
      : all_(all), loop_(event_loop), mount_(at), options_(opts), bounds_(at.bounds) {
    bounds_.idle = duration::zero();  // polls are its heartbeat
    bounds_.frame = options_.body;    // limits::frame is of WebSockets (protocol 10.3)
    anchor_ = phx::detail::make<detail::anchor>(memory_(), detail::anchor{this, memory_()});
    if (anchor_ == nullptr) phx::detail::no_value("phx::longpoll::service: no memory");
    detail::loop_access::attach_component(loop_, *this);
    service_ = all_.settle(detail::loop_access::box(loop_), this->number);
  }
  /// The derived class calls it while it can still open sessions: the last thing channels see is a whole service.
  void end() noexcept;

  using opened = std::variant<detail::session*, refused_request>;  // null: no memory
  /// @par Errors: std::bad_alloc.
  [[nodiscard]] virtual opened open(phx::request const& from, time_point now) = 0;

  [[nodiscard]] memory const& memory_() const noexcept { return detail::loop_access::from(loop_); }

  sessions& all_;
  loop& loop_;
  phx::mount const& mount_;
  options options_;
  limits bounds_;

 private:
  friend class response;
  friend class exchange;
  friend struct detail::feed;
  using exchanges = detail::in_line<exchange, &exchange::previous_, &exchange::next_>;
  using by_check = detail::in_line<detail::session, &detail::session::previous, &detail::session::next>;

  // What a mail between services says, in mail::number; numbers[0] is the session, [1] the exchange, [2] who asks.
  enum class word : std::uint32_t {
    poll,      // -> the session's
    post,      // -> the session's; text 0 the body, granted: a batch
    cancel,    // -> the session's: nobody waits for that poll any more
    answered,  // -> who asks; generation: the status; a poll's 200 has its body as payload
    written,   // -> the session's; generation: the number of the response
    failed,    // likewise
  };

  // ---- a request
  void refuse(exchange& x, refused_request&& no, bool without_body = false) noexcept;
  [[nodiscard]] bool old_style(std::string_view path) const noexcept;
  void create(exchange& x, phx::request const& from, time_point now) noexcept;
  void poll(exchange& x, detail::address where) noexcept;
  void post(exchange& x, detail::address where, std::string_view body, bool batch) noexcept;
  [[nodiscard]] std::uint16_t process(detail::session& s, std::string_view body, bool batch) noexcept;

  // ---- responses
  [[nodiscard]] static response plain(std::uint16_t status) noexcept;
  [[nodiscard]] static response answered_status(std::uint16_t status, bool real) noexcept;
  [[nodiscard]] static response with_token(std::uint16_t status, exchange const& x) noexcept;
  void finish(exchange& x, response&& r) noexcept;
  void wait(exchange& x, exchange::what for_what) noexcept;
  void detach(exchange& x) noexcept;
  void cancelled(exchange& x) noexcept;
  [[nodiscard]] detail::mail* letter(word kind, detail::address to, std::int64_t about, std::string_view text) noexcept;
  [[nodiscard]] send_status ask(exchange& x, word kind, std::string_view text, bool batch) noexcept;

  // ---- sessions
  [[nodiscard]] detail::session* find(std::uint32_t slot, std::uint32_t generation) const noexcept {
    return live_.find(slot, generation);
  }
  [[nodiscard]] send_status keep(detail::session& s, frame const& f) noexcept;
  void flush(detail::session& s) noexcept;
  void closed(detail::session& s, close_frame frame) noexcept;
  void forget(detail::session& s) noexcept;
  void replace(detail::session& s) noexcept;
  [[nodiscard]] std::uint16_t compose(detail::session& s, std::string_view token, frame& body) noexcept;
  void settled(detail::batch const& b, bool written) noexcept;
  void reply(detail::mail* m, std::uint16_t status) noexcept;
  void send_back(detail::mail* m) noexcept { (void)all_.post(static_cast<std::uint32_t>(m->numbers[2]), m, false); }

  // ---- a component
  void take(detail::mail* m) noexcept override;
  [[nodiscard]] time_point due() const noexcept override;
  void ring(time_point now) noexcept override;

  std::uint32_t service_ = 0;  // its number in the registry
  detail::anchor* anchor_ = nullptr;
  detail::places<detail::session> live_;
  std::uint32_t size_ = 0;
  detail::places<exchange> asking_;  // other loops
  exchanges waiting_{};
  by_check checks_{};
};

/// The long-polling of one mount on one loop, for the sockets of one dispatcher.
template <class D>
class service_for final : public service {
 public:
  /// @param all, @param here, @param at, @param app outlive it. @par Errors: no memory: as result::value(). Inside the loop.
  service_for(sessions& all, loop& event_loop, phx::mount const& at, D& app, options const& opts = {})
      : service(all, event_loop, at, opts), app_(app) {}
  ~service_for() override { this->end(); }

 private:
  [[nodiscard]] opened open(phx::request const& from, time_point now) override {
    auto judged = handshake(this->mount_, app_, from, transport_kind::longpoll);
    if (auto* const no = std::get_if<refused_request>(&judged)) return std::move(*no);
    auto& target = *std::get_if<admission<typename D::session_type>>(&judged);
    target.bounds = &this->bounds_;
    return phx::detail::make<detail::session_of<D>>(this->memory_(), *this, this->loop_, app_, std::move(target), now);
  }

  D& app_;
};

// ---- the seams

inline void response::settle(bool written) noexcept {
  if (detail::mail* const m = std::exchange(carrier_, nullptr)) {
    if (home_ != nullptr && home_->to != nullptr && frames_.number != 0) {
      // the mail that brought them takes the news back: that needs no memory
      m->number = static_cast<std::uint32_t>(written ? service::word::written : service::word::failed);
      m->generation = frames_.number;
      m->payload = {};
      home_->to->send_back(m);
    } else {
      detail::mail::free(m);
    }
  } else if (home_ != nullptr && home_->to != nullptr && frames_.number != 0) {
    home_->to->settled(frames_, written);
  }
  frames_ = {};
  detail::drop(std::exchange(home_, nullptr));
}

inline void exchange::cancel() noexcept {
  if (gone_ != nullptr) *gone_ = true;
  gone_ = nullptr;
  if (at_ != nullptr) at_->cancelled(*this);
}

inline send_status detail::feed::send(frame const& f) noexcept { return to->home->keep(*to, f); }
inline void detail::feed::flush() noexcept { to->home->flush(*to); }
inline void detail::feed::close(close_frame frame) noexcept { to->home->closed(*to, frame); }

// ---- responses

inline response service::plain(std::uint16_t status) noexcept {
  response r;
  r.status_ = status;
  r.json_ = false;
  return r;
}
/// @param real the status is HTTP's as well, as only 0.10 had it. Its clients read HTTP's, all later ones the JSON's. Not
/// 204:
///   that has no body, and theirs take an empty 200 for it.
inline response service::answered_status(std::uint16_t status, bool real) noexcept {
  response r;
  if (real && status != 204) r.status_ = status;
  switch (status) {
    case 200: r.fixed_ = R"({"status":200})"; break;
    case 401: r.fixed_ = R"({"status":401})"; break;
    case 403: r.fixed_ = R"({"status":403})"; break;
    case 408: r.fixed_ = R"({"status":408})"; break;
    case 410: r.fixed_ = R"({"status":410})"; break;
    default: return plain(status);
  }
  return r;
}
inline response service::with_token(std::uint16_t status, exchange const& x) noexcept {
  response r = answered_status(410, x.real_);
  if (status != 410) r.status_ = 200;
  auto const add = [&](std::string_view part) {
    std::memcpy(r.small_ + r.small_size_, part.data(), part.size());
    r.small_size_ = static_cast<std::uint8_t>(r.small_size_ + part.size());
  };
  add(status == 410 ? R"({"messages":[],"status":410,"token":")" : R"({"messages":[],"status":204,"token":")");
  add({x.token_, detail::token::text_size});
  add("\"}");
  return r;
}

/// The exchange waits no longer; after this it may be gone.
inline void service::finish(exchange& x, response&& r) noexcept {
  if (x.at_ != nullptr) detach(x);
  x.gone_ = nullptr;
  x.respond_(x.host_, std::move(r));
}
inline void service::wait(exchange& x, exchange::what for_what) noexcept {
  x.at_ = this;
  x.item_ = for_what;
  x.present_ = false;
  x.place_ = exchange::none;
  x.deadline_ = loop_.now() + options_.window;
  waiting_.push(x);
}
/// Nobody knows it any more.
inline void service::detach(exchange& x) noexcept {
  waiting_.remove(x);
  if (x.place_ != exchange::none) asking_.rise(x.place_);
  x.place_ = exchange::none;
  if (x.present_)
    if (detail::session* const s = find(x.session_.slot, x.session_.generation); s != nullptr && s->waiter == &x)
      s->waiter = nullptr;
  x.present_ = false;
  x.at_ = nullptr;
}
/// A poll that ends without a response, or with 204, must not leave a waiter behind who would swallow frames (1.7.11).
inline void service::cancelled(exchange& x) noexcept {
  bool const afar = x.place_ != exchange::none && x.item_ == exchange::what::poll;
  std::int64_t const name = x.name();
  detail::address const where = x.session_;
  detach(x);
  if (!afar) return;
  // Without memory its frames will come back as not written: `take` below.
  if (detail::mail* const m = letter(word::cancel, where, name, {})) (void)all_.post(where.service, m, false);
}
/// To the loop of a session, about an exchange. Null: no memory.
inline detail::mail* service::letter(word kind, detail::address to, std::int64_t about, std::string_view text) noexcept {
  detail::mail* const m = detail::mail::make(memory_(), detail::mail_kind::component, text);
  if (m == nullptr) return nullptr;
  m->number = static_cast<std::uint32_t>(kind);
  m->numbers[0] = to.packed();
  m->numbers[1] = about;
  m->numbers[2] = service_;
  return m;
}

// ---- requests

inline bool service::old_style(std::string_view path) const noexcept {
  if (mount_.generation == phx::generation::v0_10) return true;
  // 0.10 to 0.14 poll at PATH/poll, all others at PATH/longpoll; 0.11 on reads the JSON, whatever HTTP says
  while (path.ends_with('/')) path.remove_suffix(1);
  return mount_.generation == phx::generation::legacy && path.ends_with("/poll");
}

inline void service::serve(exchange& x, phx::request const& from, std::string_view body, time_point now) noexcept {
  x.cancel();
  detail::loop_access::tick(loop_, now);
  x.real_ = old_style(from.path);
  bool const get = from.method == "GET", posts = from.method == "POST";
  if (mount_.route(from.path) != transport_kind::longpoll) return finish(x, plain(404));

  std::optional<refused_request> no;
  std::optional<response> preflight;
  detail::token key;
  bool has_key = false;
  detail::address where{};
  bool const judged = detail::try_invoke(
      [&] {
        result<params> const query = params::parse(from.query, mount_.query);
        if (!query) {
          no = phx::refuse(refusal::params, std::string(to_string(query.error().code)));
          if (query.error().code == errc::limit_reached) no->answer.status = 414;
          return;
        }
        std::optional<std::string_view> text = from.header("x-phoenix-longpoll-token");  // wins over the query (10.1)
        if (!text) text = query->get("token");
        has_key = text && key.read(*text) && all_.find(key, mount_, loop_.now(), where);
        if (has_key) std::memcpy(x.token_, text->data(), text->size());
        if (has_key && where.service == service_) {
          detail::session const* const s = find(where.slot, where.generation);
          has_key = s != nullptr && !s->closing();
        }
        if (get && !has_key) return;  // the handshake asks for the origin
        if (origin_decision o = mount_.origin(from); !o) {
          no = phx::refuse(o.threw ? refusal::origin_threw : refusal::origin, std::move(o.detail));
        } else if (from.method == "OPTIONS") {
          std::string asked;
          for (phx::header const& h : from.headers)
            if (phx::detail::same_but_for_case(h.name, "access-control-request-headers"))
              asked.append(asked.empty() ? "" : ", ").append(h.value);
          response r = plain(200);
          r.extra_.emplace_back("access-control-allow-headers", std::move(asked));
          r.extra_.emplace_back("access-control-allow-methods", "get, post, options");
          r.extra_.emplace_back("access-control-max-age", "3600");
          preflight.emplace(std::move(r));
        }
      },
      [](char const*) noexcept {});
  if (!judged) return finish(x, plain(503));
  if (no) return refuse(x, std::move(*no), from.method == "HEAD");
  if (preflight) return finish(x, std::move(*preflight));
  if (get && has_key) return poll(x, where);
  if (get) return create(x, from, now);
  if (!posts) return finish(x, plain(400));
  if (!has_key) return finish(x, answered_status(410, x.real_));
  if (body.size() > options_.body) return finish(x, plain(400));
  // exactly so: a parameter behind it makes it one frame (protocol 10.3)
  post(x, where, body, from.header("content-type") == std::optional<std::string_view>("application/x-ndjson"));
}

/// @param without_body bytes behind the head of an answer to HEAD would be taken for the next answer.
inline void service::refuse(exchange& x, refused_request&& no, bool without_body) noexcept {
  report_refusal(loop_, no);
  response r = plain(no.answer.status);
  switch (no.reason) {
    case refusal::origin:
    case refusal::subprotocol:
    case refusal::vsn:
    case refusal::connect: r = answered_status(403, x.real_); break;  // whatever `connect` answered (protocol 8.1)
    default: r.extra_ = std::move(no.answer.headers); r.text_ = std::move(no.answer.body);
  }
  if (without_body) {
    r.fixed_ = {};
    r.text_.clear();
  }
  r.refused_ = no.reason;
  finish(x, std::move(r));
}

inline void service::create(exchange& x, phx::request const& from, time_point now) noexcept {
  if (loop_.draining()) {
    refused_request no;
    if (!detail::try_invoke([&] { no = phx::refuse(refusal::draining); }, [](char const*) noexcept {}))
      return finish(x, plain(503));
    return refuse(x, std::move(no));
  }
  if (!all_.enter()) return finish(x, plain(503));
  opened said_so{static_cast<detail::session*>(nullptr)};
  bool const ran = detail::try_invoke(
      [&] {
        std::optional<refused_request> no;
        if (x.may_open_ != nullptr) no = x.may_open_(x.host_, now);
        if (no)
          said_so = std::move(*no);
        else
          said_so = open(from, now);
      },
      [](char const*) noexcept {});
  if (auto* const no = std::get_if<refused_request>(&said_so)) {
    all_.leave();
    return refuse(x, std::move(*no));
  }
  detail::session* const s = ran ? *std::get_if<detail::session*>(&said_so) : nullptr;
  if (s == nullptr) {
    all_.leave();
    return finish(x, plain(503));
  }
  std::uint32_t const at = all_.fresh(s->line.key) ? live_.sit(memory_(), s) : live_.none;
  if (at != live_.none) {
    s->line.at = &mount_;
    s->line.where = {service_, at, live_.generation(at)};
    s->line.expires = now > (time_point::max)() - options_.token_age ? (time_point::max)() : now + options_.token_age;
  }
  if (at == live_.none || !all_.list(s->line)) {
    if (at != live_.none) live_.rise(at);
    all_.leave();
    s->gone();
    s->destroy_slot(memory_());
    return finish(x, plain(503));
  }
  ++size_;
  s->polled = loop_.now();
  s->check = s->polled + options_.window * 3 / 2;
  checks_.push(*s);
  s->line.key.write(x.token_);
  if (!detail::loop_access::busy(loop_)) detail::loop_access::request_wake(loop_);
  finish(x, with_token(410, x));
}

inline void service::poll(exchange& x, detail::address where) noexcept {
  x.session_ = where;
  if (where.service == service_) {
    detail::session& s = *find(where.slot, where.generation);
    s.polled = loop_.now();
    replace(s);
    wait(x, exchange::what::poll);
    x.present_ = true;
    s.waiter = &x;
    flush(s);
  } else {
    wait(x, exchange::what::poll);
    send_status const sent = ask(x, word::poll, {x.token_, detail::token::text_size}, false);
    // closed: its loop has gone since; the next poll finds no session any more
    if (sent != send_status::ok) return finish(x, sent == send_status::closed ? with_token(204, x) : plain(503));
  }
  if (!detail::loop_access::busy(loop_)) detail::loop_access::request_wake(loop_);
}

inline void service::post(exchange& x, detail::address where, std::string_view body, bool batch) noexcept {
  x.session_ = where;
  wait(x, exchange::what::post);
  if (where.service == service_) {
    bool gone = false;  // a callback may end any connection, this one too
    x.gone_ = &gone;
    std::uint16_t const status = process(*find(where.slot, where.generation), body, batch);
    if (!gone) finish(x, answered_status(status, x.real_));
    return;
  }
  send_status const sent = ask(x, word::post, body, batch);
  if (sent != send_status::ok) return finish(x, sent == send_status::closed ? answered_status(410, x.real_) : plain(503));
  if (!detail::loop_access::busy(loop_)) detail::loop_access::request_wake(loop_);
}

/// The loop that has the session. @return closed: there is no such loop any more; dropped: no memory.
inline send_status service::ask(exchange& x, word kind, std::string_view text, bool batch) noexcept {
  x.place_ = asking_.sit(memory_(), &x);
  if (x.place_ == exchange::none) return send_status::dropped;
  x.generation_ = asking_.generation(x.place_);
  detail::mail* const m = letter(kind, x.session_, x.name(), text);
  if (m == nullptr) return send_status::dropped;
  m->granted = batch;
  return all_.post(x.session_.service, m, true);
}

/// The frames of a POST into the socket, one after the other; the first that the session dies of ends it.
inline std::uint16_t service::process(detail::session& s, std::string_view body, bool batch) noexcept {
  turn_guard const one_flush = loop_.turn();
  std::uint32_t const slot = s.line.where.slot, generation = s.line.where.generation;
  auto const taken = [&](opcode op, std::string_view bytes) {
    return s.receive(op, bytes, loop_.now()) && find(slot, generation) == &s && !s.closing();
  };
  if (!batch) {
    if (!taken(opcode::text, body)) return 408;
    // 0.10 has no replies: this is all that its client hears of it (protocol 4.1).
    return mount_.generation == phx::generation::v0_10 && s.turned_away() ? 401 : 200;
  }

  // All of it is judged before any of it is done, as in Phoenix.
  auto const from_base64 = [](std::string_view line, char* into) noexcept {
    using namespace phx::detail;
    return phx::detail::from_base64(line, base64_alphabet::standard, base64_padding::required, into);
  };
  std::size_t longest = 0;
  std::uint32_t count = 0;
  detail::lines judged(body);
  for (auto line = judged.next(); line && count < options_.lines; line = judged.next(), ++count) {
    if (line->starts_with('[')) continue;
    if (line->size() > options_.base64) return 400;
    std::optional<std::size_t> const size = from_base64(*line, nullptr);
    if (!size) return 500;
    if (*size > longest) longest = *size;
  }
  detail::array<char> bytes;
  if (longest != 0 && !bytes.reserve(memory_(), longest)) return 503;
  std::uint16_t status = 200;
  detail::lines todo(body);
  for (auto line = todo.next(); line && count != 0 && status == 200; line = todo.next(), --count) {
    if (line->starts_with('[')) {
      if (!taken(opcode::text, *line)) status = 408;
    } else if (!line->empty() || !options_.skip_empty_lines) {
      std::size_t const size = *from_base64(*line, bytes.begin());
      if (!taken(opcode::binary, {bytes.begin(), size})) status = 408;
    }
  }
  bytes.free(memory_());
  return status;
}

// ---- sessions

inline send_status service::keep(detail::session& s, frame const& f) noexcept {
  return s.out.add(memory_(), f) ? send_status::ok : send_status::dropped;
}

/// Whoever waits gets what there is.
inline void service::flush(detail::session& s) noexcept {
  if (!s.out.waiting() || (s.waiter == nullptr && s.from_afar == nullptr)) return;
  frame body;
  if (exchange* const x = s.waiter) {
    response r = plain(compose(s, {x->token_, detail::token::text_size}, body));
    r.json_ = r.status_ == 200;
    if (r.status_ == 200) {
      r.body_ = std::move(body);
      r.frames_ = {s.line.where.slot, s.line.where.generation, s.out.responses()};
      r.home_ = anchor_;
      ++anchor_->count;
    }
    return finish(*x, std::move(r));
  }
  detail::mail* const m = std::exchange(s.from_afar, nullptr);
  std::uint16_t status = compose(s, m->text(0), body);
  if (status == 200) {
    m->payload = phx::detail::payload_access::assembled(memory_(), body.data());
    m->numbers[0] = s.line.where.packed();
    m->sizes[1] = 0;
    if (!m->payload.valid()) {
      settled({s.line.where.slot, s.line.where.generation, s.out.responses()}, false);
      m->payload = {};
      status = 503;
    }
  }
  std::uint32_t const response_number = s.out.responses();
  m->number = static_cast<std::uint32_t>(word::answered);
  m->generation = status;
  m->reason = exit_reason::normal;
  std::uint32_t const asker = static_cast<std::uint32_t>(m->numbers[2]);
  m->numbers[2] = static_cast<std::int64_t>(std::uint64_t{response_number} << 32 | service_);
  if (all_.post(asker, m, false) != send_status::ok && status == 200)
    settled({s.line.where.slot, s.line.where.generation, response_number}, false);
}

/// 200 and `body`, or 500: there was something that fits into no poll, it is dropped, the rest stays; or 503.
inline std::uint16_t service::compose(detail::session& s, std::string_view token, frame& body) noexcept {
  if (s.out.unfit()) {
    s.out.drop_unfit(memory_(), [&](std::size_t bytes) {
      detail::loop_access::observer(loop_)({.kind = event_code::frame_dropped, .count = bytes});
    });
    return 500;
  }
  // Clients up to 1.2 stringify each message again: they need objects (protocol 4.3). Version 2 is strings in any case.
  body = s.out.compose(memory_(), detail::loop_access::pool(loop_), token, mount_.generation != phx::generation::today);
  return body.empty() ? 503 : 200;
}

/// What became of a response's frames.
inline void service::settled(detail::batch const& b, bool written) noexcept {
  detail::session* const s = find(b.slot, b.generation);
  if (s == nullptr) return;
  s->out.settled(memory_(), b.number, written);
  if (!written) flush(*s);
}

/// A later GET replaces the earlier, which ends with 204 at its own window's end (protocol 10.4).
inline void service::replace(detail::session& s) noexcept {
  if (s.waiter != nullptr) std::exchange(s.waiter, nullptr)->present_ = false;
  if (s.from_afar != nullptr) detail::mail::free(std::exchange(s.from_afar, nullptr));
}
/// The session is nobody's any more.
inline void service::forget(detail::session& s) noexcept {
  all_.strike(s.line);
  all_.leave();
  checks_.remove(s);
  live_.rise(s.line.where.slot);
  --size_;
  s.out.clear(memory_());
}
inline void service::closed(detail::session& s, close_frame frame) noexcept {
  exchange* const x = std::exchange(s.waiter, nullptr);
  detail::mail* const afar = std::exchange(s.from_afar, nullptr);
  if (x != nullptr) x->present_ = false;
  forget(s);
  s.destroy_slot(memory_());
  bool const wake = options_.wake_at_end || frame.code == close_code::restart;
  if (afar != nullptr && wake)
    reply(afar, 204);
  else if (afar != nullptr)
    detail::mail::free(afar);
  if (x != nullptr && wake) finish(*x, with_token(204, *x));
}

inline void service::end() noexcept {
  live_.each([&](detail::session& s) {
    s.gone();
    if (s.waiter != nullptr) std::exchange(s.waiter, nullptr)->present_ = false;
    if (s.from_afar != nullptr) reply(std::exchange(s.from_afar, nullptr), 204);
    forget(s);
    s.destroy_slot(memory_());
  });
  while (waiting_.first != nullptr) detach(*waiting_.first);
  all_.unsettle(service_);
  detail::loop_access::detach_component(loop_, *this);
  anchor_->to = nullptr;
  detail::drop(std::exchange(anchor_, nullptr));
  live_.free(memory_());
  asking_.free(memory_());
}

// ---- what other loops say

/// `m` goes back to who asked.
inline void service::reply(detail::mail* m, std::uint16_t status) noexcept {
  std::uint32_t const asker = static_cast<std::uint32_t>(m->numbers[2]);
  m->number = static_cast<std::uint32_t>(word::answered);
  m->generation = status;
  m->numbers[2] = service_;
  (void)all_.post(asker, m, false);
}

inline void service::take(detail::mail* m) noexcept {
  std::uint32_t const slot = static_cast<std::uint32_t>(static_cast<std::uint64_t>(m->numbers[0]) >> 32);
  std::uint32_t const generation = static_cast<std::uint32_t>(m->numbers[0]);
  switch (static_cast<word>(m->number)) {
    case word::poll: {
      detail::session* const s = find(slot, generation);
      if (s == nullptr || s->closing()) return reply(m, 204);  // ended while it was on its way; the next finds none
      s->polled = loop_.now();
      replace(*s);
      s->from_afar = m;
      return flush(*s);
    }
    case word::post: {
      detail::session* const s = find(slot, generation);
      return reply(m, s == nullptr || s->closing() ? std::uint16_t{410} : process(*s, m->text(0), m->granted));
    }
    case word::cancel:
      if (detail::session* const s = find(slot, generation); s != nullptr && s->from_afar != nullptr &&
                                                             s->from_afar->numbers[1] == m->numbers[1] &&
                                                             s->from_afar->numbers[2] == m->numbers[2])
        detail::mail::free(std::exchange(s->from_afar, nullptr));
      break;
    case word::answered: {
      auto const at = static_cast<std::uint32_t>(static_cast<std::uint64_t>(m->numbers[1]) >> 32);
      auto const life = static_cast<std::uint32_t>(m->numbers[1]);
      exchange* const x = asking_.find(at, life);
      auto const status = static_cast<std::uint16_t>(m->generation);
      bool const of_a_poll = m->payload.is_binary();
      auto const of_response = static_cast<std::uint32_t>(static_cast<std::uint64_t>(m->numbers[2]) >> 32);
      m->numbers[2] = static_cast<std::uint32_t>(m->numbers[2]);
      if (of_a_poll) {
        response r = plain(200);
        r.json_ = true;
        r.carrier_ = m;
        r.frames_ = {slot, generation, of_response};
        r.home_ = anchor_;
        ++anchor_->count;
        if (x == nullptr) return r.failed();  // nobody waits any more: back to the head
        return finish(*x, std::move(r));
      }
      if (x != nullptr)
        finish(*x,
               x->item_ == exchange::what::poll && status == 204 ? with_token(204, *x) : answered_status(status, x->real_));
      break;
    }
    case word::written:
    case word::failed: settled({slot, generation, m->generation}, static_cast<word>(m->number) == word::written); break;
  }
  detail::mail::free(m);
}

// ---- time

inline time_point service::due() const noexcept {
  time_point soonest = waiting_.first == nullptr ? (time_point::max)() : waiting_.first->deadline_;
  if (checks_.first != nullptr && checks_.first->check < soonest) soonest = checks_.first->check;
  return soonest;
}
inline void service::ring(time_point now) noexcept {
  while (waiting_.first != nullptr && waiting_.first->deadline_ <= now) {
    exchange& x = *waiting_.first;
    if (x.item_ == exchange::what::post) {
      finish(x, answered_status(408, x.real_));
      continue;
    }
    cancelled(x);
    finish(x, with_token(204, x));
  }
  duration const inactive = options_.window * 3 / 2;
  while (checks_.first != nullptr && checks_.first->check <= now) {
    detail::session& s = *checks_.first;
    checks_.remove(s);
    if (now - s.polled >= inactive) {
      s.begin_close();
    } else {
      s.check = now + inactive;
      checks_.push(s);
    }
  }
}

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif

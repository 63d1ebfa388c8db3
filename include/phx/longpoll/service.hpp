#ifndef PHX_LONGPOLL_SERVICE_HPP
#define PHX_LONGPOLL_SERVICE_HPP
// Long-polling of one mount on one loop: requests go in, responses come out.

#include <phx/core/time.hpp>
#include <phx/core/intrusive_list.hpp>
#include <phx/longpoll/detail/session.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

/// The settings of a mount's long-polling. The defaults are Phoenix's.
struct options {
  /// How long a poll waits for a message (then 204), and a POST for being processed (then 408). Every 1.5 windows a session
  /// checks whether it was polled in the last 1.5 windows, and ends if not.
  duration window = std::chrono::seconds(10);
  duration token_age = std::chrono::hours(24 * 14);  ///< after this a token is unknown; it is not renewed
  std::size_t body = 8'000'000;                      ///< bytes of a POST; beyond: 400
  std::uint32_t lines = 100;  ///< lines of a batch that are processed; the rest is dropped, and the status is still 200
  std::size_t base64 = 10'000'000;  ///< characters of one line of base64; beyond: 400
  bool skip_empty_lines = false;    ///< Phoenix reads one as an empty binary frame, which ends the session with 408
  bool wake_at_end = false;         ///< true: a waiting poll is answered (204) when its session ends; Phoenix lets it wait
};

/// Long-polling of one mount on one loop. A host makes it as service_for, with its dispatcher, and calls serve() and
/// max_body(). Used inside its loop only. It is created and destroyed while no callback of its loop runs.
class service : private phx::detail::loop_component {
 public:
  service(service const&) = delete;
  service& operator=(service const&) = delete;
  /// Ends its sessions ({shutdown, closed}). Requests of its own loop that wait for a response get none; those of other
  /// loops are answered 204 or 408. Destroy it before the loop.
  virtual ~service() = default;

  /// Answers one HTTP request. It may end sessions, and it calls user code: the callback of check_origin, may_open, connect,
  /// channels. These may destroy connections, including this one.
  /// @param request gets the response, in this call or later; if it still waits for another response, that one is cancelled.
  /// @param head only read. @param body the whole body of a POST; if it is longer than options::body, any part that is
  ///   longer is enough.
  /// @pre `mount.route(head.path)` is longpoll; otherwise 404. @pre no callback of this loop is running.
  /// @par Errors: never throws; without memory: 503. @par Cost: one table look-up, and the processing of its frames. A
  ///   request for a session of another loop costs one message each way, and a copy of a POST's body.
  ///
  // clang-format off
  /// | request | response; HTTP 200 with this status in the JSON, unless marked HTTP |
  /// | --- | --- |
  /// | GET; no token, an unknown one, or its session has ended | a new session: 410 and its token |
  /// | GET; `connect`, `vsn` or the origin refused | 403; other refusals as for WebSockets (HTTP 400, 414, 429, 500, 503) |
  /// | GET; frames are waiting | 200 with all frames |
  /// | GET; no frames are waiting | waits: 200 with the next frames; 204 when the window ends, also if a later GET replaced it |
  /// | POST; no token, an unknown one, or its session has ended | 410 |
  /// | POST; frames processed | 200 |
  /// | POST at a mount of 0.10; no channel for the message, or a refused join | HTTP 401 |
  /// | POST; not processed within the window, or the session ended during it | 408 |
  /// | POST; too long | HTTP 400 |
  /// | POST; not base64 | HTTP 500, the session continues |
  /// | OPTIONS | HTTP 200 with the CORS headers; another origin: 403 |
  /// | anything else | HTTP 400 |
  /// | loop draining, limit of sessions reached, no entropy, no memory | HTTP 503; phoenix.js tries again |
  // clang-format on
  void serve(poll_request& request, phx::request const& head, std::string_view body, time_point now) noexcept;

  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }  ///< the number of sessions
  /// The longest body that a host needs to read; with one more byte it is too long.
  [[nodiscard]] std::size_t max_body() const noexcept { return options_.body; }

 private:
  friend class response;
  friend class poll_request;
  friend struct detail::session_transport;
  template <class D>
  friend class service_for;

  service(sessions& all, loop& on, phx::mount const& at, options const& opts);
  /// Ends everything. The derived class calls it in its destructor, while open() is still valid: channels that end may call
  /// phx.
  void end() noexcept;

  using opened = std::variant<detail::session*, refused_request>;  // null: no memory
  /// @par Errors: std::bad_alloc, and what `connect` throws.
  [[nodiscard]] virtual opened open(phx::request const& head, time_point now) = 0;

  [[nodiscard]] memory const& from() const noexcept { return detail::loop_access::from(loop_); }

  sessions& sessions_;
  loop& loop_;
  phx::mount const& mount_;
  options options_;
  limits bounds_;

  using waiting_list = phx::detail::intrusive_list<poll_request, &poll_request::previous_, &poll_request::next_>;
  using check_list = phx::detail::intrusive_list<detail::session, &detail::session::previous, &detail::session::next>;

  // ---- requests (detail/service_requests.hpp)
  [[nodiscard]] bool uses_http_status(std::string_view path) const noexcept;
  void refuse(poll_request& x, refused_request&& no, bool without_body = false) noexcept;
  void create(poll_request& x, phx::request const& head, time_point now) noexcept;
  void poll(poll_request& x, detail::session_address where) noexcept;
  void post(poll_request& x, detail::session_address where, std::string_view body, bool batch) noexcept;
  [[nodiscard]] std::uint16_t process(detail::session& s, std::string_view body, bool batch) noexcept;
  [[nodiscard]] std::uint16_t process_batch(detail::session& s, std::string_view body) noexcept;
  [[nodiscard]] bool receive(detail::session& s, opcode op, std::string_view bytes) noexcept;

  // ---- responses
  [[nodiscard]] static response empty_response(std::uint16_t status) noexcept;
  [[nodiscard]] static response status_response(std::uint16_t status, bool real) noexcept;
  [[nodiscard]] static response token_response(std::uint16_t status, poll_request const& x) noexcept;
  void respond(poll_request& x, response&& r) noexcept;
  void wait(poll_request& x, poll_request::kind kind) noexcept;
  void stop_waiting(poll_request& x) noexcept;
  void cancelled(poll_request& x) noexcept;
  void wake() noexcept;

  // ---- sessions (detail/service_sessions.hpp)
  [[nodiscard]] detail::session* find_open(detail::slot_key key) const noexcept;
  [[nodiscard]] send_status keep(detail::session& s, frame const& f) noexcept;
  void note_dropped(detail::session const& s, std::size_t bytes) noexcept;
  void flush(detail::session& s) noexcept;
  [[nodiscard]] std::uint16_t compose(detail::session& s, std::string_view token, frame& body) noexcept;
  void finished(detail::carried_frames const& frames, bool written) noexcept;
  void replace_waiter(detail::session& s) noexcept;
  void remove(detail::session& s) noexcept;
  void closed(detail::session& s, close_frame reason) noexcept;

  // ---- other loops
  [[nodiscard]] detail::request_address address_of(poll_request const& x) const noexcept { return {number_, x.key_}; }
  [[nodiscard]] send_status forward(poll_request& x, detail::relay_message::kind_t kind, std::string_view text,
                                    bool batch) noexcept;
  void answer(detail::relay_message&& m, std::uint16_t status) noexcept;
  void answered(detail::relay_message&& m) noexcept;
  void report(detail::relay_message&& m, bool written) noexcept;

  // ---- phx::detail::loop_component
  void handle(detail::component_mail* m) noexcept override;
  [[nodiscard]] time_point due() const noexcept override;
  void on_timer(time_point now) noexcept override;

  /// How long a session may go without a poll.
  [[nodiscard]] duration inactivity() const noexcept { return saturating_add(options_.window, options_.window / 2); }

  std::uint32_t number_ = 0;  // its number in `sessions`
  detail::service_handle* handle_ = nullptr;
  detail::slot_map<detail::session> live_;
  std::uint32_t size_ = 0;
  detail::slot_map<poll_request> forwarded_;  // requests whose session is on another loop
  waiting_list waiting_{};
  check_list checks_{};
};

/// The long-polling of one mount on one loop, for the sockets of one dispatcher.
template <class D>
class service_for final : public service {
 public:
  /// @pre `all`, `on`, `at` and `app` outlive it. Inside the loop. @par Errors: without memory as result::value().
  service_for(sessions& all, loop& on, phx::mount const& at, D& app, options const& opts = {})
      : service(all, on, at, opts), app_(app) {}
  /// Ends its sessions.
  ~service_for() override { this->end(); }

 private:
  [[nodiscard]] opened open(phx::request const& head, time_point now) override {
    auto decision = handshake(this->mount_, app_, head, transport_kind::longpoll);
    if (auto* const no = std::get_if<refused_request>(&decision)) return std::move(*no);
    auto& admitted = *std::get_if<admission<typename D::session_type>>(&decision);
    admitted.bounds = &this->bounds_;
    return phx::detail::make<detail::session_for<D>>(this->from(), *this, this->loop_, app_, std::move(admitted), now);
  }

  D& app_;
};

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#include <phx/longpoll/detail/service_requests.hpp>
#include <phx/longpoll/detail/service_sessions.hpp>

#endif

#ifndef PHX_LONGPOLL_POLL_REQUEST_HPP
#define PHX_LONGPOLL_POLL_REQUEST_HPP
// One HTTP request of a long-poll client, a GET or a POST, until its response.

#include <phx/longpoll/response.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

/// Optional: the host is asked before a new session is opened, on the loop, before its dispatcher. One connection that stays
/// open can request many sessions, although a limit per connection (throttle) counts it once. It may throw: the response is
/// then 503.
template <class H>
concept guards_sessions = requires(H& h, time_point now) {
  { h.may_open(now) } -> std::same_as<std::optional<refused_request>>;
};

/// A request in progress. An HTTP connection has one as a member and reuses it, for one request at a time: pass it to
/// service::serve; phx then calls the host's `respond`. Neither copied nor moved. Belongs to one loop; destroying it cancels
/// it. Allocates nothing.
class poll_request {
 public:
  /// @param host must outlive it; phx calls `host.respond(response)` with the response to write.
  template <takes_responses H>
  explicit poll_request(H& host) noexcept
      : host_(&host), respond_([](void* to, response&& r) noexcept { static_cast<H*>(to)->respond(std::move(r)); }) {
    if constexpr (guards_sessions<H>)
      may_open_ = [](void* of, time_point now) { return static_cast<H*>(of)->may_open(now); };
  }
  poll_request(poll_request const&) = delete;
  poll_request& operator=(poll_request const&) = delete;
  ~poll_request() { cancel(); }

  /// Call it when the connection was lost or the response is not needed: `respond` will not be called. The frames that a
  /// poll waited for stay for the next one; a POST may still be processed. Inside the loop.
  void cancel() noexcept;
  /// True while `respond` has still to be called.
  [[nodiscard]] bool waiting() const noexcept { return service_ != nullptr; }

 private:
  friend class service;
  enum class kind : std::uint8_t { poll, post };

  void* host_;
  void (*respond_)(void*, response&&) noexcept;
  std::optional<refused_request> (*may_open_)(void*, time_point) = nullptr;
  service* service_ = nullptr;        // the service in which it waits
  poll_request* previous_ = nullptr;  // in the list of waiting requests, by deadline
  poll_request* next_ = nullptr;
  time_point deadline_{};
  detail::session_address session_{};  // the session of the request
  detail::slot_key key_{};             // its key for other loops; without a slot: no other loop knows it
  bool* cancelled_ = nullptr;          // set by cancel(), for a function on the stack that must notice
  kind kind_ = kind::poll;
  bool local_ = false;             // the session is on this loop, and this poll is its waiter
  bool real_http_status_ = false;  // the status in the JSON is also the HTTP status (0.10)
  char token_[detail::token::text_size] = {};
};

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_LONGPOLL_POLL_REQUEST_HPP
#define PHX_LONGPOLL_POLL_REQUEST_HPP
// One HTTP request of a long-poll client, a GET or a POST, until it is answered, which may take a while.

#include <phx/longpoll/response.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

/// Optional: asked before a new session is opened, inside the loop, before its dispatcher is. A connection that stays open
/// can ask for one after the other, and whoever counts connections (throttle) counts those as one. It may throw: 503.
template <class H>
concept guards_sessions = requires(H& h, time_point now) {
  { h.may_open(now) } -> std::same_as<std::optional<refused_request>>;
};

/// A request under way. An HTTP connection has one as a member and uses it again and again, for one request at a time: hand
/// it to service::serve, and its host's `respond` is called. Neither copied nor moved; it belongs to one loop; destroying it
/// cancels. It allocates nothing.
class poll_request {
 public:
  /// @param host is kept: `host.respond(response)` takes what is to be written.
  template <takes_responses H>
  explicit poll_request(H& host) noexcept
      : host_(&host), respond_([](void* to, response&& r) noexcept { static_cast<H*>(to)->respond(std::move(r)); }) {
    if constexpr (guards_sessions<H>)
      may_open_ = [](void* of, time_point now) { return static_cast<H*>(of)->may_open(now); };
  }
  poll_request(poll_request const&) = delete;
  poll_request& operator=(poll_request const&) = delete;
  ~poll_request() { cancel(); }

  /// The connection is gone, or nobody cares any more: there will be no response. What a poll waited for stays for the next;
  /// a POST may be processed all the same. Inside the loop.
  void cancel() noexcept;
  /// Whether a response is due.
  [[nodiscard]] bool waiting() const noexcept { return service_ != nullptr; }

 private:
  friend class service;
  enum class kind : std::uint8_t { poll, post };

  void* host_;
  void (*respond_)(void*, response&&) noexcept;
  std::optional<refused_request> (*may_open_)(void*, time_point) = nullptr;
  service* service_ = nullptr;        // where it waits
  poll_request* previous_ = nullptr;  // among those that wait, by deadline
  poll_request* next_ = nullptr;
  time_point deadline_{};
  detail::session_address session_{};  // what it waits for
  detail::slot_key key_{};             // by which another loop names it; no slot: no other loop has heard of it
  bool* cancelled_ = nullptr;          // set by cancel(): somebody on the stack wants to know
  kind kind_ = kind::poll;
  bool local_ = false;             // the session is of this loop, and waits with this poll
  bool real_http_status_ = false;  // the status in the JSON is HTTP's as well (0.10)
  char token_[detail::token::text_size] = {};
};

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif

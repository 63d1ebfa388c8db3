#ifndef PHX_LONGPOLL_RESPONSE_HPP
#define PHX_LONGPOLL_RESPONSE_HPP
// The response to a long-poll request.

#include <phx/longpoll/sessions.hpp>
#include <phx/connect/handshake.hpp>
#include <phx/loop/report_refusal.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

class service;
class poll_request;

namespace detail {

using phx::detail::loop_access;

/// Shared by a service and its responses, which may outlive it. Used on one loop only.
struct service_handle {
  longpoll::service* service;  // null once it was destroyed
  memory from;
  std::uint32_t owners = 1;
};
inline void release(service_handle* handle) noexcept {
  if (handle == nullptr || --handle->owners != 0) return;
  memory const from = handle->from;
  phx::detail::destroy(from, handle);
}

/// The frames of a session that a response contains.
struct carried_frames {
  std::uint32_t slot = 0, generation = 0;  // the session
  std::uint32_t response = 0;              // its number in that session; 0: no frames
};

}  // namespace detail

/// The response to write: an HTTP status, headers, a body. The host adds `content-length` and the headers of the connection.
/// Write it, then call written().
///
/// The session keeps the frames in a response until the host reports its result. written() releases them; failed(), or
/// destroying the response without a report, returns them to the next poll, in order. So a host that forgets to report sends
/// frames twice, but loses none. (As in Phoenix, a frame is lost if it was written to the kernel but did not reach the
/// client.)
///
/// Moved, not copied; moving it invalidates its views. Belongs to the loop of its request: anything but reading it,
/// including its destruction, happens inside that loop. It may outlive its service. Allocates only the body.
class response {
 public:
  /// Moves the response, with its frames.
  response(response&& other) noexcept
      : status_(other.status_),
        json_(other.json_),
        small_size_(std::exchange(other.small_size_, std::uint8_t{0})),
        refused_(other.refused_),
        fixed_(other.fixed_),
        body_(std::move(other.body_)),
        mail_(std::exchange(other.mail_, nullptr)),
        handle_(std::exchange(other.handle_, nullptr)),
        frames_(std::exchange(other.frames_, {})),
        headers_(std::move(other.headers_)),
        text_(std::move(other.text_)) {
    std::memcpy(small_, other.small_, small_size_);
  }
  /// Moves the response, with its frames; the previous content counts as failed.
  response& operator=(response&& other) noexcept {
    if (this != &other) {
      this->~response();
      new (this) response(std::move(other));
    }
    return *this;
  }
  /// As failed(), unless written() or failed() was called.
  ~response() { finish(false); }

  /// The HTTP status.
  [[nodiscard]] std::uint16_t status() const noexcept { return status_; }
  /// The reason why the client was refused, for throttle::delay_until; nothing if this is not a refusal.
  [[nodiscard]] std::optional<refusal> refused() const noexcept { return refused_; }
  /// Calls `each(std::string_view name, std::string_view value)` for each header, with names in lower case.
  template <class F>
  void each_header(F&& each) const {
    each(std::string_view("access-control-allow-origin"), std::string_view("*"));
    each(std::string_view("cache-control"),
         std::string_view("no-store"));  // the token is in the body, so that caches could store it
    if (json_) each(std::string_view("content-type"), std::string_view("application/json; charset=utf-8"));
    for (auto const& [name, value] : headers_) each(std::string_view(name), std::string_view(value));
  }
  /// The body; empty for most statuses except 200.
  [[nodiscard]] std::string_view body() const noexcept {
    if (small_size_ != 0) return {small_, small_size_};
    if (!body_.empty()) return body_.data();
    if (mail_ != nullptr && mail_->payload.is_binary()) return mail_->payload.raw();
    return text_.empty() ? fixed_ : std::string_view(text_);
  }
  /// The same as a value, for hosts that write those. @par Errors: std::bad_alloc.
  [[nodiscard]] http_answer http() const {
    http_answer a{status_, {}, std::string(body())};
    each_header([&](std::string_view name, std::string_view value) { a.headers.emplace_back(name, value); });
    return a;
  }

  /// Reports that the whole response was written: its frames are released. Do not read the body afterwards. Inside the loop.
  void written() noexcept { finish(true); }
  /// Reports that the client did not get the response: a write failed, or the connection was lost. Its frames return to the
  /// front of the session's queue, in order, for the next poll. A poll that already waits is answered in this call: its
  /// host's `respond` is called. Do not read the body afterwards. Inside the loop.
  void failed() noexcept { finish(false); }

 private:
  friend class service;

  response() = default;
  void finish(bool written) noexcept;

  std::uint16_t status_ = 200;
  bool json_ = true;
  std::uint8_t small_size_ = 0;
  std::optional<refusal> refused_{};
  char small_[110];  // a body with a token and no messages
  std::string_view fixed_{};
  frame body_{};  // of a session on this loop
  detail::component_mail* mail_ =
      nullptr;  // the message with the body of another loop's session; it carries the outcome back
  detail::service_handle* handle_ = nullptr;
  detail::carried_frames frames_{};
  std::vector<std::pair<std::string, std::string>> headers_{};  // of a refusal or a preflight
  std::string text_{};
};

/// The host of a poll_request. `respond` is called once for each serve(), inside that loop: before serve returns, or from a
/// later receive, run or serve. It must not call into phx; it may keep the response and destroy its poll_request.
// clang-format off
template <class H>
concept takes_responses = requires(H& h, response r) {
  { h.respond(std::move(r)) } noexcept;
};
// clang-format on

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif

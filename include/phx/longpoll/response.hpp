#ifndef PHX_LONGPOLL_RESPONSE_HPP
#define PHX_LONGPOLL_RESPONSE_HPP
// What a long-poll client is answered.

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

/// Shared by a service and its responses, which may outlive it. Used inside one loop only.
struct service_handle {
  longpoll::service* service;  // null once it has gone
  memory from;
  std::uint32_t owners = 1;
};
inline void release(service_handle* handle) noexcept {
  if (handle == nullptr || --handle->owners != 0) return;
  memory const from = handle->from;
  phx::detail::destroy(from, handle);
}

/// The frames of a session that one response carries.
struct carried_frames {
  std::uint32_t slot = 0, generation = 0;  // the session's
  std::uint32_t response = 0;              // its number there; 0: no frames
};

}  // namespace detail

/// What to write: an HTTP status, headers, a body. The host adds `content-length` and what concerns the connection. Write
/// it, then call written().
///
/// It carries frames out of the session's buffer, which keeps them until the host has said what became of them. Once
/// written() they are gone; a response that failed(), or is destroyed without a word, leaves them to the next poll, in their
/// order. So a host that forgets to say anything sends frames twice, and none is lost. (What reached the client's kernel and
/// no further is lost, as in Phoenix.)
///
/// Moved, not copied; views of it die when it is moved. It belongs to the loop that its request came to: everything but
/// reading it happens inside that loop, its destruction too. It may outlive its service. It costs no allocation but the
/// body's.
class response {
 public:
  /// Moved, with the frames it carries.
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
  /// Moved, with the frames it carries; what it was before has failed.
  response& operator=(response&& other) noexcept {
    if (this != &other) {
      this->~response();
      new (this) response(std::move(other));
    }
    return *this;
  }
  /// As failed(), unless the host has said what became of it.
  ~response() { finish(false); }

  /// The HTTP status.
  [[nodiscard]] std::uint16_t status() const noexcept { return status_; }
  /// Why its client was not let in, for throttle::hold; nothing if that is not what it says.
  [[nodiscard]] std::optional<refusal> refused() const noexcept { return refused_; }
  /// Calls `each(std::string_view name, std::string_view value)`, names in lower case.
  template <class F>
  void each_header(F&& each) const {
    each(std::string_view("access-control-allow-origin"), std::string_view("*"));
    each(std::string_view("cache-control"), std::string_view("no-store"));  // a token in a header is no part of the URL
    if (json_) each(std::string_view("content-type"), std::string_view("application/json; charset=utf-8"));
    for (auto const& [name, value] : headers_) each(std::string_view(name), std::string_view(value));
  }
  /// The body, empty for most statuses but 200.
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

  /// The kernel, or whoever writes for the host, has all of it: the frames in it are done with. The body is not to be read
  /// any more. Inside the loop.
  void written() noexcept { finish(true); }
  /// The client has not got it: a write failed, or the connection was gone. The frames in it go back to the head of their
  /// session's buffer, in their order, for the next poll; one that waits already is answered in this call: its host's
  /// `respond` is called. The body is not to be read any more. Inside the loop.
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
  frame body_{};                  // of a session on this loop
  detail::mail* mail_ = nullptr;  // brought the body of another loop's session, and takes the outcome back there
  detail::service_handle* handle_ = nullptr;
  detail::carried_frames frames_{};
  std::vector<std::pair<std::string, std::string>> headers_{};  // of a refusal, or of a preflight's answer
  std::string text_{};
};

/// Whoever waits for a response. Called inside the loop that was asked, once for each serve(): before it returns, or from a
/// later receive, run or serve of that loop. It must not call into phx; it may keep the response, and destroy its
/// poll_request.
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

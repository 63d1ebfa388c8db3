#ifndef PHX_ADAPTER_EPOLL_REQUEST_HPP
#define PHX_ADAPTER_EPOLL_REQUEST_HPP
// A request for the host's own routes, and its answer when that comes later.

#include <phx/adapter/epoll/detail/inbox.hpp>
#include <phx/http/request.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll {

class late_answer;

/// A request for the host's own routes. Views: they die when the route returns.
struct http_request : phx::request {
  /// The whole body.
  std::string_view body{};
  /// The right to answer after the route has returned without an answer: from any thread. There is one; a second call returns
  /// an empty one, which does nothing. @par Errors: std::bad_alloc.
  [[nodiscard]] late_answer later() const;

 private:
  friend class detail::http_connection;
  detail::http_connection* from_ = nullptr;
};

/// The answer to one request, for later: a value, from any thread, that may outlive the request and the server. A client that
/// hangs up meanwhile is not answered; while the server drains there is options::goodbye for it.
class late_answer {
 public:
  /// Moved: the new one answers.
  /// Moved; the source is empty.
  late_answer(late_answer&&) noexcept = default;
  late_answer& operator=(late_answer&&) = delete;
  /// Without an answer until now: 500.
  ~late_answer() { (*this)(http_answer{500, {}, {}}); }
  /// Answers. Once: later calls do nothing. It needs no memory.
  void operator()(http_answer answer) noexcept {
    auto const to = std::exchange(to_, nullptr);
    if (!to) return;
    to->answer = std::move(answer);
    auto const inbox = to->loop;
    inbox->post(to);
  }

 private:
  friend struct http_request;
  explicit late_answer(std::shared_ptr<detail::late_answer_state> to) noexcept : to_(std::move(to)) {}
  std::shared_ptr<detail::late_answer_state> to_;
};

}  // namespace epoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif

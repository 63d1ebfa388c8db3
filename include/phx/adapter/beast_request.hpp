#ifndef PHX_ADAPTER_BEAST_REQUEST_HPP
#define PHX_ADAPTER_BEAST_REQUEST_HPP
// What a route of the Beast host gets, and how it answers after it has returned. Included by beast.hpp.

#include <phx/http/request.hpp>
#include <phx/http/response.hpp>

#include <memory>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

class late_answer;
namespace detail {
class http_connection;
struct late_answer_state;
}  // namespace detail

/// A request for the host's own routes. Its members are views that become invalid when the route returns.
struct http_request : phx::request {
  /// The body, whole; empty if there is none.
  std::string_view body{};
  /// Lets the route answer after it has returned, from any thread: it returns std::nullopt and keeps the late_answer. A
  /// second call for the same request gives an empty one. @par Errors: std::bad_alloc.
  [[nodiscard]] late_answer later() const;

 private:
  friend class detail::http_connection;
  detail::http_connection* connection_ = nullptr;
};

/// The answer to one request, given later from any thread. A value: it may outlive the request and the server, but not the
/// io_context. If the client has hung up meanwhile, the answer is dropped. A server that drains waits for it for
/// options::goodbye.
class late_answer {
 public:
  /// Moved; the source is empty.
  late_answer(late_answer&&) noexcept = default;
  late_answer& operator=(late_answer&&) = delete;
  /// Answers 500 if nothing was answered.
  ~late_answer() { (*this)(http_answer{500, {}, {}}); }
  /// Sends the answer. Only the first call counts. It needs no memory.
  void operator()(http_answer answer) noexcept;

 private:
  friend struct http_request;
  explicit late_answer(std::shared_ptr<detail::late_answer_state> state) noexcept : state_(std::move(state)) {}
  std::shared_ptr<detail::late_answer_state> state_;
};

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_BEAST_DETAIL_LATE_ANSWER_STATE_HPP
#define PHX_ADAPTER_BEAST_DETAIL_LATE_ANSWER_STATE_HPP
// The link between a late_answer, which any thread may have, and the connection that waits for it.

#include <phx/adapter/beast/detail/strand_context.hpp>

#include <memory>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

/// What a late_answer and its http_connection share. `connection` is used inside the strand only, and null once the
/// connection does not wait any more. The answer and the memory to post it are in here, so that answering cannot fail.
struct late_answer_state {
  late_answer_state(std::weak_ptr<server_state> s, strand_context& c, http_connection& waiting) noexcept
      : server(std::move(s)), ctx(&c), connection(&waiting) {}
  std::weak_ptr<server_state> server;
  strand_context* ctx;
  http_connection* connection;
  operation_memory memory{};
  http_answer answer{};
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

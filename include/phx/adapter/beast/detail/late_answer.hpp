#ifndef PHX_ADAPTER_BEAST_DETAIL_LATE_ANSWER_HPP
#define PHX_ADAPTER_BEAST_DETAIL_LATE_ANSWER_HPP
// Bodies of beast_request.hpp.

#include <phx/adapter/beast/detail/http_connection.hpp>

#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

inline void late_answer::operator()(http_answer answer) noexcept {
  auto const state = std::exchange(state_, nullptr);
  if (!state) return;
  state->answer = std::move(answer);
  if (auto server = state->server.lock())
    detail::net::post(state->ctx->executor(), detail::with_memory(state->memory, [server = std::move(server), state] {
                        if (state->connection != nullptr) state->connection->on_late_answer(state->answer);
                      }));
}
inline late_answer http_request::later() const { return late_answer(connection_->answer_later()); }

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

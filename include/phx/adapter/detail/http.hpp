#ifndef PHX_ADAPTER_DETAIL_HTTP_HPP
#define PHX_ADAPTER_DETAIL_HTTP_HPP
// The 101 response under its old name, until the Beast host uses websocket/handshake.hpp.

#include <phx/websocket/handshake.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

[[nodiscard]] inline std::string switching_protocols(std::string_view key, std::string_view subprotocol = {}) {
  http::header const line{"sec-websocket-key", key};
  http::request request;
  request.headers = {&line, 1};
  return websocket::switching_protocols(request, subprotocol);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

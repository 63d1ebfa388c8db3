#ifndef PHX_CONNECT_CONNECTED_HPP
#define PHX_CONNECT_CONNECTED_HPP
// What `connect` answers, and the half of the Dispatcher concept that connects: all that phx::handshake asks for.

#include <phx/connect/connect_info.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <variant>

namespace phx {
inline namespace PHX_BUILD {

/// The client may connect.
template <class S>
struct connected {
  /// Yours; it lives as long as the socket, and all its channels share it.
  S session;
  std::optional<std::string> id{};  ///< the topic on which a `disconnect` ends this socket (protocol 8.1)
};
/// Or not: the response to write. http::response{}: 403 with an empty body.
template <class S>
using connect_outcome = std::variant<connected<S>, http::response>;

template <class D>
concept has_session = std::move_constructible<typename D::session_type>;
template <class D>
concept connects = requires(D& d, connect_info const& info) {
  { d.connect(info) } -> std::same_as<connect_outcome<typename D::session_type>>;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

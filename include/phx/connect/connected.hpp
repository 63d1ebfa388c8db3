#ifndef PHX_CONNECT_CONNECTED_HPP
#define PHX_CONNECT_CONNECTED_HPP
// The result of `connect`, and the part of the Dispatcher concept that phx::handshake needs.

#include <phx/connect/connect_info.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <variant>

namespace phx {
inline namespace PHX_BUILD {

/// The result of `connect` for a client that may connect.
template <class S>
struct connected {
  /// Your data about the client. The socket owns it, and all its channels share it.
  S session;
  std::optional<std::string> id{};  ///< the topic on which a `disconnect` ends this socket (protocol 8.1)
};
/// The result of `connect`: connected, or the HTTP response to refuse with. http::response{} is 403 with an empty body.
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

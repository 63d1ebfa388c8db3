#ifndef PHX_ADAPTER_BEAST_DETAIL_MOUNTED_HPP
#define PHX_ADAPTER_BEAST_DETAIL_MOUNTED_HPP
// A mount and its dispatcher behind a virtual interface: all but the sockets themselves is compiled once for every
// dispatcher.

#include <phx/connect/handshake.hpp>
#include <phx/connect/mount.hpp>
#include <phx/longpoll/longpoll.hpp>
#include <phx/websocket/compression.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

class connection_permit;
class stream;

/// A WebSocket that connect has accepted and whose 101 answer is being written.
class accepted_websocket {
 public:
  accepted_websocket() = default;
  accepted_websocket(accepted_websocket const&) = delete;
  accepted_websocket& operator=(accepted_websocket const&) = delete;
  virtual ~accepted_websocket() = default;
  /// Makes the phx::socket; called once, after the 101 answer was written. @param early frames that came with the request.
  /// @par Errors: std::bad_alloc.
  virtual void open(connection_permit&&, stream&&, std::span<char> early) = 0;
  std::string subprotocol{};
  std::unique_ptr<websocket::message_codec> codec{};  // null: uncompressed
};

/// One mount of the server: server::serve makes it.
class mounted {
 public:
  mounted(phx::mount m, longpoll::options const& opts) : mount(std::move(m)), polls(opts) {}
  mounted(mounted const&) = delete;
  mounted& operator=(mounted const&) = delete;
  virtual ~mounted() = default;
  /// phx::handshake with this mount's dispatcher.
  [[nodiscard]] virtual std::variant<std::unique_ptr<accepted_websocket>, refused_request> connect(phx::request const&) = 0;
  /// The long-polling of this mount on one loop.
  [[nodiscard]] virtual std::unique_ptr<longpoll::service> make_service(longpoll::sessions&, phx::loop&) = 0;
  phx::mount const mount;
  longpoll::options const polls;
  std::size_t number = 0;  // its index among the server's mounts
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

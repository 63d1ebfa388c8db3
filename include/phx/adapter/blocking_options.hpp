#ifndef PHX_ADAPTER_BLOCKING_OPTIONS_HPP
#define PHX_ADAPTER_BLOCKING_OPTIONS_HPP
// The settings of the blocking host.

#include <phx/connect/throttle.hpp>
#include <phx/connect/trusted_proxies.hpp>
#include <phx/loop/endpoint.hpp>
#include <phx/websocket/compression.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace blocking {

/// What the blocking host keeps to.
struct options {
  std::string address = "127.0.0.1";  ///< numeric, IPv4 or IPv6
  std::uint16_t port = 4000;          ///< 0: any free one, server::port() tells
  /// Where the socket is, who may connect, and each connection's limits. With `longpoll` the server needs a long_polling.
  phx::mount mount{};
  phx::limits limits{};                ///< the loop's
  std::size_t max_connections = 1000;  ///< beyond: 503. One that long-polls takes three descriptors
  /// Who may connect how often, by the peer's address, or the client's behind the proxies below; beyond: 429, 503, with
  /// Retry-After. A connection counts, and each long-poll session it opens after its first. And how long those wait for
  /// their answer whom the mount refuses. A `seed` of 0 is replaced by chance.
  throttle_options throttle{};
  /// From accept, or from the answer before, to the last byte of a request; beyond: 408. As much for a poll's answer to go.
  duration handshake = std::chrono::seconds(10);
  duration goodbye = std::chrono::seconds(5);  ///< after a close: to write what waits, and again to be answered
  drain_options drain{};                       ///< what stop() does
  /// Reverse proxies whose X-Forwarded-* and Forwarded headers are believed (connect/trusted_proxies.hpp): they decide the
  /// peer, scheme, host and port that the mount sees. Headers that are malformed or contradict each other: 400.
  phx::trusted_proxies trusted_proxies{};
  /// true: each connection begins with a header of the PROXY protocol, version 1 or 2 (http/proxy_protocol.hpp); one that
  /// does not is closed without an answer. The header is believed whoever sends it: listen on an address that only the
  /// balancer can reach. false: it is never believed, and such a header is no HTTP request.
  bool proxy_protocol = false;
  /// permessage-deflate for the WebSockets of clients that offer it: websocket::permessage_deflate() of
  /// websocket/deflate.hpp, which needs zlib. By default nothing is compressed.
  websocket::compression compression{};
};

}  // namespace blocking
}  // namespace PHX_BUILD
}  // namespace phx

#endif

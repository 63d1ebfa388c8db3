#ifndef PHX_ADAPTER_BEAST_OPTIONS_HPP
#define PHX_ADAPTER_BEAST_OPTIONS_HPP
// Options of the Beast host. Without Boost, for programs that read them from a configuration.

#include <phx/connect/throttle.hpp>
#include <phx/connect/trusted_proxies.hpp>
#include <phx/core/limits.hpp>
#include <phx/websocket/compression.hpp>

#include <string>

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

/// Options of a phx::beast::server. Each limit has a default, and a documented answer beyond it.
struct options {
  std::string address = "127.0.0.1";  ///< numeric, IPv4 or IPv6
  std::uint16_t port = 4000;          ///< 0: the kernel chooses, server::port() gives it
  std::uint32_t loops = 1;            ///< strands; 2 to 4 for each thread that runs the io_context, 1 if there is one thread
  phx::limits limits{};               ///< of each loop; a connection has the limits of its mount
  std::uint32_t max_connections = 1'000'000;  ///< of all loops, including those that speak HTTP; beyond: 503
  std::uint32_t head_bytes = 16 * 1024;       ///< of a request's line and headers; beyond: 431
  std::uint32_t body_bytes = 64 * 1024;       ///< of a request's body; beyond: 413
  duration handshake =
      std::chrono::seconds(10);  ///< from accept, or the last answer, until a request is complete; beyond: 408
  duration goodbye =
      std::chrono::seconds(5);           ///< after a close: to write what is queued, and for the client to close its side
  std::uint32_t max_sessions = 100'000;  ///< of long-polling, of all mounts; beyond: 503
  /// Bytes queued for one client. Beyond, `send` returns `congested`, and nothing is read from the client until half of it
  /// is written: a client that does not read cannot cause more frames for itself.
  std::size_t high_water = 256 * 1024;
  /// SO_SNDBUF of each client, of which Linux allocates twice as much; 0: the kernel's choice, up to some megabytes for a
  /// client that stops reading.
  std::uint32_t send_buffer = 0;
  /// How often clients may connect. Checked when a connection is accepted, before it is read from, and for each socket or
  /// long-poll session after its first; beyond: 429 or 503, with Retry-After. Also how long a refused client waits for its
  /// answer. It counts by the address of the TCP peer; with one of the next two options by that of the client, once it is
  /// known. A `seed` of 0 is replaced by a random one.
  throttle_options throttle{};
  /// Reverse proxies whose X-Forwarded-* and Forwarded headers are trusted (connect/trusted_proxies.hpp): they decide the
  /// peer, scheme, host and port that mounts and routes see. Headers that are malformed or contradict each other: 400.
  phx::trusted_proxies trusted_proxies{};
  /// true: each connection begins with a header of the PROXY protocol, version 1 or 2 (http/proxy_protocol.hpp), before TLS;
  /// one that does not is closed without an answer. The header is trusted whoever sends it: listen on an address that only
  /// the balancer can reach. false: it is never trusted; such a header is an invalid HTTP request.
  bool proxy_protocol = false;
  /// permessage-deflate for the WebSockets of clients that offer it: websocket::permessage_deflate() of
  /// websocket/deflate.hpp, which needs zlib. By default nothing is compressed.
  websocket::compression compression{};
};

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

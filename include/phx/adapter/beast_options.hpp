#ifndef PHX_ADAPTER_BEAST_OPTIONS_HPP
#define PHX_ADAPTER_BEAST_OPTIONS_HPP
// What a program may choose of the Beast host: addresses, loops, bounds, deadlines, pace. Free of Boost, for programs that
// read it from a configuration.

#include <phx/connect/throttle.hpp>
#include <phx/connect/trusted_proxies.hpp>
#include <phx/core/limits.hpp>
#include <phx/websocket/compression.hpp>

#include <string>

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

/// Of a phx::beast::server. Every bound has a default and a documented answer.
struct options {
  std::string address = "127.0.0.1";  ///< numeric, IPv4 or IPv6
  std::uint16_t port = 4000;          ///< 0: any free one, server::port() tells
  std::uint32_t loops = 1;  ///< strands; 2 to 4 for each thread that runs the io_context, 1 where that is one thread
  phx::limits limits{};     ///< each loop's; what concerns a connection is its mount's
  std::uint32_t max_connections = 1'000'000;      ///< of all loops, requests under way included; beyond: 503
  std::uint32_t head_bytes = 16 * 1024;           ///< of a request's line and headers; beyond: 431
  std::uint32_t body_bytes = 64 * 1024;           ///< of a request's body; beyond: 413
  duration handshake = std::chrono::seconds(10);  ///< from accept, or the last answer, to the end of a request; beyond: 408
  duration goodbye = std::chrono::seconds(5);     ///< after a close: to write what waits and to hear the client hang up
  std::uint32_t max_sessions = 100'000;           ///< of long-polling, of all mounts; who wants one more is told 503
  /// Bytes waiting for one client beyond which phx is told `congested` and the client is not read from until half is gone:
  /// who does not listen cannot make us speak.
  std::size_t high_water = 256 * 1024;
  /// Bytes the kernel is to hold for one client (it takes twice as many); 0: as it likes, which is some megabytes for one
  /// that stops reading.
  std::uint32_t send_buffer = 0;
  /// How often clients may connect: asked when a connection is accepted, before it is read from, and for each socket or
  /// long-poll session that it asks a mount for after the first; the answer is 429 or 503, with Retry-After. And how long
  /// those wait for their answer whom a mount refuses. What counts is the TCP peer's address; behind the proxies of the next
  /// two options, the client's: then it is asked once the client is known. A `seed` of 0 is replaced by chance.
  throttle_options throttle{};
  /// Reverse proxies whose X-Forwarded-* and Forwarded headers are believed (connect/trusted_proxies.hpp): they decide the
  /// peer, scheme, host and port that mounts and routes see. Headers that are malformed or contradict each other: 400.
  phx::trusted_proxies trusted_proxies{};
  /// true: each connection begins with a header of the PROXY protocol, version 1 or 2 (http/proxy_protocol.hpp), before TLS;
  /// one that does not is closed without an answer. The header is believed whoever sends it: listen on an address that only
  /// the balancer can reach. false: it is never believed, and such a header is no HTTP request.
  bool proxy_protocol = false;
  /// permessage-deflate for the WebSockets of clients that offer it: websocket::permessage_deflate() of
  /// websocket/deflate.hpp, which needs zlib. By default nothing is compressed.
  websocket::compression compression{};
};

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

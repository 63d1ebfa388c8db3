#ifndef PHX_ADAPTER_EPOLL_OPTIONS_HPP
#define PHX_ADAPTER_EPOLL_OPTIONS_HPP
// The settings of the epoll host: addresses, loops, bounds, deadlines, pace. No system header, for programs that read them from
// a configuration.

#include <phx/connect/mount.hpp>
#include <phx/connect/throttle.hpp>
#include <phx/connect/trusted_proxies.hpp>
#include <phx/core/limits.hpp>
#include <phx/longpoll/service.hpp>
#include <phx/loop/endpoint.hpp>
#include <phx/websocket/compression.hpp>

#include <string>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll {

/// Of a phx::epoll::server. Every bound has a default and a documented answer. The names are those of phx::beast::options and
/// phx::blocking::options.
struct options {
  /// Numeric, IPv4 or IPv6; or `unix:PATH`, a Unix socket (`unix:@NAME`: an abstract one). A socket file that nobody listens on
  /// is replaced, and removed at the end; who may connect is decided by the umask. Its clients' address is `unix:`, as nginx
  /// writes it.
  std::string address = "127.0.0.1";
  std::uint16_t port = 4000;  ///< 0: any free one, server::port() returns it
  std::uint32_t loops = 1;    ///< each is a thread with an epoll of its own; the first is the thread that calls run()
  /// false: the first loop accepts, and gives each connection to the loop that has the fewest. true: each loop accepts for
  /// itself (SO_REUSEPORT), and the kernel spreads the connections; another process of the same user may listen as well, so
  /// that a port that is taken is no error. Not for Unix sockets.
  bool reuse_port = false;
  phx::mount mount{};         ///< where the constructor with a dispatcher serves it; server::serve adds others
  longpoll::options polls{};  ///< of that mount, with mount.longpoll
  phx::limits limits{};       ///< each loop's; what concerns a connection is its mount's
  std::uint32_t max_connections = 1'000'000;      ///< of all loops, requests under way included; beyond: 503
  std::uint32_t head_bytes = 16 * 1024;           ///< of a request's line and headers, at most 65,535; beyond: 431
  std::uint32_t body_bytes = 64 * 1024;           ///< of a request's body for a route; beyond: 413
  duration handshake = std::chrono::seconds(10);  ///< from accept, or the last answer, to the end of a request; beyond: 408
  duration goodbye = std::chrono::seconds(5);     ///< after a close: to write what waits and to hear the client hang up
  std::uint32_t max_sessions = 100'000;           ///< of long-polling, of all mounts; beyond: 503
  /// Bytes waiting for one client beyond which phx is told `congested`, and the client is not read from until half of them are
  /// written: a client that does not read cannot make the server write.
  std::size_t high_water = 256 * 1024;
  /// Bytes the kernel is to hold for one client (it takes twice as many); 0: the kernel decides, some megabytes for a client
  /// that stops reading.
  std::uint32_t send_buffer = 0;
  /// How often clients may connect: asked when a connection is accepted, before it is read from, and for each socket or
  /// long-poll session that it asks a mount for after the first; beyond: 429 or 503, with Retry-After. And how long a client
  /// waits for its answer that a mount refuses. The TCP peer's address counts; behind the proxies of the next two options the
  /// client's, which is then asked for once it is known. A `seed` of 0 is replaced by a random number.
  throttle_options throttle{};
  /// Reverse proxies whose X-Forwarded-* and Forwarded headers are believed (connect/trusted_proxies.hpp): they decide the
  /// peer, scheme, host and port that mounts and routes see. Headers that are malformed or contradict each other: 400.
  phx::trusted_proxies trusted_proxies{};
  /// true: each connection begins with a header of the PROXY protocol, version 1 or 2 (http/proxy_protocol.hpp); one that does
  /// not is closed without an answer. The header is believed whoever sends it: listen on an address that only the balancer can
  /// reach. false: it is never believed, and such a header is no HTTP request.
  bool proxy_protocol = false;
  drain_options drain{};  ///< what server::drain does
  /// permessage-deflate for the WebSockets of clients that offer it: websocket::permessage_deflate() of
  /// websocket/deflate.hpp, which needs zlib. By default nothing is compressed.
  websocket::compression compression{};
};

}  // namespace epoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif

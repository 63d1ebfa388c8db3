// phx in a game server that wakes up 60 times a second and serves everybody once per tick: non-blocking sockets, one poll()
// that never waits, no exceptions, no RTTI, no threads. phx::websocket_connection speaks HTTP and WebSocket.

#include "app.hpp"

#include <phx/socket/websocket_connection.hpp>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
constexpr phx::duration tick = 16ms;
constexpr phx::duration patience = 10s;  // with a client that does not finish its request, or does not hang up
volatile std::sig_atomic_t terminated = 0;

struct server {
  application app{};
  phx::loop loop{app.endpoint, *this, app.bounds};
  void wake() noexcept {}  // the next tick runs the loop; who cannot wait for it interrupts the sleep here
};

// phx::ByteStream, and the socket's owner.
struct connection {
  connection(server& host, int socket, std::string_view from) : fd(socket), address(from), of(host) {}
  connection(connection const&) = delete;
  ~connection() { ::close(fd); }

  void append(std::string_view bytes) noexcept { queued.append(bytes); }
  std::size_t unsent() const noexcept { return queued.size() - written; }
  void flush() noexcept {
    while (!broken && written < queued.size()) {
      ssize_t const n = ::send(fd, queued.data() + written, queued.size() - written, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;  // the kernel is full: poll() says when it is not
      n < 0 ? void(broken = true) : void(written += static_cast<std::size_t>(n));
    }
    queued.clear();
    written = 0;
    if (closing) ::shutdown(fd, SHUT_WR);
  }
  void close_after_writing() noexcept {
    closing = true;
    deadline = clock::now() + patience;
    flush();
  }

  /// Outside of phx: what poll() has found.
  void serve(short ready, std::span<char> buffer) {
    phx::time_point const now = clock::now();
    if ((ready & POLLOUT) != 0) {
      flush();
      if (unsent() == 0) client.writable(now);
    }
    // A client that sends more than this in a tick waits for the next one.
    if ((ready & (POLLIN | POLLHUP | POLLERR)) == 0) return;
    ssize_t const n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) broken = true;
    if (n > 0) client.receive(buffer.first(static_cast<std::size_t>(n)), now, {address, 0, {}});
  }
  bool over(phx::time_point now) const {
    return broken || (!client.established() && (now >= deadline || (of.loop.draining() && !closing)));
  }

  int fd;
  std::string address, queued{};
  std::size_t written = 0;  // of `queued`
  bool closing = false, broken = false;
  phx::time_point deadline = clock::now() + patience;
  server& of;
  phx::websocket_connection<connection, phx::router<user>> client{of.loop, of.app.channels, of.app.mount, *this};
};

void accept_all(server& host, int listener, std::vector<std::unique_ptr<connection>>& connections) {
  sockaddr_in from{};
  socklen_t size = sizeof from;
  auto* const address = reinterpret_cast<sockaddr*>(&from);
  for (int fd; (fd = ::accept4(listener, address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0; size = sizeof from) {
    int const yes = 1;
    char text[INET_ADDRSTRLEN] = {};
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    ::inet_ntop(AF_INET, &from.sin_addr, text, sizeof text);
    connections.push_back(std::make_unique<connection>(host, fd, text));
  }
}
int listen_on(std::uint16_t port) {
  int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
  sockaddr_in at{AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
  socklen_t size = sizeof at;
  auto* const address = reinterpret_cast<sockaddr*>(&at);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (::bind(fd, address, size) != 0 || ::listen(fd, 1024) != 0 || ::getsockname(fd, address, &size) != 0) return -1;
  announce(ntohs(at.sin_port));
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { terminated = 1; });
  int listener = listen_on(port_of(argc, argv));
  if (listener < 0) return std::perror("game_tick"), 1;
  server host;
  std::vector<std::unique_ptr<connection>> connections;
  std::vector<pollfd> polled;
  std::vector<char> buffer(64 * 1024);
  for (phx::time_point next = clock::now(); !host.loop.draining() || !connections.empty(); next += tick) {
    std::this_thread::sleep_until(next);
    phx::time_point const now = clock::now();
    auto const turn = host.loop.turn();  // one write for each connection in a tick
    if (listener >= 0) accept_all(host, listener, connections);
    polled.clear();
    for (auto const& c : connections)
      polled.push_back({c->fd, static_cast<short>(c->unsent() != 0 ? POLLIN | POLLOUT : POLLIN), 0});
    ::poll(polled.data(), polled.size(), 0);
    for (std::size_t i = 0; i < polled.size(); ++i)
      if (polled[i].revents != 0) connections[i]->serve(polled[i].revents, buffer);
    // ... the game itself: move, collide, host.loop.publish({.topic = "room:lobby", .event = "tick", .payload = ...}) ...
    if (terminated != 0 && listener >= 0) {
      ::close(std::exchange(listener, -1));
      host.loop.drain(host.app.drain, now);
    }
    (void)host.loop.run(now);  // its timers are due to the next tick
    std::erase_if(connections, [&](auto const& c) { return c->over(now); });
  }
}

// A host that shares nothing with the adapters: one thread, one epoll, its own sockets, and a game that ticks every 20 ms.
// HTTP and RFC 6455 come from phx's rooms http/ and websocket/; this is what a host with its own sockets has to write.
//   third_host --port P        prints `listening on 127.0.0.1:P`; SIGTERM drains and exits 0

#include "room.hpp"

#include <phx/http/request_reader.hpp>
#include <phx/socket/receive_frames.hpp>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using router = phx::router<player>;
constexpr phx::duration patience = 30s;  // for a client that does not complete its request, or does not disconnect
volatile std::sig_atomic_t terminated = 0;

/// The sending half of a connection. It destroys nothing and never calls phx, which may be in the middle of an operation.
struct outbound {
  outbound(int socket, int poller) noexcept : fd(socket), epoll(poller) {}
  outbound(outbound const&) = delete;
  ~outbound() { ::close(fd); }
  void append(std::string_view more) noexcept {
    try {
      bytes.append(more);
    } catch (std::bad_alloc const&) {
      state = dead;
    }
  }
  void flush() noexcept {
    std::size_t written = 0;
    ssize_t n = 0;
    while (state != dead && written < bytes.size() && n >= 0) {
      n = ::send(fd, bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL);
      if (n > 0) written += static_cast<std::size_t>(n);
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) state = dead;
    bytes.erase(0, written);
    if (state == closing && bytes.empty()) ::shutdown(fd, SHUT_WR);
    if (std::exchange(blocked, !bytes.empty()) == blocked) return;
    epoll_event interest{blocked ? std::uint32_t{EPOLLIN | EPOLLOUT} : std::uint32_t{EPOLLIN}, {this}};
    ::epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &interest);
  }
  void close_after(std::string_view last) noexcept {
    append(last);
    if (state == dead) return;
    state = closing;
    deadline = clock::now() + patience;
    flush();
  }

  int fd, epoll;
  std::string bytes{};                              // not written yet
  bool blocked = false;                             // the kernel accepts no more for now
  enum { http, open, closing, dead } state = http;  // closing: until the client disconnects, or `deadline`
  phx::time_point deadline = clock::now() + patience;
};

struct transport {
  outbound* to;
  phx::send_status send(phx::frame const& f) noexcept {
    if (to->state == outbound::dead) return phx::send_status::closed;
    to->append(f.websocket());  // limits::outbound decides when it is congested
    return buffered() > 64 * 1024 ? phx::send_status::congested : phx::send_status::ok;
  }
  void close(phx::close_frame reason) noexcept { to->close_after(phx::websocket::control_frame::close(reason).bytes()); }
  [[nodiscard]] std::size_t buffered() const noexcept { return to->bytes.size(); }
  void flush() noexcept { to->flush(); }
};
static_assert(phx::Transport<transport>);

struct connection : outbound {
  connection(int socket, int poller, std::size_t max_message) noexcept : outbound(socket, poller), frames(max_message) {}
  std::string in{};  // the request, until it is complete
  phx::http::request_reader request{8 * 1024};
  phx::websocket::frame_reader frames;
  std::optional<phx::socket<transport, router>> phoenix{};  // destroyed first: its transport refers to this object
};

class server {
 public:
  [[nodiscard]] bool listen_on(std::uint16_t port) {
    app_.channel<room>("room:*");
    sockaddr_in at{AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {}};
    socklen_t size = sizeof at;
    auto* const address = reinterpret_cast<sockaddr*>(&at);
    epoll_event interest{EPOLLIN, {nullptr}};
    if (::bind(listener_, address, size) != 0 || ::listen(listener_, 1024) != 0 ||
        ::getsockname(listener_, address, &size) != 0 || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &interest) != 0)
      return false;
    std::printf("listening on 127.0.0.1:%u\n", unsigned{ntohs(at.sin_port)});
    std::fflush(stdout);
    return true;
  }
  void wake() noexcept {}  // the loop runs every tick, and there is no other thread
  void run() {
    for (phx::time_point next_tick = clock::now(); !loop_.draining() || !connections_.empty();) {
      epoll_event events[64];
      int const count = ::epoll_wait(epoll_, events, 64, 20);
      phx::time_point const now = clock::now();
      auto const turn = loop_.turn();  // one write per connection, whatever happens in this block
      for (int i = 0; i < count; ++i) {
        auto* const ready = static_cast<outbound*>(events[i].data.ptr);
        ready == nullptr ? accept_all() : serve(*static_cast<connection*>(ready), now);
      }
      if (now >= next_tick) game_.tick(loop_), next_tick = now + 20ms;
      if (terminated != 0 && !loop_.draining()) {
        ::close(listener_);
        loop_.drain({.batch = 1000, .interval = 100ms, .limit = 5s}, now);
      }
      (void)loop_.run(now);
      // phx learns of each end, and may find others dead when it writes to them: those are erased at the next tick.
      std::erase_if(connections_, [&](auto const& c) {
        bool const late = c->state != c->open && now >= c->deadline;
        return c->state == c->dead || late || (c->state == c->http && loop_.draining());
      });
    }
  }

 private:
  void accept_all() {
    for (int fd; (fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      int const yes = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      connections_.push_back(std::make_unique<connection>(fd, epoll_, mount_.bounds.frame));
      epoll_event interest{EPOLLIN, {static_cast<outbound*>(connections_.back().get())}};
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &interest);
    }
  }
  void serve(connection& c, phx::time_point now) {
    ssize_t const n = ::recv(c.fd, buffer_, sizeof buffer_, 0);
    std::span<char> const bytes(buffer_, n > 0 ? static_cast<std::size_t>(n) : 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) c.state = c.dead;
    if (!bytes.empty() && c.state == c.open) read_frames(c, bytes, now);
    if (!bytes.empty() && c.state == c.http) read_request(c, bytes, now);
    c.flush();
  }
  void read_request(connection& c, std::span<char> bytes, phx::time_point now) {
    c.in.append(bytes.data(), bytes.size());
    phx::http::progress const progress = c.request.read(c.in);
    if (progress == phx::http::progress::need_more) return;
    if (progress == phx::http::progress::refused) return refuse(c, {.status = c.request.status()});
    phx::http::request const request = c.request.request({"127.0.0.1", 0, {}});
    auto judged = phx::handshake(mount_, app_, request);
    if (auto const* no = std::get_if<phx::refused_request>(&judged)) return refuse(c, no->answer);
    if (auto const no = phx::upgrade_refusal(request)) return refuse(c, no->answer);
    auto& admitted = std::get<phx::admission<player>>(judged);
    phx::websocket::write_switching_protocols(c, request, admitted.subprotocol);
    c.state = c.open;
    c.phoenix.emplace(loop_, app_, std::move(admitted), transport{&c}, now);
    std::string rest = std::exchange(c.in, {}).substr(c.request.size());
    if (!rest.empty()) read_frames(c, rest, now);
  }
  void refuse(connection& c, phx::http::response const& answer) {
    phx::http::write_response(c, answer, phx::http::persistence::close);
    c.close_after({});
  }
  void read_frames(connection& c, std::span<char> bytes, phx::time_point now) {
    auto const write = [&](phx::websocket::control_frame const& f) {
      c.append(f.bytes());
      if (c.bytes.size() > mount_.bounds.outbound) c.state = c.dead;  // it sends pings and reads nothing
    };
    auto const result = phx::receive_frames(*c.phoenix, c.frames, bytes, now, write);
    if (result == phx::frames_result::closed_by_client) c.close_after({});
  }

  // phx requires this order: the waker, the endpoint and the dispatcher outlive the loop; the loop and the mount the
  // sockets.
  int const epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  int const listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  router app_{&authenticate};
  phx::mount const mount_{.path = "/socket", .origins = {"//127.0.0.1", "//localhost"}, .bounds = {.frame = 1'000'000}};
  phx::endpoint everywhere_{};
  phx::loop loop_{everywhere_, *this};
  game game_{};
  char buffer_[64 * 1024];
  std::vector<std::unique_ptr<connection>> connections_{};
};

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGTERM, [](int) { terminated = 1; });
  std::uint16_t const port = argc == 3 ? static_cast<std::uint16_t>(std::atoi(argv[2])) : 0;
  auto const host = std::make_unique<server>();
  if (!host->listen_on(port)) return std::perror("third_host"), 1;
  host->run();
}

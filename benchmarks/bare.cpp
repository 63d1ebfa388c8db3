// bare --port P: the baseline for phx. For topics `load:*` it behaves as examples/lab_server, directly on epoll: one thread,
// hand-written framing, replies spliced from the received bytes, one `send` per connection and turn of its loop. It checks
// almost nothing and is not an example of how to write a server.
#include "wire.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <unordered_map>
#include <vector>

namespace {

struct topic;

struct connection {
  int fd;
  bool upgraded = false, dead = false, dirty = false, full = false;
  std::string in{}, out{};  // an incomplete frame; bytes to write
  std::size_t written = 0;
  topic* on = nullptr;
  std::size_t place = 0;
};
struct topic {
  std::vector<connection*> members{};
};

int poller = -1;
std::unordered_map<std::string, topic> topics;
std::vector<connection*> dirty, dead;
char input[1 << 18];

void watch(connection& c, bool full) {
  if (full == c.full) return;
  c.full = full;
  epoll_event e{};
  e.events = full ? EPOLLIN | EPOLLOUT : EPOLLIN;
  e.data.ptr = &c;
  epoll_ctl(poller, EPOLL_CTL_MOD, c.fd, &e);
}

void hang_up(connection& c) {
  if (c.dead) return;
  c.dead = true;
  if (c.on != nullptr) {
    connection* const last = c.on->members.back();
    c.on->members[c.place] = last;
    last->place = c.place;
    c.on->members.pop_back();
  }
  close(c.fd);
  dead.push_back(&c);
}

void write(connection& c) {
  while (!c.dead && c.written < c.out.size()) {
    ssize_t const n = send(c.fd, c.out.data() + c.written, c.out.size() - c.written, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return watch(c, true);
    if (n < 0) return hang_up(c);
    c.written += static_cast<std::size_t>(n);
  }
  if (c.dead) return;
  c.out.clear();
  c.written = 0;
  watch(c, false);
}

void later(connection& c) {
  if (c.dirty) return;
  c.dirty = true;
  dirty.push_back(&c);
}

void control(connection& c, unsigned op, char const* data, std::size_t size) {
  char head[10];
  c.out.append(head, wire::header(head, op, size, 0));
  c.out.append(data, size);
}

/// @param join_ref and the following parameters as received, with quotes.
void reply(connection& c, std::string_view join_ref, std::string_view ref, std::string_view name,
           std::string_view response) {
  constexpr std::string_view middle = R"(,"phx_reply",{"status":"ok","response":)";
  char head[10];
  std::size_t const size = join_ref.size() + ref.size() + name.size() + middle.size() + response.size() + 5;
  std::string& out = c.out;
  out.append(head, wire::header(head, 1, size, 0));
  out.append(1, '[').append(join_ref).append(1, ',').append(ref).append(1, ',').append(name);
  out.append(middle).append(response).append("}]");
}

void shout(topic& to, std::string_view name, std::string_view payload) {
  constexpr std::string_view before = "[null,null,", middle = R"(,"shout",)";
  char head[10];
  std::size_t const size = before.size() + name.size() + middle.size() + payload.size() + 1;
  std::string frame(head, wire::header(head, 1, size, 0));
  frame.append(before).append(name).append(middle).append(payload).append(1, ']');
  for (connection* const c : to.members) {
    c->out.append(frame);
    later(*c);
  }
}

void hear(connection& c, std::string_view text) {
  char const* at = text.data() + 1;
  char const* const end = text.data() + text.size();
  std::string_view part[4];
  for (std::string_view& p : part) {
    char const* const past = wire::past_value(at, end);
    if (past == nullptr || *past != ',') return hang_up(c);
    p = {at, static_cast<std::size_t>(past - at)};
    at = past + 1;
  }
  std::string_view const payload(at, static_cast<std::size_t>(end - at - 1));
  std::string_view const name = part[2], event = part[3];
  if (event == R"("echo")") return reply(c, part[0], part[1], name, payload);
  if (event == R"("shout")") return c.on == nullptr ? hang_up(c) : shout(*c.on, name, payload);
  if (event == R"("phx_join")") {
    if (c.on != nullptr) return hang_up(c);
    c.on = &topics[std::string(name)];
    c.place = c.on->members.size();
    c.on->members.push_back(&c);
    return reply(c, part[0], part[1], name, "{}");
  }
  if (event == R"("heartbeat")") return reply(c, part[0], part[1], name, "{}");
  hang_up(c);
}

/// @return the end of the request; 0 if it is incomplete.
std::size_t upgrade(connection& c, std::string_view request) {
  constexpr std::string_view field = "Sec-WebSocket-Key: ";
  std::size_t const end = request.find("\r\n\r\n");
  if (end == std::string_view::npos) return 0;
  std::size_t const key = request.find(field);
  if (key == std::string_view::npos) return hang_up(c), end;
  std::string_view const from = request.substr(key + field.size());
  c.out += "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ";
  c.out += wire::accept_key(from.substr(0, from.find('\r'))) + "\r\n\r\n";
  c.upgraded = true;
  return end + 4;
}

void readable(connection& c) {
  std::size_t const kept = c.in.size();
  if (kept > sizeof input / 2) return hang_up(c);
  if (kept != 0) std::memcpy(input, c.in.data(), kept);
  ssize_t const n = recv(c.fd, input + kept, sizeof input - kept, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return hang_up(c);
  char* at = input;
  char* const end = input + kept + n;
  if (!c.upgraded) at += upgrade(c, {input, static_cast<std::size_t>(end - input)});
  wire::frame f;
  while (c.upgraded && !c.dead && wire::take(at, end, f)) {
    wire::mask(f.payload, f.size, f.key);
    switch (f.op) {
      case 1: hear(c, {f.payload, f.size}); break;
      case 8:
        control(c, 8, f.payload, f.size);
        write(c);
        return hang_up(c);
      case 9: control(c, 10, f.payload, f.size); break;
      default: break;
    }
  }
  if (c.dead) return;
  if (at != end || kept != 0) c.in.assign(at, static_cast<std::size_t>(end - at));
  // A sender gets its reply at once, while its data is in the cache; other recipients at the end of the turn.
  if (!c.out.empty() && !c.dirty && !c.full) write(c);
}

void accept_all(int listener) {
  for (int fd; (fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    int const on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    auto* const c = new connection{fd};
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.ptr = c;
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
  }
}

}  // namespace

int main(int argc, char** argv) {
  int const port = argc == 3 && std::strcmp(argv[1], "--port") == 0 ? std::atoi(argv[2]) : -1;
  if (port < 0) return std::fprintf(stderr, "usage: %s --port P\n", argv[0]), 2;
  std::signal(SIGPIPE, SIG_IGN);
  int const listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in at{};
  socklen_t size = sizeof at;
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<std::uint16_t>(port));
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const address = reinterpret_cast<sockaddr*>(&at);
  if (bind(listener, address, size) != 0 || listen(listener, 4096) != 0 || getsockname(listener, address, &size) != 0)
    return std::perror("bare"), 1;
  poller = epoll_create1(EPOLL_CLOEXEC);
  epoll_event e{};
  e.events = EPOLLIN;
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
  std::printf("listening on 127.0.0.1:%u\n", unsigned{ntohs(at.sin_port)});
  std::fflush(stdout);

  static epoll_event events[1024];
  for (;;) {
    int const n = epoll_wait(poller, events, 1024, -1);
    for (int i = 0; i < n; ++i) {
      auto* const c = static_cast<connection*>(events[i].data.ptr);
      if (c == nullptr) accept_all(listener);
      if (c == nullptr || c->dead) continue;
      if ((events[i].events & EPOLLOUT) != 0) write(*c);
      if (!c->dead && (events[i].events & ~static_cast<unsigned>(EPOLLOUT)) != 0) readable(*c);
    }
    for (std::size_t i = 0; i < dirty.size(); ++i) {
      dirty[i]->dirty = false;
      if (!dirty[i]->full) write(*dirty[i]);
    }
    dirty.clear();
    for (connection* const c : dead) delete c;
    dead.clear();
  }
}

// Two loops over sockets: the throughput of two loops on two threads, against one on one thread. Each thread has its loop,
// the server side of its connections and their clients, so that all cores have the same work and none waits for a load
// generator; loopback TCP is real. The same is measured without phx (`bare`: frames are unmasked and sent back), because the
// kernel alone does not double the throughput on two cores.
//   echo      each client sends and waits for its replies, 32 clients per loop at a time with 8 messages in one write
//   fan-out   each loop has a topic with 64 subscribers; broadcasts are posted to the other loop too, which has none
// Run: phx_two_loops [--rounds 7] [--seconds 0.5]; lines of name=value
#include "on_threads.hpp"
#include "subject.hpp"
#include "wire.hpp"

#include <phx/websocket/frame_reader.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

void must(bool holds, char const* text) {
  if (holds) return;
  std::fprintf(stderr, "two_loops: %s\n", text);
  std::exit(1);
}
using subject::application, subject::now;

/// A connection over loopback TCP: the client's end and the server's.
struct pair {
  int client = -1, server = -1;
  pair(int listener, sockaddr_in const& at) {
    client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(::connect(client, reinterpret_cast<sockaddr const*>(&at), sizeof at) == 0, "cannot connect");
    server = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    must(server >= 0, "cannot accept");
    int const on = 1;
    for (int const fd : {client, server}) (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  pair(pair const&) = delete;
  pair& operator=(pair const&) = delete;
  ~pair() {
    ::close(client);
    ::close(server);
  }
};

std::string masked(std::string_view text) {
  char head[10];
  constexpr char key[4] = {0x12, 0x34, 0x56, 0x78};
  std::string out(head, wire::header(head, 1, text.size(), 0x80));
  out.append(key, 4);
  for (std::size_t i = 0; i < text.size(); ++i) out += static_cast<char>(text[i] ^ key[i % 4]);
  return out;
}
std::string const payload = R"({"c":17,"d":"xxxxxxxxxxxxxxxxxxxxxxxx","n":4711})";
std::string message_of(unsigned loop, char const* event) {
  return R"(["1","2","load:)" + std::to_string(loop) + R"(",")" + event + R"(",)" + payload + "]";
}
/// Bytes of a server's frame, header included.
[[nodiscard]] std::size_t framed(std::size_t text) { return text + (text < 126 ? 2 : 4); }
[[nodiscard]] std::size_t reply_size() {
  return framed(std::string_view(R"(["1","2","load:0","phx_reply",{"status":"ok","response":}])").size() + payload.size());
}
[[nodiscard]] std::size_t shout_size() {
  return framed(std::string_view(R"([null,null,"load:0","shout",])").size() + payload.size());
}
constexpr unsigned in_one_write = 8;

/// The server's end of a connection.
class connection {
 public:
  connection(int fd, phx::loop& on, application& app, phx::admission<application::session_type>&& admitted) : fd_(fd) {
    phoenix_.emplace(on, app, std::move(admitted), transport{this}, now);
  }
  /// For `bare`.
  explicit connection(int fd) : fd_(fd) {}
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;
  ~connection() = default;

  phx::send_status send(phx::frame const& f) noexcept {
    out_.append(f.websocket());  // a failure to allocate ends the benchmark
    return phx::send_status::ok;
  }
  void flush() noexcept {
    must(::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(out_.size()), "cannot send");
    out_.clear();
  }
  void readable(phx::loop* on, char* room, std::size_t size) noexcept {
    ssize_t const n = ::recv(fd_, room, size, 0);
    must(n > 0, "cannot read");
    std::span<char> bytes(room, static_cast<std::size_t>(n));
    if (on == nullptr) {
      for (;;) {
        phx::websocket::frame_event const e = frames_.next(bytes);
        if (e.kind != phx::websocket::event_kind::data) break;
        out_ += static_cast<char>(0x81);
        out_ += static_cast<char>(e.part.size());
        out_.append(e.part);
      }
      return flush();
    }
    auto const turn = on->turn();
    for (;;) {
      phx::websocket::frame_event const e = frames_.next(bytes);
      if (e.kind != phx::websocket::event_kind::data) return;
      must(phoenix_->receive(e.op, e.part, e.last, now), "phx closed a connection");
    }
  }

 private:
  struct transport {
    connection* to;
    phx::send_status send(phx::frame const& f) noexcept { return to->send(f); }
    void flush() noexcept { to->flush(); }
    void close(phx::close_frame) noexcept {}
    [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
  };
  int fd_;
  std::string out_{};
  phx::websocket::frame_reader frames_{1 << 20};
  std::optional<phx::socket<transport, application>> phoenix_{};
};

enum class work { bare, echo, fan_out };

/// The data of one thread: its loop and its connections, both ends of them.
struct alignas(128) shelf {
  subject::no_waker waker{};
  std::optional<phx::loop> loop{};
  std::vector<std::unique_ptr<pair>> wires{};
  std::vector<std::unique_ptr<connection>> all{};
  std::unique_ptr<char[]> room{new char[1 << 18]};
  std::uint64_t done = 0;

  void build(work item, unsigned number, unsigned clients, int listener, sockaddr_in const& at, phx::endpoint& all_loops,
             application& app, phx::mount const& where) {
    if (item != work::bare) loop.emplace(all_loops, waker);
    for (unsigned i = 0; i < clients; ++i) {
      wires.push_back(std::make_unique<pair>(listener, at));
      pair const& w = *wires.back();
      if (item == work::bare) {
        all.push_back(std::make_unique<connection>(w.server));
        continue;
      }
      all.push_back(std::make_unique<connection>(w.server, *loop, app, subject::let_in(where, app)));
      write(w.client, masked(subject::join("load:" + std::to_string(number))));
      all.back()->readable(&*loop, room.get(), 1 << 18);
      must(::recv(w.client, room.get(), 1 << 18, 0) > 0, "no reply to a join");
    }
  }
  static void write(int fd, std::string_view text) {
    must(::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()), "cannot write");
  }
  /// A client reads exactly this many bytes.
  void read(int fd, std::size_t bytes) {
    must(::recv(fd, room.get(), bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes), "a client misses bytes");
  }
};

struct figures {
  double rate, cpu_us;
};
figures run(work item, unsigned loops, double for_so_long) {
  int const listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  must(::bind(listener, reinterpret_cast<sockaddr*>(&at), size) == 0 && ::listen(listener, 128) == 0 &&
           ::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size) == 0,
       "cannot listen");
  application app;
  app.channel<subject::channel>("load:*");
  phx::mount const where{};
  phx::endpoint everywhere;
  std::vector<std::unique_ptr<shelf>> shelves;
  unsigned const clients = item == work::fan_out ? 64 : 32;
  for (unsigned l = 0; l < loops; ++l) {
    shelves.push_back(std::make_unique<shelf>());
    shelves.back()->build(item, l, clients, listener, at, everywhere, app, where);
  }
  std::size_t const answer = item == work::bare   ? framed(message_of(0, "echo").size())
                             : item == work::echo ? reply_size()
                                                  : shout_size();

  spent const all = on_threads(loops, [&](unsigned t) {
    shelf& mine = *shelves[t];
    std::string batch;
    for (unsigned i = 0; i < in_one_write; ++i) batch += masked(message_of(t, item == work::fan_out ? "shout" : "echo"));
    double const until = seconds() + for_so_long;
    std::size_t i = 0;
    while (seconds() < until) {
      std::size_t const number = i++ % clients;
      shelf::write(mine.wires[number]->client, batch);
      mine.all[number]->readable(mine.loop ? &*mine.loop : nullptr, mine.room.get(), 1 << 18);
      std::size_t const first = item == work::fan_out ? 0 : number, behind = item == work::fan_out ? clients : number + 1;
      for (std::size_t c = first; c != behind; ++c) mine.read(mine.wires[c]->client, answer * in_one_write);
      mine.done += in_one_write * (behind - first);
      if (mine.loop) (void)mine.loop->run(now);  // posts of the other loop
    }
  });
  double messages = 0;
  for (auto const& s : shelves) {
    messages += static_cast<double>(s->done);
    s->all.clear();
  }
  ::close(listener);
  return {messages / all.wall, all.cpu * 1e6 / messages};
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  unsigned rounds = 7;
  double for_so_long = 0.5;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string_view const name = argv[i];
    if (name == "--rounds")
      rounds = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    else if (name == "--seconds")
      for_so_long = std::strtod(argv[i + 1], nullptr);
    else
      return std::fprintf(stderr, "two_loops: unknown option %s\n", argv[i]), 2;
  }
  if (rounds == 0 || for_so_long <= 0) return std::fprintf(stderr, "usage: %s [--rounds N] [--seconds S]\n", argv[0]), 2;
  for (work const item : {work::bare, work::echo, work::fan_out}) {
    std::vector<double> times, cpu, rate;
    for (unsigned r = 0; r < rounds; ++r) {
      figures const one = run(item, 1, for_so_long), two = run(item, 2, for_so_long);
      times.push_back(two.rate / one.rate);
      cpu.push_back(two.cpu_us / one.cpu_us);
      rate.push_back(one.rate);
    }
    auto const [least, most] = std::minmax_element(times.begin(), times.end());
    // By wall time, which other processes affect, and by CPU time per message, which they do not.
    std::printf("two_loops_over_sockets=%s times_one=%.2f least=%.2f most=%.2f cpu_each_against_one=%.2f one_per_s=%.0f\n",
                item == work::bare   ? "bare"
                : item == work::echo ? "echo"
                                     : "fan-out",
                median(times), *least, *most, median(cpu), median(rate));
  }
}

// load: measures the server's cost per message, and checks every message. One thread, epoll, libc. It implements the client
// side of protocol 2.0.0 for topics `load:*` of a server that replies to `echo` with the payload and broadcasts `shout`. Or,
// with `--protocol socket.io`, that of Engine.IO 4 for a server that acknowledges `join` and `echo` and broadcasts `shout`.
//
//   echo      each client keeps `--inflight` pushes in flight, or together they push `--rate` a second
//   fan-out   client i is on topic i mod T; the first client of each topic keeps `--outstanding` shouts in flight, a shout
//             being complete when the last subscriber has it; or together they shout `--rate` times a second
//   connect   connects, upgrades and joins all clients, `--concurrency` at a time
//   idle      joins all clients, each with a heartbeat every 30 s
//
// Checked: the accept key; every reply's join_ref, ref, topic, status and payload byte for byte, in the order of the pushes;
// every broadcast's null refs, topic, event and payload byte for byte, in the sender's order; that nothing else comes; that
// at the end nothing is missing; that a close is answered with 1000. The first error ends the run, with status 1.
//
// With `--tls 1` the clients speak TLS, and accept any certificate; their handshakes come one after the other, before the measurement.
// With `--deflate 1` the clients offer permessage-deflate, and inflate what the server compressed before they check it.
//
// Prints one line of name=value. Times in microseconds; cpu_us: CPU of all threads of --pid for each message (of `connect`:
// for each client), from before the first connect or, of echo and fan-out, over the measured seconds.
#include "wire.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

#ifdef WITH_ZLIB
#include <zlib.h>
#endif

namespace {

using wire::nanoseconds;

[[noreturn, gnu::format(printf, 1, 2)]] void give_up(char const* mode, ...) {
  std::va_list with;
  va_start(with, mode);
  std::fputs("load: ", stderr);
  std::vfprintf(stderr, mode, with);
  std::fputc('\n', stderr);
  va_end(with);
  std::exit(2);
}

enum class mode : std::uint8_t { echo, fan_out, connect, idle };

struct options {
  mode item = mode::echo;
  unsigned port = 0, clients = 100, topics = 1, inflight = 1, payload = 64, concurrency = 64, stalled = 0;
  std::size_t fill = 0;
  int pid = 0;
  bool socket_io = false, records = false, deflate = false, tls = false;
  double seconds = 2, warm_up = 0.5, rate = 0, heartbeat = 30;
  std::string_view name = "echo";
};

// ---- measurements

/// Durations: exact below 256 ns, then to a hundredth.
class durations {
 public:
  void add(std::uint64_t ns) {
    ++counts_[place(ns)];
    ++count_;
    longest_ = std::max(longest_, ns);
  }
  /// In microseconds: the upper edge of the bucket with the q-th.
  [[nodiscard]] double at(double q) const {
    auto left = static_cast<std::uint64_t>(q * static_cast<double>(count_));
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] > left) return static_cast<double>(std::min(edge(i), longest_)) / 1e3;
      left -= counts_[i];
    }
    return static_cast<double>(longest_) / 1e3;
  }

 private:
  static constexpr std::size_t steps = 128;  // of an octave
  [[nodiscard]] static std::size_t place(std::uint64_t ns) {
    if (ns < 2 * steps) return static_cast<std::size_t>(ns);
    auto const octave = static_cast<std::size_t>(std::bit_width(ns)) - 8;  // 1 from 256 on
    return std::min<std::size_t>(octave, 40) * steps + static_cast<std::size_t>(ns >> octave);
  }
  [[nodiscard]] static std::uint64_t edge(std::size_t i) {
    if (i < 2 * steps) return i;
    std::size_t const octave = i / steps - 1;
    return ((std::uint64_t{i - octave * steps} + 1) << octave) - 1;
  }
  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(44 * steps);
  std::uint64_t count_ = 0, longest_ = 0;
};

struct usage {
  std::uint64_t at = 0;
  double cpu = 0, user = 0, system = 0, mine = 0;  // seconds
  double resident = 0;                             // bytes
};

[[nodiscard]] std::string contents(std::string const& path) {
  std::string all;
  if (std::FILE* const f = std::fopen(path.c_str(), "re")) {
    char some[4096];
    for (std::size_t n; (n = std::fread(some, 1, sizeof some, f)) > 0;) all.append(some, n);
    std::fclose(f);
  }
  return all;
}

[[nodiscard]] usage usage_of(int pid) {
  usage u;
  u.mine = static_cast<double>(nanoseconds(CLOCK_PROCESS_CPUTIME_ID)) / 1e9;
  if (pid != 0) {
    std::string const folder = "/proc/" + std::to_string(pid), stat = contents(folder + "/stat");
    std::size_t const named = stat.rfind(')');
    unsigned long long user = 0, system = 0;
    if (named == std::string::npos ||
        std::sscanf(stat.c_str() + named + 1, "%*s %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
      give_up("process %d does not exist", pid);
    double const ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    u.user = static_cast<double>(user) / ticks;
    u.system = static_cast<double>(system) / ticks;
    // The same sum in nanoseconds, if the system has it.
    clockid_t its = 0;
    timespec t{};
    u.cpu = clock_getcpuclockid(pid, &its) == 0 && clock_gettime(its, &t) == 0
                ? static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9
                : u.user + u.system;
    std::string const memory = contents(folder + "/smaps_rollup");
    if (std::size_t const rss = memory.find("\nRss:"); rss != std::string::npos) {
      u.resident = 1024 * std::strtod(memory.c_str() + rss + 5, nullptr);
    } else {
      std::string const status = contents(folder + "/status");
      if (std::size_t const line = status.find("\nVmRSS:"); line != std::string::npos)
        u.resident = 1024 * std::strtod(status.c_str() + line + 7, nullptr);
    }
  }
  u.at = nanoseconds();
  return u;
}

// ---- messages to send

void append(std::string& to, std::uint64_t number) {
  char digits[24];
  to.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

/// `{"c":CLIENT,"d":"TEXT","n":NUMBER}` of the given size. TEXT follows from CLIENT and NUMBER, so that messages in flight
/// need not be stored to check their replies; it contains brackets and commas, which a careless scanner would misread.
/// With `records` "d" is a list of objects as applications send them: random text is no JSON to compress.
class payloads {
 public:
  payloads(std::size_t size, bool records) : size_(size) {
    constexpr std::string_view letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-.,:;{}[]()#*+=?!~";
    std::uint64_t state = 0x2545F4914F6CDD1D;
    for (std::size_t i = 0; i < span + size; ++i) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      text_ += letters[(state >> 33) % letters.size()];
    }
    constexpr std::string_view names[] = {"maria", "john", "wei", "olga", "fatima", "jose", "anna", "kwame"};
    constexpr std::string_view states[] = {"online", "away", "busy", "offline"};
    auto const random = [&](std::uint64_t below) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      return (state >> 33) % below;
    };
    for (std::size_t i = 0; records && i < record_count; ++i) {
      std::string r = R"({"id":)";
      append(r, 10'000 + random(90'000));
      r.append(R"(,"name":")").append(names[random(8)]).append(R"(","state":")").append(states[random(4)]);
      r += R"(","score":)";
      append(r, random(1000));
      r += R"(,"joined_at":"2024-05-17T10:)";
      append(r, 10 + random(50));
      r += ':';
      append(r, 10 + random(50));
      records_.push_back(r + "Z\"}");
    }
  }
  void append_to(std::string& out, std::uint64_t client, std::uint64_t number) const {
    std::size_t const begin = out.size();
    if (!records_.empty()) return append_records(out, begin, client, number);
    out += R"({"c":)";
    append(out, client);
    out += R"(,"d":")";
    std::size_t const text = out.size();
    out += R"(","n":)";
    append(out, number);
    out += '}';
    std::size_t const have = out.size() - begin;
    if (have < size_) out.insert(text, text_, (client * 2654435761U + number * 40503U) % span, size_ - have);
  }

 private:
  static constexpr std::size_t span = 4096, record_count = 509;
  void append_records(std::string& out, std::size_t begin, std::uint64_t client, std::uint64_t number) const {
    out += R"({"c":)";
    append(out, client);
    out += R"(,"d":[)";
    for (std::uint64_t i = client * 2654435761U + number * 40503U;; ++i) {
      std::string const& record = records_[i % record_count];
      if (out.size() - begin + record.size() + 20 > size_) break;
      out += record;
      out += ',';
    }
    out += R"({}],"n":)";
    append(out, number);
    out += '}';
  }
  std::size_t size_;
  std::string text_{};
  std::vector<std::string> records_{};
};

/// A client's bytes: a socket, or TLS on it. As recv and send, with errno.
class stream {
 public:
  stream() = default;
#ifdef WITH_TLS
  /// The handshake; it waits for the server. @return false: it failed.
  [[nodiscard]] bool secure(int fd) {
    static SSL_CTX* const context = [] {
      SSL_CTX* const c = SSL_CTX_new(TLS_client_method());
      SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
      return c;
    }();
    ssl_.reset(SSL_new(context));
    if (!ssl_ || SSL_set_fd(ssl_.get(), fd) != 1) return false;
    for (;;) {
      int const code = SSL_connect(ssl_.get());
      if (code == 1) return true;
      int const reason = SSL_get_error(ssl_.get(), code);
      if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) return false;
      pollfd ready{fd, static_cast<short>(reason == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
      if (::poll(&ready, 1, 10'000) != 1) return false;
    }
  }
  [[nodiscard]] ssize_t read(int fd, char* into, std::size_t size) {
    if (!ssl_) return recv(fd, into, size, 0);
    std::size_t n = 0;
    int const code = SSL_read_ex(ssl_.get(), into, size, &n);
    return result(code, n);
  }
  [[nodiscard]] ssize_t write(int fd, char const* bytes, std::size_t size) {
    if (!ssl_) return send(fd, bytes, size, MSG_NOSIGNAL);
    std::size_t n = 0;
    int const code = SSL_write_ex(ssl_.get(), bytes, size, &n);
    return result(code, n);
  }
  /// There may be more to read although a read gave less than it might have: one read gives at most one record.
  [[nodiscard]] bool in_records() const { return ssl_ != nullptr; }
  void close() { ssl_.reset(); }

 private:
  [[nodiscard]] ssize_t result(int code, std::size_t n) {
    if (code == 1) return static_cast<ssize_t>(n);
    int const reason = SSL_get_error(ssl_.get(), code);
    if (reason == SSL_ERROR_ZERO_RETURN) return 0;
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE)
      errno = EAGAIN;
    else if (reason != SSL_ERROR_SYSCALL || errno == 0)
      errno = EPROTO;
    ERR_clear_error();
    return -1;
  }
  struct ssl_free {
    void operator()(SSL* s) const { SSL_free(s); }
  };
  std::unique_ptr<SSL, ssl_free> ssl_{};
#else
  [[nodiscard]] bool secure(int) { return false; }
  [[nodiscard]] ssize_t read(int fd, char* into, std::size_t size) { return recv(fd, into, size, 0); }
  [[nodiscard]] ssize_t write(int fd, char const* bytes, std::size_t size) { return send(fd, bytes, size, MSG_NOSIGNAL); }
  [[nodiscard]] bool in_records() const { return false; }
  void close() {}
#endif
};

struct client {
  enum class state : std::uint8_t { new_one, connecting, upgrading, greeting, joining, joined, closing, closed };
  state is = state::new_one;
  bool full = false, dirty = false, deaf = false;
  int fd = -1;
  stream bytes{};
  unsigned number = 0, topic = 0;
  std::string in{}, out{};
  std::size_t written = 0;
  std::uint64_t began = 0;
  std::uint64_t beats = 0, answered_beats = 0;
  // echo: refs begin with 2, the join has 1
  std::uint64_t next_ref = 2, expected_ref = 2;
  std::deque<std::uint64_t> due{};
  // fan-out
  std::uint64_t expected_shout = 1;
};

struct sender {
  struct shout {
    std::uint64_t at;
    unsigned left;
  };
  unsigned members = 0;
  std::uint64_t next = 1, oldest = 1;
  std::deque<shout> open{};
};

class run {
 public:
  explicit run(options const& opts)
      : opts_(opts), payloads_(opts.payload, opts.records), clients_(opts.clients), senders_(opts.topics) {}

  int operator()() {
    prepare();
    usage const before = usage_of(opts_.pid);
    open_all();
    usage from = before, to = before;
    switch (opts_.item) {
      case mode::connect: spend(0.5); break;
      case mode::idle:
        spend(0.5);
        from = usage_of(opts_.pid);
        spend(opts_.seconds);
        break;
      case mode::echo:
      case mode::fan_out:
        fill();
        begin_pushing();
        spend(opts_.warm_up);
        from = usage_of(opts_.pid);
        recording_ = true;
        spend(opts_.seconds);
        recording_ = false;
        break;
    }
    to = usage_of(opts_.pid);
    finish();
    report(before, from, to);
    return faults_ == 0 ? 0 : 1;
  }

 private:
  using state = client::state;

  [[gnu::format(printf, 2, 3)]] void fault(char const* error_text, ...) {
    if (++faults_ != 1) return;
    char text[600];
    std::va_list with;
    va_start(with, error_text);
    std::vsnprintf(text, sizeof text, error_text, with);
    va_end(with);
    first_fault_ = text;
  }
  static int shown(std::string_view s) { return static_cast<int>(std::min<std::size_t>(s.size(), 200)); }

  void prepare() {
    std::signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    rlim_t const needed = opts_.clients + 32U;
    if (files.rlim_cur < needed) {
      files.rlim_cur = std::min(needed, files.rlim_max);
      setrlimit(RLIMIT_NOFILE, &files);
      if (files.rlim_cur < needed)
        give_up("%u clients need %lu open files", opts_.clients, static_cast<unsigned long>(needed));
    }
    poller_ = epoll_create1(EPOLL_CLOEXEC);
    buffer_.resize(1 << 18);
    for (unsigned i = 0; i < opts_.clients; ++i) {
      clients_[i].number = i;
      clients_[i].topic = i % opts_.topics;
    }
  }

  // ---- opening

  void open_all() {
    std::uint64_t moved = nanoseconds();
    opening_began_ = moved;
    for (unsigned seen = 0; joined_ < opts_.clients && faults_ == 0;) {
      while (opening_ < opts_.concurrency && opened_ < opts_.clients) open(clients_[opened_++]);
      poll(nanoseconds() + 100'000'000);
      if (seen != joined_) {
        seen = joined_;
        moved = nanoseconds();
      } else if (nanoseconds() - moved > 10'000'000'000U) {
        fault("no client more than %u of %u joined for 10 s", joined_, opts_.clients);
      }
    }
    opening_ended_ = nanoseconds();
  }
  void open(client& c) {
    c.began = nanoseconds();
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c.fd < 0) give_up("socket: %s", std::strerror(errno));
    int const on = 1;
    setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // A small kernel buffer for clients that do not read, so that the server has to handle the backlog.
    int const little = 4096;
    if (c.number >= opts_.clients - opts_.stalled) setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    if (opts_.clients > 25'000) {  // one address has too few ports for more
      setsockopt(c.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
      at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + c.number / 25'000);
      if (bind(c.fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) give_up("bind: %s", std::strerror(errno));
    }
    at.sin_port = htons(static_cast<std::uint16_t>(opts_.port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(c.fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 && errno != EINPROGRESS)
      give_up("connect: %s", std::strerror(errno));
    c.is = state::connecting;
    c.full = true;
    ++opening_;
    watch(c, EPOLL_CTL_ADD);
  }
  void connected(client& c) {
    int wrong = 0;
    socklen_t size = sizeof wrong;
    getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &wrong, &size);
    if (wrong != 0) give_up("connect to port %u: %s", opts_.port, std::strerror(wrong));
    if (opts_.tls && !c.bytes.secure(c.fd)) give_up("client %u: no TLS handshake", c.number);
    c.is = state::upgrading;
    c.out += "GET ";
    c.out += opts_.socket_io ? "/socket.io/?EIO=4&transport=websocket" : "/socket/websocket?vsn=2.0.0";
    c.out +=
        " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
        key_of(c) + (opts_.deflate ? "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n" : "\r\n\r\n");
    write(c);
  }
  [[nodiscard]] static std::string key_of(client const& c) {
    unsigned char bytes[16] = {};
    std::uint64_t const number = (c.number + 1U) * 0x9E3779B97F4A7C15U;
    std::memcpy(bytes, &number, 8);
    return wire::base64(bytes, sizeof bytes);
  }
  /// @return bytes of the response; 0 if it is incomplete
  std::size_t upgraded(client& c, std::string_view answer) {
    std::size_t const end = answer.find("\r\n\r\n");
    if (end == std::string_view::npos) return 0;
    std::string_view const head = answer.substr(0, end + 2);
    bool const switching = head.substr(0, 12) == "HTTP/1.1 101";
    bool const good = field(head, "sec-websocket-accept") == wire::accept_key(key_of(c));
    if (!switching || !good) {
      fault("client %u was not upgraded: %.*s", c.number, shown(head), head.data());
      return answer.size();
    }
    c.is = state::greeting;
    if (!opts_.socket_io) join(c);
    return end + 4;
  }
  void join(client& c) {
    c.is = state::joining;
    push(c, 1, opts_.socket_io ? R"(421["join",")" + topic(c) + "\"]" : R"(["1","1",")" + topic(c) + R"(","phx_join",{}])");
  }
  [[nodiscard]] static std::string_view field(std::string_view head, std::string_view name) {
    for (std::size_t at = 0; (at = head.find("\r\n", at)) != std::string_view::npos;) {
      at += 2;
      std::string_view const line = head.substr(at, head.find("\r\n", at) - at);
      if (line.size() <= name.size() || line[name.size()] != ':') continue;
      auto const same = [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); };
      if (!std::equal(name.begin(), name.end(), line.begin(), same)) continue;
      std::size_t const value = line.find_first_not_of(' ', name.size() + 1);
      return value == std::string_view::npos ? std::string_view{} : line.substr(value);
    }
    return {};
  }
  [[nodiscard]] static std::string topic(client const& c) { return "load:" + std::to_string(c.topic); }
  void joined(client& c) {
    c.is = state::joined;
    --opening_;
    ++joined_;
    opening_times_.add(nanoseconds() - c.began);
    bool const stalls = c.number >= opts_.clients - opts_.stalled;
    if (opts_.fill != 0 && (stalls || c.number == 0)) push(c, 1, R"(["2","2","load:stalled","phx_join",{}])");
    if (!stalls) return;
    c.deaf = true;
    watch(c, EPOLL_CTL_MOD);
  }
  /// Creates a backlog before the first measured message: the first client sends this much to the clients that do not read.
  void fill() {
    constexpr std::size_t each = 65'536;
    std::uint64_t answer = opts_.fill != 0;  // the reply to its join
    for (std::size_t bytes = 0; bytes < opts_.fill; bytes += each) {
      push(clients_.front(), 1, R"(["2","3","load:stalled","shout",{"d":")" + std::string(each, 'x') + "\"}]");
      std::uint64_t const until = nanoseconds() + 10'000'000'000U;
      for (++answer; filled_ != answer && faults_ == 0;) {
        poll(nanoseconds() + 10'000'000);
        if (nanoseconds() > until) fault("the first client's broadcasts did not arrive");
      }
      if (faults_ != 0) return;
    }
  }

  // ---- bytes

  void watch(client& c, int change) {
    epoll_event e{};
    e.events = (c.deaf ? 0U : static_cast<unsigned>(EPOLLIN)) | (c.full ? static_cast<unsigned>(EPOLLOUT) : 0U);
    e.data.u32 = c.number;
    epoll_ctl(poller_, c.deaf ? EPOLL_CTL_DEL : change, c.fd, &e);
  }
  void push(client& c, unsigned op, std::string_view payload) {
    char head[14];
    std::size_t const size = wire::header(head, op, payload.size(), 0x80);
    random_ = random_ * 6364136223846793005U + 1442695040888963407U;
    auto const key = static_cast<std::uint32_t>(random_ >> 32);
    std::memcpy(head + size, &key, 4);
    c.out.append(head, size + 4).append(payload);
    wire::mask(c.out.data() + c.out.size() - payload.size(), payload.size(), key);
    if (c.dirty) return;
    c.dirty = true;
    dirty_.push_back(c.number);
  }
  void write(client& c) {
    if (c.fd < 0) return;
    bool full = false;
    while (c.written < c.out.size() && !full) {
      ssize_t const n = c.bytes.write(c.fd, c.out.data() + c.written, c.out.size() - c.written);
      full = n < 0 && errno == EAGAIN;
      if (n < 0 && !full) return lost(c, std::strerror(errno));
      if (n > 0) c.written += static_cast<std::size_t>(n);
    }
    if (!full) {
      c.out.clear();
      c.written = 0;
    }
    if (full == c.full) return;
    c.full = full;
    watch(c, EPOLL_CTL_MOD);
  }
  void write_all() {
    for (std::size_t i = 0; i < dirty_.size(); ++i) {
      client& c = clients_[dirty_[i]];
      c.dirty = false;
      write(c);
    }
    dirty_.clear();
  }
  void lost(client& c, char const* reason) {
    if (c.is != state::closing) fault("client %u lost its connection: %s", c.number, reason);
    shut(c);
  }
  void shut(client& c) {
    linger const at_once{1, 0};  // leaves no port in TIME_WAIT
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    c.bytes.close();
    close(c.fd);
    c.fd = -1;
    if (c.is == state::closing) --closing_;
    c.is = state::closed;
  }

  void poll(std::uint64_t until) {
    std::uint64_t const now = nanoseconds(), left = until > now ? until - now : 0;
    timespec const wait{static_cast<time_t>(left / 1'000'000'000U), static_cast<long>(left % 1'000'000'000U)};
    int const n = epoll_pwait2(poller_, events_, 1024, &wait, nullptr);
    for (int i = 0; i < n; ++i) {
      client& c = clients_[events_[i].data.u32];
      unsigned const value = events_[i].events;
      if (c.fd < 0) continue;
      if (c.is == state::connecting) {
        connected(c);
        continue;
      }
      if ((value & EPOLLOUT) != 0) write(c);
      if (c.fd >= 0 && (value & ~static_cast<unsigned>(EPOLLOUT)) != 0) readable(c);
      write_all();
    }
    write_all();
  }
  void readable(client& c) {
    for (bool more = true; more && c.fd >= 0;) {
      std::size_t const kept = c.in.size();
      if (kept + 65536 > buffer_.size()) buffer_.resize(2 * kept + 65536);
      if (kept != 0) std::memcpy(buffer_.data(), c.in.data(), kept);
      std::size_t const room = buffer_.size() - kept;
      ssize_t const n = c.bytes.read(c.fd, buffer_.data() + kept, room);
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n <= 0) return lost(c, n == 0 ? "closed by the server" : std::strerror(errno));
      more = c.bytes.in_records() || static_cast<std::size_t>(n) == room;
      if (recording_) bytes_ += static_cast<std::uint64_t>(n);
      take(c, buffer_.data(), buffer_.data() + kept + n);
    }
  }
  void take(client& c, char* at, char const* end) {
    std::uint64_t const now = nanoseconds();
    if (c.is == state::upgrading) at += upgraded(c, {at, static_cast<std::size_t>(end - at)});
    wire::frame f;
    while (c.is >= state::greeting && c.is < state::closed && wire::take(at, end, f)) {
      std::string_view const text =
          f.compressed && f.op == 1 ? inflated(c, {f.payload, f.size}) : std::string_view(f.payload, f.size);
      if (f.masked || f.reserved || !f.last || (f.compressed && f.op != 1)) {
        fault("client %u: a frame that is masked, fragmented or has a reserved bit", c.number);
      } else if (f.op == 8) {
        auto const byte = [text](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
        unsigned const code = byte(0) << 8 | byte(1);
        if (c.is != state::closing || code != 1000) fault("client %u: close %u", c.number, code);
        return shut(c);
      } else if (f.op != 1) {
        fault("client %u: a frame with opcode %u", c.number, f.op);
      } else {
        hear(c, text, now);
      }
    }
    if (at != end || !c.in.empty()) c.in.assign(at, static_cast<std::size_t>(end - at));
  }

  /// The message; empty after a fault. The same bytes as those before are not inflated again: the cost is the server's to bear.
  [[nodiscard]] std::string_view inflated([[maybe_unused]] client const& c, [[maybe_unused]] std::string_view bytes) {
#ifdef WITH_ZLIB
    if (opts_.deflate && bytes == compressed_) return inflated_;
    if (opts_.deflate) {
      compressed_.assign(bytes);
      std::string in = compressed_ + std::string("\0\0\xff\xff", 4);
      z_stream z{};
      if (inflateInit2(&z, -15) != Z_OK) give_up("inflateInit2");
      inflated_.resize(1 << 20);
      z.next_in = reinterpret_cast<Bytef*>(in.data());
      z.avail_in = static_cast<uInt>(in.size());
      z.next_out = reinterpret_cast<Bytef*>(inflated_.data());
      z.avail_out = static_cast<uInt>(inflated_.size());
      int const status = inflate(&z, Z_SYNC_FLUSH);
      inflated_.resize(inflated_.size() - z.avail_out);
      inflateEnd(&z);
      if (status == Z_OK && z.avail_in == 0) return inflated_;
    }
#endif
    fault("client %u: a compressed frame that is not expected or broken", c.number);
    return {};
  }

  // ---- messages

  /// @param join_ref and @param ref as JSON
  void expect(std::string_view join_ref, std::string_view ref, std::uint64_t topic, std::string_view event) {
    expected_.assign(1, '[').append(join_ref).append(1, ',').append(ref) += R"(,"load:)";
    append(expected_, topic);
    expected_.append(R"(",")").append(event) += R"(",)";
  }
  void ref(std::uint64_t number) {
    ref_.assign(1, '"');
    append(ref_, number);
    ref_ += '"';
  }

  /// Messages of Engine.IO itself: pings, and those before a join.
  [[nodiscard]] bool heard_greeting(client& c, std::string_view text) {
    bool const open = text.starts_with("0{"), connected = text.starts_with("40{");
    if (text == "2")
      push(c, 1, "3");
    else if (c.is == state::greeting && open)
      push(c, 1, "40");
    else if (c.is == state::greeting && connected)
      join(c);
    else
      return false;
    return true;
  }
  void hear(client& c, std::string_view text, std::uint64_t now) {
    if (opts_.socket_io && heard_greeting(c, text)) return;
    if (c.is == state::joining) {
      if (opts_.socket_io) {
        expected_ = "431[]";
      } else {
        expect(R"("1")", R"("1")", c.topic, "phx_reply");
        expected_ += R"({"status":"ok","response":{}}])";
      }
      return same(text) ? joined(c) : unexpected(c, text);
    }
    if (opts_.fill != 0 && c.number == 0 && text.substr(0, 40).find(R"("load:stalled")") != std::string_view::npos)
      return void(++filled_);
    if (c.due.empty() && c.answered_beats < c.beats && text.find(R"("phoenix")") != std::string_view::npos) {
      expected_ = R"([null,"h)";
      append(expected_, ++c.answered_beats);
      expected_ += R"(","phoenix","phx_reply",{"status":"ok","response":{}}])";
      return same(text) ? void(++beats_answered_) : unexpected(c, text);
    }
    if (opts_.item == mode::fan_out) return heard_shout(c, text, now);
    if (c.due.empty()) return unexpected(c, text);
    if (opts_.socket_io) {
      expected_ = "43";
      append(expected_, c.expected_ref);
      expected_ += '[';
    } else {
      ref(c.expected_ref);
      expect(R"("1")", ref_, c.topic, "phx_reply");
      expected_ += R"({"status":"ok","response":)";
    }
    payloads_.append_to(expected_, c.number, c.expected_ref);
    expected_ += opts_.socket_io ? "]" : "}]";
    if (!same(text)) return unexpected(c, text);
    ++c.expected_ref;
    --under_way_;
    std::uint64_t const since = c.due.front();
    c.due.pop_front();
    if (recording_) {
      ++messages_;
      times_.add(now - since);
    }
    if (pushing_ && opts_.rate == 0) echo(c, nanoseconds());
  }
  void heard_shout(client& c, std::string_view text, std::uint64_t now) {
    sender& from = senders_[c.topic];
    if (c.expected_shout >= from.next) return unexpected(c, text);
    if (opts_.socket_io)
      expected_ = R"(42["shout",)";
    else
      expect("null", "null", c.topic, "shout");
    payloads_.append_to(expected_, c.topic, c.expected_shout);
    expected_ += ']';
    if (!same(text)) return unexpected(c, text);
    sender::shout& one = from.open[c.expected_shout++ - from.oldest];
    --under_way_;
    if (recording_) {
      ++messages_;
      each_times_.add(now - one.at);
    }
    if (--one.left != 0) return;
    if (recording_) times_.add(now - one.at);
    while (!from.open.empty() && from.open.front().left == 0) {
      from.open.pop_front();
      ++from.oldest;
      if (pushing_ && opts_.rate == 0) shout(c.topic, nanoseconds());
    }
  }
  void unexpected(client& c, std::string_view text) {
    fault("client %u: %.*s, expected %.*s", c.number, shown(text), text.data(), shown(expected_), expected_.data());
  }
  /// The expected bytes, or the same values for servers with other spaces and another order in their JSON.
  [[nodiscard]] bool same(std::string_view text) const { return text == expected_ || same_values(text, expected_); }
  [[nodiscard]] static bool same_values(std::string_view a, std::string_view b) {
    std::string_view one[6], other[6];
    std::size_t const n = parts(a, one), m = parts(b, other);
    if (n != m || n == 0) return false;
    bool const object = b.front() == '{';
    for (std::size_t i = 0; i < n; i += object ? 2 : 1) {
      std::size_t j = i;
      if (object)
        for (j = 0; j < n && one[j] != other[i];) j += 2;
      if (j == n) return false;
      std::size_t const value = object ? 1 : 0;
      if (one[j + value] != other[i + value] && !same_values(one[j + value], other[i + value])) return false;
    }
    return true;
  }
  /// Elements of an array, or names and values of an object, six at most. @return how many; 0 if it is neither
  [[nodiscard]] static std::size_t parts(std::string_view text, std::string_view (&into)[6]) {
    char const* const end = text.data() + text.size();
    char const* at = wire::past_space(text.data(), end);
    if (at == end || (*at != '[' && *at != '{')) return 0;
    std::size_t n = 0;
    for (; at != end && (*at == ',' || *at == ':' || *at == '[' || *at == '{') && n < 6; ++n) {
      at = wire::past_space(at + 1, end);
      char const* const past = wire::past_value(at, end);
      if (past == nullptr) return 0;
      into[n] = {at, static_cast<std::size_t>(past - at)};
      at = wire::past_space(past, end);
    }
    return at != end && (*at == ']' || *at == '}') && wire::past_space(at + 1, end) == end ? n : 0;
  }

  // ---- pushing

  void begin_pushing() {
    pushing_ = true;
    for (client const& c : clients_)
      if (!c.deaf) ++senders_[c.topic].members;
    rate_began_ = nanoseconds();
    if (opts_.rate > 0) return;
    if (opts_.item == mode::echo) {
      for (client& c : clients_)
        for (unsigned i = 0; i < opts_.inflight; ++i) echo(c, nanoseconds());
    } else {
      for (unsigned t = 0; t < opts_.topics; ++t)
        for (unsigned i = 0; i < opts_.inflight; ++i) shout(t, nanoseconds());
    }
    write_all();
  }
  void say(client& c, std::string_view event, std::uint64_t number) {
    if (opts_.socket_io) {
      text_ = "42";
      if (opts_.item == mode::echo) append(text_, c.next_ref);
      text_.append(R"([")").append(event) += R"(",)";
      ++c.next_ref;
    } else {
      ref(c.next_ref++);
      text_.assign(R"(["1",)").append(ref_) += R"(,"load:)";
      append(text_, c.topic);
      text_.append(R"(",")").append(event) += R"(",)";
    }
    payloads_.append_to(text_, c.number, number);
    text_ += ']';
    push(c, 1, text_);
  }
  void echo(client& c, std::uint64_t due) {
    if (c.fd < 0) return;
    c.due.push_back(due);
    ++under_way_;
    say(c, "echo", c.next_ref);
  }
  void shout(unsigned topic, std::uint64_t due) {
    sender& from = senders_[topic];
    if (clients_[topic].fd < 0) return;
    from.open.push_back({due, from.members});
    under_way_ += from.members;
    say(clients_[topic], "shout", from.next++);
  }
  [[nodiscard]] std::uint64_t time_of(double count, double rate) const {
    return rate_began_ + static_cast<std::uint64_t>(count * 1e9 / rate);
  }
  /// Pushes everything that is due. Latency counts from the due time, not from the actual one.
  void push_due(std::uint64_t now) {
    if (!pushing_ || opts_.rate == 0) return;
    for (std::uint64_t due; (due = time_of(static_cast<double>(pushed_), opts_.rate)) <= now; ++pushed_) {
      if (opts_.item == mode::echo)
        echo(clients_[pushed_ % opts_.clients], due);
      else
        shout(static_cast<unsigned>(pushed_ % opts_.topics), due);
      write_all();
    }
  }
  void beat(std::uint64_t now) {
    if (opts_.item != mode::idle || opts_.heartbeat <= 0 || closing_ != 0) return;
    if (opts_.socket_io) return;  // there the server sends the pings
    double const rate = opts_.clients / opts_.heartbeat;
    if (rate_began_ == 0) rate_began_ = now;
    while (time_of(static_cast<double>(beats_ + 1), rate) <= now) {
      client& c = clients_[beats_++ % opts_.clients];
      text_ = R"([null,"h)";
      append(text_, ++c.beats);
      text_ += R"(","phoenix","heartbeat",{}])";
      push(c, 1, text_);
      write_all();
    }
  }

  void spend(double seconds) {
    std::uint64_t const end = nanoseconds() + static_cast<std::uint64_t>(seconds * 1e9);
    std::uint64_t moved = nanoseconds(), seen = under_way_;
    for (std::uint64_t now; (now = nanoseconds()) < end && faults_ == 0;) {
      push_due(now);
      beat(now);
      std::uint64_t until = std::min(end, now + 20'000'000);
      if (pushing_ && opts_.rate > 0) until = std::min(until, time_of(static_cast<double>(pushed_), opts_.rate));
      std::uint64_t const heard = messages_;
      poll(until);
      if (heard != messages_ || seen != under_way_) {
        seen = under_way_;
        moved = now;
      }
      if (pushing_ && under_way_ != 0 && now - moved > 5'000'000'000U) fault("no message for 5 s");
      if (!pushing_ && finishing_ && under_way_ == 0) return;
    }
  }
  void finish() {
    pushing_ = false;
    finishing_ = true;
    if (under_way_ != 0) spend(5);
    if (under_way_ != 0 && faults_ == 0) fault("%lu messages did not arrive", static_cast<unsigned long>(under_way_));
    for (client const& c : clients_) {
      if (!c.deaf || opts_.fill == 0) continue;
      int unread = 0;
      tcp_info is{};
      socklen_t size = sizeof is;
      if (ioctl(c.fd, FIONREAD, &unread) != 0 || getsockopt(c.fd, IPPROTO_TCP, TCP_INFO, &is, &size) != 0 ||
          is.tcpi_state != TCP_ESTABLISHED || unread < 1000)
        fault("client %u should still be connected, with a backlog", c.number);
    }
    if (faults_ != 0) return;
    for (client& c : clients_) {
      if (c.deaf || c.fd < 0) continue;
      c.is = state::closing;
      ++closing_;
      push(c, 8, std::string_view("\x03\xe8", 2));
      write_all();
    }
    std::uint64_t const until = nanoseconds() + 5'000'000'000U;
    while (closing_ != 0 && nanoseconds() < until && faults_ == 0) poll(nanoseconds() + 10'000'000);
    if (closing_ != 0 && faults_ == 0) fault("%u closes were not answered", closing_);
    for (client& c : clients_)
      if (c.fd >= 0) shut(c);
  }

  void report(usage const& before, usage const& from, usage const& to) {
    double const seconds = static_cast<double>(to.at - from.at) / 1e9;
    std::printf("mode=%.*s ok=%d", static_cast<int>(opts_.name.size()), opts_.name.data(), faults_ == 0);
    bool const pushes = opts_.item == mode::echo || opts_.item == mode::fan_out;
    double const each = pushes ? static_cast<double>(messages_) : opts_.clients;
    if (opts_.pid != 0 && each > 0 && opts_.item != mode::idle)
      std::printf(" cpu_us=%.4f user_us=%.4f sys_us=%.4f", (to.cpu - from.cpu) * 1e6 / each,
                  (to.user - from.user) * 1e6 / each, (to.system - from.system) * 1e6 / each);
    durations const& times = pushes ? times_ : opening_times_;
    double const during = pushes ? seconds : static_cast<double>(opening_ended_ - opening_began_) / 1e9;
    std::printf(" messages=%.0f per_s=%.0f p50_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f", each, each / during,
                times.at(.5), times.at(.99), times.at(.999), times.at(1));
    if (opts_.item == mode::fan_out)
      std::printf(" each_p50_us=%.1f each_p99_us=%.1f", each_times_.at(.5), each_times_.at(.99));
    if (pushes && each > 0) std::printf(" bytes_each=%.1f", static_cast<double>(bytes_) / each);
    if (opts_.pid != 0)
      std::printf(" resident=%.0f resident_each=%.1f", to.resident, (to.resident - before.resident) / opts_.clients);
    if (opts_.item == mode::idle)
      std::printf(" heartbeats=%lu server_busy=%.5f", static_cast<unsigned long>(beats_answered_),
                  (to.cpu - from.cpu) / seconds);
    // Near 1 the load client was the bottleneck: then the rate is a lower bound and the latency an upper one.
    std::printf(" busy=%.2f seconds=%.2f\n", (to.mine - from.mine) / seconds, seconds);
    if (faults_ != 0)
      std::fprintf(stderr, "load: %lu errors, the first: %s\n", static_cast<unsigned long>(faults_), first_fault_.c_str());
  }

  options const opts_;
  payloads const payloads_;
  std::vector<client> clients_;
  std::vector<sender> senders_;
  int poller_ = -1;
  epoll_event events_[1024]{};
  std::string buffer_{}, text_{}, ref_{}, expected_{}, first_fault_{}, compressed_{}, inflated_{};
  std::vector<unsigned> dirty_{};
  std::uint64_t random_ = 0x9E3779B97F4A7C15U;
  unsigned opened_ = 0, opening_ = 0, joined_ = 0, closing_ = 0;
  std::uint64_t opening_began_ = 0, opening_ended_ = 0, rate_began_ = 0;
  std::uint64_t under_way_ = 0, messages_ = 0, pushed_ = 0, beats_ = 0, beats_answered_ = 0, filled_ = 0, faults_ = 0;
  std::uint64_t bytes_ = 0;  // received while recording
  bool pushing_ = false, recording_ = false, finishing_ = false;
  durations times_{}, each_times_{}, opening_times_{};
};

[[nodiscard]] double number(char const* name, char const* text, double least) {
  char* end = nullptr;
  double const n = std::strtod(text, &end);
  if (end == text || *end != '\0' || !(n >= least && n <= 1e9)) give_up("%s %s: invalid number", name, text);
  return n;
}

}  // namespace

int main(int argc, char** argv) {
  options opts;
  std::string_view const text = argc > 1 ? argv[1] : "";
  constexpr std::string_view modes[] = {"echo", "fan-out", "connect", "idle"};
  auto const* const found = std::find(std::begin(modes), std::end(modes), text);
  if (found == std::end(modes) || argc % 2 != 0) {
    std::fputs(
        "load echo|fan-out|connect|idle --port P [--pid P] [--clients 100] [--topics 1] [--inflight 1 | --rate R]\n"
        "  [--payload 64] [--seconds 2] [--warm-up 0.5] [--concurrency 64] [--heartbeat 30] [--stalled 0]\n"
        "  [--protocol phoenix|socket.io] [--records 0] [--deflate 0] [--tls 0]\n"
        "  --stalled N: in fan-out the last N clients stop reading after their join\n"
        "  --fill BYTES: first broadcasts this much on a topic of these clients only\n",
        stderr);
    return 2;
  }
  opts.item = static_cast<mode>(found - std::begin(modes));
  opts.name = text;
  for (int i = 2; i < argc; i += 2) {
    std::string_view const name = argv[i];
    auto const whole = [&](double least) { return static_cast<unsigned>(number(argv[i], argv[i + 1], least)); };
    auto const real = [&] { return number(argv[i], argv[i + 1], 0); };
    if (name == "--port")
      opts.port = whole(1);
    else if (name == "--pid")
      opts.pid = static_cast<int>(whole(1));
    else if (name == "--clients")
      opts.clients = whole(1);
    else if (name == "--topics")
      opts.topics = whole(1);
    else if (name == "--inflight" || name == "--outstanding")
      opts.inflight = whole(1);
    else if (name == "--payload")
      opts.payload = whole(0);
    else if (name == "--concurrency")
      opts.concurrency = whole(1);
    else if (name == "--stalled")
      opts.stalled = whole(0);
    else if (name == "--protocol")
      opts.socket_io = std::string_view(argv[i + 1]) == "socket.io";
    else if (name == "--records")
      opts.records = whole(0) != 0;
    else if (name == "--deflate")
      opts.deflate = whole(0) != 0;
    else if (name == "--tls")
      opts.tls = whole(0) != 0;
    else if (name == "--fill")
      opts.fill = whole(0);
    else if (name == "--seconds")
      opts.seconds = real();
    else if (name == "--warm-up")
      opts.warm_up = real();
    else if (name == "--rate")
      opts.rate = real();
    else if (name == "--heartbeat")
      opts.heartbeat = real();
    else
      give_up("unknown option %s", argv[i]);
  }
  if (opts.port == 0 || opts.port > 65535) give_up("--port is needed");
  if (opts.topics > opts.clients) give_up("more topics than clients");
  if (opts.stalled != 0 && (opts.item != mode::fan_out || opts.stalled + opts.topics > opts.clients))
    give_up("--stalled is for fan-out, and must leave each topic its first client");
  if (opts.socket_io && opts.fill != 0) give_up("--fill is for Phoenix's protocol");
#ifndef WITH_TLS
  if (opts.tls) give_up("built without OpenSSL");
#endif
  static run all(opts);
  return all();
}

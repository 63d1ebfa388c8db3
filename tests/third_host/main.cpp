// A host that shares nothing with the adapters: one thread, one epoll, a game that ticks every 20 ms, and sockets, an HTTP
// head and RFC 6455 frames of its own. Written from README.md and the headers' comments alone.
//
//   third_host --port P        prints `listening on 127.0.0.1:P`; SIGTERM drains and exits 0

#include <phx/phx.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr phx::duration patience = 30s;  ///< with who does not finish its request, or does not hang up

// ---- what the handshake needs: SHA-1 and base64, for 60 bytes

[[nodiscard]] std::array<unsigned char, 20> sha1(std::string text) {
  std::uint64_t const bits = std::uint64_t{text.size()} * 8;
  text += '\x80';
  while (text.size() % 64 != 56) text += '\0';
  for (unsigned shift = 64; shift != 0; shift -= 8) text += static_cast<char>((bits >> (shift - 8)) & 0xFF);

  auto const turned = [](std::uint32_t x, unsigned by) { return (x << by) | (x >> (32 - by)); };
  std::array<std::uint32_t, 5> h{0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  for (std::size_t block = 0; block < text.size(); block += 64) {
    std::array<std::uint32_t, 80> w{};
    for (std::size_t i = 0; i < 64; ++i) w[i / 4] = (w[i / 4] << 8) | static_cast<unsigned char>(text[block + i]);
    for (std::size_t i = 16; i < 80; ++i) w[i] = turned(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    auto [a, b, c, d, e] = h;
    for (std::size_t i = 0; i < 80; ++i) {
      std::uint32_t const f = i < 20              ? (b & c) | (~b & d)
                              : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d)
                                                  : b ^ c ^ d;
      std::uint32_t const k = i < 20 ? 0x5A827999u : i < 40 ? 0x6ED9EBA1u : i < 60 ? 0x8F1BBCDCu : 0xCA62C1D6u;
      std::uint32_t const next = turned(a, 5) + f + e + k + w[i];
      e = std::exchange(d, std::exchange(c, turned(std::exchange(b, std::exchange(a, next)), 30)));
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
  }
  std::array<unsigned char, 20> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>((h[i / 4] >> (24 - 8 * (i % 4))) & 0xFF);
  return out;
}

[[nodiscard]] std::string base64(std::span<unsigned char const> bytes) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) three = (three << 8) | (i + k < bytes.size() ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += i + k > bytes.size() ? '=' : letters[(three >> (18 - 6 * k)) & 63];
  }
  return out;
}

[[nodiscard]] std::string accept_key(std::string_view key) {
  return base64(sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
}

// ---- the head of a request

constexpr std::size_t longest_head = 8 * 1024;
constexpr std::size_t most_headers = 64;

struct request_head {
  std::string_view method, target;
  std::vector<phx::header> headers{};
};

[[nodiscard]] bool is_token(std::string_view s) noexcept {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

/// @param text with the empty line at its end. The answer views it.
[[nodiscard]] std::optional<request_head> parse_head(std::string_view text) {
  auto const line = [&text] {
    std::size_t const end = text.find("\r\n");
    std::string_view const here = text.substr(0, end);
    text.remove_prefix(end + 2);
    return here;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto const c = static_cast<unsigned char>(text[i]);
    bool const wrong = c == '\r'   ? i + 1 == text.size() || text[i + 1] != '\n'
                       : c == '\n' ? i == 0 || text[i - 1] != '\r'
                                   : c < 0x20 && c != '\t';
    if (wrong) return std::nullopt;
  }
  request_head head{};
  std::string_view const first = line();
  std::size_t const one = first.find(' '), two = first.rfind(' ');
  if (one == std::string_view::npos || one == two || first.substr(two + 1) != "HTTP/1.1") return std::nullopt;
  head.method = first.substr(0, one);
  head.target = first.substr(one + 1, two - one - 1);
  if (!is_token(head.method) || head.target.empty() || head.target.find(' ') != std::string_view::npos) return std::nullopt;
  for (std::string_view next = line(); !next.empty(); next = line()) {
    std::size_t const colon = next.find(':');
    if (colon == std::string_view::npos || !is_token(next.substr(0, colon)) || head.headers.size() == most_headers)
      return std::nullopt;
    std::string_view value = next.substr(colon + 1);
    while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
    while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
    head.headers.push_back({next.substr(0, colon), value});
  }
  return head;
}

[[nodiscard]] std::string_view reason_phrase(unsigned status) noexcept {
  switch (status) {
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 408: return "Request Timeout";
    case 414: return "URI Too Long";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return "Refused";
  }
}

[[nodiscard]] std::string as_bytes(phx::http_answer const& no) {
  std::string out = "HTTP/1.1 " + std::to_string(no.status) + " " + std::string(reason_phrase(no.status)) + "\r\n";
  for (auto const& [name, value] : no.headers) out += name + ": " + value + "\r\n";
  return out + "content-length: " + std::to_string(no.body.size()) + "\r\nconnection: close\r\n\r\n" + no.body;
}

// ---- frames

/// Reads RFC 6455 frames of a client out of pieces of any size. Keeps no message: its parts go on as they come, so what one
/// peer can make it hold is a header and one control frame.
class frame_reader {
 public:
  enum class kind : std::uint8_t { part, ping, pong, close };
  /// Unmasks in place. `each(kind, op, bytes, last)` answers false to stop. @return false: stopped, or a broken frame.
  template <class F>
  [[nodiscard]] bool feed(std::span<char> in, F&& each) {
    while (!in.empty()) {
      if (!in_payload_) {
        header_[have_++] = static_cast<unsigned char>(in.front());
        in = in.subspan(1);
        if (have_ < 2 || have_ < header_size()) continue;
        if (!begin()) return broken_ = true, false;
      }
      std::size_t const here = static_cast<std::size_t>(std::min<std::uint64_t>(left_, in.size()));
      if (here == 0 && left_ != 0) break;
      std::span<char> const bytes = in.first(here);
      for (char& c : bytes) {
        c = static_cast<char>(static_cast<unsigned char>(c) ^ header_[have_ - 4 + (mask_at_ & 3u)]);
        ++mask_at_;
      }
      in = in.subspan(here);
      left_ -= here;
      if (left_ == 0) in_payload_ = false, have_ = 0;
      if ((code_ & 8u) == 0) {
        bool const last = left_ == 0 && fin_;
        if (last) fragmented_ = false;
        if (!each(kind::part, op_, std::string_view(bytes.data(), bytes.size()), last)) return false;
        continue;
      }
      std::copy(bytes.begin(), bytes.end(), control_.begin() + static_cast<std::ptrdiff_t>(control_size_));
      control_size_ += bytes.size();
      if (left_ != 0) continue;
      std::string_view const whole(control_.data(), control_size_);
      kind const what = code_ == 8 ? kind::close : code_ == 9 ? kind::ping : kind::pong;
      if (!each(what, code_ == 9 ? phx::opcode::ping : phx::opcode::pong, whole, true)) return false;
    }
    return true;
  }
  [[nodiscard]] bool broken() const noexcept { return broken_; }

 private:
  [[nodiscard]] std::size_t header_size() const noexcept {
    unsigned const length = header_[1] & 0x7Fu;
    return 2u + (length == 126 ? 2u : length == 127 ? 8u : 0u) + ((header_[1] & 0x80u) != 0 ? 4u : 0u);
  }
  /// The header is whole: is it one a client may send here?
  [[nodiscard]] bool begin() noexcept {
    fin_ = (header_[0] & 0x80u) != 0;
    code_ = header_[0] & 0x0Fu;
    left_ = header_[1] & 0x7Fu;
    if (left_ >= 126) {
      std::size_t const bytes = left_ == 126 ? 2 : 8;
      left_ = 0;
      for (std::size_t i = 0; i < bytes; ++i) left_ = (left_ << 8) | header_[2 + i];
      if (left_ >> 63 != 0) return false;
    }
    if ((header_[0] & 0x70u) != 0 || (header_[1] & 0x80u) == 0) return false;
    switch (code_) {
      case 0:
        if (!fragmented_) return false;
        break;
      case 1:
      case 2:
        if (fragmented_) return false;
        fragmented_ = true;
        op_ = code_ == 1 ? phx::opcode::text : phx::opcode::binary;
        break;
      case 8:
      case 9:
      case 10:
        if (!fin_ || left_ > control_.size()) return false;
        control_size_ = 0;
        break;
      default: return false;
    }
    mask_at_ = 0;
    in_payload_ = true;
    return true;
  }

  std::array<unsigned char, 14> header_{};
  std::size_t have_ = 0;
  std::uint64_t left_ = 0;
  unsigned mask_at_ = 0, code_ = 0;
  phx::opcode op_ = phx::opcode::text;
  bool fin_ = false, in_payload_ = false, fragmented_ = false, broken_ = false;
  std::array<char, 125> control_{};
  std::size_t control_size_ = 0;
};

[[nodiscard]] std::string control_frame(unsigned code, std::string_view bytes) {
  std::string out;
  out += static_cast<char>(0x80u | code);
  out += static_cast<char>(bytes.size());
  return out.append(bytes);
}

// ---- who connects, and the room they play in

struct player {
  std::string name;
};

[[nodiscard]] phx::connect_outcome<player> who_is(phx::connect_info const& asked) {
  std::string_view const name = asked.param("name").value_or("");
  if (name.empty()) return phx::http_answer{};
  return phx::connected<player>{{std::string(name)}, "player:" + std::string(name)};
}

struct room {
  explicit room(player const&) {}
  phx::join_result join(phx::joining& here, phx::message const& in) {
    here.send("greet", in.payload);  // nothing can be pushed before the join is answered
    return phx::join_result::ok(phx::payload::json(R"({"tick_ms":20})"));
  }
  phx::outcome handle_info(phx::context& here, phx::message const& in) {
    here.push("welcome", in.payload);
    return phx::outcome::noreply();
  }
  phx::outcome handle_in(phx::context& here, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "crash") throw std::runtime_error("asked to");
    if (in.event == "kick") {
      here.disconnect("player:kicked");
      return phx::outcome::reply();
    }
    if (in.event != "shout")
      return phx::outcome::reply(phx::status::error, phx::payload::json(R"({"reason":"unknown event"})"));
    if (!here.broadcast("shout", in.payload)) return phx::outcome::reply(phx::status::error);
    return phx::outcome::noreply();
  }
};

/// What was here before the channels came: it counts, and says so once in a while.
struct game {
  std::uint64_t ticks = 0;
  void tick(phx::loop& to) {
    if (++ticks % 10 != 0) return;
    std::string const text = "{\"tick\":" + std::to_string(ticks) + "}";
    // Called outside of receive and run: whoever is sent to waits in the loop's list until the turn ends.
    (void)to.publish({.topic = "room:lobby", .event = "tick", .payload = phx::payload::json(text)});
  }
};

// ---- the server

class descriptor {
 public:
  explicit descriptor(int fd = -1) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  descriptor(descriptor const&) = delete;
  descriptor& operator=(descriptor const&) = delete;
  ~descriptor() { reset(); }
  void reset() noexcept {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

class alarm_clock {
 public:
  alarm_clock() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  void wake() noexcept {
    std::uint64_t const one = 1;
    [[maybe_unused]] auto const written = ::write(fd_.get(), &one, sizeof one);
  }
  void heard() noexcept {
    std::uint64_t count = 0;
    [[maybe_unused]] auto const got = ::read(fd_.get(), &count, sizeof count);
  }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  descriptor fd_;
};

struct connection;

struct wire {
  connection* to;
  phx::send_status send(phx::frame const& f) noexcept;
  void close(phx::close_frame why) noexcept;
  [[nodiscard]] std::size_t buffered() const noexcept;
  void flush() noexcept;
};
static_assert(phx::Transport<wire>);

using router = phx::router<player>;

struct connection {
  enum class state : std::uint8_t {
    head,     ///< of the request; nothing of phx yet
    open,
    closing,  ///< what waits is written, then FIN; what comes is thrown away until the peer's FIN, or `deadline`
    dead,     ///< to be destroyed at the end of the turn
  };

  connection(descriptor own, int into, sockaddr_in from, phx::time_point until) noexcept
      : fd(std::move(own)), epoll(into), peer(from), deadline(until) {}

  /// Never destroys, never calls phx: phx may be in the middle of something.
  void write_out() noexcept {
    while (written < out.size()) {
      ssize_t const n = ::send(fd.get(), out.data() + written, out.size() - written, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
      if (n < 0) {
        now = state::dead;
        return;
      }
      written += static_cast<std::size_t>(n);
    }
    if (written == out.size()) {
      out.clear();
      written = 0;
      if (now == state::closing && !std::exchange(said_fin, true)) ::shutdown(fd.get(), SHUT_WR);
    } else if (written > 64 * 1024 && written > out.size() / 2) {
      out.erase(0, written);
      written = 0;
    }
    if (bool const want = !out.empty(); want != wants_out) {
      wants_out = want;
      epoll_event e{};
      e.events = EPOLLIN | (want ? static_cast<std::uint32_t>(EPOLLOUT) : 0u);
      e.data.ptr = this;
      ::epoll_ctl(epoll, EPOLL_CTL_MOD, fd.get(), &e);
    }
  }
  [[nodiscard]] bool append(std::string_view bytes) noexcept {
    if (now == state::dead) return false;
    try {
      out.append(bytes);
      return true;
    } catch (std::bad_alloc const&) {
      return false;
    }
  }
  void close_after_writing(phx::time_point until) noexcept {
    if (now == state::dead) return;
    now = state::closing;
    deadline = until;
    write_out();
  }
  void say_close(unsigned code, std::string_view reason) noexcept {
    std::array<char, 125> bytes{static_cast<char>((code >> 8) & 0xFFu), static_cast<char>(code & 0xFFu)};
    std::size_t const size = std::min<std::size_t>(reason.size(), bytes.size() - 2);
    std::copy_n(reason.data(), size, bytes.begin() + 2);
    char const head[] = {static_cast<char>(0x88), static_cast<char>(size + 2)};
    if (!append({head, sizeof head}) || !append({bytes.data(), size + 2})) now = state::dead;
  }

  descriptor fd;
  int epoll;
  sockaddr_in peer;
  state now = state::head;
  phx::time_point deadline;
  std::string in{};  // the head, until it is whole
  std::string out{};
  std::size_t written = 0;
  bool wants_out = false, said_fin = false;
  frame_reader frames{};
  std::optional<phx::socket<wire, router>> phoenix{};  // last: it goes first, and speaks to all of the above
};

phx::send_status wire::send(phx::frame const& f) noexcept {
  if (to->now == connection::state::dead) return phx::send_status::closed;
  if (!to->append(f.websocket())) return phx::send_status::dropped;
  // limits::outbound is only looked at when this says `congested`
  return buffered() > 64 * 1024 ? phx::send_status::congested : phx::send_status::ok;
}
void wire::close(phx::close_frame why) noexcept {
  to->say_close(static_cast<unsigned>(why.code), why.reason);
  to->close_after_writing(steady_clock::now() + patience);
}
std::size_t wire::buffered() const noexcept { return to->out.size() - to->written; }
void wire::flush() noexcept { to->write_out(); }

class server {
 public:
  server() {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGINT);
    ::sigprocmask(SIG_BLOCK, &term, nullptr);
    signals_ = descriptor(::signalfd(-1, &term, SFD_NONBLOCK | SFD_CLOEXEC));
    app_.channel<room>("room:*");
  }

  [[nodiscard]] int run(std::uint16_t port) {
    if (!listen_on(port)) {
      std::fprintf(stderr, "cannot listen on 127.0.0.1:%u: %s\n", unsigned{port}, std::strerror(errno));
      return 1;
    }
    phx::time_point next_tick = steady_clock::now(), next_run = next_tick;
    while (!done()) {
      phx::time_point const due = std::min(next_tick, next_run);
      auto const wait = std::chrono::ceil<std::chrono::milliseconds>(due - steady_clock::now()).count();
      std::array<epoll_event, 64> events{};
      int const count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                     static_cast<int>(std::clamp<decltype(wait)>(wait, 0, 20)));
      phx::time_point const now = steady_clock::now();
      bool woken = false;
      {
        auto const turn = loop_.turn();  // one write for each connection, whatever happens in here
        for (int i = 0; i < count; ++i) {
          epoll_event const& e = events[static_cast<std::size_t>(i)];
          if (e.data.ptr == &listener_) accept_all(now);
          else if (e.data.ptr == &alarm_) alarm_.heard(), woken = true;
          else if (e.data.ptr == &signals_) drain(now);
          else serve(*static_cast<connection*>(e.data.ptr), e.events, now);
        }
        if (now >= next_tick) {
          game_.tick(loop_);
          next_tick = std::max(next_tick + 20ms, now);
        }
        if (woken || now >= next_run) next_run = loop_.run(now);
      }
      sweep(now);
    }
    return 0;
  }

 private:
  [[nodiscard]] bool listen_on(std::uint16_t port) {
    listener_ = descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int const yes = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(listener_.get(), 1024) != 0 ||
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&at), &size) != 0)
      return false;
    if (!watch(listener_.get(), &listener_) || !watch(alarm_.fd(), &alarm_) || !watch(signals_.get(), &signals_))
      return false;
    std::printf("listening on 127.0.0.1:%u\n", unsigned{ntohs(at.sin_port)});
    std::fflush(stdout);
    return true;
  }
  [[nodiscard]] bool watch(int fd, void* as) noexcept {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.ptr = as;
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) == 0;
  }

  void accept_all(phx::time_point now) {
    for (;;) {
      sockaddr_in from{};
      socklen_t size = sizeof from;
      descriptor fd(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd.get() < 0) return;
      if (connections_.size() >= most_connections) continue;
      int const yes = 1;
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      auto fresh = std::make_unique<connection>(std::move(fd), epoll_.get(), from, now + patience);
      if (watch(fresh->fd.get(), fresh.get())) connections_.push_back(std::move(fresh));
    }
  }

  void serve(connection& c, std::uint32_t ready, phx::time_point now) {
    if (c.now == connection::state::dead) return;
    if ((ready & EPOLLOUT) != 0) c.write_out();
    if ((ready & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || c.now == connection::state::dead) return;
    ssize_t const n = ::recv(c.fd.get(), buffer_.data(), buffer_.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (n <= 0) {
      c.now = connection::state::dead;  // sweep tells phx
      return;
    }
    std::span<char> const bytes(buffer_.data(), static_cast<std::size_t>(n));
    if (c.now == connection::state::head) read_head(c, bytes, now);
    else if (c.now == connection::state::open) read_frames(c, bytes, now);
  }

  void refuse(connection& c, phx::http_answer const& no, phx::time_point now) {
    if (!c.append(as_bytes(no))) c.now = connection::state::dead;
    c.close_after_writing(now + patience);
  }

  void read_head(connection& c, std::span<char> bytes, phx::time_point now) {
    std::size_t const searched = c.in.size() < 3 ? 0 : c.in.size() - 3;
    c.in.append(bytes.data(), bytes.size());
    std::size_t const end = c.in.find("\r\n\r\n", searched);
    if (end == std::string::npos ? c.in.size() > longest_head : end > longest_head) return refuse(c, {.status = 431}, now);
    if (end == std::string::npos) return;
    std::optional<request_head> const head = parse_head(std::string_view(c.in).substr(0, end + 4));
    if (!head) return refuse(c, {.status = 400}, now);

    std::array<char, INET_ADDRSTRLEN> address{};
    ::inet_ntop(AF_INET, &c.peer.sin_addr, address.data(), address.size());
    phx::peer_data const peer{.address = address.data(), .port = ntohs(c.peer.sin_port)};
    phx::request const request = phx::request::of(head->method, head->target, head->headers, peer);
    if (loop_.draining()) return refuse(c, phx::refuse(phx::refusal::draining).answer, now);
    auto judged = phx::handshake(mount_, app_, request);
    if (auto const* no = std::get_if<phx::refused_request>(&judged)) return refuse(c, no->answer, now);
    if (auto const no = phx::upgrade_refusal(request)) return refuse(c, no->answer, now);
    auto admitted = std::get<phx::admission<player>>(std::move(judged));

    std::string yes = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n";
    yes += "sec-websocket-accept: " + accept_key(request.header("sec-websocket-key").value_or(""));
    if (!admitted.subprotocol.empty()) yes += "\r\nsec-websocket-protocol: " + admitted.subprotocol;
    if (!c.append(yes + "\r\n\r\n")) {
      c.now = connection::state::dead;
      return;
    }
    c.write_out();  // phx flushes what it sent, and this it did not
    if (c.now == connection::state::dead) return;
    c.now = connection::state::open;
    c.phoenix.emplace(loop_, app_, std::move(admitted), wire{&c}, now);
    std::string rest = std::exchange(c.in, {}).substr(end + 4);
    read_frames(c, rest, now);
  }

  void read_frames(connection& c, std::span<char> bytes, phx::time_point now) {
    bool const on = c.frames.feed(bytes, [&](frame_reader::kind what, phx::opcode op, std::string_view part, bool last) {
      switch (what) {
        case frame_reader::kind::close:
          // Our answer is theirs, or 1002 where theirs is none.
          c.phoenix->gone(phx::lost::normal);
          if (part.empty()) (void)c.append(control_frame(8, {}));
          else if (part.size() == 1) c.say_close(1002, {});
          else (void)c.append(control_frame(8, part.substr(0, 2)));
          c.close_after_writing(now + patience);
          return false;
        case frame_reader::kind::ping:
          if (c.out.size() - c.written > mount_.bounds.outbound || !c.append(control_frame(10, part)))
            c.now = connection::state::dead;
          else
            c.write_out();
          break;
        case frame_reader::kind::pong:
        case frame_reader::kind::part: break;
      }
      // false: Transport::close has been called, nothing more of this client is read
      return c.now == connection::state::open && c.phoenix->receive(op, part, last, now);
    });
    if (on || !c.frames.broken() || c.now != connection::state::open) return;
    c.phoenix->gone(phx::lost::normal);
    c.say_close(static_cast<unsigned>(phx::close_code::protocol_error), "protocol error");
    c.close_after_writing(now + patience);
  }

  /// Destroys what is dead or late. Telling phx that a client is gone may have it write to others, and find them dead too.
  void sweep(phx::time_point now) {
    for (bool again = true; std::exchange(again, false);) {
      for (std::size_t i = 0; i < connections_.size();) {
        connection& c = *connections_[i];
        bool const late = (c.now == connection::state::head || c.now == connection::state::closing) && now >= c.deadline;
        if (c.now != connection::state::dead && !late) {
          ++i;
          continue;
        }
        std::swap(connections_[i], connections_.back());
        std::unique_ptr<connection> const doomed = std::move(connections_.back());
        connections_.pop_back();
        doomed->now = connection::state::dead;
        if (doomed->phoenix) doomed->phoenix->gone(phx::lost::error);
        again = true;
      }
    }
  }

  void drain(phx::time_point now) {
    signalfd_siginfo which{};
    while (::read(signals_.get(), &which, sizeof which) > 0) continue;
    listener_.reset();
    for (auto const& c : connections_)
      if (c->now == connection::state::head) c->now = connection::state::dead;
    loop_.drain({.batch = 1000, .interval = 100ms, .limit = 5s}, now);
  }
  /// sockets() is 0 once all of them were told to close; their last bytes are ours to see off.
  [[nodiscard]] bool done() const noexcept { return loop_.draining() && loop_.sockets() == 0 && connections_.empty(); }

  static constexpr std::size_t most_connections = 10'000;

  // The order is phx's: the waker, the endpoint and the dispatcher outlive the loop, the loop and the mount the sockets.
  descriptor epoll_{::epoll_create1(EPOLL_CLOEXEC)};
  descriptor signals_{}, listener_{};
  alarm_clock alarm_{};
  router app_{&who_is};
  phx::mount const mount_{.path = "/socket", .origins = {"//127.0.0.1", "//localhost"}, .bounds = {.frame = 1'000'000}};
  phx::endpoint everywhere_{};
  phx::loop loop_{everywhere_, alarm_};
  game game_{};
  std::array<char, 64 * 1024> buffer_{};
  std::vector<std::unique_ptr<connection>> connections_{};
};

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  std::string_view const text = argc == 3 && argv[1] == std::string_view("--port") ? argv[2] : "";
  if (auto const [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), port);
      text.empty() || wrong != std::errc{} || end != text.data() + text.size()) {
    std::fprintf(stderr, "usage: %s --port P\n", argv[0]);
    return 2;
  }
  return std::make_unique<server>()->run(port);
}

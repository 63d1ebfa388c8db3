#ifndef PHX_TESTS_SUPPORT_RAW_CLIENT_HPP
#define PHX_TESTS_SUPPORT_RAW_CLIENT_HPP
// A WebSocket client for tests, which can send valid and invalid data: bytes out, frames in. POSIX sockets without any code
// of phx, so that both cannot share a mistake.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace phx_tests {

class raw_client {
 public:
  struct message {
    unsigned first = 0;  ///< the frame's first byte; 0: none came, the connection ended (`ended`) or time ran out
    std::string data{};
    bool ended = false;

    /// The code of a close frame, 1005 without one; 1006: ended without a close frame; 0: none of these.
    [[nodiscard]] unsigned closed() const {
      if (ended) return 1006;
      if (first != 0x88) return 0;
      if (data.size() < 2) return 1005;
      return static_cast<unsigned>(static_cast<unsigned char>(data[0])) << 8 | static_cast<unsigned char>(data[1]);
    }
  };
  using milliseconds = std::chrono::milliseconds;
  static constexpr milliseconds patience{30'000};  ///< only a failure waits this long

  /// @param receive_buffer size of the kernel's buffer, set before connecting; 0: the default.
  explicit raw_client(std::uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer != 0) (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr const*>(&to), sizeof to) == 0;
  }
  raw_client(raw_client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_), in_(std::move(other.in_)) {}
  raw_client& operator=(raw_client&&) = delete;
  virtual ~raw_client() { drop(); }

  [[nodiscard]] bool connected() const { return connected_; }
  /// Closes the connection without a close frame.
  void drop() {
    if (fd_ >= 0) (void)::close(std::exchange(fd_, -1));
  }
  /// Shuts down sending; reading continues.
  void end_sending() { (void)::shutdown(fd_, SHUT_WR); }

  /// False if the other end no longer accepts data.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t const n = put(bytes);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// As `send`, but gives up if the kernel accepts nothing for this long.
  bool send_within(std::string_view bytes, milliseconds most) {
    while (!bytes.empty()) {
      pollfd p{fd_, POLLOUT, 0};
      if (::poll(&p, 1, static_cast<int>(most.count())) != 1) return false;
      ssize_t const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  [[nodiscard]] static std::string upgrade_request(std::string_view target, std::string_view more = {}) {
    return "GET " + std::string(target) +
           " HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
           "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n" +
           std::string(more) + "\r\n";
  }
  /// Sends an upgrade and reads the head of the response. @return its status, 0 if none came.
  unsigned open(std::string_view target = "/socket/websocket?vsn=2.0.0", std::string_view more_headers = {},
                milliseconds most = patience) {
    return send(upgrade_request(target, more_headers)) ? read_head(most) : 0;
  }
  unsigned read_head(milliseconds most = patience) {
    auto const until = now() + most;
    std::size_t end = std::string::npos;
    while ((end = in_.find("\r\n\r\n")) == std::string::npos)
      if (!more(until)) return 0;
    head_ = in_.substr(0, end + 4);
    in_.erase(0, end + 4);
    return head_.starts_with("HTTP/1.1 ") ? static_cast<unsigned>(std::atoi(head_.c_str() + 9)) : 0;
  }
  [[nodiscard]] std::string const& head() const { return head_; }
  /// After read_head: the body by its content-length, or the error.
  std::string read_body() {
    auto const until = now() + patience;
    std::size_t const at = head_.find("content-length: ");
    std::size_t const size = at == std::string::npos ? 0 : static_cast<std::size_t>(std::atoll(head_.c_str() + at + 16));
    while (in_.size() < size && more(until)) {
    }
    std::string const body = in_.substr(0, size);
    in_.erase(0, body.size());
    return body;
  }
  /// Everything until the other end closes.
  std::string read_all(milliseconds most = patience) {
    auto const until = now() + most;
    while (more(until)) {
    }
    return std::exchange(in_, {});
  }

  /// A frame as a client sends it: masked, with the shortest length form.
  [[nodiscard]] static std::string frame(unsigned first, std::string_view body, std::uint32_t mask = 0x12345678) {
    std::string out{static_cast<char>(first)};
    auto const wide = [&](unsigned mark, unsigned bytes) {
      out += static_cast<char>(0x80 | mark);
      for (unsigned i = bytes; i-- > 0;) out += static_cast<char>(std::uint64_t{body.size()} >> (8 * i));
    };
    if (body.size() > 65535)
      wide(127, 8);
    else if (body.size() > 125)
      wide(126, 2);
    else
      out += static_cast<char>(0x80 | body.size());
    char key[4];
    for (unsigned i = 0; i < 4; ++i) key[i] = static_cast<char>(mask >> (24 - 8 * i));
    out.append(key, 4);
    for (std::size_t i = 0; i < body.size(); ++i) out += static_cast<char>(body[i] ^ key[i & 3]);
    return out;
  }
  bool text(std::string_view body) { return send(frame(0x81, body)); }
  bool close(unsigned code) {
    char const body[2] = {static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
    return send(frame(0x88, {body, 2}));
  }

  /// The next frame.
  message read(milliseconds most = patience) {
    auto const until = now() + most;
    for (;;) {
      if (in_.size() >= 2) {
        std::uint64_t size = static_cast<unsigned char>(in_[1]) & 0x7f;
        unsigned const wide = size == 126 ? 2 : size == 127 ? 8 : 0;
        if (in_.size() >= 2 + wide) {
          if (wide != 0) size = 0;
          for (unsigned i = 0; i < wide; ++i) size = size << 8 | static_cast<unsigned char>(in_[2 + i]);
          if (in_.size() >= 2 + wide + size) {
            message m{static_cast<unsigned char>(in_[0]), in_.substr(2 + wide, static_cast<std::size_t>(size))};
            in_.erase(0, 2 + wide + static_cast<std::size_t>(size));
            return m;
          }
        }
      }
      if (!more(until)) return {0, {}, ended_};
    }
  }
  /// Reads until the end; the code it ended with, as message::closed. 0: it did not end.
  unsigned read_close(milliseconds most = patience) {
    for (;;) {
      message const m = read(most);
      if (m.closed() != 0 || m.first == 0) return m.closed();
    }
  }
  /// True if the other end closes the connection within `most`, with or without frames.
  bool read_end(milliseconds most = patience) {
    (void)read_all(most);
    return ended_;
  }

 protected:
  using clock = std::chrono::steady_clock;
  [[nodiscard]] static clock::time_point now() { return clock::now(); }
  /// The number of bytes sent; may block. 0 or less: the connection has ended.
  virtual ssize_t put(std::string_view bytes) { return ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  /// The number of bytes received. 0: the end. Less: nothing yet.
  virtual ssize_t take(char* into, std::size_t room) {
    ssize_t const n = ::recv(fd_, into, room, MSG_DONTWAIT);
    return n < 0 && errno != EAGAIN ? 0 : n;
  }
  /// True once the socket is ready for `item`.
  [[nodiscard]] bool ready(short item, clock::time_point until) const {
    auto const left = std::chrono::duration_cast<milliseconds>(until - now()).count();
    pollfd p{fd_, item, 0};
    return left > 0 && ::poll(&p, 1, static_cast<int>(left)) == 1;
  }

 private:
  bool more(clock::time_point until) {
    char bytes[16 * 1024];
    ssize_t n = -1;
    if (ended_ || now() >= until) return false;
    while ((n = take(bytes, sizeof bytes)) < 0)
      if (!ready(POLLIN, until)) return false;
    ended_ = n <= 0;
    if (n > 0) in_.append(bytes, static_cast<std::size_t>(n));
    return n > 0;
  }

 protected:
  int fd_;

 private:
  bool connected_ = false, ended_ = false;
  std::string in_, head_;
};

}  // namespace phx_tests

#endif

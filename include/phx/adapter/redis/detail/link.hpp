#ifndef PHX_ADAPTER_REDIS_DETAIL_LINK_HPP
#define PHX_ADAPTER_REDIS_DETAIL_LINK_HPP
// One connection to Redis: TCP or a unix socket, with TLS or without. It never blocks; its owner calls poll().

#include <phx/adapter/redis/detail/replies.hpp>
#include <phx/adapter/redis_options.hpp>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

struct socket_address {
  sockaddr_storage bytes{};
  socklen_t size = 0;
};

/// The addresses of Redis. Blocks while the name is resolved. Empty: `error` tells the reason.
[[nodiscard]] inline std::vector<socket_address> redis_addresses(redis::options const& o, std::string& error) {
  std::vector<socket_address> found;
  socket_address a;
  if (!o.unix_socket.empty()) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    if (o.unix_socket.size() >= sizeof at.sun_path) {
      error = "the path of the unix socket is too long";
      return found;
    }
    std::memcpy(at.sun_path, o.unix_socket.data(), o.unix_socket.size());
    std::memcpy(&a.bytes, &at, sizeof at);
    a.size = sizeof at;
    found.push_back(a);
    return found;
  }
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (int const fault = getaddrinfo(o.host.c_str(), std::to_string(o.port).c_str(), &wanted, &list); fault != 0) {
    error = o.host + ": " + gai_strerror(fault);
    return found;
  }
  for (addrinfo const* i = list; i != nullptr; i = i->ai_next) {
    if (i->ai_addrlen > sizeof a.bytes) continue;
    std::memcpy(&a.bytes, i->ai_addr, i->ai_addrlen);
    a.size = i->ai_addrlen;
    found.push_back(a);
  }
  freeaddrinfo(list);
  if (found.empty()) error = o.host + ": no address";
  return found;
}

class redis_link {
 public:
  redis_link() = default;
  redis_link(redis_link const&) = delete;
  redis_link& operator=(redis_link const&) = delete;
  ~redis_link() { disconnect(); }

  /// Starts to connect to the first address that is reachable. @param addresses must outlive the link.
  /// @return false: none is.
  [[nodiscard]] bool connect(std::vector<socket_address> const& addresses, redis::options const& o) {
    addresses_ = &addresses;
    options_ = &o;
    return connect_next();
  }
  /// Queues a command. @param greeting part of AUTH, SELECT, SUBSCRIBE: the link is greeted() once all of these were
  /// answered.
  void send(std::initializer_list<std::string_view> words, bool greeting) {
    unwritten_ += '*' + std::to_string(words.size()) + "\r\n";
    for (std::string_view const w : words) ((unwritten_ += '$' + std::to_string(w.size()) + "\r\n") += w) += "\r\n";
    if (greeting) ++greetings_;
  }
  /// Queues commands that are already encoded.
  void send(std::string_view encoded) { unwritten_ += encoded; }

  [[nodiscard]] bool greeted() const noexcept { return state_ == state::open && greetings_ == 0; }
  [[nodiscard]] bool greeting() const noexcept { return greetings_ != 0; }
  void greeting_answered() noexcept { --greetings_; }
  [[nodiscard]] bool unwritten() const noexcept { return !unwritten_.empty(); }
  /// There may be more to read at once: do not wait in poll().
  [[nodiscard]] bool more() const noexcept { return more_; }
  [[nodiscard]] std::string const& error() const noexcept { return error_; }
  [[nodiscard]] redis_replies& replies() noexcept { return *replies_; }

  /// For poll(). @param reads false: nothing is to be read.
  [[nodiscard]] pollfd to_poll(bool reads) const noexcept {
    short events = 0;
    if (state_ == state::connecting)
      events = POLLOUT;
    else if (state_ == state::securing)
      events = handshake_wants_;
    else
      events = static_cast<short>((reads ? read_wants_ : 0) | (unwritten_.empty() ? 0 : write_wants_));
    return {fd_, events, 0};
  }
  /// Does what is possible without waiting. @param ready the result of poll(). @param reads false: read nothing.
  /// @param received set if anything was received. @return false: the connection has ended, error() tells the reason.
  [[nodiscard]] bool advance(short ready, bool reads, bool& received) {
    if (ready == 0 && !(more_ && reads)) return true;
    if (state_ == state::connecting && !connected()) return false;
    if (state_ == state::connecting) return true;
    if (state_ == state::securing && !continue_handshake()) return false;
    if (state_ != state::open) return true;
    if (!unwritten_.empty() && !write()) return false;
    constexpr short readable = POLLIN | POLLERR | POLLHUP;
    bool const may_read = more_ || (ready & (readable | read_wants_)) != 0;
    return !reads || !may_read || read(received);
  }

 private:
  enum class state : std::uint8_t { connecting, securing, open };

  [[nodiscard]] bool fail(std::string_view reason) {
    error_ = reason;
    return false;
  }
  [[nodiscard]] bool fail(int code) { return fail(std::generic_category().message(code)); }
  void disconnect() noexcept {
    channel_.reset();
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  [[nodiscard]] bool connect_next() {
    for (; next_address_ < addresses_->size();) {
      socket_address const& a = (*addresses_)[next_address_++];
      disconnect();
      fd_ = ::socket(a.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd_ < 0) return fail(errno);
      int const yes = 1;
      if (a.bytes.ss_family != AF_UNIX) (void)setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      sockaddr const* const at = reinterpret_cast<sockaddr const*>(&a.bytes);
      if (::connect(fd_, at, a.size) == 0 || errno == EINPROGRESS || errno == EINTR) {
        state_ = state::connecting;
        return true;
      }
      (void)fail(errno);
    }
    return false;
  }
  [[nodiscard]] bool connected() {
    int fault = 0;
    socklen_t size = sizeof fault;
    (void)getsockopt(fd_, SOL_SOCKET, SO_ERROR, &fault, &size);
    if (fault != 0) {
      (void)fail(fault);
      return connect_next();
    }
    replies_ = std::make_unique<redis_replies>();
    state_ = options_->secure ? state::securing : state::open;
    if (options_->secure) {
      channel_ = options_->secure(fd_, options_->host);
      if (channel_ == nullptr) return fail("no memory for TLS");
      handshake_wants_ = POLLIN | POLLOUT;
    }
    return true;
  }
  [[nodiscard]] bool continue_handshake() {
    switch (channel_->handshake()) {
      case secure_channel::progress::done: state_ = state::open; return true;
      case secure_channel::progress::want_read: handshake_wants_ = POLLIN; return true;
      case secure_channel::progress::want_write: handshake_wants_ = POLLOUT; return true;
      case secure_channel::progress::failed: break;
    }
    return fail("TLS: " + channel_->error());
  }
  using secure_channel = redis::secure_channel;
  using progress = secure_channel::progress;

  [[nodiscard]] bool write() {
    write_wants_ = POLLOUT;
    while (written_ < unwritten_.size()) {
      std::size_t count = 0;
      progress const p = write_some(unwritten_.data() + written_, unwritten_.size() - written_, count);
      if (p == progress::failed) return false;
      if (p == progress::want_read) write_wants_ = POLLIN;
      if (p != progress::done) return true;
      written_ += count;
    }
    written_ = 0;
    unwritten_.clear();
    return true;
  }
  [[nodiscard]] bool read(bool& received) {
    constexpr int max_rounds = 16;  // then the other connection gets its turn
    read_wants_ = POLLIN;
    more_ = false;
    char buffer[16'384];
    for (int i = 0; i < max_rounds; ++i) {
      std::size_t count = 0;
      progress const p = read_some(buffer, sizeof buffer, count);
      if (p == progress::failed) return false;
      if (p == progress::want_write) read_wants_ = POLLOUT;
      if (p != progress::done) return true;
      received = true;
      if (!replies_->feed(buffer, count)) return fail(replies_->error());
    }
    more_ = true;
    return true;
  }
  [[nodiscard]] progress write_some(char const* bytes, std::size_t size, std::size_t& count) {
    if (channel_ != nullptr) {
      progress const p = channel_->write(bytes, size, count);
      if (p == progress::failed) (void)fail("TLS: " + channel_->error());
      return p;
    }
    ssize_t const n = ::send(fd_, bytes, size, MSG_NOSIGNAL);
    return moved(n, count, progress::want_write);
  }
  [[nodiscard]] progress read_some(char* into, std::size_t size, std::size_t& count) {
    if (channel_ != nullptr) {
      progress const p = channel_->read(into, size, count);
      if (p == progress::failed) (void)fail("TLS: " + channel_->error());
      return p;
    }
    ssize_t const n = ::recv(fd_, into, size, 0);
    if (n == 0) {
      (void)fail("Redis closed the connection");
      return progress::failed;
    }
    return moved(n, count, progress::want_read);
  }
  [[nodiscard]] progress moved(ssize_t n, std::size_t& count, progress otherwise) {
    if (n >= 0) {
      count = static_cast<std::size_t>(n);
      return progress::done;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return otherwise;
    (void)fail(errno);
    return progress::failed;
  }

  std::vector<socket_address> const* addresses_ = nullptr;
  redis::options const* options_ = nullptr;
  std::size_t next_address_ = 0;
  int fd_ = -1;
  state state_ = state::connecting;
  short handshake_wants_ = 0, read_wants_ = POLLIN, write_wants_ = POLLOUT;
  bool more_ = false;
  int greetings_ = 0;  // of its first commands, those that are not answered
  std::string unwritten_{};
  std::size_t written_ = 0;  // of it
  std::string error_{};
  std::unique_ptr<secure_channel> channel_{};
  std::unique_ptr<redis_replies> replies_{};
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

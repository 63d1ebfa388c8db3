// epoll_host --port P: the `load:*` channel of the lab server with phx directly on epoll, one thread. The difference to the
// bare server is the cost of phx; the difference to the lab server is the cost of Boost.Asio. It has only the parts of a
// host that the measurements need: no choice of address, no limit of connections, no timeout of handshakes.
#include <phx/adapter/blocking/detail/posix.hpp>
#include <phx/http/request_reader.hpp>
#include <phx/phx.hpp>
#include <phx/socket/receive_frames.hpp>

#include <sys/epoll.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

namespace {

struct load {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "shout") return ctx.broadcast("shout", in.payload), phx::outcome::noreply();
    return phx::outcome::stop(phx::exit_reason::error);
  }
};
using application = phx::router<>;

class host;

class connection {
 public:
  connection(host& h, int fd, std::size_t most) : host_(&h), frames_(most), fd_(fd) {}
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;
  ~connection() { (void)::close(fd_); }

  // The Transport. Frames of the current turn wait in `unsent_frames_`, as handles; bytes that the kernel did not accept, in
  // `rest_`.
  phx::send_status send(phx::frame const& f) noexcept {
    waiting_ += f.websocket().size();
    bool const taken = phx::detail::try_invoke([&] { unsent_frames_.push_back(f); }, [](char const*) noexcept {});
    return !taken ? phx::send_status::dropped : waiting_ > 256 * 1024 ? phx::send_status::congested : phx::send_status::ok;
  }
  void flush() noexcept;
  void close(phx::close_frame frame) noexcept {
    say(phx::websocket::control_frame::close(frame));
    leaving_ = true;
  }
  [[nodiscard]] std::size_t buffered() const noexcept { return waiting_; }

  // The host's part.
  void ready(unsigned events) noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  struct transport {
    connection* to;
    phx::send_status send(phx::frame const& f) noexcept { return to->send(f); }
    void flush() noexcept { to->flush(); }
    void close(phx::close_frame frame) noexcept { to->close(frame); }
    [[nodiscard]] std::size_t buffered() const noexcept { return to->buffered(); }
  };
  using client = phx::socket<transport, application>;

  void readable() noexcept;
  [[nodiscard]] bool open(std::span<char>& bytes) noexcept;
  void feed(std::span<char> bytes) noexcept;
  void say(phx::websocket::control_frame const& f) noexcept {
    flush();
    rest_.append(f.bytes());
    waiting_ += f.bytes().size();
    write({});
  }
  /// The waiting bytes, then `more`.
  void write(std::string_view more) noexcept;
  void hang_up() noexcept;

  host* host_;
  std::optional<client> phoenix_{};
  phx::websocket::frame_reader frames_;
  std::vector<phx::frame> unsent_frames_{};
  std::string rest_{};  // before the upgrade: the incomplete request
  std::size_t waiting_ = 0;
  int fd_;
  bool leaving_ = false, blocked_ = false, gone_ = false;
};

class host {
 public:
  host(application& app, std::uint16_t port) : app_(app), loop_(*this), listener_("127.0.0.1", port) {
    if (listener_.fd < 0) phx::detail::no_value("cannot listen");
    poller_ = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener_.fd, nullptr, EPOLLIN);
    std::printf("listening on 127.0.0.1:%u\n", unsigned{listener_.port});
    std::fflush(stdout);
  }
  void wake() noexcept {}  // no other thread posts to this loop, and it runs after every turn

  void run() noexcept {
    phx::time_point next = phx::detail::clock_now();
    for (;;) {
      int const n = epoll_wait(poller_, events_, 1024, phx::detail::milliseconds_until(next));
      for (int i = 0; i < n; ++i) {
        auto* const c = static_cast<connection*>(events_[i].data.ptr);
        if (c == nullptr)
          accept_all();
        else
          c->ready(events_[i].events);
      }
      next = loop_.run(phx::detail::clock_now());
      for (connection* const c : dead_) delete c;
      dead_.clear();
    }
  }
  void watch(int mode, int fd, connection* c, unsigned value) noexcept {
    epoll_event e{};
    e.events = value;
    e.data.ptr = c;
    (void)epoll_ctl(poller_, mode, fd, &e);
  }
  void bury(connection& c) noexcept { dead_.push_back(&c); }

  [[nodiscard]] application& app() noexcept { return app_; }
  [[nodiscard]] phx::mount const& where() const noexcept { return mount_; }
  [[nodiscard]] phx::loop& loop() noexcept { return loop_; }
  char in[64 * 1024], out[64 * 1024];

 private:
  void accept_all() {
    for (int fd; (fd = accept4(listener_.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      int const on = 1;
      (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watch(EPOLL_CTL_ADD, fd, new connection(*this, fd, mount_.bounds.frame), EPOLLIN);
    }
  }

  application& app_;
  phx::mount mount_{};
  phx::loop loop_;
  phx::detail::listener listener_;
  int poller_ = -1;
  epoll_event events_[1024]{};
  std::vector<connection*> dead_{};
};

void connection::ready(unsigned events) noexcept {
  if (gone_) return;
  if ((events & EPOLLOUT) != 0) write({});
  if (!gone_ && (events & ~static_cast<unsigned>(EPOLLOUT)) != 0) readable();
}
void connection::readable() noexcept {
  ssize_t const n = ::recv(fd_, host_->in, sizeof host_->in, 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) return hang_up();
  std::span<char> bytes(host_->in, static_cast<std::size_t>(n));
  if (leaving_ || (!phoenix_ && !open(bytes))) return;
  feed(bytes);
}
bool connection::open(std::span<char>& bytes) noexcept {
  rest_.append(bytes.data(), bytes.size());
  phx::http::request_reader head;
  phx::http::progress const read = head.read(rest_);
  if (read == phx::http::progress::need_more) return false;
  if (read == phx::http::progress::complete) {
    phx::http::request const request = head.request({"127.0.0.1", 0, {}});
    auto judged = phx::handshake(host_->where(), host_->app(), request);
    auto* const admitted = std::get_if<0>(&judged);
    if (admitted != nullptr && !phx::upgrade_refusal(request)) {
      std::string const answer = phx::websocket::switching_protocols(request);
      bytes = bytes.last(rest_.size() - head.size());
      rest_ = std::string();
      phoenix_.emplace(host_->loop(), host_->app(), std::move(*admitted), transport{this}, phx::detail::clock_now());
      waiting_ += answer.size();
      write(answer);
      return !gone_;
    }
  }
  hang_up();
  return false;
}
void connection::feed(std::span<char> bytes) noexcept {
  // One turn per read. One turn for all readable connections would reply when their data has left the cache.
  auto const turn = host_->loop().turn();
  auto const write = [this](phx::websocket::control_frame const& f) { say(f); };
  if (phx::receive_frames(*phoenix_, frames_, bytes, phx::detail::clock_now(), write) ==
      phx::frames_result::closed_by_client) {
    leaving_ = true;
    (void)::shutdown(fd_, SHUT_WR);
  }
}
void connection::flush() noexcept {
  if (unsent_frames_.empty()) return;
  if (unsent_frames_.size() == 1 && rest_.empty()) {
    write(unsent_frames_.front().websocket());
  } else {
    std::size_t have = 0;
    for (phx::frame const& f : unsent_frames_) {
      std::string_view const bytes = f.websocket();
      if (bytes.size() > sizeof host_->out - have) {
        write({host_->out, have});
        have = 0;
      }
      if (bytes.size() > sizeof host_->out) {
        write(bytes);
        continue;
      }
      std::memcpy(host_->out + have, bytes.data(), bytes.size());
      have += bytes.size();
    }
    write({host_->out, have});
  }
  unsent_frames_.clear();
}
void connection::write(std::string_view more) noexcept {
  if (gone_) return;
  std::string_view const first = rest_.empty() ? more : std::string_view(rest_.append(more));
  ssize_t const n = first.empty() ? 0 : ::send(fd_, first.data(), first.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return;  // the next read reports the end
  std::size_t const taken = n < 0 ? 0 : static_cast<std::size_t>(n);
  waiting_ -= taken;
  if (!rest_.empty())
    rest_.erase(0, taken);
  else
    rest_.assign(first.substr(taken));
  if (blocked_ == !rest_.empty()) return;
  blocked_ = !blocked_;
  host_->watch(EPOLL_CTL_MOD, fd_, this, blocked_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
}
void connection::hang_up() noexcept {
  if (gone_) return;
  gone_ = true;
  phoenix_.reset();
  host_->watch(EPOLL_CTL_DEL, fd_, this, 0);
  host_->bury(*this);
}

}  // namespace

int main(int argc, char** argv) {
  int const port = argc == 3 && std::strcmp(argv[1], "--port") == 0 ? std::atoi(argv[2]) : -1;
  if (port < 0) return std::fprintf(stderr, "usage: %s --port P\n", argv[0]), 2;
  std::signal(SIGPIPE, SIG_IGN);
  application app;
  app.channel<load>("load:*");
  auto const server = std::make_unique<host>(app, static_cast<std::uint16_t>(port));
  server->run();
}

#ifndef PHX_TESTS_SUPPORT_REDIS_SERVER_HPP
#define PHX_TESTS_SUPPORT_REDIS_SERVER_HPP
// A redis-server of the test: on a free port, in memory, ended with the test. Never the machine's.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace support {

/// A socket of 127.0.0.1: connected to `port`, or -1.
[[nodiscard]] inline int connected_to(std::uint16_t port) {
  int const fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(port);
  if (connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0) return fd;
  close(fd);
  return -1;
}
/// Not an ephemeral port (from 32768 on): a server that restarts finds it free.
[[nodiscard]] inline std::uint16_t free_port() {
  std::random_device random;
  for (;;) {
    int const fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto const port = static_cast<std::uint16_t>(20'000 + random() % 12'000);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons(port);
    bool const free = bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
    close(fd);
    if (free) return port;
  }
}

class redis_server {
 public:
  explicit redis_server(std::vector<std::string> more = {}) : more_(std::move(more)) {
    // Another process may take the port in the meantime: then another one.
    for (int i = 0; i < 10 && pid_ < 0; ++i) {
      port = free_port();
      start();
    }
  }
  redis_server(redis_server const&) = delete;
  redis_server& operator=(redis_server const&) = delete;
  ~redis_server() { kill(); }

  [[nodiscard]] bool runs() const { return pid_ > 0; }
  /// Starts it on the same port. Returns once it responds.
  void start() {
    std::vector<std::string> words{"redis-server", "--port", std::to_string(port), "--bind", "127.0.0.1", "--save", "",
                                   "--appendonly", "no",     "--loglevel",         "warning"};
    words.insert(words.end(), more_.begin(), more_.end());
    std::vector<char*> arguments;
    for (std::string& w : words) arguments.push_back(w.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      (void)dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
      execvp("redis-server", arguments.data());
      _exit(127);
    }
    for (;;) {
      int const fd = connected_to(port);
      if (fd >= 0) {
        close(fd);
        return;
      }
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  /// kill -9
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  /// It keeps its connections, and no longer responds: as if the network were cut.
  void freeze() { ::kill(pid_, SIGSTOP); }
  void thaw() { ::kill(pid_, SIGCONT); }

  std::uint16_t port = 0;

 private:
  std::vector<std::string> more_;
  pid_t pid_ = -1;
};

}  // namespace support

#endif

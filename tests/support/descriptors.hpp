#ifndef TESTS_SUPPORT_DESCRIPTORS_HPP
#define TESTS_SUPPORT_DESCRIPTORS_HPP

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <string>

namespace phx_tests {

/// Until `restored` this process can open only one more descriptor. @pre meanwhile none is closed.
class one_descriptor {
 public:
  one_descriptor() {
    int const next = ::dup(0);
    REQUIRE(next >= 0);
    ::close(next);
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit few = before_;
    few.rlim_cur = static_cast<rlim_t>(next) + 1;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  }
  one_descriptor(one_descriptor const&) = delete;
  one_descriptor& operator=(one_descriptor const&) = delete;
  ~one_descriptor() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }
  void restored() { REQUIRE(::setrlimit(RLIMIT_NOFILE, &before_) == 0); }

 private:
  rlimit before_{};
};

/// The open descriptors.
[[nodiscard]] inline std::set<int> open_descriptors() {
  std::set<int> all;
  for (auto const& at : std::filesystem::directory_iterator("/proc/self/fd")) {
    int const fd = std::stoi(at.path().filename().string());
    if (::fcntl(fd, F_GETFD) >= 0) all.insert(fd);
  }
  return all;
}
/// The descriptors opened since `before` that a child process would inherit, with their names. @param opened set to their
/// number
[[nodiscard]] inline std::string inherited_since(std::set<int> const& before, std::size_t& opened) {
  std::string all;
  opened = 0;
  for (int const fd : open_descriptors()) {
    if (before.contains(fd)) continue;
    int const flags = ::fcntl(fd, F_GETFD);
    if (flags < 0) continue;  // the directory's own
    ++opened;
    std::error_code ignored;
    if ((flags & FD_CLOEXEC) == 0)
      all += std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), ignored).string() + ' ';
  }
  return all;
}

}  // namespace phx_tests

#endif

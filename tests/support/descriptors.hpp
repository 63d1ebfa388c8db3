#ifndef TESTS_SUPPORT_DESCRIPTORS_HPP
#define TESTS_SUPPORT_DESCRIPTORS_HPP

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <unistd.h>

namespace phx_tests {

/// Until `restored` this process can open one descriptor more and no other. @pre meanwhile none is closed.
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

}  // namespace phx_tests

#endif

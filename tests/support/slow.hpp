#ifndef PHX_TESTS_SUPPORT_SLOW_HPP
#define PHX_TESTS_SUPPORT_SLOW_HPP
// A client that stops reading, over a real connection: channels that send more than kernels buffer, one for each policy that
// drops, and the expected result of each.

#include <phx/phx.hpp>

#include <doctest/doctest.h>

#include <atomic>

#include "support/eventually.hpp"
#include "support/raw_client.hpp"

namespace phx_tests {

template <phx::pressure_policy Policy>
struct flooding {
  static constexpr phx::pressure_policy when_slow = Policy;
  static constexpr int messages = 400;  // of 64 KiB: far more than kernels buffer on loopback
  static inline std::atomic<int> floods{0};

  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event != "flood") return phx::outcome::reply();
    std::string const fill(65536, 'x');
    for (int i = 0; i < messages; ++i)
      (void)ctx.push("flood", phx::payload::json("{\"n\":" + std::to_string(i) + ",\"fill\":\"" + fill + "\"}"),
                     std::to_string(i % 4));
    ++floods;
    return phx::outcome::noreply();
  }
};
using floods_newest = flooding<phx::pressure_policy::drop_newest>;
using floods_oldest = flooding<phx::pressure_policy::drop_oldest>;
using floods_latest = flooding<phx::pressure_policy::keep_latest>;

inline void serve_floods(phx::router<>& app) {
  app.channel<floods_newest>("newest").channel<floods_oldest>("oldest").channel<floods_latest>("latest");
}
[[nodiscard]] inline phx::mount flooded_mount() {
  phx::mount m;
  m.bounds.outbound = 2'000'000;
  m.bounds.tell_dropped = true;
  return m;
}

/// Joins, is flooded while it does not read, then reads. @return the numbers of the messages it got. Replies must all
/// arrive, and the number of missed messages too.
template <class Flooding>
std::vector<int> flooded(raw_client& c, std::string const& topic) {
  REQUIRE(c.open() == 101);
  REQUIRE(c.text(R"(["1","1",")" + topic + R"(","phx_join",{}])"));
  REQUIRE(c.read().data.find("phx_reply") != std::string::npos);
  int const before = Flooding::floods;
  REQUIRE(c.text(R"(["1","2",")" + topic + R"(","flood",{}])"));
  REQUIRE(eventually([&] { return Flooding::floods == before + 1; }));
  REQUIRE(c.text(R"(["1","3",")" + topic + R"(","echo",{}])"));
  std::vector<int> numbers;
  int missed = -1;
  for (bool answered = false; !answered || missed < 0;) {
    std::string const m = c.read(std::chrono::seconds(30)).data;
    REQUIRE_FALSE(m.empty());
    if (std::size_t const n = m.find("\"n\":"); n != m.npos)
      numbers.push_back(std::atoi(m.c_str() + n + 4));
    else if (std::size_t const d = m.find(R"("phx_dropped",{"count":)"); d != m.npos)
      missed = std::atoi(m.c_str() + d + 23);
    else
      answered = m == R"(["1","3",")" + topic + R"(","phx_reply",{"status":"ok","response":{}}])";
  }
  CHECK(numbers.size() + static_cast<std::size_t>(missed) == static_cast<std::size_t>(Flooding::messages));
  CHECK(missed > 0);
  return numbers;
}

/// @param client makes one, with the given receive buffer
template <class F>
void all_policies_that_drop(F client) {
  int const last = floods_newest::messages - 1;
  {
    raw_client c = client(4096);
    std::vector<int> const got = flooded<floods_newest>(c, "newest");
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(got[i] == static_cast<int>(i));
  }
  {
    raw_client c = client(4096);
    std::vector<int> const got = flooded<floods_oldest>(c, "oldest");
    REQUIRE_FALSE(got.empty());
    for (std::size_t i = 1; i < got.size(); ++i) CHECK(got[i - 1] < got[i]);
    CHECK(got.back() == last);
  }
  {
    raw_client c = client(4096);
    std::vector<int> const got = flooded<floods_latest>(c, "latest");
    // In order for each key, and the latest of each.
    int newest[4] = {-1, -1, -1, -1};
    for (int const n : got) {
      CHECK(newest[n % 4] < n);
      newest[n % 4] = n;
    }
    for (int k = 0; k < 4; ++k) CHECK(newest[k] == last - 3 + k);
  }
}

}  // namespace phx_tests

#endif

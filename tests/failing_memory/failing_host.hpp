#ifndef TESTS_FAILING_MEMORY_FAILING_HOST_HPP
#define TESTS_FAILING_MEMORY_FAILING_HOST_HPP
// What the tests of hosts without memory share: which allocations fail, on the threads that take part, and the clients that must
// be served afterwards.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "support/heap.hpp"
#include "support/raw_client.hpp"

namespace phx_tests {

/// The allocations that fail on the participating threads.
struct failures {
  enum class kind { none, one, all_from, one_in };
  std::atomic<kind> which{kind::none};
  std::atomic<long> n{0};
  std::atomic<long> calls{0};

  void begin(kind verdict, long number) {
    n = number;
    calls = 0;
    which = verdict;
  }
  /// Returns the number of allocations.
  long end() {
    which = kind::none;
    return calls;
  }
  [[nodiscard]] bool fails() noexcept {
    kind const now = which.load(std::memory_order_relaxed);
    if (now == kind::none) return false;
    long const call = ++calls;
    switch (now) {
      case kind::one: return call == n;
      case kind::all_from: return call >= n;
      case kind::one_in:
        return (static_cast<unsigned long>(call) * 0x9e3779b97f4a7c15UL >> 40) % static_cast<unsigned long>(n) == 0;
      case kind::none: break;
    }
    return false;
  }
};
inline failures memory;
inline thread_local bool takes_part = false;

/// Runs before any thread takes part.
inline bool const heap_is_hooked = (
    support::heap::fails = []() noexcept { return takes_part && memory.fails(); }, true);

/// Joins, gets an echo, a timer's push and its own broadcast. True if all of it worked.
inline bool speaks_on(raw_client& c, std::chrono::milliseconds most) {
  if (c.open("/socket/websocket?vsn=2.0.0", {}, most) != 101) return false;
  c.text(R"(["1","1","room:a","phx_join",{}])");
  if (c.read(most).data.find("\"ok\"") == std::string::npos) return false;
  c.text(R"(["1","2","room:a","echo",{"n":1}])");
  if (c.read(most).data.find("{\"n\":1}") == std::string::npos) return false;
  c.text(R"(["1","3","room:a","shout",{"n":2}])");
  if (c.read(most).data.find("shout") == std::string::npos) return false;
  c.text(R"(["1","4","room:a","later",{"n":3}])");
  if (c.read(most).data.find("due") == std::string::npos) return false;
  c.close(1000);
  return c.read(most).closed() == 1000;
}
inline bool asks(raw_client& c, std::string_view request, std::chrono::milliseconds most, std::string* answer = nullptr) {
  if (!c.send(request) || c.read_head(most) != 200) return false;
  std::string const body = c.read_body();
  if (answer != nullptr) *answer = body;
  return true;
}
inline bool polls(std::uint16_t port, std::chrono::milliseconds most) {
  std::string const target = "/socket/longpoll?vsn=2.0.0";
  raw_client c(port);
  std::string text;
  if (!asks(c, "GET " + target + " HTTP/1.1\r\nhost: h\r\n\r\n", most, &text)) return false;
  std::size_t const at = text.find("\"token\":\"");
  if (at == std::string::npos) return false;
  std::string const mine = target + "&token=" + text.substr(at + 9, text.find('"', at + 9) - at - 9);
  std::string const join = R"(["1","1","room:a","phx_join",{}])";
  if (!asks(c,
            "POST " + mine + " HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: " +
                std::to_string(join.size()) + "\r\n\r\n" + join,
            most, &text))
    return false;
  return asks(c, "GET " + mine + " HTTP/1.1\r\nhost: h\r\n\r\n", most, &text) && text.find("phx_reply") != std::string::npos;
}
inline bool speaks(std::uint16_t port, std::chrono::milliseconds most) {
  raw_client c(port);
  return speaks_on(c, most);
}
inline bool requests(std::uint16_t port, std::chrono::milliseconds most) {
  raw_client c(port);
  for (std::string_view const path : {"/now", "/later", "/now"})
    if (!asks(c, "GET " + std::string(path) + " HTTP/1.1\r\nhost: h\r\n\r\n", most)) return false;
  raw_client half(port);
  return half.send("GET / HTTP/1.1\r\n") && half.read_head(most) == 408;
}

}  // namespace phx_tests

#endif

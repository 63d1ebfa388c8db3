// The conversations recorded from Phoenix, played directly against the core (see README.md).

#include "../../examples/lab_server/actors.hpp"
#include "contracts.hpp"
#include "player.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace {

namespace cf = conformance;

[[nodiscard]] std::string contents(std::filesystem::path const& of) {
  std::ifstream in(of, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
[[nodiscard]] std::filesystem::path event_loop() { return PHX_CONVERSATIONS; }

/// True if it can be played without RFC 6455, and without HTTP except for long-polling.
[[nodiscard]] bool in_process(cf::value const& conversation) {
  if (cf::value const* const transport = conversation.find("transport");
      transport != nullptr && transport->text == "longpoll")
    return true;
  for (cf::value const& step : conversation.find("steps")->items) {
    for (char const* const detail : {"http", "send_raw", "send_fragments", "ping", "pong"})
      if (step.find(detail) != nullptr) return false;
    if (cf::value const* const open = step.find("open"); open != nullptr && open->find("deflate") != nullptr) return false;
  }
  return true;
}

/// Without exceptions a handler that raises can stop with an error instead; a join that raises cannot.
[[nodiscard]] bool crashes_in_join(cf::value const& conversation) {
  for (cf::value const& step : conversation.find("steps")->items)
    for (char const* const way : {"send", "lp_post"})
      if (cf::value const* const value = step.find(way);
          value != nullptr && cf::text(*value).find(R"("crash":true)") != std::string::npos)
        return true;
  return false;
}

[[nodiscard]] std::vector<cf::value> const& conversations() {
  static std::vector<cf::value> const all = [] {
    std::vector<std::filesystem::path> paths;
    for (auto const& entry : std::filesystem::directory_iterator(event_loop() / "recorded")) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    std::vector<cf::value> found;
    for (auto const& path : paths) {
      std::optional<cf::value> one = cf::reader(contents(path)).whole();
      REQUIRE_MESSAGE(one, path.string());
      if (in_process(*one)) found.push_back(*std::move(one));
    }
    return found;
  }();
  return all;
}
[[nodiscard]] std::size_t expected() {
  std::string const counts = contents(event_loop() / "expected_counts");
  constexpr std::string_view label = "\nin_process ";
  std::size_t const at = counts.find(label);
  REQUIRE(at != std::string::npos);
  return std::stoul(counts.substr(at + label.size()));
}

/// @param play (conversation, which of equal keys) -> the difference found
template <class Play>
void play_all(char const* mode, Play play) {
  std::size_t played = 0, passed = 0, skipped = 0;
  for (cf::value const& conversation : conversations()) {
    std::string const name = conversation.find("name")->text;
#ifndef __cpp_exceptions
    if (crashes_in_join(conversation)) {
      std::printf("in process, %s: %s needs a join that throws\n", mode, name.c_str());
      ++skipped;
      continue;
    }
#else
    (void)&crashes_in_join;
#endif
    ++played;
    // The only difference: Phoenix decodes a payload into a map and so replies with the first of two equal keys, phx relays
    // both.
    std::string const wrong =
        play(conversation, name == "malformed/duplicate-keys" ? cf::of_equal_keys::first : cf::of_equal_keys::last);
    if (wrong.empty())
      ++passed;
    else
      FAIL_CHECK(name << ": " << wrong);
  }
  std::printf("in process: %zu played, %zu passed (%s)\n", played, passed, mode);
  CHECK(played + skipped >= expected());
  CHECK(passed == played);
}

/// Plays one conversation against a server of its own.
std::string play_in_loops(std::size_t loops, cf::value const& conversation, cf::of_equal_keys which) {
  using dispatcher = phx::router<lab::session>;
  phx::endpoint endpoint;
  cf::manual_alarms alarms(cf::player<dispatcher>::start);
  cf::world<dispatcher> server(
      loops, endpoint, alarms, [](auto connect) { return dispatcher(connect); }, [] {});
  return cf::player<dispatcher>(server, conversation, which).play();
}
std::string play_elsewhere(std::size_t loops, cf::value const& conversation, cf::of_equal_keys which) {
  using dispatcher = lab::actors<lab::session>;
  phx::endpoint endpoint;
  cf::manual_alarms alarms(cf::player<dispatcher>::start);
  lab::worker_pool workers{alarms, &endpoint};
  cf::world<dispatcher> server(
      loops, endpoint, alarms, [&](auto connect) { return dispatcher(workers, connect); }, [&] { workers.finish(); });
  return cf::player<dispatcher>(server, conversation, which).play();
}

}  // namespace

TEST_CASE("conversations: router, one loop") {
  play_all("router, one loop", [](auto const&... mode) { return play_in_loops(1, mode...); });
}

TEST_CASE("conversations: router, clients on two loops") {
  play_all("router, two loops", [](auto const&... mode) { return play_in_loops(2, mode...); });
}

TEST_CASE("conversations: each channel on one of two other threads") {
  play_all("actors, one loop", [](auto const&... mode) { return play_elsewhere(1, mode...); });
}

TEST_CASE("conversations: each channel on one of two other threads, clients on two loops") {
  play_all("actors, two loops", [](auto const&... mode) { return play_elsewhere(2, mode...); });
}

TEST_CASE("conversations: the requests of Phoenix's integration tests, answered as for old clients") {
  for (char const* const text : cf::contracts) {
    std::optional<cf::value> const conversation = cf::reader(text).whole();
    REQUIRE(conversation);
#ifndef __cpp_exceptions
    if (crashes_in_join(*conversation)) continue;
#endif
    for (std::size_t const loops : {1u, 2u}) {
      std::string const wrong = play_in_loops(loops, *conversation, cf::of_equal_keys::last);
      CHECK_MESSAGE(wrong.empty(), conversation->find("name")->text << ": " << wrong);
    }
  }
}

#include <phx/core/exit_reason.hpp>

#include <doctest/doctest.h>

using phx::exit_reason;

TEST_CASE("exit_reason: normal, shutdown and {shutdown, _} are graceful, all others are not") {
  for (auto const k : {exit_reason::normal, exit_reason::shutdown, exit_reason::left, exit_reason::replaced,
                       exit_reason::closed, exit_reason::draining})
    CHECK(exit_reason(k).graceful());
  for (auto const k : {exit_reason::error, exit_reason::killed, exit_reason::connection_error})
    CHECK_FALSE(exit_reason(k).graceful());
  CHECK(exit_reason(exit_reason::shutdown, "for maintenance").graceful());
}

TEST_CASE("exit_reason: compares by kind and keeps its detail") {
  constexpr exit_reason reason(exit_reason::shutdown, "tired");
  CHECK(reason == exit_reason::shutdown);
  CHECK_FALSE(reason == exit_reason::normal);
  CHECK(reason.what() == exit_reason::shutdown);
  CHECK(reason.detail() == "tired");
  CHECK(exit_reason(exit_reason::normal).detail().empty());
}

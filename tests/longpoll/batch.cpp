#include <phx/longpoll/detail/batch.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

namespace lp = phx::longpoll::detail;

std::vector<std::string> split(std::string_view body) {
  std::vector<std::string> all;
  lp::lines each(body);
  while (auto const line = each.next()) all.emplace_back(*line);
  return all;
}

}  // namespace

TEST_CASE("batch: lines end as Elixir splits them") {
  using v = std::vector<std::string>;
  CHECK(split("") == v{""});
  CHECK(split("a") == v{"a"});
  CHECK(split("a\nb\r\nc") == v{"a", "b", "c"});
  CHECK(split("a\n") == v{"a", ""});
  CHECK(split("\n\n") == v{"", "", ""});
  CHECK(split("a\rb\r") == v{"a\rb\r"});
  CHECK(split("\r\n\r\r\n") == v{"", "\r", ""});
}

#include <phx/longpoll/detail/post_body.hpp>

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

TEST_CASE("post_body: lines are split as by Elixir") {
  using v = std::vector<std::string>;
  CHECK(split("") == v{""});
  CHECK(split("a") == v{"a"});
  CHECK(split("a\nb\r\nc") == v{"a", "b", "c"});
  CHECK(split("a\n") == v{"a", ""});
  CHECK(split("\n\n") == v{"", "", ""});
  CHECK(split("a\rb\r") == v{"a\rb\r"});
  CHECK(split("\r\n\r\r\n") == v{"", "\r", ""});
}

TEST_CASE("post_body: a batch is checked completely, up to the number of lines that are read") {
  auto const check = [](std::string_view body, std::uint32_t most = 100, std::size_t most_base64 = 64) {
    return lp::check_batch(body, most, most_base64);
  };
  CHECK(check("[1]\n[2]").lines == 2);
  CHECK(check("[1]\nAAEC\n[2]").longest == 3);
  CHECK(check("AAECAw==\nAAEC").longest == 4);
  CHECK(check("").lines == 1);  // an empty line, of no bytes
  CHECK(check("").status == 200);
  CHECK(check("[1]\n!").status == 500);
  CHECK(check("AAE").status == 500);  // without padding
  CHECK(check(std::string(68, 'A')).status == 400);
  CHECK(check(std::string(64, 'A')).status == 200);
  CHECK(check("[" + std::string(1000, 'A')).status == 200);
  CHECK(check("[1]\n[2]\n!", 2).status == 200);
  CHECK(check("[1]\n[2]\n!", 2).lines == 2);
}

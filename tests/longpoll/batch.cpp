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
std::optional<std::string> decoded(std::string_view text) {
  std::optional<std::size_t> const size = lp::base64(text, nullptr);
  if (!size) return std::nullopt;
  std::string into(*size, '?');
  CHECK(lp::base64(text, into.data()) == size);
  return into;
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

TEST_CASE("batch: base64 of the standard alphabet, padded") {
  CHECK(decoded("") == "");
  CHECK(decoded("AP8=") == std::string("\0\xff", 2));
  CHECK(decoded("YQ==") == "a");
  CHECK(decoded("YWI=") == "ab");
  CHECK(decoded("YWJj") == "abc");
  CHECK(decoded("+/+/") == "\xfb\xff\xbf");
  for (char const* const bad :
       {"Y", "YQ", "YQ=", "YQ===", "=", "====", "Y===", "-_-_", "YW Jj", "YQ==YQ==", "YWJj\n", "{}", "YWJ\x80"})
    CHECK_MESSAGE(!decoded(bad), bad);
}

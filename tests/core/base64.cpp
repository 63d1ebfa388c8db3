#include <phx/core/text/base64.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using phx::detail::base64_alphabet;
using phx::detail::base64_padding;
using phx::detail::from_base64;
using phx::detail::to_base64;

namespace {

/// Decodes to a string, into a buffer of the exact size, and without output; all three must agree.
std::string read(std::string_view text, base64_alphabet in = base64_alphabet::standard,
                 base64_padding padding = base64_padding::optional) {
  auto const whole = from_base64(text, in, padding);
  auto const size = from_base64(text, in, padding, nullptr);
  REQUIRE(size.has_value() == whole.has_value());
  if (!size) return "no";
  std::vector<char> exact(*size);
  CHECK(from_base64(text, in, padding, exact.data()) == size);
  CHECK(std::string(exact.begin(), exact.end()) == *whole);
  return *whole;
}

}  // namespace

TEST_CASE("base 64: reads what Elixir reads, in either alphabet, with or without padding") {
  CHECK(read("") == "");
  CHECK(read("Zg") == "f");
  CHECK(read("Zg==") == "f");
  CHECK(read("Zh") == "f");  // with unused bits
  CHECK(read("Zm8") == "fo");
  CHECK(read("Zm8=") == "fo");
  CHECK(read("Zm9vYmFy") == "foobar");
  CHECK(read("+/8=") == "\xFB\xFF");
  CHECK(read("-_8") == "no");
  CHECK(read("-_8", base64_alphabet::url) == "\xFB\xFF");
  CHECK(read("+/8", base64_alphabet::url) == "no");
  CHECK(read("-/8", base64_alphabet::both) == "\xFB\xFF");
  for (std::string_view const bad :
       {"Z", "Zg=", "Zg===", "Zg==Zg==", "=", "==", "====", "Z===", "Zm9v=", "Zm 9", "Zm9v\n", "Zm9\xFF"})
    CHECK_MESSAGE(read(bad) == "no", bad);
}

TEST_CASE("base 64: where padding is required, as in the lines of a batch, text without it is refused") {
  auto const padded = [](std::string_view text) { return read(text, base64_alphabet::standard, base64_padding::required); };
  CHECK(padded("") == "");
  CHECK(padded("AP8=") == std::string("\0\xff", 2));
  CHECK(padded("YQ==") == "a");
  CHECK(padded("YWI=") == "ab");
  CHECK(padded("YWJj") == "abc");
  CHECK(padded("+/+/") == "\xfb\xff\xbf");
  for (std::string_view const bad :
       {"Y", "YQ", "YWI", "YQ=", "YQ===", "=", "====", "Y===", "-_-_", "YW Jj", "YQ==YQ==", "YWJj\n", "{}", "YWJ\x80"})
    CHECK_MESSAGE(padded(bad) == "no", bad);
}

TEST_CASE("base 64: writes what it reads; standard with padding, url without") {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    CHECK(read(to_base64(bytes, base64_alphabet::standard), base64_alphabet::standard, base64_padding::required) == bytes);
    CHECK(read(to_base64(bytes, base64_alphabet::url), base64_alphabet::url) == bytes);
    bytes += static_cast<char>(i);
  }
  CHECK(to_base64("", base64_alphabet::standard) == "");
  CHECK(to_base64("f", base64_alphabet::standard) == "Zg==");
  CHECK(to_base64("fo", base64_alphabet::standard) == "Zm8=");
  CHECK(to_base64("foo", base64_alphabet::standard) == "Zm9v");
  CHECK(to_base64("\xff\xfe\xfd", base64_alphabet::standard) == "//79");
  CHECK(to_base64("\xFB\xFF", base64_alphabet::url) == "-_8");
}

#include <phx/core/text/ip_address.hpp>

#include <doctest/doctest.h>

#include <string>

namespace {

using phx::detail::ip_address;

/// The address, written back; "" if it is invalid.
std::string written(std::string_view text) {
  auto const a = ip_address::parse(text);
  return a ? std::string(phx::detail::ip_text(*a).view()) : "";
}

}  // namespace

TEST_CASE("ip: addresses are read, and written as RFC 5952 has them") {
  CHECK(written("1.2.3.4") == "1.2.3.4");
  CHECK(written("0.0.0.0") == "0.0.0.0");
  CHECK(written("255.255.255.255") == "255.255.255.255");
  CHECK(written("::") == "::");
  CHECK(written("::1") == "::1");
  CHECK(written("1::") == "1::");
  CHECK(written("2001:DB8:0:0:0:0:0:1") == "2001:db8::1");
  CHECK(written("2001:db8:0:1:1:1:1:1") == "2001:db8:0:1:1:1:1:1");  // a single group of zeros is not shortened
  CHECK(written("2001:0:0:1:0:0:0:1") == "2001:0:0:1::1");           // the longest run
  CHECK(written("2001:db8:0:0:1:0:0:1") == "2001:db8::1:0:0:1");     // the first of equal runs
  CHECK(written("0001:0203:0405:0607:0809:0a0b:0c0d:0e0f") == "1:203:405:607:809:a0b:c0d:e0f");
  CHECK(written("::ffff:1.2.3.4") == "1.2.3.4");
  CHECK(written("::FFFF:0102:0304") == "1.2.3.4");
  CHECK(written("64:ff9b::1.2.3.4") == "64:ff9b::102:304");
  CHECK(written("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").size() == 39);
}

TEST_CASE("ip: an invalid address is refused") {
  for (char const* const text : {"",
                                 "1",
                                 "1.2.3",
                                 "1.2.3.4.5",
                                 "1.2.3.",
                                 "1.2.3.4.",
                                 ".1.2.3",
                                 "1..2.3",
                                 "256.1.1.1",
                                 "1.2.3.-4",
                                 "1.2.3.04",
                                 "01.2.3.4",
                                 "1.2.3.0x4",
                                 " 1.2.3.4",
                                 "1.2.3.4 ",
                                 "1.2.3.4:5",
                                 ":",
                                 ":::",
                                 "::1::",
                                 "1:2:3:4:5:6:7",
                                 "1:2:3:4:5:6:7:8:9",
                                 "1:2:3:4:5:6:7:8::",
                                 "1::2:3:4:5:6:7:8",
                                 "12345::",
                                 "g::",
                                 "1:",
                                 ":1",
                                 "::1%lo",
                                 "[::1]",
                                 "::1.2.3",
                                 "::1.2.3.4.5",
                                 "::1.2.3.4.",
                                 "::01.2.3.4",
                                 "1.2.3.4::",
                                 "1:2:3:4:5:6:7:1.2.3.4",
                                 "unknown"})
    CHECK_MESSAGE(written(text).empty(), text);
}

TEST_CASE("ip: networks") {
  auto const in = [](char const* a, char const* network, std::size_t bits) {
    return ip_address::parse(a)->is_in(*ip_address::parse(network), bits);
  };
  CHECK(in("2001:db8::1", "2001:db8::", 32));
  CHECK(in("2001:db8::1", "2001:db8::1", 128));
  CHECK(!in("2001:db8::1", "2001:db8::2", 127));
  CHECK(in("2001:db8::3", "2001:db8::2", 127));
  CHECK(in("abcd::", "::", 0));
  CHECK(in("10.1.2.3", "10.0.0.0", 96 + 8));
  CHECK(!in("11.1.2.3", "10.0.0.0", 96 + 8));
  CHECK(ip_address::parse("10.0.0.0")->is_network(96 + 8));
  CHECK(!ip_address::parse("10.0.0.1")->is_network(96 + 8));
  CHECK(ip_address::parse("10.0.0.1")->is_network(128));
}

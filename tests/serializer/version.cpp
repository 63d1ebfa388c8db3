#include <phx/serializer/version.hpp>

#include <doctest/doctest.h>

#include <string>

using phx::satisfies;

static_assert(satisfies("2.0.0", "~> 2.0.0"));
static_assert(!satisfies("3.0.0", "~> 2.0.0"));

TEST_CASE("version: ~> with three numbers requires the same minor version and at least the patch") {
  for (char const* const vsn :
       {"2.0.0", "2.0.9", "2.0.123456789012345678901234567890", "2.0.0+b1", "2.0.0+b1.x-y", "2.0.1-rc.1"}) {
    CAPTURE(vsn);
    CHECK(satisfies(vsn, "~> 2.0.0"));
  }
  for (char const* const vsn :
       {"2.1.0", "1.1.0", "1.0.0", "3.0.0", "20.0.0", "2.0.0-rc.1", "2.0.0-0", "2.0.0-rc.1+b1", "2.1.0-rc.1"}) {
    CAPTURE(vsn);
    CHECK_FALSE(satisfies(vsn, "~> 2.0.0"));
  }
  CHECK(satisfies("1.0.5", "~> 1.0.0"));
  CHECK(satisfies("2.3.4", "~> 2.3.4"));
  CHECK(satisfies("2.3.10", "~> 2.3.9"));
  CHECK_FALSE(satisfies("2.3.3", "~> 2.3.4"));
  CHECK(satisfies("2.3.4", "~>2.3.4"));
}

TEST_CASE("version: ~> with two numbers requires the same major version and at least the minor") {
  for (char const* const vsn : {"1.0.0", "1.0.7", "1.1.0", "1.99.3", "1.1.0-rc.1"}) CHECK(satisfies(vsn, "~> 1.0"));
  for (char const* const vsn : {"1.0.0-rc.1", "0.9.0", "2.0.0", "10.0.0"}) CHECK_FALSE(satisfies(vsn, "~> 1.0"));
  CHECK(satisfies("1.10.0", "~> 1.9"));
  CHECK_FALSE(satisfies("1.8.9", "~> 1.9"));
}

TEST_CASE("version: an incomplete version meets no requirement") {
  for (char const* const vsn :
       {"",          "2",           "2.0",      "2.0.",      "2.0.0.0",     "02.0.0",        "2.00.0",
        "2.0.00",    "v2.0.0",      " 2.0.0",   "2.0.0 ",    "2,0,0",       "two",           "2.0.x",
        "2..0",      ".0.0",        "-2.0.0",   "+2.0.0",    "2.0.0-",      "2.0.0+",        "2.0.0+a..b",
        "2.0.0+a b", "2.0.1-rc..1", "2.0.1-01", "2.0.1-r_c", "2.0.0+b1+b2", "2.0.1-\xc3\xa9"}) {
    CAPTURE(vsn);
    CHECK_FALSE(satisfies(vsn, "~> 2.0.0"));
    CHECK_FALSE(satisfies(vsn, "~> 2.0"));
  }
  CHECK_FALSE(satisfies(std::string_view("2.0.0\0", 6), "~> 2.0.0"));
  CHECK(satisfies("2.0.1-0a", "~> 2.0.0"));
  CHECK(satisfies("2.0.1+01", "~> 2.0.0"));
}

TEST_CASE("version: a requirement other than ~> is never met") {
  for (char const* const asked :
       {"", "2.0.0", ">= 2.0.0", "~> 2", "~> 2.0.0.0", "~> 2.x", "~> 2.0.0-rc", "~> ", "~>", "~ 2.0.0", " ~> 2.0.0"}) {
    CAPTURE(asked);
    CHECK_FALSE(satisfies("2.0.0", asked));
  }
}

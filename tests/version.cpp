#include <phx/version.hpp>

#include <phx/phx.hpp>

#include <doctest/doctest.h>

TEST_CASE("version: text, number and parts agree") {
  std::string const text =
      std::to_string(PHX_VERSION_MAJOR) + '.' + std::to_string(PHX_VERSION_MINOR) + '.' + std::to_string(PHX_VERSION_PATCH);
  CHECK(text == PHX_VERSION);
  CHECK(PHX_VERSION_NUMBER == PHX_VERSION_MAJOR * 10000 + PHX_VERSION_MINOR * 100 + PHX_VERSION_PATCH);
}

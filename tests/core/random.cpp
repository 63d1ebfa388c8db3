#include <phx/core/random.hpp>

#include <doctest/doctest.h>

#include <array>

namespace {

TEST_CASE("random_seed: a number, and another one each time") {
  std::uint64_t const one = phx::random_seed(), two = phx::random_seed();
  CHECK(one != 0);
  CHECK(one != two);
}

TEST_CASE("random_bytes: any number of bytes is filled, and none after them") {
  for (std::size_t n = 0; n != 10; ++n) {
    std::array<unsigned, 11> different{};
    for (int round = 0; round != 64; ++round) {  // each byte is zero in all rounds once in 256^64 runs
      std::array<unsigned char, 11> bytes{};
      REQUIRE(phx::random_bytes(bytes.data(), n));
      for (std::size_t i = 0; i != bytes.size(); ++i) different[i] |= bytes[i];
    }
    for (std::size_t i = 0; i != different.size(); ++i) CHECK((different[i] != 0) == (i < n));
  }
}

}  // namespace

#ifndef PHX_CORE_RANDOM_HPP
#define PHX_CORE_RANDOM_HPP
// Random numbers that nobody can guess. Not in phx.hpp: <random> takes long to compile.

#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>

namespace phx {
inline namespace PHX_BUILD {

/// Fills `n` bytes with random values that nobody can guess, from std::random_device. From any thread.
/// @return false if there is no source of randomness, or no memory for it.
[[nodiscard]] inline bool random_bytes(unsigned char* into, std::size_t n) noexcept {
  return detail::try_invoke(
      [&] {
        std::random_device source;
        for (std::size_t i = 0; i < n; i += sizeof(unsigned)) {
          unsigned const word = source();
          std::memcpy(into + i, &word, n - i < sizeof word ? n - i : sizeof word);
        }
      },
      [](char const*) noexcept {});
}

/// For limits::seed and throttle_options::seed of a host of your own: `phx::loop loop(endpoint, waker, {.seed =
/// phx::random_seed()})`. A new number at each call, from any thread. @return 0 if there is no source of randomness.
[[nodiscard]] inline std::uint64_t random_seed() noexcept {
  unsigned char bytes[8];
  std::uint64_t seed = 0;
  if (random_bytes(bytes, sizeof bytes)) std::memcpy(&seed, bytes, sizeof seed);
  return seed;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

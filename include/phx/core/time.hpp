#ifndef PHX_CORE_TIME_HPP
#define PHX_CORE_TIME_HPP
// Time points and durations, and saturating arithmetic on them. duration::max() means "never" wherever a user or a peer
// passes a duration; plain `now + duration::max()` overflows, which is undefined and in practice gives a time in the past.

#include <phx/core/detail/build.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace phx {
inline namespace PHX_BUILD {

/// phx never reads a clock: the host passes the time of its steady clock, and a test passes any time it likes.
using time_point = std::chrono::steady_clock::time_point;
using duration = std::chrono::steady_clock::duration;

/// a + b, limited to the range of the type. For integer durations only, as everything in this header.
template <class Rep, class Period>
[[nodiscard]] constexpr std::chrono::duration<Rep, Period> saturating_add(
    std::chrono::duration<Rep, Period> a, std::type_identity_t<std::chrono::duration<Rep, Period>> b) noexcept {
  static_assert(std::is_integral_v<Rep>);
  using result = std::chrono::duration<Rep, Period>;
  if (b > result::zero() && a > (result::max)() - b) return (result::max)();
  if (b < result::zero() && a < (result::min)() - b) return (result::min)();
  return a + b;
}

/// a - b, limited to the range of the type.
template <class Rep, class Period>
[[nodiscard]] constexpr std::chrono::duration<Rep, Period> saturating_sub(
    std::chrono::duration<Rep, Period> a, std::type_identity_t<std::chrono::duration<Rep, Period>> b) noexcept {
  static_assert(std::is_integral_v<Rep>);
  using result = std::chrono::duration<Rep, Period>;
  if (b < result::zero() && a > (result::max)() + b) return (result::max)();
  if (b > result::zero() && a < (result::min)() + b) return (result::min)();
  return a - b;
}

/// a * times, limited to the range of the type.
template <class Rep, class Period>
[[nodiscard]] constexpr std::chrono::duration<Rep, Period> saturating_mul(std::chrono::duration<Rep, Period> a,
                                                                          std::type_identity_t<Rep> times) noexcept {
  static_assert(std::is_integral_v<Rep>);
  using result = std::chrono::duration<Rep, Period>;
  if (a == result::zero() || times == 0) return result::zero();
  bool const negative = (a < result::zero()) != (times < 0);
  // Rep's minimum has no positive counterpart, so each pair of signs is compared on its own side of zero.
  Rep const count = a.count(), most = (std::numeric_limits<Rep>::max)(), least = (std::numeric_limits<Rep>::min)();
  bool overflows = false;
  if (!negative)
    overflows = count > 0 ? count > most / times : count < most / times;
  else if (count > 0)
    overflows = times < least / count;
  else
    overflows = count < least / times;
  if (overflows) return negative ? (result::min)() : (result::max)();
  return a * times;
}

/// `d` in another unit, rounded towards zero and limited to the range of `To`.
template <class To, class Rep, class Period>
[[nodiscard]] constexpr To saturating_cast(std::chrono::duration<Rep, Period> d) noexcept {
  static_assert(std::is_integral_v<Rep> && std::is_integral_v<typename To::rep>);
  static_assert(std::numeric_limits<typename To::rep>::digits <= std::numeric_limits<std::intmax_t>::digits &&
                std::numeric_limits<Rep>::digits <= std::numeric_limits<std::intmax_t>::digits);
  using wide = std::chrono::duration<std::intmax_t, Period>;
  using result = std::chrono::duration<std::intmax_t, typename To::period>;
  using factor = std::ratio_divide<Period, typename To::period>;
  std::intmax_t const count = wide(d).count();
  std::intmax_t const in_unit = saturating_mul(result(count), factor::num).count() / factor::den;
  if (in_unit > (To::max)().count()) return (To::max)();
  if (in_unit < (To::min)().count()) return (To::min)();
  return To(static_cast<typename To::rep>(in_unit));
}

/// at + by, limited to the range of the type.
template <class Clock, class Duration>
[[nodiscard]] constexpr std::chrono::time_point<Clock, Duration> saturating_add(std::chrono::time_point<Clock, Duration> at,
                                                                                std::type_identity_t<Duration> by) noexcept {
  return std::chrono::time_point<Clock, Duration>(saturating_add(at.time_since_epoch(), by));
}
/// at - by, limited to the range of the type.
template <class Clock, class Duration>
[[nodiscard]] constexpr std::chrono::time_point<Clock, Duration> saturating_sub(std::chrono::time_point<Clock, Duration> at,
                                                                                std::type_identity_t<Duration> by) noexcept {
  return std::chrono::time_point<Clock, Duration>(saturating_sub(at.time_since_epoch(), by));
}
/// later - earlier, limited to the range of the type.
template <class Clock, class Duration>
[[nodiscard]] constexpr Duration saturating_sub(
    std::chrono::time_point<Clock, Duration> later,
    std::type_identity_t<std::chrono::time_point<Clock, Duration>> earlier) noexcept {
  return saturating_sub(later.time_since_epoch(), earlier.time_since_epoch());
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

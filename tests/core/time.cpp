#include <phx/core/time.hpp>

#include <doctest/doctest.h>

#include <cstdint>

// The library's own durations are tested at their limits in tests/socket/socket_times.cpp.

namespace {

using namespace std::chrono_literals;
using phx::duration;
using phx::saturating_add;
using phx::saturating_cast;
using phx::saturating_mul;
using phx::saturating_sub;
using phx::time_point;

constexpr duration most = (duration::max)(), least = (duration::min)();
constexpr time_point last = (time_point::max)(), first = (time_point::min)(), epoch{};

// All of it works at compile time, where an overflow would be an error.
static_assert(saturating_add(epoch + 5s, 3s) == epoch + 8s);
static_assert(saturating_add(epoch + 5s, -8s) == epoch - 3s);
static_assert(saturating_add(epoch + 5s, most) == last);
static_assert(saturating_add(epoch, most) == last);
static_assert(saturating_add(epoch - 5s, most) == last - 5s);
static_assert(saturating_add(epoch - 5s, least) == first);
static_assert(saturating_add(epoch, least) == first);
static_assert(saturating_add(epoch + 5s, least) == first + 5s);
static_assert(saturating_add(last, duration(1)) == last);
static_assert(saturating_add(last - duration(1), duration(1)) == last);
static_assert(saturating_add(last - duration(2), duration(1)) == last - duration(1));
static_assert(saturating_add(first, duration(-1)) == first);
static_assert(saturating_add(first, most) == epoch - duration(1));
static_assert(saturating_add(last, least) == epoch - duration(1));

static_assert(saturating_sub(epoch + 5s, 3s) == epoch + 2s);
static_assert(saturating_sub(epoch + 5s, least) == last);
static_assert(saturating_sub(epoch, least) == last);
static_assert(saturating_sub(epoch - duration(1), least) == last);
static_assert(saturating_sub(epoch - duration(2), least) == last - duration(1));
static_assert(saturating_sub(epoch - duration(2), most) == first);
static_assert(saturating_sub(epoch - duration(1), most) == first);
static_assert(saturating_sub(epoch, most) == first + duration(1));

static_assert(saturating_sub(epoch + 5s, epoch + 3s) == 2s);
static_assert(saturating_sub(last, first) == most);
static_assert(saturating_sub(first, last) == least);
static_assert(saturating_sub(last, epoch) == most);
static_assert(saturating_sub(epoch, first) == most);
static_assert(saturating_sub(first, epoch) == least);
static_assert(saturating_sub(last, last) == 0s && saturating_sub(first, first) == 0s);

static_assert(saturating_add(most, least) == duration(-1));
static_assert(saturating_add(most, duration(1)) == most && saturating_add(least, duration(-1)) == least);
static_assert(saturating_sub(least, duration(1)) == least && saturating_sub(most, duration(-1)) == most);

static_assert(saturating_mul(duration(3s), 2) == 6s && saturating_mul(duration(3s), -2) == -6s);
static_assert(saturating_mul(duration(-3s), -2) == 6s && saturating_mul(duration(-3s), 2) == -6s);
static_assert(saturating_mul(most, 0) == 0s && saturating_mul(duration(0), -7) == 0s);
static_assert(saturating_mul(most, 2) == most && saturating_mul(most, -2) == least);
static_assert(saturating_mul(least, 2) == least && saturating_mul(least, -2) == most);
static_assert(saturating_mul(most, 1) == most && saturating_mul(least, 1) == least);
static_assert(saturating_mul(most, -1) == least + duration(1) && saturating_mul(least, -1) == most);
static_assert(saturating_mul(duration(1), least.count()) == least && saturating_mul(duration(-1), least.count()) == most);
static_assert(saturating_mul(most / 2, 2) == most - duration(1) && saturating_mul(most / 2 + duration(1), 2) == most);
static_assert(saturating_mul(least / 2, 2) == least && saturating_mul(least / 2 - duration(1), 2) == least);

static_assert(saturating_cast<std::chrono::nanoseconds>(3s) == 3s);
static_assert(saturating_cast<std::chrono::nanoseconds>((std::chrono::hours::max)()) == (std::chrono::nanoseconds::max)());
static_assert(saturating_cast<std::chrono::nanoseconds>((std::chrono::hours::min)()) == (std::chrono::nanoseconds::min)());
static_assert(saturating_cast<std::chrono::nanoseconds>((std::chrono::seconds::max)()) == (std::chrono::nanoseconds::max)());
static_assert(saturating_cast<std::chrono::seconds>((std::chrono::nanoseconds::max)()) ==
              std::chrono::duration_cast<std::chrono::seconds>((std::chrono::nanoseconds::max)()));
static_assert(saturating_cast<std::chrono::milliseconds>(1999us) == 1ms &&
              saturating_cast<std::chrono::milliseconds>(-1999us) == -1ms);
static_assert(saturating_cast<std::chrono::duration<std::int32_t, std::milli>>(std::chrono::hours(1'000'000)).count() ==
              INT32_MAX);
static_assert(saturating_cast<std::chrono::duration<std::int32_t, std::milli>>(-std::chrono::hours(1'000'000)).count() ==
              INT32_MIN);

}  // namespace

TEST_CASE("time: saturates alike at compile time and at run time, on every clock") {
  duration far = most;
  CHECK(saturating_add(std::chrono::steady_clock::now(), far) == last);
  using wall = std::chrono::system_clock;
  wall::time_point const now = wall::now();
  CHECK(saturating_add(now, (wall::duration::max)()) == (wall::time_point::max)());
  CHECK(saturating_sub(now, (wall::duration::max)()) < now);
  CHECK(saturating_sub(now, (wall::duration::min)()) == (wall::time_point::max)());
}

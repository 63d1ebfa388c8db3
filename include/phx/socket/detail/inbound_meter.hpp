#ifndef PHX_SOCKET_DETAIL_INBOUND_METER_HPP
#define PHX_SOCKET_DETAIL_INBOUND_METER_HPP
// Measures how fast a client sends, against an inbound_limit.

#include <phx/core/limits.hpp>
#include <phx/core/token_bucket.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Two token buckets, one for messages and one for bytes. The bytes may be overdrawn by one message, so that a message larger
/// than the burst can pass at all; the messages after it wait longer. Trivially copyable: a channel_slot keeps one in its
/// allocation.
struct inbound_meter {
  time_point messages_full_at = (time_point::min)(), bytes_full_at = (time_point::min)();

  /// Counts a message.
  void count(inbound_limit const& limit, std::size_t bytes, time_point now) noexcept {
    if (limit.messages != 0) messages_full_at = bucket_take(messages_full_at, now, each(limit.messages));
    if (limit.bytes == 0) return;
    auto const size = static_cast<duration::rep>(bytes < max_size ? bytes : max_size);
    bytes_full_at = bucket_take(bytes_full_at, now, saturating_mul(second, size) / rate_of(limit.bytes));
  }
  /// How long the client has to wait until its next message is within the limit; zero: it need not.
  [[nodiscard]] duration wait(inbound_limit const& limit, time_point now) const noexcept {
    duration longest = duration::zero();
    if (limit.messages != 0) longer(longest, messages_full_at, slack(limit, each(limit.messages)), now);
    if (limit.bytes != 0) longer(longest, bytes_full_at, slack(limit, second / rate_of(limit.bytes)), now);
    return longest;
  }

 private:
  static constexpr duration second = std::chrono::seconds(1);
  static constexpr std::size_t max_size = UINT32_MAX;
  [[nodiscard]] static constexpr duration::rep rate_of(std::size_t bytes) noexcept {
    return static_cast<duration::rep>(bytes < max_size ? bytes : max_size);
  }
  [[nodiscard]] static constexpr duration each(std::uint32_t messages) noexcept { return second / messages; }
  /// At least one message is allowed, however short the burst.
  [[nodiscard]] static duration slack(inbound_limit const& limit, duration cost) noexcept {
    return limit.burst > cost ? limit.burst - cost : duration::zero();
  }
  static void longer(duration& longest, time_point full_at, duration slack, time_point now) noexcept {
    if (duration const one = bucket_wait(full_at, slack, now); one > longest) longest = one;
  }
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

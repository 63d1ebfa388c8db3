#ifndef PHX_CONNECT_THROTTLE_HPP
#define PHX_CONNECT_THROTTLE_HPP
// Limits how often one address, and all addresses together, may connect, and delays the answers to refused clients. For hosts
// on the open internet. No I/O, and the time is an argument.

#include <phx/connect/handshake.hpp>
#include <phx/core/text/ip_address.hpp>
#include <phx/core/token_bucket.hpp>

#include <array>
#include <bit>
#include <memory>

namespace phx {
inline namespace PHX_BUILD {

/// A token bucket: `burst` at once, then one per `every`.
struct rate {
  std::uint32_t burst = 0;                   ///< 0: no limit
  duration every = std::chrono::seconds(1);  ///< the time after which one more is allowed
};

/// The settings of a throttle.
struct throttle_options {
  rate each{};  ///< for one IPv4 address, or one IPv6 network of 64 bits; beyond: 429
  rate all{};   ///< for all addresses together; beyond: 503
  /// The number of addresses remembered, rounded up to a power of two; 16 bytes each. If more connect at once, those that are
  /// closest to a full bucket are forgotten; `all` limits a flood from that many addresses.
  std::uint32_t addresses = 16'384;
  /// A secret random number, so that nobody can choose addresses that evict others: phx::random_seed() (core/random.hpp).
  std::uint64_t seed = 0;
  /// How long a client whose connect was refused waits for its answer, which slows down guessing; see delay_until.
  duration refuse_after{};
  std::uint32_t waiting = 256;  ///< how many clients may wait at the same time; others are answered at once
};

namespace detail {
/// SipHash-2-4: without the key, nobody can choose texts that collide.
[[nodiscard]] constexpr std::uint64_t siphash(std::uint64_t k0, std::uint64_t k1, std::string_view text) noexcept {
  std::uint64_t a = k0 ^ 0x736f6d6570736575u, b = k1 ^ 0x646f72616e646f6du, c = k0 ^ 0x6c7967656e657261u,
                d = k1 ^ 0x7465646279746573u;
  auto const rounds = [&](int n) {
    while (n-- != 0) {
      a += b, c += d;
      b = std::rotl(b, 13) ^ a, d = std::rotl(d, 16) ^ c;
      a = std::rotl(a, 32);
      c += b, a += d;
      b = std::rotl(b, 17) ^ c, d = std::rotl(d, 21) ^ a;
      c = std::rotl(c, 32);
    }
  };
  std::uint64_t const length = text.size();
  for (bool last = false; !last;) {
    last = text.size() < 8;
    std::uint64_t word = last ? length << 56 : 0;
    for (std::size_t i = 0; i < 8 && i < text.size(); ++i)
      word |= std::uint64_t{static_cast<unsigned char>(text[i])} << (8 * i);
    d ^= word;
    rounds(2);
    a ^= word;
    if (!last) text.remove_prefix(8);
  }
  c ^= 0xFF;
  rounds(4);
  return a ^ b ^ c ^ d;
}

/// The part of an address that identifies its owner: all of an IPv4 address, 64 bits of an IPv6 address, all of other text (a
/// name, a Unix socket).
class address_owner {
 public:
  constexpr explicit address_owner(std::string_view text) noexcept : text_(text) {
    std::optional<ip_address> const address = ip_address::parse(text.substr(0, text.find('%')));
    if (!address) return;
    bool const v4 = address->is_v4();
    size_ = v4 ? 4 : 8;
    for (std::size_t i = 0; i < size_; ++i) bytes_[i] = static_cast<char>(address->bytes[(v4 ? 12 : 0) + i]);
  }
  [[nodiscard]] constexpr std::string_view bytes() const noexcept {
    return size_ != 0 ? std::string_view(bytes_.data(), size_) : text_;
  }

 private:
  std::string_view text_;
  std::array<char, 8> bytes_{};
  std::size_t size_ = 0;
};
}  // namespace detail

/// Limits new connections. Call try_acquire for every accepted connection; if its request is refused later, ask delay_until when
/// to write the refusal, and call release once it was written. Not thread-safe: with several accepting threads, use a mutex or one
/// throttle per thread. Owns one table of fixed size.
///
///     // a connection was accepted; `peer` is its address as text
///     if (auto refused = t.try_acquire(peer, now)) { report_refusal(loop, *refused); write(refused->answer); close(); }
///     // its request was refused
///     time_point const when = t.delay_until(refused.reason, now);
///     if (when > now) later(when, [&] { t.release(); write(refused.answer); }); else write(refused.answer);
class throttle {
 public:
  /// Allocates the table; nothing else allocates, except the text of a refusal. @par Errors: std::bad_alloc.
  explicit throttle(throttle_options const& opts = {})
      : opts_(opts), each_(opts.each), all_(opts.all), sets_(opts.each.burst == 0 ? 0 : sets_for(opts.addresses)) {
    if (sets_ != 0) table_ = std::make_unique<entry[]>(sets_ * ways);
  }

  /// Counts a connection and decides whether it may proceed. @param address the peer's, as text. @param now the time.
  /// @return nothing if it may; otherwise the refusal, with `Retry-After`. A refused connection is not counted.
  /// @par Errors: std::bad_alloc when it refuses. @par Cost: one hash and eight comparisons.
  [[nodiscard]] std::optional<refused_request> try_acquire(std::string_view address, time_point now) {
    entry* known = nullptr;
    if (sets_ != 0) {
      std::uint64_t const hash = detail::siphash(opts_.seed, ~opts_.seed, detail::address_owner(address).bytes());
      known = &find(hash, now);
      if (duration const wait = each_.wait(known->full_at, now); wait > duration::zero())
        return busy(refusal::too_often, wait, address);
    }
    if (all_.limited())
      if (duration const wait = all_.wait(all_full_at_, now); wait > duration::zero())
        return busy(refusal::too_many, wait, address);
    if (known != nullptr) known->full_at = each_.taken(known->full_at, now);
    if (all_.limited()) all_full_at_ = all_.taken(all_full_at_, now);
    return std::nullopt;
  }

  /// When to write a refusal: `now`, or later. If it is later, call release exactly once: when it was written, or when its
  /// client has gone. Refusals that are not the client's fault (draining, throttled) are not delayed.
  [[nodiscard]] time_point delay_until(refusal reason, time_point now) noexcept {
    bool const not_the_clients_fault =
        reason == refusal::draining || reason == refusal::too_often || reason == refusal::too_many;
    if (not_the_clients_fault || opts_.refuse_after <= duration::zero() || held_ >= opts_.waiting) return now;
    ++held_;
    return saturating_add(now, opts_.refuse_after);
  }
  /// A delayed refusal was written, or its client has gone.
  void release() noexcept {
    if (held_ != 0) --held_;
  }
  /// The number of refusals that are delayed now.
  [[nodiscard]] std::uint32_t held() const noexcept { return held_; }

  /// The number of addresses it can remember.
  [[nodiscard]] std::size_t capacity() const noexcept { return sets_ * ways; }

 private:
  static constexpr std::size_t ways = 8;
  struct entry {
    std::uint64_t hash = 0;  // 0: unused
    time_point full_at{};    // when the bucket is full again; its whole state
  };
  static_assert(sizeof(entry) == 16);

  class bucket {
   public:
    constexpr explicit bucket(rate const& r) noexcept : limited_(r.burst != 0) {
      // Limited so that an empty bucket is full within 30 years: sums cannot overflow, and the burst is exact.
      constexpr std::int64_t longest = 1'000'000'000'000'000'000;
      std::int64_t const burst = limited_ ? std::int64_t{r.burst} : 1;
      std::int64_t const wanted = saturating_cast<std::chrono::nanoseconds>(r.every).count();
      std::int64_t const each = wanted < 0 ? 0 : wanted > longest / burst ? longest / burst : wanted;
      every_ = std::chrono::nanoseconds(each);
      slack_ = std::chrono::nanoseconds(each * (burst - 1));
    }
    [[nodiscard]] constexpr bool limited() const noexcept { return limited_; }
    [[nodiscard]] constexpr duration wait(time_point full_at, time_point now) const noexcept {
      return detail::bucket_wait(full_at, slack_, now);
    }
    [[nodiscard]] constexpr time_point taken(time_point full_at, time_point now) const noexcept {
      return detail::bucket_take(full_at, now, every_);
    }

   private:
    duration every_{}, slack_{};
    bool limited_;
  };

  [[nodiscard]] static constexpr std::size_t sets_for(std::uint32_t addresses) noexcept {
    return std::bit_ceil(addresses < ways ? ways : std::size_t{addresses}) / ways;
  }
  /// The entry of `hash`, or a new one. It replaces the entry of its set that is full soonest: a full bucket equals none.
  [[nodiscard]] entry& find(std::uint64_t hash, time_point now) noexcept {
    hash |= 1;
    entry* const set = &table_[(static_cast<std::size_t>(hash >> 32) & (sets_ - 1)) * ways];
    entry* free = set;
    for (entry* e = set; e != set + ways; ++e) {
      if (e->hash == hash) return *e;
      if (free->hash != 0 && (e->hash == 0 || e->full_at < free->full_at)) free = e;
    }
    *free = {hash, now};
    return *free;
  }
  [[nodiscard]] static refused_request busy(refusal reason, duration wait, std::string_view address) {
    refused_request refused = refuse(reason, detail::for_a_log(address));
    auto const seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    refused.answer.headers.emplace_back("retry-after", std::to_string(seconds));
    return refused;
  }

  throttle_options opts_;
  bucket each_, all_;
  std::size_t sets_;
  std::unique_ptr<entry[]> table_;
  time_point all_full_at_{};
  std::uint32_t held_ = 0;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_LONGPOLL_SESSIONS_HPP
#define PHX_LONGPOLL_SESSIONS_HPP
// Which long-poll sessions there are and which loop has each. It is all that the loops of a server share for polling: the
// polls of one client come in on whatever connection its browser has at hand, so at any loop.

#include <phx/core/text/base64.hpp>
#include <phx/core/limits.hpp>
#include <phx/longpoll/detail/slot_map.hpp>
#include <phx/loop/endpoint.hpp>
#include <phx/connect/mount.hpp>

#include <mutex>
#include <random>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

/// Where tokens get their secret. fill: all `n` bytes, unpredictable, from any thread; false: there is none to be had, and
/// no session is opened (503). The default asks std::random_device for each.
struct entropy {
  /// Handed to `fill`.
  void* host = nullptr;
  /// Fills `n` bytes with randomness that nobody can guess. @return false where there is none.
  bool (*fill)(void* host, unsigned char* into, std::size_t n) noexcept = [](void*, unsigned char* into,
                                                                             std::size_t n) noexcept {
    return phx::detail::try_invoke(
        [&] {
          std::random_device source;
          for (std::size_t i = 0; i < n; i += sizeof(unsigned)) {
            unsigned const word = source();
            std::memcpy(into + i, &word, n - i < sizeof(word) ? n - i : sizeof(word));
          }
        },
        [](char const*) noexcept {});
  };
};

namespace detail {

using phx::detail::array;
using phx::detail::mail;
using phx::detail::mail_kind;
using phx::detail::mailbox_ref;
using phx::detail::try_invoke;

/// What a client names its session by: 256 random bits, 64 to find the session and 192 that prove the right to it.
///
/// Only the process whose table has it knows it. A signed token (Phoenix's, protocol 10.1) can be forged by whoever steals
/// the key, and is still well signed after its session has ended; this one has no key to lose, is guessed with 2^-192 at
/// each try, and ends with its session. It carries no time, so that clocks do not matter. The 192 bits are compared in
/// constant time. The 64 are compared as they come: measuring that tells which sessions exist, not how to speak for one.
struct token {
  static constexpr std::size_t size = 32, hashed = 8;
  static constexpr std::size_t text_size = 43;  // base64url, no padding

  unsigned char bytes[size] = {};

  void write(char* into) const noexcept {
    (void)phx::detail::to_base64({reinterpret_cast<char const*>(bytes), size}, phx::detail::base64_alphabet::url, into);
  }
  /// Only what write() gives: 256 bits leave two of the last letter's unused, which are zero.
  [[nodiscard]] bool read(std::string_view text) noexcept {
    constexpr std::string_view last = "AEIMQUYcgkosw048";
    return text.size() == text_size && last.find(text.back()) != std::string_view::npos &&
           phx::detail::from_base64(text, phx::detail::base64_alphabet::url, phx::detail::base64_padding::optional,
                                    reinterpret_cast<char*>(bytes));
  }
  [[nodiscard]] std::uint64_t hash() const noexcept {
    std::uint64_t h;
    std::memcpy(&h, bytes, hashed);
    return h;
  }
  [[nodiscard]] bool matches(token const& other) const noexcept {
    unsigned different = 0;
    for (std::size_t i = hashed; i < size; ++i) different |= static_cast<unsigned>(bytes[i] ^ other.bytes[i]);
    return different == 0;
  }
};

/// Where a session is, for any loop.
struct session_address {
  std::uint32_t service = 0;  // its number in `sessions`
  slot_key key{};             // in that service's slot_map
};

/// A session's entry in the table; it lives in the session.
struct entry {
  token key{};
  phx::mount const* mount = nullptr;
  session_address address{};
  time_point expires{};
  entry* next = nullptr;
  bool inserted = false;
};

}  // namespace detail

/// The sessions of a process, of all its mounts and loops: owned next to the phx::endpoint. It outlives the services that
/// were given it; a host calls nothing but the constructor and, if it likes, size(). A lookup takes one of 16 locks for the
/// time of a few comparisons.
class sessions {
 public:
  /// @param most sessions at once; beyond, a request for a new one is answered 503. Phoenix has no such bound; but a session
  ///   that nobody polls takes memory for 1.5 to 3 windows, and opening one costs a client nothing.
  /// @param random where tokens come from. @param from where the table's memory comes from.
  explicit sessions(std::uint32_t most = 100'000, longpoll::entropy random = {}, memory const& from = {}) noexcept
      : from_(from), random_(random), most_(most) {}
  sessions(sessions const&) = delete;
  sessions& operator=(sessions const&) = delete;
  ~sessions() {
    for (shard& s : shards_) s.buckets.free(from_);
  }
  /// From any thread.
  [[nodiscard]] std::uint32_t size() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  friend class service;

  struct shard {
    mutable std::mutex mutex{};
    detail::array<detail::entry*> buckets{};
    std::uint32_t count = 0;
  };
  static constexpr std::size_t shard_count = 16;

  [[nodiscard]] shard& shard_of(std::uint64_t h) noexcept { return shards_[h % shard_count]; }
  [[nodiscard]] static std::uint32_t bucket_of(std::uint64_t h, std::uint32_t size) noexcept {
    return static_cast<std::uint32_t>(h / shard_count) & (size - 1);
  }
  /// Counts one more session, until release(). False: there are as many as there may be.
  [[nodiscard]] bool try_reserve() noexcept {
    if (count_.fetch_add(1, std::memory_order_relaxed) < most_) return true;
    release();
    return false;
  }
  void release() noexcept { count_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] bool fill(detail::token& t) noexcept { return random_.fill(random_.host, t.bytes, detail::token::size); }

  /// False without memory.
  [[nodiscard]] bool insert(detail::entry& e) noexcept {
    std::uint64_t const h = e.key.hash();
    shard& in = shard_of(h);
    std::lock_guard const hold(in.mutex);
    if (in.count >= in.buckets.size()) {
      std::uint32_t const size = in.buckets.empty() ? 8 : in.buckets.size() * 2;
      detail::array<detail::entry*> wider;
      if (wider.reserve(from_, size)) {
        for (std::uint32_t i = 0; i < size; ++i) (void)wider.push(from_, nullptr);
        for (detail::entry* chain : in.buckets)
          while (chain != nullptr) {
            detail::entry* const moved = std::exchange(chain, chain->next);
            detail::entry*& bucket = wider[bucket_of(moved->key.hash(), size)];
            moved->next = bucket;
            bucket = moved;
          }
        in.buckets.swap(wider);
        wider.free(from_);
      } else if (in.buckets.empty()) {
        return false;  // crowded buckets still work, none do not
      }
    }
    detail::entry*& bucket = in.buckets[bucket_of(h, in.buckets.size())];
    e.next = bucket;
    bucket = &e;
    e.inserted = true;
    ++in.count;
    return true;
  }
  void erase(detail::entry& e) noexcept {
    if (!e.inserted) return;
    e.inserted = false;
    std::uint64_t const h = e.key.hash();
    shard& in = shard_of(h);
    std::lock_guard const hold(in.mutex);
    detail::entry** link = &in.buckets[bucket_of(h, in.buckets.size())];
    while (*link != &e) link = &(*link)->next;
    *link = e.next;
    if (--in.count == 0) in.buckets.free(from_);
  }
  /// The session of a token: of this mount, and not too old.
  [[nodiscard]] bool find(detail::token const& t, mount const& of, time_point now, detail::session_address& found) noexcept {
    std::uint64_t const h = t.hash();
    shard& in = shard_of(h);
    std::lock_guard const hold(in.mutex);
    if (in.buckets.empty()) return false;
    for (detail::entry const* e = in.buckets[bucket_of(h, in.buckets.size())]; e != nullptr; e = e->next)
      if (e->key.hash() == h && e->key.matches(t) && e->mount == &of && now < e->expires) {
        found = e->address;
        return true;
      }
    return false;
  }

  // ---- the services, by number, so that one loop's can send to another's

  struct mailing_address {
    detail::mailbox_ref box{};
    std::uint32_t component = 0;
  };
  /// @return its number. @par Errors: std::bad_alloc.
  [[nodiscard]] std::uint32_t add_service(detail::mailbox_ref const& box, std::uint32_t component) {
    std::lock_guard const hold(services_mutex_);
    services_.push_back({box, component});
    return static_cast<std::uint32_t>(services_.size() - 1);
  }
  void remove_service(std::uint32_t service) noexcept {
    std::lock_guard const hold(services_mutex_);
    services_[service].box = {};
  }
  /// Takes `m` in any case. From any thread.
  send_status post(std::uint32_t service, detail::mail* m, bool bounded) noexcept {
    detail::mailbox_ref box;
    {
      std::lock_guard const hold(services_mutex_);
      box = services_[service].box;
      m->slot = services_[service].component;
    }
    if (!box) {
      detail::mail::free(m);
      return send_status::closed;
    }
    return box->post(m, bounded);
  }

  memory from_;
  longpoll::entropy random_;
  std::uint32_t most_;
  std::atomic<std::uint32_t> count_{0};
  shard shards_[shard_count] = {};
  std::mutex services_mutex_{};
  std::vector<mailing_address> services_{};
};

}  // namespace longpoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif

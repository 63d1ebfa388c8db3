#ifndef PHX_LONGPOLL_SESSIONS_HPP
#define PHX_LONGPOLL_SESSIONS_HPP
// The table of all long-poll sessions, and of the loop that owns each. It is all that the loops of a server share for
// long-polling: a browser may send each poll over another connection, and so to another loop.

#include <phx/core/text/base64.hpp>
#include <phx/core/limits.hpp>
#include <phx/core/hash_index.hpp>
#include <phx/longpoll/detail/slot_key.hpp>
#include <phx/core/random.hpp>
#include <phx/loop/endpoint.hpp>
#include <phx/connect/mount.hpp>

#include <mutex>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll {

/// The source of random bytes for tokens. fill sets all `n` bytes unpredictably, on any thread; if it returns false, no
/// session is opened (503). The default calls std::random_device each time.
struct entropy {
  /// Passed to `fill`.
  void* host = nullptr;
  /// Fills `n` bytes with random values that nobody can guess. @return false if there are none.
  bool (*fill)(void* host, unsigned char* into, std::size_t n) noexcept =
      [](void*, unsigned char* into, std::size_t n) noexcept { return random_bytes(into, n); };
};

namespace detail {

using phx::detail::array;
using phx::detail::component_mail;
using phx::detail::mail;
using phx::detail::mailbox_ref;
using phx::detail::try_invoke;

/// The token by which a client names its session: 256 random bits, 64 to find the session and 192 to authenticate the
/// client.
///
/// Only the process with the table knows it. Phoenix's signed token (protocol 10.1) can be forged by anyone who steals the
/// key, and stays valid after its session has ended. This one needs no key, can be guessed with a chance of 2^-192, and ends
/// with its session. It contains no time, so that clocks do not matter. The 192 bits are compared in constant time. The 64
/// bits are not: measuring that reveals which sessions exist, but gives no access to one.
struct token {
  static constexpr std::size_t size = 32, hashed = 8;
  static constexpr std::size_t text_size = 43;  // base64url without padding

  unsigned char bytes[size] = {};

  void write(char* into) const noexcept {
    (void)phx::detail::to_base64({reinterpret_cast<char const*>(bytes), size}, phx::detail::base64_alphabet::url, into);
  }
  /// Reads only what write() produces: 256 bits leave two bits of the last character unused, which must be zero.
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

/// The address of a session, for any loop.
struct session_address {
  std::uint32_t service = 0;  // the number of its service in `sessions`
  slot_key key{};             // its key in that service
};

/// The entry of a session in the table; it is part of the session.
struct entry {
  token key{};
  phx::mount const* mount = nullptr;
  session_address address{};
  time_point expires{};
  entry* next = nullptr;
  std::uint64_t hash = 0;  // without the bits that chose the shard
  bool inserted = false;
};

}  // namespace detail

/// The sessions of a process, of all mounts and loops. Make one beside the phx::endpoint; it must outlive the services that
/// use it. A host calls only the constructor and size(). Thread-safe. @par Cost: a look-up holds one of 16 mutexes for a few
/// comparisons.
class sessions {
 public:
  /// @param most the most sessions at once; a request for another one is answered 503. Phoenix has no such limit. But a
  ///   session that nobody polls uses memory for 1.5 to 3 windows, and opening one costs a client nothing.
  /// @param random the source of tokens. @param from the allocator of the table.
  explicit sessions(std::uint32_t most = 100'000, longpoll::entropy random = {}, memory const& from = {}) noexcept
      : from_(from), random_(random), most_(most) {}
  sessions(sessions const&) = delete;
  sessions& operator=(sessions const&) = delete;
  ~sessions() {
    for (shard& s : shards_) s.index.free(from_);
  }
  /// The number of sessions. Any thread.
  [[nodiscard]] std::uint32_t size() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  friend class service;

  struct shard {
    mutable std::mutex mutex{};
    phx::detail::hash_index<detail::entry, &detail::entry::next, &detail::entry::hash> index{};
  };
  static constexpr std::size_t shard_count = 16;

  [[nodiscard]] shard& shard_of(std::uint64_t h) noexcept { return shards_[h % shard_count]; }
  /// Counts one more session, until release(). @return false if the limit is reached.
  [[nodiscard]] bool try_reserve() noexcept {
    if (count_.fetch_add(1, std::memory_order_relaxed) < most_) return true;
    release();
    return false;
  }
  void release() noexcept { count_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] bool fill(detail::token& t) noexcept { return random_.fill(random_.host, t.bytes, detail::token::size); }

  /// @return false without memory.
  [[nodiscard]] bool insert(detail::entry& e) noexcept {
    std::uint64_t const h = e.key.hash();
    shard& in = shard_of(h);
    std::lock_guard const hold(in.mutex);
    if (!in.index.reserve(from_)) return false;
    e.hash = h / shard_count;
    in.index.insert(e);
    e.inserted = true;
    return true;
  }
  void erase(detail::entry& e) noexcept {
    if (!e.inserted) return;
    e.inserted = false;
    shard& in = shard_of(e.key.hash());
    std::lock_guard const hold(in.mutex);
    in.index.erase(e);
    if (in.index.size() == 0) in.index.free(from_);
  }
  /// Finds the session of a token, if it belongs to this mount and has not expired.
  [[nodiscard]] bool find(detail::token const& t, mount const& of, time_point now, detail::session_address& found) noexcept {
    std::uint64_t const h = t.hash();
    shard& in = shard_of(h);
    std::lock_guard const hold(in.mutex);
    detail::entry const* const e = in.index.find(h / shard_count, [&](detail::entry const& one) {
      return one.key.hash() == h && one.key.matches(t) && one.mount == &of && now < one.expires;
    });
    if (e == nullptr) return false;
    found = e->address;
    return true;
  }

  // ---- the services by number, so that a service can send to one of another loop

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
  /// Sends `m`, and takes ownership even if that fails. From any thread.
  send_status post(std::uint32_t service, detail::component_mail* m, bool bounded) noexcept {
    detail::mailbox_ref box;
    {
      std::lock_guard const hold(services_mutex_);
      box = services_[service].box;
      m->component = services_[service].component;
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

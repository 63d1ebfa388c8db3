#ifndef PHX_LOOP_DETAIL_TOPIC_TABLE_HPP
#define PHX_LOOP_DETAIL_TOPIC_TABLE_HPP
// The subscribers of each topic, within one loop (protocol 7). It takes no lock and runs no user code.

#include <phx/core/hash_index.hpp>
#include <phx/loop/detail/client.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

struct subscription {
  client* to;
  subscriber* entry;  // number 0: the socket itself, on its id topic
};

/// A topic of one loop. Its text, and the text as JSON, follow in the same allocation.
struct topic {
  topic* next = nullptr;
  std::uint64_t hash = 0;
  std::uint32_t text_size = 0, json_size = 0;
  std::uint32_t users = 0;                   // channels and id subscriptions; it leaves the table with the last one
  std::atomic<std::uint32_t> references{1};  // the table, and handles on any thread, which read only the text
  std::uint64_t newest = 0;                  // the largest subscriber::since that it ever had
  struct used_wire {
    serializer_ref wire;
    std::uint32_t count;
  };
  array<subscription> plain;   // subscribers that get the encoded frame
  array<subscription> others;  // intercepting channels, listeners, and sockets on their id topic
  array<used_wire> wires;      // the serializers of `plain`

  [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<char const*>(this + 1), text_size}; }
  [[nodiscard]] std::string_view json() const noexcept {
    return {reinterpret_cast<char const*>(this + 1) + text_size, json_size};
  }
  [[nodiscard]] phx::json_text name() const noexcept { return {text(), json()}; }
  void add_ref() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
  void drop_ref(memory const& from) noexcept {
    if (references.load(std::memory_order_acquire) != 1 && references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    std::size_t const size = sizeof(topic) + text_size + json_size;
    this->~topic();
    from.release(this, size);
  }
};

/// The topics of one loop by name. Inside the loop. Finding, subscribing and unsubscribing are O(1).
class topic_table {
 public:
  /// @param seed limits::seed
  /// @param epoch if given, other threads read subscriptions() there
  explicit topic_table(memory const& from, std::uint64_t seed = 0, std::atomic<std::uint64_t>* epoch = nullptr) noexcept
      : from_(from), seed_(seed ^ reinterpret_cast<std::uintptr_t>(this)), epoch_(epoch) {}
  topic_table(topic_table const&) = delete;
  topic_table& operator=(topic_table const&) = delete;
  ~topic_table() {
    index_.clear([this](topic& t) { free(&t); });
    index_.free(from_);
  }

  [[nodiscard]] topic* find(std::string_view text) const noexcept { return find(text, hash(text)); }
  /// Adds a user of the topic, which is created if it is new. Null without memory.
  /// @param json its text in quotes, as it is sent
  [[nodiscard]] topic* use(std::string_view text, std::string_view json) noexcept {
    std::uint64_t const h = hash(text);
    topic* t = find(text, h);
    if (t == nullptr) {
      if (!index_.reserve(from_)) return nullptr;
      void* const at = from_.allocate(sizeof(topic) + text.size() + json.size());
      if (at == nullptr) return nullptr;
      t = new (at) topic;
      char* const bytes = reinterpret_cast<char*>(t + 1);
      if (!text.empty()) std::memcpy(bytes, text.data(), text.size());
      if (!json.empty()) std::memcpy(bytes + text.size(), json.data(), json.size());
      t->hash = h;
      t->text_size = static_cast<std::uint32_t>(text.size());
      t->json_size = static_cast<std::uint32_t>(json.size());
      index_.insert(*t);
    }
    ++t->users;
    return t;
  }
  void unuse(topic* t) noexcept {
    if (--t->users != 0) return;
    index_.erase(*t);
    free(t);
  }

  /// @pre m.on and m.owner are set, m.intercepting and m.intercepts final.
  [[nodiscard]] bool subscribe(subscriber& m) noexcept {
    array<subscription>& list = m.intercepting ? m.on->others : m.on->plain;
    if (!m.intercepting && !count_wire(*m.on, m.owner->wire)) return false;
    if (!list.push(from_, {m.owner, &m})) {
      if (!m.intercepting) uncount_wire(*m.on, m.owner->wire);
      return false;
    }
    m.index = list.size() - 1;
    count(m);
    return true;
  }
  void unsubscribe(subscriber& m) noexcept {
    if (!m.subscribed) return;
    m.subscribed = false;
    array<subscription>& list = m.intercepting ? m.on->others : m.on->plain;
    remove(list, m.index);
    if (!m.intercepting) uncount_wire(*m.on, m.owner->wire);
  }
  /// Subscribes a topic_listener, or a socket to its id topic (protocol 8.1).
  [[nodiscard]] bool subscribe_plain(subscriber& m) noexcept {
    m.intercepting = true;
    if (!m.on->others.push(from_, {m.owner, &m})) return false;
    m.index = m.on->others.size() - 1;
    count(m);
    return true;
  }

  [[nodiscard]] std::uint32_t topics() const noexcept { return index_.size(); }
  /// Subscriptions made so far. A broadcast posted at this value is for subscribers with `since` up to it.
  [[nodiscard]] std::uint64_t subscriptions() const noexcept { return subscriptions_; }
  [[nodiscard]] std::uint64_t hash(std::string_view text) const noexcept {
    // A keyed multiply-mix over eight bytes at a time: the key is limits::seed and this table's address, which a
    // peer does not know, so that nobody can choose topics that collide.
    std::uint64_t h = seed_ ^ (text.size() * 0x9E3779B97F4A7C15ull);
    char const* at = text.data();
    std::size_t left = text.size();
    while (left >= 8) {
      std::uint64_t word;
      std::memcpy(&word, at, 8);
      h = mix(h ^ word);
      at += 8;
      left -= 8;
    }
    std::uint64_t tail = 0;
    if (left != 0) std::memcpy(&tail, at, left);
    return mix(h ^ tail ^ (std::uint64_t{left} << 56));
  }

 private:
  [[nodiscard]] static constexpr std::uint64_t mix(std::uint64_t x) noexcept {
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93ull;
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93ull;
    return x ^ (x >> 32);
  }
  void count(subscriber& m) noexcept {
    m.subscribed = true;
    m.since = m.on->newest = ++subscriptions_;
    // Relaxed is enough: a thread that learned of this subscription, for example from the reply to a join, reads this value
    // or a later one.
    if (epoch_ != nullptr) epoch_->store(subscriptions_, std::memory_order_relaxed);
  }
  static void remove(array<subscription>& list, std::uint32_t at) noexcept {
    // Subscribers have no order (protocol 6.7): the last one takes the place.
    subscription const last = list.back();
    list[at] = last;
    last.entry->index = at;
    list.pop();
  }
  [[nodiscard]] bool count_wire(topic& t, serializer_ref wire) noexcept {
    for (topic::used_wire& w : t.wires)
      if (w.wire == wire) {
        ++w.count;
        return true;
      }
    return t.wires.push(from_, {wire, 1});
  }
  static void uncount_wire(topic& t, serializer_ref wire) noexcept {
    for (topic::used_wire& w : t.wires)
      if (w.wire == wire && --w.count == 0) {
        w = t.wires.back();
        t.wires.pop();
        return;
      }
  }
  [[nodiscard]] topic* find(std::string_view text, std::uint64_t hash) const noexcept {
    return index_.find(hash, [&](topic const& t) { return t.text() == text; });
  }
  void free(topic* t) noexcept {
    t->plain.free(from_);
    t->others.free(from_);
    t->wires.free(from_);
    t->drop_ref(from_);
  }

  memory from_;
  std::uint64_t seed_;
  std::uint64_t subscriptions_ = 0;
  std::atomic<std::uint64_t>* epoch_;
  hash_index<topic, &topic::next, &topic::hash> index_;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

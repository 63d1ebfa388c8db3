#ifndef PHX_LOOP_DETAIL_TOPIC_TABLE_HPP
#define PHX_LOOP_DETAIL_TOPIC_TABLE_HPP
// Who hears a topic, within one loop (protocol 7). No lock, no shared count, no user code runs in here.

#include <phx/loop/detail/mailbox.hpp>
#include <phx/serializer/serializer.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Names one socket of a loop; never used again for another one.
struct socket_id {
  std::uint32_t slot = 0, generation = 0;
  [[nodiscard]] friend bool operator==(socket_id, socket_id) = default;
};

class loop;

enum class channel_state : std::uint8_t { joining, joined };

namespace detail {

struct topic;
class client;

/// One channel of one socket, as the hub sees it. It unsubscribes in O(1): it knows its place in its topic's list.
struct subscriber {
  client* owner = nullptr;
  topic* on = nullptr;
  std::uint32_t at = 0;       // index in on->plain or on->others
  std::uint32_t number = 0;   // which life of which channel of its socket
  std::uint32_t dropped = 0;  // messages its client missed and was not told of yet
  std::uint64_t since = 0;    // the number of its subscription among all that its loop ever made
  bool subscribed = false;
  bool intercepting = false;
  bool listening = false;  // an ear
  pressure_policy pressure = pressure_policy::close;
  std::span<std::string_view const> intercepts{};
  subscriber* next = nullptr;                          // among the loop's orphans
  void (*end)(loop&, subscriber&) noexcept = nullptr;  // tells its dispatcher and gives it back

  /// Its client gets the frame: it is a channel, and lets that event through.
  [[nodiscard]] bool reads(std::string_view event) const noexcept {
    if (number == 0 || listening) return false;
    for (std::string_view const e : intercepts)
      if (e == event) return false;
    return true;
  }
};

/// A channel that listens to another topic: what is broadcast there is a message to it (protocol 6.4). One for each time
/// that it has subscribed, among `others` of that topic.
struct topic_listener : subscriber {
  subscriber* channel = nullptr;
};

/// One socket, as its loop sees it.
class client {
 public:
  client() = default;
  client(client const&) = delete;
  client& operator=(client const&) = delete;

  /// A frame for this client. Never calls back.
  virtual void deliver(frame const&) noexcept = 0;
  /// A mail for this client; it is the client's to free.
  virtual void handle(mail*) noexcept = 0;
  /// Nothing was heard until now? The time to ask again, or (time_point::max)() when it is closing.
  virtual time_point on_idle_timer(time_point now) noexcept = 0;
  /// Would this mail, which a timer brings, still find whom it is for?
  [[nodiscard]] virtual bool awaits(mail const&) const noexcept = 0;
  /// What the turn queued goes out.
  virtual void flush() noexcept = 0;
  /// Ends its channels: callbacks run. Then, with `close`, the transport: after that it may be destroyed.
  virtual void end_channels() noexcept = 0;
  virtual void close() noexcept = 0;
  /// From now on it is closing: it sends nothing and ignores input.
  virtual void begin_close(close_frame, exit_reason) noexcept = 0;
  virtual void list(void* with, void (*each)(void*, std::string_view topic, channel_state)) const noexcept = 0;

  serializer_ref wire{};
  socket_id id{};
  client* next = nullptr;     // on the one list of its loop that it is on: of the dirty, the doomed or the ended
  client** before = nullptr;  // what points at it there
  bool dirty = false;         // on the first of them
  bool closing = false;

 protected:
  ~client() = default;
};

/// What is being sent to clients, while it may be dropped: of a slow one that is asked.
struct delivery {
  topic const* on;
  std::string_view event, key;
};

/// A client with a policy that drops, while it is slow: its loop looks after it from time to time.
struct slow_client {
  client* owner = nullptr;
  slow_client* next = nullptr;
  slow_client** before = nullptr;
};

/// Intrusive lists that are left in O(1), whatever list it is.
template <class T>
void link(T*& first, T& object) noexcept {
  object.next = first;
  object.before = &first;
  if (first != nullptr) first->before = &object.next;
  first = &object;
}
template <class T>
void unlink(T& object) noexcept {
  if (object.before == nullptr) return;
  *object.before = object.next;
  if (object.next != nullptr) object.next->before = object.before;
  object.before = nullptr;
}

struct subscription {
  client* to;
  subscriber* entry;  // number 0: the socket itself, on its id topic
};

struct topic {
  topic* next = nullptr;
  std::uint64_t hash = 0;
  std::uint32_t text_size = 0, json_size = 0;
  std::uint32_t users = 0;
  std::atomic<std::uint32_t> owners{1};  // the table, and handles of any thread, which read only the text
  std::uint64_t newest = 0;              // the largest subscriber::since that it ever had
  struct used_wire {
    serializer_ref wire;
    std::uint32_t count;
  };
  array<subscription> plain;   // get the encoded frame
  array<subscription> others;  // intercepting channels, ears, and sockets on their id topic
  array<used_wire> wires;      // of `plain`: what a broadcast has to be encoded for

  [[nodiscard]] std::string_view text() const noexcept { return {reinterpret_cast<char const*>(this + 1), text_size}; }
  [[nodiscard]] std::string_view json() const noexcept {
    return {reinterpret_cast<char const*>(this + 1) + text_size, json_size};
  }
  [[nodiscard]] phx::json_text name() const noexcept { return {text(), json()}; }
  void keep() noexcept { owners.fetch_add(1, std::memory_order_relaxed); }
  void drop(memory const& from) noexcept {
    if (owners.load(std::memory_order_acquire) != 1 && owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    std::size_t const size = sizeof(topic) + text_size + json_size;
    this->~topic();
    from.release(this, size);
  }
};

/// The topics of one loop by name. A topic lives while a channel or an id subscription uses it.
class topic_table {
 public:
  /// @param seed limits::seed
  /// @param epoch if given, shows subscriptions() to other threads
  explicit topic_table(memory const& from, std::uint64_t seed = 0, std::atomic<std::uint64_t>* epoch = nullptr) noexcept
      : from_(from), seed_(seed ^ reinterpret_cast<std::uintptr_t>(this)), epoch_(epoch) {}
  topic_table(topic_table const&) = delete;
  topic_table& operator=(topic_table const&) = delete;
  ~topic_table() {
    for (topic* chain : buckets_)
      while (chain != nullptr) free(std::exchange(chain, chain->next));
    buckets_.free(from_);
  }

  [[nodiscard]] topic* find(std::string_view text) const noexcept {
    if (buckets_.empty()) return nullptr;
    std::uint64_t const h = hash(text);
    for (topic* t = buckets_[static_cast<std::uint32_t>(h) & (buckets_.size() - 1)]; t != nullptr; t = t->next)
      if (t->hash == h && t->text() == text) return t;
    return nullptr;
  }
  /// One more use of the topic, which is made if it is new. Null without memory.
  /// @param json its text quoted as it is to be written.
  [[nodiscard]] topic* use(std::string_view text, std::string_view json) noexcept {
    topic* t = find(text);
    if (t == nullptr) {
      if (!make_room()) return nullptr;
      void* const at = from_.allocate(sizeof(topic) + text.size() + json.size());
      if (at == nullptr) return nullptr;
      t = new (at) topic;
      char* const bytes = reinterpret_cast<char*>(t + 1);
      if (!text.empty()) std::memcpy(bytes, text.data(), text.size());
      if (!json.empty()) std::memcpy(bytes + text.size(), json.data(), json.size());
      t->hash = hash(text);
      t->text_size = static_cast<std::uint32_t>(text.size());
      t->json_size = static_cast<std::uint32_t>(json.size());
      topic*& bucket = buckets_[static_cast<std::uint32_t>(t->hash) & (buckets_.size() - 1)];
      t->next = bucket;
      bucket = t;
      ++count_;
    }
    ++t->users;
    return t;
  }
  void unuse(topic* t) noexcept {
    if (--t->users != 0) return;
    topic** link = &buckets_[static_cast<std::uint32_t>(t->hash) & (buckets_.size() - 1)];
    while (*link != t) link = &(*link)->next;
    *link = t->next;
    --count_;
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
    m.at = list.size() - 1;
    count(m);
    return true;
  }
  void unsubscribe(subscriber& m) noexcept {
    if (!m.subscribed) return;
    m.subscribed = false;
    array<subscription>& list = m.intercepting ? m.on->others : m.on->plain;
    remove(list, m.at);
    if (!m.intercepting) uncount_wire(*m.on, m.owner->wire);
  }
  /// An ear; or a socket on its id topic (protocol 8.1): a member that is no channel (number 0).
  [[nodiscard]] bool subscribe_plain(subscriber& m) noexcept {
    m.intercepting = true;
    if (!m.on->others.push(from_, {m.owner, &m})) return false;
    m.at = m.on->others.size() - 1;
    count(m);
    return true;
  }

  [[nodiscard]] std::uint32_t topics() const noexcept { return count_; }
  /// Made so far. What was posted at this value is for subscriptions with `since` up to it, and for no later ones.
  [[nodiscard]] std::uint64_t subscriptions() const noexcept { return made_; }
  [[nodiscard]] std::uint64_t hash(std::string_view text) const noexcept {
    // A keyed multiply-mix over eight bytes at a time: the key is limits::seed and this hub's address, which a peer does not
    // know, so that chosen topics do not fall into one bucket.
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
    m.since = m.on->newest = ++made_;
    // Relaxed is enough: whoever posts after it knows of this subscription (because its reply was sent, say) reads this
    // value or a later one, and whoever posted before it reads an earlier one.
    if (epoch_ != nullptr) epoch_->store(made_, std::memory_order_relaxed);
  }
  static void remove(array<subscription>& list, std::uint32_t at) noexcept {
    // Order among subscribers is nobody's (protocol 6.7): the last takes the place.
    subscription const last = list.back();
    list[at] = last;
    last.entry->at = at;
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
  [[nodiscard]] bool make_room() noexcept {
    if (count_ < buckets_.size()) return true;
    array<topic*> wider;
    std::uint32_t const size = buckets_.empty() ? 16 : buckets_.size() * 2;
    if (!wider.reserve(from_, size)) return !buckets_.empty();  // crowded buckets still work
    for (std::uint32_t i = 0; i < size; ++i) (void)wider.push(from_, nullptr);
    for (topic* chain : buckets_)
      while (chain != nullptr) {
        topic* const t = std::exchange(chain, chain->next);
        topic*& bucket = wider[static_cast<std::uint32_t>(t->hash) & (size - 1)];
        t->next = bucket;
        bucket = t;
      }
    buckets_.swap(wider);
    wider.free(from_);
    return true;
  }
  void free(topic* t) noexcept {
    t->plain.free(from_);
    t->others.free(from_);
    t->wires.free(from_);
    t->drop(from_);
  }

  memory from_;
  std::uint64_t seed_;
  std::uint64_t made_ = 0;
  std::atomic<std::uint64_t>* epoch_;
  std::uint32_t count_ = 0;
  array<topic*> buckets_;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

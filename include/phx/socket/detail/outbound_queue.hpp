#ifndef PHX_SOCKET_DETAIL_OUTBOUND_QUEUE_HPP
#define PHX_SOCKET_DETAIL_OUTBOUND_QUEUE_HPP
// What waits for one slow client whose policy is to drop: in order, with what may be dropped at hand. Everything but the
// growth of the index is O(1). A client that is not slow has none.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

class outbound_queue {
 public:
  /// One message. Behind it the texts of its event and key, if it may be replaced by a later one.
  struct item {
    item* next = nullptr;
    item* before = nullptr;
    item* next_loose = nullptr;  // among those that may be dropped
    item* before_loose = nullptr;
    item* next_same = nullptr;  // in its bucket
    frame bytes{};
    std::uint64_t hash = 0;
    std::uint64_t turn = 0;    // rises along the list
    std::uint32_t number = 0;  // which life of which channel, 0: nobody's
    std::uint32_t event_size = 0, key_size = 0;
    bool loose = false, newest_goes = false, indexed = false;

    [[nodiscard]] std::string_view event() const noexcept { return {reinterpret_cast<char const*>(this + 1), event_size}; }
    [[nodiscard]] std::string_view key() const noexcept {
      return {reinterpret_cast<char const*>(this + 1) + event_size, key_size};
    }
    [[nodiscard]] std::size_t room() const noexcept { return sizeof(item) + event_size + key_size; }
    [[nodiscard]] std::size_t cost() const noexcept { return room() + bytes.websocket().size(); }
  };
  /// What a message may be replaced by: one with the same name.
  struct name {
    std::uint32_t number;
    std::uint64_t hash;
    std::string_view event, key;
  };
  [[nodiscard]] static std::size_t cost(frame const& f, name const* key) noexcept {
    return sizeof(item) + f.websocket().size() + (key == nullptr ? 0 : key->event.size() + key->key.size());
  }

  explicit outbound_queue(memory const& from) noexcept : from_(from) {}
  outbound_queue(outbound_queue const&) = delete;
  outbound_queue& operator=(outbound_queue const&) = delete;
  ~outbound_queue() {
    while (first_ != nullptr) remove(*first_);
    buckets_.free(from_);
  }

  [[nodiscard]] item* first() const noexcept { return first_; }
  /// What the messages take, with what it takes to remember them.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t loose_bytes() const noexcept { return loose_bytes_; }
  /// Which goes next to make room, if any may.
  [[nodiscard]] item* victim() const noexcept {
    return last_loose_ != nullptr && last_loose_->newest_goes ? last_loose_ : first_loose_;
  }

  /// At the end. False without memory.
  /// @param who null: it replaces none and is not replaced
  [[nodiscard]] bool append(frame const& f, std::uint32_t number, bool loose, bool newest_goes, name const* label) noexcept {
    std::size_t const event = label == nullptr ? 0 : label->event.size(), key = label == nullptr ? 0 : label->key.size();
    void* const at = from_.allocate(sizeof(item) + event + key);
    if (at == nullptr) return false;
    item& i = *new (at) item;
    i.bytes = f;
    i.number = number;
    i.loose = loose;
    i.newest_goes = newest_goes;
    i.turn = ++turns_;
    if (label != nullptr) {
      i.hash = label->hash;
      i.event_size = static_cast<std::uint32_t>(event);
      i.key_size = static_cast<std::uint32_t>(key);
      char* const text = reinterpret_cast<char*>(&i + 1);
      if (event != 0) std::memcpy(text, label->event.data(), event);
      if (key != 0) std::memcpy(text + event, label->key.data(), key);
      index(i);
    } else {
      fence_ = i.turn;
    }
    i.before = last_;
    (last_ == nullptr ? first_ : last_->next) = &i;
    last_ = &i;
    bytes_ += i.cost();
    if (loose) {
      i.before_loose = last_loose_;
      (last_loose_ == nullptr ? first_loose_ : last_loose_->next_loose) = &i;
      last_loose_ = &i;
      loose_bytes_ += i.cost();
    }
    return true;
  }
  /// The one that a message of this name replaces.
  [[nodiscard]] item* find(name const& key) const noexcept {
    if (buckets_.empty()) return nullptr;
    for (item* i = buckets_[static_cast<std::uint32_t>(key.hash) & (buckets_.size() - 1)]; i != nullptr; i = i->next_same)
      if (i->hash == key.hash && i->number == key.number && i->event() == key.event && i->key() == key.key) return i;
    return nullptr;
  }
  /// Whether `i` may become a later message where it is: behind it are none but others with names.
  [[nodiscard]] bool may_change(item const& i) const noexcept { return i.turn > fence_; }
  void change(item& i, frame const& to) noexcept {
    std::size_t const was = i.cost();
    i.bytes = to;
    bytes_ += i.cost() - was;
    loose_bytes_ += i.cost() - was;
  }
  void remove(item& i) noexcept {
    (i.before == nullptr ? first_ : i.before->next) = i.next;
    (i.next == nullptr ? last_ : i.next->before) = i.before;
    bytes_ -= i.cost();
    if (i.loose) {
      (i.before_loose == nullptr ? first_loose_ : i.before_loose->next_loose) = i.next_loose;
      (i.next_loose == nullptr ? last_loose_ : i.next_loose->before_loose) = i.before_loose;
      loose_bytes_ -= i.cost();
    }
    if (i.indexed) {
      item** at = &buckets_[static_cast<std::uint32_t>(i.hash) & (buckets_.size() - 1)];
      while (*at != &i) at = &(*at)->next_same;
      *at = i.next_same;
      --indexed_;
    }
    std::size_t const size = i.room();
    i.~item();
    from_.release(&i, size);
  }

  slow_client link{};                // among its loop's
  std::size_t resume_at = 0;         // the transport holds no more than this: it is given more
  std::uint32_t dropped_before = 0;  // by the socket, when this began

 private:
  /// Without memory for an index it is not found, and so only dropped as the oldest.
  void index(item& i) noexcept {
    if (indexed_ >= buckets_.size()) {
      array<item*> wider;
      std::uint32_t const size = buckets_.empty() ? 8 : buckets_.size() * 2;
      if (wider.reserve(from_, size)) {
        for (std::uint32_t b = 0; b < size; ++b) (void)wider.push(from_, nullptr);
        for (item* chain : buckets_)
          while (chain != nullptr) {
            item* const one = std::exchange(chain, chain->next_same);
            one->next_same = std::exchange(wider[static_cast<std::uint32_t>(one->hash) & (size - 1)], one);
          }
        buckets_.swap(wider);
        wider.free(from_);
      } else if (buckets_.empty()) {
        return;
      }
    }
    i.next_same = std::exchange(buckets_[static_cast<std::uint32_t>(i.hash) & (buckets_.size() - 1)], &i);
    i.indexed = true;
    ++indexed_;
  }

  memory const from_;
  item* first_ = nullptr;
  item* last_ = nullptr;
  item* first_loose_ = nullptr;
  item* last_loose_ = nullptr;
  std::size_t bytes_ = 0, loose_bytes_ = 0;
  std::uint64_t turns_ = 0, fence_ = 0;  // fence_: of the last one without a name
  array<item*> buckets_;
  std::uint32_t indexed_ = 0;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

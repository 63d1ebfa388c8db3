#ifndef PHX_SOCKET_DETAIL_OUTBOUND_QUEUE_HPP
#define PHX_SOCKET_DETAIL_OUTBOUND_QUEUE_HPP
// The frames that wait for one slow client whose pressure policy drops messages: a list in sending order, a second list of
// the frames that may be dropped, and a hash index of those that a later message may replace (keep_latest).
//
// Inside the loop only. Every operation is O(1), but for the growth of the index, which is amortised. A client that keeps up
// has no queue. It knows neither the transport nor the policies: detail/outbound.hpp decides what is queued and dropped.

#include <phx/core/hash_index.hpp>
#include <phx/core/intrusive_list.hpp>
#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Owns its frames. Its memory comes from the hook.
class outbound_queue {
 public:
  /// One queued frame. If a later message may replace it, the texts of its event and key follow in the same allocation.
  struct item {
    item* next = nullptr;
    item* previous = nullptr;
    item* next_droppable = nullptr;  // among those that may be dropped
    item* previous_droppable = nullptr;
    item* next_in_bucket = nullptr;  // of the index
    frame bytes{};
    std::uint64_t hash = 0;
    std::uint64_t position = 0;  // increases along the list
    std::uint32_t number = 0;    // subscriber::number of its channel; 0: no channel's
    std::uint32_t event_size = 0, key_size = 0;
    bool droppable = false, newest_goes = false, indexed = false;

    [[nodiscard]] std::string_view event() const noexcept { return {reinterpret_cast<char const*>(this + 1), event_size}; }
    [[nodiscard]] std::string_view key() const noexcept {
      return {reinterpret_cast<char const*>(this + 1) + event_size, key_size};
    }
    [[nodiscard]] std::size_t room() const noexcept { return sizeof(item) + event_size + key_size; }
    [[nodiscard]] std::size_t cost() const noexcept { return room() + bytes.websocket().size(); }
  };
  /// Identifies what a message is about. A later message with the same name replaces it.
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
    while (first() != nullptr) remove(*first());
    index_.free(from_);
  }

  [[nodiscard]] item* first() const noexcept { return items_.front(); }
  /// Bytes of the queued frames and of their bookkeeping.
  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::size_t droppable_bytes() const noexcept { return droppable_bytes_; }
  /// The frame to drop next when room is needed: the newest for drop_newest, else the oldest. Null: none may be dropped.
  [[nodiscard]] item* next_to_drop() const noexcept {
    item* const newest = droppable_.back();
    return newest != nullptr && newest->newest_goes ? newest : droppable_.front();
  }

  /// Appends a frame. False without memory: nothing has changed.
  /// @param key null: it replaces no other message and is not replaced.
  [[nodiscard]] bool append(frame const& f, std::uint32_t number, bool droppable, bool newest_goes,
                            name const* key) noexcept {
    std::size_t const event_size = key == nullptr ? 0 : key->event.size(), key_size = key == nullptr ? 0 : key->key.size();
    void* const at = from_.allocate(sizeof(item) + event_size + key_size);
    if (at == nullptr) return false;
    item& i = *new (at) item;
    i.bytes = f;
    i.number = number;
    i.droppable = droppable;
    i.newest_goes = newest_goes;
    i.position = ++positions_;
    if (key != nullptr) {
      i.hash = key->hash;
      i.event_size = static_cast<std::uint32_t>(event_size);
      i.key_size = static_cast<std::uint32_t>(key_size);
      char* const text = reinterpret_cast<char*>(&i + 1);
      if (event_size != 0) std::memcpy(text, key->event.data(), event_size);
      if (key_size != 0) std::memcpy(text + event_size, key->key.data(), key_size);
      // Without memory for the index the item is not found: it is never replaced, only dropped as the oldest.
      if (index_.reserve(from_)) {
        index_.insert(i);
        i.indexed = true;
      }
    } else {
      barrier_ = i.position;
    }
    items_.push_back(i);
    bytes_ += i.cost();
    if (droppable) {
      droppable_.push_back(i);
      droppable_bytes_ += i.cost();
    }
    return true;
  }
  /// The queued message that one of this name replaces, or null.
  [[nodiscard]] item* find(name const& key) const noexcept {
    return index_.find(
        key.hash, [&](item const& i) { return i.number == key.number && i.event() == key.event && i.key() == key.key; });
  }
  /// Whether a later message may take the place of `i`: only named messages, whose order is free, are queued behind it.
  [[nodiscard]] bool replaceable_in_place(item const& i) const noexcept { return i.position > barrier_; }
  void replace_frame(item& i, frame const& to) noexcept {
    std::size_t const was = i.cost();
    i.bytes = to;
    bytes_ += i.cost() - was;
    droppable_bytes_ += i.cost() - was;
  }
  void remove(item& i) noexcept {
    items_.remove(i);
    bytes_ -= i.cost();
    if (i.droppable) {
      droppable_.remove(i);
      droppable_bytes_ -= i.cost();
    }
    if (i.indexed) index_.erase(i);
    std::size_t const size = i.room();
    i.~item();
    from_.release(&i, size);
  }

  slow_client link{};                // in its loop's list of slow clients
  std::size_t resume_at = 0;         // writing continues once the transport buffers no more than this
  std::uint32_t dropped_before = 0;  // the socket's count of dropped messages when the queue was made

 private:
  memory const from_;
  intrusive_list<item, &item::previous, &item::next> items_;
  intrusive_list<item, &item::previous_droppable, &item::next_droppable> droppable_;
  std::size_t bytes_ = 0, droppable_bytes_ = 0;
  std::uint64_t positions_ = 0, barrier_ = 0;  // barrier_: position of the last frame without a name
  hash_index<item, &item::next_in_bucket, &item::hash> index_;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

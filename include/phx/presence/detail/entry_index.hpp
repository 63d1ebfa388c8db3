#ifndef PHX_PRESENCE_DETAIL_ENTRY_INDEX_HPP
#define PHX_PRESENCE_DETAIL_ENTRY_INDEX_HPP
// The entries that are present, by topic and key: the content of list(). Adding entries takes two steps, so that several are
// added all or none: `prepare` allocates everything an entry will ever need in the index; `list` and `hide` then cannot
// fail.

#include <phx/core/intrusive_list.hpp>
#include <phx/presence/detail/change_queue.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

class key_entries;

/// An entry of a replica, with its place in the index.
struct entry_slot {
  entry_ptr entry{};
  key_entries* place = nullptr;  // its place in the index; null if not prepared, or never shown
  entry_slot *next = nullptr, *previous = nullptr;
  bool listed = false;
  std::unique_ptr<change_queue::node> join_node{}, leave_node{};  // the nodes for its changes in the queue
};
using slots_by_dot = std::map<dot, entry_slot>;

/// The entries under one key of one topic, in the order in which they joined: a list linked through the slots.
class key_entries {
 public:
  class iterator {
   public:
    using value_type = entry_ptr;
    using difference_type = std::ptrdiff_t;
    iterator() = default;
    explicit iterator(entry_slot const* at) noexcept : at_(at) {}
    [[nodiscard]] entry_ptr const& operator*() const noexcept { return at_->entry; }
    iterator& operator++() noexcept {
      at_ = at_->next;
      return *this;
    }
    iterator operator++(int) noexcept {
      iterator const before = *this;
      ++*this;
      return before;
    }
    [[nodiscard]] friend bool operator==(iterator, iterator) = default;

   private:
    entry_slot const* at_ = nullptr;
  };
  [[nodiscard]] iterator begin() const noexcept { return iterator(entries_.front()); }
  [[nodiscard]] iterator end() const noexcept { return {}; }
  [[nodiscard]] bool empty() const noexcept { return entries_.front() == nullptr; }
  /// @pre !empty()
  [[nodiscard]] entry_ptr const& front() const noexcept { return entries_.front()->entry; }

 private:
  friend class entry_index;
  intrusive_list<entry_slot, &entry_slot::previous, &entry_slot::next> entries_{};
  std::size_t users_ = 0;  // slots prepared for this key, listed or not
};
using entries_by_key = std::map<std::string, key_entries, std::less<>>;

/// The index. One thread at a time. prepare allocates at most three times, plus two names; everything else allocates nothing
/// and is O(log n).
class entry_index {
 public:
  /// @param any_key true: list keys that are unsafe in JavaScript objects, too.
  explicit entry_index(bool any_key) noexcept : any_key_(any_key) {}

  /// May throw std::bad_alloc; then nothing has changed. @pre the slot is not prepared, and does not move until it is
  /// hidden.
  void prepare(entry_slot& slot) {
    presence_entry const& e = *slot.entry;
    if (!any_key_ && unsafe_key(e.key)) return;
    slot.join_node = std::make_unique<change_queue::node>();
    slot.leave_node = std::make_unique<change_queue::node>();
    auto const topic = topics_.try_emplace(e.topic).first;
    struct undo {
      entry_index& index;
      std::map<std::string, entries_by_key, std::less<>>::iterator topic;
      ~undo() {
        if (topic->second.empty()) index.topics_.erase(topic);
      }
    } const attempt{*this, topic};
    key_entries& place = topic->second.try_emplace(e.key).first->second;
    ++place.users_;
    slot.place = &place;
  }
  /// Undoes `prepare`. Does nothing for a slot that is listed or not prepared.
  void abandon(entry_slot& slot) noexcept {
    if (slot.listed || slot.place == nullptr) return;
    slot.join_node.reset();
    slot.leave_node.reset();
    leave_place(slot);
  }
  /// Shows a prepared entry. @pre the slot is prepared
  void list(entry_slot& slot) noexcept {
    if (slot.place == nullptr) return;  // its key is never shown
    key_entries& place = *slot.place;
    place.entries_.push_back(slot);
    slot.listed = true;
    note(std::move(slot.join_node), slot.entry, true);
  }
  /// Hides an entry. Does nothing for a slot that is not listed.
  void hide(entry_slot& slot) noexcept {
    if (!slot.listed) return;
    key_entries& place = *slot.place;
    place.entries_.remove(slot);
    slot.listed = false;
    note(std::move(slot.leave_node), slot.entry, false);
    leave_place(slot);
  }

  /// The entries of a topic; null if there are none.
  [[nodiscard]] entries_by_key const* topic(std::string_view name) const noexcept {
    auto const at = topics_.find(name);
    return at == topics_.end() ? nullptr : &at->second;
  }
  [[nodiscard]] auto const& topics() const noexcept { return topics_; }
  /// The joins and leaves since the last call.
  [[nodiscard]] change_queue take_changes() noexcept { return std::move(changes_); }

 private:
  void note(std::unique_ptr<change_queue::node> node, entry_ptr const& entry, bool joined) noexcept {
    node->change = {entry, joined};
    changes_.push(std::move(node));
  }
  void leave_place(entry_slot& slot) noexcept {
    if (--std::exchange(slot.place, nullptr)->users_ != 0) return;
    auto const topic = topics_.find(slot.entry->topic);
    topic->second.erase(topic->second.find(slot.entry->key));
    if (topic->second.empty()) topics_.erase(topic);
  }

  bool any_key_;
  std::map<std::string, entries_by_key, std::less<>> topics_{};
  change_queue changes_{};
};

/// Lists all slots of a map, or none: call prepare (may throw), then list_all. Its destructor undoes a prepare that was not
/// followed by list_all.
class listing {
 public:
  explicit listing(entry_index& index) noexcept : index_(index) {}
  listing(listing const&) = delete;
  listing& operator=(listing const&) = delete;
  ~listing() {
    if (slots_ == nullptr) return;
    for (auto& [clock, slot] : *slots_) index_.abandon(slot);
  }
  void prepare(slots_by_dot& added) {
    slots_ = &added;
    for (auto& [clock, slot] : added) index_.prepare(slot);
  }
  void list_all() noexcept {
    if (slots_ == nullptr) return;
    for (auto& [clock, slot] : *std::exchange(slots_, nullptr)) index_.list(slot);
  }

 private:
  entry_index& index_;
  slots_by_dot* slots_ = nullptr;
};

/// Appends `"metas":[{"phx_ref":...},...]`, for any range of entries.
template <class Entries>
void append_metas(std::string& out, Entries const& entries) {
  out += R"({"metas":[)";
  bool first = true;
  for (auto const& e : entries) {
    if (!std::exchange(first, false)) out += ',';
    out += e->json;
  }
  out += "]}";
}
/// Appends `{"key":{"metas":[...]},...}`, for any map from keys to ranges of entries.
template <class ByKey>
[[nodiscard]] std::string to_json(ByKey const& all) {
  std::string out = "{";
  for (auto const& [key, entries] : all) {
    if (out.size() > 1) out += ',';
    json::append_quoted(out, key);
    out += ':';
    append_metas(out, entries);
  }
  return out += '}';
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

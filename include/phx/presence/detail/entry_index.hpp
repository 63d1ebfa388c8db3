#ifndef PHX_PRESENCE_DETAIL_ENTRY_INDEX_HPP
#define PHX_PRESENCE_DETAIL_ENTRY_INDEX_HPP
// Who is present, by topic and key: what a list shows. Listing an entry has two steps, so that many can be listed whole or
// not at all: `prepare` allocates everything that this entry will ever need here, `list` and `hide` then cannot fail.

#include <phx/presence/detail/change_queue.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

class key_entries;

/// A replica's hold on one of its entries.
struct entry_slot {
  entry_ptr entry{};
  key_entries* place = nullptr;  // where it is listed, or will be; null if it is neither, or never to be shown
  entry_slot *next = nullptr, *previous = nullptr;
  bool listed = false;
  std::unique_ptr<change_queue::node> came{}, went{};  // for the queue, when that happens
};
using slots_by_dot = std::map<dot, entry_slot>;

/// The entries under one key of one topic, in the order they came: a list through the slots.
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
  [[nodiscard]] iterator begin() const noexcept { return iterator(first_); }
  [[nodiscard]] iterator end() const noexcept { return {}; }
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  /// @pre !empty()
  [[nodiscard]] entry_ptr const& front() const noexcept { return first_->entry; }

 private:
  friend class entry_index;
  entry_slot *first_ = nullptr, *last_ = nullptr;
  std::size_t users_ = 0;  // slots that are prepared for here, listed or not
};
using entries_by_key = std::map<std::string, key_entries, std::less<>>;

/// One thread. prepare costs three allocations at most beside two names; everything else O(log n) and none.
class entry_index {
 public:
  /// @param any_key whether to list keys that break JavaScript objects.
  explicit entry_index(bool any_key) noexcept : any_key_(any_key) {}

  /// May throw std::bad_alloc, and has then done nothing. @pre the slot is not prepared, and stays where it is until hidden.
  void prepare(entry_slot& slot) {
    presence_entry const& e = *slot.entry;
    if (!any_key_ && unsafe_key(e.key)) return;
    slot.came = std::make_unique<change_queue::node>();
    slot.went = std::make_unique<change_queue::node>();
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
  /// Takes `prepare` back. Nothing happens to a slot that is listed, or was not prepared.
  void abandon(entry_slot& slot) noexcept {
    if (slot.listed || slot.place == nullptr) return;
    slot.came.reset();
    slot.went.reset();
    leave_place(slot);
  }
  /// @pre prepared
  void list(entry_slot& slot) noexcept {
    if (slot.place == nullptr) return;  // not to be shown
    key_entries& place = *slot.place;
    slot.previous = place.last_;
    slot.next = nullptr;
    (place.last_ == nullptr ? place.first_ : place.last_->next) = &slot;
    place.last_ = &slot;
    slot.listed = true;
    note(std::move(slot.came), slot.entry, true);
  }
  /// Nothing happens to a slot that is not listed.
  void hide(entry_slot& slot) noexcept {
    if (!slot.listed) return;
    key_entries& place = *slot.place;
    (slot.previous == nullptr ? place.first_ : slot.previous->next) = slot.next;
    (slot.next == nullptr ? place.last_ : slot.next->previous) = slot.previous;
    slot.listed = false;
    note(std::move(slot.went), slot.entry, false);
    leave_place(slot);
  }

  /// Null: nobody is there.
  [[nodiscard]] entries_by_key const* topic(std::string_view name) const noexcept {
    auto const at = topics_.find(name);
    return at == topics_.end() ? nullptr : &at->second;
  }
  [[nodiscard]] auto const& topics() const noexcept { return topics_; }
  /// What was listed and hidden since this was called last.
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

/// Lists all slots of a map, or none of them: prepare (may throw), then list_all. Destroyed in between it undoes what it
/// prepared.
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

/// `[{"phx_ref":...},...]` behind `"metas":`, for any range of entries.
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
/// `{"key":{"metas":[...]},...}`, for any map from keys to ranges of entries.
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

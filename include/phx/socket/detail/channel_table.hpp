#ifndef PHX_SOCKET_DETAIL_CHANNEL_TABLE_HPP
#define PHX_SOCKET_DETAIL_CHANNEL_TABLE_HPP
// The channels of one client, joined or joining: a small unordered array, because most clients have one to four.

#include <phx/socket/detail/channel_slot.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// The channels of one client. Inside its loop. It owns the array, not the slots: the caller of remove destroys the slot, and
/// calls `free` before the table is destroyed. Finding is O(channels): with up to four it compares texts, with more pointers.
/// Removing is O(1) and moves the last entry.
class channel_table {
 public:
  /// The topic stands beside the slot, so that a search touches one piece of memory.
  struct entry {
    topic* on;
    channel_slot* slot;
  };
  static constexpr std::uint32_t none = UINT32_MAX;

  [[nodiscard]] std::uint32_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] channel_slot& operator[](std::uint32_t at) const noexcept { return *entries_[at].slot; }
  [[nodiscard]] entry const* begin() const noexcept { return entries_.begin(); }
  [[nodiscard]] entry const* end() const noexcept { return entries_.end(); }

  /// Where the channel of a message's topic is, or none. A topic that is no string has none.
  /// @param topics the loop's: with more than four channels the text is looked up once, and pointers are compared.
  [[nodiscard]] std::uint32_t find(topic_table const& topics, message const& m) const noexcept {
    if (!m.topic_name.is_string()) return none;
    if (entries_.size() <= 4) {
      for (std::uint32_t i = 0; i < entries_.size(); ++i)
        if (entries_[i].on->text() == m.topic) return i;
      return none;
    }
    topic const* const t = topics.find(m.topic);
    for (std::uint32_t i = 0; t != nullptr && i < entries_.size(); ++i)
      if (entries_[i].on == t) return i;
    return none;
  }
  /// @param number subscriber::number: one life of one channel.
  [[nodiscard]] std::uint32_t find(std::uint32_t number) const noexcept {
    for (std::uint32_t i = 0; i < entries_.size(); ++i)
      if (entries_[i].slot->number == number) return i;
    return none;
  }
  /// The channel on `t`, or null.
  [[nodiscard]] channel_slot* find(topic const& t) const noexcept {
    for (entry const& e : entries_)
      if (e.on == &t) return e.slot;
    return nullptr;
  }

  /// False without memory: nothing has changed. @pre its topic is not in the table.
  [[nodiscard]] bool insert(memory const& from, channel_slot& s) noexcept { return entries_.push(from, {s.on, &s}); }
  [[nodiscard]] channel_slot* remove(std::uint32_t at) noexcept {
    channel_slot* const s = entries_[at].slot;
    entries_[at] = entries_.back();
    entries_.pop();
    return s;
  }
  void free(memory const& from) noexcept { entries_.free(from); }

 private:
  array<entry> entries_;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

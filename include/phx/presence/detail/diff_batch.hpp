#ifndef PHX_PRESENCE_DETAIL_DIFF_BATCH_HPP
#define PHX_PRESENCE_DETAIL_DIFF_BATCH_HPP
// Collects changes into diffs: all changes of a topic within presence_options::batch make one diff.

#include <phx/message/payload.hpp>
#include <phx/core/time.hpp>
#include <phx/presence/detail/entry_index.hpp>

#include <list>
#include <optional>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// An entry in a diff.
struct entry_state {
  entry_ptr entry{};
  bool join = false, leave = false;  // what the diff will contain
  bool known = false;                // clients knew the entry before this diff
  bool listed = false;               // clients received the topic's state while the entry was present
  std::uint64_t lists = 0;           // the value of topic_diff::lists at its latest change
};

struct topic_diff {
  std::string topic{};
  std::vector<entry_state> entries{};  // in the order of their first change
  std::map<presence_entry const*, std::size_t> position{};
  std::uint64_t lists = 1;  // how often the topic's state was listed during this diff, plus 1
  time_point due{};
  bool stamped = false;  // `due` is set
  // State of its publication, so that a retry after a failed allocation does nothing twice:
  std::optional<payload> joins{}, leaves{};
  bool sent = false;
};
using topic_diffs = std::list<topic_diff>;

/// The diffs that are being collected. Not thread-safe.
class diff_batch {
 public:
  /// Adds a change. O(log n) of the topics and of the entries in its diff. May throw std::bad_alloc; then nothing has
  /// changed.
  void change_state(entry_change const& change) {
    presence_entry const& e = *change.entry;
    auto const found = by_topic_.find(std::string_view(e.topic));
    if (found != by_topic_.end()) return change_state(*found->second, change);
    topic_diffs fresh(1);
    fresh.front().topic = e.topic;
    change_state(fresh.front(), change);
    by_topic_.emplace(fresh.front().topic, fresh.begin());
    diffs_.splice(diffs_.end(), fresh);
  }
  /// Records that a client received the state of the topic.
  void mark_listed(std::string_view topic) noexcept {
    if (auto const at = by_topic_.find(topic); at != by_topic_.end()) ++at->second->lists;
  }
  /// True if a diff has no due time yet: the caller must pass the time to stamp().
  [[nodiscard]] bool has_unstamped() const noexcept { return !diffs_.empty() && !diffs_.back().stamped; }
  void stamp(time_point due) noexcept {
    for (auto d = diffs_.rbegin(); d != diffs_.rend() && !d->stamped; ++d) {
      d->due = due;
      d->stamped = true;
    }
  }
  /// When the first diff is due; max() if there is none.
  [[nodiscard]] time_point due() const noexcept { return diffs_.empty() ? (time_point::max)() : diffs_.front().due; }
  /// Moves all due diffs to the end of `into`. @pre stamp() was called.
  void take_due(time_point now, topic_diffs& into) noexcept {
    while (!diffs_.empty() && diffs_.front().due <= now) {
      by_topic_.erase(std::string_view(diffs_.front().topic));
      into.splice(into.end(), diffs_, diffs_.begin());
    }
  }

 private:
  /// A join and a leave inside one batch cancel out, unless a client received the state in between: it must be told of both.
  static void change_state(topic_diff& diff, entry_change const& change) {
    if (diff.entries.size() == diff.entries.capacity()) diff.entries.reserve(2 * diff.entries.size() + 4);
    auto const [at, is_first] = diff.position.try_emplace(change.entry.get(), diff.entries.size());
    if (is_first)
      diff.entries.push_back({.entry = change.entry, .known = !change.joined});  // this cannot fail: there is room
    entry_state& s = diff.entries[at->second];
    s.listed = s.listed || (!is_first && s.lists != diff.lists);
    s.lists = diff.lists;
    if (change.joined) {
      s.join = !s.leave || s.listed || s.join;
      s.leave = false;
    } else {
      s.leave = s.known || s.listed;
      s.join = s.join && s.listed && !s.known;
    }
  }

  topic_diffs diffs_{};                                           // ordered by `due`; those without a time last
  std::map<std::string_view, topic_diffs::iterator> by_topic_{};  // the keys are views of the topics in the diffs
};

/// The entries of a diff for which `member` (join or leave) is true, as clients receive them.
[[nodiscard]] inline std::string to_json(topic_diff const& diff, bool entry_state::*member) {
  std::map<std::string_view, std::vector<presence_entry const*>> by_key;
  for (entry_state const& s : diff.entries)
    if (s.*member) by_key[s.entry->key].push_back(s.entry.get());
  return to_json(by_key);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

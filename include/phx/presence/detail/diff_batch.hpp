#ifndef PHX_PRESENCE_DETAIL_DIFF_BATCH_HPP
#define PHX_PRESENCE_DETAIL_DIFF_BATCH_HPP
// Diffs that are being collected: what happened on a topic within presence_options::batch is one of them.

#include <phx/message/payload.hpp>
#include <phx/core/time.hpp>
#include <phx/presence/detail/entry_index.hpp>

#include <list>
#include <optional>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// What a diff says of an entry.
struct entry_state {
  entry_ptr entry{};
  bool join = false, leave = false;  // what clients will be told
  bool known = false;                // clients knew it before this diff
  bool listed = false;               // clients were given the topic's state while it was there, and have it from that
  std::uint64_t lists = 0;           // topic_diff::lists when it changed last
};

struct topic_diff {
  std::string topic{};
  std::vector<entry_state> entries{};  // in the order in which they changed first
  std::map<presence_entry const*, std::size_t> position{};
  std::uint64_t lists = 1;  // how often somebody was given the topic's state meanwhile
  time_point due{};
  bool stamped = false;  // `due` is known
  // While it is being published, so that what was done is not done twice when memory fails:
  std::optional<payload> joins{}, leaves{};
  bool sent = false;
};
using topic_diffs = std::list<topic_diff>;

/// Not thread safe.
class diff_batch {
 public:
  /// O(log n) of the topics and of the entries of its diff. May throw std::bad_alloc, and has then done nothing.
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
  /// Somebody was given the state of the topic.
  void mark_listed(std::string_view topic) noexcept {
    if (auto const at = by_topic_.find(topic); at != by_topic_.end()) ++at->second->lists;
  }
  /// Whether there is a diff whose time is not known yet.
  [[nodiscard]] bool has_unstamped() const noexcept { return !diffs_.empty() && !diffs_.back().stamped; }
  void stamp(time_point due) noexcept {
    for (auto d = diffs_.rbegin(); d != diffs_.rend() && !d->stamped; ++d) {
      d->due = due;
      d->stamped = true;
    }
  }
  /// When the first is due. max(): there is none.
  [[nodiscard]] time_point due() const noexcept { return diffs_.empty() ? (time_point::max)() : diffs_.front().due; }
  /// Moves those that are due behind `into`. @pre stamp() was called.
  void take_due(time_point now, topic_diffs& into) noexcept {
    while (!diffs_.empty() && diffs_.front().due <= now) {
      by_topic_.erase(std::string_view(diffs_.front().topic));
      into.splice(into.end(), diffs_, diffs_.begin());
    }
  }

 private:
  /// Clients need not be told of what came and went again, or went and came again; but those who were given the state in
  /// between do.
  static void change_state(topic_diff& diff, entry_change const& change) {
    if (diff.entries.size() == diff.entries.capacity()) diff.entries.reserve(2 * diff.entries.size() + 4);
    auto const [at, is_first] = diff.position.try_emplace(change.entry.get(), diff.entries.size());
    if (is_first) diff.entries.push_back({.entry = change.entry, .known = !change.joined});  // there is room: it cannot fail
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

  topic_diffs diffs_{};                                           // by `due`; those not stamped last
  std::map<std::string_view, topic_diffs::iterator> by_topic_{};  // each views the topic of its diff
};

/// The entries of a diff that `member` (join, leave) is true of, as clients are told of them.
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

#ifndef PHX_PRESENCE_DETAIL_REPLICA_HPP
#define PHX_PRESENCE_DETAIL_REPLICA_HPP
// The state of one other node, and how a section of a message about it is merged: first a plan, with everything that may
// fail, then the change.

#include <phx/core/time.hpp>
#include <phx/presence/detail/entry_index.hpp>
#include <phx/presence/detail/wire.hpp>

#include <algorithm>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// The most ranges of one replica's dots that contain no entry. Without losses there is one range; each lost message adds
/// one until it was requested again. Ten thousand are far more than real networks cause, and take 160 kB. Ranges that
/// contain an entry do not count: they are limited by tracker_options::entries.
inline constexpr std::size_t max_ranges = 10'000;

/// A full state that arrives in pieces, from one sender.
struct transfer {
  std::string from{};
  std::uint64_t start = 0, number = 0;
  dot_set come{};  // the positions of the pieces received
  dot_set seen{};  // the dots in them that do not count yet, because an earlier piece is missing
};

struct replica {
  std::string name;
  std::uint64_t start = 0, mark = 0;
  bool up = true;
  bool heard_since_tick = true;  // a flag, because only tick() knows the time
  bool asked = false;            // since decide() ran last
  // Messages to send to it. A flag stays set until the message was written, which may fail without memory.
  bool greet = false, ask = false, answer = false;
  time_point heard{};
  dot_set seen{};
  slots_by_dot values{};             // its entries; all of their dots are in `seen`
  std::vector<wire_clock> clocks{};  // what it has seen, as of its last message
  std::vector<wire_clock> wants{};   // what it had seen when it sent its request
  transfer incoming{};
};

/// The effect of merging a section into a replica.
struct merge_plan {
  dot_set seen{};
  std::optional<transfer> incoming{};
  slots_by_dot fresh{};
};

/// For a full state: the dots that count as seen once this piece has arrived, and the transfer after it. A full state no
/// longer records which dot removed which older entry, so a dot counts only when all earlier pieces have arrived; except a
/// dot that made an entry, which removed nothing.
/// @return nothing if the piece belongs to an older state than the one being received.
[[nodiscard]] inline std::optional<dot_set> count_piece(replica const& r, wire_section const& piece, std::string_view from,
                                                        std::uint64_t start, transfer& after) {
  transfer const& before = r.incoming;
  bool const other = before.from != from || before.start != start || before.number < piece.number;
  if (!other && before.number > piece.number) return std::nullopt;
  after = other ? transfer{std::string(from), start, piece.number, {}, {}} : before;
  after.come = after.come.united(dot_set({{piece.first, piece.last}}));
  after.seen = after.seen.united(piece.seen);
  std::vector<dot_range> joins;
  joins.reserve(piece.values.size());
  for (wire_value const& v : piece.values) joins.push_back({v.clock, v.clock});
  dot const complete = after.come.contiguous();
  dot_set ticks = after.seen.within(1, complete).united(dot_set(std::move(joins)));
  after.seen = after.seen.within(complete + 1, last_dot);
  return ticks;
}

/// @param max_entries the most entries of one replica. @return nothing if the section cannot be merged; then `too_much`
///   tells whether a limit is the reason. May throw std::bad_alloc. Linear in the known ranges and in the section.
[[nodiscard]] inline std::optional<merge_plan> plan_merge(replica const& r, wire_section const& part, std::string_view from,
                                                          std::uint64_t start, std::size_t max_entries, bool& too_much) {
  merge_plan plan;
  dot_set ticks;
  bool const whole = part.first != 0;  // false: a delta
  if (whole) {
    std::optional<dot_set> counted = count_piece(r, part, from, start, plan.incoming.emplace());
    if (!counted) return std::nullopt;
    ticks = std::move(*counted);
  } else {
    ticks = part.seen;
  }
  plan.seen = r.seen.united(ticks);
  std::size_t fresh = 0;
  for (wire_value const& v : part.values) fresh += r.seen.contains(v.clock) ? 0u : 1u;
  if (r.values.size() + fresh > max_entries) {
    too_much = true;
    return std::nullopt;
  }
  // The sender observes the same limit, and knows those entries too.
  std::size_t const most = max_ranges + r.values.size() + fresh;
  if (whole && (plan.incoming->seen.ranges().size() > most || plan.incoming->come.ranges().size() > most)) {
    too_much = true;  // as if this piece had been lost
    return std::nullopt;
  }
  if (plan.seen.ranges().size() > (std::max)(most, r.seen.ranges().size())) {
    // Dots that extend the first range always count, so that a replica that is behind makes progress. Separate ranges wait
    // until they are sent again, when fewer ranges are left.
    too_much = true;
    dot const end = plan.seen.contiguous();
    if (whole && plan.incoming->come.contiguous() < part.first) return std::nullopt;
    plan.seen = r.seen.united(ticks.within(1, end));
    if (whole) {
      plan.incoming->come = end == 0 ? dot_set{} : dot_set({{1, end}});
      plan.incoming->seen = {};
    }
  }
  for (wire_value const& v : part.values) {
    if (r.seen.contains(v.clock) || !plan.seen.contains(v.clock)) continue;
    plan.fresh[v.clock].entry = make_entry(r.mark, v.clock, v.prev, v.topic, v.key, v.members);
  }
  return plan;
}

/// Removes the entries that the sender has seen and no longer has. Called before the new entries are listed, so that an
/// update is a leave of the old entry followed by a join of the new one.
inline void remove_missing(replica& r, wire_section const& part, entry_index& index) noexcept {
  auto next = part.values.begin();
  for (dot_range const range : part.seen.ranges())
    for (auto at = r.values.lower_bound(range.first); at != r.values.end() && at->first <= range.last;) {
      while (next != part.values.end() && next->clock < at->first) ++next;
      if (next != part.values.end() && next->clock == at->first) {
        ++at;
        continue;
      }
      index.hide(at->second);
      at = r.values.erase(at);
    }
}
/// @param fresh the entries of the plan, prepared if the replica is up.
inline void carry_out(merge_plan& plan, replica& r, wire_section const& part, entry_index& index, listing& fresh) noexcept {
  remove_missing(r, part, index);
  fresh.list_all();
  r.values.merge(plan.fresh);
  r.seen = std::move(plan.seen);
  if (plan.incoming) r.incoming = std::move(*plan.incoming);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

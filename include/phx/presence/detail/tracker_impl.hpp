#ifndef PHX_PRESENCE_DETAIL_TRACKER_IMPL_HPP
#define PHX_PRESENCE_DETAIL_TRACKER_IMPL_HPP
// The member functions of phx/presence/tracker.hpp, in the order of its members.

#include <phx/presence/tracker.hpp>

#include <algorithm>

namespace phx {
inline namespace PHX_BUILD {

inline tracker::tracker(std::string_view node, std::uint64_t start, tracker_options const& options)
    : options_(options), name_(node), start_(start), mark_(mark_of(node, start)), index_(options.any_key) {
  if (std::string_view const fault = options.fault(); !fault.empty()) detail::no_value(fault.data());
}

/// The first bytes of all refs of one run of a node. Every node computes the same.
inline std::uint64_t tracker::mark_of(std::string_view name, std::uint64_t start) noexcept {
  std::uint64_t h = start * 0x9E3779B97F4A7C15ull + 0xCBF29CE484222325ull;
  for (char const c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  h ^= h >> 32;
  h *= 0xD6E8FEB86659FD93ull;
  return (h ^ h >> 32) & detail::last_dot;
}

// ---- entries of this node

inline tracker::entry_ptr tracker::add_own(detail::dot clock, detail::dot prev, std::string_view topic, std::string_view key,
                                           std::string_view members, detail::slots_by_dot::iterator replaced) {
  detail::slots_by_dot fresh;
  entry_ptr made = detail::make_entry(mark_, clock, prev, topic, key, members);
  fresh[clock].entry = made;
  detail::listing shown(index_);
  shown.prepare(fresh);
  if (replaced != own_.end()) remove_own(replaced);
  shown.list_all();
  own_.merge(fresh);
  clock_ = clock;
  return made;
}

inline void tracker::remove_own(detail::slots_by_dot::iterator at) noexcept {
  detail::dot const entry = at->first, tick = ++clock_;
  index_.hide(at->second);
  own_.erase(at);
  if (options_.alone) return;
  bool const noted = detail::try_invoke([&] { removals_.push_back({tick, entry}); }, [](char const*) {});
  if (!noted) {  // without memory the leaves so far are forgotten: a node that asks gets the full state
    removals_.clear();
    removals_known_after_ = tick;
  }
  while (removals_.size() > options_.kept) {
    removals_known_after_ = removals_.front().tick;
    removals_.pop_front();
  }
}

/// Continues as a later run of this node, with the same entries under new refs. May throw std::bad_alloc; then nothing has
/// changed.
inline void tracker::restart_above(std::uint64_t start) {
  // Not just one more: an earlier run of this node may have used that number, and another node may know it.
  std::uint64_t const greater = start + 1 + mark_ % max_start_step, mark = mark_of(name_, greater);
  detail::slots_by_dot fresh;
  for (auto const& [clock, slot] : own_) {
    detail::presence_entry const& e = *slot.entry;
    fresh[clock].entry = detail::make_entry(mark, clock, e.prev, e.topic, e.key, e.members());
  }
  detail::listing shown(index_);
  shown.prepare(fresh);
  for (auto& [clock, slot] : own_) index_.hide(slot);
  shown.list_all();
  own_.swap(fresh);
  start_ = greater;
  mark_ = mark;
  reported_ = clock_;  // so that the others request the entries
  clocks_due_ = true;  // and soon
  ++counts_.restarts;
}

inline void tracker::learn_start(std::uint64_t known_to_others) noexcept {
  if (known_to_others <= start_ || known_to_others > UINT64_MAX - max_start_step) return;
  if (counts_.restarts >= max_restarts) return;
  if (namesake_.start == known_to_others && now_ < saturating_add(namesake_.heard, options_.down)) return;
  // Without memory, the next message triggers it again.
  (void)detail::try_invoke([&] { restart_above(known_to_others); }, [](char const*) {});
}

// ---- other nodes

inline bool tracker::receive(std::string_view bytes) {
  detail::wire_message m;
  if (options_.alone || !detail::read(bytes, m)) {
    ++counts_.garbage;
    return false;
  }
  if (m.sender == name_) {
    ++counts_.same_name;
    if (m.start >= namesake_.start) namesake_ = {m.start, now_};
    return false;
  }
  std::uint64_t greatest = 0;
  for (detail::wire_clock const& c : m.clocks)
    if (c.name == name_ && c.start > greatest) greatest = c.start;
  switch (m.kind) {
    case detail::wire_kind::heartbeat: on_heartbeat(m); break;
    case detail::wire_kind::request:
      if (replica* const r = find(m.sender, m.start)) {  // an unknown node's request is repeated once it is known
        r->wants = std::move(m.clocks);
        r->answer = true;
      }
      break;
    case detail::wire_kind::state:
      for (detail::wire_section const& part : m.sections) merge(part, m.sender, m.start);
      break;
    case detail::wire_kind::goodbye:
      if (find(m.sender, m.start) != nullptr) forget(position(m.sender));
      break;
  }
  learn_start(greatest);
  (void)write_parcels();
  return true;
}

inline void tracker::on_heartbeat(detail::wire_message& m) {
  std::size_t const at = position(m.sender);
  bool const has_name = at != others_.size();
  if (has_name && others_[at]->start > m.start) {
    // A late message of an old run, or of a new run whose clock was set back. Only the node itself can tell: greet it.
    others_[at]->greet = true;
    return;
  }
  bool const is_new = !has_name || others_[at]->start < m.start;
  if (!has_name && others_.size() >= options_.nodes) {
    ++counts_.refused;
    return;
  }
  // Everything that may fail comes first.
  std::unique_ptr<replica> made;
  if (is_new) {
    made = std::make_unique<replica>();
    made->name = m.sender;
    made->start = m.start;
    made->mark = mark_of(m.sender, m.start);
    others_.reserve(others_.size() + 1);
  }
  replica& r = is_new ? *made : *others_[at];
  bool const news = is_new || !r.up;
  std::optional<detail::merge_plan> first;
  detail::listing shown(index_), fresh(index_);
  if (news) shown.prepare(r.values);
  bool const of_itself = !m.sections.empty() && m.sections[0].name == m.sender && m.sections[0].start == m.start;
  if (of_itself) first = plan(r, m.sections[0], m.sender, m.start);
  if (first) fresh.prepare(first->fresh);

  if (is_new && has_name) {  // the node was restarted: remove the entries of its earlier run
    hide_all(*others_[at]);
    others_[at] = std::move(made);
  } else if (is_new) {
    others_.push_back(std::move(made));
  }
  shown.list_all();
  r.up = r.heard_since_tick = true;
  r.clocks = std::move(m.clocks);
  if (first) detail::carry_out(*first, r, m.sections[0], index_, fresh);
  if (news) {
    // Greet it at once, so that it learns of this node and sends its state at once; otherwise a restart would be visible two
    // periods later.
    r.greet = true;
    if (known(r.clocks, r.name, r.start) > r.seen.contiguous()) request(r);
  }
  for (std::size_t i = of_itself ? 1 : 0; i < m.sections.size(); ++i) merge(m.sections[i], m.sender, m.start);
}

inline std::optional<detail::merge_plan> tracker::plan(replica const& r, detail::wire_section const& part,
                                                       std::string_view from, std::uint64_t start) {
  bool too_much = false;
  std::optional<detail::merge_plan> planned = detail::plan_merge(r, part, from, start, options_.entries, too_much);
  if (too_much) ++counts_.refused;
  return planned;
}
inline void tracker::merge(detail::wire_section const& part, std::string_view from, std::uint64_t start) {
  if (part.name == name_) return;  // this node knows its own entries best
  replica* const r = find(part.name, part.start);
  if (r == nullptr) return;  // never heard, or forgotten: the node itself will be asked
  std::optional<detail::merge_plan> planned = plan(*r, part, from, start);
  if (!planned) return;
  detail::listing fresh(index_);
  if (r->up) fresh.prepare(planned->fresh);
  detail::carry_out(*planned, *r, part, index_, fresh);
}

/// For each node of which another one has seen more: chooses whom to ask for the difference.
inline void tracker::decide() noexcept {
  for (auto const& r : others_) r->asked = false;
  for (auto const& about : others_) {
    if (!about->up) continue;
    replica* best = nullptr;
    detail::dot most = about->seen.contiguous();
    for (auto const& candidate : others_) {
      if (!candidate->up) continue;
      // If two have seen equally much, prefer the node itself.
      detail::dot const seen = known(candidate->clocks, about->name, about->start);
      if (seen > most || (seen == most && best != nullptr && candidate == about)) {
        best = candidate.get();
        most = seen;
      }
    }
    if (best != nullptr) request(*best);
  }
}

inline time_point tracker::tick(time_point now) noexcept {
  if (options_.alone) return (time_point::max)();
  now_ = now;
  due_ = (time_point::max)();
  for (std::size_t i = 0; i < others_.size();) {
    replica& r = *others_[i];
    if (std::exchange(r.heard_since_tick, false)) r.heard = now;
    time_point const down = saturating_add(r.heard, options_.down), forgotten = saturating_add(r.heard, options_.permdown);
    if (now >= forgotten) {
      forget(i);
      continue;
    }
    if (r.up && now >= down) hide_all(r);
    sooner(r.up ? down : forgotten);
    ++i;
  }
  if (now >= next_period_) {
    bool const first = next_period_ == (time_point::min)();
    next_period_ = saturating_add(now, options_.period);
    // Spread the periods of nodes that were started together.
    if (first) next_period_ -= options_.period / 1024 * static_cast<int>(mark_ % 256);
    if (clock_ != reported_ || first || ++silent_ >= options_.silent_periods) {
      silent_ = 0;
      heartbeat_due_ = true;
    }
    if (++sampled_ >= sample_periods) {
      sampled_ = 0;
      decide();
    }
  }
  sooner(next_period_);
  // Retry soon: memory may be available again.
  if (!write_parcels()) sooner(saturating_add(now, std::chrono::milliseconds(100)));
  return due_;
}

// ---- messages to send

/// The dots seen of all nodes that are up, and of `to` even if it is down: it may need to learn of its earlier run.
inline std::vector<detail::wire_clock> tracker::clocks_for(std::string_view to) const {
  std::vector<detail::wire_clock> all{{name_, start_, clock_}};
  for (auto const& r : others_)
    if (r->up || r->name == to) all.push_back({r->name, r->start, r->seen.contiguous()});
  return all;
}

inline void tracker::write_heartbeat(std::string const& to, bool with_news) {
  auto const begin = [&](detail::wire_kind kind) { return detail::wire_writer(kind, name_, start_); };
  detail::wire_writer out = begin(detail::wire_kind::heartbeat);
  out.clocks(clocks_for(to));
  bool any = false;
  if (with_news) {
    // What is no longer known will be requested.
    (void)write_delta(reported_, [&](detail::written_section const& part) {
      if (std::exchange(any, true)) out = begin(detail::wire_kind::state);
      out.sections({&part, 1});
      post(to, std::move(out.bytes));
    });
  }
  if (!any) {
    out.sections({});
    post(to, std::move(out.bytes));
  }
  ++counts_.heartbeats;
}

inline void tracker::write_request(replica const& to) {
  detail::wire_writer out(detail::wire_kind::request, name_, start_);
  out.clocks(clocks_for({}));
  post(to.name, std::move(out.bytes));
  ++counts_.requests;
}

inline void tracker::write_answer(replica const& to) {
  ++counts_.transfers;
  auto const send = [&](detail::written_section const& part) {
    detail::wire_writer out(detail::wire_kind::state, name_, start_);
    out.sections({&part, 1});
    post(to.name, std::move(out.bytes));
  };
  if (detail::dot const has = known(to.wants, name_, start_); has < clock_ && !write_delta(has, send))
    write_whole(name_, start_, detail::dot_set({{1, clock_}}), own_, send);
  // `to` may not be able to ask the other nodes itself.
  for (auto const& r : others_)
    if (r.get() != &to)
      for (detail::wire_clock const& c : to.wants)
        if (c.start == r->start && c.name == r->name && c.seen < r->seen.contiguous())
          write_whole(r->name, r->start, r->seen, r->values, send);
}

template <class Send>
bool tracker::write_delta(detail::dot since, Send send) const {
  if (since < removals_known_after_) return false;
  auto removed = std::partition_point(removals_.begin(), removals_.end(), [&](removal const& r) { return r.tick <= since; });
  auto at = own_.lower_bound(since + 1);
  for (detail::dot first = since + 1; first <= clock_;) {
    std::vector<detail::presence_entry const*> some;
    detail::dot last = clock_;
    for (std::size_t size = 0; at != own_.end(); ++at) {
      if (size >= options_.message) {
        last = at->first - 1;
        break;
      }
      some.push_back(at->second.entry.get());
      size += some.back()->size();
    }
    std::vector<detail::dot_range> gone;
    for (; removed != removals_.end() && removed->tick <= last; ++removed) gone.push_back({removed->entry, removed->entry});
    std::sort(gone.begin(), gone.end(), [](detail::dot_range a, detail::dot_range b) { return a.first < b.first; });
    detail::dot_set ticks = detail::dot_set({{first, last}}).united(detail::dot_set(std::move(gone)));
    send(detail::written_section{name_, start_, 0, 0, 0, std::move(ticks), std::move(some)});
    first = last + 1;
  }
  return true;
}

template <class Send>
void tracker::write_whole(std::string_view name, std::uint64_t start, detail::dot_set const& seen,
                          detail::slots_by_dot const& values, Send send) const {
  auto at = values.begin();
  for (detail::dot first = 1; first <= detail::last_dot;) {
    std::vector<detail::presence_entry const*> some;
    detail::dot last = detail::last_dot;
    for (std::size_t size = 0; at != values.end(); ++at) {
      if (size >= options_.message) {
        last = at->first - 1;
        break;
      }
      some.push_back(at->second.entry.get());
      size += some.back()->size();
    }
    send(detail::written_section{name, start, first, last, counts_.transfers, seen.within(first, last), std::move(some)});
    first = last + 1;
  }
}

/// Writes all messages that are due. @return false if memory ran out; the rest stays due.
inline bool tracker::write_parcels() noexcept {
  bool all = true;
  auto const attempt = [&](bool& due, auto write) {
    if (!due) return;
    std::size_t const before = parcels_.size();
    due = !detail::try_invoke(write, [](char const*) {});
    if (!due) return;
    parcels_.erase(parcels_.begin() + static_cast<std::ptrdiff_t>(before), parcels_.end());
    all = false;
  };
  attempt(heartbeat_due_, [&] {
    write_heartbeat({}, true);
    reported_ = clock_;
  });
  attempt(clocks_due_, [&] { write_heartbeat({}, false); });
  for (auto const& r : others_) {
    attempt(r->greet, [&] { write_heartbeat(r->name, false); });
    attempt(r->ask, [&] { write_request(*r); });
    attempt(r->answer, [&] { write_answer(*r); });
  }
  return all;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

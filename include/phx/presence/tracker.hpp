#ifndef PHX_PRESENCE_TRACKER_HPP
#define PHX_PRESENCE_TRACKER_HPP
// The list of who is present, kept alike on several nodes (protocol 14.4): a state machine. What other nodes said and the
// time go in; what is to be told to all of them or to one comes out, and who came and who went. No PubSub, no thread, no
// clock in here.
//
// Every node counts what it does: each tick of its clock is a join or a leave. A join's tick names its entry for ever (its
// dot), so an entry that was seen and is not there any more was removed, and can never be added again: joins win over leaves
// that did not know them, and messages may be lost, doubled and reordered. What is told of a node are ranges of its ticks,
// with those entries in them that still live. Whoever counts a tick as seen must know what it did, also if it removed an
// older entry:
//   - a delta names for each of its ticks the entry which that removed: it may be cut anywhere and merged at any time;
//   - of a whole state nobody knows any more which tick removed what. A piece of it says of older entries that they are gone
//   and
//     brings those that are there, but its other ticks count only once all pieces before it have come.
//
// Phoenix keeps generations of merged deltas; here the last `kept` leaves are enough to answer a node that missed something,
// and one that missed more gets everything. The encoding is our own: Erlang's needs pids (14.4 advises against sharing).
//
//   state of another node \ event | it is heard            | silent for `down` | silent for `permdown`, or says goodbye
//   unknown                       | up, greeted, asked     |                   |
//   up                            | merged                 | down: entries hid | forgotten
//   down                          | up: entries shown      |                   | forgotten
//   A newer start of a known name: the old one is forgotten. An older one is ignored.

#include <phx/core/close.hpp>
#include <phx/presence/detail/wire.hpp>

#include <deque>

namespace phx {
inline namespace PHX_BUILD {

/// Phoenix's defaults (protocol 14.4).
struct tracker_options {
  duration period = std::chrono::milliseconds(1500);  ///< between two messages to all, when there is something to tell
  std::uint32_t silent_periods = 10;                  ///< after so many without one a heartbeat goes out all the same
  duration down = std::chrono::seconds(30);           ///< a node not heard for so long is down: its entries are hidden
  duration permdown = std::chrono::minutes(20);       ///< then it is forgotten, with its entries
  std::uint32_t sample_periods = 2;                   ///< between two decisions whom to ask for what was missed
  std::uint32_t kept = 10'000;        ///< leaves that can be told again one by one; a node that missed more gets all
  std::uint32_t nodes = 128;          ///< other nodes known at once; more are ignored and counted
  std::uint32_t entries = 1'000'000;  ///< of one other node; what goes beyond is ignored and counted
  std::uint32_t gaps = 10'000;        ///< in what was heard of one node; a message that would make more waits
  std::size_t message = 256 * 1024;   ///< bytes of one message, about: more is cut into several
  bool any_key = false;               ///< show keys that break JavaScript objects, when another node has them
  bool alone = false;                 ///< there are no other nodes: nothing is kept for them
};

class tracker {
 public:
  using entry_ptr = detail::entry_ptr;
  /// Somebody came or went. Of an update first the old one goes, then the new one comes.
  struct change {
    entry_ptr entry;
    bool joined;
  };
  /// Bytes for the PubSub: to the node of that name, or to all others.
  struct parcel {
    std::string to;  ///< empty: to all
    std::string bytes;
  };
  struct counts {
    std::uint64_t garbage = 0;                                  ///< messages that were none of ours, or broken
    std::uint64_t refused = 0;                                  ///< parts beyond a bound
    std::uint64_t same_name = 0;                                ///< messages of another node that has this one's name
    std::uint64_t heartbeats = 0, requests = 0, transfers = 0;  ///< sent
  };

  /// @param node its name, no other's. @param start greater than at any earlier start of a node of this name.
  tracker(std::string_view node, std::uint64_t start, tracker_options const& opts = {})
      : opts_(opts), name_(node), start_(start), mark_(mark_of(node, start)) {}

  // ---- what happens on this node

  /// @param members of the meta, as detail::meta_members makes them.
  entry_ptr join(std::string_view topic, std::string_view key, std::string_view members) {
    entry_ptr const made = detail::make_entry(mark_, clock_ + 1, 0, topic, key, members);
    add_own(made);
    return made;
  }
  /// @return whether there was such an entry.
  bool leave(detail::dot which) {
    auto const at = own_.find(which);
    if (at == own_.end()) return false;
    remove_own(at);
    return true;
  }
  /// A leave and a join in one. Null if there is no such entry.
  entry_ptr update(detail::dot which, std::string_view members) {
    auto const at = own_.find(which);
    if (at == own_.end()) return nullptr;
    entry_ptr const made = detail::make_entry(mark_, clock_ + 2, which, at->second->topic, at->second->key, members);
    remove_own(at);
    add_own(made);
    return made;
  }
  /// This node goes away, and wants to be forgotten at once.
  void goodbye() {
    if (opts_.alone) return;
    detail::wire_writer out(detail::wire_kind::goodbye, name_, start_);
    post({}, std::move(out.bytes));
  }

  // ---- what other nodes said

  /// Any bytes. @return false: they were not understood, and nothing has changed.
  bool receive(std::string_view bytes);

  // ---- time

  /// To be called at the time that it returned last, or any time before.
  time_point tick(time_point now);
  /// When `tick` has something to do. (time_point::min)(): it was not called yet.
  [[nodiscard]] time_point due() const noexcept { return opts_.alone ? (time_point::max)() : due_; }

  // ---- what comes of it

  [[nodiscard]] std::vector<parcel> take_parcels() { return std::exchange(parcels_, {}); }
  [[nodiscard]] std::vector<change> take_changes() { return std::exchange(changes_, {}); }

  /// Who is present on a topic, on the nodes that are up. Null: nobody. It lives until something changes.
  [[nodiscard]] detail::entries_by_key const* list(std::string_view topic) const {
    auto const at = topics_.find(topic);
    return at == topics_.end() ? nullptr : &at->second;
  }
  template <class F>
  void for_each(F&& each) const {
    for (auto const& [topic, keys] : topics_)
      for (auto const& [key, metas] : keys)
        for (entry_ptr const& e : metas) each(e);
  }
  [[nodiscard]] entry_ptr own(detail::dot which) const {
    auto const at = own_.find(which);
    return at == own_.end() ? nullptr : at->second;
  }
  [[nodiscard]] std::string_view node() const noexcept { return name_; }
  /// Other nodes that are up.
  [[nodiscard]] std::uint32_t others_up() const noexcept {
    std::uint32_t up = 0;
    for (auto const& r : others_) up += r->up ? 1u : 0u;
    return up;
  }
  [[nodiscard]] std::uint32_t others_known() const noexcept { return static_cast<std::uint32_t>(others_.size()); }
  [[nodiscard]] counts const& counted() const noexcept { return counts_; }

 private:
  struct replica {
    std::string name;
    std::uint64_t start, mark;
    bool up = true;
    bool heard_since = true;  // since the last tick, which alone knows the time
    bool asked = false;       // since the last decision
    time_point heard{};
    detail::dot_set seen{};
    std::map<detail::dot, entry_ptr> values{};
    std::vector<detail::wire_clock> says{};  // what it last said that it has seen
    struct {                                 // the whole state that comes in pieces
      std::string from{};
      std::uint64_t start = 0, number = 0;
      detail::dot_set come{}, seen{};
    } taking{};
  };
  struct removal {
    detail::dot tick, entry;
  };

  [[nodiscard]] static std::uint64_t mark_of(std::string_view name, std::uint64_t start) noexcept {
    std::uint64_t h = start * 0x9E3779B97F4A7C15ull + 0xCBF29CE484222325ull;
    for (char const c : name) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93ull;
    return (h ^ h >> 32) & detail::last_dot;
  }

  // ---- own

  void add_own(entry_ptr const& made) {
    own_.emplace(made->clock, made);
    clock_ = made->clock;
    show(made);
  }
  void remove_own(std::map<detail::dot, entry_ptr>::iterator at) {
    entry_ptr const gone = std::move(at->second);
    own_.erase(at);
    ++clock_;
    if (!opts_.alone) {
      removals_.push_back({clock_, gone->clock});
      while (removals_.size() > opts_.kept) {
        removals_known_after_ = removals_.front().tick;
        removals_.pop_front();
      }
    }
    hide(gone);
  }

  // ---- the list

  [[nodiscard]] bool shown(detail::presence_entry const& e) const noexcept {
    return opts_.any_key || !detail::unsafe_key(e.key);
  }
  void show(entry_ptr const& e) {
    if (!shown(*e)) return;
    topics_[e->topic][e->key].push_back(e);
    changes_.push_back({e, true});
  }
  void hide(entry_ptr const& e) {
    if (!shown(*e)) return;
    auto const topic = topics_.find(e->topic);
    auto const key = topic->second.find(e->key);
    std::erase(key->second, e);
    if (key->second.empty()) topic->second.erase(key);
    if (topic->second.empty()) topics_.erase(topic);
    changes_.push_back({e, false});
  }

  // ---- others

  [[nodiscard]] replica* find(std::string_view name, std::uint64_t start) noexcept {
    for (auto const& r : others_)
      if (r->start == start && r->name == name) return r.get();
    return nullptr;
  }
  void set_up(replica& r) {
    r.up = true;
    for (auto const& [clock, e] : r.values) show(e);
  }
  void set_down(replica& r) {
    if (!std::exchange(r.up, false)) return;
    for (auto const& [clock, e] : r.values) hide(e);
  }
  void forget(std::size_t at) {
    set_down(*others_[at]);
    others_.erase(others_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  /// The sender of a heartbeat, made known and up. Null: it is an old life of its node, or one too many.
  [[nodiscard]] replica* sender(std::string_view name, std::uint64_t start, bool& news);
  void merge(detail::wire_section const& part, std::string_view from, std::uint64_t start);
  [[nodiscard]] static std::optional<detail::dot_set> credit(replica& r, detail::wire_section const& part,
                                                             std::string_view from, std::uint64_t start);
  void ask(replica& whom);
  void answer(std::string_view node, std::uint64_t start, std::vector<detail::wire_clock> const& knows);
  void sooner(time_point at) noexcept {
    if (at < due_) due_ = at;
  }
  void post(std::string to, std::string bytes) { parcels_.push_back({std::move(to), std::move(bytes)}); }

  [[nodiscard]] std::vector<detail::wire_clock> clocks() const {
    std::vector<detail::wire_clock> all{{name_, start_, clock_}};
    for (auto const& r : others_)
      if (r->up) all.push_back({r->name, r->start, r->seen.contiguous()});
    return all;
  }
  [[nodiscard]] static detail::dot known(std::vector<detail::wire_clock> const& clocks, std::string_view name,
                                         std::uint64_t start) noexcept {
    for (detail::wire_clock const& c : clocks)
      if (c.start == start && c.name == name) return c.seen;
    return 0;
  }

  void heartbeat(std::string const& to, bool with_news);
  /// What happened here after `since`, cut into messages. @return false: too much is not known any more.
  template <class Send>
  [[nodiscard]] bool tell_delta(detail::dot since, Send send) const;
  template <class Send>
  void tell_whole(std::string_view name, std::uint64_t start, detail::dot_set const& seen,
                  std::map<detail::dot, entry_ptr> const& values, Send send) const;
  [[nodiscard]] static std::size_t size_of(detail::presence_entry const& e) noexcept {
    return e.topic.size() + e.key.size() + e.json.size();
  }
  void decide();

  tracker_options opts_;
  std::string name_;
  std::uint64_t start_, mark_;
  detail::dot clock_ = 0, reported_ = 0;  // ticks so far, and up to the last heartbeat
  std::map<detail::dot, entry_ptr> own_;
  std::deque<removal> removals_;  // the last ones
  detail::dot removals_known_after_ = 0;
  std::map<std::string, detail::entries_by_key, std::less<>> topics_;
  std::vector<std::unique_ptr<replica>> others_;
  std::vector<parcel> parcels_;
  std::vector<change> changes_;
  time_point due_ = (time_point::min)(), next_period_ = (time_point::min)();
  std::uint32_t silent_ = 0, sampled_ = 0;
  counts counts_{};
};

inline tracker::replica* tracker::sender(std::string_view name, std::uint64_t start, bool& news) {
  for (std::size_t i = 0; i < others_.size(); ++i) {
    replica& r = *others_[i];
    if (r.name != name) continue;
    if (r.start > start) return nullptr;
    if (r.start < start) {  // it was started anew: what its old life left behind goes
      forget(i);
      break;
    }
    r.heard_since = true;
    if (!r.up) {
      set_up(r);
      news = true;
    }
    return &r;
  }
  if (others_.size() >= opts_.nodes) {
    ++counts_.refused;
    return nullptr;
  }
  auto made = std::make_unique<replica>();
  made->name = name;
  made->start = start;
  made->mark = mark_of(name, start);
  others_.push_back(std::move(made));
  news = true;
  return others_.back().get();
}

inline bool tracker::receive(std::string_view bytes) {
  detail::wire_message m;
  if (opts_.alone || !detail::read(bytes, m)) {
    ++counts_.garbage;
    return false;
  }
  if (m.sender == name_) {
    ++counts_.same_name;
    return false;
  }
  switch (m.kind) {
    case detail::wire_kind::heartbeat: {
      bool news = false;
      replica* const r = sender(m.sender, m.start, news);
      if (r == nullptr) break;
      r->says = std::move(m.clocks);
      for (detail::wire_section const& part : m.sections) merge(part, m.sender, m.start);
      if (!news) break;
      // It learns of this node at once, and tells at once what it has: a restart would else be seen two periods later.
      heartbeat(r->name, false);
      if (known(r->says, r->name, r->start) > r->seen.contiguous()) ask(*r);
      break;
    }
    case detail::wire_kind::request: answer(m.sender, m.start, m.clocks); break;
    case detail::wire_kind::state:
      for (detail::wire_section const& part : m.sections) merge(part, m.sender, m.start);
      break;
    case detail::wire_kind::goodbye:
      for (std::size_t i = 0; i < others_.size(); ++i)
        if (others_[i]->name == m.sender && others_[i]->start == m.start) {
          forget(i);
          break;
        }
      break;
  }
  return true;
}

/// The ticks of `part` that count as seen. Nothing: it is a piece of an older state than the one that is coming in.
inline std::optional<detail::dot_set> tracker::credit(replica& r, detail::wire_section const& part, std::string_view from,
                                                      std::uint64_t start) {
  if (part.first == 0) return part.seen;
  auto& t = r.taking;
  if (t.from != from || t.start != start || t.number < part.number) t = {std::string(from), start, part.number, {}, {}};
  if (t.number > part.number) return std::nullopt;
  t.come = t.come.united(detail::dot_set({{part.first, part.last}}));
  t.seen = t.seen.united(part.seen);
  // A tick that made an entry removed nothing.
  std::vector<detail::dot_range> joins;
  for (detail::wire_value const& v : part.values) joins.push_back({v.clock, v.clock});
  return t.seen.within(1, t.come.contiguous()).united(detail::dot_set(std::move(joins)));
}

inline void tracker::merge(detail::wire_section const& part, std::string_view from, std::uint64_t start) {
  if (part.name == name_) return;  // nobody knows better
  replica* const r = find(part.name, part.start);
  if (r == nullptr) return;  // never heard, or forgotten: it will be asked itself
  std::optional<detail::dot_set> const ticks = credit(*r, part, from, start);
  if (!ticks) return;
  detail::dot_set all = r->seen.united(*ticks);
  if (std::size_t const most = opts_.gaps + std::size_t{1};
      all.ranges().size() > most || r->taking.seen.ranges().size() > most) {
    ++counts_.refused;
    r->taking = {};
    return;
  }
  std::size_t fresh = 0;
  for (detail::wire_value const& v : part.values) fresh += r->seen.contains(v.clock) ? 0u : 1u;
  if (r->values.size() + fresh > opts_.entries) {
    ++counts_.refused;
    return;
  }
  // What it has seen and does not have any more goes: first, so that of an update the old one goes before the new one comes.
  auto next = part.values.begin();
  for (detail::dot_range const range : part.seen.ranges()) {
    for (auto at = r->values.lower_bound(range.first); at != r->values.end() && at->first <= range.last;) {
      while (next != part.values.end() && next->clock < at->first) ++next;
      if (next != part.values.end() && next->clock == at->first) {
        ++at;
        continue;
      }
      entry_ptr const gone = std::move(at->second);
      at = r->values.erase(at);
      if (r->up) hide(gone);
    }
  }
  for (detail::wire_value const& v : part.values) {
    if (r->seen.contains(v.clock)) continue;
    entry_ptr const made = detail::make_entry(r->mark, v.clock, v.prev, v.topic, v.key, v.members);
    r->values.emplace(v.clock, made);
    if (r->up) show(made);
  }
  r->seen = std::move(all);
}

template <class Send>
bool tracker::tell_delta(detail::dot since, Send send) const {
  if (since < removals_known_after_) return false;
  auto removed = removals_.begin();
  while (removed != removals_.end() && removed->tick <= since) ++removed;
  auto at = own_.lower_bound(since + 1);
  for (detail::dot first = since + 1; first <= clock_;) {
    std::vector<detail::presence_entry const*> some;
    detail::dot last = clock_;
    for (std::size_t size = 0; at != own_.end(); ++at) {
      if (size >= opts_.message) {
        last = at->first - 1;
        break;
      }
      some.push_back(at->second.get());
      size += size_of(*at->second);
    }
    std::map<detail::dot, detail::dot> sorted;
    for (; removed != removals_.end() && removed->tick <= last; ++removed) sorted.emplace(removed->entry, removed->tick);
    std::vector<detail::dot_range> gone;
    for (auto const& [entry, tick] : sorted) gone.push_back({entry, entry});
    detail::dot_set ticks = detail::dot_set({{first, last}}).united(detail::dot_set(std::move(gone)));
    send(detail::written_section{name_, start_, 0, 0, 0, std::move(ticks), std::move(some)});
    first = last + 1;
  }
  return true;
}

template <class Send>
void tracker::tell_whole(std::string_view name, std::uint64_t start, detail::dot_set const& seen,
                         std::map<detail::dot, entry_ptr> const& values, Send send) const {
  auto at = values.begin();
  for (detail::dot first = 1; first <= detail::last_dot;) {
    std::vector<detail::presence_entry const*> some;
    detail::dot last = detail::last_dot;
    for (std::size_t size = 0; at != values.end(); ++at) {
      if (size >= opts_.message) {
        last = at->first - 1;
        break;
      }
      some.push_back(at->second.get());
      size += size_of(*at->second);
    }
    send(detail::written_section{name, start, first, last, counts_.transfers, seen.within(first, last), std::move(some)});
    first = last + 1;
  }
}

inline void tracker::heartbeat(std::string const& to, bool with_news) {
  ++counts_.heartbeats;
  auto const begin = [&](detail::wire_kind kind) { return detail::wire_writer(kind, name_, start_); };
  detail::wire_writer out = begin(detail::wire_kind::heartbeat);
  out.clocks(clocks());
  bool ok = false;
  if (with_news) {
    // What is not known any more will be asked for.
    (void)tell_delta(reported_, [&](detail::written_section const& part) {
      if (std::exchange(ok, true)) out = begin(detail::wire_kind::state);
      out.sections({&part, 1});
      post(to, std::move(out.bytes));
    });
    reported_ = clock_;
  }
  if (ok) return;
  out.sections({});
  post(to, std::move(out.bytes));
}

inline void tracker::ask(replica& whom) {
  if (std::exchange(whom.asked, true)) return;
  ++counts_.requests;
  detail::wire_writer out(detail::wire_kind::request, name_, start_);
  out.clocks(clocks());
  post(whom.name, std::move(out.bytes));
}

inline void tracker::answer(std::string_view node, std::uint64_t start, std::vector<detail::wire_clock> const& knows) {
  if (find(node, start) == nullptr) return;  // it will ask again when it is known
  ++counts_.transfers;
  auto const send = [&](detail::written_section const& part) {
    detail::wire_writer out(detail::wire_kind::state, name_, start_);
    out.sections({&part, 1});
    post(std::string(node), std::move(out.bytes));
  };
  if (detail::dot const has = known(knows, name_, start_); has < clock_ && !tell_delta(has, send))
    tell_whole(name_, start_, detail::dot_set({{1, clock_}}), own_, send);
  // What it missed of others, it may not be able to ask them itself.
  for (auto const& r : others_)
    if (r->name != node)
      for (detail::wire_clock const& c : knows)
        if (c.start == r->start && c.name == r->name && c.seen < r->seen.contiguous())
          tell_whole(r->name, r->start, r->seen, r->values, send);
}

/// Who has seen more of anybody than this node, and is asked for it.
inline void tracker::decide() {
  for (auto const& r : others_) r->asked = false;
  for (auto const& about : others_) {
    if (!about->up) continue;
    replica* best = nullptr;
    detail::dot most = about->seen.contiguous();
    for (auto const& whom : others_) {
      if (!whom->up) continue;
      // Of two that know as much it is the node itself.
      detail::dot const has = known(whom->says, about->name, about->start);
      if (has > most || (has == most && best != nullptr && whom == about)) {
        best = whom.get();
        most = has;
      }
    }
    if (best != nullptr) ask(*best);
  }
}

inline time_point tracker::tick(time_point now) {
  if (opts_.alone) return (time_point::max)();
  due_ = (time_point::max)();
  for (std::size_t i = 0; i < others_.size();) {
    replica& r = *others_[i];
    if (std::exchange(r.heard_since, false)) r.heard = now;
    if (now - r.heard >= opts_.permdown) {
      forget(i);
      continue;
    }
    if (r.up && now - r.heard >= opts_.down) set_down(r);
    sooner(r.heard + (r.up ? opts_.down : opts_.permdown));
    ++i;
  }
  if (now >= next_period_) {
    bool const first = next_period_ == (time_point::min)();
    next_period_ = now + opts_.period;
    // Nodes that were started together should not speak together.
    if (first) next_period_ -= opts_.period * static_cast<int>(mark_ % 256) / 1024;
    if (clock_ != reported_ || first || ++silent_ >= opts_.silent_periods) {
      silent_ = 0;
      heartbeat({}, true);
    }
    if (++sampled_ >= opts_.sample_periods) {
      sampled_ = 0;
      decide();
    }
  }
  sooner(next_period_);
  return due_;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

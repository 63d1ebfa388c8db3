#ifndef PHX_PRESENCE_TRACKER_HPP
#define PHX_PRESENCE_TRACKER_HPP
// Keeps the list of who is present alike on several nodes (protocol 14.4). A state machine: messages of other nodes and the
// time go in, messages for them and changes of the list come out. It knows no PubSub, no thread and no clock.
//
// The list is an add-wins observed-remove set without tombstones (ORSWOT: Bieniusa and others, "An optimized conflict-free
// replicated set", 2012), told in deltas (Almeida, Shoker, Baquero, "Delta state replicated data types", 2016). Every node
// counts what it does: each tick of its counter is a join or a leave. The tick of a join names its entry for ever: the
// entry's dot. An entry that was seen and is not there any more was removed and can never be added again, so messages may be
// lost, doubled and reordered. What is told of a node are ranges of its ticks, with those entries in them that still live.
// Whoever counts a tick as seen must know what it did, also if it removed an older entry:
//   - a delta names for each of its ticks the entry which that removed: it may be cut anywhere and merged at any time;
//   - of a whole state nobody knows any more which tick removed what. A piece of it says of older entries that they are gone
//   and
//     brings those that are there, but its other ticks count only once all pieces before it have come.
//
// Phoenix keeps generations of merged deltas; here the last `kept` leaves are enough to answer a node that missed something,
// and one that missed more gets everything. The encoding is our own: Erlang's needs pids (14.4 advises against sharing).
//
//   state of another node \ event | it is heard            | silent for `down`    | silent for `permdown`, or says goodbye
//   unknown                       | up, greeted, asked     |                      |
//   up                            | merged                 | down: entries hidden | forgotten
//   down                          | up: entries shown      |                      | forgotten
//   A newer start of a known name: the old one is forgotten. An older one is told so, and not merged: see tracker::receive.

#include <phx/presence/detail/replica.hpp>

#include <deque>

namespace phx {
inline namespace PHX_BUILD {

/// Phoenix's defaults (protocol 14.4).
struct tracker_options {
  duration period = std::chrono::milliseconds(1500);  ///< between two messages to all, when there is something to tell
  std::uint32_t silent_periods = 10;                  ///< after so many without one a heartbeat goes out all the same
  duration down = std::chrono::seconds(30);           ///< a node not heard for so long is down: its entries are hidden
  duration permdown = std::chrono::minutes(20);       ///< then it is forgotten, with its entries
  std::uint32_t kept = 10'000;        ///< leaves that can be told again one by one; a node that missed more gets all
  std::uint32_t nodes = 128;          ///< other nodes known at once; more are ignored and counted
  std::uint32_t entries = 1'000'000;  ///< of one other node; what goes beyond is ignored and counted
  std::size_t message = 256 * 1024;   ///< bytes of one message, about: more is cut into several
  bool any_key = false;               ///< show keys that break JavaScript objects, when another node has them
  bool alone = false;                 ///< there are no other nodes: nothing is kept for them

  /// Why nodes with these options would take each other for dead again and again. Empty: they would not.
  [[nodiscard]] std::string_view fault() const noexcept {
    if (period <= duration::zero()) return "tracker_options::period must be positive";
    // A node with nothing to tell is silent for `silent_periods`, and its heartbeat may be a period late.
    duration const silence = saturating_mul(period, std::int64_t{silent_periods} + 1);
    if (down < silence) return "tracker_options::down must be at least silent_periods + 1 periods";
    if (permdown < down) return "tracker_options::permdown must be at least tracker_options::down";
    return {};
  }
};

/// One node's part of the list. Call `tick` at the time it names, `receive` with every message of another node, join, update
/// and leave for what happens here; after each of them send what take_parcels() returns and show what take_changes()
/// returns. One thread at a time. join, update and leave take O(log n) of the entries on this node. Memory: what takes some
/// may throw std::bad_alloc, and has then done nothing; the rest is noexcept and works without memory.
class tracker {
 public:
  /// An entry, shared by those who list it.
  using entry_ptr = detail::entry_ptr;
  /// Who came or went: `entry` and `joined`.
  using change = detail::entry_change;
  /// Bytes for the PubSub: to the node of that name, or to all others.
  struct parcel {
    std::string to;  ///< empty: to all
    /// What is to be sent.
    std::string bytes;
  };
  /// What was sent, received and refused.
  struct counts {
    std::uint64_t garbage = 0;    ///< messages that were none of ours, or broken
    std::uint64_t refused = 0;    ///< parts beyond a bound
    std::uint64_t same_name = 0;  ///< messages of another node that has this one's name
    std::uint64_t restarts =
        0;  ///< how often this node took a greater start, because others knew a greater one than its own
    std::uint64_t heartbeats = 0;  ///< sent
    std::uint64_t requests = 0;    ///< for another node's state, sent
    std::uint64_t transfers = 0;   ///< of state, sent
  };

  /// @param node its name, no other's. @param start should be greater than at any earlier start of a node of this name; if
  /// it is
  ///   not, the other nodes say so and it gets a greater one.
  /// @throws std::runtime_error with options.fault(), if there is one (aborts where exceptions are off).
  tracker(std::string_view node, std::uint64_t start, tracker_options const& options = {});

  // ---- what happens on this node

  /// @param members of the meta, as detail::meta_members makes them.
  entry_ptr join(std::string_view topic, std::string_view key, std::string_view members) {
    return add_own(clock_ + 1, 0, topic, key, members, own_.end());
  }
  /// @return whether there was such an entry.
  bool leave(detail::dot clock) noexcept {
    auto const at = own_.find(clock);
    if (at == own_.end()) return false;
    remove_own(at);
    return true;
  }
  /// A leave and a join in one. Null if there is no such entry.
  entry_ptr update(detail::dot clock, std::string_view members) {
    auto const at = own_.find(clock);
    if (at == own_.end()) return nullptr;
    entry_ptr const old = at->second.entry;
    return add_own(clock_ + 2, clock, old->topic, old->key, members, at);
  }
  /// This node goes away, and wants to be forgotten at once.
  void goodbye() {
    if (options_.alone) return;
    detail::wire_writer out(detail::wire_kind::goodbye, name_, start_);
    post({}, std::move(out.bytes));
  }

  // ---- what other nodes said

  /// Any bytes. A message with one part, as this version sends them, is taken whole or not at all; of one with more parts
  /// each is.
  ///
  /// The start of a node is the time at which it was started, so that of two lives of a node the later one counts. With a
  /// clock that was set back it is not: the others know a greater one, take the node for its old life and do not hear it.
  /// They tell it, by a heartbeat that names the greater start, and it goes on under one that is greater still: its entries
  /// leave and join again with new refs. Not while the greater start itself was heard within `down`: then two nodes have one
  /// name (same_name).
  /// @return false: they were not understood, and nothing has changed.
  bool receive(std::string_view bytes);

  // ---- time

  /// To be called at the time that it returned last, or any time before.
  time_point tick(time_point now) noexcept;
  /// When `tick` has something to do. time_point::min(): it was not called yet.
  [[nodiscard]] time_point due() const noexcept { return options_.alone ? (time_point::max)() : due_; }

  // ---- what comes of it

  /// What could not be written without memory is written by a later call, or by the next tick.
  [[nodiscard]] std::vector<parcel> take_parcels() noexcept {
    write_parcels();
    return std::exchange(parcels_, {});
  }
  /// In order: a range of `change`.
  [[nodiscard]] detail::change_queue take_changes() noexcept { return index_.take_changes(); }

  /// Who is present on a topic, on the nodes that are up: a map from keys to ranges of entries. Null: nobody. It lives until
  /// something changes.
  [[nodiscard]] detail::entries_by_key const* list(std::string_view topic) const noexcept { return index_.topic(topic); }
  /// Calls `each` for every entry of all nodes that are up.
  template <class F>
  void for_each(F&& each) const {
    for (auto const& [topic, keys] : index_.topics())
      for (auto const& [key, entries] : keys)
        for (entry_ptr const& e : entries) each(e);
  }
  /// Null: none of this node's.
  [[nodiscard]] entry_ptr own(detail::dot clock) const noexcept {
    auto const at = own_.find(clock);
    return at == own_.end() ? nullptr : at->second.entry;
  }
  /// This node's name.
  [[nodiscard]] std::string_view node() const noexcept { return name_; }
  /// When this node was started: a restarted node is another one.
  [[nodiscard]] std::uint64_t start() const noexcept { return start_; }
  /// Other nodes that are up.
  [[nodiscard]] std::uint32_t others_up() const noexcept {
    std::uint32_t up = 0;
    for (auto const& r : others_) up += r->up ? 1u : 0u;
    return up;
  }
  /// How many other nodes have been heard.
  [[nodiscard]] std::uint32_t others_known() const noexcept { return static_cast<std::uint32_t>(others_.size()); }
  /// What was counted so far.
  [[nodiscard]] counts const& counted() const noexcept { return counts_; }

 private:
  using replica = detail::replica;
  struct removal {
    detail::dot tick, entry;
  };
  /// Two heartbeats between two decisions whom to ask for what was missed, as in Phoenix: what is on its way has come by
  /// then.
  static constexpr std::uint32_t sample_periods = 2;
  /// More than clocks set back can ask for. Two nodes of one name that do not hear each other would outbid each other for
  /// ever.
  static constexpr std::uint64_t max_restarts = 16;
  /// So far a start may be beyond that which it has to be greater than: 16 s, in microseconds.
  static constexpr std::uint64_t max_start_step = std::uint64_t{1} << 24;

  [[nodiscard]] static std::uint64_t mark_of(std::string_view name, std::uint64_t start) noexcept;

  // own entries
  entry_ptr add_own(detail::dot clock, detail::dot prev, std::string_view topic, std::string_view key,
                    std::string_view members, detail::slots_by_dot::iterator replaced);
  void remove_own(detail::slots_by_dot::iterator at) noexcept;
  void restart_above(std::uint64_t start);
  void learn_start(std::uint64_t known_to_others) noexcept;

  // other nodes
  [[nodiscard]] std::size_t position(std::string_view name) const noexcept {
    std::size_t at = 0;
    while (at != others_.size() && others_[at]->name != name) ++at;
    return at;
  }
  [[nodiscard]] replica* find(std::string_view name, std::uint64_t start) noexcept {
    std::size_t const at = position(name);
    return at != others_.size() && others_[at]->start == start ? others_[at].get() : nullptr;
  }
  void hide_all(replica& r) noexcept {
    r.up = false;
    for (auto& [clock, slot] : r.values) index_.hide(slot);
  }
  void forget(std::size_t at) noexcept {
    hide_all(*others_[at]);
    others_.erase(others_.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void on_heartbeat(detail::wire_message& m);
  void merge(detail::wire_section const& part, std::string_view from, std::uint64_t start);
  [[nodiscard]] std::optional<detail::merge_plan> plan(replica const& r, detail::wire_section const& part,
                                                       std::string_view from, std::uint64_t start);
  void request(replica& from) noexcept {
    if (!std::exchange(from.asked, true)) from.ask = true;
  }
  void decide() noexcept;
  [[nodiscard]] static detail::dot known(std::vector<detail::wire_clock> const& clocks, std::string_view name,
                                         std::uint64_t start) noexcept {
    for (detail::wire_clock const& c : clocks)
      if (c.start == start && c.name == name) return c.seen;
    return 0;
  }
  void sooner(time_point at) noexcept {
    if (at < due_) due_ = at;
  }

  // what is sent
  void post(std::string to, std::string bytes) { parcels_.push_back({std::move(to), std::move(bytes)}); }
  [[nodiscard]] std::vector<detail::wire_clock> clocks_for(std::string_view to) const;
  void write_heartbeat(std::string const& to, bool with_news);
  void write_request(replica const& to);
  void write_answer(replica const& to);
  /// What happened here after `since`, cut into messages. @return false: too much is not known any more.
  template <class Send>
  [[nodiscard]] bool write_delta(detail::dot since, Send send) const;
  template <class Send>
  void write_whole(std::string_view name, std::uint64_t start, detail::dot_set const& seen,
                   detail::slots_by_dot const& values, Send send) const;
  bool write_parcels() noexcept;

  tracker_options options_;
  std::string name_;
  std::uint64_t start_ = 0, mark_ = 0;
  detail::entry_index index_;
  detail::dot clock_ = 0, reported_ = 0;  // ticks so far, and up to the last heartbeat
  detail::slots_by_dot own_{};
  std::deque<removal> removals_{};  // the last ones
  detail::dot removals_known_after_ = 0;
  std::vector<std::unique_ptr<replica>> others_{};
  struct {
    std::uint64_t start = 0;
    time_point heard{};
  } namesake_{};  // another node with this one's name, or an old life of it
  std::vector<parcel> parcels_{};
  bool heartbeat_due_ = false, clocks_due_ = false;  // to all: with what is new, without
  time_point now_ = (time_point::min)(), due_ = (time_point::min)(), next_period_ = (time_point::min)();
  std::uint32_t silent_ = 0, sampled_ = 0;
  counts counts_{};
};

}  // namespace PHX_BUILD
}  // namespace phx

#include <phx/presence/detail/tracker_impl.hpp>

#endif

#ifndef PHX_PRESENCE_TRACKER_HPP
#define PHX_PRESENCE_TRACKER_HPP
// Replicates the list of entries between nodes (protocol 14.4). A state machine: messages of other nodes and the time go in,
// messages for other nodes and changes of the list come out. It has no PubSub, no thread and no clock.
//
// The list is an add-wins observed-remove set without tombstones (ORSWOT: Bieniusa and others, "An optimized conflict-free
// replicated set", 2012), sent as deltas (Almeida, Shoker, Baquero, "Delta state replicated data types", 2016). Every node
// has a counter: each count is a join or a leave. The count of a join identifies its entry for ever: the entry's dot. An
// entry whose dot was seen and that is no longer present was removed, and can never be added again, so messages may be lost,
// duplicated and reordered. A message about a node contains ranges of its dots, with the entries in them that still exist. A
// receiver that counts a dot as seen must know its effect, including the removal of an older entry:
// - A delta names, for each of its dots, the entry that it removed: it can be split anywhere and merged at any time.
// - A full state no longer records which dot removed which entry. A piece of it removes older entries that it does not
//   contain and adds those that it does, but its other dots count only when all earlier pieces have arrived.
//
// Phoenix keeps generations of merged deltas. This tracker keeps the last `kept` leaves, to answer a node that missed
// something; a node that missed more gets the full state. The encoding is our own: Erlang's needs pids (14.4 advises against
// sharing it).
//
//   state of another node \ event | message received       | silent for `down`    | silent for `permdown`, or a goodbye
//   unknown                       | up, greeted, asked     |                      |
//   up                            | merged                 | down: entries hidden | forgotten
//   down                          | up: entries shown      |                      | forgotten
//   A newer start of a known name: the old run is forgotten. An older start is answered, not merged: see tracker::receive.

#include <phx/presence/detail/replica.hpp>

#include <deque>

namespace phx {
inline namespace PHX_BUILD {

/// The settings of a tracker. The defaults are Phoenix's (protocol 14.4).
struct tracker_options {
  duration period = std::chrono::milliseconds(1500);  ///< between two messages to all nodes, if something has changed
  std::uint32_t silent_periods = 10;                  ///< after this many periods without a message, a heartbeat is sent
  duration down = std::chrono::seconds(30);  ///< a node is down after this time without a message: its entries are hidden
  duration permdown = std::chrono::minutes(20);  ///< after this time a node is forgotten, with its entries
  std::uint32_t kept = 10'000;        ///< leaves that can be sent one by one; a node that missed more gets the full state
  std::uint32_t nodes = 128;          ///< other nodes known at the same time; more are ignored and counted
  std::uint32_t entries = 1'000'000;  ///< entries of one other node; more are ignored and counted
  std::size_t message = 256 * 1024;   ///< approximate size of one message in bytes; more is split
  bool any_key = false;               ///< show keys of other nodes that are unsafe in JavaScript objects
  bool alone = false;                 ///< there are no other nodes: keep nothing for them

  /// The reason why nodes with these options would wrongly take each other for down; empty if the options are valid.
  [[nodiscard]] std::string_view fault() const noexcept {
    if (period <= duration::zero()) return "tracker_options::period must be positive";
    // A node without changes is silent for `silent_periods`, and its heartbeat may be one period late.
    duration const silence = saturating_mul(period, std::int64_t{silent_periods} + 1);
    if (down < silence) return "tracker_options::down must be at least silent_periods + 1 periods";
    if (permdown < down) return "tracker_options::permdown must be at least tracker_options::down";
    return {};
  }
};

/// This node's copy of the list. Call `tick` at the time it returned, `receive` with every message of another node, and
/// join, update and leave for the entries of this node. After each call, send what take_parcels() returns and show what
/// take_changes() returns. One thread at a time. join, update and leave take O(log n) of the entries on this node. Functions
/// that allocate may throw std::bad_alloc, and then nothing has changed; all others are noexcept and need no memory.
class tracker {
 public:
  /// An entry, shared by all that list it.
  using entry_ptr = detail::entry_ptr;
  /// A join or a leave: `entry` and `joined`.
  using change = detail::entry_change;
  /// A message for the PubSub: to the node of that name, or to all others.
  struct parcel {
    std::string to;  ///< a node's name; empty: all nodes
    /// The message.
    std::string bytes;
  };
  /// The counters of messages sent, received and refused.
  struct counts {
    std::uint64_t garbage = 0;     ///< received messages that could not be read
    std::uint64_t refused = 0;     ///< received sections beyond a limit
    std::uint64_t same_name = 0;   ///< received messages of another node with the same name
    std::uint64_t restarts = 0;    ///< how often this node took a greater start, because other nodes knew a greater one
    std::uint64_t heartbeats = 0;  ///< heartbeats sent
    std::uint64_t requests = 0;    ///< requests sent for another node's state
    std::uint64_t transfers = 0;   ///< messages with state sent
  };

  /// @param node the unique name of this node. @param start should be greater than at any earlier start of a node with this
  ///   name; otherwise the other nodes report it, and the tracker takes a greater one.
  /// @throws std::runtime_error with options.fault(), if it is not empty (aborts where exceptions are off).
  tracker(std::string_view node, std::uint64_t start, tracker_options const& options = {});

  // ---- entries of this node

  /// @param members the members of the meta, from detail::meta_members.
  entry_ptr join(std::string_view topic, std::string_view key, std::string_view members) {
    return add_own(clock_ + 1, 0, topic, key, members, own_.end());
  }
  /// @return false if there was no such entry.
  bool leave(detail::dot clock) noexcept {
    auto const at = own_.find(clock);
    if (at == own_.end()) return false;
    remove_own(at);
    return true;
  }
  /// A leave and a join at once. Null if there is no such entry.
  entry_ptr update(detail::dot clock, std::string_view members) {
    auto const at = own_.find(clock);
    if (at == own_.end()) return nullptr;
    entry_ptr const old = at->second.entry;
    return add_own(clock_ + 2, clock, old->topic, old->key, members, at);
  }
  /// Makes a message that this node is going away, so that the others forget it at once.
  void goodbye() {
    if (options_.alone) return;
    detail::wire_writer out(detail::wire_kind::goodbye, name_, start_);
    post({}, std::move(out.bytes));
  }

  // ---- messages of other nodes

  /// Merges a message, which may be any bytes. A message with one section, as this version sends them, is merged completely
  /// or not at all; with several sections, each one is.
  ///
  /// The start of a node is the time at which it was started, so that of two runs the later one counts. If its clock was set
  /// back, the other nodes know a greater start, take the node for its earlier run and ignore it. They answer with a
  /// heartbeat that names the greater start, and the node continues under an even greater one: its entries leave and join
  /// again with new refs. Except if the greater start itself was heard within `down`: then two nodes have the same name
  /// (same_name).
  /// @return false if the message could not be read; then nothing has changed.
  bool receive(std::string_view bytes);

  // ---- timers

  /// Call it at the time that it returned last, or earlier.
  time_point tick(time_point now) noexcept;
  /// When `tick` must be called next; time_point::min() if it was not called yet.
  [[nodiscard]] time_point due() const noexcept { return options_.alone ? (time_point::max)() : due_; }

  // ---- results

  /// The messages to send. Those that could not be written without memory are returned by a later call, or after the next
  /// tick.
  [[nodiscard]] std::vector<parcel> take_parcels() noexcept {
    write_parcels();
    return std::exchange(parcels_, {});
  }
  /// The changes in order: a range of `change`.
  [[nodiscard]] detail::change_queue take_changes() noexcept { return index_.take_changes(); }

  /// The entries of a topic on all nodes that are up: a map from keys to ranges of entries. Null if there are none. Valid
  /// until the next change.
  [[nodiscard]] detail::entries_by_key const* list(std::string_view topic) const noexcept { return index_.topic(topic); }
  /// Calls `each` for every entry of all nodes that are up.
  template <class F>
  void for_each(F&& each) const {
    for (auto const& [topic, keys] : index_.topics())
      for (auto const& [key, entries] : keys)
        for (entry_ptr const& e : entries) each(e);
  }
  /// The entry of this node with that dot; null if there is none.
  [[nodiscard]] entry_ptr own(detail::dot clock) const noexcept {
    auto const at = own_.find(clock);
    return at == own_.end() ? nullptr : at->second.entry;
  }
  /// This node's name.
  [[nodiscard]] std::string_view node() const noexcept { return name_; }
  /// When this node was started; it differs in each run.
  [[nodiscard]] std::uint64_t start() const noexcept { return start_; }
  /// The number of other nodes that are up.
  [[nodiscard]] std::uint32_t others_up() const noexcept {
    std::uint32_t up = 0;
    for (auto const& r : others_) up += r->up ? 1u : 0u;
    return up;
  }
  /// The number of other nodes that are known.
  [[nodiscard]] std::uint32_t others_known() const noexcept { return static_cast<std::uint32_t>(others_.size()); }
  /// The counters.
  [[nodiscard]] counts const& counted() const noexcept { return counts_; }

 private:
  using replica = detail::replica;
  struct removal {
    detail::dot tick, entry;
  };
  /// Two heartbeats between two runs of decide(), as in Phoenix, so that messages in transit have arrived by then.
  static constexpr std::uint32_t sample_periods = 2;
  /// More than clocks that were set back can need. Without a limit, two nodes of one name that do not hear each other would
  /// outbid each other for ever.
  static constexpr std::uint64_t max_restarts = 16;
  /// How far a new start may exceed the one it must be greater than: 16 s, in microseconds.
  static constexpr std::uint64_t max_start_step = std::uint64_t{1} << 24;

  [[nodiscard]] static std::uint64_t mark_of(std::string_view name, std::uint64_t start) noexcept;

  // entries of this node
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

  // messages to send
  void post(std::string to, std::string bytes) { parcels_.push_back({std::move(to), std::move(bytes)}); }
  [[nodiscard]] std::vector<detail::wire_clock> clocks_for(std::string_view to) const;
  void write_heartbeat(std::string const& to, bool with_news);
  void write_request(replica const& to);
  void write_answer(replica const& to);
  /// Passes the changes of this node after `since` to `send`, split into messages. @return false if they are no longer known
  /// completely.
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
  detail::dot clock_ = 0, reported_ = 0;  // dots so far, and those up to the last heartbeat
  detail::slots_by_dot own_{};
  std::deque<removal> removals_{};  // the latest ones
  detail::dot removals_known_after_ = 0;
  std::vector<std::unique_ptr<replica>> others_{};
  struct {
    std::uint64_t start = 0;
    time_point heard{};
  } namesake_{};  // another node with this one's name, or an earlier run of it
  std::vector<parcel> parcels_{};
  bool heartbeat_due_ = false, clocks_due_ = false;  // to all nodes, with and without recent changes
  time_point now_ = (time_point::min)(), due_ = (time_point::min)(), next_period_ = (time_point::min)();
  std::uint32_t silent_ = 0, sampled_ = 0;
  counts counts_{};
};

}  // namespace PHX_BUILD
}  // namespace phx

#include <phx/presence/detail/tracker_impl.hpp>

#endif

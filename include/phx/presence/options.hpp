#ifndef PHX_PRESENCE_OPTIONS_HPP
#define PHX_PRESENCE_OPTIONS_HPP
// The settings of a presence, and its counters.

#include <phx/message/payload.hpp>
#include <phx/presence/tracker.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The settings of a presence.
struct presence_options {
  /// The same on all nodes; two presences of one endpoint need different names.
  std::string name = "presence";
  /// How long an entry stays after its channel crashed, was replaced or lost its connection. If the same key is tracked on
  /// the topic within this time, it takes the entry over, so that reloading a page causes no leave and join. zero: the entry
  /// leaves at once, as in Phoenix. An entry whose channel left or stopped always leaves at once.
  duration linger = std::chrono::seconds(3);
  /// All changes of a topic within this time make one diff. zero: each change makes a diff, as soon as a loop runs.
  duration batch = std::chrono::milliseconds(100);
  std::uint32_t tracks = 100;  ///< entries of one connection, over all its channels; beyond: errc::limit_reached
  std::size_t meta = 8192;     ///< bytes of one meta; beyond: errc::meta_too_large
  std::size_t key = 255;       ///< bytes of a key; beyond: errc::name_too_long
  /// Allows keys such as `__proto__`. phoenix.js before 1.8.9 breaks on them (protocol 18), so by default they are refused
  /// with errc::unsafe_key, and those of other nodes are not shown.
  bool any_key = false;
  /// Identifies this run of the node: should be greater than at any earlier start. 0: microseconds since 1970 by the system
  /// clock, read once. If that clock was set back, the other nodes report it, and this one continues under a greater number:
  /// its refs change once.
  std::uint64_t start = 0;
  /// Tells the other nodes at destruction that this one is gone; otherwise they notice it by its silence (Phoenix:
  /// permdown_on_shutdown).
  bool goodbye = true;
  tracker_options nodes{};  ///< settings of the tracker; any_key and alone are set by the presence
};

/// The counters of a presence, for metrics.
struct presence_counts {
  std::uint64_t diffs = 0;         ///< diffs broadcast on this node
  std::uint64_t dropped = 0;       ///< diffs that a loop's full mailbox did not accept
  std::uint64_t unsent = 0;        ///< messages to other nodes that the PubSub did not accept; they will be requested again
  std::uint64_t fetch_failed = 0;  ///< `fetch` threw or did not return an object; the entries were sent unchanged
  tracker::counts nodes{};         ///< counters of messages from other nodes
};

/// The argument of `handle_metas`: the joins and leaves of one topic, and all entries now present. Each is
/// `{"key":{"metas":[...]}}`.
struct presence_change {
  /// The topic.
  std::string_view topic;
  /// The entries that joined.
  payload const& joins;
  /// The entries that left.
  payload const& leaves;
  /// All entries that are present now.
  payload const& present;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

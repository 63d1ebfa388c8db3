#ifndef PHX_PRESENCE_OPTIONS_HPP
#define PHX_PRESENCE_OPTIONS_HPP
// What a presence is made with, and what it tells about itself.

#include <phx/message/payload.hpp>
#include <phx/presence/tracker.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// What a presence keeps to.
struct presence_options {
  /// The same on all nodes; two presences of one endpoint need two names.
  std::string name = "presence";
  /// An entry whose channel crashed, was replaced or lost its connection stays so long: if the same key is tracked on the
  /// topic meanwhile, it takes the entry over, and a page that is loaded anew is no leave and join. zero: it leaves at once,
  /// as in Phoenix. An entry whose channel left or stopped leaves at once in any case.
  duration linger = std::chrono::seconds(3);
  /// What happens on a topic in so long is one diff. zero: each change is one, as soon as a loop runs.
  duration batch = std::chrono::milliseconds(100);
  std::uint32_t tracks = 100;  ///< entries of one connection, all its channels together; beyond: errc::limit_reached
  std::size_t meta = 8192;     ///< bytes of one meta; beyond: errc::meta_too_large
  std::size_t key = 255;       ///< bytes of a key; beyond: errc::name_too_long
  /// Take keys such as `__proto__` as data. Clients before phoenix.js 1.8.9 break on them (protocol 18), so without this
  /// they are errc::unsafe_key, and those of other nodes are not shown.
  bool any_key = false;
  /// Should be greater than at any earlier start of this node. 0: microseconds since 1970 by the system's clock, read once.
  /// If that clock was set back the other nodes say so, and this one goes on under a greater number: its refs change once.
  std::uint64_t start = 0;
  /// Says goodbye to the other nodes when it is destroyed, instead of leaving them to find out (Phoenix:
  /// permdown_on_shutdown).
  bool goodbye = true;
  tracker_options nodes{};  ///< any_key and alone are filled in
};

/// What a presence has counted, for metrics.
struct presence_counts {
  std::uint64_t diffs = 0;         ///< broadcast on this node
  std::uint64_t dropped = 0;       ///< of them those that a loop's full mailbox did not take
  std::uint64_t unsent = 0;        ///< messages to other nodes that the PubSub did not take: they will be asked for
  std::uint64_t fetch_failed = 0;  ///< `fetch` threw or did not answer an object: what it was given was used
  tracker::counts nodes{};         ///< what other nodes said
};

/// What `handle_metas` is told of one topic: who came, who went, and all who are there now. `{"key":{"metas":[...]}}` each.
struct presence_change {
  /// Where somebody came, changed or went.
  std::string_view topic;
  /// Who came, with their metas.
  payload const& joins;
  /// Who went, with their metas.
  payload const& leaves;
  /// Who is there now.
  payload const& present;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

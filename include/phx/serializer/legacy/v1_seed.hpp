#ifndef PHX_SERIALIZER_LEGACY_V1_SEED_HPP
#define PHX_SERIALIZER_LEGACY_V1_SEED_HPP
// The object frames of Phoenix 0.10 to 1.2 (protocol 4.1), as differences from today's.

#include <phx/serializer/v1.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Which Phoenix a mount is on the wire. Each lasts until the next; the order is that of time.
enum class generation : std::uint8_t {
  v0_10,
  v0_11,  ///< and 0.12: the seed of Phoenix Channels as they are
  v0_13_0,
  v0_13_1,
  v0_14,
  v0_15,  ///< to 0.17
  v1_0,   ///< and 1.1
  v1_2,
  legacy,  ///< today's behaviour for the clients of all of these at once, and for version 2 (protocol 4.3)
  today,
};

/// The history of version 1, read from the newest change back.
[[nodiscard]] constexpr v1_wire wire_of(generation g) noexcept {
  v1_wire w;
  if (g == generation::today) return w;
  w.any_minor = true;
  if (g == generation::legacy) {
    w.ref_required = false;
    w.joins = v1_wire::bare_names::without_ref;
    w.replies = v1_wire::reply_ref::both;
    w.ends = v1_wire::end_ref::join;
    return w;
  }
  w.crash_named = false;                       // named from 1.8.10 on
  w.rules.leave_of_unjoined_answered = false;  // from 1.5 on
  w.ends = v1_wire::end_ref::join;             // 1.2 to 1.4
  w.rules.duplicate_join_refused = g == generation::v1_0;
  if (g < generation::v1_2) w.ends = v1_wire::end_ref::null;
  if (g < generation::v0_15) w.unmatched_answered = false;
  if (g < generation::v0_14) w.heartbeat_echoed = true;
  if (g < generation::v0_13_1) w.replies = v1_wire::reply_ref::in_payload;
  if (g < generation::v0_13_0) w.refused_is_ignore = true;
  if (g < generation::v0_11) {
    w.ref_required = w.ref_written = false;
    w.joins = v1_wire::bare_names::always;
    w.replies = v1_wire::reply_ref::no_replies;
    w.ends = v1_wire::end_ref::no_ends;
  }
  return w;
}

/// Version 1 as generation `G` speaks it, with any `vsn` of 1.x or none.
template <generation G>
struct v1_json_seed : v1_json_of<wire_of(G)> {};
static_assert(Serializer<v1_json_seed<generation::v0_11>>);

}  // namespace PHX_BUILD
}  // namespace phx

#endif

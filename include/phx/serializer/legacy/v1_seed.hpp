#ifndef PHX_SERIALIZER_LEGACY_V1_SEED_HPP
#define PHX_SERIALIZER_LEGACY_V1_SEED_HPP
// Version 1 of Phoenix 0.10 to 1.2 (protocol 4.1), as differences from today's.

#include <phx/serializer/generation.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The differences of a generation from today's version 1; each `if` undoes one change of Phoenix, from the newest back.
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

/// Version 1 of generation `G`, for any `vsn` of 1.x or none. Stateless; see Serializer.
template <generation G>
struct v1_json_seed : v1_json_of<wire_of(G)> {};
static_assert(Serializer<v1_json_seed<generation::v0_11>>);

}  // namespace PHX_BUILD
}  // namespace phx

#endif

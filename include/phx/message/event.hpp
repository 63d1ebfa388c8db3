#ifndef PHX_MESSAGE_EVENT_HPP
#define PHX_MESSAGE_EVENT_HPP
// Telemetry (protocol 17): the events that an observer receives, for logs and counters.

#include <phx/core/exit_reason.hpp>
#include <phx/core/text/filter.hpp>
#include <phx/message/message.hpp>

#include <concepts>

namespace phx {
inline namespace PHX_BUILD {

/// The events. The comment of each names the fields of telemetry_event that are set, besides slot, generation and topic.
enum class event_code : std::uint8_t {
  socket_connected,  ///< text: the socket's id, if it has one
  socket_closed,     ///< text: the reason; code: the close code, 0 if the client closed
  channel_joined,    ///< payload: the join's
  channel_refused,   ///< the channel refused the join; payload: the join's
  channel_ended,     ///< exit: the reason
  handled_in,        ///< a handler returned; payload: the message's. Not for a handler that threw, nor for phx_leave
  duplicate_join,    ///< the client joined a topic again; the old channel was replaced
  draining,          ///< count: sockets in this batch, total: sockets when draining began
  slow,              ///< messages to this socket are queued from now on (pressure_policy); count: bytes waiting
  caught_up,         ///< none are queued any more; count: messages dropped meanwhile, total: since it connected
  // faults of user code
  join_crashed,     ///< a join threw; text: the exception's
  handler_crashed,  ///< text: the exception's, or why a message could not be encoded. Called inside the catch block
  join_timed_out,   ///< a pending join passed its deadline
  // refusals and drops
  connect_refused,    ///< event: the refusal's name; text: details, with the origin and the list; code: the HTTP status
  unmatched_topic,    ///< a message for a topic that is not joined, or a join that no route matches
  too_many_channels,  ///< a join beyond limits::channels
  stale_message,      ///< the join_ref is an earlier join's: the message was ignored (protocol 5, rows 7 and 9)
  held_too_much,      ///< a pending join ended: more than limits::held_pushes or held_bytes were waiting for it
  frame_dropped,      ///< the client was too slow (limits::outbound); count: bytes, total: bytes of this socket so far
  broadcast_skipped,  ///< count: subscribers whose serializer cannot encode it (limits::strict_encoding); error: the reason
  nodes_not_reached,  ///< a broadcast reached this node's subscribers only: the PubSub did not accept it
  not_encoded,        ///< a push, reply or broadcast that its serializer cannot encode; error: the reason
  malformed,          ///< a malformed message; error: the reason. The connection closes
  too_large,          ///< a message longer than limits::frame. The connection closes
  idle,               ///< nothing received for limits::idle. The connection closes
  pressure,           ///< limits::outbound exceeded with pressure_policy::close; count: bytes waiting
  flood,              ///< the client sends too fast (limits::inbound; inbound_channel with the topic); text: close, drop or
                      ///< pause; count: bytes of the message; total: messages dropped, or pauses, since it connected
  no_memory,          ///< an allocation failed
};

/// The code's name, as in the enum.
[[nodiscard]] constexpr std::string_view to_string(event_code kind) noexcept {
  constexpr std::string_view names[] = {"socket_connected",
                                        "socket_closed",
                                        "channel_joined",
                                        "channel_refused",
                                        "channel_ended",
                                        "handled_in",
                                        "duplicate_join",
                                        "draining",
                                        "slow",
                                        "caught_up",
                                        "join_crashed",
                                        "handler_crashed",
                                        "join_timed_out",
                                        "connect_refused",
                                        "unmatched_topic",
                                        "too_many_channels",
                                        "stale_message",
                                        "held_too_much",
                                        "frame_dropped",
                                        "broadcast_skipped",
                                        "nodes_not_reached",
                                        "not_encoded",
                                        "malformed",
                                        "too_large",
                                        "idle",
                                        "pressure",
                                        "flood",
                                        "no_memory"};
  static_assert(sizeof(names) / sizeof(names[0]) == std::size_t(event_code::no_memory) + 1);
  return names[static_cast<std::size_t>(kind)];
}

/// One event. Fields that do not apply are empty. All views are valid until the observer returns.
struct telemetry_event {
  /// What happened.
  event_code kind;
  /// With generation: the socket; 0, 0 for none.
  std::uint32_t slot = 0;
  /// Tells the socket from earlier ones in the same slot.
  std::uint32_t generation = 0;
  /// The channel's topic.
  std::string_view topic{};
  /// The message's event.
  std::string_view event{};
  /// The message's ref.
  json_ref ref{};
  /// Details, for a log.
  std::string_view text{};
  /// The error, for events that report one.
  errc error = errc::none;
  /// Why a channel ended.
  exit_reason exit = exit_reason::normal;
  /// A close code or an HTTP status.
  std::uint16_t code = 0;
  /// A number; see event_code.
  std::uint64_t count = 0;
  /// A total; see event_code.
  std::uint64_t total = 0;
  /// The message's payload, or null.
  phx::payload const* payload = nullptr;

  /// The payload for a log: secrets filtered, binary payloads as their size. @par Cost: allocates; walks the payload.
  [[nodiscard]] std::string params() const {
    if (payload == nullptr) return {};
    if (payload->is_binary()) return std::to_string(payload->raw().size()) + " bytes";
    return filtered_json(payload->raw());
  }
};

/// An observer of telemetry events: the host passes one to the loop, which it outlives. on_event runs on the loop's thread,
/// in the middle of the operation it reports: it must not throw, block, or call back into phx. Without an observer an event
/// costs one test of a pointer.
// clang-format off
template <class O>
concept Observer = requires(O& o, telemetry_event const& n) {
  { o.on_event(n) } noexcept;
};
// clang-format on

namespace detail {
/// An observer that only counts handled messages takes them as they are: to fill in an event costs more than to count it.
// clang-format off
template <class O>
concept HandledObserver = requires(O& o, message const& m) {
  { o.on_handled_in(m, std::string_view{}, std::uint32_t{}, std::uint32_t{}) } noexcept;
};
/// One that measures how long handlers take is told of each start as well.
template <class O>
concept TimingObserver = requires(O& o) {
  { o.on_handler_start() } noexcept;
};
// clang-format on

struct observer_ref {
  void* host = nullptr;
  void (*on)(void*, telemetry_event const&) noexcept = nullptr;
  /// `topic`: the text that the channel keeps; its address does not change while the channel lives.
  void (*handled_in)(void*, message const&, std::string_view topic, std::uint32_t slot,
                     std::uint32_t generation) noexcept = nullptr;
  void (*handler_starts)(void*) noexcept = nullptr;  ///< null for most observers

  template <Observer O>
  [[nodiscard]] static observer_ref of(O& o) noexcept {
    observer_ref made{
        &o, [](void* to, telemetry_event const& n) noexcept { static_cast<O*>(to)->on_event(n); },
        [](void* to, message const& m, std::string_view topic, std::uint32_t slot, std::uint32_t generation) noexcept {
          O& observer = *static_cast<O*>(to);
          if constexpr (HandledObserver<O>)
            observer.on_handled_in(m, topic, slot, generation);
          else
            observer.on_event({.kind = event_code::handled_in,
                               .slot = slot,
                               .generation = generation,
                               .topic = topic,
                               .event = m.event,
                               .ref = m.ref,
                               .payload = &m.payload});
        }};
    if constexpr (TimingObserver<O>)
      made.handler_starts = [](void* to) noexcept { static_cast<O*>(to)->on_handler_start(); };
    return made;
  }
  [[nodiscard]] explicit operator bool() const noexcept { return on != nullptr; }
  void operator()(telemetry_event const& n) const noexcept {
    if (on != nullptr) on(host, n);
  }
};
}  // namespace detail

}  // namespace PHX_BUILD
}  // namespace phx

#endif

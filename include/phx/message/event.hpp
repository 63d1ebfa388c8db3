#ifndef PHX_MESSAGE_EVENT_HPP
#define PHX_MESSAGE_EVENT_HPP
// Telemetry (protocol 17): the events that an observer receives, for logs and counters.

#include <phx/core/text/ascii.hpp>
#include <phx/core/exit_reason.hpp>
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
                                        "no_memory"};
  static_assert(sizeof(names) / sizeof(names[0]) == std::size_t(event_code::no_memory) + 1);
  return names[static_cast<std::size_t>(kind)];
}

/// `text` is JSON: the values of keys that contain a filter word (`password`, `token`: protocol 17) become "[FILTERED]".
[[nodiscard]] inline std::string filtered_json(std::string_view text);

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
template <class O>
concept Observer = requires(O& o, telemetry_event const& n) {
  { o.on_event(n) }
  noexcept;
};

namespace detail {
struct observer_ref {
  void* host = nullptr;
  void (*on)(void*, telemetry_event const&) noexcept = nullptr;

  template <Observer O>
  [[nodiscard]] static observer_ref of(O& o) noexcept {
    return {&o, [](void* to, telemetry_event const& n) noexcept { static_cast<O*>(to)->on_event(n); }};
  }
  [[nodiscard]] explicit operator bool() const noexcept { return on != nullptr; }
  void operator()(telemetry_event const& n) const noexcept {
    if (on != nullptr) on(host, n);
  }
};
}  // namespace detail

namespace detail {
/// A key as it stands in JSON, without its quotes, contains a filter word, however it is spelt: `"\u0070assword"` is the
/// same key as `"password"`. The words are ASCII, so of escapes above that only a placeholder is kept.
[[nodiscard]] inline bool is_secret_key(std::string_view key) {
  std::string spelt_out;
  if (key.find('\\') != std::string_view::npos) {
    spelt_out.reserve(key.size());
    for (std::size_t i = 0; i < key.size(); ++i) {
      if (key[i] != '\\' || ++i == key.size()) {
        if (i < key.size()) spelt_out += key[i];
        continue;
      }
      if (key[i] != 'u') {  // of the short escapes only `\/`, `\\` and `\"` are themselves, and none is a letter
        spelt_out += key[i] == '/' || key[i] == '\\' || key[i] == '"' ? key[i] : ' ';
        continue;
      }
      unsigned code = 0;
      for (std::size_t const end = i + 4; i < end && i + 1 < key.size();) {
        int const digit = hex_value(key[++i]);
        code = code * 16 + static_cast<unsigned>(digit < 0 ? 0 : digit);
      }
      spelt_out += code < 0x80 ? static_cast<char>(code) : '?';
    }
    key = spelt_out;
  }
  for (std::string_view const word : filter_words)
    if (contains_but_for_case(key, word)) return true;
  return false;
}
}  // namespace detail

inline std::string filtered_json(std::string_view text) {
  // `text` is valid JSON: a walk over its strings is enough. A string is a key when a colon follows it.
  auto const string_end = [&](std::size_t from) {
    std::size_t i = from + 1;
    while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2u : 1u;
    return i + 1;
  };
  auto const value_end = [&](std::size_t from) {
    std::size_t i = from, depth = 0;
    while (i < text.size()) {
      char const c = text[i];
      if (c == '"') {
        i = string_end(i);
        if (depth == 0) return i;
        continue;
      }
      if (c == '{' || c == '[')
        ++depth;
      else if (c == '}' || c == ']') {
        if (depth == 0) return i;
        if (--depth == 0) return i + 1;
      } else if (c == ',' && depth == 0) {
        return i;
      }
      ++i;
    }
    return i;
  };
  std::string out;
  std::size_t done = 0, i = 0;
  while (i < text.size()) {
    if (text[i] != '"') {
      ++i;
      continue;
    }
    std::size_t const end = string_end(i);
    std::string_view const key = text.substr(i + 1, end - i > 2 ? end - i - 2 : 0);
    std::size_t after = text.find_first_not_of(" \t\r\n", end);
    if (after != std::string_view::npos && text[after] == ':' && detail::is_secret_key(key)) {
      after = text.find_first_not_of(" \t\r\n", after + 1);
      if (after == std::string_view::npos) break;
      out.append(text.substr(done, after - done)).append("\"[FILTERED]\"");
      done = i = value_end(after);
      continue;
    }
    i = end;
  }
  if (done < text.size()) out.append(text.substr(done));
  return out;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_MESSAGE_MESSAGE_HPP
#define PHX_MESSAGE_MESSAGE_HPP
// The four records of the protocol (section 2): the client's message, and the server's reply, push and broadcast.

#include <phx/message/payload.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// A ref or join_ref as the JSON text that the client sent (`"7"`, `7`, `""`, `null`), since it is echoed unchanged. Empty if
/// the key was absent (V1). A view of the message, or of the channel that stores it.
struct json_ref {
  /// The JSON text; empty if the key was absent.
  std::string_view json{};

  /// True if the key was absent.
  [[nodiscard]] bool absent() const noexcept { return json.empty(); }
  /// True if it is `null` or absent.
  [[nodiscard]] bool null() const noexcept { return json.empty() || json == "null"; }
  /// Compared as Phoenix compares decoded terms: `"\u0031"` equals `"1"`; `1`, `1.0` and `"1"` differ (protocol 5).
  [[nodiscard]] friend bool operator==(json_ref a, json_ref b) noexcept {
    if (a.null() || b.null()) return a.null() && b.null();
    return a.json == b.json || phx::json::same_string(a.json, b.json);
  }
};

/// A topic or event: its text, to compare, and its JSON, to encode. A client may send a value that is not a string; it has
/// no text and is echoed as its JSON.
struct json_text {
  /// The unescaped text; empty if it was not a string.
  std::string_view text{};
  /// The JSON as the client sent it; empty: encode `text` as a JSON string.
  std::string_view json{};

  /// True if it was a string on the wire.
  [[nodiscard]] bool is_string() const noexcept { return json.empty() || json.front() == '"'; }
};

/// The status of a reply: `status::ok`, `status::error`, or a literal of your own such as `"busy"`, like an atom in Phoenix.
/// It refers to static text, so it can be stored and copied freely.
class status {
 public:
  /// From a literal of letters, digits, `_` and `-` only, checked by the compiler.
  template <std::size_t N>
  consteval status(char const (&literal)[N]) : text_(literal, N - 1) {
    for (char const c : text_)
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
        a_status_is_a_word_of_letters_digits_and_underscores();
  }
  /// The text.
  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }
  /// True if both have the same text.
  [[nodiscard]] friend constexpr bool operator==(status a, status b) noexcept { return a.text_ == b.text_; }

  /// Success.
  static status const ok;
  /// A refused join, or any failure.
  static status const error;

 private:
  static void a_status_is_a_word_of_letters_digits_and_underscores() {}
  std::string_view text_;
};
inline constexpr status status::ok{"ok"};
inline constexpr status status::error{"error"};

class owned_message;

/// A message from a client. All views in it are valid until the callback returns; call copy() to keep it longer.
struct message {
  /// The ref of the client's join; null for messages outside a channel.
  json_ref join_ref{};
  /// The message's own ref, which the reply repeats.
  json_ref ref{};
  std::string_view topic{};  ///< unescaped; empty if it was not a string
  std::string_view event{};  ///< unescaped; empty if it was not a string
  /// The payload. It refers to the received bytes; a copy of it owns its own.
  phx::payload payload{};
  json_text topic_name{};  ///< `topic` with the JSON the client sent
  json_text event_name{};  ///< likewise; event_name.is_string() tells `""` from `7`

  /// A copy that owns everything and may be sent to another thread. @par Cost: allocates; copies the payload.
  [[nodiscard]] inline owned_message copy() const;
};

/// A copy of a message that owns its bytes: keep it, or move it to another thread, and read it through view().
class owned_message {
 public:
  /// Copies everything the message refers to.
  explicit owned_message(message const& m)
      : text_(std::string(m.join_ref.json) + std::string(m.ref.json) + std::string(m.topic) + std::string(m.event) +
              std::string(m.topic_name.json) + std::string(m.event_name.json)),
        sizes_{m.join_ref.json.size(), m.ref.json.size(),        m.topic.size(),
               m.event.size(),         m.topic_name.json.size(), m.event_name.json.size()},
        payload_(m.payload) {}
  /// The message; its views are valid as long as this object, and are invalidated when it is moved.
  [[nodiscard]] message view() const noexcept {
    message m;
    std::string_view rest = text_;
    auto const next = [&](std::size_t i) {
      std::string_view const part = rest.substr(0, sizes_[i]);
      rest.remove_prefix(sizes_[i]);
      return part;
    };
    m.join_ref.json = next(0);
    m.ref.json = next(1);
    m.topic = next(2);
    m.event = next(3);
    m.topic_name = {m.topic, next(4)};
    m.event_name = {m.event, next(5)};
    m.payload = payload_;
    return m;
  }
  /// The payload; a copy of it may outlive this object.
  [[nodiscard]] phx::payload const& payload() const noexcept { return payload_; }

 private:
  std::string text_;
  std::size_t sizes_[6];
  phx::payload payload_;
};
inline owned_message message::copy() const { return owned_message(*this); }

/// What kind of message a reply answers. Only the serializers of older generations of Phoenix read it: they answer some kinds
/// differently or not at all (protocol 4.1).
enum class answer : std::uint8_t { message, join, refused_join, leave, heartbeat, unmatched };

/// The server's answer to one message: event `phx_reply`.
struct reply {
  /// The ref of the join that the channel was joined with.
  json_ref join_ref{};
  /// The ref of the message that is answered.
  json_ref ref{};
  /// The message's topic.
  json_text topic{};
  /// `ok`, `error`, or a status of the channel's own.
  phx::status status = status::ok;
  /// The response.
  phx::payload const& payload;
  /// What kind of message is answered.
  answer to = answer::message;
};

/// A message from a channel to its own client. Only phx_close and phx_error have a ref: the join's own, which Phoenix 1.2
/// and earlier need (protocol 4.3). Their join_ref is the one that the client sent, so it may be null or absent; version 2
/// writes it twice.
struct push {
  /// The ref of the join that the channel was joined with.
  json_ref join_ref{};
  /// Absent, except for phx_close and phx_error.
  json_ref ref{};
  /// The channel's topic.
  json_text topic{};
  /// The event's name.
  json_text event{};
  /// The payload.
  phx::payload const& payload;
};

/// A message to all subscribers of a topic. It has no refs, so that all subscribers receive the same bytes.
struct broadcast {
  /// The topic.
  std::string_view topic{};
  /// The event's name.
  std::string_view event{};
  /// The payload.
  phx::payload payload{};
  std::string_view topic_json{};  ///< `topic` as a JSON string, if the caller has it; may be empty
  std::string_view key{};         ///< for pressure_policy::keep_latest: which value it updates (an instrument, a cursor)
};

/// The events that phx itself sends or handles.
namespace event {
inline constexpr std::string_view join = "phx_join";        ///< from a client: join a topic
inline constexpr std::string_view leave = "phx_leave";      ///< from a client: leave it
inline constexpr std::string_view reply = "phx_reply";      ///< to a client: the answer to a message
inline constexpr std::string_view close = "phx_close";      ///< to a client: the channel has ended gracefully
inline constexpr std::string_view error = "phx_error";      ///< to a client: the channel has crashed
inline constexpr std::string_view heartbeat = "heartbeat";  ///< from a client, on the topic `phoenix`
inline constexpr std::string_view disconnect =
    "disconnect";  ///< between nodes: close every socket with the id that is the topic
inline constexpr std::string_view dropped = "phx_dropped";  ///< to a slow client: how many messages it missed
}  // namespace event

namespace detail {
inline payload const empty_object{};
inline payload const channel_crash = payload_access::borrow(R"({"reason":"channel_crash"})", false);
}  // namespace detail

/// The message that a channel has ended gracefully: `phx_close` `{}` (protocol 4.4, the contract's chan_close_message).
/// All arguments are views, which the result refers to.
[[nodiscard]] inline push close_message(std::string_view topic, json_ref join_ref = {}, json_ref ref = {}) noexcept {
  return {join_ref, ref, {topic, {}}, {event::close, {}}, detail::empty_object};
}
/// The message that a channel has crashed: `phx_error` `{"reason":"channel_crash"}` (protocol 6.6; chan_error_message).
[[nodiscard]] inline push error_message(std::string_view topic, json_ref join_ref = {}, json_ref ref = {}) noexcept {
  return {join_ref, ref, {topic, {}}, {event::error, {}}, detail::channel_crash};
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

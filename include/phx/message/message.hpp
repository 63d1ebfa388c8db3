#ifndef PHX_MESSAGE_MESSAGE_HPP
#define PHX_MESSAGE_MESSAGE_HPP
// The four records of the protocol (section 2): what a client sends, and the three things a server says.

#include <phx/message/payload.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// A ref, a join_ref, or a name that has to come back as it came: JSON text (`"7"`, `7`, `""`, `null`), or nothing where the
/// key was absent (V1). A view: it lives as long as its message, or as the channel that keeps it.
struct json_ref {
  /// As on the wire; empty where the key was absent.
  std::string_view json{};

  /// Was the key not there at all?
  [[nodiscard]] bool absent() const noexcept { return json.empty(); }
  /// Null on the wire, or not there at all.
  [[nodiscard]] bool null() const noexcept { return json.empty() || json == "null"; }
  /// Compared as Phoenix compares decoded terms: `"\u0031"` equals `"1"`; `1`, `1.0` and `"1"` differ (protocol 5).
  [[nodiscard]] friend bool operator==(json_ref a, json_ref b) noexcept {
    if (a.null() || b.null()) return a.null() && b.null();
    return a.json == b.json || phx::json::same_string(a.json, b.json);
  }
};

/// A topic or event: its text for those who compare, and the JSON it came as, or is to be written as, for those who encode.
/// `json` may be empty: then write `text` quoted. What was not a string on the wire has no text, only `json`.
struct json_text {
  /// What it says, without escapes; empty for what was no string.
  std::string_view text{};
  /// As it came, or empty: then `text` is written quoted.
  std::string_view json{};

  /// Was it a string on the wire?
  [[nodiscard]] bool is_string() const noexcept { return json.empty() || json.front() == '"'; }
};

/// A short word of static text, as an atom is in Phoenix: a channel may answer `"busy"`, and nothing can dangle.
class status {
 public:
  /// From a literal of letters, digits, `_` and `-` only, checked by the compiler.
  template <std::size_t N>
  consteval status(char const (&word)[N]) : word_(word, N - 1) {
    for (char const c : word_)
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
        a_status_is_a_word_of_letters_digits_and_underscores();
  }
  /// The word.
  [[nodiscard]] constexpr std::string_view text() const noexcept { return word_; }
  /// The same word?
  [[nodiscard]] friend constexpr bool operator==(status a, status b) noexcept { return a.word_ == b.word_; }

  /// Success.
  static status const ok;
  /// A refused join, or any failure.
  static status const error;

 private:
  static void a_status_is_a_word_of_letters_digits_and_underscores() {}
  std::string_view word_;
};
inline constexpr status status::ok{"ok"};
inline constexpr status status::error{"error"};

class owned_message;

/// What a client sent. Every view in it dies when the callback returns; `copy()` owns.
struct message {
  /// Of the join it believes in; null for messages to no channel.
  json_ref join_ref{};
  /// To be sent back with the reply.
  json_ref ref{};
  std::string_view topic{};  ///< unescaped; empty when it was no string
  std::string_view event{};  ///< unescaped; empty when it was no string
  /// What it carries. It borrows the frame: a copy of it owns its bytes.
  phx::payload payload{};
  json_text topic_name{};  ///< `topic` with the JSON it came as
  json_text event_name{};  ///< `event` likewise: event_name.is_string() tells `""` from `7`

  /// All of it, to be kept or sent to another thread.
  [[nodiscard]] inline owned_message copy() const;
};

/// A message that may be kept and sent to another thread.
class owned_message {
 public:
  /// Copies all that the message's views show.
  explicit owned_message(message const& m)
      : text_(std::string(m.join_ref.json) + std::string(m.ref.json) + std::string(m.topic) + std::string(m.event) +
              std::string(m.topic_name.json) + std::string(m.event_name.json)),
        sizes_{m.join_ref.json.size(), m.ref.json.size(),        m.topic.size(),
               m.event.size(),         m.topic_name.json.size(), m.event_name.json.size()},
        payload_(m.payload) {}
  /// Views into this object.
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
  /// The payload, which may outlive this object.
  [[nodiscard]] phx::payload const& payload() const noexcept { return payload_; }

 private:
  std::string text_;
  std::size_t sizes_[6];
  phx::payload payload_;
};
inline owned_message message::copy() const { return owned_message(*this); }

/// Which answer this is. Today's serializers need not look; the older generations answer some of them otherwise, or not at
/// all (protocol 4.1).
enum class answer : std::uint8_t { message, join, refused_join, leave, heartbeat, unmatched };

/// The server's answer to one message: event `phx_reply`.
struct reply {
  /// Of the join that the channel was joined with.
  json_ref join_ref{};
  /// Of the message that is answered.
  json_ref ref{};
  /// The message's topic.
  json_text topic{};
  /// `ok`, `error`, or a word of the channel's own.
  phx::status status = status::ok;
  /// The response.
  phx::payload const& payload;
  /// What kind of message is answered.
  answer to = answer::message;
};

/// From a channel to its own client. `ref` is absent but for phx_close and phx_error: there join_ref is the join's as it was
/// sent (it may be null or absent) and ref the join's own ref, which generation 1.2 and before need (protocol 4.3); V2
/// writes the join_ref twice.
struct push {
  /// Of the join that the channel was joined with.
  json_ref join_ref{};
  /// Absent but for the end of a channel.
  json_ref ref{};
  /// The channel's topic.
  json_text topic{};
  /// The event's name.
  json_text event{};
  /// What it carries.
  phx::payload const& payload;
};

/// To all subscribers of a topic: carries no ref of any kind, so that all get the same bytes.
struct broadcast {
  /// To whose subscribers it goes.
  std::string_view topic{};
  /// The event's name.
  std::string_view event{};
  /// What it carries.
  phx::payload payload{};
  std::string_view topic_json{};  ///< `topic` quoted, where somebody has it at hand; may be empty
  std::string_view key{};         ///< what it is about, for pressure_policy::keep_latest: an instrument, a player, a cursor
};

/// Names phx itself puts on the wire or listens for.
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

/// The notice that a channel has ended gracefully: `phx_close` `{}` (protocol 4.4, the contract's chan_close_message).
/// @param topic borrowed, as are the tokens of the channel's join.
[[nodiscard]] inline push close_message(std::string_view topic, json_ref join_ref = {}, json_ref ref = {}) noexcept {
  return {join_ref, ref, {topic, {}}, {event::close, {}}, detail::empty_object};
}
/// The notice that a channel has crashed: `phx_error` `{"reason":"channel_crash"}` (protocol 6.6; chan_error_message).
[[nodiscard]] inline push error_message(std::string_view topic, json_ref join_ref = {}, json_ref ref = {}) noexcept {
  return {join_ref, ref, {topic, {}}, {event::error, {}}, detail::channel_crash};
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

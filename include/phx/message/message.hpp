#ifndef PHX_MESSAGE_MESSAGE_HPP
#define PHX_MESSAGE_MESSAGE_HPP
// The four records of the protocol (section 2): what a client sends, and the three things a server says.

#include <phx/message/payload.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// A ref, a join_ref, or a name that has to come back as it came: JSON text (`"7"`, `7`, `""`, `null`), or nothing where the
/// key was absent (V1). A view: it lives as long as its message, or as the channel that keeps it.
struct json_ref {
  std::string_view json{};

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
  std::string_view text{};
  std::string_view json{};

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
  [[nodiscard]] constexpr std::string_view text() const noexcept { return word_; }
  [[nodiscard]] friend constexpr bool operator==(status a, status b) noexcept { return a.word_ == b.word_; }

  static status const ok, error;

 private:
  static void a_status_is_a_word_of_letters_digits_and_underscores() {}
  std::string_view word_;
};
inline constexpr status status::ok{"ok"};
inline constexpr status status::error{"error"};

class owned_message;

/// What a client sent. Every view in it dies when the callback returns; `copy()` owns.
struct message {
  json_ref join_ref{};
  json_ref ref{};
  std::string_view topic{};  ///< unescaped; empty when it was no string
  std::string_view event{};  ///< unescaped; empty when it was no string
  phx::payload payload{};
  json_text topic_name{};  ///< `topic` with the JSON it came as
  json_text event_name{};  ///< `event` likewise: event_name.is_string() tells `""` from `7`

  [[nodiscard]] inline owned_message copy() const;
};

/// A message that may be kept and sent to another thread.
class owned_message {
 public:
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
  json_ref join_ref{};
  json_ref ref{};
  json_text topic{};
  phx::status status = status::ok;
  phx::payload const& payload;
  answer to = answer::message;
};

/// From a channel to its own client. `ref` is absent but for phx_close and phx_error: there join_ref is the join's as it was
/// sent (it may be null or absent) and ref the join's own ref, which generation 1.2 and before need (protocol 4.3); V2
/// writes the join_ref twice.
struct push {
  json_ref join_ref{};
  json_ref ref{};
  json_text topic{};
  json_text event{};
  phx::payload const& payload;
};

/// To all subscribers of a topic: carries no ref of any kind, so that all get the same bytes.
struct broadcast {
  std::string_view topic{};
  std::string_view event{};
  phx::payload payload{};
  std::string_view topic_json{};  ///< `topic` quoted, where somebody has it at hand; may be empty
  std::string_view key{};         ///< what it is about, for pressure_policy::keep_latest: an instrument, a player, a cursor
};

/// Names phx itself puts on the wire or listens for.
namespace event {
inline constexpr std::string_view join = "phx_join", leave = "phx_leave", reply = "phx_reply", close = "phx_close",
                                  error = "phx_error", heartbeat = "heartbeat", disconnect = "disconnect",
                                  dropped = "phx_dropped";
}

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

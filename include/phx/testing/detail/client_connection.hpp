#ifndef PHX_TESTING_DETAIL_CLIENT_CONNECTION_HPP
#define PHX_TESTING_DETAIL_CLIENT_CONNECTION_HPP
// The frames of vsn 2.0.0 as a client reads and writes them.

#include <phx/connect/handshake.hpp>
#include <phx/core/text/json.hpp>
#include <phx/message/event.hpp>
#include <phx/testing/recorder.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace testing {
namespace detail {

/// A message that a client received, decoded.
struct received_message {
  enum : std::uint8_t { reply, push, broadcast } kind = push;
  std::string join_ref{}, ref{};  // JSON; empty for null
  std::string topic{}, event{};   // `event` is the status of a reply
  std::string payload{};
  bool binary = false;
};

/// Decodes a frame of vsn 2.0.0, as phoenix.js does (protocol 3.3, 3.4).
[[nodiscard]] inline received_message decode(frame const& f) {
  received_message m;
  std::string_view const all = f.data();
  if (f.op() == opcode::binary) {
    auto const size = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(all[i])); };
    auto const kind = size(0);
    std::size_t const strings = kind == 0 ? 3 : kind == 1 ? 4 : 2;
    std::string part[4];
    std::size_t at = 1 + strings;
    for (std::size_t i = 0; i < strings; ++i) {
      part[i] = all.substr(at, size(1 + i));
      at += part[i].size();
    }
    auto const quoted = [](std::string const& s) { return s.empty() ? s : '"' + s + '"'; };
    m.binary = true;
    m.payload = all.substr(at);
    if (kind == 0)
      m = {received_message::push, quoted(part[0]), {}, part[1], part[2], std::move(m.payload), true};
    else if (kind == 1)
      m = {received_message::reply, quoted(part[0]), quoted(part[1]), part[2], part[3], std::move(m.payload), true};
    else
      m = {received_message::broadcast, {}, {}, part[0], part[1], std::move(m.payload), true};
    return m;
  }
  json::cursor c(all, json::deepest);
  std::string_view join_ref, ref, topic, event, payload;
  bool const valid = c.take('[') && c.value(join_ref) && c.take(',') && c.value(ref) && c.take(',') && c.value(topic) &&
                     c.take(',') && c.value(event) && c.take(',') && c.value(payload) && c.take(']') && c.done();
  assert(valid && "not a frame of vsn 2.0.0");
  (void)valid;
  auto const text = [](std::string_view token) {
    std::string s(token.size(), '\0');
    if (!json::is_string(token)) return std::string(token);
    s.resize(json::unescape(token, s.data()));
    return s;
  };
  if (join_ref != "null") m.join_ref = join_ref;
  if (ref != "null") m.ref = ref;
  m.topic = text(topic);
  m.event = text(event);
  m.payload = payload;
  if (m.event == event::reply) {
    json::cursor inside(payload, json::deepest);
    std::string_view key, status, response;
    if (inside.take('{') && inside.value(key) && inside.take(':') && inside.value(status) && inside.take(',') &&
        inside.value(key) && inside.take(':') && inside.value(response)) {
      m.kind = received_message::reply;
      m.event = text(status);
      m.payload = response;
    }
  } else {
    m.kind = m.join_ref.empty() && m.ref.empty() ? received_message::broadcast : received_message::push;
  }
  return m;
}

/// The connection of one client, and the messages it has received that no `expect` has taken yet.
struct client_connection {
  virtual ~client_connection() = default;
  /// The client sends.
  virtual void receive(opcode, std::string_view) = 0;
  /// The connection ends.
  virtual void drop(lost) = 0;

  void send(std::string_view join_ref, std::string_view ref, std::string_view topic, std::string_view event,
            std::string_view payload) {
    std::string text = "[";
    text.append(join_ref).append(",").append(ref).append(",");
    for (std::string_view const name : {topic, event}) {
      json::append_quoted(text, name);
      text += ',';
    }
    receive(opcode::text, text.append(payload).append("]"));
  }
  void send_bytes(std::string_view join_ref, std::string_view ref, std::string_view topic, std::string_view event,
                  std::string_view bytes) {
    std::string out(1, '\0');
    for (std::string_view const part : {join_ref, ref, topic, event})
      out += static_cast<char>(static_cast<unsigned char>(part.size()));
    for (std::string_view const part : {join_ref, ref, topic, event, bytes}) out += part;
    receive(opcode::binary, out);
  }
  void receive_all() {
    for (frame const& f : wire.frames) inbox.push_back(decode(f));
    wire.frames.clear();
  }
  /// Takes the first message for which `matches` is true.
  template <class F>
  [[nodiscard]] std::optional<received_message> take(F&& matches) {
    receive_all();
    for (std::size_t i = 0; i < inbox.size(); ++i)
      if (matches(inbox[i])) {
        received_message found = std::move(inbox[i]);
        inbox.erase(inbox.begin() + static_cast<std::ptrdiff_t>(i));
        return found;
      }
    return std::nullopt;
  }
  [[nodiscard]] std::string next_ref() { return std::to_string(++last_ref); }

  testing::recorder wire{};
  std::vector<received_message> inbox{};
  unsigned long last_ref = 0;
  bool left = false;
  std::optional<http_answer> refusal{};
};

}  // namespace detail
}  // namespace testing
}  // namespace PHX_BUILD
}  // namespace phx

#endif

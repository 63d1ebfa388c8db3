#ifndef PHX_ADAPTER_DETAIL_REDIS_WIRE_HPP
#define PHX_ADAPTER_DETAIL_REDIS_WIRE_HPP
// What one message on the Redis channel is made of: among phx nodes a compact form of our own, beside Elixir the term that
// Phoenix's own Redis adapter writes (protocol 13.2). Both read whatever a stranger may have published there.

#include <phx/adapter/detail/etf.hpp>
#include <phx/adapter/detail/inflate.hpp>
#include <phx/core/message.hpp>

#include <optional>

namespace phx::inline PHX_BUILD::detail::redis_wire {

/// A message read: views into its bytes, but for a payload that had to be put together.
struct heard {
  bool only = false;          ///< for `node` alone; else from it, for all others
  std::string_view node{};
  bool node_is_atom = false;
  std::string_view topic{}, event{};
  std::string_view key{};     ///< broadcast::key; Phoenix's form has no room for it
  std::string_view payload{}; ///< JSON text, or bytes
  bool bytes = false;
};

// ---- ours: "phx" 1, flags, u16 lengths of node, topic, event and key, u32 length of the payload, then the five.
// Big-endian, nothing behind. The payload is the JSON text as it was published.

inline constexpr std::string_view magic{"phx\x01", 4};
inline constexpr std::size_t head = 4 + 1 + 2 + 2 + 2 + 2 + 4;

/// @return false if a name is longer than 65,535 bytes.
[[nodiscard]] inline bool write(std::string& to, bool only, std::string_view node, broadcast const& b) {
  std::string_view const payload = b.payload.raw();
  if (node.size() > 0xffff || b.topic.size() > 0xffff || b.event.size() > 0xffff || b.key.size() > 0xffff ||
      payload.size() > 0xffff'ffff)
    return false;
  to += magic;
  etf::writer out(to);
  out.byte(static_cast<std::uint8_t>((only ? 1 : 0) | (b.payload.is_binary() ? 2 : 0)));
  out.u16(node.size()), out.u16(b.topic.size()), out.u16(b.event.size()), out.u16(b.key.size());
  out.u32(payload.size());
  to += node, to += b.topic, to += b.event, to += b.key, to += payload;
  return true;
}

[[nodiscard]] inline std::optional<heard> read(std::string_view in) {
  if (in.size() < head || !in.starts_with(magic)) return std::nullopt;
  auto const number = [&](std::size_t at, std::size_t bytes) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < bytes; ++i) n = n << 8 | static_cast<unsigned char>(in[at + i]);
    return n;
  };
  auto const flags = static_cast<unsigned char>(in[4]);
  std::size_t const node = number(5, 2), topic = number(7, 2), event = number(9, 2), key = number(11, 2),
                    payload = number(13, 4);
  if (flags > 3 || in.size() != head + node + topic + event + key + payload) return std::nullopt;
  heard h;
  h.only = (flags & 1) != 0;
  h.bytes = (flags & 2) != 0;
  h.node = in.substr(head, node);
  h.topic = in.substr(head + node, topic);
  h.event = in.substr(head + node + topic, event);
  h.key = in.substr(head + node + topic + event, key);
  h.payload = in.substr(head + node + topic + event + key);
  if (!json::utf8(h.topic) || !json::utf8(h.event) || (!h.bytes && !json::valid(h.payload))) return std::nullopt;
  return h;
}

// ---- Phoenix's: {3, except | only, node, topic, %Phoenix.Socket.Broadcast{}, dispatcher}

/// Erlang's own nodes are atoms, and all of them have an @ in their names; a name without one is a binary.
[[nodiscard]] inline bool is_atom(std::string_view node) noexcept { return node.find('@') != node.npos; }

/// @return false for what is beyond `most`, a name that is none in Erlang, or a number that no double holds.
[[nodiscard]] inline bool write_term(std::string& to, bool only, std::string_view node, broadcast const& b,
                                     etf::bounds const& most) {
  if (node.size() > 255 || b.payload.raw().size() > INT32_MAX) return false;
  etf::writer out(to);
  out.start();
  out.tuple(6);
  out.whole(3);
  out.atom(only ? "only" : "except");
  if (is_atom(node)) out.atom(node);
  else out.binary(node);
  out.binary(b.topic);
  out.map(4);
  out.atom("__struct__"), out.atom("Elixir.Phoenix.Socket.Broadcast");
  out.atom("event"), out.binary(b.event);
  out.atom("payload");
  if (b.payload.is_binary()) {
    out.tuple(2), out.atom("binary"), out.binary(b.payload.raw());
  } else if (!out.json(b.payload.raw(), most)) {
    return false;
  }
  out.atom("topic"), out.binary(b.topic);
  out.atom("Elixir.Phoenix.Channel.Server");
  return true;
}

/// Where that is kept of a term which is not in its bytes as they came.
struct term_room {
  std::string json{}, inflated{};
};

/// Compressed terms are read, never written (Phoenix: compression_level, 0 by default).
/// @param room outlives what is returned.
[[nodiscard]] inline std::optional<heard> read_term(std::string_view in, term_room& room, etf::bounds const& most) {
  if (in.empty() || static_cast<std::uint8_t>(in.front()) != etf::version) return std::nullopt;
  in.remove_prefix(1);
  if (!in.empty() && static_cast<std::uint8_t>(in.front()) == etf::compressed) {
    result<std::string> whole = decompressed_term(in.substr(1), most.inflated);
    if (!whole) return std::nullopt;
    room.inflated = *std::move(whole);
    in = room.inflated;
  }
  etf::reader from(in, most);
  heard h;
  std::uint32_t n = 0, protocol = 0;
  std::string_view mode, word;
  if (!from.tuple(n) || n != 6 || !from.uint31(protocol) || protocol != 3 || !from.atom(mode)) return std::nullopt;
  h.only = mode == "only";
  if (!h.only && mode != "except") return std::nullopt;
  h.node_is_atom = from.peek() != etf::binary;
  if (!(h.node_is_atom ? from.atom(h.node) : from.binary(h.node)) || !from.binary(h.topic)) return std::nullopt;
  if (!from.map(n)) return std::nullopt;
  bool is_broadcast = false, has_event = false, has_payload = false;
  std::string_view topic = h.topic;
  for (std::uint32_t i = 0; i < n; ++i) {
    if (!from.atom(word)) return std::nullopt;
    if (word == "__struct__") {
      if (!from.atom(word) || word != "Elixir.Phoenix.Socket.Broadcast") return std::nullopt;
      is_broadcast = true;
    } else if (word == "event") {
      if (!from.binary(h.event)) return std::nullopt;
      has_event = true;
    } else if (word == "topic") {
      if (!from.binary(topic)) return std::nullopt;
    } else if (word == "payload") {
      has_payload = true;
      if (from.peek() == etf::small_tuple) {
        std::uint32_t two = 0;
        if (!from.tuple(two) || two != 2 || !from.atom(word) || word != "binary" || !from.binary(h.payload))
          return std::nullopt;
        h.bytes = true;
      } else {
        room.json.clear();
        if (!from.json(room.json)) return std::nullopt;
        h.payload = room.json;
        h.bytes = false;
      }
    } else if (!from.skip()) {
      return std::nullopt;
    }
  }
  // The dispatcher: channels', or a plain one, which a channel's process takes likewise.
  if (!from.atom(word) || (word != "Elixir.Phoenix.Channel.Server" && word != "Elixir.Phoenix.PubSub")) return std::nullopt;
  if (!from.done() || !is_broadcast || !has_event || !has_payload || topic != h.topic) return std::nullopt;
  if (!json::utf8(h.topic) || !json::utf8(h.event)) return std::nullopt;
  return h;
}

}  // namespace phx::inline PHX_BUILD::detail::redis_wire

#endif

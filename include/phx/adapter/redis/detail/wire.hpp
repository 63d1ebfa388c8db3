#ifndef PHX_ADAPTER_REDIS_DETAIL_WIRE_HPP
#define PHX_ADAPTER_REDIS_DETAIL_WIRE_HPP
// One message on the Redis channel: between phx nodes a compact form of phx, beside Elixir the term that Phoenix's Redis
// adapter writes (protocol 13.2). Anybody may publish on the channel, so both readers accept any bytes.

#include <phx/erlang/compressed_term.hpp>
#include <phx/erlang/etf_json.hpp>
#include <phx/erlang/etf_writer.hpp>
#include <phx/message/message.hpp>

#include <optional>

namespace phx {
inline namespace PHX_BUILD {
namespace detail::redis_wire {

/// A decoded message: views of its bytes, or of a term_storage.
struct bus_message {
  bool only = false;  ///< true: for `node` alone; false: from `node`, for all others
  std::string_view node{};
  bool node_is_atom = false;
  std::string_view topic{}, event{};
  std::string_view key{};      ///< broadcast::key; Phoenix's form does not have it
  std::string_view payload{};  ///< JSON text, or bytes
  bool bytes = false;
};

// ---- phx: "phx" 1, flags, u16 lengths of node, topic, event and key, u32 length of the payload, then these five; big-endian, and nothing
// after them. The payload is the JSON text as it was published.

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

[[nodiscard]] inline std::optional<bus_message> read(std::string_view in) {
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
  bus_message m;
  m.only = (flags & 1) != 0;
  m.bytes = (flags & 2) != 0;
  m.node = in.substr(head, node);
  m.topic = in.substr(head + node, topic);
  m.event = in.substr(head + node + topic, event);
  m.key = in.substr(head + node + topic + event, key);
  m.payload = in.substr(head + node + topic + event + key);
  if (!json::utf8(m.topic) || !json::utf8(m.event) || (!m.bytes && !json::valid(m.payload))) return std::nullopt;
  return m;
}

// ---- Phoenix's: {3, except | only, node, topic, %Phoenix.Socket.Broadcast{}, dispatcher}

/// Names of Erlang nodes are atoms and contain an @; a name without one is written as a binary.
[[nodiscard]] inline bool is_atom(std::string_view node) noexcept { return node.find('@') != node.npos; }

/// @return false beyond `limit`, for a name that Erlang does not allow, or a number that no double holds.
[[nodiscard]] inline bool write_term(std::string& to, bool only, std::string_view node, broadcast const& b,
                                     etf::bounds const& limit) {
  if (node.size() > 255 || b.payload.raw().size() > INT32_MAX) return false;
  etf::writer out(to);
  out.start();
  out.tuple(6);
  out.integer(3);
  out.atom(only ? "only" : "except");
  if (is_atom(node))
    out.atom(node);
  else
    out.binary(node);
  out.binary(b.topic);
  out.map(4);
  out.atom("__struct__"), out.atom("Elixir.Phoenix.Socket.Broadcast");
  out.atom("event"), out.binary(b.event);
  out.atom("payload");
  if (b.payload.is_binary()) {
    out.tuple(2), out.atom("binary"), out.binary(b.payload.raw());
  } else if (!out.json(b.payload.raw(), limit)) {
    return false;
  }
  out.atom("topic"), out.binary(b.topic);
  out.atom("Elixir.Phoenix.Channel.Server");
  return true;
}

/// What a message from Redis is.
enum class outcome : std::uint8_t {
  broadcast,  ///< `message` is filled in
  foreign,  ///< another program's, or internal traffic of Elixir (its presence tracker, long-poll): no client misses anything
  unreadable,      ///< a broadcast whose payload cannot be read: its clients miss it
  unknown_struct,  ///< a broadcast with a struct that has no encoder: `module` and `message.topic` tell which
};

struct term_message {
  redis_wire::outcome outcome = redis_wire::outcome::foreign;
  bus_message message{};
  std::string module{};
};

/// Memory for the parts of a message that are not in its own bytes. Used again for the next message.
struct term_storage {
  std::string json{}, inflated{};
};

/// Reads what phoenix_pubsub_redis publishes. Compressed terms are read too (its compression_level).
/// @param storage must outlive the result. @param hook the program's function for structs.
[[nodiscard]] inline term_message read_term(std::string_view in, term_storage& storage, etf::bounds const& limit,
                                            etf::struct_hook const& hook = {}) {
  term_message result;
  bus_message& m = result.message;
  if (in.empty() || static_cast<std::uint8_t>(in.front()) != etf::version) return result;
  in.remove_prefix(1);
  if (!in.empty() && static_cast<std::uint8_t>(in.front()) == etf::compressed) {
    phx::result<std::string> whole = etf::inflate(in.substr(1), limit.inflated);
    if (!whole) {
      result.outcome = outcome::unreadable;  // other programs do not compress
      return result;
    }
    storage.inflated = *std::move(whole);
    in = storage.inflated;
  }
  etf::reader from(in);
  std::uint32_t count = 0;
  std::int64_t protocol = 0;
  std::string_view mode, name, struct_name;
  if (!from.tuple(count) || count != 6 || !from.integer(protocol) || protocol != 3 || !from.atom(mode)) return result;
  m.only = mode == "only";
  if (!m.only && mode != "except") return result;
  m.node_is_atom = from.at_atom();
  if (!(m.node_is_atom ? from.atom(m.node) : from.binary(m.node)) || !from.binary(m.topic)) return result;

  // The fields come in any order, so the payload is read last.
  constexpr std::uint32_t payload_depth = 512;  // only to find its end
  std::optional<etf::reader> payload;
  bool has_event = false;
  std::string_view topic = m.topic;
  if (!from.map(count)) return result;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!from.atom(name)) return result;
    if (name == "payload") payload = from;
    errc fault = errc::none;
    bool known = true;
    if (name == "__struct__")
      known = from.atom(struct_name);
    else if (name == "event")
      known = has_event = from.binary(m.event);
    else if (name == "topic")
      known = from.binary(topic);
    else
      fault = from.skip(payload_depth, etf::terms::any);
    if (fault == errc::too_deep) result.outcome = outcome::unreadable;
    if (fault != errc::none || !known) return result;
  }
  // The dispatcher: that of channels, or the plain one, whose messages a channel process also accepts.
  if (!from.atom(name) || (name != "Elixir.Phoenix.Channel.Server" && name != "Elixir.Phoenix.PubSub")) return result;
  if (!from.done() || struct_name != "Elixir.Phoenix.Socket.Broadcast" || !has_event || !payload || topic != m.topic)
    return result;

  result.outcome = outcome::unreadable;
  if (!json::utf8(m.topic) || !json::utf8(m.event)) return result;
  if (payload->at_tuple()) {
    if (payload->tuple(count) && count == 2 && payload->atom(name) && name == "binary" && payload->binary(m.payload)) {
      m.bytes = true;
      result.outcome = outcome::broadcast;
    }
  } else if (m.event == event::disconnect) {
    m.payload = "{}";  // it is not used, so a payload that cannot be read must not keep a socket open
    result.outcome = outcome::broadcast;
  } else {
    storage.json.clear();
    etf::json_encoder encoder(payload->rest(), limit, hook);
    if (encoder.value(*payload, storage.json)) {
      m.payload = storage.json;
      result.outcome = outcome::broadcast;
    } else if (!encoder.refused_struct().empty()) {
      result.module = encoder.refused_struct();
      result.outcome = outcome::unknown_struct;
    }
  }
  return result;
}

}  // namespace detail::redis_wire
}  // namespace PHX_BUILD
}  // namespace phx

#endif

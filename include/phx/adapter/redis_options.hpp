#ifndef PHX_ADAPTER_REDIS_OPTIONS_HPP
#define PHX_ADAPTER_REDIS_OPTIONS_HPP
// Options, events and counters of phx::redis::pubsub.

#include <phx/erlang/elixir_struct.hpp>
#include <phx/core/time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace redis {

/// What happens to broadcasts to other nodes while Redis is not connected. This node's clients get them in any case.
enum class disconnected_policy : std::uint8_t {
  refuse,  ///< they return `closed` and are counted; those that were queued are counted as lost. As in Phoenix.
  keep,    ///< they wait, up to options::queue bytes, and are sent late
};

/// Redis was connected, or its connection was lost.
struct change {
  /// Whether it is connected now.
  bool connected = false;
  std::string_view reason{};    ///< of the loss, or of an attempt to connect that failed
  duration disconnected_for{};  ///< when connected: how long nothing was received from other nodes
  std::uint64_t unsent = 0;     ///< counters::refused and counters::lost together, so far
};

/// Why a message did not reach this node's clients; an operator should know.
enum class warning_kind : std::uint8_t {
  /// A broadcast of an Elixir node has a struct that neither Jason nor options::encode_struct encodes: it was skipped.
  unknown_struct,
  /// A broadcast of an Elixir node has no JSON form, is nested deeper than 64, or is larger than options::message.
  unreadable,
  /// Another node has the name of this one: neither receives the other's broadcasts. Reported once for each connection.
  same_name,
};
/// A message that was skipped, or a name that two nodes have.
struct warning {
  /// The reason.
  warning_kind kind = warning_kind::unreadable;
  /// The message's topic, as far as it could be read.
  std::string_view topic{};
  /// Its event, as far as it could be read.
  std::string_view event{};
  std::string_view module{};  ///< of the struct: MyApp.User
};

/// TLS over a connected socket that does not block. Used by one thread at a time. phx::redis::tls of adapter/redis_tls.hpp
/// makes them with OpenSSL.
class secure_channel {
 public:
  /// The result of an operation.
  enum class progress : std::uint8_t {
    done,        ///< handshake: complete; read and write: some bytes were moved
    want_read,   ///< call it again when the socket is readable
    want_write,  ///< call it again when the socket is writable
    failed,      ///< error() tells the reason; also at the end of the stream
  };
  secure_channel() = default;
  secure_channel(secure_channel const&) = delete;
  secure_channel& operator=(secure_channel const&) = delete;
  virtual ~secure_channel() = default;
  /// Continues the handshake without waiting.
  virtual progress handshake() = 0;
  /// @param count how many bytes were read; when done, at least one.
  virtual progress read(char* into, std::size_t size, std::size_t& count) = 0;
  /// After want_read or want_write it is called again with the same bytes, perhaps elsewhere in memory and with more after
  /// them.
  virtual progress write(char const* bytes, std::size_t size, std::size_t& count) = 0;
  /// Why it failed; empty if it did not.
  [[nodiscard]] virtual std::string error() const = 0;
};

/// The address of Redis, the name of this node, limits and callbacks.
struct options {
  /// `redis://USER:PASSWORD@HOST:PORT/DATABASE`, rediss:// for TLS, unix:///PATH?db=DATABASE.
  /// It overrides the six members below. Characters such as @ in a password are percent-encoded.
  std::string url{};
  /// Name or address of the server.
  std::string host = "127.0.0.1";
  /// Its TCP port.
  std::uint16_t port = 6379;
  std::string unix_socket{};   ///< a path; used instead of host and port
  std::string username{};      ///< empty: the default user
  std::string password{};      ///< AUTH, unless empty
  std::uint32_t database = 0;  ///< SELECT, unless 0. Messages do not depend on it
  /// TLS: phx::redis::tls(...) of adapter/redis_tls.hpp. A rediss:// URL needs it, a redis:// URL ignores it.
  /// @param host what the server's certificate must name. @return null: no memory.
  std::function<std::unique_ptr<secure_channel>(int socket, std::string const& host)> secure{};
  /// Unique among the nodes, at most 255 bytes; empty: a random name. A name with an @ is an atom in Elixir.
  std::string node{};
  std::string name = "phx";  ///< nodes with the same name receive each other's broadcasts, on the Redis channel phx:NAME
  /// The module of a Phoenix.PubSub, such as MyApp.PubSub: use the format and the channel of Phoenix's Redis adapter, so
  /// that Phoenix nodes and this one receive each other's broadcasts (protocol 13.2). `name` is ignored then. A payload that
  /// is neither an object nor bytes is refused: it would crash a process on every Phoenix node.
  std::string beside_elixir{};
  /// Beside Elixir: gives the JSON of a struct that Jason does not encode by itself; std::nullopt skips the whole broadcast.
  /// Not called for Date, Time, NaiveDateTime, DateTime, Decimal and Jason.OrderedObject. Called on the adapter's thread.
  std::function<std::optional<std::string>(elixir_struct const&)> encode_struct{};
  /// What happens to broadcasts to other nodes while Redis is not connected.
  disconnected_policy when_disconnected = disconnected_policy::refuse;
  std::size_t queue = 8'000'000;  ///< bytes waiting to be written to Redis; beyond: the new broadcast is `dropped`
  /// Bytes of one message; a larger one closes the connection. A compressed one that inflates beyond this is skipped.
  std::size_t message = 16'000'000;
  duration connect = std::chrono::seconds(5);         ///< to connect, for TLS and for the first answers
  duration ping = std::chrono::seconds(2);            ///< between two pings
  duration silence = std::chrono::seconds(6);         ///< if nothing is received for this long: connect again
  duration backoff = std::chrono::milliseconds(100);  ///< before the second attempt; doubles each time, half of it is random
  /// The longest pause between two attempts to connect.
  duration max_backoff = std::chrono::seconds(5);
  duration linger = std::chrono::seconds(1);  ///< stop() waits at most this long for what is queued
  /// Called on the adapter's thread; must not stop the endpoint.
  std::function<void(change const&)> on_change{};
  /// Called once for each message that was skipped, on the adapter's thread; must not stop the endpoint.
  std::function<void(warning const&)> on_warning{};
};

/// Since start(). Every broadcast is refused, queued or sent; one that was sent is confirmed, lost or under way.
struct counters {
  std::uint64_t sent = 0;          ///< written to Redis
  std::uint64_t confirmed = 0;     ///< Redis answered that its subscribers have it
  std::uint64_t refused = 0;       ///< returned closed or dropped: Redis disconnected, the queue full, or no encoding
  std::uint64_t not_objects = 0;   ///< of these: beside Elixir, a payload that is neither an object nor bytes
  std::uint64_t lost = 0;          ///< accepted, but the connection was lost or Redis refused it; may have arrived
  std::uint64_t received = 0;      ///< from other nodes, and delivered here
  std::uint64_t mailbox_full = 0;  ///< of these: a loop's mailbox was full
  std::uint64_t skipped =
      0;  ///< another program's, or internal traffic of Elixir (its presence tracker): no client misses it
  std::uint64_t unreadable = 0;       ///< warning_kind::unreadable
  std::uint64_t unknown_structs = 0;  ///< warning_kind::unknown_struct
  std::uint64_t same_name = 0;        ///< messages of another node that has this one's name
  std::uint64_t too_large = 0;        ///< over options::message
  std::uint64_t connects = 0;         ///< how often it connected
  duration disconnected_for{};        ///< how long nothing could be received, in total
};

}  // namespace redis
}  // namespace PHX_BUILD
}  // namespace phx

#endif

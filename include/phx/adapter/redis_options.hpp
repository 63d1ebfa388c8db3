#ifndef PHX_ADAPTER_REDIS_OPTIONS_HPP
#define PHX_ADAPTER_REDIS_OPTIONS_HPP
// What phx::redis::pubsub is told, and what it tells.

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

/// What becomes of broadcasts while Redis is away. The own node is served in any case.
enum class while_away : std::uint8_t {
  refuse,  ///< they answer `closed` and are counted; what was queued is counted as lost. As Phoenix does.
  keep,    ///< they wait, up to options::queue bytes, and go out late
};

/// Redis came or went.
struct change {
  /// Whether Redis is there now.
  bool connected = false;
  std::string_view reason{};  ///< of going, or of another attempt that failed
  duration deaf{};            ///< how long nothing was heard from the other nodes; on coming
  std::uint64_t unsent = 0;   ///< counters::refused and counters::lost together, so far
};

/// A message that did not reach this node's clients, and that an operator should hear of.
enum class warning_kind : std::uint8_t {
  /// A broadcast of an Elixir node has a struct that neither Jason nor options::encode_struct encodes: it was skipped.
  unknown_struct,
  /// A broadcast of an Elixir node cannot be said in JSON, is nested deeper than 64, or is larger than options::message.
  unreadable,
  /// Another node has the name of this one: the two are deaf to each other. Told once for each connection.
  same_name,
};
/// What the observer of a node should know: a message that was not understood, a name that two nodes have.
struct warning {
  /// Which of them it is.
  warning_kind kind = warning_kind::unreadable;
  /// The message's topic, as far as it could be read.
  std::string_view topic{};
  /// Its event, as far as it could be read.
  std::string_view event{};
  std::string_view module{};  ///< of the struct: MyApp.User
};

/// Encrypts one connection: TLS over a connected socket that does not block. Used by one thread at a time.
/// phx::redis::tls of adapter/redis_tls.hpp makes them with OpenSSL.
class secure_channel {
 public:
  /// How far an operation came.
  enum class progress : std::uint8_t {
    done,        ///< of handshake: it is over; of read and write: some bytes were moved
    want_read,   ///< again when the socket can be read
    want_write,  ///< again when the socket can be written
    failed,      ///< error() says why; also at the end of what the peer sends
  };
  secure_channel() = default;
  secure_channel(secure_channel const&) = delete;
  secure_channel& operator=(secure_channel const&) = delete;
  virtual ~secure_channel() = default;
  /// Goes on with the handshake, as far as it can without waiting.
  virtual progress handshake() = 0;
  /// @param count how many bytes were read; when done, at least one.
  virtual progress read(char* into, std::size_t size, std::size_t& count) = 0;
  /// May be called again with the same bytes elsewhere in memory, and more behind them.
  virtual progress write(char const* bytes, std::size_t size, std::size_t& count) = 0;
  /// Why it failed; empty where nothing did.
  [[nodiscard]] virtual std::string error() const = 0;
};

/// Where Redis is, and how this node presents itself.
struct options {
  /// Where Redis is, and as whom: `redis://USER:PASSWORD@HOST:PORT/DATABASE`, rediss:// for TLS, unix:///PATH?db=DATABASE.
  /// What it names takes the place of the six members below. Characters such as @ in a password are percent-encoded.
  std::string url{};
  /// Name or address of the server.
  std::string host = "127.0.0.1";
  /// Its TCP port.
  std::uint16_t port = 6379;
  std::string unix_socket{};   ///< a path; takes the place of host and port
  std::string username{};      ///< empty: the default user
  std::string password{};      ///< AUTH, if there is one
  std::uint32_t database = 0;  ///< SELECT, unless 0. Messages are heard in all databases alike
  /// TLS: phx::redis::tls(...) of adapter/redis_tls.hpp. A rediss:// URL needs it, a redis:// URL does without.
  /// @param host what the server's certificate must name. @return null: without memory.
  std::function<std::unique_ptr<secure_channel>(int socket, std::string const& host)> secure{};
  /// Unique among the nodes, at most 255 bytes; empty: made up. One with an @ is an atom to Elixir.
  std::string node{};
  std::string name = "phx";  ///< of this pubsub: nodes of one name hear each other, on the Redis channel phx:NAME
  /// The module of a Phoenix.PubSub, such as MyApp.PubSub: speak the wire of Phoenix's Redis adapter, on its channel, so
  /// that Phoenix nodes and this one hear each other (protocol 13.2). `name` then does not matter. A payload that is neither
  /// an object nor bytes is refused: it would crash a process on every Phoenix node.
  std::string beside_elixir{};
  /// Beside Elixir: the JSON of a struct in a payload that Jason has no encoder of its own for, or nothing: then the whole
  /// broadcast is skipped. Date, Time, NaiveDateTime, DateTime, Decimal and Jason.OrderedObject never come here. On the
  /// adapter's thread.
  std::function<std::optional<std::string>(elixir_struct const&)> encode_struct{};
  /// What becomes of broadcasts while Redis is away.
  while_away away = while_away::refuse;
  std::size_t queue = 8'000'000;  ///< bytes waiting to be written to Redis; beyond: `dropped`, the newest is refused
  /// The largest message read; a larger one costs the connection. A compressed one that would become larger is skipped.
  std::size_t message = 16'000'000;
  duration connect = std::chrono::seconds(5);         ///< for a connection to be made, secured and greeted
  duration ping = std::chrono::seconds(2);            ///< between two pings
  duration silence = std::chrono::seconds(6);         ///< nothing heard for so long: connect again
  duration backoff = std::chrono::milliseconds(100);  ///< before the second attempt; doubles, half of it at random
  /// The longest pause between two attempts to connect.
  duration backoff_most = std::chrono::seconds(5);
  duration linger = std::chrono::seconds(1);  ///< stop() waits so long for what was queued
  /// On the adapter's thread; must not throw, must not stop the endpoint.
  std::function<void(change const&)> on_change{};
  /// Once for each message that was skipped. On the adapter's thread; must not throw, must not stop the endpoint.
  std::function<void(warning const&)> on_warning{};
};

/// Since it started. Every broadcast that was called for is refused, waits in the queue, or is sent; what is sent is
/// confirmed, lost, or on its way.
struct counters {
  std::uint64_t sent = 0;             ///< given to Redis
  std::uint64_t confirmed = 0;        ///< Redis answered: its subscribers have it
  std::uint64_t refused = 0;          ///< answered closed or dropped: Redis away, the queue full, or not to be encoded
  std::uint64_t not_objects = 0;      ///< of these: beside Elixir, a payload that is neither an object nor bytes
  std::uint64_t lost = 0;             ///< taken, but Redis went or refused before it had confirmed; may have arrived
  std::uint64_t heard = 0;            ///< from other nodes, delivered here
  std::uint64_t overrun = 0;          ///< of these: a loop's mailbox was full
  std::uint64_t skipped = 0;          ///< a stranger's, or Elixir's own traffic (its presence tracker): no client misses it
  std::uint64_t unreadable = 0;       ///< warning_kind::unreadable
  std::uint64_t unknown_structs = 0;  ///< warning_kind::unknown_struct
  std::uint64_t same_name = 0;        ///< messages of another node that has this one's name
  std::uint64_t too_large = 0;        ///< over options::message
  std::uint64_t connects = 0;         ///< how often Redis came
  duration deaf{};                    ///< how long nothing could be heard, all in all
};

}  // namespace redis
}  // namespace PHX_BUILD
}  // namespace phx

#endif

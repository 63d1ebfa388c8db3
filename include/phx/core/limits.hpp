#ifndef PHX_CORE_LIMITS_HPP
#define PHX_CORE_LIMITS_HPP
// Every limit that phx enforces. Whatever a peer can make grow has one.

#include <phx/core/close.hpp>
#include <phx/core/memory.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// What happens to a client that reads more slowly than messages arrive for it. A connection has one policy
/// (limits::pressure); a channel may have another for its topic (channel.hpp).
///
/// With drop_newest, drop_oldest and keep_latest, phx stops passing messages to a transport that answers `congested` or
/// that holds more than half of limits::outbound. Later messages are queued in order until there is room again. Transport
/// and queue together hold at most limits::outbound bytes; beyond that, broadcasts and pushes are dropped. Replies,
/// heartbeats and the ends of channels are never dropped: if they alone exceed the limit, the client is closed with 1008.
enum class pressure_policy : std::uint8_t {
  close,        ///< beyond limits::outbound the socket closes with 1008; phoenix.js reconnects and rejoins
  drop_newest,  ///< a message that finds no room is dropped: the client misses the latest ones
  drop_oldest,  ///< the oldest queued messages are dropped to make room
  /// One message is queued for each topic, event and key (`context::broadcast`): the latest, which takes the place of the
  /// one before it. So a value that changes often does not fill the queue. A message can overtake only messages with other
  /// keys. Beyond limits::outbound the oldest are dropped.
  keep_latest,
  ignore,  ///< no limit: the host limits its own queue. For connections only
};

/// What happens to a message of a client that sends faster than an inbound_limit allows. The observer gets event_code::flood.
enum class flood_policy : std::uint8_t {
  close,  ///< the connection closes with 1008
  drop,   ///< the message is dropped: it is neither decoded nor answered
  /// The message is handled, and the Transport is asked to stop reading until the client is within the limit again, so that TCP
  /// slows the client down. A Transport without pause_reading closes instead.
  pause,
};

/// How fast a client may send. A message counts once it is complete; so does a ping. Where nothing is limited it costs two tests
/// for each message.
struct inbound_limit {
  std::uint32_t messages = 0;                    ///< messages a second; 0: any number
  std::size_t bytes = 0;                         ///< bytes a second; 0: any number
  duration burst = std::chrono::seconds(1);      ///< what this time allows may arrive at once; at least one message may
  flood_policy on_excess = flood_policy::close;  ///< what happens beyond
  /// Whether there is a limit.
  [[nodiscard]] constexpr bool limited() const noexcept { return messages != 0 || bytes != 0; }
};

/// A plain struct: set what you want to change. A loop reads the fields under "a loop's", a mount all the others; both take
/// a copy, or refer to one that does not change.
struct limits {
  // a mount's
  std::size_t frame = 10'000'000;     ///< bytes of one message, all its fragments; beyond: close 1009
  std::uint32_t channels = 100;       ///< topics per connection, pending joins included; beyond: `too many channels joined`
  std::uint32_t subscriptions = 100;  ///< topics one channel subscribes to besides its own; beyond: `dropped`
  std::uint32_t channel_timers = 1'000;  ///< timers that one channel has waiting; beyond: `send_after` answers `dropped`
  std::uint32_t name = 4096;             ///< bytes of a topic, event or ref; beyond: close 1011
  std::uint32_t json_depth = 1024;       ///< nested arrays and objects; beyond: close 1011
  std::uint32_t held_pushes = 64;        ///< messages waiting for one pending join; beyond: it ends with `join crashed`
  std::size_t held_bytes = 1'000'000;    ///< bytes of such messages for all pending joins of a connection; likewise
  inbound_limit inbound{};               ///< how fast one client may send
  inbound_limit inbound_channel{};    ///< how fast it may send on one topic that it has joined, or is joining; not to leave
  std::size_t outbound = 16'000'000;  ///< bytes waiting for one client; beyond: `pressure`
  /// What happens to a client that reads too slowly.
  pressure_policy pressure = pressure_policy::close;
  /// true: once a slow client has caught up, it receives a push `phx_dropped` `{"count":N}` on each topic that it missed N
  /// messages of.
  bool tell_dropped = false;
  /// What happens to a broadcast that the serializer of one subscriber cannot encode, such as bytes for a version 1 client.
  /// false: that subscriber is skipped and the observer gets event_code::broadcast_skipped; a long-poll session skips a
  /// frame that it cannot carry. true: as in Phoenix, nobody receives the broadcast and the channel that sent it crashes,
  /// and such a frame ends a long-poll session; one client can then crash the channels of others. Channels follow the
  /// limits of their mount, loop::publish those of its loop. Subscribers on other loops and nodes are always skipped.
  bool strict_encoding = false;
  duration idle =
      std::chrono::seconds(60);  ///< a client that sends nothing for this long is closed with 1001. zero or max(): never
  duration join = std::chrono::seconds(60);  ///< the longest deadline that a pending join can have
  // a loop's
  std::uint32_t mailbox = 65'536;  ///< pushes, replies and broadcasts from other threads, waiting; beyond: `dropped`
  std::size_t mailbox_bytes = 256'000'000;  ///< bytes of these; checked before one is added, so the last may exceed it
  std::uint32_t timers = 1'000'000;         ///< timers of channels, waiting; beyond: `send_after` answers `dropped`
  /// A secret random number for the hash table of topics, so that nobody can choose topics that collide. The hosts in adapter/
  /// replace 0 by phx::random_seed() (core/random.hpp), and a host of your own should. A loop that keeps 0 seeds from its own
  /// address, which some machines reveal.
  std::uint64_t seed = 0;
  /// Where the memory of frames, topics, subscriptions and mail comes from.
  phx::memory memory{};

  /// Limits for machines with little memory: a few hundred sockets in a few hundred KiB.
  [[nodiscard]] static limits for_small_machines() noexcept {
    limits l;
    l.frame = 16 * 1024;
    l.channels = 8;
    l.subscriptions = 8;
    l.channel_timers = 16;
    l.held_pushes = 4;
    l.held_bytes = 4 * 1024;
    l.outbound = 32 * 1024;
    l.mailbox = 256;
    l.mailbox_bytes = 256 * 1024;
    l.timers = 256;
    return l;
  }
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

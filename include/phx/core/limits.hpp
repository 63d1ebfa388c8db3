#ifndef PHX_CORE_LIMITS_HPP
#define PHX_CORE_LIMITS_HPP
// Every bound phx keeps, by name. Nothing a peer can make grow is without one.

#include <phx/core/close.hpp>
#include <phx/core/memory.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// What happens to a client that reads more slowly than it is spoken to. A connection has one policy (limits::pressure), a
/// channel may have another for its topic (channel.hpp).
///
/// With the three that drop, phx stops handing messages to a transport that says `congested` or holds more than half of
/// limits::outbound, and keeps what follows, in its order, until there is room again: up to limits::outbound bytes with what
/// the transport holds. What then goes are broadcasts and pushes; replies, heartbeats and the ends of channels are never
/// dropped: a client that leaves room for nothing else is closed with 1008.
enum class pressure_policy : std::uint8_t {
  close,        ///< more than limits::outbound: the socket closes with 1008; phoenix.js reconnects and rejoins
  drop_newest,  ///< what finds no room is dropped: the client misses what came last
  drop_oldest,  ///< what has waited longest makes room
  /// Of the messages that wait, one for each topic, event and key (`context::broadcast`): the latest, in the place of the
  /// one it replaces, so that what changes often is not kept waiting by what changes seldom. It overtakes nothing but
  /// other keys. Beyond the bound the oldest make room.
  keep_latest,
  ignore,  ///< the host bounds its queue itself; of a connection
};

/// One set goes to a loop (mailbox, memory, frames_kept), one to each mount (all the others).
struct limits {
  // a mount's
  std::size_t frame = 10'000'000;     ///< bytes of one message, its fragments together; beyond: close 1009
  std::uint32_t channels = 100;       ///< topics per connection, pending joins included; beyond: `too many channels joined`
  std::uint32_t subscriptions = 100;  ///< other topics that one channel hears; beyond: `subscribe` answers `dropped`
  std::uint32_t channel_timers = 1'000;  ///< timers that one channel has waiting; beyond: `send_after` answers `dropped`
  std::uint32_t name = 4096;             ///< bytes of a topic, event or ref; beyond: close 1011
  std::uint32_t json_depth = 1024;       ///< nested arrays and objects; beyond: close 1011
  std::uint32_t held_pushes = 64;        ///< messages waiting for one pending join; beyond: the join ends, `join crashed`
  std::size_t held_bytes = 1'000'000;    ///< their bytes, for all pending joins of a connection; likewise
  std::size_t outbound = 16'000'000;     ///< bytes waiting for one client; beyond: `pressure`
  /// What happens to a client that reads too slowly.
  pressure_policy pressure = pressure_policy::close;
  /// A client that has caught up is told what it missed: a push `phx_dropped` `{"count":N}` on each topic it missed N of.
  bool tell_dropped = false;
  /// What happens to a broadcast that the serializer of one of its subscribers cannot carry, such as bytes for a client of
  /// version 1. false: that subscriber is skipped and the observer is told (noted::broadcast_skipped); a long-poll session
  /// loses a frame that it cannot be given. true: as in Phoenix the broadcast reaches nobody and crashes the channel that
  /// sent it, so that one client can crash the channels of others, and such a frame ends a long-poll session. Channels
  /// follow the limits of their mount, loop::publish those of its loop. Between loops and nodes a subscriber is skipped in
  /// any case.
  bool strict_encoding = false;
  duration idle = std::chrono::seconds(60);  ///< nothing received for so long: close 1001. zero or max(): never
  duration join = std::chrono::seconds(60);  ///< the longest deadline a pending join may ask for
  // a loop's
  std::uint32_t mailbox = 65'536;           ///< pushes, replies, broadcasts waiting from other threads; beyond: `dropped`
  std::size_t mailbox_bytes = 256'000'000;  ///< their bytes, likewise; the one that goes beyond still gets in
  std::uint32_t timers = 1'000'000;         ///< timers of channels waiting at once; beyond: `send_after` answers `dropped`
  std::uint32_t frames_kept = 64;           ///< blocks of up to 16 KiB kept for the next frames
  /// Any random number, so that nobody can choose topics that are found slowly. The hosts in adapter/ replace 0 by chance;
  /// without it there is only where the loop lies in memory, which on some machines is no secret.
  std::uint64_t seed = 0;
  /// Where the memory of frames, topics, subscriptions and mail comes from.
  phx::memory memory{};

  /// For machines with little memory: a few hundred sockets in a few hundred KiB.
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
    l.frames_kept = 2;
    return l;
  }
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

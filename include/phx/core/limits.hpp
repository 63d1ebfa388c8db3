#ifndef PHX_CORE_LIMITS_HPP
#define PHX_CORE_LIMITS_HPP
// Every bound phx keeps, by name. Nothing a peer can make grow is without one.

#include <phx/core/close.hpp>
#include <phx/core/memory.hpp>

namespace phx::inline PHX_BUILD {

/// What happens when more bytes wait for one client than limits::outbound (the transport counts them: `buffered`).
enum class pressure_policy : std::uint8_t {
  close,        ///< the socket closes with 1008; phoenix.js reconnects and rejoins
  drop_newest,  ///< this frame is dropped and counted; the client may miss messages
  ignore,       ///< the host bounds its queue itself
};

/// One set goes to a loop (mailbox, memory, frames_kept), one to each mount (all the others).
struct limits {
  // a mount's
  std::size_t frame = 10'000'000;        ///< bytes of one message, its fragments together; beyond: close 1009
  std::uint32_t channels = 100;          ///< topics per connection, pending joins included; beyond: `too many channels joined`
  std::uint32_t name = 4096;             ///< bytes of a topic, event or ref; beyond: close 1011
  std::uint32_t json_depth = 1024;       ///< nested arrays and objects; beyond: close 1011
  std::uint32_t held_pushes = 64;        ///< messages waiting for one pending join; beyond: the join ends, `join crashed`
  std::size_t held_bytes = 1'000'000;    ///< their bytes, likewise
  std::size_t outbound = 16'000'000;     ///< bytes waiting for one client; beyond: `pressure`
  pressure_policy pressure = pressure_policy::close;
  duration idle = std::chrono::seconds(60);  ///< nothing received for so long: close 1001. zero: never
  duration join = std::chrono::seconds(60);  ///< the longest deadline a pending join may ask for
  // a loop's
  std::uint32_t mailbox = 65'536;        ///< pushes, replies, broadcasts waiting from other threads; beyond: `dropped`
  std::uint32_t timers = 1'000'000;      ///< timers of channels waiting at once; beyond: `send_after` answers `dropped`
  std::uint32_t frames_kept = 64;        ///< blocks of up to 16 KiB kept for the next frames
  phx::memory memory{};

  /// For machines with little memory: a few hundred sockets in a few hundred KiB.
  [[nodiscard]] static limits small() noexcept {
    limits l;
    l.frame = 16 * 1024;
    l.channels = 8;
    l.held_pushes = 4;
    l.held_bytes = 4 * 1024;
    l.outbound = 32 * 1024;
    l.mailbox = 256;
    l.timers = 256;
    l.frames_kept = 2;
    return l;
  }
};

}  // namespace phx::inline PHX_BUILD

#endif

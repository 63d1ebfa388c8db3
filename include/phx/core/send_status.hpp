#ifndef PHX_CORE_SEND_STATUS_HPP
#define PHX_CORE_SEND_STATUS_HPP
// The result of a send.

#include <phx/core/detail/build.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {

/// The result of a send to a client, a mailbox or other nodes.
enum class send_status : std::uint8_t {
  ok,
  congested,  ///< accepted, but the receiver falls behind: send less
  dropped,    ///< not accepted: a limit was reached, or there was no memory
  closed,     ///< the receiver no longer exists
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

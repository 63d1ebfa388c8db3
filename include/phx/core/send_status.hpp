#ifndef PHX_CORE_SEND_STATUS_HPP
#define PHX_CORE_SEND_STATUS_HPP
// The result of handing something over to be sent.

#include <phx/core/detail/build.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {

enum class send_status : std::uint8_t {
  ok,
  congested,  ///< taken, but slow down
  dropped,    ///< not taken: a bound was reached, or there was no memory
  closed,     ///< the receiver no longer exists
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

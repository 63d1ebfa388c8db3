#ifndef TESTS_SUPPORT_NULL_TRANSPORT_HPP
#define TESTS_SUPPORT_NULL_TRANSPORT_HPP

#include <phx/phx.hpp>

namespace support {

/// A Transport that discards everything, so that the cost of a connection is phx's alone.
struct null_transport {
  std::size_t* frames;
  phx::send_status send(phx::frame const&) noexcept {
    ++*frames;
    return phx::send_status::ok;
  }
  void close(phx::close_frame) noexcept {}
  [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
};

}  // namespace support

#endif

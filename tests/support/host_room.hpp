#ifndef PHX_TESTS_SUPPORT_HOST_ROOM_HPP
#define PHX_TESTS_SUPPORT_HOST_ROOM_HPP

#include <phx/phx.hpp>

#include <string>

namespace phx_tests {

/// The channel for the tests of the hosts in adapter/.
struct host_room {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(phx::status::ok, in.payload);
    if (in.event == "shout") {
      (void)ctx.broadcast("shout", in.payload);
      return phx::outcome::noreply();
    }
    if (in.event == "flood") {
      // More than kernels buffer on loopback, in pieces of 64 KiB.
      auto const large = phx::payload::json("{\"fill\":\"" + std::string(65536, 'x') + "\"}");
      for (int i = 0; i < (in.payload.raw() == "{}" ? 600 : 120); ++i) (void)ctx.push("flood", large);
      return phx::outcome::noreply();
    }
    if (in.event == "later") {
      (void)ctx.send_after(std::chrono::milliseconds(30), "due", in.payload);
      return phx::outcome::noreply();
    }
    return phx::outcome::stop(phx::exit_reason::error);
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    (void)ctx.push("due", in.payload);
    return phx::outcome::noreply();
  }
};

}  // namespace phx_tests

#endif

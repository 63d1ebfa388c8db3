// error: no member named 'push'
// clang: no member named 'push'
#include <phx/phx.hpp>

phx::join_result join(phx::joining& j, phx::message const&) {
  j.push("too early", {});
  return phx::join_result::ok();
}

#include <phx/adapter/nlohmann.hpp>
#include <phx/testing/server.hpp>

#include <doctest/doctest.h>

namespace {

struct counter {
  int n = 0;
  phx::outcome handle_in(phx::context& ctx, phx::message const&) {
    ctx.broadcast("counted", nlohmann::json{{"n", ++n}});
    (void)ctx.send_after(std::chrono::seconds(10), "forget");
    return phx::outcome::reply();
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const&) {
    ctx.push("forgotten", {});
    return phx::outcome::stop();
  }
};

TEST_CASE("a counter counts, and ends after ten seconds") {
  phx::router app;
  app.channel<counter>("room:*");
  phx::testing::server server(app);
  auto ann = server.connect().join("room:a"), bob = server.connect().join("room:a");
  auto ref = ann.push("count", "{}");
  CHECK(ann.expect_reply(ref)->ok());
  CHECK(bob.expect_broadcast("counted") == R"({"n":1})");
  server.advance(std::chrono::seconds(10));  // only the test moves the clock
  CHECK(ann.expect_push("forgotten") == "{}");
  CHECK(ann.expect_close());
}

}  // namespace

// A host's header that only uses fwd.hpp, and then its source, which includes the definitions.

#include <phx/fwd.hpp>

namespace {

struct host {
  phx::loop* where;
  phx::mount const* on;
  phx::router<>* app;
  int handle(phx::context& ctx, phx::message const& item, phx::payload const& with);
  phx::errc last;
};

}  // namespace

#include <phx/phx.hpp>
#include <phx/serializer/legacy/generation.hpp>
#include <phx/testing/server.hpp>

#include <doctest/doctest.h>

namespace {

int host::handle(phx::context& ctx, phx::message const& item, phx::payload const& with) {
  return ctx.push(item.event, with) ? 1 : 0;
}

struct mentions {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    host h{};
    return h.handle(ctx, in, in.payload) == 1 ? phx::outcome::reply() : phx::outcome::stop();
  }
};

}  // namespace

TEST_CASE("fwd: its declarations are enough for a host's header") {
  phx::router<> app;
  host h{nullptr, nullptr, &app, phx::errc::none};
  h.app->channel<mentions>("room:*");
  phx::testing::server server(app);
  auto ann = server.connect().join("room:a");
  auto ref = ann.push("said", R"({"n":1})");
  CHECK(ann.expect_push("said") == R"({"n":1})");
  CHECK(ann.expect_reply(ref)->ok());
}

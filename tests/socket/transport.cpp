#include <phx/socket/transport.hpp>

#include <support/room.hpp>

// The concept's archetype and its near misses are in tests/archetype.

static_assert(phx::Transport<phx::testing::recorder::transport_type>);

using namespace support;

namespace {

/// A host that queues in send and writes in flush: records what goes to the kernel, and when.
struct batching {
  struct connection {
    std::string queued{}, written{};
    std::vector<std::string> writes{};
    std::string end{};
  };
  connection* to;
  phx::send_status send(phx::frame const& f) noexcept {
    to->queued += f.websocket();
    return phx::send_status::ok;
  }
  void flush() noexcept {
    if (!to->queued.empty()) to->writes.push_back(std::exchange(to->queued, {}));
  }
  void close(phx::close_frame frame) noexcept {
    to->end = "closed " + std::to_string(static_cast<unsigned>(frame.code)) + " with " + std::to_string(to->queued.size());
  }
  [[nodiscard]] std::size_t buffered() const noexcept { return to->queued.size(); }
};
static_assert(phx::Transport<batching>);
static_assert(phx::flushes<batching>);

struct host {
  journal log{};
  rooms d{};
  phx::testing::fake_loops loops{};
  batching::connection wire{};
  phx::socket<batching, rooms> socket;
  host()
      : socket(
            loops[0], d,
            [this] {
              phx::admission<user> in{phx::serializer_ref::of<phx::v2_json>()};
              in.session.emplace(user{&log, "x"});
              return in;
            }(),
            batching{&wire}, loops.now()) {}
  void in(std::string_view text) { (void)socket.receive(phx::opcode::text, text, true, loops.now()); }
};

}  // namespace

TEST_CASE("transport: one write per connection and turn, with frames as they go to a raw socket") {
  host h;
  h.in(R"(["1","1","room:a","phx_join",{"self":1}])");
  REQUIRE(h.wire.writes.size() == 1);
  std::string const first = reply("\"1\"", "\"1\""), second = pushed("hello", R"({"from":"join"})");
  auto const framed = [](std::string const& text) { return std::string("\x81") + static_cast<char>(text.size()) + text; };
  CHECK(h.wire.writes[0] == framed(first) + framed(second));
  h.in(R"(["1","2","room:a","silent",{}])");
  CHECK(h.wire.writes.size() == 1);
}

TEST_CASE("transport: frames are flushed before close") {
  host h;
  h.in(R"(["1","1","room:a","phx_join",{}])");
  {
    auto turn = h.loops[0].turn();
    h.in(R"(["1","2","room:a","echo",{}])");
    h.in("{");
    CHECK(h.wire.end == "closed 1011 with 0");
    CHECK(h.wire.writes.size() == 2);
  }
}

TEST_CASE("transport: after gone no function of it is called") {
  host h;
  h.in(R"(["1","1","room:a","phx_join",{}])");
  {
    auto turn = h.loops[0].turn();
    h.in(R"(["1","2","room:a","echo",{}])");
    h.socket.gone(phx::lost::error);
  }
  h.loops.advance(120s);
  CHECK(h.wire.writes.size() == 1);
  CHECK(h.wire.end.empty());
}

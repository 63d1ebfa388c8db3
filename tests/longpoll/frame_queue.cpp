#include <phx/longpoll/detail/frame_queue.hpp>

#include <phx/core/text/json.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

struct box {
  phx::memory from{};
  phx::frame_pool pool{from};
  phx::longpoll::detail::frame_queue out{};

  box() = default;
  box(box const&) = delete;
  box& operator=(box const&) = delete;
  ~box() { out.clear(from); }

  bool add(phx::memory const& where, std::string_view text) {
    phx::frame_builder b(pool);
    b.start(phx::opcode::text, text.size());
    b.append(text);
    phx::frame const f = b.finish();
    return phx::json::utf8(text) ? out.append(where, f) : out.append_unsendable(where, f);
  }
  void add(std::string_view text) { REQUIRE(add(from, text)); }
  std::string poll(bool objects = false) { return std::string(out.compose(from, pool, "T", objects).data()); }
};

constexpr std::string_view empty_poll = R"({"messages":[],"status":200,"token":"T"})";

}  // namespace

TEST_CASE("frame_queue: a poll takes all waiting frames, in order, as strings") {
  box b;
  CHECK_FALSE(b.out.waiting());
  b.add(R"(["1"])");
  b.add("2");
  CHECK(b.out.waiting());
  CHECK(b.out.bytes() == 6);
  CHECK(b.poll() == R"({"messages":["[\"1\"]","2"],"status":200,"token":"T"})");
  CHECK(b.out.responses() == 1);
  CHECK_FALSE(b.out.waiting());
  CHECK(b.out.bytes() == 6);  // until the response is finished
  CHECK(b.poll() == empty_poll);
}

TEST_CASE("frame_queue: clients that need objects get those of version 1") {
  box b;
  b.add(R"({"topic":"a"})");
  b.add("[1]");
  CHECK(b.poll(true) == R"({"messages":[{"topic":"a"},"[1]"],"status":200,"token":"T"})");
}

TEST_CASE("frame_queue: a written response releases its frames only") {
  box b;
  b.add("1");
  (void)b.poll();
  b.add("22");
  (void)b.poll();
  b.add("333");
  b.out.finish(b.from, 1, true);
  CHECK(b.out.bytes() == 5);
  CHECK(b.poll() == R"({"messages":["333"],"status":200,"token":"T"})");
  b.out.finish(b.from, 7, true);  // not a response
  CHECK(b.out.bytes() == 5);
  b.out.finish(b.from, 3, true);
  b.out.finish(b.from, 2, true);
  CHECK(b.out.bytes() == 0);
  b.add("4");  // after an empty list
  CHECK(b.poll() == R"({"messages":["4"],"status":200,"token":"T"})");
}

TEST_CASE("frame_queue: frames that were not written come before all that were sent later") {
  box b;
  b.add("1");
  b.add("2");
  (void)b.poll();
  b.add("3");
  b.out.finish(b.from, 1, false);
  CHECK(b.poll() == R"({"messages":["1","2","3"],"status":200,"token":"T"})");
  b.out.finish(b.from, 1, true);  // the current response is number 2
  CHECK(b.out.bytes() == 3);
  b.out.finish(b.from, 2, true);
  CHECK(b.out.bytes() == 0);
}

TEST_CASE("frame_queue: only a frame that is not text is dropped, wherever it is") {
  for (std::size_t const at : {0U, 1U, 2U}) {
    box b;
    for (std::size_t i = 0; i < 3; ++i) b.add(i == at ? "\xff\xfe\xfd" : "t");
    CHECK(b.out.has_unsendable());
    std::vector<std::size_t> dropped;
    b.out.drop_unsendable(b.from, [&](std::size_t bytes) { dropped.push_back(bytes); });
    CHECK(dropped == std::vector<std::size_t>{3});
    CHECK_FALSE(b.out.has_unsendable());
    CHECK(b.out.bytes() == 2);
    b.add("u");
    CHECK(b.poll() == R"({"messages":["t","t","u"],"status":200,"token":"T"})");
  }
  box alone;
  alone.add("\xff");
  alone.out.drop_unsendable(alone.from, [](std::size_t) {});
  CHECK_FALSE(alone.out.waiting());
  CHECK(alone.out.bytes() == 0);
}

TEST_CASE("frame_queue: without memory nothing is added, and nothing is lost") {
  phx::memory const nothing{.allocate = [](std::size_t) noexcept -> void* { return nullptr; }};
  box b;
  b.add("1");
  CHECK_FALSE(b.add(nothing, "2"));
  CHECK(b.out.compose(nothing, b.pool, "T", false).empty());
  CHECK(b.poll() == R"({"messages":["1"],"status":200,"token":"T"})");
}

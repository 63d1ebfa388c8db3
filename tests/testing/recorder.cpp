#include <phx/testing/recorder.hpp>

#include <doctest/doctest.h>

namespace {

phx::frame text_frame(std::string_view text) {
  phx::frame_pool pool{{}};
  phx::frame_builder out(pool);
  out.start(phx::opcode::text, text.size());
  out.append(text);
  return out.finish();
}

}  // namespace

static_assert(phx::Transport<phx::testing::recorder::transport_type>);
static_assert(phx::flushes<phx::testing::recorder::transport_type>);

TEST_CASE("recorder: out returns the frames sent since the last call") {
  phx::testing::recorder r;
  auto t = r.transport();
  CHECK(t.send(text_frame("a")) == phx::send_status::ok);
  CHECK(t.send(text_frame("b")) == phx::send_status::ok);
  CHECK(r.out() == std::vector<std::string>{"a", "b"});
  CHECK(r.out().empty());
  CHECK(r.sends == 2);
}

TEST_CASE("recorder: fails from the configured send on, and keeps nothing of the dropped frames") {
  phx::testing::recorder r;
  r.answer = phx::send_status::dropped;
  r.answer_from = 1;
  auto t = r.transport();
  CHECK(t.send(text_frame("a")) == phx::send_status::ok);
  CHECK(t.send(text_frame("b")) == phx::send_status::dropped);
  CHECK(r.out() == std::vector<std::string>{"a"});
  r.answer = phx::send_status::congested;
  CHECK(t.send(text_frame("c")) == phx::send_status::congested);
  CHECK(r.out() == std::vector<std::string>{"c"});
}

TEST_CASE("recorder: frames for a stalled client wait") {
  phx::testing::recorder r;
  auto t = r.transport();
  (void)t.send(text_frame("a"));
  CHECK(t.buffered() == 0);
  r.stalled = true;
  (void)t.send(text_frame("abc"));
  r.keeps = false;
  (void)t.send(text_frame("d"));
  CHECK(t.buffered() == 5 + 3);  // with their headers
  r.answer = phx::send_status::dropped;
  (void)t.send(text_frame("e"));
  CHECK(t.buffered() == 8);
  CHECK(r.out() == std::vector<std::string>{"a", "abc"});
}

TEST_CASE("recorder: reports the close, counts, and calls the host back") {
  phx::testing::recorder r;
  int called = 0;
  r.on_close = [](void* with) noexcept { ++*static_cast<int*>(with); };
  r.on_close_with = &called;
  r.waiting = 7;
  auto t = r.transport();
  CHECK(t.buffered() == 7);
  t.close({phx::close_code::restart, "draining"});
  REQUIRE(r.closed.has_value());
  CHECK(r.closed->code == phx::close_code::restart);
  CHECK(called == 1);
  (void)t.send(text_frame("late"));
  CHECK(r.after_close == 1);
}

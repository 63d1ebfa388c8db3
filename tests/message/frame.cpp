#include <phx/message/frame.hpp>

#include <support/room.hpp>

#include <set>
#include <thread>

using support::metered;

namespace {

phx::frame text(phx::frame_pool& pool, std::string_view s, std::size_t room = 0) {
  phx::frame_builder out(pool);
  out.start(phx::opcode::text, room);
  out.append(s);
  return out.finish();
}

}  // namespace

TEST_CASE("frame: an empty handle, a copy, a move") {
  phx::frame_pool pool{{}};
  phx::frame none;
  CHECK(none.empty());
  phx::frame a = text(pool, "hello");
  CHECK_FALSE(a.empty());
  CHECK(a.op() == phx::opcode::text);
  CHECK(a.data() == "hello");
  phx::frame b = a;
  CHECK(b.data().data() == a.data().data());
  phx::frame c = std::move(a);
  CHECK(a.empty());
  CHECK(c.data() == "hello");
  c = none;
  CHECK(c.empty());
  CHECK(b.data() == "hello");
  phx::frame const& same = b;
  b = same;  // itself
  CHECK(b.data() == "hello");
}

TEST_CASE("frame: its WebSocket form has the shortest possible header, unmasked") {
  phx::frame_pool pool{{}};
  struct sample {
    std::size_t size;
    std::string header;
  };
  for (sample const& s :
       {sample{0, std::string("\x81\x00", 2)}, sample{125, "\x81\x7d"}, sample{126, std::string("\x81\x7e\x00\x7e", 4)},
        sample{65535, "\x81\x7e\xff\xff"}, sample{65536, std::string("\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10)}}) {
    std::string const body(s.size, 'x');
    phx::frame const f = text(pool, body);
    CHECK(f.websocket() == s.header + body);
    CHECK(f.data() == body);
    CHECK(f.data().data() == f.websocket().data() + s.header.size());
  }
  phx::frame_builder out(pool);
  out.start(phx::opcode::binary, 1);
  out.append('\x07');
  CHECK(out.finish().websocket() == "\x82\x01\x07");
}

TEST_CASE("frame_builder: more bytes than announced cost a copy, and the frame is complete") {
  phx::frame_pool pool{{}};
  std::string expected;
  phx::frame_builder out(pool);
  out.start(phx::opcode::text, 1);
  for (int i = 0; i < 20'000; ++i) {
    out.append("part ");
    out.append('x');
    out.append_all("", 'y', std::string_view("z, "), std::string_view());
    expected += "part xyz, ";
  }
  CHECK(out.size() == expected.size());
  CHECK(out.finish().data() == expected);
}

TEST_CASE("frame_builder: a string is quoted without needless escapes") {
  phx::frame_pool pool{{}};
  phx::frame_builder out(pool);
  out.start(phx::opcode::text, 0);
  out.quoted(std::string("a\"b\\c\n\r\t\b\f\x01\x1f\0/é\x7f", 17));
  CHECK(out.finish().data() == R"("a\"b\\c\n\r\t\b\f\u0001\u001f\u0000/é)"
                               "\x7f\"");
  out.start(phx::opcode::text, 0);
  out.quoted("");
  CHECK(out.finish().data() == "\"\"");
}

TEST_CASE("frame_builder: a frame that was not started, or was discarded, is empty") {
  phx::frame_pool pool{{}};
  phx::frame_builder out(pool);
  CHECK_FALSE(out.started());
  CHECK(out.finish().empty());
  out.start(phx::opcode::text, 10);
  CHECK(out.started());
  out.append("x");
  out.discard();
  CHECK_FALSE(out.started());
  CHECK(out.finish().empty());
  out.start(phx::opcode::text, 10);
  out.append("first");
  out.start(phx::opcode::text, 10);
  out.append("second");
  CHECK(out.finish().data() == "second");
}

TEST_CASE("frame_builder: without memory it ignores the rest and returns an empty frame") {
  for (std::size_t const n : {0u, 1u}) {
    metered::reset();
    {
      phx::frame_pool pool{metered::hook()};
      metered::fail_at = n;
      phx::frame_builder out(pool);
      out.start(phx::opcode::text, 1);
      CHECK(out.failed() == (n == 0));
      out.append(std::string(100'000, 'x'));
      out.append('y');
      out.append("z");
      out.quoted("q");
      out.append_all('a', "b");
      CHECK(out.failed());
      CHECK(out.finish().empty());
      CHECK_FALSE(out.failed());
    }
    CHECK(metered::bytes == 0);
  }
  metered::reset();
}

TEST_CASE("frame_pool: the block of a released frame is reused") {
  metered::reset();
  {
    phx::frame_pool pool{metered::hook()};
    (void)text(pool, "warm");
    std::size_t const before = metered::allocations;
    for (int i = 0; i < 1000; ++i) CHECK(text(pool, "hello").data() == "hello");
    CHECK(metered::allocations == before);
  }
  CHECK(metered::bytes == 0);
  metered::reset();
}

TEST_CASE("frame_pool: a frame that is still referenced is not reused") {
  phx::frame_pool pool{{}};
  std::vector<phx::frame> held;
  for (int i = 0; i < 300; ++i) held.push_back(text(pool, "frame " + std::to_string(i)));
  std::set<void const*> blocks;
  for (int i = 0; i < 300; ++i) {
    phx::frame const& f = held[static_cast<std::size_t>(i)];
    CHECK(f.data() == "frame " + std::to_string(i));
    blocks.insert(f.data().data());
  }
  CHECK(blocks.size() == 300);
}

TEST_CASE("frame_pool: keeps a limited number of small blocks, or none") {
  metered::reset();
  {
    phx::frame_pool pool{metered::hook(), 4};
    { phx::frame const big = text(pool, std::string(100'000, 'x'), 100'000); }
    CHECK(metered::bytes < 1000);
    std::vector<phx::frame> held;
    for (int i = 0; i < 50; ++i) held.push_back(text(pool, "x"));
    held.clear();
    CHECK(metered::bytes < 4 * 1000);
  }
  CHECK(metered::bytes == 0);
  phx::frame_pool none{metered::hook(), 0};
  CHECK(text(none, "x").data() == "x");
  CHECK(metered::bytes == 0);
  metered::reset();
}

TEST_CASE("frame: may be read and released on any thread while its pool continues") {
  phx::frame_pool pool{{}};
  for (int i = 0; i < 200; ++i) {
    phx::frame const f = text(pool, "shared");
    std::thread other([g = f]() mutable {
      CHECK(g.data() == "shared");
      g = {};
    });
    (void)text(pool, "meanwhile");
    CHECK(f.data() == "shared");
    other.join();
  }
}

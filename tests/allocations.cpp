// Counts the allocations of phx twice: through its memory hook, and through operator new, which tests/support/heap.cpp
// replaces for the whole test program to see allocations that bypass the hook.

#include <phx/phx.hpp>

#include <support/heap.hpp>
#include <support/null_transport.hpp>
#include <support/room.hpp>

using namespace support;

namespace {

/// A channel without state.
struct stateless {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "shout") {
      ctx.broadcast("shout", in.payload);
      return phx::outcome::noreply();
    }
    if (in.event == "push") {
      ctx.push("push", in.payload);
      return phx::outcome::noreply();
    }
    return phx::outcome::reply(in.payload);
  }
};
using plain_socket = phx::socket<null_transport, phx::router<>>;

struct many {
  std::size_t frames = 0;
  phx::limits bounds{};
  phx::router<> d{};
  phx::testing::fake_loops loops;
  std::vector<std::unique_ptr<plain_socket>> sockets{};

  static phx::limits counted_limits() {
    metered::reset();
    phx::limits l;
    l.memory = metered::hook();
    return l;
  }
  explicit many(std::size_t loops_ = 1) : bounds(counted_limits()), loops(loops_, bounds) { d.channel<stateless>("room:*"); }
  void connect(std::size_t on_loop = 0) {
    phx::admission<phx::anonymous> in{phx::serializer_ref::of<phx::v2_json>()};
    in.session.emplace();
    in.bounds = &bounds;
    sockets.push_back(
        std::make_unique<plain_socket>(loops[on_loop], d, std::move(in), null_transport{&frames}, loops.now()));
  }
  void say(std::size_t number, std::string_view text, phx::opcode op = phx::opcode::text) {
    (void)sockets[number]->receive(op, text, true, loops.now());
  }
  void join(std::size_t number, std::string_view topic) {
    say(number, R"(["1","1",")" + std::string(topic) + R"(","phx_join",{}])");
  }
};

}  // namespace

TEST_CASE("allocations: an idle connection with one joined channel costs at most 1 KiB before user state") {
  constexpr std::size_t n = 2000;
  for (bool const topics_of_their_own : {true, false}) {
    many m;
    m.sockets.reserve(n);
    m.connect();
    m.join(0, "room:0");  // the loop's own: frames for reuse, a scratch
    std::ptrdiff_t const before = metered::bytes;
    for (std::size_t i = 1; i < n; ++i) {
      m.connect();
      m.join(i, topics_of_their_own ? "room:" + std::to_string(i) : "room:0");
    }
    CHECK(m.frames == n);
    auto const hooked = static_cast<std::size_t>(metered::bytes - before) / (n - 1);
    std::size_t const each = hooked + sizeof(plain_socket);
    std::string const where = topics_of_their_own ? "each on a topic of its own" : "all on one topic";
    std::string const figures = std::to_string(each) + ", " + std::to_string(sizeof(plain_socket)) + " of them the socket";
    MESSAGE("bytes per connection with one channel, " << where << ": " << figures);
    CHECK(each <= 1024);
  }
  metered::reset();
}

TEST_CASE("allocations: joining and leaving allocate through the hook only") {
  many m;
  m.sockets.reserve(10);
  m.connect();
  m.join(0, "room:a");
  std::string const join = R"(["1","1","room:b","phx_join",{}])", leave = R"(["1","2","room:b","phx_leave",{}])";
  std::size_t const before = heap::allocations;
  m.say(0, join);
  m.say(0, leave);
  m.say(0, R"(["1","3","room:a","phx_join",{}])");
  CHECK(heap::allocations == before);
  metered::reset();
}

TEST_CASE("allocations: the steady state of echo, push and broadcast allocates nothing, per message or per recipient") {
  many m;
  for (std::size_t i = 0; i < 100; ++i) {
    m.connect();
    m.join(i, "room:a");
  }
  std::string const body = R"({"user":"ann","body":"a line of chat that is as long as those lines are","n":123456})";
  texts const all{R"(["1","2","room:a","echo",)" + body + "]", R"(["1","3","room:a","push",)" + body + "]",
                  R"(["1","4","room:a","shout",)" + body + "]", R"([null,"5","phoenix","heartbeat",{}])",
                  R"(["0","6","room:a","stale",{}])"};
  std::string const binary = std::string("\x00\x01\x01\x06\x04", 5) + "17room:aecho" + std::string(200, '\x7f');
  auto const round = [&] {
    for (std::size_t i = 0; i < 100; ++i) {
      for (std::string const& text : all) m.say(i, text);
      m.say(i, binary, phx::opcode::binary);
    }
    (void)m.loops[0].run(m.loops.now());
  };
  round();
  std::size_t const hooked = metered::allocations, past = heap::allocations, frames = m.frames;
  for (int i = 0; i < 5; ++i) round();
  CHECK(m.frames == frames + 5 * 100 * (4 + 100));
  CHECK(metered::allocations == hooked);
  CHECK(heap::allocations == past);
  metered::reset();
}

TEST_CASE("allocations: a broadcast to another loop costs one mailbox item there, whatever the number of subscribers") {
  many m(2);
  for (std::size_t i = 0; i < 100; ++i) {
    m.connect(i % 2);
    m.join(i, "room:a");
  }
  std::string const text = R"(["1","4","room:a","shout",{"a":1}])";
  m.say(0, text);
  m.loops.settle();
  std::size_t const hooked = metered::allocations, past = heap::allocations, frames = m.frames;
  for (int i = 0; i < 10; ++i) {
    m.say(0, text);
    m.loops.settle();
  }
  CHECK(m.frames == frames + 1000);
  CHECK(metered::allocations == hooked + 10);
  CHECK(heap::allocations == past);
  metered::reset();
}

TEST_CASE("allocations: a million distinct payload keys, events and topics leave memory flat") {
  many m;
  m.connect();
  m.join(0, "room:a");
  std::string text;
  auto const visit = [&](int from, int to) {  // four keys in each
    for (int i = from; i < to; ++i) {
      std::string const n = std::to_string(i);
      text = R"(["1","1","room:a","e)" + n + R"(",{"key)" + n + R"(":1,"__proto__)" + n + R"(":2,"k)" + n + R"(":3,"l)" + n;
      text += "\":4}]";
      m.say(0, text);
      if (i % 10 == 0) m.say(0, "[null,\"1\",\"hall:" + n + "\",\"x\",{}]");
    }
  };
  visit(0, 1000);
  std::ptrdiff_t const before = metered::bytes;
  std::size_t const taken = metered::allocations;
  visit(1'000'000, 1'250'000);
  CHECK(metered::bytes == before);
  CHECK(metered::allocations == taken);
  CHECK(m.loops[0].topics() == 1);
  metered::reset();
}

TEST_CASE("allocations: joining and leaving a hundred thousand topics leaves memory flat") {
  many m;
  m.connect();
  auto const visit = [&](int i) {
    std::string const topic = "room:" + std::to_string(i);
    m.join(0, topic);
    m.say(0, R"(["1","2",")" + topic + R"(","phx_leave",{}])");
  };
  for (int i = 0; i < 1000; ++i) visit(i);
  std::ptrdiff_t const before = metered::bytes;
  for (int i = 1000; i < 100'000; ++i) visit(i);
  CHECK(metered::bytes == before);
  CHECK(m.loops[0].topics() == 0);
  metered::reset();
}

TEST_CASE("allocations: everything that was allocated is released") {
  {
    many m(2);
    for (std::size_t i = 0; i < 20; ++i) {
      m.connect(i % 2);
      m.join(i, "room:" + std::to_string(i % 3));
      m.say(i, R"(["1","2","room:0","shout",{"a":1}])");
    }
    m.loops.settle();
    m.sockets.clear();
  }
  CHECK(metered::bytes == 0);
  CHECK(metered::allocations == metered::releases);
  CHECK_FALSE(metered::wrong_size);
  metered::reset();
}

TEST_CASE("allocations: a reply with the message's own payload refers to the frame instead of copying it") {
  phx::scratch room(phx::memory{});
  phx::message in;
  std::string_view const text = R"(["1","2","room:a","echo",{"a":1}])";
  REQUIRE(phx::v2_json::decode(phx::opcode::text, text, room, in) == phx::errc::none);
  phx::outcome result = phx::outcome::reply(in.payload);
  CHECK(result.response().raw().data() == in.payload.raw().data());
  phx::outcome moved;
  moved = std::move(result);
  CHECK(moved.response().raw().data() == in.payload.raw().data());
  phx::payload const kept = in.payload;  // a copy that a handler keeps owns its bytes
  CHECK(kept.raw().data() != in.payload.raw().data());
  CHECK(kept.raw() == in.payload.raw());
}

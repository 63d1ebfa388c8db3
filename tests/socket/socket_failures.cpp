// What a host may do inside callbacks, and failures: destroyed sockets, the Nth send, the Nth allocation.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

#include <algorithm>

using namespace support;

namespace {

using room_socket = phx::socket<phx::testing::recorder::transport_type, rooms>;

/// Connections that a host may destroy at any time.
struct many_connections {
  journal log{};
  rooms d{};
  watcher seen{};
  phx::limits bounds{};
  phx::testing::fake_loops loops;
  struct entry {
    phx::testing::recorder wire{};
    std::optional<room_socket> socket{};
  };
  std::vector<std::unique_ptr<entry>> entries{};

  explicit many_connections(std::size_t n, phx::limits const& with = {}) : bounds(with), loops(1, with) {
    loops[0].observe(seen);
    for (std::size_t i = 0; i < n; ++i) connect();
  }
  entry& connect() {
    entries.push_back(std::make_unique<entry>());
    entry& f = *entries.back();
    phx::admission<user> in{phx::serializer_ref::of<phx::v2_json>()};
    in.session.emplace(user{&log, "f" + std::to_string(entries.size() - 1)});
    in.id = "user:ann";
    in.bounds = &bounds;
    f.socket.emplace(loops[0], d, std::move(in), f.wire.transport(), loops.now());
    // As in most hosts: close destroys the connection, and the socket in it, inside the call.
    f.wire.on_close = [](void* it) noexcept { static_cast<entry*>(it)->socket.reset(); };
    f.wire.on_close_with = &f;
    return f;
  }
  bool in(std::size_t i, std::string_view text) {
    bool const lives = !entries[i]->socket || entries[i]->socket->receive(phx::opcode::text, text, true, loops.now());
    return lives;
  }
  void join(std::size_t i, std::string_view topic = "room:a", std::string_view payload = "{}") {
    in(i, R"(["1","1",")" + std::string(topic) + R"(","phx_join",)" + std::string(payload) + "]");
  }
  texts out(std::size_t i) { return entries[i]->wire.out(); }
};

}  // namespace

TEST_CASE("failures: a socket destroyed inside close: after a malformed message, receive reports it") {
  many_connections h(2);
  h.join(0);
  h.join(1);
  CHECK_FALSE(h.in(0, "{"));
  CHECK_FALSE(h.entries[0]->socket.has_value());
  CHECK(h.entries[0]->wire.closes == 1);
  CHECK(h.loops[0].sockets() == 1);
  CHECK(h.log.take() == texts{"room:a: connection_error", "room:a: gone"});
  CHECK(h.in(1, R"(["1","2","room:a","echo",{}])"));
  CHECK(h.out(1).size() == 2);
}

TEST_CASE("failures: a socket destroyed inside close: idle, draining, disconnected") {
  for (int mode = 0; mode < 3; ++mode) {
    many_connections h(3);
    for (std::size_t i = 0; i < 3; ++i) h.join(i);
    h.loops.settle();
    if (mode == 0) h.loops.advance(60s);
    if (mode == 1) h.loops.endpoint().drain();
    if (mode == 2) (void)h.loops.endpoint().disconnect("user:ann");
    h.loops.settle();
    CHECK(h.loops[0].sockets() == 0);
    for (auto const& f : h.entries) {
      CHECK_FALSE(f->socket.has_value());
      CHECK(f->wire.closes == 1);
      CHECK(f->wire.after_close == 0);
    }
    CHECK(h.log.lines.size() == 6);
    CHECK(h.loops[0].topics() == 0);
  }
}

TEST_CASE("failures: close of one connection may destroy another that is also to be closed") {
  many_connections h(3);
  for (std::size_t i = 0; i < 3; ++i) h.join(i);
  for (auto const& f : h.entries) {
    f->wire.on_close = [](void* all) noexcept {
      for (auto const& each : static_cast<many_connections*>(all)->entries) each->socket.reset();
    };
    f->wire.on_close_with = &h;
  }
  (void)h.loops.endpoint().disconnect("user:ann");
  h.loops.settle();
  CHECK(h.loops[0].sockets() == 0);
  CHECK(h.entries[0]->wire.closes + h.entries[1]->wire.closes + h.entries[2]->wire.closes == 1);
  CHECK(h.log.lines.size() == 6);
}

TEST_CASE("failures: a callback destroys other connections: their terminate runs after it") {
  many_connections h(3);
  for (std::size_t i = 0; i < 3; ++i) h.join(i);
  h.log.with = &h;
  h.log.on_event = [](void* with, phx::context& ctx, phx::message const&) {
    auto& all = *static_cast<many_connections*>(with);
    all.entries[1]->socket.reset();
    all.entries[2]->socket->gone(phx::lost::error);
    all.log.note("room:a", "destroyed");
    ctx.broadcast("still here", {});
  };
  for (std::size_t i = 0; i < 3; ++i) (void)h.out(i);
  CHECK(h.in(0, R"(["1","2","room:a","call",{}])"));
  CHECK(h.log.take() == texts{"room:a: destroyed", "room:a: closed", "room:a: gone", "room:a: closed", "room:a: gone"});
  CHECK(h.out(0) == texts{shouted("still here", "{}")});
  CHECK(h.out(1).empty());
  CHECK(h.out(2).empty());
  h.loops.settle();
  CHECK(h.loops[0].sockets() == 1);
}

TEST_CASE("failures: a terminate destroys another connection, whose terminate destroys a third") {
  many_connections h(3);
  for (std::size_t i = 0; i < 3; ++i) h.join(i);
  h.log.with = &h;
  h.log.on_end = [](void* with, phx::context& ctx, phx::exit_reason) noexcept {
    auto& all = *static_cast<many_connections*>(with);
    ctx.push("bye", {});
    ctx.broadcast("bye", {});
    for (std::size_t i = 1; i < 3; ++i)
      if (all.entries[i]->socket) {
        all.entries[i]->socket.reset();
        break;
      }
  };
  (void)h.in(0, R"(["1","2","room:a","stop",{}])");
  h.loops.settle();
  CHECK(h.loops[0].sockets() == 1);
  CHECK(h.log.lines.size() == 6);
}

TEST_CASE("failures: work left by the last call runs first, and may destroy the socket that receives") {
  many_connections h(2);
  struct sender {
    phx::outcome handle_in(phx::context& ctx, phx::message const&) {
      ctx.send("first");
      return phx::outcome::noreply();
    }
    phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
      if (in.event == "first")
        ctx.send("second");
      else
        all->entries[1]->socket.reset();
      return phx::outcome::noreply();
    }
    many_connections* all;
  };
  h.d.channel("deep:*", [&h](user const&) { return sender{&h}; });
  h.join(0, "deep:a");
  h.join(1);
  CHECK(h.in(0, R"(["1","2","deep:a","x",{}])"));
  CHECK(h.entries[1]->socket.has_value());
  CHECK_FALSE(h.entries[1]->socket->receive(phx::opcode::text, R"(["1","3","room:a","echo",{}])", true, h.loops.now()));
  CHECK_FALSE(h.entries[1]->socket.has_value());
  CHECK(h.entries[1]->wire.closes == 0);
  CHECK(h.loops[0].sockets() == 1);
}

TEST_CASE("failures: work left by the last call may destroy the socket that is ending, written to, or destroyed already") {
  struct sender {
    phx::outcome handle_in(phx::context& ctx, phx::message const&) {
      ctx.send("first");
      return phx::outcome::noreply();
    }
    phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
      if (in.event == "first")
        ctx.send("second");
      else
        all->entries[1]->socket.reset();
      return phx::outcome::noreply();
    }
    many_connections* all;
  };
  enum { gone, destroyed, written_to, disconnected, ways };
  for (int way = 0; way != ways; ++way) {
    CAPTURE(way);
    phx::limits bounds;
    bounds.pressure = phx::pressure_policy::drop_newest;
    many_connections h(2, bounds);
    h.d.channel("deep:*", [&h](user const&) { return sender{&h}; });
    h.join(0, "deep:a");
    h.join(1);
    h.join(1, "room:b");
    if (way == written_to) {
      h.entries[1]->wire.answer = phx::send_status::congested;
      h.entries[1]->wire.waiting = bounds.outbound;
      CHECK(h.in(1, R"(["1","2","room:a","push",{}])"));
      CHECK(h.entries[1]->socket->slow());
    }
    CHECK(h.in(0, R"(["1","2","deep:a","x",{}])"));
    REQUIRE(h.entries[1]->socket.has_value());
    auto& socket = *h.entries[1]->socket;
    if (way == gone) socket.gone(phx::lost::normal);
    if (way == destroyed) h.entries[1]->socket.reset();
    if (way == written_to) CHECK_FALSE(socket.writable(h.loops.now()));
    if (way == disconnected) {
      socket.disconnect();
      h.loops.settle();
    }
    h.loops.settle();
    CHECK_FALSE(h.entries[1]->socket.has_value());
    texts lines = h.log.take();
    std::sort(lines.begin(), lines.end());
    CHECK(lines == texts{"room:a: closed", "room:a: gone", "room:b: closed", "room:b: gone"});
    CHECK(h.loops[0].sockets() == 1);
    CHECK(h.loops[0].channels() == 1);
    CHECK(h.loops[0].topics() == 2);
    CHECK(h.entries[1]->wire.closes == 0);
    CHECK(h.seen.count("channel_ended room:a closed") == 1);
    CHECK(h.seen.count("channel_ended room:b closed") == 1);
  }
}

TEST_CASE("failures: terminate after the end of a connection may destroy any connection, and still has its channel") {
  many_connections h(3);
  for (std::size_t i = 0; i < 3; ++i) h.join(i);
  struct seen {
    many_connections* all;
    phx::socket_id socket;
    phx::channel_id id;
    int ends = 0;
  } s{&h, h.entries[1]->socket->name(), h.log.ids["room:a"]};
  h.join(1, "room:b");
  s.id = h.log.ids["room:b"];
  h.log.with = &s;
  h.log.on_end = [](void* with, phx::context& ctx, phx::exit_reason) noexcept {
    auto& of = *static_cast<seen*>(with);
    ++of.ends;
    if (ctx.topic() == "room:b") {
      CHECK(ctx.socket() == of.socket);
      CHECK(ctx.id() == of.id);
      CHECK(ctx.id().socket() == of.socket);
      CHECK(ctx.after_end().push("too late", {}) == phx::send_status::closed);
      CHECK(ctx.subscribe("x") == phx::send_status::closed);
    }
    ctx.broadcast("bye", {});
    for (auto const& f : of.all->entries) f->socket.reset();
  };
  h.entries[1]->socket->gone(phx::lost::error);
  h.loops.settle();
  CHECK(s.ends == 4);
  CHECK(h.loops[0].sockets() == 0);
  CHECK(h.loops[0].topics() == 0);
}

TEST_CASE(
    "failures: pushes after the end, from another thread, are limited by limits::mailbox, and dropped without memory") {
  metered::reset();
  phx::limits bounds;
  bounds.memory = metered::hook();
  bounds.mailbox = 4;
  {
    many_connections h(1, bounds);
    struct taken {
      phx::ended_channel last{};
      bool without_memory = false;
    } t;
    h.log.with = &t;
    h.log.on_end = [](void* with, phx::context& ctx, phx::exit_reason) noexcept {
      auto& to = *static_cast<taken*>(with);
      if (to.without_memory) metered::fail_at = metered::allocations.load();
      to.last = ctx.after_end();
    };
    auto const leave = [&] {
      h.join(0);
      (void)h.in(0, R"(["1","2","room:a","phx_leave",{}])");
      (void)h.out(0);
    };
    leave();
    for (int i = 0; i < 4; ++i) CHECK(t.last.push("more", {}) == phx::send_status::ok);
    CHECK(t.last.push("more", {}) == phx::send_status::dropped);
    h.loops.settle();
    CHECK(h.out(0) == texts(4, pushed("more", "{}")));
    metered::fail_at = metered::allocations.load();
    CHECK(t.last.push("more", {}) == phx::send_status::dropped);
    t.without_memory = true;
    leave();
    CHECK(t.last.push("more", {}) == phx::send_status::dropped);
    t.last = {};
  }
  CHECK(metered::bytes == 0);
  metered::reset();
}

TEST_CASE("failures: a handler ends other channels and publishes to them in any order") {
  many_connections h(3);
  for (std::size_t i = 0; i < 3; ++i) h.join(i);
  h.log.with = &h;
  h.log.on_event = [](void* with, phx::context& ctx, phx::message const&) {
    auto& all = *static_cast<many_connections*>(with);
    all.entries[1]->socket->disconnect();
    ctx.broadcast("masked", {});
    ctx.broadcast("plain", {});
    all.entries[2]->socket.reset();
    ctx.disconnect("user:ann");  // itself as well
    ctx.push("too late", {});
  };
  CHECK_FALSE(h.in(0, R"(["1","2","room:a","call",{}])"));
  h.loops.settle();
  CHECK(h.loops[0].sockets() == 0);
  CHECK(h.log.lines.size() == 6);
}

TEST_CASE("failures: a loop is destroyed after its sockets; handles that outlive it return closed") {
  phx::channel_id id;
  phx::reply_to answer;
  {
    many_connections h(1);
    h.join(0);
    (void)h.in(0, R"(["1","2","room:a","async",{}])");
    id = h.log.ids["room:a"];
    answer = h.log.replies.at(0);
    (void)h.in(0, R"(["1","3","room:a","timer",{}])");
    id.push("never delivered", phx::payload::json("[1,2,3]"));
    h.entries.clear();
  }
  CHECK(id.push("x", {}) == phx::send_status::closed);
  CHECK(id.exit(phx::exit_reason::normal) == phx::send_status::closed);
  CHECK(answer() == phx::send_status::closed);
  CHECK(phx::channel_id{}.push("x", {}) == phx::send_status::closed);
  CHECK(phx::channel_id{}.exit(phx::exit_reason::normal) != phx::send_status::ok);
}

TEST_CASE("failures: a callback that always posts more does not block the loop: each round waits for its own call") {
  many_connections h(1);
  struct always_posting {
    phx::outcome handle_info(phx::context& ctx, phx::message const&) {
      ++*count;
      ctx.send("again");
      return phx::outcome::noreply();
    }
    phx::outcome handle_in(phx::context& ctx, phx::message const&) {
      ctx.send("again");
      return phx::outcome::noreply();
    }
    int* count;
  };
  int count = 0;
  h.d.channel("restless:*", [&count](user const&) { return always_posting{&count}; });
  h.join(0, "restless:a");
  std::size_t const woken = h.loops.waker(0).count();
  (void)h.in(0, R"(["1","2","restless:a","go",{}])");
  CHECK(count == 1);
  CHECK(h.loops.waker(0).count() == woken + 1);
  CHECK(h.loops[0].run(h.loops.now()) <= h.loops.now());
  CHECK(count == 3);  // the left-over work, and one round of this call's own
}

namespace {

/// Everything a socket does, on several of them; any of it may fail.
void full_session(many_connections& h) {
  auto const say = [&](std::size_t i, std::string_view text) {
    if (h.entries[i]->socket) (void)h.in(i, text);
  };
  for (std::size_t i = 0; i < h.entries.size(); ++i) {
    say(i, R"(["1","1","room:a","phx_join",{}])");
    say(i, R"(["2","2","room:b","phx_join",{"later":1}])");
    say(i, R"(["2","3","room:b","echo",{"held":1}])");
  }
  say(0, R"(["1","4","room:a","echo",{"a":"b"}])");
  say(0, R"(["1","5","room:a","shout_then_reply",{"a":"b"}])");
  say(0, R"(["1","6","room:a","masked",{"a":"b"}])");
  say(0, R"(["1","7","room:a","async",{}])");
  say(0, R"(["1","8","room:a","self",{"a":1}])");
  say(0, R"(["1","9","room:a","timer",{"a":1}])");
  for (bool const last : {false, true})
    if (auto& s = h.entries[0]->socket)
      (void)s->receive(phx::opcode::text, last ? R"(:\u0061","echo",{}])" : R"([null,"7","room)", last, h.loops.now());
  if (auto const id = h.log.ids.find("room:b"); id != h.log.ids.end()) {
    id->second.push("early", phx::payload::json("{}"));
    id->second.joined(phx::payload::json(R"({"welcome":1})"));
  }
  for (auto const& r : h.log.replies) r(phx::payload::json(R"({"late":1})"));
  (void)h.loops.endpoint().broadcast("room:a", "news", phx::payload::json(R"({"n":1})"));
  h.loops.settle();
  h.loops.advance(3s);
  say(1, R"(["3","3","room:a","phx_join",{}])");
  say(1, R"(["3","4","room:a","phx_leave",{}])");
  say(0, R"(["1","10","room:a","boom",{}])");
  say(0, R"(["11","11","room:a","phx_join",{"self":1}])");
  h.loops.endpoint().drain();
  h.loops.settle();
  h.entries.clear();
  h.loops.settle();
}

/// True if every channel that was constructed was terminated exactly once and destroyed once.
bool ended_once(journal const& log) {
  std::size_t ends = 0, destroyed = 0;
  for (std::string const& line : log.lines) (line.ends_with(": gone") ? destroyed : ends) += 1;
  return ends <= destroyed;
}

}  // namespace

TEST_CASE("failures: whichever send fails, and however, nothing else is affected") {
  for (phx::send_status const mode : {phx::send_status::dropped, phx::send_status::closed, phx::send_status::congested}) {
    for (std::size_t n = 0;; ++n) {
      CAPTURE(n);
      many_connections h(2);
      h.entries[0]->wire.answer_from = h.entries[1]->wire.answer_from = n;
      h.entries[0]->wire.answer = h.entries[1]->wire.answer = mode;
      h.entries[0]->wire.waiting = mode == phx::send_status::congested ? h.bounds.outbound + 1 : 0;
      full_session(h);
      CHECK(ended_once(h.log));
      CHECK(h.loops[0].sockets() == 0);
      CHECK(h.loops[0].topics() == 0);
      if (n == 30) break;  // fewer than 30 sends to each client
    }
  }
}

TEST_CASE("failures: whichever allocation fails, once or for good, nothing leaks and nothing is freed twice") {
  phx::limits bounds;
  for (bool const for_good : {false, true}) {
    for (std::size_t n = 0;; ++n) {
      CAPTURE(n);
      CAPTURE(for_good);
      metered::reset();
      bounds.memory = metered::hook();
      std::size_t begun = 0;
      {
        many_connections h(0, bounds);
        begun = metered::allocations;  // without memory there is no loop: its constructor throws
        metered::fail_at = begun + n;
        metered::fail_on = for_good;
        h.connect();
        h.connect();
        full_session(h);
        CHECK(ended_once(h.log));
        CHECK(h.loops[0].sockets() == 0);
        CHECK(h.loops[0].topics() == 0);
      }
      CHECK(metered::bytes == 0);
      CHECK_FALSE(metered::wrong_size);
      if (metered::allocations <= begun + n) {
        CHECK(n > 50);
        break;
      }
    }
  }
  metered::reset();
}

TEST_CASE("failures: a socket without memory for its slot is closed by the next run") {
  metered::reset();
  phx::limits bounds;
  bounds.memory = metered::hook();
  {
    many_connections h(0, bounds);
    metered::fail_at = metered::allocations.load();
    metered::fail_on = true;
    auto& f = h.connect();
    metered::fail_on = false;
    h.loops.settle();
    CHECK_FALSE(f.socket.has_value());
    REQUIRE(f.wire.closed.has_value());
    CHECK(f.wire.closed->code == phx::close_code::internal);
    CHECK(h.loops[0].sockets() == 0);
    // The next one is served.
    h.connect();
    h.join(1);
    CHECK(h.out(1).size() == 1);
  }
  CHECK(metered::bytes == 0);
}

TEST_CASE("failures: without memory a join is refused as overloaded, and the next one succeeds") {
  metered::reset();
  phx::limits bounds;
  bounds.memory = metered::hook();
  {
    many_connections h(1, bounds);
    h.join(0);  // a warm-up: frames and lists have room
    (void)h.in(0, R"(["1","2","room:a","phx_leave",{}])");
    (void)h.out(0);
    metered::fail_at = metered::allocations.load();
    h.join(0);
    CHECK(h.out(0) == texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"overloaded"})")});
    h.join(0);
    CHECK(h.out(0) == texts{reply("\"1\"", "\"1\"")});
  }
  CHECK(metered::bytes == 0);
}

TEST_CASE("failures: without memory for a frame a push is dropped; the channel continues and gets the error") {
  metered::reset();
  phx::limits bounds;
  bounds.memory = metered::hook();
  bounds.mailbox_bytes = 100'000;  // so small that no frames are kept
  {
    many_connections h(1, bounds);
    h.join(0);
    (void)h.out(0);
    metered::fail_at = metered::allocations.load();
    (void)h.in(0, R"(["1","2","room:a","push",{}])");
    CHECK(h.out(0).empty());
    metered::fail_at = metered::allocations.load();
    (void)h.in(0, R"(["1","3","room:a","try",{}])");
    CHECK(h.out(0) == texts{reply("\"1\"", "\"3\"", "error")});
    metered::fail_at = metered::allocations.load();
    (void)h.in(0, R"(["1","4","room:a","echo",{}])");
    CHECK(h.out(0).empty());
    CHECK(h.seen.count("no_memory") == 3);
    metered::fail_at = SIZE_MAX;
    (void)h.in(0, R"(["1","5","room:a","echo",{}])");
    CHECK(h.out(0) == texts{reply("\"1\"", "\"5\"")});
  }
  CHECK(metered::bytes == 0);
  metered::reset();
}

TEST_CASE("failures: posts without memory return dropped; a reply_to made without memory too") {
  metered::reset();
  phx::limits bounds;
  bounds.memory = metered::hook();
  {
    many_connections h(1, bounds);
    h.join(0);
    phx::channel_id const id = h.log.ids["room:a"];
    (void)h.in(0, R"(["1","2","room:a","async",{}])");
    metered::fail_at = metered::allocations.load();
    (void)h.in(0, R"(["1","3","room:a","async",{}])");
    metered::fail_at = metered::allocations.load();
    metered::fail_on = true;
    CHECK(id.push("x", {}) == phx::send_status::dropped);
    CHECK(h.log.replies.at(0)() == phx::send_status::dropped);
    metered::fail_on = false;
    CHECK(h.log.replies.at(1)() == phx::send_status::dropped);
    CHECK_FALSE(h.log.replies.at(1).has_ref());
    CHECK(id.push("x", {}) == phx::send_status::ok);
    h.log.replies.clear();
    h.log.ids.clear();
  }
  CHECK(metered::bytes == 0);
  metered::reset();
}

// Several clients: which of them get a broadcast, in which order, and how often it is encoded.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

#include <set>

using namespace support;

namespace {

/// A serializer of these tests: version `V`, written as version 2, that counts its calls.
template <char V>
struct counting {
  static constexpr char text[] = {'~', '>', ' ', V, '.', '0', '.', '0', '\0'};
  static constexpr std::string_view requirement{text};
  static inline std::size_t broadcasts = 0, pushes = 0, replies = 0;
  static inline bool refuses = false;

  static phx::errc decode(phx::opcode op, std::string_view in, phx::scratch& room, phx::message& out) noexcept {
    return phx::v2_json::decode(op, in, room, out);
  }
  static phx::errc encode(phx::frame_builder& out, phx::reply const& r) noexcept {
    ++replies;
    return phx::v2_json::encode(out, r);
  }
  static phx::errc encode(phx::frame_builder& out, phx::push const& p) noexcept {
    ++pushes;
    return phx::v2_json::encode(out, p);
  }
  static phx::errc encode(phx::frame_builder& out, phx::broadcast const& b) noexcept {
    ++broadcasts;
    return refuses ? phx::errc::bytes_not_carried : phx::v2_json::encode(out, b);
  }
};
using four = counting<'4'>;
using five = counting<'5'>;

/// A channel without intercepts.
struct plain {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "shout") {
      phx::errc const ec = ctx.broadcast("shout", in.payload).error();
      return phx::outcome::reply(phx::payload::json('"' + std::string(to_string(ec)) + '"'));
    }
    if (in.event == "whisper") ctx.broadcast_from("whisper", in.payload);
    return phx::outcome::noreply();
  }
};

/// Clients of any vsn on any of several loops.
struct many_clients {
  journal log{};
  rooms d{};
  watcher seen{};
  std::vector<phx::serializer_ref> offered{phx::serializer_ref::of<phx::v1_json>(), phx::serializer_ref::of<phx::v2_json>(),
                                           phx::serializer_ref::of<msgpack::serializer>(), phx::serializer_ref::of<four>(),
                                           phx::serializer_ref::of<five>()};
  phx::limits bounds{};
  phx::testing::fake_loops loops;
  struct entry {
    phx::testing::recorder wire{};
    std::optional<phx::socket<phx::testing::recorder::transport_type, rooms>> socket{};
    std::string name{};
  };
  std::vector<std::unique_ptr<entry>> entries{};

  explicit many_clients(std::size_t n = 1, phx::limits const& of_loops = {}) : loops(n, of_loops) {
    d.channel<plain>("plain:*");
    four::broadcasts = four::pushes = four::replies = five::broadcasts = five::pushes = five::replies = 0;
    four::refuses = five::refuses = false;
    for (std::size_t i = 0; i < n; ++i) loops[i].observe(seen);
  }
  std::size_t add(std::string_view vsn, std::size_t on_loop = 0) {
    entries.push_back(std::make_unique<entry>());
    entry& s = *entries.back();
    s.name = "c" + std::to_string(entries.size() - 1);
    phx::admission<user> in{phx::choose(offered, vsn)};
    in.session.emplace(user{&log, s.name});
    in.bounds = &bounds;
    s.socket.emplace(loops[on_loop], d, std::move(in), s.wire.transport(), loops.now());
    return entries.size() - 1;
  }
  std::size_t joined(std::string_view vsn, std::string_view topic, std::size_t on_loop = 0) {
    std::size_t const number = add(vsn, on_loop);
    std::string const text = R"(["1","1",")" + std::string(topic) + R"(","phx_join",{}])";
    if (vsn == "3.0.0")
      in(number, msgpack::serializer::from_json(text), phx::opcode::binary);
    else if (vsn == "1.0.0")
      in(number, R"({"topic":")" + std::string(topic) + R"(","event":"phx_join","payload":{},"ref":"1"})");
    else
      in(number, text);
    CHECK(out(number).size() == 1);
    return number;
  }
  void in(std::size_t number, std::string_view text, phx::opcode op = phx::opcode::text) {
    (void)entries[number]->socket->receive(op, text, true, loops.now());
    loops.settle();
  }
  texts out(std::size_t number) { return entries[number]->wire.out(); }
};

}  // namespace

TEST_CASE("fan-out: push reaches its client, broadcast all on the topic, broadcast_from all but its channel") {
  many_clients h;
  auto const a = h.joined("2.0.0", "room:a"), b = h.joined("2.0.0", "room:a"), c = h.joined("2.0.0", "room:b");
  h.in(a, R"(["1","2","room:a","push",{}])");
  CHECK(h.out(a) == texts{pushed("pushed", "{}")});
  CHECK(h.out(b).empty());
  h.in(a, R"(["1","3","room:a","shout",{"n":1}])");
  CHECK(h.out(a) == texts{shouted("shout", R"({"n":1})")});
  CHECK(h.out(b) == texts{shouted("shout", R"({"n":1})")});
  CHECK(h.out(c).empty());
  h.in(a, R"(["1","4","room:a","whisper",{"n":2}])");
  CHECK(h.out(a) == texts{reply("\"1\"", "\"4\"")});
  CHECK(h.out(b) == texts{shouted("whisper", R"({"n":2})")});
}

TEST_CASE("fan-out: broadcast_from excludes a channel without intercepts too, whatever the serializers of the others") {
  many_clients h;
  auto const a = h.joined("2.0.0", "plain:a"), b = h.joined("2.0.0", "plain:a");
  h.in(a, R"(["1","2","plain:a","whisper",{"n":1}])");
  CHECK(h.out(a).empty());
  CHECK(h.out(b) == texts{shouted("whisper", R"({"n":1})", "plain:a")});
  auto const old = h.joined("1.0.0", "plain:a");
  h.in(a, R"(["1","3","plain:a","whisper",{"n":2}])");
  CHECK(h.out(a).empty());
  CHECK(h.out(b) == texts{shouted("whisper", R"({"n":2})", "plain:a")});
  CHECK(h.out(old) == texts{R"({"topic":"plain:a","event":"whisper","ref":null,"payload":{"n":2}})"});
}

TEST_CASE("fan-out: broadcast_from excludes the channel, not its connection") {
  many_clients h;
  h.d.channel<room>("side:*");
  auto const a = h.joined("2.0.0", "room:a");
  h.in(a, R"(["2","2","room:b","phx_join",{}])");
  (void)h.out(a);
  h.log.ids["room:b"].broadcast_from("not me", {});
  h.log.ids["room:a"].broadcast_from("not me", {});
  h.loops.settle();
  CHECK(h.out(a).empty());
  // One connection on one topic is one channel; a second connection of the same user gets the broadcast.
  auto const b = h.joined("2.0.0", "room:a");
  h.log.ids["room:a"].broadcast_from("hello", {});
  h.loops.settle();
  CHECK(h.out(a) == texts{shouted("hello", "{}")});
  CHECK(h.out(b).empty());
}

TEST_CASE("fan-out: another topic may be published to, and a topic without subscribers is no error") {
  many_clients h;
  auto const a = h.joined("2.0.0", "room:a"), b = h.joined("2.0.0", "room:elsewhere");
  h.in(a, R"(["1","2","room:a","elsewhere",{"n":1}])");
  CHECK(h.out(a).empty());
  CHECK(h.out(b) == texts{shouted("news", R"({"n":1})", "room:elsewhere")});
  CHECK(h.loops[0].publish({"nobody:here", "x", phx::payload{}, {}}) == phx::errc::none);
}

TEST_CASE("fan-out: a broadcast is encoded once per serializer and loop, and every recipient gets the same bytes") {
  many_clients h(2);
  std::vector<std::size_t> fours, fives;
  for (std::size_t i = 0; i < 10; ++i) fours.push_back(h.joined("4.0.0", "plain:a", i % 2));
  for (std::size_t i = 0; i < 6; ++i) fives.push_back(h.joined("5.0.0", "plain:a", i % 2));
  h.in(fours[0], R"(["1","2","plain:a","shout",{"n":1}])");
  CHECK(four::broadcasts == 2);
  CHECK(five::broadcasts == 2);
  std::set<void const*> blocks[2];
  for (std::size_t i = 0; i < fours.size(); ++i) {
    auto& frames = h.entries[fours[i]]->wire.frames;
    REQUIRE(frames.size() == (i == 0 ? 2u : 1u));
    CHECK(frames[0].data() == shouted("shout", R"({"n":1})", "plain:a"));
    blocks[i % 2].insert(frames[0].data().data());
  }
  CHECK(blocks[0].size() == 1);
  CHECK(blocks[1].size() == 1);
  CHECK(*blocks[0].begin() != *blocks[1].begin());
}

TEST_CASE("fan-out: for channels that intercept other events, this one is encoded once as well") {
  many_clients h;
  for (int i = 0; i < 10; ++i) (void)h.joined("4.0.0", "room:a");
  h.in(0, R"(["1","2","room:a","shout",{}])");
  CHECK(four::broadcasts == 1);
  for (std::size_t i = 0; i < 10; ++i) CHECK(h.out(i) == texts{shouted("shout", "{}")});
  // An intercepted broadcast is not encoded; each channel pushes its own version of it.
  four::broadcasts = four::pushes = 0;
  h.in(0, R"(["1","3","room:a","masked",{}])");
  CHECK(four::broadcasts == 0);
  CHECK(four::pushes == 10);
  CHECK(h.out(0) == texts{reply("\"1\"", "\"3\""), pushed("masked", R"({"seen_by":"c0"})")});
  CHECK(h.out(9) == texts{pushed("masked", R"({"seen_by":"c9"})")});
}

TEST_CASE("fan-out: clients of three serializers receive each other's broadcasts") {
  many_clients h;
  auto const v1 = h.joined("1.0.0", "plain:a"), v2 = h.joined("2.0.0", "plain:a"), v3 = h.joined("3.0.0", "plain:a");
  h.in(v2, R"(["1","2","plain:a","shout",{"n":[1,2]}])");
  CHECK(h.out(v1) == texts{R"({"topic":"plain:a","event":"shout","ref":null,"payload":{"n":[1,2]}})"});
  CHECK(h.out(v2).front() == R"([null,null,"plain:a","shout",{"n":[1,2]}])");
  auto const packed = h.out(v3);
  REQUIRE(packed.size() == 1);
  CHECK(msgpack::serializer::to_json(packed[0]) == R"([null,null,"plain:a","shout",{"n":[1,2]}])");
}

TEST_CASE("fan-out: strictly, a broadcast that one serializer of the caller's loop cannot encode reaches nobody") {
  many_clients h;
  h.bounds.strict_encoding = true;
  auto const v2 = h.joined("2.0.0", "plain:a"), v4 = h.joined("4.0.0", "plain:a");
  four::refuses = true;
  h.in(v2, R"(["1","2","plain:a","shout",{}])");
  CHECK(h.out(v2) == texts{reply("\"1\"", "\"2\"", "ok", "\"this serializer carries no bytes\"", "plain:a")});
  CHECK(h.out(v4).empty());
}

TEST_CASE("fan-out: subscribers whose serializer cannot encode a broadcast are skipped; if none can, it is an error") {
  many_clients h;
  auto const v2 = h.joined("2.0.0", "plain:a"), v4 = h.joined("4.0.0", "plain:a");
  four::refuses = true;
  h.seen.take();
  h.in(v2, R"(["1","2","plain:a","shout",{}])");
  CHECK(h.out(v2) == texts{shouted("shout", "{}", "plain:a"), reply("\"1\"", "\"2\"", "ok", "\"no error\"", "plain:a")});
  CHECK(h.out(v4).empty());
  CHECK(h.seen.count("broadcast_skipped plain:a shout") == 1);
  // An array cannot be pushed to a version 2 client: on a topic with another serializer it is skipped.
  four::refuses = false;
  auto const v1 = h.joined("1.0.0", "plain:b"), b2 = h.joined("2.0.0", "plain:b");
  CHECK(h.loops[0].publish({"plain:b", "x", phx::payload::json("[1]"), {}}) == phx::errc::none);
  CHECK(h.out(v1) == texts{R"({"topic":"plain:b","event":"x","ref":null,"payload":[1]})"});
  CHECK(h.out(b2).empty());
  CHECK(h.loops[0].publish({"plain:a", "x", phx::payload::json("[1]"), {}}) == phx::errc::not_an_object);
  CHECK(h.loops[0].publish_local({"plain:a", "x", phx::payload::json("[1]"), {}}) == phx::errc::not_an_object);
}

TEST_CASE("fan-out: a V1 subscriber is skipped for bytes, and counted; strictly, on the caller's loop, it is an error") {
  std::string const bytes("\x00\x01", 2), broadcast = std::string("\x02\x07\x05", 3) + "plain:ashout" + bytes;
  std::string const push = std::string("\x00\x01\x01\x07\x05", 5) + "12plain:ashout" + bytes;
  for (bool const strict : {false, true}) {
    CAPTURE(strict);
    many_clients h;
    h.bounds.strict_encoding = strict;
    auto const v1 = h.joined("1.0.0", "plain:a"), v2 = h.joined("2.0.0", "plain:a");
    h.seen.take();
    h.in(v2, push, phx::opcode::binary);
    std::string const answer = strict ? "\"this serializer carries no bytes\"" : "\"no error\"";
    texts expected;
    if (!strict) expected.push_back(broadcast);
    expected.push_back(reply("\"1\"", "\"2\"", "ok", answer, "plain:a"));
    CHECK(h.out(v2) == expected);
    CHECK(h.out(v1).empty());
    CHECK(h.seen.count("broadcast_skipped plain:a shout <") == (strict ? 0 : 1));
  }
  {
    // On a topic of its own it crashes nothing either: neither a channel on another topic that broadcasts bytes there, nor
    // its own channel.
    talk t("1.0.0");
    t.watch();
    (void)t.say(R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"1"})");
    t.log.on_event = [](void*, phx::context& ctx, phx::message const&) {
      ctx.broadcast("data", phx::payload::binary("x"));
      ctx.id().broadcast("data", phx::payload::binary("x"));
    };
    CHECK(t.say(R"({"topic":"room:a","event":"call","payload":{},"ref":"2"})").empty());
    t.c.settle();
    CHECK(t.c.out().empty());
    CHECK(t.topics() == texts{"room:a"});
    CHECK(t.seen.count("broadcast_skipped room:a data") == 2);
    phx::mount strict;
    strict.bounds.strict_encoding = true;
    talk s("1.0.0", strict);
    s.log.on_event = t.log.on_event;
    (void)s.say(R"({"topic":"room:a","event":"phx_join","payload":{},"ref":"1"})");
    CHECK(s.say(R"({"topic":"room:a","event":"call","payload":{},"ref":"2"})") ==
          texts{R"({"topic":"room:a","event":"phx_error","ref":null,"payload":{"reason":"channel_crash"}})"});
  }
  many_clients h(2);
  auto const v1 = h.joined("1.0.0", "plain:a", 1), other = h.joined("2.0.0", "plain:a", 1);
  auto const v2 = h.joined("2.0.0", "plain:a");
  h.seen.take();
  h.in(v2, push, phx::opcode::binary);
  CHECK(h.out(v2).front() == broadcast);
  CHECK(h.out(other) == texts{broadcast});
  CHECK(h.out(v1).empty());
  CHECK(h.seen.count("broadcast_skipped plain:a shout") == 1);
  // A subscriber that intercepts another event is skipped too.
  h.d.channel<room>("both:*");
  auto const intercepts = h.joined("1.0.0", "both:a", 1);
  h.seen.take();
  CHECK(h.loops[0].publish({"both:a", "shout", phx::payload::binary(bytes), {}}) == phx::errc::none);
  h.loops.settle();
  CHECK(h.out(intercepts).empty());
  CHECK(h.seen.take() ==
        texts{"broadcast_skipped both:a shout <" + std::string(to_string(phx::errc::bytes_not_carried)) + ">"});
}

TEST_CASE("fan-out: the endpoint reaches every loop") {
  many_clients h(3);
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < 6; ++i) all.push_back(h.joined("2.0.0", "room:a", i % 3));
  CHECK(h.loops.endpoint().broadcast("room:a", "news", phx::payload::json("{\"n\":1}")) == phx::errc::none);
  h.loops.settle();
  for (auto const target : all) CHECK(h.out(target) == texts{shouted("news", "{\"n\":1}")});
  CHECK(h.loops.endpoint().broadcast("room:a", "news", phx::payload::json("{")) == phx::errc::invalid_payload);
}

TEST_CASE("fan-out: publish_local stays on its loop") {
  many_clients h(2);
  auto const a = h.joined("2.0.0", "room:a", 0), b = h.joined("2.0.0", "room:a", 1);
  CHECK(h.loops[0].publish_local({"room:a", "x", phx::payload{}, {}}) == phx::errc::none);
  h.loops.settle();
  CHECK(h.out(a) == texts{shouted("x", "{}")});
  CHECK(h.out(b).empty());
}

TEST_CASE("fan-out: outside of callbacks, publish handles intercepted broadcasts, flushes frames and closes sockets") {
  many_clients h;
  auto const a = h.joined("2.0.0", "room:a");
  std::size_t const flushed = h.entries[a]->wire.flushes;
  CHECK(h.loops[0].publish({"room:a", "x", phx::payload{}, {}}) == phx::errc::none);
  h.loops.settle();
  CHECK(h.out(a) == texts{shouted("x", "{}")});
  CHECK(h.entries[a]->wire.flushes == flushed + 1);
  (void)h.loops[0].publish({"room:a", "masked", phx::payload{}, {}});
  h.loops.settle();
  CHECK(h.out(a) == texts{pushed("masked", R"({"seen_by":"c0"})")});
  h.bounds.outbound = 0;
  h.entries[a]->wire.answer = phx::send_status::congested;
  h.entries[a]->wire.waiting = 1;
  (void)h.loops[0].publish({"room:a", "x", phx::payload{}, {}});
  h.loops.settle();
  CHECK(h.entries[a]->wire.closed.has_value());
}

TEST_CASE("fan-out: intercepting subscribers share one copy of a broadcast, and get nothing without memory for it") {
  metered::reset();
  phx::limits of_loops;
  of_loops.memory = metered::hook();
  {
    many_clients h(1, of_loops);
    for (int i = 0; i < 50; ++i) (void)h.joined("2.0.0", "room:a");
    std::ptrdiff_t const before = metered::bytes;
    std::string const large = R"({"fill":")" + std::string(100'000, 'x') + "\"}";
    auto const publish =
        [&] {  // as a channel does: the payload belongs to its caller, and may be a view of the client's message
          phx::payload const p = phx::payload::json(large);
          CHECK(h.loops[0].publish({"room:a", "masked", phx::detail::payload_access::lend(p), {}}) == phx::errc::none);
        };
    publish();
    CHECK(metered::bytes - before < 150'000);
    h.loops.settle();
    for (std::size_t i = 0; i < 50; ++i)
      CHECK(h.out(i) == texts{pushed("masked", R"({"seen_by":"c)" + std::to_string(i) + "\"}")});

    metered::fail_at = metered::allocations.load();
    publish();
    h.loops.settle();
    for (std::size_t i = 0; i < 50; ++i) CHECK(h.out(i).empty());
    CHECK(h.seen.count("no_memory room:a masked") == 50);
  }
  CHECK(metered::bytes == 0);
}

TEST_CASE("fan-out: the broadcasts of one loop arrive on another in their order") {
  many_clients h(2);
  auto const a = h.joined("2.0.0", "room:a", 0), b = h.joined("2.0.0", "room:a", 1);
  phx::channel_id const at_b = h.log.ids["room:a"];
  for (int i = 0; i < 50; ++i) {
    std::string const n = std::to_string(i);
    (void)h.entries[a]->socket->receive(phx::opcode::text, R"(["1",null,"room:a","shout",{"n":)" + n + "}]", true,
                                        h.loops.now());
    at_b.push("direct", phx::payload::json("{\"n\":" + n + "}"));
  }
  h.loops.settle();
  texts expected;
  for (int i = 0; i < 50; ++i) {
    std::string const n = "{\"n\":" + std::to_string(i) + "}";
    expected.push_back(shouted("shout", n));
    expected.push_back(pushed("direct", n));
  }
  CHECK(h.out(b) == expected);
}

TEST_CASE("fan-out: a broadcast costs one mailbox item per loop, whatever the number of subscribers") {
  many_clients h(2);
  auto const a = h.joined("2.0.0", "room:a", 0);
  std::vector<std::size_t> others;
  for (int i = 0; i < 20; ++i) others.push_back(h.joined("2.0.0", "room:a", 1));
  h.bounds.mailbox = 1;
  std::size_t const woken = h.loops.waker(1).count();
  h.in(a, R"(["1","2","room:a","shout",{}])");
  CHECK(h.loops.waker(1).count() == woken + 1);
  for (auto const target : others) CHECK(h.out(target).size() == 1);
}

TEST_CASE("fan-out: a client whose queue is full is closed, the others get the broadcast") {
  many_clients h;
  auto const a = h.joined("2.0.0", "room:a"), full = h.joined("2.0.0", "room:a"), c = h.joined("2.0.0", "room:a");
  h.entries[full]->wire.answer = phx::send_status::dropped;
  h.in(a, R"(["1","2","room:a","shout_then_reply",{}])");
  CHECK(h.out(a) == texts{shouted("shout", "{}"), reply("\"1\"", "\"2\"")});
  CHECK(h.out(c) == texts{shouted("shout", "{}")});
  REQUIRE(h.entries[full]->wire.closed.has_value());
  CHECK(h.entries[full]->wire.closed->code == phx::close_code::policy);
  CHECK(h.loops[0].sockets() == 2);
}

TEST_CASE("fan-out: leaving, crashing and closing unsubscribe; the rest still get each broadcast once") {
  many_clients h;
  std::vector<std::size_t> all;
  for (int i = 0; i < 9; ++i) all.push_back(h.joined("2.0.0", "room:a"));
  h.in(all[0], R"(["1","2","room:a","phx_leave",{}])");
  h.in(all[4], R"(["1","2","room:a","boom",{}])");
  h.entries[all[8]]->socket->gone(phx::lost::normal);
  h.entries[all[2]]->socket.reset();
  for (auto const target : all) (void)h.out(target);
  h.in(all[1], R"(["1","2","room:a","shout",{}])");
  for (std::size_t i = 0; i < 9; ++i) CHECK(h.out(all[i]).size() == (i == 0 || i == 4 || i == 8 || i == 2 ? 0u : 1u));
}

TEST_CASE("fan-out: a channel that left in the turn in which a broadcast was intercepted for it does not get it") {
  many_clients h;
  auto const a = h.joined("2.0.0", "room:a"), b = h.joined("2.0.0", "room:a");
  {
    auto turn = h.loops[0].turn();
    (void)h.loops[0].publish({"room:a", "masked", phx::payload{}, {}});
    h.entries[b]->socket->gone(phx::lost::normal);
  }
  h.loops.settle();
  CHECK(h.out(a) == texts{pushed("masked", R"({"seen_by":"c0"})")});
  CHECK(h.out(b).empty());
}

#include <phx/adapter/redis.hpp>
#include <phx/core/text/base64.hpp>
#include <phx/loop/loop.hpp>

#include <support/eventually.hpp>
#include <support/heap.hpp>
#include <support/redis_node.hpp>
#include <support/redis_server.hpp>

#include <doctest/doctest.h>

#include <stdlib.h>

#include <algorithm>

using namespace std::chrono_literals;
using phx_tests::eventually;
using support::redis_server;

namespace {

using node = support::redis_node;

phx::redis::options at(redis_server const& s, std::string name) {
  phx::redis::options o = support::fast_redis();
  o.port = s.port;
  o.node = std::move(name);
  return o;
}

/// Sends a PUBLISH as another client would.
void publish(redis_server const& s, std::string_view channel, std::string_view text) {
  redisContext* const c = redisConnect("127.0.0.1", s.port);
  freeReplyObject(redisCommand(c, "PUBLISH %b %b", channel.data(), channel.size(), text.data(), text.size()));
  redisFree(c);
}

}  // namespace

TEST_CASE("redis: the other nodes receive what one node publishes, once and unchanged; the node itself does not") {
  redis_server s;
  REQUIRE(s.runs());
  node a(at(s, "a")), b(at(s, "b")), c(at(s, "c"));
  REQUIRE((a.up() && b.up() && c.up()));
  CHECK(a.local.node_name() == "a");
  CHECK(a.say("x", R"( {"n":1.0e5} )") == phx::errc::none);
  CHECK(b.listening(R"(x  {"n":1.0e5} )"));
  CHECK(c.listening(R"(x  {"n":1.0e5} )"));
  CHECK(b.local.broadcast("t", "y", phx::payload::binary(std::string_view("\0\xff", 2))) == phx::errc::none);
  CHECK(a.listening("y " + std::string("\0\xff", 2)));
  CHECK(a.bytes);
  CHECK(a.local.to_node("c", {"t", "for c", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(a.local.to_node("a", {"t", "for a", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(a.say("last") == phx::errc::none);
  CHECK(c.listening("for c {}"));
  CHECK(a.listening("for a {}"));
  CHECK((b.listening("last {}") && c.listening("last {}")));
  CHECK(a.count() == 2);
  CHECK(b.count() == 2);
  CHECK(c.count() == 4);
  CHECK(eventually([&] { return a.between.counters().confirmed == 4; }));
  CHECK(a.between.counters().sent == 4);
  CHECK(b.between.counters().skipped == 0);
  CHECK(a.local.unsent() == 0);
}

TEST_CASE("redis: pubsubs with different names do not receive each other's messages") {
  redis_server s;
  REQUIRE(s.runs());
  auto other = at(s, "b");
  other.name = "other";
  node a(at(s, "a")), b(other), c(at(s, "c"));
  REQUIRE((a.up() && b.up() && c.up()));
  CHECK(a.say("x") == phx::errc::none);
  CHECK(c.listening("x {}"));
  publish(s, "phx:other", "garbage");
  CHECK(eventually([&] { return b.between.counters().skipped == 1; }));
  CHECK(b.count() == 0);
}

TEST_CASE("redis: garbage on the channel is skipped and counted, and later messages are received") {
  redis_server s;
  REQUIRE(s.runs());
  node a(at(s, "a")), b(at(s, "b"));
  REQUIRE((a.up() && b.up()));
  for (std::string_view const g : {"", "phx", "phx\x01", "{\"topic\":\"t\"}", "\x83h\x06", "phx\x02xxxxxxxxxxxxxxxxxxxx"})
    publish(s, "phx:phx", g);
  CHECK(a.say("x") == phx::errc::none);
  CHECK(b.listening("x {}"));
  CHECK(b.between.counters().skipped == 6);
  CHECK(b.between.counters().received == 1);
  CHECK(b.between.counters().connects == 1);
}

TEST_CASE("redis: a message above the limit costs the connection, and it reconnects") {
  redis_server s;
  REQUIRE(s.runs());
  auto opts = at(s, "b");
  opts.message = 100'000;
  node a(at(s, "a")), b(opts);
  REQUIRE((a.up() && b.up()));
  publish(s, "phx:phx", std::string(5'000'000, 'x'));
  CHECK(eventually([&] { return b.between.counters().connects == 2; }));
  CHECK(b.between.counters().too_large == 1);
  REQUIRE(b.up());
  CHECK(a.say("x") == phx::errc::none);
  CHECK(b.listening("x {}"));
}

TEST_CASE("redis: while Redis is down a broadcast is refused and counted; afterwards everything continues") {
  redis_server s;
  REQUIRE(s.runs());
  node a(at(s, "a")), b(at(s, "b"));
  REQUIRE((a.up() && b.up()));
  s.kill();
  CHECK(eventually([&] { return !a.between.connected() && !b.between.connected(); }));
  CHECK(a.say("lost") == phx::errc::nodes_not_reached);
  CHECK(a.between.counters().refused == 1);
  CHECK(a.local.unsent() == 1);
  s.start();
  REQUIRE(s.runs());
  REQUIRE((a.up() && b.up()));
  CHECK(a.say("x") == phx::errc::none);
  CHECK(b.listening("x {}"));
  CHECK(b.count() == 1);
  CHECK(a.between.counters().connects == 2);
  CHECK(a.between.counters().disconnected_for > 0ns);
  auto const came_twice = [&] {
    std::lock_guard const hold(a.mutex);
    return std::count_if(a.changes.begin(), a.changes.end(), [](auto const& c) { return c.connected; }) == 2;
  };
  CHECK(eventually(came_twice));
  std::lock_guard const hold(a.mutex);
  CHECK(a.changes.front().connected);
  CHECK(a.changes.back().disconnected_for > 0ns);
  CHECK(a.changes.back().unsent == 1);
  CHECK_FALSE(a.changes[1].connected);
}

TEST_CASE("redis: nodes may start before Redis, and may queue a limited part of their messages meanwhile") {
  redis_server s;
  REQUIRE(s.runs());
  s.kill();
  auto opts = at(s, "a");
  opts.when_disconnected = phx::redis::disconnected_policy::keep;
  opts.queue = 300;
  node a(opts);
  CHECK(a.say("0") == phx::errc::none);
  CHECK(a.say("1") == phx::errc::none);
  int kept = 0;
  while (a.say("full") == phx::errc::none) ++kept;
  CHECK(kept < 4);
  CHECK(a.between.counters().refused == 1);
  CHECK_FALSE(a.between.connected());
  s.start();
  REQUIRE(s.runs());
  node b(at(s, "b"));
  REQUIRE((a.up() && b.up()));
  CHECK(eventually([&] { return a.between.counters().sent == static_cast<std::uint64_t>(kept) + 2; }));
  CHECK(a.say("late") == phx::errc::none);
  CHECK(b.listening("late {}"));
  CHECK(eventually([&] { return a.between.counters().confirmed == a.between.counters().sent; }));
  CHECK(a.between.counters().confirmed == static_cast<std::uint64_t>(kept) + 3);
  CHECK(a.between.counters().lost == 0);
}

TEST_CASE("redis: an unresponsive connection is closed after a while, and unconfirmed messages count as lost") {
  redis_server s;
  REQUIRE(s.runs());
  CHECK(phx_tests::in_time(300ms, [&](std::chrono::milliseconds silence) {
    auto opts = at(s, "a");
    opts.silence = silence;
    node a(opts);
    REQUIRE(a.up());
    s.freeze();
    bool const unknown = a.say("x") == phx::errc::none;  // not detected yet
    CHECK(eventually([&] { return !a.between.connected(); }));
    bool const counted = a.between.counters().lost == 1;
    CHECK(a.say("y") == phx::errc::nodes_not_reached);
    s.thaw();
    REQUIRE(a.up());
    CHECK(a.between.counters().connects >= 2);
    return unknown && counted;
  }));
}

TEST_CASE("redis: authentication with a password") {
  redis_server s({"--requirepass", "secret"});
  REQUIRE(s.runs());
  auto opts = at(s, "a");
  opts.password = "secret";
  node a(opts), stranger(at(s, "b"));
  CHECK(a.up());
  CHECK(eventually([&] {
    std::lock_guard const hold(stranger.mutex);
    return !stranger.changes.empty();
  }));
  CHECK_FALSE(stranger.between.connected());
}

TEST_CASE("redis: a user, a database and a unix socket, by URL") {
  char folder[] = "/tmp/phx-redis-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  std::string const path = std::string(folder) + "/redis.sock";
  redis_server s({"--unixsocket", path, "--user", "app", "on", ">p@ss:w/rd", "&phx:*", "+@pubsub", "+ping", "+select",
                  "--user", "default", "off", "nopass"});
  REQUIRE(s.runs());
  auto const by = [&](std::string url, std::string name) {
    auto o = support::fast_redis();
    o.url = std::move(url);
    o.node = std::move(name);
    return o;
  };
  {
    node a(by("redis://app:p%40ss%3Aw%2Frd@localhost:" + std::to_string(s.port) + "/3", "a"));
    node b(by("unix://app:p%40ss%3Aw%2Frd@" + path + "?db=15", "b"));
    REQUIRE((a.up() && b.up()));
    CHECK(a.say("x") == phx::errc::none);
    CHECK(b.say("y") == phx::errc::none);
    CHECK(b.listening("x {}"));
    CHECK(a.listening("y {}"));
    node no_password(by("redis://localhost:" + std::to_string(s.port), "c"));
    node wrong_password(by("redis://app:wrong@localhost:" + std::to_string(s.port), "d"));
    node wrong_database(by("redis://app:p%40ss%3Aw%2Frd@localhost:" + std::to_string(s.port) + "/16", "e"));
    CHECK(eventually([&] { return no_password.reason().starts_with("NOAUTH"); }));
    CHECK(eventually([&] { return wrong_password.reason().starts_with("WRONGPASS"); }));
    CHECK(eventually([&] { return wrong_database.reason().find("DB index") != std::string::npos; }));
    auto other = by("redis://app:p%40ss%3Aw%2Frd@localhost:" + std::to_string(s.port), "f");
    other.beside_elixir = "";
    other.name = "x";
    node allowed(other);
    CHECK(allowed.up());
  }
  node nowhere(by("unix://" + std::string(folder) + "/none", "a"));
  CHECK(eventually([&] { return !nowhere.reason().empty(); }));
  node too_long(by("unix:///" + std::string(200, 'x'), "a"));
  CHECK(eventually([&] { return too_long.reason() == "the path of the unix socket is too long"; }));
  node unresolved(by("redis://does-not-exist.invalid", "a"));
  CHECK(eventually([&] { return unresolved.reason().starts_with("does-not-exist.invalid: "); }));
#ifdef __cpp_exceptions
  phx::redis::pubsub misspelt(by("reddis://localhost", "a")), insecure(by("rediss://localhost", "a"));
  phx::endpoint local;
  CHECK_THROWS_AS(local.attach(misspelt), std::runtime_error);
  CHECK_THROWS_AS(local.attach(insecure), std::runtime_error);
#endif
  (void)unlink(path.c_str());
  (void)rmdir(folder);
}

#ifdef __cpp_exceptions
TEST_CASE("redis: without memory no part of a command is queued") {
  std::string const command = phx::detail::publish_command("phx:phx", std::string(100, 'x'));
  std::size_t const hash = 7;
  for (std::size_t n = 0;; ++n) {
    phx::detail::publish_batch batch;
    batch.add(command, &hash);
    bool failed = false;
    try {
      support::heap::failure const none(n);
      batch.add(command, &hash);
    } catch (std::bad_alloc const&) {
      failed = true;
    }
    CHECK(batch.commands == (failed ? command : command + command));
    CHECK(batch.count == (failed ? 1 : 2));
    if (!failed) break;
    CHECK(n < 10);
  }
}
#endif

TEST_CASE("redis: time limits may be never") {
  redis_server s;
  REQUIRE(s.runs());
  auto never = at(s, "a");
  for (phx::duration* const d :
       {&never.connect, &never.ping, &never.silence, &never.backoff, &never.max_backoff, &never.linger})
    *d = (phx::duration::max)();
  node a(never), b(at(s, "b"));
  CHECK(a.between.wait_connected((phx::duration::max)()));
  REQUIRE(b.up());
  CHECK(a.say("x") == phx::errc::none);
  CHECK(b.listening("x {}"));
}

TEST_CASE("redis: queued messages are sent before it stops") {
  redis_server s;
  REQUIRE(s.runs());
  node b(at(s, "b"));
  REQUIRE(b.up());
  {
    auto opts = at(s, "a");
    opts.linger = 60s;
    node a(opts);
    REQUIRE(a.up());
    for (int i = 0; i < 1'000; ++i) (void)a.say("x", std::to_string(i));
  }
  CHECK(b.listening("x 999"));
  CHECK(b.count() == 1'000);
}

TEST_CASE("redis: 100,000 messages of two senders arrive in the order of each, and none is lost") {
  constexpr std::size_t each = 50'000;
  redis_server s;
  REQUIRE(s.runs());
  auto opts = at(s, "a");
  opts.queue = 100'000'000;
  node a(opts), b(at(s, "b"));
  REQUIRE((a.up() && b.up()));
  auto const sender = [&](std::string_view event) {
    return std::thread([&, event] {
      for (std::size_t i = 0; i < each; ++i) (void)a.say(event, std::to_string(i));
    });
  };
  std::thread one = sender("one"), two = sender("two");
  one.join();
  two.join();
  CHECK(eventually([&] { return b.count() == 2 * each; }));
  std::size_t next[2] = {0, 0};
  bool ordered = true;
  for (std::string const& h : b.heard) {
    std::size_t& n = next[h.starts_with("one") ? 0 : 1];
    ordered = ordered && h.substr(4) == std::to_string(n++);
  }
  CHECK(ordered);
  CHECK(eventually([&] { return a.between.counters().confirmed == 2 * each; }));
  CHECK(a.between.counters().lost + a.between.counters().refused == 0);
}

TEST_CASE("redis: together with Elixir it sends and receives the terms of Phoenix's own adapter") {
  redis_server s;
  REQUIRE(s.runs());
  auto opts = at(s, "phx@a");
  opts.beside_elixir = "MyApp.PubSub";
  auto other = at(s, "b");
  other.beside_elixir = "MyApp.PubSub";
  other.message = 2'000;
  node a(opts), b(other);
  REQUIRE((a.up() && b.up()));
  CHECK(a.between.channel() == "phx:Elixir.MyApp.PubSub.Adapter");
  CHECK(a.say("x", R"({"n":[1,2,300],"big":123456789012345678901234567890})") == phx::errc::none);
  CHECK(b.listening(R"(x {"n":[1,2,300],"big":123456789012345678901234567890})"));
  CHECK(b.local.to_node("phx@a", {"t", "for a", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(a.listening("for a {}"));
  CHECK(a.say("no", R"({"n":1e400})") != phx::errc::none);
  // As an Elixir node on OTP 26 sends it: atoms are UTF-8, and the map has its own order.
  auto const atom = [](std::string_view text) {
    return std::string("\x77") + static_cast<char>(text.size()) + std::string(text);
  };
  auto const binary = [](std::string_view text) {
    return std::string("m\0\0\0", 4) + static_cast<char>(text.size()) + std::string(text);
  };
  auto const answer = [&](std::string_view mode, std::string const& by, std::string_view event) {
    return std::string(
               "\x83h\x06"
               "a\x03") +
           atom(mode) + by + binary("t") + std::string("t\0\0\0\x04", 5) + atom("topic") + binary("t") + atom("payload") +
           std::string("t\0\0\0\x01", 5) + atom("body") + atom("nil") + atom("event") + binary(event) + atom("__struct__") +
           atom("Elixir.Phoenix.Socket.Broadcast") + atom("Elixir.Phoenix.Channel.Server");
  };
  publish(s, a.between.channel(), answer("except", atom("elixir@host"), "hello"));
  CHECK(a.listening(R"(hello {"body":null})"));
  CHECK(b.listening(R"(hello {"body":null})"));
  // A node's name has a type: the atom a@b is not the binary "a@b", and the binary b not the atom (13.2).
  std::size_t const by_a = a.count(), by_b = b.count();
  publish(s, a.between.channel(), answer("only", binary("phx@a"), "not for a"));
  publish(s, a.between.channel(), answer("only", atom("b"), "not for b"));
  publish(s, a.between.channel(), answer("except", atom("phx@a"), "a's own"));
  publish(s, a.between.channel(), answer("except", binary("phx@a"), "another's"));
  CHECK(a.listening(R"(another's {"body":null})"));
  CHECK(b.listening(R"(another's {"body":null})"));
  CHECK(b.listening(R"(a's own {"body":null})"));
  CHECK(a.count() == by_a + 1);
  CHECK(b.count() == by_b + 2);
  publish(s, a.between.channel(), "\x83h\x06 and so on");
  CHECK(eventually([&] { return a.between.counters().skipped == 1; }));
  // With compression_level 9, and a body of 3,000 letters.
  std::string const large =
      "g1AAAAxfeNrt18ENwjAMBdBWtEWiMyA2yAwI1DtSB4hCapGIkFSpqdPNGI9QbkzAwe/gg78H8DeN2lADScOI1IKzycajCRM+iqIoEfOsqMYwWv"
      "3d0HZUiwtq+EQlVdcwLDlpX4kxxhhjjDH296iGGfz679dOxRvQTsoJ41OjlHTo1kogLiaAt0n0Qd8BxSnmBqDVhLT/OTgb5T040UOcIb4Bs9e1"
      "NQ==";
  publish(s, a.between.channel(),
          phx::detail::from_base64(large, phx::detail::base64_alphabet::standard, phx::detail::base64_padding::required)
              .value());
  CHECK(a.listening("large {\"body\":\"" + std::string(3'000, 'x') + "\"}"));
  CHECK(eventually([&] { return b.between.counters().unreadable == 1; }));
  CHECK(b.between.counters().skipped == 1);
}

TEST_CASE("redis: together with Elixir, a struct that cannot be encoded is counted and reported, and then skipped") {
  using phx::term;
  redis_server s;
  REQUIRE(s.runs());
  auto opts = at(s, "a");
  opts.beside_elixir = "Elixir.MyApp.PubSub";  // as the atom's full name
  node a(opts);
  opts.node = "b";
  opts.encode_struct = [](phx::elixir_struct const& u) { return u.only({"name"}); };
  node b(opts);
  REQUIRE((a.up() && b.up()));
  CHECK(a.between.channel() == "phx:Elixir.MyApp.PubSub.Adapter");
  auto const message = [](std::string_view event, term payload) {
    return term::tuple({term::integer(3), term::atom("except"), term::atom("elixir@host"), term::text("t"),
                        term::map({{term::atom("__struct__"), term::atom("Elixir.Phoenix.Socket.Broadcast")},
                                   {term::atom("event"), term::text(event)},
                                   {term::atom("payload"), std::move(payload)},
                                   {term::atom("topic"), term::text("t")}}),
                        term::atom("Elixir.Phoenix.Channel.Server")})
        .external();
  };
  term const user = term::map({{term::atom("__struct__"), term::atom("Elixir.MyApp.User")},
                               {term::atom("name"), term::text("ann")},
                               {term::atom("password_hash"), term::text("SECRET")}});
  publish(s, a.between.channel(), message("user", term::map({{term::atom("user"), user}})));
  publish(s, a.between.channel(), message("tuple", term::map({{term::atom("pair"), term::tuple({})}})));
  publish(s, a.between.channel(), message("next", term::map({})));
  CHECK(a.listening("next {}"));
  CHECK(b.listening("next {}"));
  CHECK(a.count() == 1);
  CHECK(b.listening(R"(user {"user":{"name":"ann"}})"));
  CHECK(a.between.counters().unknown_structs == 1);
  CHECK(a.between.counters().unreadable == 1);
  CHECK(a.between.counters().skipped == 0);
  CHECK(b.between.counters().unknown_structs == 0);
  std::lock_guard const hold(a.mutex);
  REQUIRE(a.warnings.size() == 2);
  CHECK(a.warnings[0] == std::pair(phx::redis::warning_kind::unknown_struct, std::string("t user MyApp.User")));
  CHECK(a.warnings[1] == std::pair(phx::redis::warning_kind::unreadable, std::string("t tuple ")));
}

TEST_CASE("redis: together with Elixir, a payload that is not an object stays on this node: it would crash theirs") {
  redis_server s;
  REQUIRE(s.runs());
  auto opts = at(s, "a");
  opts.beside_elixir = "MyApp.PubSub";
  node a(opts);
  opts.node = "b";
  node b(opts);
  REQUIRE((a.up() && b.up()));
  for (std::string_view const payload : {"\"x\"", "[1]", "null", " 1"})
    CHECK(a.say("x", payload) == phx::errc::nodes_not_reached);
  CHECK(a.local.broadcast("t", "bytes", phx::payload::binary("\xff")) == phx::errc::none);
  CHECK(b.listening("bytes \xff"));
  CHECK(b.count() == 1);
  CHECK(a.between.counters().not_objects == 4);
  CHECK(a.between.counters().refused == 4);
  node c(at(s, "c")), d(at(s, "d"));  // between phx nodes this is harmless
  REQUIRE((c.up() && d.up()));
  CHECK(c.say("x", "[1]") == phx::errc::none);
  CHECK(d.listening("x [1]"));
}

TEST_CASE("redis: two nodes with the same name each get one warning, and every message is counted") {
  redis_server s;
  REQUIRE(s.runs());
  for (std::string_view const elixir : {"", "MyApp.PubSub"}) {
    auto opts = at(s, "twin");
    opts.beside_elixir = elixir;
    node a(opts), b(opts);
    opts.node = "c";
    node c(opts);
    REQUIRE((a.up() && b.up() && c.up()));
    for (int i = 0; i < 3; ++i) CHECK(a.say("x") == phx::errc::none);
    CHECK(b.say("y") == phx::errc::none);
    CHECK(c.say("z") == phx::errc::none);
    CHECK(a.listening("z {}"));
    CHECK(b.listening("z {}"));
    CHECK(eventually([&] { return b.between.counters().same_name == 3; }));
    CHECK(eventually([&] { return a.between.counters().same_name == 1; }));
    CHECK(c.between.counters().same_name == 0);
    std::lock_guard const hold(b.mutex);
    REQUIRE(b.warnings.size() == 1);
    CHECK(b.warnings[0] == std::pair(phx::redis::warning_kind::same_name, std::string("t x ")));
  }
}

TEST_CASE("redis: a node's own messages are not taken for a second node's, even after Redis restarts") {
  redis_server s;
  REQUIRE(s.runs());
  node a(at(s, "a")), b(at(s, "b"));
  for (int round = 0; round < 3; ++round) {
    REQUIRE((a.up() && b.up()));
    for (int i = 0; i < 200; ++i) (void)a.say("x"), (void)b.say("x");
    s.kill();
    CHECK(eventually([&] { return !a.between.connected() && !b.between.connected(); }));
    s.start();
    REQUIRE(s.runs());
  }
  REQUIRE((a.up() && b.up()));
  CHECK(a.say("last") == phx::errc::none);
  CHECK(b.listening("last {}"));
  CHECK(a.between.counters().same_name == 0);
  CHECK(b.between.counters().same_name == 0);
}

TEST_CASE("redis: messages before the first connection wait for it, and a start counts no losses") {
  redis_server s;
  REQUIRE(s.runs());
  node b(at(s, "b"));
  REQUIRE(b.up());
  node a(at(s, "a"));
  CHECK(a.say("first") == phx::errc::none);
  CHECK(b.listening("first {}"));
  CHECK(a.between.counters().refused == 0);
  CHECK(a.local.unsent() == 0);
  // Without Redis it is lost, and the next one is refused.
  s.kill();
  node c(at(s, "c"));
  bool const waited = c.say("lost") == phx::errc::none;
  CHECK(eventually([&] { return c.between.counters().lost + c.between.counters().refused == 1; }));
  CHECK(c.between.counters().lost == (waited ? 1 : 0));
  CHECK(eventually([&] { return c.say("refused") == phx::errc::nodes_not_reached; }));
}

TEST_CASE("redis: a node name of more than 255 bytes is refused at start") {
  redis_server s;
  REQUIRE(s.runs());
#ifdef __cpp_exceptions
  phx::redis::pubsub too_long(at(s, std::string(256, 'a')));
  phx::endpoint local;
  CHECK_THROWS_AS(local.attach(too_long), std::runtime_error);
#endif
  node a(at(s, std::string(255, 'a')));
  CHECK(a.up());
}

TEST_CASE("redis: a node whose loops are far behind stops reading, and loses nothing") {
  struct waker {
    void wake() noexcept {}
  } asleep;
  redis_server s;
  REQUIRE(s.runs());
  phx::redis::pubsub between(at(s, "b"));
  phx::endpoint slow;
  slow.attach(between);
  phx::limits narrow;
  narrow.mailbox = 100;
  phx::loop l(slow, asleep, narrow);
  node a(at(s, "a"));
  REQUIRE((a.up() && between.wait_connected(60s)));
  for (int i = 0; i < 5'000; ++i) REQUIRE(a.say("x") == phx::errc::none);
  CHECK(eventually([&] { return slow.congested(); }));
  CHECK(eventually([&] {
    (void)l.run(phx::time_point{});
    return between.counters().received == 5'000;
  }));
  CHECK(between.counters().mailbox_full == 0);
  CHECK(l.dropped() == 0);
}

#include <phx/presence/presence.hpp>

#include <phx/testing/server.hpp>

#include "../support/bus.hpp"

#include <doctest/doctest.h>

#include <thread>

namespace {

using namespace std::chrono_literals;
using phx::errc;

/// Tracks itself under the key of its join, and acts on its events.
struct room {
  explicit room(phx::presence& w) : presence(&w) {}
  phx::presence* presence;
  std::string key{};

  phx::join_result join(phx::joining& ctx, phx::message const& in) {
    phx::json::cursor c(in.payload.raw(), 8);
    std::string_view name, value;
    if (c.take('{') && c.value(name) && c.take(':') && c.value(value)) key = value.substr(1, value.size() - 2);
    (void)ctx.send("joined");
    return phx::join_result::ok();
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const&) {
    if (!key.empty()) (void)presence->track(ctx, key);
    ctx.push("presence_state", presence->list(ctx.topic()));
    return phx::outcome::noreply();
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "track") return answer(presence->track(ctx, key, in.payload));
    if (in.event == "also") return answer(presence->track(ctx, "also", in.payload));
    if (in.event == "proto") return answer(presence->track(ctx, "__proto__", in.payload));
    if (in.event == "update") return answer(presence->update(ctx, key, in.payload));
    if (in.event == "untrack") return presence->untrack(ctx, key), phx::outcome::reply();
    if (in.event == "untrack_all") return presence->untrack(ctx), phx::outcome::reply();
    if (in.event == "list") return phx::outcome::reply(presence->list(ctx.topic()));
    if (in.event == "get") return phx::outcome::reply(presence->get_by_key(ctx.topic(), key));
    if (in.event == "stop") return phx::outcome::stop();
    if (in.event == "shut") return phx::outcome::stop(phx::exit_reason::shutdown);
    return phx::outcome::stop(phx::exit_reason::error);
  }
  static phx::outcome answer(phx::result<std::string> const& r) {
    if (r) return phx::outcome::reply(phx::payload::json("{\"ref\":\"" + *r + "\"}"));
    return phx::outcome::reply(phx::status::error, phx::presence::reason(r.error().code));
  }
};

/// Names for phx_refs in the order in which they were first seen: R1, R2 ...
class refs {
 public:
  std::string operator()(std::string text) {
    for (std::size_t at = 0; (at = text.find("\"phx_ref", at)) != std::string::npos;) {
      at = text.find(":\"", at) + 2;
      std::string const ref = text.substr(at, 16);
      REQUIRE(text[at + 16] == '"');
      std::size_t n = 0;
      while (n < seen_.size() && seen_[n] != ref) ++n;
      if (n == seen_.size()) seen_.push_back(ref);
      text.replace(at, 16, "R" + std::to_string(n + 1));
    }
    return text;
  }

 private:
  std::vector<std::string> seen_;
};

phx::presence_options as_phoenix() {
  phx::presence_options options;
  options.linger = options.batch = phx::duration::zero();
  options.start = 1;
  return options;
}

/// One node.
struct presence_node {
  explicit presence_node(phx::presence_options options = as_phoenix(), std::size_t loops = 1)
      : presence(std::move(options)) {
    app.channel("room:*", [this](phx::router<>::session_type const&) { return room(presence); });
    server.emplace(app, without_idle_timeout(), loops);
    presence.start(server->endpoint());
  }
  presence_node(support::bus::node& others, phx::presence_options options) : presence(std::move(options)) {
    app.channel("room:*", [this](phx::router<>::session_type const&) { return room(presence); });
    server.emplace(app, without_idle_timeout());
    server->endpoint().attach(others);
    presence.start(server->endpoint());
  }
  phx::testing::channel_client join(std::string const& key, std::size_t loop = 0) {
    return server->connect({}, loop).join("room:a", "{\"key\":\"" + key + "\"}");
  }
  /// A client that is not tracked and has received the state.
  phx::testing::channel_client watch() {
    auto w = join("");
    CHECK(w.expect_push("presence_state"));
    return w;
  }
  /// A mount whose clients may be silent for as long as a test needs.
  static phx::mount without_idle_timeout() {
    phx::mount m;
    m.bounds.idle = phx::duration::zero();
    return m;
  }
  std::string list() { return std::string(presence.list("room:a").raw()); }

  phx::presence presence;
  phx::router<> app{};
  std::optional<phx::testing::server<phx::router<>>> server{};
};

std::string diff(phx::testing::channel_client& c, refs& as) {
  auto const d = c.expect_broadcast("presence_diff");
  return d ? as(*d) : "none";
}
std::string state(phx::testing::channel_client& c, refs& as) {
  auto const d = c.expect_push("presence_state");
  return d ? as(*d) : "none";
}

}  // namespace

TEST_CASE("presence: a channel gets the state, then its own join; others get its join") {
  presence_node h;
  refs as;
  auto ann = h.join("ann");
  CHECK(as(ann.rest().at(0)) == R"(presence_state {"ann":{"metas":[{"phx_ref":"R1"}]}})");
  CHECK(as(ann.rest().at(1)) == R"(presence_diff {"joins":{"ann":{"metas":[{"phx_ref":"R1"}]}},"leaves":{}})");
  auto bob = h.join("bob");
  CHECK(state(bob, as) == R"({"ann":{"metas":[{"phx_ref":"R1"}]},"bob":{"metas":[{"phx_ref":"R2"}]}})");
  (void)ann.expect_broadcast("presence_diff");
  CHECK(diff(ann, as) == R"({"joins":{"bob":{"metas":[{"phx_ref":"R2"}]}},"leaves":{}})");
}

TEST_CASE("presence: one key may have many channels") {
  presence_node h;
  refs as;
  auto desk = h.join("ann"), phone = h.join("ann");
  CHECK(as(h.list()) == R"({"ann":{"metas":[{"phx_ref":"R1"},{"phx_ref":"R2"}]}})");
  (void)diff(desk, as);
  CHECK(diff(desk, as) == R"({"joins":{"ann":{"metas":[{"phx_ref":"R2"}]}},"leaves":{}})");
  CHECK(phone.leave());
  CHECK(diff(desk, as) == R"({"joins":{},"leaves":{"ann":{"metas":[{"phx_ref":"R2"}]}}})");
  CHECK(as(h.list()) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
}

TEST_CASE("presence: an update is one diff, and has the ref that it replaced from then on") {
  presence_node h;
  refs as;
  auto ann = h.join("ann");
  (void)diff(ann, as);
  CHECK(ann.call("update", R"({ "on" : "watch", "phx_ref":"mine", "n":[1, 2] })")->ok());
  CHECK(
      diff(ann, as) ==
      R"({"joins":{"ann":{"metas":[{"phx_ref":"R2","phx_ref_prev":"R1","on":"watch","n":[1, 2]}]}},"leaves":{"ann":{"metas":[{"phx_ref":"R1"}]}}})");
  CHECK(as(ann.call("get")->response) == R"({"metas":[{"phx_ref":"R2","phx_ref_prev":"R1","on":"watch","n":[1, 2]}]})");
  CHECK(ann.call("untrack")->ok());
  CHECK(diff(ann, as) ==
        R"({"joins":{},"leaves":{"ann":{"metas":[{"phx_ref":"R2","phx_ref_prev":"R1","on":"watch","n":[1, 2]}]}}})");
  CHECK(ann.call("get")->response == "[]");
  CHECK(ann.call("untrack")->ok());
  auto const no = ann.call("update");
  CHECK(no->status == "error");
  CHECK(no->response == R"({"reason":"nopresence"})");
}

TEST_CASE("presence: an entry leaves with its channel, whatever ends it") {
  presence_node h;
  refs as;
  auto watcher = h.watch();
  auto const gone = [&] {
    (void)watcher.expect_broadcast("presence_diff");
    auto const d = watcher.expect_broadcast("presence_diff");
    return d && d->starts_with(R"({"joins":{},"leaves":{"ann")") && h.list() == "{}";
  };
  SUBCASE("it leaves") {
    CHECK(h.join("ann").leave());
    CHECK(gone());
  }
  SUBCASE("it stops") {
    auto ann = h.join("ann");
    ann.push("stop");
    CHECK(gone());
  }
  SUBCASE("it crashes") {
    auto ann = h.join("ann");
    ann.push("crash");
    CHECK(ann.expect_error());
    CHECK(gone());
  }
  SUBCASE("its connection is lost") {
    auto socket = h.server->connect();
    (void)socket.join("room:a", R"({"key":"ann"})");
    socket.disconnect(phx::lost::error);
    CHECK(gone());
  }
  SUBCASE("its connection is closed by the server") {
    auto socket = h.server->connect();
    (void)socket.join("room:a", R"({"key":"ann"})");
    socket.send("no JSON");
    CHECK(socket.close_code() == 1011);
    CHECK(gone());
  }
  SUBCASE("it is ended through its address") {
    auto ann = h.join("ann");
    h.server->endpoint().drain({});
    h.server->settle();
    CHECK(h.list() == "{}");
  }
}

TEST_CASE("presence: a channel that replaces another one takes over its entry") {
  presence_node h;
  auto watcher = h.watch();
  auto socket = h.server->connect();
  refs as;
  (void)socket.join("room:a", R"({"key":"ann"})");
  CHECK(diff(watcher, as) == R"({"joins":{"ann":{"metas":[{"phx_ref":"R1"}]}},"leaves":{}})");
  (void)socket.join("room:a", R"({"key":"ann"})");
  CHECK(diff(watcher, as) ==
        R"({"joins":{"ann":{"metas":[{"phx_ref":"R2"}]}},"leaves":{"ann":{"metas":[{"phx_ref":"R1"}]}}})");
  CHECK(as(h.list()) == R"({"ann":{"metas":[{"phx_ref":"R2"}]}})");
}

TEST_CASE("presence: keys that are unsafe in JavaScript are refused, and nothing is broadcast") {
  for (std::string const key : {"__proto__", "constructor", "prototype", "toString", "hasOwnProperty"}) {
    presence_node h;
    auto ann = h.join(key);
    CHECK(ann.expect_push("presence_state") == "{}");
    auto const no = ann.call("track");
    REQUIRE(no);
    CHECK(no->response == R"({"reason":"a key that is unsafe in JavaScript objects, such as __proto__"})");
    CHECK(ann.rest().empty());
    CHECK(h.list() == "{}");
  }
  auto options = as_phoenix();
  options.any_key = true;
  presence_node h(options);
  refs as;
  auto ann = h.join("__proto__");
  CHECK(state(ann, as) == R"({"__proto__":{"metas":[{"phx_ref":"R1"}]}})");
}

TEST_CASE("presence: a channel survives an error of track") {
  auto options = as_phoenix();
  options.meta = 20;
  options.key = 8;
  options.tracks = 2;
  presence_node h(options);
  auto ann = h.join("ann");
  (void)ann.rest();
  CHECK(ann.call("track")->response == R"({"reason":"the channel is already tracked under this key"})");
  CHECK(ann.call("also", R"({"text":"0123456789"})")->response ==
        R"({"reason":"a meta larger than presence_options::meta"})");
  CHECK(ann.call("also", "[]")->response == R"({"reason":"a meta that is no JSON object"})");
  CHECK(h.presence.track(phx::channel_id{}, "room:a", "bytes", phx::payload::binary("{}")).error().code ==
        errc::not_an_object);
  CHECK(ann.call("also", R"({"t":"012345678901"})")->ok());  // twenty bytes
  CHECK(ann.call("proto")->status == "error");
  CHECK(ann.call("untrack_all")->ok());
  CHECK(h.list() == "{}");
  CHECK(ann.call("track")->ok());
  CHECK(h.join("ninebytes").call("track")->response == R"({"reason":"a key longer than presence_options::key"})");
}

TEST_CASE("presence: the entries of a connection are limited, over all its channels") {
  auto options = as_phoenix();
  options.tracks = 2;
  presence_node h(options);
  auto socket = h.server->connect();
  auto a = socket.join("room:a", R"({"key":"ann"})"), b = socket.join("room:b", R"({"key":"ann"})");
  CHECK(a.call("also")->response == R"({"reason":"a limit was reached"})");
  CHECK(b.leave());
  CHECK(a.call("also")->ok());
  auto other = h.server->connect().join("room:b", R"({"key":"ann"})");
  CHECK(other.call("also")->ok());
}

TEST_CASE("presence: an entry leaves at once after a leave, and lingers after a lost connection") {
  auto options = as_phoenix();
  options.linger = 3s;
  presence_node h(options);
  refs as;
  auto watcher = h.watch();
  auto socket = h.server->connect();
  (void)socket.join("room:a", R"({"key":"ann"})");
  (void)diff(watcher, as);
  h.server->advance(1h);
  SUBCASE("lost: three seconds") {
    socket.disconnect(phx::lost::error);
    h.server->advance(2900ms);
    CHECK(watcher.rest().empty());
    CHECK(as(h.list()) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
    h.server->advance(200ms);
    CHECK(diff(watcher, as) == R"({"joins":{},"leaves":{"ann":{"metas":[{"phx_ref":"R1"}]}}})");
  }
  SUBCASE("lost and rejoined with the same meta: no change") {
    socket.disconnect(phx::lost::normal);
    h.server->advance(2s);
    auto again = h.join("ann");
    CHECK(state(again, as) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
    h.server->advance(10s);
    CHECK(watcher.rest().empty());
    CHECK(again.rest().empty());
    CHECK(again.leave());
    CHECK(diff(watcher, as) == R"({"joins":{},"leaves":{"ann":{"metas":[{"phx_ref":"R1"}]}}})");
  }
  SUBCASE("lost and rejoined with another meta: an update") {
    socket.disconnect();
    auto again = h.join("");
    CHECK(h.presence.track(phx::channel_id{}, "room:a", "ann",
                           phx::payload::json(R"({"n":2})")));  // no such channel: lost at once
    h.server->settle();
    CHECK(
        diff(watcher, as) ==
        R"({"joins":{"ann":{"metas":[{"phx_ref":"R2","phx_ref_prev":"R1","n":2}]}},"leaves":{"ann":{"metas":[{"phx_ref":"R1"}]}}})");
    h.server->advance(3100ms);
    CHECK(diff(watcher, as) == R"({"joins":{},"leaves":{"ann":{"metas":[{"phx_ref":"R2","phx_ref_prev":"R1","n":2}]}}})");
  }
  SUBCASE("of several lost entries a rejoin takes the one with its meta; the others leave") {
    auto second = h.server->connect(), third = h.server->connect();
    auto two = second.join("room:a", R"({"key":"ann"})"), three = third.join("room:a", R"({"key":"ann"})");
    CHECK(two.call("update", R"({"n":2})")->ok());
    CHECK(three.call("update", R"({"n":3})")->ok());
    while (diff(watcher, as) != "none") {
    }
    refs all;
    CHECK(all(h.list()).find(R"({"phx_ref":"R1"},{"phx_ref":"R2","phx_ref_prev":"R3","n":2})") != std::string::npos);
    for (auto* const s : {&socket, &second, &third}) s->disconnect();
    auto again = h.join("");
    CHECK(h.presence.track(phx::channel_id{}, "room:a", "ann",
                           phx::payload::json(R"({"n":2})")));  // lost at once, a second time
    CHECK(watcher.rest().empty());
    h.server->advance(2900ms);
    CHECK(watcher.rest().empty());
    h.server->advance(200ms);
    CHECK(h.list() == "{}");
    std::string const last = diff(watcher, as);
    CHECK(last.starts_with(R"({"joins":{},"leaves":)"));
    CHECK(last.find("\"n\":3") != std::string::npos);
  }
  SUBCASE("left: at once") {
    auto bob = h.join("bob");
    (void)diff(watcher, as);
    CHECK(bob.leave());
    CHECK(diff(watcher, as) == R"({"joins":{},"leaves":{"bob":{"metas":[{"phx_ref":"R2"}]}}})");
  }
  SUBCASE("stopped by itself: at once") {
    for (char const* const event : {"stop", "shut"}) {
      auto bob = h.join("bob");
      (void)diff(watcher, as);
      bob.push(event);
      CHECK(diff(watcher, as).starts_with(R"({"joins":{},"leaves":{"bob":)"));
    }
  }
  SUBCASE("replaced by a rejoin: no change") {
    (void)socket.join("room:a", R"({"key":"ann"})");
    h.server->advance(10s);
    CHECK(watcher.rest().empty());
  }
}

TEST_CASE("presence: the changes of a window are one diff") {
  auto options = as_phoenix();
  options.batch = 100ms;
  presence_node h(options);
  refs as;
  auto watcher = h.watch();
  auto ann = h.join("ann");
  h.server->advance(50ms);
  auto bob = h.join("bob");
  auto brief = h.join("");
  CHECK(h.presence.track(phx::channel_id{}, "room:a", "brief"));  // no such channel: it joins and leaves
  h.server->advance(49ms);
  CHECK(watcher.rest().empty());
  h.server->advance(1ms);
  CHECK(diff(watcher, as) ==
        R"({"joins":{"ann":{"metas":[{"phx_ref":"R1"}]},"bob":{"metas":[{"phx_ref":"R2"}]}},"leaves":{}})");
  h.server->advance(10s);
  CHECK(watcher.rest().empty());
  CHECK(h.presence.track(phx::channel_id{}, "room:a", "brief"));  // alone in its window: no diff is needed
  h.server->advance(10s);
  CHECK(watcher.rest().empty());
}

TEST_CASE("presence: a client that got the state within a window gets the leave too") {
  auto options = as_phoenix();
  options.batch = 100ms;
  presence_node h(options);
  refs as;
  auto watcher = h.watch();
  auto ann = h.join("ann");
  auto late = h.join("");
  CHECK(state(late, as) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
  CHECK(ann.leave());
  h.server->advance(100ms);
  CHECK(diff(late, as) == R"({"joins":{"ann":{"metas":[{"phx_ref":"R1"}]}},"leaves":{"ann":{"metas":[{"phx_ref":"R1"}]}}})");
}

TEST_CASE("presence: a diff reaches the clients of every loop") {
  presence_node h(as_phoenix(), 3);
  refs as;
  auto a = h.join("", 0), b = h.join("", 1), c = h.join("", 2);
  auto ann = h.join("ann", 1);
  for (auto* const one : {&a, &b, &c})
    CHECK(diff(*one, as) == R"({"joins":{"ann":{"metas":[{"phx_ref":"R1"}]}},"leaves":{}})");
  CHECK(h.presence.counts().diffs == 1);
}

TEST_CASE("presence: fetch adds to entries, once for each diff") {
  int calls = 0;  // declared before the house, whose end is a diff too
  presence_node h;
  h.presence.fetch([&](std::string_view topic, phx::payload const& entries) {
    ++calls;
    CHECK(topic == "room:a");
    std::string text(entries.raw());
    for (std::size_t at = 0; (at = text.find("\"metas\"", at)) != std::string::npos; at += 20)
      text.insert(at, R"("user":"u",)");
    return phx::payload::json(text);
  });
  refs as;
  auto watcher = h.watch(), other = h.watch();
  calls = 0;
  auto ann = h.join("ann");
  CHECK(calls == 2);  // her state, and the joins
  CHECK(diff(watcher, as) == R"({"joins":{"ann":{"user":"u","metas":[{"phx_ref":"R1"}]}},"leaves":{}})");
  CHECK(state(ann, as) == R"({"ann":{"user":"u","metas":[{"phx_ref":"R1"}]}})");
  CHECK(as(ann.call("get")->response) == R"({"user":"u","metas":[{"phx_ref":"R1"}]})");
}

TEST_CASE("presence: a fetch that fails changes nothing") {
  presence_node h;
  h.presence.fetch([&](std::string_view, phx::payload const&) { return phx::payload::json("[1]"); });
  refs as;
  auto ann = h.join("ann");
  CHECK(state(ann, as) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
  CHECK(h.presence.counts().fetch_failed == 2);
#ifdef __cpp_exceptions
  presence_node thrower;
  thrower.presence.fetch([&](std::string_view, phx::payload const&) -> phx::payload { throw std::runtime_error("no"); });
  auto bob = thrower.join("bob");
  CHECK(state(bob, as) == R"({"bob":{"metas":[{"phx_ref":"R1"}]}})");
#endif
}

TEST_CASE("presence: handle_metas is called after each diff was sent, and may track") {
  std::vector<std::string> changes;
  refs as;
  presence_node h;
  h.presence.handle_metas([&](phx::presence_change const& c) {
    changes.push_back(as(std::string(c.topic) + ' ' + std::string(c.joins.raw()) + ' ' + std::string(c.leaves.raw()) + ' ' +
                         std::string(c.present.raw())));
    if (changes.size() == 1) CHECK(h.presence.track(phx::channel_id{}, "room:b", "echo"));
  });
  auto bob = h.join("bob");
  CHECK(changes.at(0) == R"(room:a {"bob":{"metas":[{"phx_ref":"R1"}]}} {} {"bob":{"metas":[{"phx_ref":"R1"}]}})");
  CHECK(bob.leave());
  CHECK(changes.back() == R"(room:a {} {"bob":{"metas":[{"phx_ref":"R1"}]}} {})");
}

TEST_CASE("presence: update with a function of the old meta") {
  presence_node h;
  refs as;
  struct counter {
    phx::presence* presence;
    phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
      if (in.event == "track") return room::answer(presence->track(ctx, "k", in.payload));
      return room::answer(presence->update(
          ctx, "k", [](phx::payload const& old) { return phx::payload::json("{\"was\":" + std::string(old.raw()) + "}"); }));
    }
  };
  phx::router<> app;
  app.channel("count:*", [&](phx::router<>::session_type const&) { return counter{&h.presence}; });
  phx::testing::server server(app);
  phx::presence presence(server.endpoint(), as_phoenix());
  h.presence.handle_metas([](phx::presence_change const&) {});
  auto ann = server.connect().join("count:a");
  CHECK(ann.call("more")->response == R"({"reason":"nopresence"})");
  CHECK(ann.call("track", R"({"n":1})")->ok());
  CHECK(ann.call("more")->ok());
  CHECK(as(std::string(h.presence.list("count:a").raw())) ==
        R"({"k":{"metas":[{"phx_ref":"R1","phx_ref_prev":"R2","was":{"n":1}}]}})");
}

TEST_CASE("presence: it and the endpoint may be destroyed in any order") {
  {
    presence_node h;
    auto ann = h.join("ann");
    h.server.reset();  // destroys the sockets, the loops, the endpoint
    CHECK(h.list() == R"({})");
    CHECK(h.presence.track(phx::channel_id{}, "room:a", "k").error().code == errc::already_closed);
  }
  phx::router<> app;
  std::optional<phx::presence> presence;
  presence.emplace(as_phoenix());
  CHECK(presence->track(phx::channel_id{}, "room:a", "k").error().code == errc::already_closed);
  CHECK(presence->list("room:a").raw() == "{}");
  app.channel("room:*", [&](phx::router<>::session_type const&) { return room(*presence); });
  phx::testing::server server(app);
  presence->start(server.endpoint());
  auto socket = server.connect();
  (void)socket.join("room:a", R"({"key":"ann"})");
  presence.reset();
  socket.disconnect();
  server.advance(1h);
}

#ifdef __cpp_exceptions
TEST_CASE("presence: times with which nodes would take each other for down are refused at construction") {
  phx::presence_options options;
  options.nodes.down = 10s;
  CHECK_THROWS_WITH_AS(phx::presence{options}, "tracker_options::down must be at least silent_periods + 1 periods",
                       std::runtime_error);
}
#endif

TEST_CASE("presence: batch and linger may be max()") {
  auto options = as_phoenix();
  options.linger = (phx::duration::max)();
  presence_node h(options);
  refs as;
  auto watcher = h.watch();
  auto socket = h.server->connect();
  (void)socket.join("room:a", R"({"key":"ann"})");
  (void)diff(watcher, as);
  socket.disconnect();
  h.server->advance(24h);
  CHECK(as(h.list()) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
  options.batch = (phx::duration::max)();
  presence_node silent(options);
  auto other = silent.watch();
  auto ann = silent.join("ann");
  silent.server->advance(24h);
  CHECK(other.rest().empty());
}

// ---- several nodes

namespace {
/// Broadcasts its client's messages, on any topic.
struct relay {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    (void)static_cast<bool>(ctx.broadcast(in.event, in.payload));
    return phx::outcome::noreply();
  }
};
}  // namespace

TEST_CASE("presence: clients cannot forge node messages, even if every topic is served") {
  support::bus wire;
  support::bus::node north(wire, "north"), south(wire, "south");
  auto options = as_phoenix();
  presence_node a(north, options), b(south, options);
  a.app.channel<relay>("*");
  auto const entry = phx::detail::make_entry(1, 1, 0, "room:a", "admin", {});
  phx::detail::wire_writer forged(phx::detail::wire_kind::heartbeat, "nobody", 1);
  forged.clocks({});
  phx::detail::written_section const all[] = {{"nobody", 1, 0, 0, 0, phx::detail::dot_set({{1, 1}}), {entry.get()}}};
  forged.sections(all);
  auto client = a.server->connect().join("phx_presence:presence");
  REQUIRE(client.joined());
  CHECK(client.joined()->response == R"({"reason":"unmatched topic"})");
  client.push_bytes("tracker", forged.bytes);
  for (int i = 0; i < 20; ++i) {
    a.server->advance(100ms);
    b.server->advance(100ms);
  }
  CHECK(b.list() == "{}");
  CHECK(b.presence.nodes() == 2);
  CHECK(a.server->connect().join("phx_presence:other").ok());  // not a presence's topic
}

TEST_CASE("presence: two nodes show the same, and each tells its own clients") {
  support::bus wire;
  support::bus::node north(wire, "north"), south(wire, "south");
  auto options = as_phoenix();
  presence_node a(north, options), b(south, options);
  auto const pass = [&](phx::duration d) {
    for (phx::duration t{}; t < d; t += 100ms) {
      a.server->advance(100ms);
      b.server->advance(100ms);
    }
  };
  refs as;
  auto ann = a.join("ann");
  auto bob = b.join("bob");
  pass(4s);
  CHECK(a.presence.nodes() == 2);
  CHECK(b.presence.nodes() == 2);
  CHECK(as(a.list()) == R"({"ann":{"metas":[{"phx_ref":"R1"}]},"bob":{"metas":[{"phx_ref":"R2"}]}})");
  CHECK(as(b.list()) == as(a.list()));
  CHECK(state(ann, as) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
  CHECK(diff(ann, as) == R"({"joins":{"ann":{"metas":[{"phx_ref":"R1"}]}},"leaves":{}})");
  CHECK(diff(ann, as) == R"({"joins":{"bob":{"metas":[{"phx_ref":"R2"}]}},"leaves":{}})");
  CHECK(ann.rest().empty());

  CHECK(bob.call("update", R"({"n":1})")->ok());
  pass(2s);
  CHECK(
      diff(ann, as) ==
      R"({"joins":{"bob":{"metas":[{"phx_ref":"R3","phx_ref_prev":"R2","n":1}]}},"leaves":{"bob":{"metas":[{"phx_ref":"R2"}]}}})");

  // It becomes silent: its entries leave; it is heard again: they are back.
  south.answer = phx::send_status::dropped;
  pass(31s);
  CHECK(a.presence.nodes() == 1);
  CHECK(as(a.list()) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
  CHECK(diff(ann, as) == R"({"joins":{},"leaves":{"bob":{"metas":[{"phx_ref":"R3","phx_ref_prev":"R2","n":1}]}}})");
  CHECK(bob.call("update", R"({"n":2})")->ok());
  pass(2s);
  CHECK(b.presence.counts().unsent > 0);
  south.answer = phx::send_status::ok;
  pass(20s);
  CHECK(as(a.list()) == as(b.list()));
  CHECK(as(a.list()).find(R"("phx_ref_prev":"R3","n":2)") != std::string::npos);

  // Invalid messages on its topic are skipped and counted.
  phx::broadcast const text{"phx_presence:presence", "tracker", phx::payload::json(R"({"a":1})"), {}};
  phx::broadcast const bytes{"phx_presence:presence", "tracker", phx::payload::binary("PT1\1\1x"), {}};
  CHECK(south.broadcast(text) == phx::send_status::ok);
  CHECK(south.broadcast(bytes) == phx::send_status::ok);
  CHECK(a.presence.counts().nodes.garbage == 2);
  CHECK(as(a.list()) == as(b.list()));

  // A goodbye is noticed at once.
  b.server.reset();
  pass(0s);
  a.server->settle();
  CHECK(a.presence.nodes() == 1);
  CHECK(as(a.list()) == R"({"ann":{"metas":[{"phx_ref":"R1"}]}})");
}

TEST_CASE("presence: several threads track, list and end at the same time, and no entry is left over") {
  struct waker {
    void wake() noexcept { woken.store(true, std::memory_order_release); }
    std::atomic<bool> woken{true};
  };
  auto options = as_phoenix();
  options.tracks = 1'000;
  phx::endpoint endpoint;
  phx::presence presence(endpoint, options);
  phx::router<> app;
  app.channel("room:*", [&](phx::router<>::session_type const&) { return room(presence); });
  phx::mount const at{};
  std::atomic<int> done{0};
  std::atomic<std::uint64_t> state_bytes{0};
  auto const work = [&](int number) {
    waker w;
    phx::loop loop(endpoint, w);
    phx::testing::recorder wire;
    {
      phx::admission<phx::router<>::session_type> in{};
      in.serializer = phx::choose(at.offered(), "2.0.0");
      in.session.emplace();
      in.bounds = &at.bounds;
      phx::time_point now{1h};
      phx::socket<phx::testing::recorder::transport_type, phx::router<>> s(loop, app, std::move(in), wire.transport(), now);
      for (int i = 0; i < 50; ++i) {
        now += 1ms;
        std::string const n = std::to_string(number), ref = std::to_string(i);
        std::string const head = "[\"" + ref + "\",\"" + ref + "\",\"room:a\",";
        (void)s.receive(phx::opcode::text, head + R"("phx_join",{"key":"k)" + n + "\"}]", true, now);
        (void)loop.run(now);
        (void)s.receive(phx::opcode::text, head + R"("update",{"n":1}])", true, now);
        (void)s.receive(phx::opcode::text, head + (i % 2 != 0 ? R"("phx_leave",{}])" : R"("list",{}])"), true, now);
        state_bytes += presence.list("room:a").raw().size();
        (void)loop.run(now);
      }
      s.gone(phx::lost::normal);
      (void)loop.run(now);
    }
    ++done;
    // Until all threads are done, diffs may still arrive.
    while (done.load() != 3) {
      (void)loop.run(phx::time_point{2h});
      std::this_thread::yield();
    }
  };
  std::thread one(work, 1), two(work, 2);
  work(3);
  one.join();
  two.join();
  CHECK(presence.list("room:a").raw() == "{}");
  CHECK(state_bytes > 0);
}

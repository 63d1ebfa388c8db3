// Presence when memory fails: each allocation of each operation fails once, alone and with all that follow. An operation is
// done or not done, entries leave, heartbeats continue, and once there is memory all nodes agree.
#include <phx/presence/presence.hpp>

#include <phx/testing/server.hpp>

#include <support/bus.hpp>
#include <support/heap.hpp>

#include <doctest/doctest.h>

#include <new>
#include <set>

#ifdef __cpp_exceptions
namespace {

using namespace std::chrono_literals;
using phx::time_point;
using support::heap;

std::string line(phx::detail::presence_entry const& e) { return e.topic + ' ' + e.key + ' ' + e.json + '\n'; }

/// Some trackers, what each has told its clients, and the messages between them.
struct net {
  explicit net(std::size_t count) {
    options.kept = 3;
    options.message = 150;
    for (std::size_t i = 0; i < count; ++i) start(i, 10);
  }
  void start(std::size_t i, std::uint64_t start) {
    if (i == all.size()) all.emplace_back();
    all[i].tracker = std::make_unique<phx::tracker>(std::string(1, static_cast<char>('a' + i)), start, options);
    all[i].text.clear();
  }
  phx::tracker& operator[](std::size_t i) { return *all[i].tracker; }
  /// Delivers the messages.
  void carry(bool lost = false) {
    for (bool more = true; more;) {
      more = false;
      for (auto& from : all)
        for (auto const& p : from.tracker->take_parcels()) {
          more = true;
          if (!lost)
            for (auto& to : all)
              if (&to != &from && (p.to.empty() || p.to == to.tracker->node())) (void)to.tracker->receive(p.bytes);
        }
    }
  }
  void pass(phx::duration d, bool lost = false) {
    for (time_point const until = now + d; now < until; now += 50ms) {
      for (auto& n : all)
        if (n.tracker->due() <= now) {
          time_point const next = n.tracker->tick(now);
          CHECK(next > now);
          CHECK(next < time_point::max());
        }
      carry(lost);
    }
  }
  /// The entries that each shows.
  std::vector<std::set<std::string>> shown() {
    std::vector<std::set<std::string>> lists;
    for (auto& n : all)
      n.tracker->for_each([list = &lists.emplace_back()](auto const& e) { CHECK(list->insert(line(*e)).second); });
    return lists;
  }
  /// Checks that the changes told to clients add up to the list.
  void check_told() {
    for (auto& n : all) {
      for (auto const& c : n.tracker->take_changes()) {
        bool const sense = c.joined ? n.text.insert(line(*c.entry)).second : n.text.erase(line(*c.entry)) == 1;
        CHECK(sense);
      }
      std::set<std::string> seen;
      n.tracker->for_each([&](auto const& e) { seen.insert(line(*e)); });
      CHECK((n.text == seen));
    }
  }
  struct one {
    std::unique_ptr<phx::tracker> tracker{};
    std::set<std::string> text{};
  };
  phx::tracker_options options{};
  std::vector<one> all{};
  time_point now{1h};
};

/// @param prepare sets up a net. @param operate is called while memory fails; only the net's trackers allocate in it.
template <class Prepare, class Operate>
void each_allocation(std::size_t count, Prepare prepare, Operate operate) {
  std::vector<std::set<std::string>> done;
  {
    net n(count);
    prepare(n);
    operate(n);
    done = n.shown();
  }
  for (bool const all_after : {false, true}) {
    bool reached = true;
    std::size_t tries = 0;
    for (; reached; ++tries) {
      net n(count);
      prepare(n);
      n.check_told();
      auto const before = n.shown();
      bool threw = false;
      {
        heap::failure failing(tries, all_after);
        try {
          operate(n);
        } catch (std::bad_alloc const&) {
          threw = true;
        }
        reached = heap::failure::stop();
      }
      auto const after = n.shown();
      CAPTURE(tries);
      CHECK((after == done || after == before));
      CHECK((!threw || after == before));
      n.check_told();
      n.pass(60s);
      n.check_told();
      auto const last = n.shown();
      for (auto const& list : last) CHECK((list == last[0]));
    }
    CHECK(tries > 1);
    CHECK(tries < 1'000);
  }
}
/// The messages of a tracker, to be received while memory fails.
std::vector<std::string> messages_of(phx::tracker& t) {
  std::vector<std::string> all;
  for (phx::tracker::parcel& p : t.take_parcels()) all.push_back(std::move(p.bytes));
  return all;
}
void populate(net& n) {
  for (int i = 0; i < 6; ++i)
    (void)n[0].join("t" + std::to_string(i % 2), "k" + std::to_string(i % 3), R"("n":"a meta that is long")");
  n.pass(4s);
}

}  // namespace

TEST_CASE("presence without memory: each operation on a node is done or not done") {
  std::string const topic = "a topic that is not short at all", key = "a key that is not short either";
  each_allocation(2, populate, [&](net& n) { (void)n[0].join(topic, key, R"("n":1)"); });
  each_allocation(2, populate, [&](net& n) { (void)n[0].join("t0", "k0", R"("n":1)"); });
  each_allocation(2, populate, [&](net& n) { (void)n[0].update(1, R"("n":2)"); });
}

TEST_CASE("presence without memory: an entry leaves") {
  for (std::size_t fails = 0; fails < 6; ++fails) {
    net n(2);
    populate(n);
    auto const at = n[0].list("t1")->size();
    {
      heap::failure failing(fails, true);
      CHECK(n[0].leave(2));
      CHECK(n[0].leave(4));
    }
    CHECK(n[0].list("t1")->size() == at - 2);
    n.check_told();
    n.pass(5s);
    n.check_told();
    CHECK((n.shown()[0] == n.shown()[1]));
  }
}

TEST_CASE("presence without memory: a tick that cannot send everything sends the rest later") {
  auto const something_new = [](net& n) {
    populate(n);
    (void)n[0].leave(2);
    (void)n[0].join("t2", "new", "");
    n.now += 2s;
  };
  each_allocation(2, something_new, [](net& n) {
    time_point const next = n[0].tick(n.now);
    if (next <= n.now || next > n.now + 2s) throw std::runtime_error("no time to be called at");
  });
  // All other nodes are silent: entries of down nodes are hidden, those of forgotten ones removed.
  each_allocation(
      2,
      [](net& n) {
        populate(n);
        n.pass(25s, true);
        n.now += 10s;
      },
      [](net& n) {
        for (std::size_t i : {0u, 1u}) (void)n[i].tick(n.now);
      });
}

TEST_CASE("presence without memory: a message of another node is merged, or counts as lost") {
  std::vector<std::string> messages;
  auto const receive = [&](net& n) {
    for (std::string const& m : messages) (void)n[1].receive(m);
  };
  SUBCASE("the first message of an unknown node") {
    each_allocation(
        2,
        [&](net& n) {
          (void)n[0].join("t", "a key that is long enough", "");
          (void)n[0].tick(n.now);
          messages = messages_of(n[0]);
          REQUIRE(messages.size() == 1);
        },
        receive);
  }
  SUBCASE("a delta") {
    each_allocation(
        2,
        [&](net& n) {
          populate(n);
          (void)n[0].leave(2);
          (void)n[0].update(3, R"("n":3)");
          (void)n[0].tick(n.now += 2s);
          messages = messages_of(n[0]);
          messages.resize(1);
        },
        receive);
  }
  SUBCASE("it was down") {
    each_allocation(
        2,
        [&](net& n) {
          populate(n);
          n.pass(35s, true);
          (void)n[0].join("t", "a key that is long enough", "");
          (void)n[0].tick(n.now += 2s);
          messages = messages_of(n[0]);
        },
        receive);
  }
  SUBCASE("it was restarted") {
    each_allocation(
        2,
        [&](net& n) {
          populate(n);
          n.start(0, 11);
          (void)n[0].join("t", "a key that is long enough", "");
          (void)n[0].tick(n.now += 2s);
          messages = messages_of(n[0]);
        },
        receive);
  }
  SUBCASE("a full state, the middle piece") {
    each_allocation(
        2,
        [&](net& n) {
          n.pass(3s);
          for (int i = 0; i < 12; ++i) (void)n[0].join("t", "a key that is long enough", "");
          for (phx::detail::dot d = 1; d < 10; d += 2) (void)n[0].leave(d);
          n.pass(2s, true);
          (void)n[1].tick(n.now += 2s);
          phx::detail::wire_writer request(phx::detail::wire_kind::request, "b", 10);
          request.clocks({});
          (void)n[0].receive(request.bytes);
          messages = messages_of(n[0]);
          REQUIRE(messages.size() > 2);
          messages = {messages[1]};
        },
        receive);
  }
  SUBCASE("a request") {
    each_allocation(
        2,
        [&](net& n) {
          populate(n);
          phx::detail::wire_writer request(phx::detail::wire_kind::request, "a", 10);
          request.clocks({});
          (void)n[1].join("t", "one more", "");
          messages = {request.bytes};
        },
        receive);
  }
  SUBCASE("it knows a greater start of this node") {
    each_allocation(
        2,
        [&](net& n) {
          populate(n);
          n.pass(2s);
          n.start(1, 5);
          (void)n[1].join("t", "a key that is long enough", "");
          (void)n[1].join("t", "and another one", "");
          (void)n[1].tick(n.now);
          for (std::string const& m : messages_of(n[1])) (void)n[0].receive(m);
          messages = messages_of(n[0]);
          REQUIRE(messages.size() == 1);
        },
        receive);
  }
}

// ---- with channels, loops and clients

namespace {

struct room {
  explicit room(phx::presence& p) : presence(&p) {}
  phx::presence* presence;
  phx::join_result join(phx::joining&, phx::message const&) { return phx::join_result::ok(); }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "id") ids().push_back(ctx.id());
    if (in.event == "crash") return phx::outcome::stop(phx::exit_reason::error);
    return phx::outcome::reply();
  }
  static std::vector<phx::channel_id>& ids() {
    static std::vector<phx::channel_id> all;
    return all;
  }
};

/// Fails the n-th allocation of presence in a tick: two components, called before and after it, switch the failure on and
/// off.
struct failing_ticks {
  void before(phx::endpoint& at) {
    at.add_ticker(phx::ticker{this,
                              [](void* self, time_point) noexcept {
                                auto& t = *static_cast<failing_ticks*>(self);
                                t.begin = heap::allocations;
                                if (t.armed) heap::fail_on = t.all_after, heap::fail_at = t.begin + t.n;
                                return time_point::max();
                              },
                              [](void*) noexcept {}});
  }
  void after(phx::endpoint& at) {
    at.add_ticker(phx::ticker{&last,
                              [](void* self, time_point) noexcept {
                                auto& t = **static_cast<failing_ticks**>(self);
                                if (!t.armed) return time_point::max();
                                std::size_t const taken = heap::allocations - t.begin;
                                t.reached = heap::failure::stop();
                                t.armed = !t.reached;
                                if (t.armed) t.n -= taken;
                                return time_point::max();
                              },
                              [](void*) noexcept {}});
  }
  failing_ticks* last = this;
  bool armed = false, all_after = false, reached = false;
  std::size_t n = 0, begin = 0;
};

struct node {
  node(support::bus& wire, std::string name, phx::duration linger) : on(wire, std::move(name)) {
    phx::presence_options options;
    options.linger = linger;
    options.start = 1;
    presence.emplace(options);
    app.channel("room:*", [this](phx::router<>::session_type const&) { return room(*presence); });
    phx::mount m;
    m.bounds.idle = phx::duration::zero();
    server.emplace(app, m);
    server->endpoint().attach(on);
    ticks.before(server->endpoint());
    presence->start(server->endpoint());
    ticks.after(server->endpoint());
    watcher.emplace(server->connect().join("room:a"));
    server->settle();
  }
  phx::channel_id channel() {
    clients.push_back(server->connect().join("room:a"));
    (void)clients.back().call("id");
    return room::ids().back();
  }
  /// The refs that a client has after the diffs it received.
  std::set<std::string> const& believed() {
    while (auto const diff = watcher->expect_broadcast("presence_diff")) {
      std::size_t const split = diff->find(R"("leaves":)");
      for (auto const& ref : refs(diff->substr(0, split))) CHECK(clients_refs.insert(ref).second);
      for (auto const& ref : refs(diff->substr(split))) CHECK(clients_refs.erase(ref) == 1);
    }
    return clients_refs;
  }
  std::set<std::string> listed() { return refs(std::string(presence->list("room:a").raw())); }
  static std::set<std::string> refs(std::string const& text) {
    std::set<std::string> all;
    for (std::size_t at = 0; (at = text.find(R"("phx_ref":")", at)) != std::string::npos; at += 11)
      all.insert(text.substr(at + 11, 16));
    return all;
  }

  support::bus::node on;
  failing_ticks ticks{};
  std::optional<phx::presence> presence{};
  phx::router<> app{};
  std::optional<phx::testing::server<phx::router<>>> server{};
  std::optional<phx::testing::channel_client> watcher{};
  std::vector<phx::testing::channel_client> clients{};
  std::set<std::string> clients_refs{};
};

struct pair_of_nodes {
  explicit pair_of_nodes(phx::duration linger = 1s) : a(wire, "a", linger), b(wire, "b", linger) {
    room::ids().clear();
    pass(3s);
  }
  void pass(phx::duration d) {
    for (phx::duration t{}; t < d; t += 50ms) {
      a.server->advance(50ms);
      b.server->advance(50ms);
    }
  }
  void check() {
    pass(20s);
    for (node* const n : {&a, &b}) {
      CHECK((n->believed() == n->listed()));
      CHECK((n->listed() == a.listed()));
      CHECK(n->presence->nodes() == 2);
    }
  }
  support::bus wire{};
  node a, b;
};

/// @param operate gets a channel that is tracked under `known`. @return the result of the operation, for that.
template <class Operate, class Before, class After>
void each_allocation_of(Operate operate, Before nothing_happened, After happened) {
  for (bool const all_after : {false, true}) {
    bool reached = true;
    for (std::size_t tries = 0; reached; ++tries) {
      pair_of_nodes n;
      phx::channel_id const channel = n.a.channel();
      REQUIRE(n.a.presence->track(channel, "room:a", "known", phx::payload::json(R"({"n":1})")));
      n.pass(3s);
      std::string const before(n.a.presence->list("room:a").raw());
      bool ok = false;
      {
        heap::failure failing(tries, all_after);
        ok = operate(*n.a.presence, channel);
        reached = heap::failure::stop();
      }
      CAPTURE(tries);
      std::string const after(n.a.presence->list("room:a").raw());
      if (ok)
        CHECK(happened(after));
      else
        CHECK(nothing_happened(before, after));
      n.check();
      // The channel can still be tracked under the same number of keys, and all of them leave with it.
      CHECK(n.a.presence->track(channel, "room:a", "last"));
      CHECK(n.a.clients.back().leave());
      n.check();
      CHECK(n.a.listed().empty());
    }
  }
}

}  // namespace

TEST_CASE("presence without memory: track, update and untrack are done, or return an error") {
  auto const same = [](std::string const& before, std::string const& after) { return before == after; };
  phx::payload const meta = phx::payload::json(R"({"n":2,"text":"a meta that is long enough to be allocated"})");
  each_allocation_of(
      [&](phx::presence& p, phx::channel_id const& c) {
        auto const tracked = p.track(c, "room:a", "a key that is long enough", meta);
        return tracked || tracked.error().code != phx::errc::no_memory;
      },
      same, [](std::string const& after) { return after.find("a key that is long") != std::string::npos; });
  each_allocation_of(
      [&](phx::presence& p, phx::channel_id const& c) {
        auto const updated = p.update(c, "room:a", "known", meta);
        return updated || updated.error().code != phx::errc::no_memory;
      },
      same, [](std::string const& after) { return after.find("\"n\":2") != std::string::npos; });
  each_allocation_of(
      [&](phx::presence& p, phx::channel_id const& c) {
        p.untrack(c, "room:a", "known");
        return true;
      },
      same, [](std::string const& after) { return after == "{}"; });
}

TEST_CASE("presence without memory: an entry is taken over or continues to linger") {
  for (bool const other_meta : {false, true})
    for (bool const all_after : {false, true}) {
      bool reached = true;
      for (std::size_t tries = 0; reached; ++tries) {
        pair_of_nodes n;
        phx::payload const meta = phx::payload::json(R"({"n":1})");
        REQUIRE(n.a.presence->track(n.a.channel(), "room:a", "known", meta));
        n.a.clients.back().push("crash");
        phx::channel_id const next = n.a.channel();
        std::string const before(n.a.presence->list("room:a").raw());
        bool ok = false;
        {
          heap::failure failing(tries, all_after);
          ok =
              n.a.presence->track(next, "room:a", "known", other_meta ? phx::payload::json(R"({"n":2})") : meta).has_value();
          reached = heap::failure::stop();
        }
        CAPTURE(tries);
        CHECK((ok || before == n.a.presence->list("room:a").raw()));
        n.check();
        CHECK(n.a.listed().size() == (ok ? 1u : 0u));
        CHECK(n.a.clients.back().leave());
        n.check();
        CHECK(n.a.listed().empty());
      }
    }
}

TEST_CASE("presence without memory: the end of a channel removes its entries") {
  // Called before and after presence at the end of a channel: the last watcher is called first.
  struct hook : phx::detail::end_watch {
    hook(bool starts, std::size_t fails_at, bool fails_on) : start(starts), n(fails_at), all_after(fails_on) {
      ended = [](phx::detail::end_watch* self, phx::exit_reason) noexcept {
        auto const& h = *static_cast<hook*>(self);
        if (h.start)
          heap::fail_on = h.all_after, heap::fail_at = heap::allocations + h.n;
        else
          heap::failure::stop();
      };
    }
    bool start;
    std::size_t n;
    bool all_after;
  };
  for (phx::duration const linger : {0ms, 1000ms})
    for (std::size_t tries = 0; tries < 8; ++tries) {
      pair_of_nodes n(linger);
      hook last(false, 0, false), first(true, tries, true);
      phx::channel_id const channel = n.a.channel();
      REQUIRE(phx::detail::watch_access::watch(channel, &last));
      n.a.server->settle();
      REQUIRE(n.a.presence->track(channel, "room:a", "one"));
      REQUIRE(n.a.presence->track(channel, "room:a", "two"));
      n.a.server->settle();
      REQUIRE(phx::detail::watch_access::watch(channel, &first));
      n.pass(2s);
      CHECK(n.b.listed().size() == 2);
      n.a.clients.back().push("crash");
      n.check();
      CHECK(n.a.listed().empty());
    }
}

TEST_CASE("presence without memory: ticks and messages between nodes continue") {
  std::size_t tried = 0;
  for (bool const all_after : {false, true})
    for (int rounds = 1; rounds <= 3; ++rounds) {
      bool reached = true;
      for (std::size_t tries = 0; reached; ++tries) {
        pair_of_nodes n;
        phx::channel_id const channel = n.a.channel(), other = n.a.channel();
        REQUIRE(n.a.presence->track(channel, "room:a", "one"));
        REQUIRE(n.b.presence->track(n.b.channel(), "room:a", "three"));
        reached = false;
        // This many failures in a row.
        for (int i = 0; i < rounds; ++i) {
          REQUIRE(n.a.presence->track(other, "room:a", "two" + std::to_string(i)));
          n.a.ticks.n = tries;
          n.a.ticks.all_after = all_after;
          n.a.ticks.reached = false;
          n.a.ticks.armed = true;
          n.pass(i == 0 ? 1600ms : 200ms);
          reached = reached || n.a.ticks.reached;
        }
        n.a.ticks.armed = false;
        CAPTURE(tries);
        n.check();
        CHECK(n.a.listed().size() == 2 + static_cast<std::size_t>(rounds));
        ++tried;
        REQUIRE(tries < 300);
      }
    }
  CHECK(tried > 20);
}
#endif

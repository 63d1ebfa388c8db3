#include <phx/pubsub/pubsub.hpp>

#include <support/bus.hpp>
#include <support/room.hpp>

#include <thread>

using namespace support;

namespace {

/// Two servers on one bus.
struct nodes {
  bus between{};
  bus::node name_a{between, "a"}, name_b{between, "b"};
  journal log{};
  struct named : rooms {
    explicit named(journal& to) : log(&to) {}
    journal* log;
    phx::connect_outcome<user> connect(phx::connect_info const& c) {
      phx::connected<user> in{{log, std::string(c.param("id").value_or("nobody"))}};
      if (auto const id = c.param("id")) in.id = "user:" + std::string(*id);
      return in;
    }
  } dispatcher{log};
  phx::testing::server<named> a{dispatcher}, b{dispatcher, {}, 2};

  nodes() {
    a.endpoint().attach(name_a);
    b.endpoint().attach(name_b);
  }
  ~nodes() { settle(); }
  /// Runs both until nothing is left to deliver.
  void settle() {
    for (int i = 0; i < 4; ++i) a.settle(), b.settle();
  }
};

/// Records what it receives, and may call a function.
struct recording_listener {
  texts lines{};
  void (*then)(recording_listener&) noexcept = nullptr;
  phx::endpoint* with = nullptr;
  [[nodiscard]] phx::listener as_listener() {
    return {this, [](void* self, phx::broadcast const& b) noexcept {
              auto& e = *static_cast<recording_listener*>(self);
              e.lines.push_back(std::string(b.topic) + ' ' + std::string(b.event) + ' ' + std::string(b.payload.raw()));
              if (e.then != nullptr) e.then(e);
            }};
  }
};

}  // namespace

TEST_CASE("pubsub: a broadcast reaches the subscribers of every node once, on every loop") {
  nodes n;
  auto ann = n.a.connect().join("room:a");
  auto ben = n.b.connect({}, 0).join("room:a"), cat = n.b.connect({}, 1).join("room:a");
  auto deaf = n.b.connect().join("room:b");
  ann.push("shout", R"({"n":12345678901234567890})");
  n.settle();
  for (auto* c : {&ann, &ben, &cat}) CHECK(c->rest() == texts{R"(shout {"n":12345678901234567890})"});
  CHECK(deaf.rest() == texts{});
  CHECK(n.b.endpoint().broadcast("room:a", "news", {}) == phx::errc::none);
  n.settle();
  for (auto* c : {&ann, &ben, &cat}) CHECK(c->rest().back() == "news {}");
}

TEST_CASE("pubsub: the channel that broadcast_from excludes is excluded on its own node only") {
  nodes n;
  auto ann = n.a.connect().join("room:a"), too = n.a.connect().join("room:a");
  auto ben = n.b.connect().join("room:a");
  CHECK(ann.call("whisper", R"({"x":1})")->ok());
  n.settle();
  CHECK(ann.rest() == texts{});
  CHECK(too.rest() == texts{R"(whisper {"x":1})"});
  CHECK(ben.rest() == texts{R"(whisper {"x":1})"});
}

TEST_CASE("pubsub: an event from another node is intercepted like a local one") {
  nodes n;
  auto ann = n.a.connect("id=ann").join("room:a");
  auto ben = n.b.connect("id=ben").join("room:a");
  CHECK(ann.call("masked")->ok());
  CHECK(ann.call("muted")->ok());
  n.settle();
  CHECK(ann.rest() == texts{R"(masked {"seen_by":"ann"})"});
  CHECK(ben.rest() == texts{R"(masked {"seen_by":"ben"})"});
}

TEST_CASE("pubsub: bytes are sent as bytes") {
  nodes n;
  auto ben = n.b.connect().join("room:a");
  CHECK(n.a.endpoint().broadcast("room:a", "raw", phx::payload::binary(std::string_view("\0\xff", 2))) == phx::errc::none);
  n.settle();
  CHECK(ben.rest() == texts{"raw " + std::string("\0\xff", 2)});
}

TEST_CASE("pubsub: publish, disconnect and a channel_id reach the other nodes") {
  nodes n;
  auto ann = n.a.connect().join("room:a");
  auto there = n.b.connect().join("room:elsewhere"), ben = n.b.connect().join("room:a");
  ann.push("elsewhere", R"({"x":2})");
  n.settle();
  CHECK(there.rest() == texts{R"(news {"x":2})"});
  CHECK(n.log.ids["room:a"].broadcast("cast", {}) == phx::send_status::ok);  // ben's, who joined last
  n.settle();
  CHECK(ann.rest() == texts{"cast {}"});
  CHECK(ben.rest() == texts{"cast {}"});

  auto same = n.b.connect("id=ann"), other = n.b.connect("id=bob");
  auto local = n.a.connect("id=ann");
  CHECK(ann.call("disconnect")->ok());
  n.settle();
  CHECK(local.close_code() == 1001);
  CHECK(same.close_code() == 1001);
  CHECK(other.connected());
  CHECK(n.a.endpoint().disconnect("user:bob") == phx::errc::none);
  n.settle();
  CHECK(other.close_code() == 1001);
}

TEST_CASE("pubsub: a local broadcast stays on this node") {
  nodes n;
  auto ann = n.a.connect().join("room:a"), ben = n.b.connect().join("room:a");
  CHECK(n.a.endpoint().local_broadcast("room:a", "near", {}) == phx::errc::none);
  CHECK(n.a.endpoint().local_broadcast("room:a", "near", phx::payload::json("{")) == phx::errc::invalid_payload);
  CHECK(n.a.loop().publish_local({"room:a", "nearer", phx::payload{}, {}}) == phx::errc::none);
  n.settle();
  CHECK(ann.rest() == texts{"nearer {}", "near {}"});
  CHECK(ben.rest() == texts{});
}

TEST_CASE("pubsub: while the others are unreachable this node is served, and lost messages are reported and counted") {
  watcher seen;  // outlives the loop
  nodes n;
  n.a.loop().observe(seen);
  auto ann = n.a.connect().join("room:a"), ben = n.b.connect().join("room:a");
  for (auto const answer : {phx::send_status::dropped, phx::send_status::closed}) {
    n.name_a.answer = answer;
    CHECK(n.a.endpoint().broadcast("room:a", "x", {}) == phx::errc::nodes_not_reached);
  }
  CHECK(n.a.endpoint().disconnect("user:nobody") == phx::errc::nodes_not_reached);
  CHECK(n.a.endpoint().unsent() == 3);
  // A channel may test the result, and then continues.
  CHECK(ann.call("try_shout")->response == R"("delivered on this node, but the other nodes could not be reached")");
  CHECK(ann.call("shout_then_reply")->ok());
  CHECK(seen.count("nodes_not_reached room:a shout") == 2);
  CHECK(n.a.endpoint().unsent() == 5);
  CHECK(n.log.ids.count("room:a") == 1);
  n.settle();
  CHECK(ann.rest() == texts{"shout {}", "x {}", "x {}", "shout {}"});
  CHECK(ben.rest() == texts{});
  n.name_a.answer = phx::send_status::congested;  // accepted
  CHECK(n.a.endpoint().broadcast("room:a", "x", {}) == phx::errc::none);
  n.settle();
  CHECK(ben.rest() == texts{"x {}"});
}

TEST_CASE("pubsub: a broadcast that no local subscriber can get is not sent either") {
  nodes n;
  auto ann = n.a.connect().join("room:a"), ben = n.b.connect().join("room:a");
  CHECK(n.a.loop().publish({"room:a", "x", phx::payload::json("[1]"), {}}) == phx::errc::not_an_object);
  CHECK(n.a.endpoint().broadcast("room:a", "x", phx::payload::json("{")) == phx::errc::invalid_payload);
  n.settle();
  CHECK(ben.rest() == texts{});
}

TEST_CASE("pubsub: a node has a name, and a message for one node arrives there") {
  phx::endpoint alone;
  CHECK(alone.node_name() == "nonode@nohost");
  CHECK(alone.to_other_nodes({"t", "e", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(alone.to_node("nonode@nohost", {"t", "e", phx::payload{}, {}}) == phx::send_status::closed);
  CHECK(alone.unsent() == 0);

  nodes n;
  CHECK(n.a.endpoint().node_name() == "a");
  auto ann = n.a.connect().join("room:a"), ben = n.b.connect().join("room:a");
  CHECK(n.a.endpoint().to_other_nodes({"room:a", "others", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(n.a.endpoint().to_node("a", {"room:a", "self", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(n.a.endpoint().to_node("b", {"room:a", "b", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(n.a.endpoint().to_node("c", {"room:a", "c", phx::payload{}, {}}) == phx::send_status::ok);
  n.settle();
  CHECK(ann.rest() == texts{"self {}"});
  CHECK(ben.rest() == texts{"others {}", "b {}"});
}

TEST_CASE("pubsub: a topic_listener gets what other nodes publish on its topic, and the loops do not") {
  nodes n;
  recording_listener first, second, other;
  n.b.endpoint().listen("phx_presence:x", first.as_listener());
  n.b.endpoint().listen("phx_presence:x", second.as_listener());
  n.b.endpoint().listen("phx_presence:y", other.as_listener());
  std::size_t const woken = n.b.loops().waker(0).count();
  CHECK(n.a.endpoint().to_other_nodes({"phx_presence:x", "pub", phx::payload::json(R"({"a":1})"), {}}) ==
        phx::send_status::ok);
  CHECK(n.b.endpoint().to_node("b", {"phx_presence:x", "heartbeat", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(n.b.endpoint().to_other_nodes({"phx_presence:x", "mine", phx::payload{}, {}}) == phx::send_status::ok);
  texts const all{R"(phx_presence:x pub {"a":1})", "phx_presence:x heartbeat {}"};
  CHECK(first.lines == all);
  CHECK(second.lines == all);
  CHECK(other.lines == texts{});
  CHECK(n.b.loops().waker(0).count() == woken);

  n.b.endpoint().unlisten("phx_presence:x", &first);
  n.b.endpoint().unlisten("phx_presence:x", &first);
  n.b.endpoint().unlisten("phx_presence:z", &second);
  CHECK(n.a.endpoint().to_other_nodes({"phx_presence:x", "pub", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(first.lines.size() == 2);
  CHECK(second.lines.size() == 3);
  n.b.endpoint().unlisten("phx_presence:x", &second);
  CHECK(n.a.endpoint().to_other_nodes({"phx_presence:x", "pub", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(n.b.loops().waker(0).count() == woken + 1);  // without listeners it is a topic like any other
}

TEST_CASE("pubsub: a listener may publish and listen, also to itself") {
  nodes n;
  recording_listener of_a, of_b, late;
  of_b.with = &n.b.endpoint();
  of_b.then = [](recording_listener& e) noexcept {
    if (e.lines.size() > 3) return;
    (void)e.with->to_other_nodes({"t", "answer", phx::payload{}, {}});
    (void)e.with->to_node("b", {"t", "self", phx::payload{}, {}});
  };
  n.a.endpoint().listen("t", of_a.as_listener());
  n.b.endpoint().listen("t", of_b.as_listener());
  CHECK(n.a.endpoint().to_other_nodes({"t", "ask", phx::payload{}, {}}) == phx::send_status::ok);
  CHECK(of_b.lines == texts{"t ask {}", "t self {}", "t self {}", "t self {}"});
  CHECK(of_a.lines == texts(3, "t answer {}"));
}

TEST_CASE("pubsub: deliver returns how far behind the loops are") {
  phx::endpoint e;
  phx::testing::fake_waker w[2];
  phx::limits narrow;
  narrow.mailbox = 4;
  phx::loop slow(e, w[0], narrow), wide(e, w[1]);
  phx::broadcast const b{"a", "b", phx::payload{}, {}};
  CHECK(e.deliver(b) == phx::send_status::ok);
  CHECK(e.deliver(b) == phx::send_status::ok);
  CHECK_FALSE(e.congested());
  CHECK(e.deliver(b) == phx::send_status::congested);
  CHECK(e.congested());
  CHECK(e.deliver(b) == phx::send_status::congested);
  CHECK(e.deliver(b) == phx::send_status::dropped);
  CHECK(e.deliver({"user:ann", "disconnect", phx::payload{}, {}}) == phx::send_status::congested);
  CHECK(e.deliver({"a", "b", phx::payload::json("{"), {}}) == phx::send_status::dropped);
  CHECK(slow.dropped() == 1);
  CHECK(wide.dropped() == 0);
  (void)slow.run(phx::time_point{});
  CHECK_FALSE(e.congested());
  CHECK(e.deliver(b) == phx::send_status::ok);
}

TEST_CASE("pubsub: destroying an endpoint stops its pubsub, and one that fails to start is not attached") {
  bus between;
  bus::node a(between, "a"), b(between, "b");
  {
    phx::endpoint e, other;
    e.attach(a);
    other.attach(b);
  }
  CHECK(a.stops == 1);
  CHECK(b.stops == 1);
#ifdef __cpp_exceptions
  struct refuses {
    void start(phx::endpoint&) { throw std::runtime_error("no"); }
    void stop() noexcept { ++stops; }
    [[nodiscard]] std::string_view node_name() const noexcept { return "never"; }
    phx::send_status broadcast(phx::broadcast const&) noexcept { return phx::send_status::ok; }
    phx::send_status direct_broadcast(std::string_view, phx::broadcast const&) noexcept { return phx::send_status::ok; }
    int stops = 0;
  } no;
  {
    phx::endpoint e;
    CHECK_THROWS(e.attach(no));
    CHECK(e.node_name() == "nonode@nohost");
  }
  CHECK(no.stops == 0);
#endif
}

TEST_CASE("pubsub: threads publish, listen and serve at the same time, and each one's messages keep their order") {
  constexpr int each = 2'000;
  bus between;
  bus::node name[2] = {{between, "a"}, {between, "b"}};
  phx::endpoint e[2];
  e[0].attach(name[0]);
  e[1].attach(name[1]);
  struct counting {
    std::atomic<int> got{0};
    std::atomic<bool> disordered{false};
    int next[2] = {0, 0};
    std::mutex mutex{};
    static void heard(void* self, phx::broadcast const& b) noexcept {
      auto& me = *static_cast<counting*>(self);
      std::lock_guard const hold(me.mutex);
      int& next = me.next[b.event == "first" ? 0 : 1];
      if (b.payload.raw() != std::to_string(next++)) me.disordered = true;
      ++me.got;
    }
  } stays;
  e[1].listen("t", {&stays, counting::heard});
  struct {
    std::atomic<int> calls{0};
  } comes_and_goes;
  auto const publisher = [&](std::string_view event) {
    return std::thread([&e, event] {
      for (int i = 0; i < each; ++i) {
        (void)e[0].to_other_nodes({"t", event, phx::payload::json(std::to_string(i)), {}});
        (void)e[0].broadcast("room:a", "x", {});
      }
    });
  };
  std::atomic<bool> done{false};
  std::thread loops([&] {
    while (!done) {
      phx::testing::fake_waker w;
      phx::loop l(e[1], w);
      (void)l.run(phx::time_point{});
    }
  });
  std::thread listeners([&] {
    while (!done) {
      e[1].listen("t", {&comes_and_goes, [](void* self, phx::broadcast const&) noexcept {
                          ++static_cast<decltype(comes_and_goes)*>(self)->calls;
                        }});
      e[1].unlisten("t", &comes_and_goes);
    }
  });
  std::thread one = publisher("first"), two = publisher("second");
  one.join();
  two.join();
  done = true;
  loops.join();
  listeners.join();
  CHECK(stays.got == 2 * each);
  CHECK_FALSE(stays.disordered);
  e[1].unlisten("t", &stays);
}

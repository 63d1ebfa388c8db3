#include <phx/socket/dispatcher.hpp>

#include <support/room.hpp>

#include <algorithm>
#include <deque>

// The concept's archetype and its near misses are in tests/archetype. This is a dispatcher whose channels live on another
// thread; only their addresses are stored in the socket.

using namespace support;

namespace {

struct order {
  enum { join, in, end } kind;
  phx::channel_id channel;
  std::string topic, event;
  phx::payload data{};
  phx::reply_to answer{};
  phx::ended_channel last{};
};
struct remote_dispatcher {
  struct session_type {
    std::string user;
  };
  using channel_type = phx::channel_id;
  std::deque<order>& there;

  phx::connect_outcome<session_type> connect(phx::connect_info const& info) {
    return phx::connected<session_type>{{std::string(info.param("user").value_or("nobody"))}};
  }
  bool matches(std::string_view topic) noexcept { return topic.starts_with("match:"); }
  phx::join_result join(session_type&, phx::joining& j, phx::message const& in, phx::channel_place<channel_type>& place) {
    there.push_back({order::join, j.id(), std::string(in.topic), {}, in.payload, {}, {}});
    place.emplace(j.id());
    return phx::join_result::later(j.now() + 5s);
  }
  phx::outcome handle_in(channel_type& ch, phx::context& ctx, phx::message const& in) {
    there.push_back({order::in, ch, std::string(ctx.topic()), std::string(in.event), in.payload, ctx.reply(), {}});
    return phx::outcome::noreply();
  }
  void terminate(channel_type& ch, phx::context& ctx, phx::exit_reason reason) noexcept {
    there.push_back({order::end, ch, std::string(ctx.topic()), std::string(name_of(reason)), {}, {}, ctx.after_end()});
  }
};
static_assert(phx::Dispatcher<remote_dispatcher>);

/// Runs the other thread's work, when the test calls it.
texts work(std::deque<order>& inbox) {
  texts seen;
  while (!inbox.empty()) {
    order const o = std::move(inbox.front());
    inbox.pop_front();
    seen.push_back((o.kind == order::join ? "join " : o.kind == order::in ? "in " : "end ") + o.topic + " " + o.event);
    if (o.kind == order::join) {
      o.channel.joined(phx::payload::json(R"({"welcome":true})"));
      o.channel.push("snapshot", phx::payload::json(R"({"tick":1})"));
    } else if (o.kind == order::in) {
      if (o.event == "shout") o.channel.broadcast("shout", o.data);
      o.answer(phx::status::ok, o.data);
      if (o.event == "quit") o.channel.exit(phx::exit_reason::normal);
      if (o.event == "boom") o.channel.exit(phx::exit_reason::error);
    }
  }
  return seen;
}

}  // namespace

TEST_CASE("dispatcher: channels on another thread: messages are forwarded, replies come from there, exits close or error") {
  std::deque<order> there;
  remote_dispatcher d{there};
  phx::testing::server server(d);
  auto client = server.connect("user=ann");
  auto m = client.join("match:1");
  CHECK_FALSE(m.joined().has_value());
  CHECK(work(there) == texts{"join match:1 "});
  server.settle();
  CHECK(m.joined() == phx::testing::received_reply{"ok", R"({"welcome":true})"});
  CHECK(m.expect_push("snapshot") == R"({"tick":1})");

  auto const ref = m.push("shout", R"({"n":1})");
  (void)work(there);
  server.settle();
  // Posted in this order, so they arrive in it.
  CHECK(m.rest() == texts{"shout {\"n\":1}", "reply ok {\"n\":1}"});
  CHECK(m.expect_reply(ref).has_value());

  m.push("quit");
  CHECK(work(there) == texts{"in match:1 quit"});
  server.settle();
  CHECK(m.expect_close());
  CHECK(work(there) == texts{"end match:1 normal"});

  auto again = client.join("match:1");
  (void)work(there);
  server.settle();
  again.push("boom");
  (void)work(there);
  server.settle();
  CHECK(again.expect_error());
  CHECK(work(there) == texts{"end match:1 error"});
}

TEST_CASE("dispatcher: a channel on another thread pushes after its end by the address that terminate was given") {
  std::deque<order> there;
  remote_dispatcher d{there};
  watcher seen;
  phx::testing::conversation<remote_dispatcher> c(d, "2.0.0", {}, {"ann"}, {});
  c.loop().observe(seen);
  auto const join = [&](std::string const& ref) {
    c.in("[" + ref + "," + ref + R"(,"match:1","phx_join",{}])");
    (void)work(there);
    c.settle();
    (void)c.out();
  };
  auto const last = [&] {
    REQUIRE(there.size() == 1);
    phx::ended_channel const of = there.front().last;
    there.clear();
    return of;
  };
  phx::payload const bye = phx::payload::json(R"({"message":"bye!"})");
  join("\"1\"");
  c.in(R"(["1","2","match:1","phx_leave",{}])");
  CHECK(c.out() == texts{reply("\"1\"", "\"2\"", "ok", "{}", "match:1"), ended("\"1\"", false, "match:1")});
  phx::ended_channel const left = last();
  CHECK(left.push("you_left", bye) == phx::send_status::ok);
  CHECK(left.push("data", phx::payload::binary("x")) == phx::send_status::ok);
  c.settle();
  CHECK(c.out() == texts{pushed("you_left", R"({"message":"bye!"})", "\"1\"", "match:1"),
                         std::string("\x00\x01\x07\x04", 4) + "1match:1datax"});
  // A payload that the serializer cannot encode: there is no channel to crash.
  seen.take();
  (void)left.push("array", phx::payload::json("[1]"));
  c.settle();
  CHECK(c.out().empty());
  CHECK(seen.count("not_encoded match:1 array") == 1);
  // Once the client has joined again it gets nothing of the ended channel.
  join("2");
  CHECK(left.push("you_left", bye) == phx::send_status::ok);
  c.settle();
  CHECK(c.out().empty());
  // Refs are echoed unchanged; a crash is sent first, then the pushes of the channel.
  c.in(R"([2,3,"match:1","boom",{}])");
  (void)work(there);
  c.settle();
  CHECK(c.out() == texts{reply("2", "3", "ok", "{}", "match:1"), ended("2", true, "match:1")});
  phx::ended_channel const crashed = last();
  (void)crashed.push("you_left", bye);
  c.settle();
  CHECK(c.out() == texts{pushed("you_left", R"({"message":"bye!"})", "2", "match:1")});
  // A join that was not answered ok has no client, and neither has a connection that has ended.
  c.in(R"(["4","4","match:1","phx_join",{}])");
  there.front().channel.refused();
  there.clear();
  c.settle();
  (void)c.out();
  CHECK(last().push("you_left", bye) == phx::send_status::closed);
  join("\"5\"");
  c.gone();
  CHECK(last().push("you_left", bye) == phx::send_status::closed);
  CHECK(crashed.push("you_left", bye) == phx::send_status::ok);
  c.settle();
  CHECK(c.out().empty());
  CHECK(phx::ended_channel{}.push("x", {}) == phx::send_status::closed);
}

TEST_CASE("dispatcher: for a refused join that made a channel, terminate runs after the reply") {
  struct refusing {
    struct session_type {};
    using channel_type = std::string;
    texts log{};
    phx::connect_outcome<session_type> connect(phx::connect_info const&) { return phx::connected<session_type>{}; }
    bool matches(std::string_view) noexcept { return true; }
    phx::join_result join(session_type&, phx::joining& j, phx::message const& in, phx::channel_place<channel_type>& place) {
      place.emplace(j.topic());
      if (in.topic == "watching") return phx::join_result::ok();
      return phx::join_result::error(phx::payload::json(R"({"reason":"full"})"));
    }
    phx::outcome handle_in(channel_type&, phx::context&, phx::message const&) { return phx::outcome::noreply(); }
    void terminate(channel_type& ch, phx::context& ctx, phx::exit_reason reason) noexcept {
      log.push_back(ch + " " + std::string(name_of(reason)));
      ctx.push("nowhere", {});
      ctx.publish("watching", "refused", {});
    }
  } d;
  phx::testing::conversation<refusing> c(d, "2.0.0", {}, {}, {});
  c.in(R"(["0","0","watching","phx_join",{}])");
  (void)c.out();
  c.in(R"(["1","1","x","phx_join",{}])");
  CHECK(c.out() ==
        texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"full"})", "x"), shouted("refused", "{}", "watching")});
  CHECK(d.log == texts{"x shutdown"});
  CHECK(c.loop().topics() == 1);
  CHECK(c.loop().channels() == 1);
}

TEST_CASE("dispatcher: terminate runs once for pending and replaced channels too") {
  std::deque<order> there;
  remote_dispatcher d{there};
  phx::testing::server server(d);
  auto client = server.connect();
  (void)client.join("match:1");
  (void)client.join("match:1");
  CHECK(there.size() == 3);
  CHECK(there[1].event == "replaced");
  work(there);
  server.settle();
  (void)client.join("match:1");
  work(there);
  (void)client.join("match:2");
  client.disconnect();
  texts ends;
  for (order const& o : there)
    if (o.kind == order::end) ends.push_back(o.topic + " " + o.event);
  std::sort(ends.begin(), ends.end());
  CHECK(ends == texts{"match:1 closed", "match:2 closed"});
}

TEST_CASE("dispatcher: one that replies at once, and intercepts by channel") {
  struct picky {
    struct session_type {};
    struct channel_type {
      bool listens;
    };
    phx::connect_outcome<session_type> connect(phx::connect_info const&) { return phx::connected<session_type>{}; }
    bool matches(std::string_view) noexcept { return true; }
    phx::join_result join(session_type&, phx::joining&, phx::message const& in, phx::channel_place<channel_type>& place) {
      if (in.payload.raw() == "1") return phx::join_result::error(phx::payload::json("[1]"));
      place.emplace(in.payload.raw() == "2");
      return phx::join_result::ok(phx::payload::json("[2]"));
    }
    phx::outcome handle_in(channel_type&, phx::context& ctx, phx::message const& in) {
      ctx.broadcast(in.event, in.payload);
      return phx::outcome::noreply();
    }
    void terminate(channel_type&, phx::context&, phx::exit_reason) noexcept {}
    std::span<std::string_view const> intercepts(channel_type const& c) noexcept {
      static constexpr std::string_view all[] = {"secret"};
      return c.listens ? std::span<std::string_view const>(all) : std::span<std::string_view const>();
    }
    phx::outcome handle_out(channel_type&, phx::context& ctx, phx::broadcast const& b) {
      ctx.push("heard " + std::string(b.event), {});
      return phx::outcome::noreply();
    }
  } d;
  phx::testing::server server(d);
  CHECK(server.connect().join("x", "1").joined() == phx::testing::received_reply{"error", "[1]"});
  auto listens = server.connect().join("x", "2");
  auto plain = server.connect().join("x", "3");
  CHECK(listens.joined() == phx::testing::received_reply{"ok", "[2]"});
  plain.push("secret");
  CHECK(plain.rest() == texts{"secret {}"});
  CHECK(listens.rest() == texts{"heard secret {}"});
}

TEST_CASE(
    "dispatcher: the channel of a join that crashes is destroyed without terminate; one that was accepted must exist") {
  struct crashing {
    struct session_type {};
    struct channel_type {  // neither copied nor moved
      explicit channel_type(int& count) : alive(&count) { ++count; }
      channel_type(channel_type const&) = delete;
      channel_type& operator=(channel_type const&) = delete;
      ~channel_type() { --*alive; }
      int* alive;
    };
    int alive = 0, terminated = 0;
    phx::connect_outcome<session_type> connect(phx::connect_info const&) { return phx::connected<session_type>{}; }
    bool matches(std::string_view) noexcept { return true; }
    phx::join_result join(session_type&, phx::joining&, phx::message const& in, phx::channel_place<channel_type>& place) {
      if (in.topic == "empty") return phx::join_result::ok();
      if (in.topic == "never") return phx::join_result::later(phx::time_point::max());
      place.emplace(alive);
#ifdef __cpp_exceptions
      if (in.topic == "throws") throw std::runtime_error("after its construction");
#endif
      if (in.topic == "crashes") return phx::join_result::crash("on purpose");
      return phx::join_result::ok();
    }
    phx::outcome handle_in(channel_type&, phx::context&, phx::message const&) { return phx::outcome::noreply(); }
    void terminate(channel_type&, phx::context&, phx::exit_reason) noexcept { ++terminated; }
  } d;
  watcher seen;
  phx::testing::conversation<crashing> c(d, "2.0.0", {}, {}, {});
  c.loop().observe(seen);
#ifdef __cpp_exceptions
  texts const topics{"throws", "crashes", "empty", "never"};
#else
  texts const topics{"crashes", "empty", "never"};
#endif
  for (std::string const& topic : topics) {
    c.in(R"(["1","1",")" + topic + R"(","phx_join",{}])");
    CHECK(c.out() == texts{reply("\"1\"", "\"1\"", "error", R"({"reason":"join crashed"})", topic)});
    CHECK(d.alive == 0);
    CHECK(d.terminated == 0);
  }
  CHECK(c.loop().channels() == 0);
  CHECK(c.loop().topics() == 0);
  c.in(R"(["1","1","lives","phx_join",{}])");
  CHECK(d.alive == 1);
  c.gone();
  CHECK(d.alive == 0);
  CHECK(d.terminated == 1);
}

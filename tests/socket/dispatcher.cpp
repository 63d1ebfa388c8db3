#include <phx/socket/dispatcher.hpp>

#include <support/room.hpp>

#include <deque>

// The concept's archetype and its near misses are in tests/archetype. Here is one that is no router: its channels live
// elsewhere, all that stays is their address.

using namespace support;

namespace {

struct order {
  enum { join, in, end } kind;
  phx::channel_id channel;
  std::string topic, event;
  phx::payload data{};
  phx::reply_to answer{};
};
struct elsewhere {
  struct session_type {
    std::string user;
  };
  using channel_type = phx::channel_id;
  std::deque<order>& there;

  phx::connect_outcome<session_type> connect(phx::connect_info const& info) {
    return phx::connected<session_type>{{std::string(info.param("user").value_or("nobody"))}};
  }
  bool matches(std::string_view topic) noexcept { return topic.starts_with("match:"); }
  phx::join_outcome<channel_type> join(session_type&, phx::joining& j, phx::message const& in) {
    there.push_back({order::join, j.id(), std::string(in.topic), {}, in.payload, {}});
    return phx::pending<channel_type>{j.id(), j.now() + 5s};
  }
  phx::outcome handle_in(channel_type& ch, phx::context& ctx, phx::message const& in) {
    there.push_back({order::in, ch, std::string(ctx.topic()), std::string(in.event), in.payload, ctx.reply()});
    return phx::outcome::noreply();
  }
  void terminate(channel_type& ch, phx::context& ctx, phx::exit_reason reason) noexcept {
    there.push_back({order::end, ch, std::string(ctx.topic()), std::string(name_of(reason)), {}, {}});
  }
};
static_assert(phx::Dispatcher<elsewhere>);

/// Their thread, their time: here, when the test says so.
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

TEST_CASE("dispatcher: channels that live elsewhere: forwarded, answered from there, their exits close or error") {
  std::deque<order> there;
  elsewhere d{there};
  phx::testing::server server(d);
  auto client = server.connect("user=ann");
  auto m = client.join("match:1");
  CHECK_FALSE(m.joined().has_value());
  CHECK(work(there) == texts{"join match:1 "});
  server.settle();
  CHECK(m.joined() == phx::testing::answered{"ok", R"({"welcome":true})"});
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

TEST_CASE("dispatcher: terminate is told of pending and of replaced channels too, once each") {
  std::deque<order> there;
  elsewhere d{there};
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

TEST_CASE("dispatcher: one that answers at once, and intercepts by channel") {
  struct picky {
    struct session_type {};
    struct channel_type {
      bool listens;
    };
    phx::connect_outcome<session_type> connect(phx::connect_info const&) { return phx::connected<session_type>{}; }
    bool matches(std::string_view) noexcept { return true; }
    phx::join_outcome<channel_type> join(session_type&, phx::joining&, phx::message const& in) {
      if (in.payload.raw() == "1") return phx::refused{phx::payload::json("[1]")};
      return phx::accepted<channel_type>{{in.payload.raw() == "2"}, phx::payload::json("[2]")};
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
  CHECK(server.connect().join("x", "1").joined() == phx::testing::answered{"error", "[1]"});
  auto listens = server.connect().join("x", "2");
  auto plain = server.connect().join("x", "3");
  CHECK(listens.joined() == phx::testing::answered{"ok", "[2]"});
  plain.push("secret");
  CHECK(plain.rest() == texts{"secret {}"});
  CHECK(listens.rest() == texts{"heard secret {}"});
}

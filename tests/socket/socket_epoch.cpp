// A broadcast that was posted before a subscription does not reach it, whoever posted it and on whichever path it comes.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

using namespace support;

namespace {

/// A room whose join or handler calls the endpoint as its payload's event requests.
struct speaker {
  static inline phx::endpoint* everywhere = nullptr;
  static inline phx::channel_id last{};
  static constexpr std::array<std::string_view, 1> intercepts{"masked"};

  phx::join_result join(phx::joining& j, phx::message const& in) {
    last = j.id();
    std::string_view const mode = in.payload.raw();
    if (mode == R"("broadcast")") CHECK(everywhere->broadcast(j.topic(), "news", {}) == phx::errc::none);
    if (mode == R"("masked")") CHECK(everywhere->broadcast(j.topic(), "masked", {}) == phx::errc::none);
    if (mode == R"("by handle")") CHECK(j.id().broadcast("news", {}) == phx::send_status::ok);
    if (mode == R"("listens")") {
      CHECK(everywhere->broadcast("elsewhere", "early", {}) == phx::errc::none);
      CHECK(j.subscribe("elsewhere") == phx::send_status::ok);
    }
    if (mode == R"("later")") return phx::join_result::later(j.now() + 5s);
    return phx::join_result::ok();
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "subscribe") {
      CHECK(everywhere->broadcast("elsewhere", "early", {}) == phx::errc::none);
      CHECK(ctx.subscribe("elsewhere") == phx::send_status::ok);
      CHECK(everywhere->broadcast("elsewhere", "late", {}) == phx::errc::none);
    }
    return phx::outcome::noreply();
  }
  phx::outcome handle_out(phx::context& ctx, phx::broadcast const& b) {
    ctx.push("seen_" + std::string(b.event), {});
    return phx::outcome::noreply();
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    ctx.push(std::string(in.topic) + "_" + std::string(in.event), {});
    return phx::outcome::noreply();
  }
};

struct speakers : phx::router<> {
  speakers() { channel<speaker>("room:*"); }
};

/// All clients are the same user; a client that connects with kick ends the older connections first.
struct users : phx::router<> {
  phx::endpoint* everywhere = nullptr;
  phx::connect_outcome<phx::anonymous> connect(phx::connect_info const& info) {
    if (info.params().find("kick")) CHECK(everywhere->disconnect("user:1") == phx::errc::none);
    return phx::connected<phx::anonymous>{{}, "user:1"};
  }
  users() { channel<speaker>("room:*"); }
};

/// The messages that a channel received since the last call.
texts news_of(phx::testing::channel_client& c) {
  texts all = c.rest();
  for (std::string const& line : all) {
    std::string const event = line.substr(0, line.find(' '));
    if (!c.expect_broadcast(event)) (void)c.expect_push(event);
  }
  return all;
}

struct stage {
  speakers app{};
  phx::testing::server<speakers> server;
  explicit stage(std::size_t loops = 2) : server(app, {}, loops) { speaker::everywhere = &server.endpoint(); }
  ~stage() { speaker::last = {}; }
};

}  // namespace

TEST_CASE("epoch: a connect that ends its user's older connections does not end its own") {
  users app;
  phx::testing::server server(app, {}, 2);
  app.everywhere = &server.endpoint();
  for (std::size_t const on : {0u, 1u, 0u}) {
    auto older = server.connect({}, 0), other = server.connect({}, 1);
    auto newest = server.connect("kick=1", on);
    CHECK(older.close_code() == 1001);
    CHECK(other.close_code() == 1001);
    CHECK(newest.connected());
    CHECK(newest.join("room:a").ok());
    server.disconnect("user:1");
    CHECK(newest.close_code() == 1001);
  }
}

TEST_CASE("epoch: broadcasts of a join on its topic, through the endpoint or its handle, do not reach its own channel") {
  for (std::string_view const mode : {R"("broadcast")", R"("by handle")"}) {
    stage s;
    auto local = s.server.connect({}, 0).join("room:a"), there = s.server.connect({}, 1).join("room:a");
    for (std::size_t const on : {0u, 1u}) {
      auto a = s.server.connect({}, on).join("room:a", mode);
      CHECK(a.ok());
      CHECK(news_of(a).empty());
      CHECK(news_of(local) == texts{"news {}"});
      CHECK(news_of(there) == texts{"news {}"});
      s.server.broadcast("room:a", "more");
      CHECK(news_of(a) == texts{"more {}"});
      (void)news_of(local);
      (void)news_of(there);
    }
  }
}

TEST_CASE("epoch: the same for a channel that intercepts, and for a topic with several serializers") {
  stage s;
  auto local = s.server.connect({}, 0).join("room:a");
  auto a = s.server.connect({}, 0).join("room:a", R"("masked")");
  CHECK(news_of(a).empty());
  CHECK(news_of(local) == texts{"seen_masked {}"});

  rooms app;
  journal log;
  phx::testing::fake_loops loops;
  auto const speak = [&](std::string_view vsn, phx::testing::recorder& wire) {
    static phx::mount const on{};
    phx::admission<user> in{};
    in.serializer = phx::choose(on.offered(), vsn);
    in.session.emplace(user{&log, "x"});
    in.bounds = &on.bounds;
    return std::make_unique<phx::socket<phx::testing::recorder::transport_type, rooms>>(loops[0], app, std::move(in),
                                                                                        wire.transport(), loops.now());
  };
  phx::testing::recorder wires[3];
  auto one = speak("1.0.0", wires[0]), two = speak("2.0.0", wires[1]), late = speak("2.0.0", wires[2]);
  std::string const join = R"(["1","1","room:b","phx_join",{}])";
  CHECK(one->receive(phx::opcode::text, R"({"topic":"room:b","event":"phx_join","payload":{},"ref":"1","join_ref":"1"})",
                     true, loops.now()));
  CHECK(two->receive(phx::opcode::text, join, true, loops.now()));
  CHECK(loops.endpoint().broadcast("room:b", "news", {}) == phx::errc::none);
  CHECK(late->receive(phx::opcode::text, join, true, loops.now()));
  for (auto& w : wires) CHECK(w.out().size() == 1);
  loops.settle();
  CHECK(wires[0].out().size() == 1);
  CHECK(wires[1].out().size() == 1);
  CHECK(wires[2].out().empty());
}

TEST_CASE("epoch: a broadcast on another topic before a channel subscribed to it does not reach the channel") {
  stage s;
  auto a = s.server.connect().join("room:a");
  (void)a.push("subscribe");
  CHECK(news_of(a) == texts{"elsewhere_late {}"});
  auto b = s.server.connect({}, 1).join("room:b", R"("listens")");
  CHECK(b.ok());
  CHECK(news_of(b).empty());
  s.server.broadcast("elsewhere", "more");
  CHECK(news_of(b) == texts{"elsewhere_more {}"});
}

TEST_CASE("epoch: a broadcast of another node before a channel joined does not reach it") {
  stage s;
  auto a = s.server.connect().join("room:a");
  auto client = s.server.connect({}, 1);
  CHECK(s.server.endpoint().deliver({"room:a", "news", phx::payload{}, {}, {}}) == phx::send_status::ok);
  auto b = client.join("room:a");
  CHECK(news_of(a) == texts{"news {}"});
  CHECK(news_of(b).empty());
}

TEST_CASE("epoch: a broadcast through a channel_id before a channel joined does not reach it, on any loop") {
  for (std::size_t const on : {0u, 1u}) {
    stage s;
    auto a = s.server.connect({}, 0).join("room:a");
    phx::channel_id const id = speaker::last;
    auto client = s.server.connect({}, on);
    CHECK(id.broadcast("news", {}) == phx::send_status::ok);
    auto b = client.join("room:a");
    CHECK(news_of(a) == texts{"news {}"});
    CHECK(news_of(b).empty());
    CHECK(id.broadcast_from("more", {}) == phx::send_status::ok);
    s.server.settle();
    CHECK(news_of(a).empty());
    CHECK(news_of(b) == texts{"more {}"});
  }
}

TEST_CASE("channel_id: broadcasts while the join is pending and after the channel has left reach all but its own client") {
  stage s;
  auto local = s.server.connect({}, 0).join("room:a"), there = s.server.connect({}, 1).join("room:a");
  auto client = s.server.connect();
  auto a = client.join("room:a", R"("later")");
  phx::channel_id const id = speaker::last;
  std::size_t answer = 0;
  auto const heard = [&](bool from) {
    std::string const event = "n" + std::to_string(++answer);
    CHECK((from ? id.broadcast_from(event, {}) : id.broadcast(event, {})) == phx::send_status::ok);
    s.server.settle();
    CHECK(news_of(local) == texts{event + " {}"});
    CHECK(news_of(there) == texts{event + " {}"});
  };
  for (bool const from : {false, true}) heard(from);
  CHECK(id.joined() == phx::send_status::ok);
  s.server.settle();
  CHECK(a.ok());
  CHECK(news_of(a).empty());
  heard(true);
  CHECK(news_of(a).empty());
  heard(false);
  CHECK(news_of(a) == texts{"n4 {}"});
  CHECK(a.leave());
  for (bool const from : {false, true}) heard(from);
  client.disconnect();
  for (bool const from : {false, true}) heard(from);
  // The handle owns its topic's memory too: it may be the last reference.
  CHECK(local.leave());
  CHECK(there.leave());
  CHECK(s.server.loop(0).topics() == 0);
  CHECK(id.broadcast("nobody", {}) == phx::send_status::ok);
  s.server.settle();
  phx::channel_id copy = id;
  phx::channel_id const moved = std::move(copy);
  copy = moved;
  CHECK(copy == id);
}

TEST_CASE("channel_id: after the end of the loop it returns closed, and the last handle frees the memory of its topic") {
  metered::reset();
  {
    phx::mount m;
    m.bounds.memory = metered::hook();
    phx::channel_id id;
    {
      speakers app;
      phx::testing::server<speakers> server(app, m);
      speaker::everywhere = &server.endpoint();
      CHECK(server.connect().join("room:a").ok());
      id = std::exchange(speaker::last, {});
    }
    CHECK(id.broadcast("news", {}) == phx::send_status::closed);
    CHECK(id.broadcast_from("news", {}) == phx::send_status::closed);
    CHECK(metered::bytes > 0);
  }
  CHECK(metered::bytes == 0);
  CHECK_FALSE(metered::wrong_size);
}

TEST_CASE("channel_id: a broadcast that its own loop's mailbox drops reaches nobody") {
  phx::mount m;
  m.bounds.mailbox = 2;
  speakers app;
  phx::testing::server<speakers> server(app, m, 2);
  speaker::everywhere = &server.endpoint();
  auto a = server.connect({}, 0).join("room:a"), b = server.connect({}, 1).join("room:a");
  auto const id = std::exchange(speaker::last, {});
  for (int i = 0; i < 2; ++i) CHECK(id.broadcast("news", {}) == phx::send_status::ok);
  CHECK(id.broadcast("too much", {}) == phx::send_status::dropped);
  server.settle();
  CHECK(news_of(a) == texts{"news {}", "news {}"});
  CHECK(news_of(b) == texts{"news {}", "news {}"});
}

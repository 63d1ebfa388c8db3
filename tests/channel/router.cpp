#include <phx/channel/router.hpp>

#include <support/room.hpp>

using support::texts;

namespace {

struct session {
  std::string user = "nobody";
  bool admin = false;
};
/// Replies with its name and the user it was made from.
template <char Name>
struct named {
  explicit named(session const& s = {}) : me(s) {}
  phx::outcome handle_in(phx::context&, phx::message const&) {
    std::string const text = std::string(1, Name) + " " + me.user + (me.admin ? " admin" : "");
    return phx::outcome::reply(phx::payload::json('"' + text + '"'));
  }
  session me;
};

template <class Session>
std::string who_serves(phx::router<Session>& r, std::string_view topic, std::string_view params = {}) {
  phx::testing::server s(r);
  auto c = s.connect(params).join(topic);
  if (!c.ok()) return c.joined()->response;
  return c.call("who")->response;
}

}  // namespace

TEST_CASE("topic_pattern: exact topics, prefixes, and all topics") {
  constexpr phx::topic_pattern exact{"lobby"}, prefix{"room:*"}, all{"*"};
  CHECK(exact.text() == "lobby");
  CHECK_FALSE(exact.prefix());
  CHECK(prefix.text() == "room:");
  CHECK(prefix.prefix());
  CHECK(all.text().empty());
  auto const matches = [](phx::topic_pattern p, std::string_view t) {
    return phx::topic_pattern::matches(p.text(), p.prefix(), t);
  };
  CHECK(matches(exact, "lobby"));
  CHECK_FALSE(matches(exact, "lobby:"));
  CHECK_FALSE(matches(exact, "lobb"));
  CHECK(matches(prefix, "room:"));  // the star may match an empty text
  CHECK(matches(prefix, "room:a:b"));
  CHECK_FALSE(matches(prefix, "room"));
  CHECK(matches(all, ""));
}

TEST_CASE("topic_pattern: a star elsewhere is an error with the entry") {
  for (char const* const bad : {"ro*m", "*x", "room:**", "a*b*"}) {
    auto const p = phx::topic_pattern::parse(bad);
    CHECK_FALSE(p.has_value());
    CHECK(p.error().code == phx::errc::star_not_at_end);
    CHECK(p.error().entry == bad);
  }
  CHECK(phx::topic_pattern::parse("room:*")->text() == "room:");
  CHECK(phx::topic_pattern::parse("")->text().empty());
}

TEST_CASE("router: patterns are tried in the order of declaration, and the first match wins") {
  phx::router<session> r;
  r.channel<named<'A'>>("room:lobby").channel<named<'B'>>("room:*");
  r.channel<named<'C'>>("room:private").channel<named<'D'>>("*");
  CHECK(who_serves(r, "room:lobby") == "\"A nobody\"");
  CHECK(who_serves(r, "room:private") == "\"B nobody\"");
  CHECK(who_serves(r, "room:") == "\"B nobody\"");
  CHECK(who_serves(r, "anything") == "\"D nobody\"");
  phx::router<session> none;
  CHECK_FALSE(none.matches("x"));
  CHECK(who_serves(none, "x") == R"({"reason":"unmatched topic"})");
}

TEST_CASE("router: channels are made from the session; a pattern may change its copy of it") {
  phx::router<session> r([](phx::connect_info const& info) -> phx::connect_outcome<session> {
    return phx::connected<session>{{std::string(info.param("user").value_or("?"))}};
  });
  r.channel<named<'A'>>("admin:*", [](session& mine) { mine.admin = true; }).channel<named<'B'>>("room:*");
  int made = 0;
  r.channel("made:*", [&made](session const& me) {
    ++made;
    return named<'C'>(me);
  });
  CHECK(who_serves(r, "admin:1", "user=ann") == "\"A ann admin\"");
  CHECK(who_serves(r, "room:1", "user=ann") == "\"B ann\"");
  CHECK(who_serves(r, "made:1", "user=bob") == "\"C bob\"");
  CHECK(made == 1);
}

TEST_CASE("router: a pattern from a configuration") {
  std::string const text = "configured:*";
  phx::router<session> r;
  r.channel<named<'A'>>(*phx::topic_pattern::parse(text));
  CHECK(who_serves(r, "configured:x") == "\"A nobody\"");
}

TEST_CASE("router: without a connector every client may connect, if the session has a default constructor") {
  phx::router<> anybody;
  phx::testing::server s(anybody);
  CHECK(s.connect().connected());
  struct needs_a_name {
    explicit needs_a_name(int) {}
  };
  phx::router<needs_a_name> refusing([](phx::connect_info const&) -> phx::connect_outcome<needs_a_name> {
    return phx::http_answer{401, {}, "who are you?"};
  });
  phx::testing::server t(refusing);
  CHECK(t.connect().refused() == 401);
}

TEST_CASE("router: its type follows from its connector") {
  phx::router r([](phx::connect_info const& info) -> phx::connect_outcome<phx::anonymous> {
    if (info.param("no")) return phx::http_answer{};
    return phx::connected<phx::anonymous>{};
  });
  static_assert(std::is_same_v<decltype(r), phx::router<>>);
  phx::testing::server s(r);
  CHECK(s.connect("no=1").refused() == 403);
  CHECK(s.connect().connected());
}

#ifdef __cpp_exceptions
TEST_CASE("router: a connector that throws is answered 500; a channel function that throws is a crashed join") {
  phx::router<session> r([](phx::connect_info const& info) -> phx::connect_outcome<session> {
    if (info.param("throw")) throw std::runtime_error("no database");
    return phx::connected<session>{};
  });
  r.channel(
      "x", [](session const&) -> named<'A'> { throw std::runtime_error("not today"); });
  phx::testing::server s(r);
  CHECK(s.connect("throw=1").refused() == 500);
  CHECK(s.connect().join("x").joined() == phx::testing::received_reply{"error", R"({"reason":"join crashed"})"});
}
#endif

TEST_CASE("router: channels are allocated by the hook and released; without memory the join is refused") {
  using support::metered;
  metered::reset();
  {
    phx::router<session> r;
    r.channel<named<'A'>>("x");
    phx::mount m;
    m.bounds.memory = metered::hook();
    phx::testing::server s(r, m);
    auto client = s.connect();
    CHECK(client.join("x").ok());
    CHECK(client.join("y").joined()->status == "error");
    std::size_t const needed = metered::allocations;
    auto const again = [&](std::size_t n) {
      metered::fail_at = metered::allocations + n;
      auto answer = client.join("x").joined();
      metered::fail_at = SIZE_MAX;
      return answer ? answer->response : "";
    };
    CHECK(again(0) == R"({"reason":"overloaded"})");
    CHECK(client.join("x").ok());
    CHECK(metered::allocations > needed);
  }
  CHECK(metered::bytes == 0);
  metered::reset();
}

TEST_CASE("router: terminate runs for a pending join that a second join replaces, as when its client leaves") {
  struct recording_channel {
    std::vector<std::string>* log;
    phx::join_result join(phx::joining& j, phx::message const&) {
      return phx::join_result::later(j.now() + std::chrono::seconds(5));
    }
    void terminate(phx::context& ctx, phx::exit_reason reason) noexcept {
      CHECK(ctx.state() == phx::channel_state::joining);
      log->push_back(std::string(support::name_of(reason)));
    }
  };
  std::vector<std::string> log;
  phx::router<> r;
  r.channel("x", [&log](phx::anonymous const&) { return recording_channel{&log}; });
  phx::testing::server s(r);
  auto client = s.connect();
  auto first = client.join("x"), second = client.join("x");
  CHECK(log == texts{"replaced"});
  second.leave();
  CHECK(log == texts{"replaced", "left"});
}

TEST_CASE("router: a join that returns crash is answered as one that throws, and terminate does not run") {
  struct falls {
    bool* notified;
    phx::join_result join(phx::joining&, phx::message const&) { return phx::join_result::crash("no database"); }
    void terminate(phx::context&, phx::exit_reason) noexcept { *notified = true; }
  };
  bool notified = false;
  support::watcher seen;
  phx::router<> r;
  r.channel("x", [&notified](phx::anonymous const&) { return falls{&notified}; });
  phx::testing::server s(r);
  s.loop().observe(seen);
  CHECK(s.connect().join("x").joined() == phx::testing::received_reply{"error", R"({"reason":"join crashed"})"});
  CHECK_FALSE(notified);
  CHECK(seen.count("join_crashed x 'no database'") == 1);
}

TEST_CASE("router: terminate of a refused join gets shutdown and cannot push; that of a replaced one does not run") {
  struct recording_channel {
    std::vector<std::string>* log;
    phx::channel_id id{};
    phx::socket_id socket{};
    phx::join_result join(phx::joining& j, phx::message const& in) {
      id = j.id();
      socket = j.socket();
      if (in.payload.raw() == "{}") return phx::join_result::ok();
      if (in.payload.raw() == "2") return phx::join_result::error();
      return phx::join_result::error(phx::payload::json("\"no\""));
    }
    void terminate(phx::context& ctx, phx::exit_reason reason) noexcept {
      ctx.push("nowhere", {});
      CHECK(ctx.send("nowhere") == phx::send_status::closed);
      CHECK(ctx.after_end().push("nowhere", {}) == phx::send_status::closed);
      CHECK(ctx.id() == id);
      CHECK(ctx.socket() == socket);
      CHECK_FALSE(ctx.socket() == phx::socket_id{});
      log->push_back(std::string(support::name_of(reason)));
    }
  };
  std::vector<std::string> log;
  phx::router<> r;
  r.channel("x", [&log](phx::anonymous const&) { return recording_channel{&log, {}, {}}; });
  phx::testing::server s(r);
  auto client = s.connect();
  CHECK(client.join("x", "1").joined() == phx::testing::received_reply{"error", "\"no\""});
  CHECK(client.join("x", "2").joined() == phx::testing::received_reply{"error", "{}"});
  CHECK(log == texts{"shutdown", "shutdown"});
  CHECK(client.join("x").ok());
  CHECK(client.join("x").ok());
  CHECK(log.size() == 2);
  client.disconnect();
  CHECK(log.back() == "closed");
}

#include <phx/connect/handshake.hpp>
#include <phx/serializer/legacy/generation.hpp>

#include <doctest/doctest.h>

#include <array>
#include <vector>

namespace {

/// A minimal session type: it can be moved, and nothing else.
struct user {
  explicit user(std::string n) : name(std::move(n)) {}
  user(user&&) = default;
  user& operator=(user&&) = delete;
  std::string name;
};

/// The lab server's connect, with a refusal that has a response of its own, and one that throws.
struct lab {
  using session_type = user;
  int asked = 0;
  std::string seen{};

  phx::connect_outcome<user> connect(phx::connect_info const& info) {
    ++asked;
    seen = std::string(to_string(info.transport())) + " " + std::string(info.custom("salt").value_or("-")) + " " +
           std::string(info.param("room").value_or("-"));
    if (info.param("reject") == "1") return phx::http_answer{};
    if (info.param("ratelimit") == "true") return phx::http_answer{429, {{"retry-after", "1"}}, "Too many requests"};
#ifdef __cpp_exceptions
    if (info.param("throw") == "1") throw std::runtime_error("no database");
    if (info.param("throw") == "2") throw 2;
#endif
    auto const id = info.param("user_id");
    if (!id) return phx::connected<user>{user("nobody")};
    return phx::connected<user>{user(std::string(*id)), "user:" + std::string(*id)};
  }
};
static_assert(phx::connects<lab>);

phx::mount const& lab_mount() {
  static phx::mount const m{
      .path = "/socket", .origins = {"//localhost", "//127.0.0.1", "https://*.example.com"}, .longpoll = true};
  return m;
}

struct asked {
  std::string text;  // "ok" with the vsn served and the id, or "status refusal"
  std::string detail{};
  int calls = 0;
  std::string seen{};
  std::string subprotocol{};
};
struct ask_with {
  phx::mount const& mount = lab_mount();
  std::string_view method = "GET";
  std::vector<phx::header> headers{};
  phx::transport_kind via = phx::transport_kind::websocket;
};
asked ask(std::string_view target, ask_with const& with = {}) {
  lab d;
  auto const judged =
      phx::handshake(with.mount, d, phx::request::of(with.method, target, with.headers, {"127.0.0.1", 1, {}}), with.via);
  asked out{"", "", d.asked, d.seen, ""};
  if (auto const* in = std::get_if<phx::admission<user>>(&judged)) {
    REQUIRE(in->session);
    REQUIRE(in->serializer);
    CHECK(in->bounds == &with.mount.bounds);
    out.subprotocol = in->subprotocol;
    out.text = "ok " + std::string(in->serializer.requirement()) + " " + in->session->name + " " + in->id.value_or("-");
  } else {
    auto const& no = *std::get_if<phx::refused_request>(&judged);
    out.text = std::to_string(no.answer.status) + " " + std::string(to_string(no.reason));
    out.detail = no.detail;
    if (no.reason != phx::refusal::connect) CHECK(no.answer.body.empty());
  }
  return out;
}
std::string handshake_result(std::string_view target, ask_with const& with = {}) { return ask(target, with).text; }

}  // namespace

TEST_CASE("handshake: the vsn selects the serializer") {
  CHECK(handshake_result("/socket/websocket") == "ok ~> 1.0.0 nobody -");
  CHECK(handshake_result("/socket/websocket?vsn=1.0.7") == "ok ~> 1.0.0 nobody -");
  CHECK(handshake_result("/socket/websocket?vsn=2.0.0") == "ok ~> 2.0.0 nobody -");
  CHECK(handshake_result("/socket/websocket?vsn=2.0.9") == "ok ~> 2.0.0 nobody -");
  CHECK(handshake_result("/socket/websocket?vsn=2.0.0%2Bbuild.7") == "ok ~> 2.0.0 nobody -");
  CHECK(handshake_result("/socket/websocket?vsn=9.9.9&vsn=2.0.0") == "ok ~> 2.0.0 nobody -");
  for (std::string_view const bad :
       {"vsn=0.9.0", "vsn=1.1.0", "vsn=2.1.0", "vsn=3.0.0", "vsn=123.1.1", "vsn=", "vsn", "vsn=02.0.0", "vsn=2.0.0-rc.1",
        "vsn=2", "vsn=2.0", "vsn=abc", "vsn[]=2.0.0", "vsn[a]=1", "vsn=2.0.0+b1", "vsn=2.0.0&vsn[]=2.0.0"}) {
    asked const a = ask("/socket/websocket?" + std::string(bad));
    CHECK_MESSAGE(a.text == "403 vsn", bad);
    CHECK_MESSAGE(a.calls == 0, "user code is not asked");
  }
  CHECK(ask("/socket/websocket?vsn=3.0.0").detail == "3.0.0");
  CHECK(ask("/socket/websocket?vsn[]=2.0.0").detail == "not text");
}

TEST_CASE("handshake: connect accepts, with or without an id, or refuses") {
  CHECK(handshake_result("/socket/websocket?vsn=2.0.0&user_id=u%201%2F%C3%BC") ==
        "ok ~> 2.0.0 u 1/\xC3\xBC user:u 1/\xC3\xBC");
  CHECK(handshake_result("/socket/websocket?user_id=") == "ok ~> 1.0.0  user:");
  CHECK(handshake_result("/socket/websocket?reject=0") == "ok ~> 1.0.0 nobody -");
  asked const no = ask("/socket/websocket?reject=1");
  CHECK(no.text == "403 connect");
  CHECK(no.calls == 1);
}

TEST_CASE("handshake: a refusal may have a response of its own") {
  lab d;
  auto const judged = phx::handshake(lab_mount(), d, phx::request::of("GET", "/socket/websocket?ratelimit=true", {}));
  auto const* no = std::get_if<phx::refused_request>(&judged);
  REQUIRE(no != nullptr);
  CHECK(no->reason == phx::refusal::connect);
  CHECK(no->answer.status == 429);
  CHECK(no->answer.body == "Too many requests");
  REQUIRE(no->answer.headers.size() == 1);
  CHECK(no->answer.headers[0].first == "retry-after");
}

#ifdef __cpp_exceptions
TEST_CASE("handshake: a connect that throws is answered 500") {
  asked const a = ask("/socket/websocket?throw=1");
  CHECK(a.text == "500 connect_threw");
  CHECK(a.detail == "no database");
  CHECK(handshake_result("/socket/websocket?throw=2") == "500 connect_threw");
}
TEST_CASE("handshake: an origin callback that throws is answered 500") {
  phx::mount const m{.origins = phx::check_origin::callback([](phx::origin const&) -> bool { throw 1; })};
  asked const a = ask("/socket/websocket", {.mount = m, .headers = {{"origin", "http://a"}}});
  CHECK(a.text == "500 origin_threw");
  CHECK(a.calls == 0);
}
#endif

TEST_CASE("handshake: an unknown path is 404, a wrong method 400") {
  CHECK(handshake_result("/nowhere") == "404 path");
  CHECK(handshake_result("/socket") == "404 path");
  CHECK(handshake_result("/socket/longpoll") == "404 path");
  CHECK(handshake_result("/socket/websocket/") == "ok ~> 1.0.0 nobody -");
  for (std::string_view const method : {"POST", "OPTIONS", "DELETE", "HEAD", "get", ""}) {
    asked const a = ask("/socket/websocket?vsn=2.0.0", {.method = method});
    CHECK_MESSAGE(a.text == "400 method", method);
    CHECK(a.calls == 0);
  }
}

TEST_CASE("handshake: an invalid query is 400, a too long one 414") {
  CHECK(handshake_result("/socket/websocket?a=%zz") == "400 params");
  CHECK(handshake_result("/socket/websocket?a=%FF") == "400 params");
  CHECK(ask("/socket/websocket?a=%FF").detail == "text that is not UTF-8: a");
  CHECK(handshake_result("/socket/websocket?a=" + std::string(70'000, 'x')) == "414 params");
  phx::mount const tight{.query = {.bytes = 5, .count = 5, .depth = 5}};
  CHECK(handshake_result("/socket/websocket?a=123", {.mount = tight}) == "ok ~> 1.0.0 nobody -");
  CHECK(handshake_result("/socket/websocket?a=1234", {.mount = tight}) == "414 params");
}

TEST_CASE("handshake: a refused origin is 403 and connect is not called") {
  for (std::string_view const good : {"http://localhost", "https://www.example.com", "http://user@localhost"})
    CHECK_MESSAGE(handshake_result("/socket/websocket", {.headers = {{"Origin", good}}}) == "ok ~> 1.0.0 nobody -", good);
  for (std::string_view const bad : {"http://evil.org", "null", "https://evilexample.com"}) {
    asked const a = ask("/socket/websocket", {.headers = {{"Origin", bad}}});
    CHECK_MESSAGE(a.text == "403 origin", bad);
    CHECK(a.calls == 0);
    CHECK(a.detail.find(bad) != std::string::npos);
    CHECK(a.detail.find("https://*.example.com") != std::string::npos);
  }
}

TEST_CASE("handshake: the checks run in their order, and the first failure is reported") {
  phx::mount const m{.subprotocols = std::vector<std::string>{"a"}};
  std::vector<phx::header> const all_bad{{"origin", "http://evil.org"}, {"sec-websocket-protocol", "b"}};
  std::vector<phx::header> const protocol_bad{{"sec-websocket-protocol", "b"}};
  CHECK(handshake_result("/nowhere?%", {.mount = m, .method = "POST", .headers = all_bad}) == "404 path");
  CHECK(handshake_result("/socket/websocket?%", {.mount = m, .method = "POST", .headers = all_bad}) == "400 method");
  CHECK(handshake_result("/socket/websocket?%", {.mount = m, .headers = all_bad}) == "400 params");
  CHECK(handshake_result("/socket/websocket?vsn=9.0.0&reject=1", {.mount = m, .headers = all_bad}) == "403 origin");
  CHECK(handshake_result("/socket/websocket?vsn=9.0.0&reject=1", {.mount = m, .headers = protocol_bad}) ==
        "403 subprotocol");
  CHECK(handshake_result("/socket/websocket?vsn=9.0.0&reject=1", {.mount = m}) == "403 vsn");
  CHECK(handshake_result("/socket/websocket?reject=1", {.mount = m}) == "403 connect");
}

TEST_CASE("handshake: the first configured subprotocol that the client offers is selected") {
  auto const offered = [](std::optional<std::vector<std::string>> ours, std::string_view offer) {
    phx::mount const m{.subprotocols = std::move(ours)};
    asked const a = ask("/socket/websocket", {.mount = m, .headers = {{"Sec-WebSocket-Protocol", offer}}});
    return a.text.starts_with("ok") ? "ok " + a.subprotocol : a.text;
  };
  using list = std::vector<std::string>;
  CHECK(offered(std::nullopt, "phoenix, 123") == "ok ");
  CHECK(offered(list{"sip", "mqtt"}, "mqtt,sip") == "ok sip");
  CHECK(offered(list{"sip", "mqtt"}, " other ,\tmqtt ") == "ok mqtt");
  CHECK(offered(list{"sip"}, "SIP") == "403 subprotocol");
  CHECK(offered(list{"sip"}, "si, sip2") == "403 subprotocol");
  CHECK(offered(list{"sip"}, "") == "403 subprotocol");
  CHECK(offered(list{}, "sip") == "403 subprotocol");
  phx::mount const m{.subprotocols = list{"sip"}};
  CHECK(handshake_result("/socket/websocket", {.mount = m}) == "ok ~> 1.0.0 nobody -");
}

TEST_CASE("handshake: connect gets the mount's constants, the params of the path and the transport") {
  phx::mount const m{.path = "/r/:room", .custom = {{"salt", "pepper"}}, .longpoll = true};
  CHECK(ask("/r/a%20b/websocket?room=query", {.mount = m}).seen == "websocket pepper a%20b");
  CHECK(ask("/r/x/longpoll", {.mount = m, .via = phx::transport_kind::longpoll}).seen == "longpoll pepper x");
  CHECK(ask("/r/%FF/websocket", {.mount = m}).seen == "websocket pepper %FF");
}

TEST_CASE("handshake: a long-poll may have any method and no subprotocol") {
  phx::mount const m{.origins = {"//localhost"}, .subprotocols = std::vector<std::string>{"sip"}, .longpoll = true};
  ask_with const poll{
      .mount = m, .method = "POST", .headers = {{"sec-websocket-protocol", "x"}}, .via = phx::transport_kind::longpoll};
  CHECK(handshake_result("/socket/longpoll?vsn=2.0.0", poll) == "ok ~> 2.0.0 nobody -");
  CHECK(handshake_result("/socket/longpoll?vsn=4.0.0", poll) == "403 vsn");
  CHECK(handshake_result("/socket/websocket", poll) == "404 path");
}

namespace {
/// Records its arguments and refuses, since the rest does not matter.
struct witness {
  using session_type = user;
  std::string seen{};
  phx::connect_outcome<user> connect(phx::connect_info const& info) {
    seen = std::string(info.auth_token().value_or("-")) + "|" + std::string(info.session().value_or("-"));
    for (phx::header const& h : info.sec_websocket_headers()) seen.append("|").append(h.value);
    return phx::connected<user>{user("x")};
  }
};
/// The arguments of connect and the selected subprotocol, or the reason why connect was not called.
std::string witnessed(phx::mount const& m, std::vector<phx::header> const& headers, bool poll = false) {
  witness w;
  auto const via = poll ? phx::transport_kind::longpoll : phx::transport_kind::websocket;
  auto const judged = phx::handshake(
      m, w, phx::request::of("GET", poll ? "/socket/longpoll?vsn=2.0.0" : "/socket/websocket?vsn=2.0.0", headers), via);
  if (auto const* no = std::get_if<phx::refused_request>(&judged)) {
    CHECK(w.seen.empty());
    CHECK(no->answer.body.empty());
    return std::to_string(no->answer.status) + " " + std::string(to_string(no->reason)) + " " + no->detail;
  }
  return w.seen + " -> " + std::get_if<phx::admission<user>>(&judged)->subprotocol;
}
}  // namespace

TEST_CASE("handshake: an auth token is taken from the subprotocols and removed from them, as in Phoenix") {
  phx::mount const m{.auth_token = true};
  auto const offered = [&](std::string_view offer) { return witnessed(m, {{"Sec-WebSocket-Protocol", offer}}); };
  // as phoenix.js sends it: btoa of the token without padding
  CHECK(offered("phoenix, base64url.bearer.phx.MTIzNA") == "1234|-|phoenix -> phoenix");
  CHECK(offered("base64url.bearer.phx.MTIzNA== ,phoenix") == "1234|-|phoenix -> phoenix");
  CHECK(offered("a,  base64url.bearer.phx.+/8,phoenix , b") == "\xFB\xFF|-|a, phoenix, b -> phoenix");
  CHECK(offered("phoenix, base64url.bearer.phx.-_8") == "\xFB\xFF|-|phoenix -> phoenix");
  CHECK(offered("phoenix, base64url.bearer.phx.") == "|-|phoenix -> phoenix");
  // alone: no subprotocol is left to select
  CHECK(offered("base64url.bearer.phx.MTIzNA") == "1234|- -> ");
  CHECK(offered("phoenix") == "-|-|phoenix -> phoenix");
  CHECK(witnessed(m, {}) == "-|- -> ");
  CHECK(witnessed(m, {{"x-phoenix-authtoken", "1234"}}) == "-|- -> ");
  // several headers are one list (RFC 9110, 5.3), wherever the token is
  CHECK(witnessed(m, {{"sec-websocket-protocol", "phoenix,base64url.bearer.phx.MTIzNA"}, {"sec-websocket-protocol", "x"}}) ==
        "1234|-|phoenix, x -> phoenix");
  CHECK(witnessed(m, {{"Sec-WebSocket-Protocol", "x"},
                      {"a", "b"},
                      {"sec-websocket-protocol", "base64url.bearer.phx.MTIzNA"},
                      {"sec-websocket-protocol", "phoenix"}}) == "1234|-|x, phoenix -> phoenix");
  CHECK(witnessed(m, {{"sec-websocket-protocol", "base64url.bearer.phx.MTIzNA"}, {"sec-websocket-protocol", "x"}}) ==
        "403 subprotocol x");
  CHECK(witnessed(m, {{"sec-websocket-protocol", "base64url.bearer.phx.MTIzNA"},
                      {"sec-websocket-protocol", "base64url.bearer.phx.MTIzNA, phoenix"}}) ==
        "-|-|base64url.bearer.phx.MTIzNA|base64url.bearer.phx.MTIzNA, phoenix -> phoenix");

  for (std::string_view const bad : {"phoenix, base64url.bearer.phx.MTIzN", "phoenix, base64url.bearer.phx.M%",
                                     "phoenix, base64url.bearer.phx.MTIzNA=", "base64url.bearer.phx.MT IzNA"})
    CHECK(offered(bad) == "500 auth_token not base 64");
}

TEST_CASE("handshake: subprotocols may be offered in several headers") {
  phx::mount const m{.subprotocols = std::vector<std::string>{"sip", "mqtt"}};
  CHECK(witnessed(m, {{"sec-websocket-protocol", "x, y"}, {"sec-websocket-protocol", "z,mqtt"}}) ==
        "-|-|x, y|z,mqtt -> mqtt");
  CHECK(witnessed(m, {{"sec-websocket-protocol", "x"}, {"sec-websocket-protocol", "y"}}) == "403 subprotocol x, y");
}

TEST_CASE("handshake: of several auth tokens none is used, and no log contains them") {
  phx::mount const m{.auth_token = true};
  std::string const two = "phoenix, base64url.bearer.phx.MTIzNA, base64url.bearer.phx.NTY3OA";
  CHECK(witnessed(m, {{"sec-websocket-protocol", two}}) == "-|-|" + two + " -> phoenix");
  CHECK(witnessed(m, {{"sec-websocket-protocol", two.substr(9)}}) == "403 subprotocol base64url.bearer.phx.[FILTERED]");
  phx::mount const other{.subprotocols = std::vector<std::string>{"sip"}};
  CHECK(witnessed(other, {{"sec-websocket-protocol", two}}) == "403 subprotocol phoenix, base64url.bearer.phx.[FILTERED]");
}

TEST_CASE("handshake: with auth tokens phoenix is the first of the mount's subprotocols") {
  phx::mount const m{.subprotocols = std::vector<std::string>{"sip", "mqtt"}, .auth_token = true};
  auto const offered = [&](std::string_view offer) { return witnessed(m, {{"sec-websocket-protocol", offer}}); };
  CHECK(offered("mqtt, base64url.bearer.phx.MTIzNA, sip") == "1234|-|mqtt, sip -> sip");
  CHECK(offered("sip, phoenix") == "-|-|sip, phoenix -> phoenix");
  CHECK(offered("base64url.bearer.phx.MTIzNA, x") == "403 subprotocol x");
  CHECK(offered("") == "403 subprotocol ");
}

TEST_CASE("handshake: an auth token is ignored unless it is enabled") {
  CHECK(witnessed({}, {{"sec-websocket-protocol", "phoenix, base64url.bearer.phx.MTIzNA"}}) ==
        "-|-|phoenix, base64url.bearer.phx.MTIzNA -> ");
  phx::mount const poll{.longpoll = true};
  CHECK(witnessed(poll, {{"x-phoenix-authtoken", "1234"}}, true) == "-|- -> ");
}

TEST_CASE("handshake: a long-poll sends its auth token in a header of its own, unencoded") {
  phx::mount const m{.auth_token = true, .longpoll = true};
  CHECK(witnessed(m, {{"X-Phoenix-AuthToken", "a/b=="}, {"x-phoenix-authtoken", "c"}}, true) == "a/b==|- -> ");
  CHECK(witnessed(m, {{"sec-websocket-protocol", "base64url.bearer.phx.MTIzNA"}}, true) ==
        "-|-|base64url.bearer.phx.MTIzNA -> ");
}

TEST_CASE("handshake: the order of checks: origin, token, vsn, session") {
  struct counted {
    int* asked;
    std::optional<std::string> session(phx::request const&, phx::params const&) const {
      ++*asked;
      return "s";
    }
    bool checks_csrf() const noexcept { return true; }
  };
  int asked = 0;
  counted const source{&asked};
  phx::mount const m{.origins = {"//a"}, .auth_token = true, .session = source};
  witness w;
  auto const answer = [&](std::vector<phx::header> const& headers, char const* query) {
    auto const j = phx::handshake(m, w, phx::request::of("GET", std::string("/socket/websocket?") + query, headers));
    auto const* no = std::get_if<phx::refused_request>(&j);
    return no == nullptr ? std::string("ok") : std::string(to_string(no->reason));
  };
  CHECK(answer({{"origin", "http://b"}, {"sec-websocket-protocol", "base64url.bearer.phx.?"}}, "vsn=9.0.0") == "origin");
  CHECK(answer({{"sec-websocket-protocol", "base64url.bearer.phx.?"}}, "vsn=9.0.0") == "auth_token");
  CHECK(answer({{"sec-websocket-protocol", "x"}}, "vsn=9.0.0") == "subprotocol");
  CHECK(answer({}, "vsn=9.0.0") == "vsn");
  CHECK(asked == 0);
  CHECK(answer({}, "vsn=2.0.0") == "ok");
  CHECK(asked == 1);
}

TEST_CASE("handshake: connect gets the session from the mount's source, on either transport") {
  struct cookies {
    std::optional<std::string> session(phx::request const& from, phx::params const& of_it) const {
#ifdef __cpp_exceptions
      if (from.header("cookie") == "throw") throw std::runtime_error("the store is away");
#endif
      if (!from.header("cookie")) return std::nullopt;
      return std::string(*from.header("cookie")) + std::string(of_it.get("vsn").value_or("?"));
    }
    bool checks_csrf() const noexcept { return true; }
  };
  static_assert(phx::SessionSource<cookies>);
  static_assert(!std::is_constructible_v<phx::session_source, cookies&&>);
  cookies const jar;
  phx::mount const m{.session = jar, .longpoll = true};
  CHECK(witnessed(m, {{"cookie", "me "}}) == "-|me 2.0.0 -> ");
  CHECK(witnessed(m, {{"cookie", "me "}}, true) == "-|me 2.0.0 -> ");
  CHECK(witnessed(m, {}) == "-|- -> ");
#ifdef __cpp_exceptions
  CHECK(witnessed(m, {{"cookie", "throw"}}) == "500 connect_threw the store is away");
#endif
}

TEST_CASE("admit: keeps the client's credentials for later") {
  phx::mount const m{.auth_token = true};
  std::array<phx::header, 1> const h{{{"sec-websocket-protocol", "phoenix, base64url.bearer.phx.MTIzNA"}}};
  auto const judged = phx::admit<user>(m, phx::request::of("GET", "/socket/websocket", h));
  REQUIRE(std::get_if<phx::admission<user>>(&judged) != nullptr);
  CHECK(std::get_if<phx::admission<user>>(&judged)->brought.auth_token == "1234");
  CHECK_FALSE(std::get_if<phx::admission<user>>(&judged)->brought.session);
}

TEST_CASE("handshake: old generations accept any 1.x, or no vsn, at the path itself") {
  phx::mount const seed{.path = "/ws", .generation = phx::legacy::of<phx::generation::v0_11>()};
  CHECK(handshake_result("/ws", {.mount = seed, .headers = {{"origin", "http://evil.org"}}}).starts_with("ok ~> 1.0 "));
  phx::mount const legacy{.path = "/legacy", .generation = phx::legacy::of<phx::generation::legacy>()};
  CHECK(handshake_result("/legacy?vsn=1.2.0", {.mount = legacy}).starts_with("ok ~> 1.0 "));
  CHECK(handshake_result("/legacy/websocket?vsn=2.0.0", {.mount = legacy}).starts_with("ok ~> 2.0.0 "));
  CHECK(handshake_result("/legacy?vsn=3.0.0", {.mount = legacy}) == "403 vsn");
}

TEST_CASE("admit: checks everything except connect, and leaves the session empty") {
  std::optional<phx::admission<user>> coming;
  {
    std::string const target = "/socket/websocket?vsn=2.0.0&token=secret&user[name]=ann";
    auto judged = phx::admit<user>(lab_mount(), phx::request::of("GET", target, {}));
    auto* in = std::get_if<phx::admission<user>>(&judged);
    REQUIRE(in != nullptr);
    coming.emplace(std::move(*in));
  }
  CHECK_FALSE(coming->session);
  CHECK_FALSE(coming->id);
  CHECK(coming->params.get("token") == "secret");
  CHECK(coming->params.get("user[name]") == "ann");
  CHECK(coming->params.filtered() == "vsn=2.0.0&token=[FILTERED]&user[name]=ann");
  coming->session.emplace("ann");
  coming->id = "user:ann";
  CHECK(coming->serializer.requirement() == "~> 2.0.0");

  std::array<phx::header, 1> const evil{{{"origin", "http://evil.org"}}};
  auto const no = phx::admit<user>(lab_mount(), phx::request::of("GET", "/socket/websocket", evil));
  REQUIRE(std::get_if<phx::refused_request>(&no) != nullptr);
  CHECK(std::get_if<phx::refused_request>(&no)->reason == phx::refusal::origin);
}

TEST_CASE("admission: a default admission has the default limits") {
  phx::admission<int> const a{.serializer = phx::serializer_ref::of<phx::v2_json>()};
  CHECK(a.bounds->channels == 100);
}

TEST_CASE("upgrade_refusal: names the missing part, in Phoenix's words") {
  std::vector<phx::header> const good{{"host", "h"},
                                      {"connection", "keep-alive, UPGRADE"},
                                      {"upgrade", "WebSocket"},
                                      {"sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
                                      {"sec-websocket-version", "13"}};
  auto const without = [&](std::string_view name, std::vector<std::string_view> instead = {},
                           std::string_view method = "GET") {
    std::vector<phx::header> some;
    for (phx::header const& h : good)
      if (h.name != name) some.push_back(h);
    for (std::string_view const value : instead) some.push_back({name, value});
    auto const no = phx::upgrade_refusal(phx::request::of(method, "/socket/websocket", some));
    if (!no) return std::string("none");
    CHECK(no->reason == phx::refusal::upgrade);
    CHECK(no->answer.status == 400);
    CHECK(no->answer.body == no->detail);
    return no->answer.body;
  };
  CHECK(without("") == "none");
  CHECK(without("connection", {"Upgrade"}) == "none");
  CHECK(without("connection", {"keep-alive", "upgrade"}) == "none");
  CHECK(without("", {}, "POST") == "HTTP method POST unsupported");
  CHECK(without("host") == "'host' header is absent");
  CHECK(without("connection") == "'connection' header must contain 'upgrade', got []");
  CHECK(without("connection", {"close", "x\"y"}) == R"('connection' header must contain 'upgrade', got ["close", "x\"y"])");
  CHECK(without("connection", {"upgraded"}) == "'connection' header must contain 'upgrade', got [\"upgraded\"]");
  CHECK(without("upgrade", {"h2c"}) == "'upgrade' header must contain 'websocket', got [\"h2c\"]");
  CHECK(without("sec-websocket-key") == "'sec-websocket-key' header is absent");
  CHECK(without("sec-websocket-key", {""}) == "'sec-websocket-key' header is absent");
  CHECK(without("sec-websocket-version") == "'sec-websocket-version' header must equal '13', got []");
  CHECK(without("sec-websocket-version", {"8"}) == "'sec-websocket-version' header must equal '13', got [\"8\"]");
}

TEST_CASE("handshake: parameters that a server has decoded already") {
  using pairs = std::vector<std::pair<std::string, std::string>>;
  auto const with = [](pairs const& given, phx::mount const& m = lab_mount(),
                       phx::transport_kind via = phx::transport_kind::websocket, std::string_view method = "GET") {
    lab d;
    bool const polls = via == phx::transport_kind::longpoll;
    // the query is not parsed: it would be refused
    auto const from = phx::request::of(method, polls ? "/socket/longpoll?a=%zz" : "/socket/websocket?a=%zz", {});
    auto const judged = phx::handshake(m, d, from, phx::params::decoded(given, m.query), via);
    if (auto const* const no = std::get_if<phx::refused_request>(&judged))
      return std::to_string(no->answer.status) + " " + std::string(to_string(no->reason)) + " " + std::to_string(d.asked);
    return std::get<phx::admission<user>>(judged).session->name;
  };
  CHECK(with({{"vsn", "2.0.0"}, {"user_id", "a b+c%20"}}) == "a b+c%20");
  CHECK(with({{"vsn", "2.0.0"}, {"user_id", "1"}, {"user_id", "2"}}) == "2");
  CHECK(with({{"vsn", "2.0.0"}, {"user_id", "7"}}, lab_mount(), phx::transport_kind::longpoll, "POST") == "7");
  CHECK(with({{"vsn", "9.0.0"}}) == "403 vsn 0");
  CHECK(with({{"vsn", "2.0.0"}, {"reject", "1"}}) == "403 connect 1");
  CHECK(with({{"vsn", "2.0.0"}}, lab_mount(), phx::transport_kind::websocket, "POST") == "400 method 0");
  CHECK(with({{"a", "\xff"}}) == "400 params 0");
  phx::mount const small{.query = {.bytes = 16, .count = 2, .depth = 2}};
  CHECK(with({{"vsn", "2.0.0"}, {"a", "1234567"}}, small) == "nobody");
  CHECK(with({{"vsn", "2.0.0"}, {"a", "12345678"}}, small) == "414 params 0");
  CHECK(with({{"vsn", "2.0.0"}, {"a", ""}, {"b", ""}}, small) == "414 params 0");
  CHECK(with({{"a[b][c]", ""}, {"d", ""}}, small) == "nobody");
  CHECK(with({{"a[b][c][d]", ""}}, small) == "414 params 0");
  auto const judged = phx::admit<user>(lab_mount(), phx::request::of("GET", "/socket/websocket", {}),
                                       phx::params::decoded(pairs{{"a", "1"}}));
  CHECK(std::get<phx::admission<user>>(judged).params.get("a") == "1");
}

TEST_CASE("refusal: each has a name and a status") {
  std::array<std::pair<phx::refusal, std::string_view>, 15> const all{{{phx::refusal::path, "404 path"},
                                                                       {phx::refusal::method, "400 method"},
                                                                       {phx::refusal::params, "400 params"},
                                                                       {phx::refusal::forwarded, "400 forwarded"},
                                                                       {phx::refusal::origin, "403 origin"},
                                                                       {phx::refusal::origin_threw, "500 origin_threw"},
                                                                       {phx::refusal::subprotocol, "403 subprotocol"},
                                                                       {phx::refusal::vsn, "403 vsn"},
                                                                       {phx::refusal::connect, "403 connect"},
                                                                       {phx::refusal::connect_threw, "500 connect_threw"},
                                                                       {phx::refusal::upgrade, "400 upgrade"},
                                                                       {phx::refusal::draining, "503 draining"},
                                                                       {phx::refusal::auth_token, "500 auth_token"},
                                                                       {phx::refusal::too_often, "429 too_often"},
                                                                       {phx::refusal::too_many, "503 too_many"}}};
  for (auto const& [reason, text] : all) {
    phx::refused_request const r = phx::refuse(reason);
    CHECK(std::to_string(r.answer.status) + " " + std::string(to_string(r.reason)) == text);
    CHECK(r.answer.body.empty());
  }
}

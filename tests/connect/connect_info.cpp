#include <phx/connect/connect_info.hpp>

#include <doctest/doctest.h>

#include <map>

#include <string>

#include <algorithm>
#include <array>

namespace {

phx::params parsed(std::string_view query) {
  auto p = phx::params::parse(query);
  REQUIRE_MESSAGE(p.has_value(), query);
  return *std::move(p);
}
phx::errc refused(std::string_view query) {
  auto p = phx::params::parse(query);
  return p.has_value() ? phx::errc::none : p.error().code;
}
/// A parameter with all its elements: `{a:1,b:[x,y]}`.
std::string shown(phx::param const& p) {
  if (auto const text = p.text()) return std::string(*text);
  std::vector<std::string> parts;
  for (phx::param const each : p)
    parts.push_back((p.is_map() ? std::string(each.name()) + ":" : std::string()) + shown(each));
  std::sort(parts.begin(), parts.begin() + (p.is_map() ? static_cast<std::ptrdiff_t>(parts.size()) : 0));
  std::string out(1, p.is_map() ? '{' : '[');
  for (std::string const& part : parts) out += (out.size() > 1 ? "," : "") + part;
  return out + (p.is_map() ? '}' : ']');
}
std::string shown(std::string_view query, std::string_view name) {
  phx::params const p = parsed(query);
  auto const found = p.find(name);
  return found ? shown(*found) : "nothing";
}

}  // namespace

TEST_CASE("params: an empty query has none") {
  CHECK(parsed("").empty());
  CHECK(parsed("&&").size() == 0);
  CHECK(phx::params().begin() == phx::params().end());
  CHECK_FALSE(phx::params().get("a"));
}

TEST_CASE("params: names and values, in any order, with or without a value") {
  phx::params const p = parsed("x=1&user_id=zed&y&vsn=2.0.0&z=&eq=a=b");
  CHECK(p.size() == 6);
  CHECK(p.get("x") == "1");
  CHECK(p.get("user_id") == "zed");
  CHECK(p.get("y") == "");
  CHECK(p.get("z") == "");
  CHECK(p.get("vsn") == "2.0.0");
  CHECK(p.get("eq") == "a=b");
  CHECK_FALSE(p.get("X"));
  CHECK_FALSE(p.get(""));
  CHECK(parsed("=empty").get("") == "empty");
}

TEST_CASE("params: plus is a space and escapes are bytes, in names too") {
  CHECK(parsed("user_id=a+b%20c%2Bd").get("user_id") == "a b c+d");
  CHECK(parsed("user_id=u%201%2F%C3%BC").get("user_id") == "u 1/\xC3\xBC");
  CHECK(parsed("a%62%5bc%5D=%3d%26").get("ab[c]") == "=&");
  CHECK(parsed("z=a%00b").get("z") == std::string_view("a\0b", 3));
}

TEST_CASE("params: of a duplicate name the last one counts") {
  CHECK(parsed("vsn=9.9.9&vsn=2.0.0").get("vsn") == "2.0.0");
  CHECK(parsed("vsn=9.9.9&vsn=2.0.0").size() == 1);
  CHECK(parsed("a[b]=1&a[b]=2").get("a[b]") == "2");
}

TEST_CASE("params: brackets make maps and lists") {
  CHECK(shown("a[b]=c&a[d]=e", "a") == "{b:c,d:e}");
  CHECK(shown("a[]=1&a[]=2&a[]=1", "a") == "[1,2,1]");
  CHECK(shown("a[b][c]=1&a[b][d][]=2", "a") == "{b:{c:1,d:[2]}}");
  CHECK(parsed("a[b][c]=1").get("a[b][c]") == "1");
  CHECK(shown("a[b][c]=1", "a[b]") == "{c:1}");
  CHECK(shown("a[][b]=1&a[][c]=2&a[]=3", "a") == "[{b:1,c:2},3]");
  CHECK_FALSE(parsed("vsn[]=2.0.0").get("vsn"));
  CHECK_FALSE(parsed("vsn[a]=1").get("vsn"));
  CHECK_FALSE(parsed("a[]=1").get("a[]"));
  CHECK_FALSE(parsed("a=1").get("a[b]"));
  CHECK_FALSE(parsed("a[b]=1").get("a[b][c]"));
  CHECK_FALSE(parsed("a[b]=1").get("a[c]"));
  phx::params const p = parsed("a[]=1&b=2&c[d]=3");
  CHECK(p.find("a")->is_list());
  CHECK_FALSE(p.find("a")->is_map());
  CHECK(p.find("c")->is_map());
  CHECK_FALSE(p.find("b")->is_list());
  CHECK(p.find("b")->text() == "2");
  CHECK(p.find("b")->begin() == p.find("b")->end());
  std::string names;
  for (phx::param const each : p) names += each.name();
  CHECK(names == "abc");
}

TEST_CASE("params: unbalanced brackets are part of the name") {
  CHECK(parsed("a[b=1").get("a[b") == "1");
  CHECK(parsed("a]=1").get("a]") == "1");
  CHECK(parsed("[a]=1").get("[a]") == "1");
  CHECK(parsed("a[b]c=1").get("a[b]c") == "1");
  CHECK(shown("a[b]c]=1", "a") == "{b]c:1}");
  CHECK(shown("a[b[c]=1", "a") == "{b[c:1}");
}

TEST_CASE("params: a name that is both text and nested keeps its latest kind, as in Plug") {
  CHECK(shown("a=1&a[b]=2", "a") == "{b:2}");
  CHECK(shown("a[b]=2&a=1", "a") == "1");
  CHECK(shown("a[b]=1&a=2&a[c]=3", "a") == "2");
  CHECK(shown("a[]=1&a[b]=2", "a") == "{b:2}");
  CHECK(shown("a[b]=2&a[]=1", "a") == "[1]");
  CHECK_FALSE(parsed("a[b]=2&a[]=1").get("a[b]"));
  CHECK_FALSE(parsed("a[b]=2&a=1").get("a[b]"));
}

TEST_CASE("params: an invalid escape or invalid UTF-8 is refused, not guessed") {
  for (std::string_view const bad : {"a=%", "a=%2", "a=%zz", "a=%2g", "%=1", "a%f=1", "ok=1&a=%+1"})
    CHECK_MESSAGE(refused(bad) == phx::errc::wrong_shape, bad);
  for (std::string_view const bad : {"a=%FF", "a=%C3", "a=%C0%80", "a=%ED%A0%80", "a=%F4%90%80%80", "a=%E2%82", "a=%80",
                                     "%FF=1", "a=\xFF", "a=%F5%80%80%80", "a=%E0%9F%BF", "a=%F0%8F%BF%BF", "a=%C3%28"})
    CHECK_MESSAGE(refused(bad) == phx::errc::invalid_utf8, bad);
  for (std::string_view const good :
       {"a=%C3%BC", "a=%E2%82%AC", "a=%F0%9F%98%80", "a=%EF%BF%BF", "a=%F4%8F%BF%BF", "a=%ED%9F%BF"})
    CHECK_MESSAGE(refused(good) == phx::errc::none, good);
  CHECK(phx::params::parse("ok=1&na\nme=%").error().entry == "na?me");
}

TEST_CASE("params: a query is limited in bytes, parameters and depth") {
  phx::params::bounds most;
  most.bytes = 10;
  CHECK(phx::params::parse("a=12345678", most).has_value());
  CHECK(phx::params::parse("a=123456789", most).error().code == phx::errc::limit_reached);
  most = {};
  most.count = 3;
  CHECK(phx::params::parse("a&b&&&c", most).has_value());
  CHECK(phx::params::parse("a&b&c&d", most).error().code == phx::errc::limit_reached);
  most = {};
  most.depth = 2;
  CHECK(phx::params::parse("a[b][c]=1", most).has_value());
  CHECK(phx::params::parse("a[b][c][d]=1", most).error().code == phx::errc::limit_reached);
  std::string hostile = "a";
  for (int i = 0; i < 10'000; ++i) hostile += "[a]";
  CHECK(refused(hostile) == phx::errc::limit_reached);
  CHECK(refused(std::string(65'536, '&')) == phx::errc::none);
  CHECK(refused(std::string(65'537, '&')) == phx::errc::limit_reached);
}

TEST_CASE("params: they may be moved and outlive the query") {
  std::optional<phx::params> kept;
  {
    std::string query = "a=b&c[d]=e";
    phx::params p = parsed(query);
    kept.emplace(std::move(p));
    std::fill(query.begin(), query.end(), 'x');
  }
  phx::params const copy = *kept;
  kept.reset();
  CHECK(copy.get("a") == "b");
  CHECK(copy.get("c[d]") == "e");
}

TEST_CASE("params: pairs that were decoded elsewhere nest as those of a query") {
  std::map<std::string, std::string> const map{{"a", "1+1 %41"}, {"m[k]", "v"}, {"l[]", "x"}};
  phx::params const p = phx::params::decoded(map).value();
  CHECK(p.size() == 3);
  CHECK(p.get("a") == "1+1 %41");
  CHECK(p.get("m[k]") == "v");
  CHECK(p.find("l")->is_list());
  std::vector<std::pair<std::string_view, char const*>> const twice{{"a", "1"}, {"a", "2"}};
  CHECK(phx::params::decoded(twice).value().get("a") == "2");
  CHECK(phx::params::decoded(std::map<std::string, std::string>{}).value().empty());
  CHECK(phx::params::decoded(std::map<std::string, std::string>{{"\xff", "1"}}).error().code == phx::errc::invalid_utf8);
  CHECK(phx::params::decoded(map, {.bytes = 1000, .count = 2}).error().code == phx::errc::limit_reached);
  CHECK(phx::params::decoded(map, {.bytes = 16, .count = 9}).error().code == phx::errc::limit_reached);
  CHECK(phx::params::decoded(map, {.bytes = 18, .count = 9}).has_value());
  CHECK(phx::params::decoded(map, {.bytes = 1000, .count = 9, .depth = 0}).error().code == phx::errc::limit_reached);
}

TEST_CASE("params: set replaces a value from the query") {
  phx::params p = parsed("room=1&other[]=2");
  p.set("room", "a%20b");
  p.set("other", "x");
  p.set("new", "y");
  CHECK(p.get("room") == "a%20b");
  CHECK(p.get("other") == "x");
  CHECK(p.get("new") == "y");
  CHECK(p.size() == 3);
}

TEST_CASE("params: a log contains no secrets") {
  CHECK(parsed("a=1&token=t&accessToken=u&user[password]=p&user[name]=ann&token_list[][x]=y&l[]=1").filtered() ==
        "a=1&token=[FILTERED]&accessToken=[FILTERED]&user[password]=[FILTERED]&user[name]=ann&token_list=[FILTERED]&l[]=1");
  CHECK(parsed("a=x%0Ay%1B").filtered() == "a=x?y?");
  CHECK(parsed("%0Aa=1").filtered() == "?a=1");
  std::array<std::string_view, 1> const words{"secret"};
  CHECK(parsed("token=1&my_secret=2").filtered(words) == "token=1&my_secret=[FILTERED]");
  CHECK(parsed("").filtered().empty());
}

TEST_CASE("request: from a request line and headers") {
  std::array<phx::header, 1> const h{{{"HOST", "example.com:4000"}}};
  phx::request const r = phx::request::of("GET", "/socket/websocket?vsn=2.0.0&x=?", h, {"10.0.0.1", 5000, {}});
  CHECK(r.method == "GET");
  CHECK(r.scheme == "http");
  CHECK(r.host == "example.com");
  CHECK(r.port == 4000);
  CHECK(r.path == "/socket/websocket");
  CHECK(r.query == "vsn=2.0.0&x=?");
  CHECK(r.peer.port == 5000);
  CHECK(r.header("hOsT") == "example.com:4000");
  CHECK_FALSE(r.header("hos"));

  auto const authority = [](std::string_view value, std::string_view scheme = "http") {
    std::array<phx::header, 1> const one{{{"Host", value}}};
    phx::request const q = phx::request::of("GET", "/", one, {}, scheme);
    return std::string(q.host) + " " + std::to_string(q.port);
  };
  CHECK(authority("h") == "h 80");
  CHECK(authority("h", "https") == "h 443");
  CHECK(authority("h:") == "h 80");
  CHECK(authority("[::1]:4000") == "::1 4000");
  CHECK(authority("[::1]") == "::1 80");
  CHECK(authority("h:65535") == "h 65535");
  for (std::string_view const nonsense : {"h:65536", "h:99999999999999999999", "h:x", "h:8 0", "h:-1", "h:1:2"})
    CHECK_MESSAGE(authority(nonsense) == "h 0", nonsense);

  phx::request const absolute = phx::request::of("GET", "http://other:81/p?q", h);
  CHECK(absolute.host == "other");
  CHECK(absolute.port == 81);
  CHECK(absolute.path == "/p");
  CHECK(absolute.query == "q");
  CHECK(phx::request::of("GET", "http://other?q", h).path == "/");
  CHECK(phx::request::of("GET", "", {}).path == "/");
  CHECK(phx::request::of("GET", "", {}).host.empty());
}

TEST_CASE("connect_info: has the headers that Phoenix shows, by lower-case name, and no others") {
  std::array<phx::header, 12> const h{{{"Host", "127.0.0.1:4000"},
                                       {"Cookie", "session=secret"},
                                       {"Authorization", "Bearer secret"},
                                       {"User-Agent", "curl/8"},
                                       {"X-Application", "Phoenix"},
                                       {"TraceParent", "00-1"},
                                       {"tracestate", "a=b"},
                                       {"Sec-WebSocket-Protocol", "phoenix, 123"},
                                       {"x-other", "2"},
                                       {"Sec-Fetch-Mode", "no"},
                                       {"Xylophone", "no"},
                                       {"traceparently", "no"}}};
  phx::request const r =
      phx::request::of("GET", "/ws/connect_info/websocket?vsn=2.0.0", h, {"127.0.0.1", 5000, std::nullopt});
  phx::params const p = parsed(r.query);
  std::vector<std::pair<std::string, std::string>> const custom{{"signing_salt", "salt"}};
  phx::connect_info const info(r, p, phx::transport_kind::websocket, custom);

  auto const text = [](std::span<phx::header const> all) {
    std::string out;
    for (phx::header const& each : all) out.append(each.name).append("=").append(each.value).append(";");
    return out;
  };
  CHECK(text(info.x_headers()) == "x-application=Phoenix;x-other=2;");
  CHECK(text(info.trace_context_headers()) == "traceparent=00-1;tracestate=a=b;");
  CHECK(text(info.sec_websocket_headers()) == "sec-websocket-protocol=phoenix, 123;");
  CHECK(phx::header_value(info.x_headers(), "X-OTHER") == "2");
  CHECK_FALSE(phx::header_value(info.x_headers(), "cookie"));
  CHECK(info.user_agent() == "curl/8");
  CHECK(info.uri().scheme == "http");
  CHECK(info.uri().host == "127.0.0.1");
  CHECK(info.uri().port == 4000);
  CHECK(info.uri().path == "/ws/connect_info/websocket");
  CHECK(info.uri().query == "vsn=2.0.0");
  CHECK(info.peer_data().address == "127.0.0.1");
  CHECK(info.peer_data().port == 5000);
  CHECK_FALSE(info.peer_data().ssl_cert);
  CHECK(info.params().get("vsn") == "2.0.0");
  CHECK(info.param("vsn") == "2.0.0");
  CHECK(info.custom("signing_salt") == "salt");
  CHECK_FALSE(info.custom("salt"));
  CHECK(info.transport() == phx::transport_kind::websocket);
  CHECK(phx::to_string(phx::transport_kind::longpoll) == "longpoll");
}

TEST_CASE("connect_info: a request without headers has none") {
  phx::request const r = phx::request::of("GET", "/", {});
  phx::params const none;
  phx::connect_info const info(r, none);
  CHECK(info.x_headers().empty());
  CHECK(info.trace_context_headers().empty());
  CHECK(info.sec_websocket_headers().empty());
  CHECK_FALSE(info.user_agent());
}

TEST_CASE("http_answer: the default is 403 with an empty body") {
  phx::http_answer const a{};
  CHECK(a.status == 403);
  CHECK(a.headers.empty());
  CHECK(a.body.empty());
}

TEST_CASE("connect_info: without credentials it has none") {
  phx::request const r = phx::request::of("GET", "/", {});
  phx::params const p;
  CHECK_FALSE(phx::connect_info(r, p).auth_token());
  CHECK_FALSE(phx::connect_info(r, p).session());
  phx::credentials const some{.auth_token = "", .session = "s"};
  phx::connect_info const info(r, p, phx::transport_kind::websocket, {}, &some);
  CHECK(info.auth_token() == "");
  CHECK(info.session() == "s");
}

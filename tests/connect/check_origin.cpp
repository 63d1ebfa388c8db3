#include <phx/connect/check_origin.hpp>

#include <doctest/doctest.h>

#include <array>
#include <string>

namespace {

using phx::check_origin;

/// A request to http://h:4000 with that Origin.
phx::origin_decision asked(check_origin const& policy, std::string_view origin,
                           std::optional<std::string_view> url_host = "localhost", bool unset_allows_all = false) {
  std::array<phx::header, 2> const h{{{"host", "h:4000"}, {"oRiGiN", origin}}};
  return policy.decide(phx::request::of("GET", "/socket/websocket", h), url_host, unset_allows_all);
}
bool allows(check_origin const& policy, std::string_view origin, std::optional<std::string_view> url_host = "localhost") {
  return asked(policy, origin, url_host).allowed;
}
bool allows_none(check_origin const& policy) {
  std::array<phx::header, 1> const h{{{"host", "h:4000"}}};
  return policy.decide(phx::request::of("GET", "/", h), "localhost").allowed;
}
/// "scheme host port", with `-` for null.
std::string taken_apart(std::string_view text) {
  phx::origin const o = phx::origin::parse(text);
  return std::string(o.scheme.value_or("-")) + " " + std::string(o.host.value_or("-")) + " " +
         (o.port ? std::to_string(*o.port) : "-");
}

}  // namespace

TEST_CASE("origin: parsed as by Elixir's URI.parse") {
  CHECK(taken_apart("http://localhost") == "http localhost 80");
  CHECK(taken_apart("HTTPS://A.Example.Com") == "HTTPS A.Example.Com 443");
  CHECK(taken_apart("//localhost") == "- localhost -");
  CHECK(taken_apart("//other.com:888") == "- other.com 888");
  CHECK(taken_apart("localhost") == "- - -");
  CHECK(taken_apart("localhost:4000") == "localhost - -");
  CHECK(taken_apart("null") == "- - -");
  CHECK(taken_apart("") == "- - -");
  CHECK(taken_apart("file://") == "file  -");
  CHECK(taken_apart("file:///a/b") == "file  -");
  CHECK(taken_apart("http:example.com") == "http - 80");
  CHECK(taken_apart("http:/example.com") == "http - 80");
  CHECK(taken_apart("http://a.com:8080/p?q#f") == "http a.com 8080");
  CHECK(taken_apart("http://a.com?x://b.com") == "http a.com 80");
  CHECK(taken_apart("http://a.com#@b.com") == "http a.com 80");
  CHECK(taken_apart("http://user:pass@a.com:1") == "http a.com 1");
  CHECK(taken_apart("http://a@b@c.com") == "http c.com 80");
  CHECK(taken_apart("http://a.com:") == "http a.com 80");
  CHECK(taken_apart("x://a.com:") == "x a.com -");
  CHECK(taken_apart("http://a.com:0080") == "http a.com 80");
  CHECK(taken_apart("http://a.com:80x") == "http a.com 80");
  CHECK(taken_apart("http://a.com:x") == "http a.com 80");
  CHECK(taken_apart("http://a:b:80") == "http a 80");
  CHECK(taken_apart("http://a.com:99999") == "http a.com 99999");
  CHECK(taken_apart("http://a.com:99999999999999999999999") == "http a.com 4294967295");
  CHECK(taken_apart("http://:80") == "http - 80");
  CHECK(taken_apart("http://user@") == "http - 80");
  CHECK(taken_apart("http://[::1]:4000") == "http ::1 4000");
  CHECK(taken_apart("http://[::1]") == "http ::1 80");
  CHECK(taken_apart("http://[::1") == "http  80");
  CHECK(taken_apart("http://[::1%25lo]:80") == "http  80");
  CHECK(taken_apart("http://localhost.") == "http localhost. 80");
  CHECK(taken_apart("1http://a.com") == "- - -");
  CHECK(taken_apart("a+b-c.1://a.com") == "a+b-c.1 a.com -");
  CHECK(taken_apart("a_b://a.com") == "- - -");
  CHECK(taken_apart("://a.com") == "- - -");
  CHECK(taken_apart("ws://h") == "ws h 80");
  CHECK(taken_apart("wss://h") == "wss h 443");
  CHECK(taken_apart("ftp://h") == "ftp h 21");
  CHECK(taken_apart("sftp://h") == "sftp h 22");
  CHECK(taken_apart("tftp://h") == "tftp h 69");
  CHECK(taken_apart("ldap://h") == "ldap h 389");
  static_assert(phx::origin::parse("https://example.com").port == 443);
}

TEST_CASE("check_origin: the truth table of a list") {
  check_origin const l{"//localhost", "//127.0.0.1", "https://*.example.com"};
  CHECK(allows_none(l));
  for (std::string_view const good :
       {"http://localhost", "https://localhost:9999", "//localhost", "https://example.com", "https://a.example.com",
        "https://a.b.example.com", "https://a.example.com:443", "https://a.example.com/", "HTTPS://a.example.com",
        "http://127.0.0.1", "http://127.0.0.1:9999", "http://user@localhost", "http://localhost/path?x=1"})
    CHECK_MESSAGE(allows(l, good), good);
  for (std::string_view const bad : {"https://localhost.",
                                     "localhost",
                                     "null",
                                     "",
                                     "file://",
                                     "https://a.example.com:444",
                                     "http://a.example.com",
                                     "wss://a.example.com",
                                     "https://A.EXAMPLE.COM",
                                     "https://evilexample.com",
                                     "http://localhost@evil.com",
                                     "http://evil.com#@localhost",
                                     "http://LOCALHOST",
                                     "HTTPS://WWW.EXAMPLE.COM",
                                     "http://evil.org",
                                     "https://localhost.evil.org",
                                     "http://127.0.0.2",
                                     "http://[::1]",
                                     "http://localhost.",
                                     "https://www.example.com.",
                                     "https://example.com.evil.org",
                                     "https://www.example.com.evil.org",
                                     "https://.",
                                     "https://",
                                     "https://*",
                                     "http://"})
    CHECK_MESSAGE(!allows(l, bad), bad);
  // the suffix is `.example.com`; Phoenix allows an empty label before it
  CHECK(allows(l, "https://.example.com"));
}

TEST_CASE("check_origin: the truth table of the other forms") {
  check_origin const yes = true;
  CHECK(allows(yes, "http://example.com:81", "example.com"));
  CHECK(allows(yes, "//example.com", "example.com"));
  CHECK_FALSE(allows(yes, "http://www.example.com", "example.com"));
  CHECK_FALSE(allows(yes, "http://EXAMPLE.com", "example.com"));
  CHECK_FALSE(allows(yes, "file://", "example.com"));
  CHECK(allows(yes, "https://anything", std::nullopt));
  CHECK_FALSE(allows(yes, "null", std::nullopt));
  CHECK(allows_none(yes));

  check_origin const port = check_origin::list({"//other.com:888"});
  CHECK(allows(port, "http://other.com:888"));
  CHECK_FALSE(allows(port, "http://other.com"));
  CHECK_FALSE(allows(port, "//other.com"));
  check_origin const scheme{"http://other.com"};
  CHECK(allows(scheme, "http://other.com:80"));
  CHECK_FALSE(allows(scheme, "http://other.com:8080"));
  CHECK_FALSE(allows(scheme, "https://other.com:80"));
  CHECK_FALSE(allows(scheme, "//other.com"));
  check_origin const wild{"//*.other.com"};
  CHECK(allows(wild, "http://other.com"));
  CHECK(allows(wild, "https://a.other.com:1"));
  CHECK_FALSE(allows(wild, "https://another.com"));
  CHECK_FALSE(allows(check_origin{"//a*.other.com"}, "http://ab.other.com"));

  check_origin const conn = check_origin::conn();
  CHECK(allows(conn, "http://h:4000"));
  CHECK(allows(conn, "HTTP://h:4000"));
  CHECK_FALSE(allows(conn, "https://h:4000"));
  CHECK_FALSE(allows(conn, "http://h"));
  CHECK_FALSE(allows(conn, "http://other:4000"));
  CHECK_FALSE(allows(conn, "//h:4000"));
  CHECK_FALSE(allows(conn, "null"));
  CHECK(allows_none(conn));

  check_origin const no = false;
  CHECK(allows(no, "http://evil.org"));
  CHECK(allows(no, "null"));
  CHECK(no.allows_all());
  CHECK_FALSE(yes.allows_all());
  CHECK_FALSE(check_origin().allows_all());
}

TEST_CASE("check_origin: conn without a host in the request or the origin refuses") {
  std::array<phx::header, 1> const h{{{"origin", "http://"}}};
  CHECK_FALSE(check_origin::conn().decide(phx::request::of("GET", "/", h), "").allowed);
  std::array<phx::header, 1> const hostless{{{"origin", "http://:80"}}};
  CHECK_FALSE(check_origin::conn().decide(phx::request::of("GET", "/", hostless), "").allowed);
}

TEST_CASE("check_origin: a callback decides, also about an origin without a host, and gets the scheme in lower case") {
  std::string seen;
  check_origin const c = check_origin::callback([&seen](phx::origin const& o) {
    seen = std::string(o.scheme.value_or("-")) + " " + std::string(o.host.value_or("-"));
    return !o.host;
  });
  CHECK(allows(c, "null"));
  CHECK(seen == "- -");
  CHECK_FALSE(allows(c, "HTTPS://A.com"));
  CHECK(seen == "https A.com");
  seen = "not asked";
  CHECK(allows_none(c));
  CHECK(seen == "not asked");
}

TEST_CASE("check_origin: a callback is owned, shared by copies and released once") {
  struct counted {
    int* alive;
    explicit counted(int* a) : alive(a) { ++*alive; }
    counted(counted const& o) : alive(o.alive) { ++*alive; }
    counted(counted&& o) noexcept : alive(o.alive) { ++*alive; }
    counted& operator=(counted const&) = delete;
    ~counted() { --*alive; }
    bool operator()(phx::origin const& o) const { return o.host == "yes"; }
  };
  int alive = 0;
  {
    check_origin a = check_origin::callback(counted(&alive));
    CHECK(alive == 1);
    check_origin b = a;
    check_origin c{"//localhost"};
    c = b;
    a = check_origin(false);
    CHECK(alive == 1);
    check_origin d = std::move(b);
    CHECK(allows(c, "http://yes"));
    CHECK_FALSE(allows(d, "http://no"));
    CHECK_FALSE(allows(b, "http://yes"));  // moved from: allows nobody
    check_origin& self = c;
    c = self;
    CHECK(allows(c, "http://yes"));
  }
  CHECK(alive == 0);
}

#ifdef __cpp_exceptions
TEST_CASE("check_origin: a callback that throws refuses, and the exception's text is reported") {
  check_origin const c = check_origin::callback([](phx::origin const&) -> bool { throw std::runtime_error("no list"); });
  phx::origin_decision const d = asked(c, "http://a.com");
  CHECK_FALSE(d.allowed);
  CHECK(d.threw);
  CHECK(d.detail == "origin http://a.com refused by a callback, which threw: no list");
}
#endif

TEST_CASE("check_origin: unset means true; generations before v0_15 allow all") {
  check_origin const unset;
  CHECK(unset.unset());
  CHECK(asked(unset, "http://localhost").allowed);
  CHECK_FALSE(asked(unset, "http://evil.org").allowed);
  CHECK(asked(unset, "http://evil.org", "localhost", true).allowed);
  CHECK_FALSE(asked(check_origin{"//localhost"}, "http://evil.org", "localhost", true).allowed);
  CHECK_FALSE(asked(check_origin(true), "http://evil.org", "localhost", true).allowed);
}

TEST_CASE("check_origin: in the list of Phoenix 0.11 to 0.15 a null on either side matches and a star is not a wildcard") {
  check_origin const l = check_origin::seed({"http://example.com", "//other.com:888", "//*.wild.com"});
  CHECK(allows_none(l));
  for (std::string_view const good : {"http://example.com", "//example.com", "null", "foo", "", "//other.com",
                                      "x://other.com", "http://other.com:888", "http://*.wild.com"})
    CHECK_MESSAGE(allows(l, good), good);
  for (std::string_view const bad : {"https://example.com", "http://example.com:81", "http://other.com", "http://a.wild.com",
                                     "http://wild.com", "http://evil.org", "file://"})
    CHECK_MESSAGE(!allows(l, bad), bad);
}

TEST_CASE("check_origin: a list may be read at run time, and an entry without a host is reported") {
  auto const good = check_origin::parse({"//localhost", "https://*.example.com"});
  REQUIRE(good.has_value());
  CHECK(good->entries().size() == 2);
  CHECK(allows(*good, "https://a.example.com"));
  std::vector<std::string> const from_a_file{"//localhost", "other.com"};
  auto const bad = check_origin::parse(from_a_file);
  REQUIRE_FALSE(bad.has_value());
  CHECK(bad.error().code == phx::errc::origin_without_host);
  CHECK(bad.error().entry == "other.com");
  for (std::string_view const entry : {"", "null", "http:", "https://:443", "*.example.com"})
    CHECK_MESSAGE(!check_origin::parse({entry}).has_value(), entry);
  CHECK_FALSE(allows(*check_origin::parse(std::vector<std::string>{}), "http://localhost"));
}

TEST_CASE("check_origin: a refusal names the origin and the list, on one line") {
  CHECK(asked(check_origin{"//localhost", "https://*.example.com"}, "http://evil.org").detail ==
        R"(origin http://evil.org refused by the list ["//localhost", "https://*.example.com"])");
  CHECK(asked(check_origin{"//localhost"}, "http://localhost").detail.empty());
  CHECK(asked(check_origin(true), "http://evil.org").detail == "origin http://evil.org refused by true, the host localhost");
  CHECK(asked(check_origin(true), "null", std::nullopt).detail == "origin null refused by true: it has no host");
  CHECK(asked(check_origin::conn(), "null").detail == "origin null refused by conn, http://h:4000");
  CHECK(asked(check_origin::callback([](phx::origin const&) { return false; }), "x").detail ==
        "origin x refused by a callback");
  CHECK(asked(check_origin{"//localhost"}, "http://a\r\nb").detail ==
        "origin http://a??b refused by the list [\"//localhost\"]");
  CHECK(asked(check_origin{"//localhost"}, std::string(5000, 'x')).detail.size() < 300);
  CHECK(asked(check_origin{"//localhost"}, "http://evil.org").header == "http://evil.org");
}

TEST_CASE("check_origin: of several Origin headers the first counts") {
  std::array<phx::header, 2> const h{{{"origin", "http://localhost"}, {"origin", "http://evil.org"}}};
  std::array<phx::header, 2> const other{{{"origin", "http://evil.org"}, {"origin", "http://localhost"}}};
  check_origin const l{"//localhost"};
  CHECK(l.decide(phx::request::of("GET", "/", h), {}).allowed);
  CHECK_FALSE(l.decide(phx::request::of("GET", "/", other), {}).allowed);
}

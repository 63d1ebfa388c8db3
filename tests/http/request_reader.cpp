#include <phx/adapter/detail/http.hpp>

#include <doctest/doctest.h>

#include <string>

using phx::detail::head_reader;
using namespace std::string_literals;

namespace {

constexpr auto more = head_reader::progress::more;
constexpr auto done = head_reader::progress::done;
constexpr auto refused = head_reader::progress::refused;

/// The status a head is refused with, 0 for done, 1 for more; the same however it is cut.
int outcome(std::string const& bytes) {
  auto const code = [](head_reader const& r, head_reader::progress p) {
    return p == done ? 0 : p == more ? 1 : static_cast<int>(r.status());
  };
  head_reader whole;
  int const at_once = code(whole, whole.read(bytes));
  for (std::size_t step : {std::size_t{1}, std::size_t{5}}) {
    head_reader r;
    auto p = more;
    for (std::size_t n = step; p == more && n < bytes.size() + step; n += step)
      p = r.read(bytes.substr(0, n));  // moves, too
    CHECK(code(r, p) == at_once);
  }
  return at_once;
}
std::string get(std::string const& headers) { return "GET / HTTP/1.1\r\nhost: h\r\n" + headers + "\r\n"; }

}  // namespace

TEST_CASE("http: a head comes out as the request it is") {
  std::string const bytes =
      "GET /socket/websocket?vsn=2.0.0&a=%20 HTTP/1.1\r\nHost: [::1]:4000\r\nX-Odd:\t  two words "
      "\t\r\nx-empty:\r\n\r\nframes";
  head_reader r;
  REQUIRE(r.read(bytes) == done);
  CHECK(r.method() == "GET");
  CHECK(r.target() == "/socket/websocket?vsn=2.0.0&a=%20");
  REQUIRE(r.headers().size() == 3);
  CHECK(r.headers()[0].name == "Host");
  CHECK(r.headers()[1].name == "X-Odd");
  CHECK(r.headers()[1].value == "two words");
  CHECK(r.headers()[2].value == "");
  CHECK(bytes.substr(r.size()) == "frames");
  CHECK_FALSE(r.has_body());
  phx::request const q = phx::request::of(r.method(), r.target(), r.headers());
  CHECK(q.path == "/socket/websocket");
  CHECK(q.query == "vsn=2.0.0&a=%20");
  CHECK(q.host == "::1");
  CHECK(q.port == 4000);
}

TEST_CASE("http: a head may come byte by byte, and its buffer may move meanwhile") {
  std::string const bytes = get("a: 1\r\nb: 2\r\n");
  head_reader r;
  for (std::size_t n = 0; n < bytes.size(); ++n) REQUIRE(r.read(std::string(bytes, 0, n)) == more);
  REQUIRE(r.read(bytes) == done);
  CHECK(r.method() == "GET");
  CHECK(r.headers()[2].name == "b");
  CHECK(r.headers()[2].value == "2");
}

TEST_CASE("http: request lines that are none are 400, other versions 505") {
  for (char const* line : {"", "GET", "GET /", "GET  HTTP/1.1", " / HTTP/1.1", "G(T / HTTP/1.1", "GET /a b HTTP/1.1",
                           "GET /a\tb HTTP/1.1", "GET /\x01 HTTP/1.1", "GET /\xc3\xa9 HTTP/1.1", "GET /\x7f HTTP/1.1",
                           "GET /#x HTTP/1.1", "GET / http/1.1", "GET / "})
    CHECK_MESSAGE(outcome(line + "\r\nhost: h\r\n\r\n"s) == 400, line);
  for (char const* version : {"HTTP/1.0", "HTTP/2.0", "HTTP/1.1 ", "HTTP/1.10", "HTTP/"})
    CHECK_MESSAGE(outcome("GET / "s + version + "\r\nhost: h\r\n\r\n") != 0, version);
  CHECK(outcome("GET / HTTP/1.0\r\nhost: h\r\n\r\n") == 505);
  CHECK(outcome("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 505);
  CHECK(outcome("M-SEARCH /x HTTP/1.1\r\nhost: h\r\n\r\n") == 0);
}

TEST_CASE("http: headers that another server might read differently are 400") {
  CHECK(outcome(get("a: 1\r\n")) == 0);
  CHECK(outcome(get("a: \xc3\xa9\t.\r\n")) == 0);  // obs-text and tabs in a value are allowed
  for (char const* bad : {"a : 1\r\n", " a: 1\r\n", "a: 1\r\n folded\r\n", "a: 1\r\n\tfolded\r\n", "a\r\n", ": 1\r\n",
                          "a b: 1\r\n", "a: 1\nb: 2\r\n", "a: 1\rb: 2\r\n", "a: \x01\r\n", "a: \x7f\r\n", "\xc3\xa9: 1\r\n",
                          "host: twice\r\n", "HOST: h\r\n"})
    CHECK_MESSAGE(outcome(get(bad)) == 400, bad);
  CHECK(outcome(get("a: x\0y\r\n"s)) == 400);
  CHECK(outcome("GET / HTTP/1.1\nhost: h\n\n") == 400);
  CHECK(outcome("\r\n" + get("")) == 400);
  CHECK(outcome("GET / HTTP/1.1\r\n\r\n") == 400);  // no Host
}

TEST_CASE("http: a head is bounded in bytes and headers") {
  std::string headers;
  for (std::size_t i = 0; i < head_reader::most_headers - 1; ++i) headers += "x: y\r\n";  // and Host
  CHECK(outcome(get(headers)) == 0);
  CHECK(outcome(get(headers + "x: y\r\n")) == 431);

  std::string const frame = get("x: \r\n");
  std::string const fits = get("x: " + std::string(head_reader::most_bytes - frame.size(), 'y') + "\r\n");
  REQUIRE(fits.size() == head_reader::most_bytes);
  head_reader a, b, c;
  CHECK(a.read(fits) == done);
  CHECK(a.size() == fits.size());
  CHECK(b.read(get("x: " + std::string(head_reader::most_bytes - frame.size() + 1, 'y') + "\r\n")) == refused);
  CHECK(b.status() == 431);
  CHECK(c.read(std::string(head_reader::most_bytes, 'G')) == refused);  // not even a line
  CHECK(c.status() == 431);
}

TEST_CASE("http: an announced body is noticed, and where it ends is said once") {
  auto const body = [](std::string const& headers) {
    head_reader r;
    std::string const bytes = get(headers);
    REQUIRE(r.read(bytes) == done);
    return r.has_body();
  };
  CHECK(body("Content-Length: 3\r\n"));
  CHECK(body("transfer-encoding: Chunked\r\n"));
  CHECK_FALSE(body("content-length: 0\r\n"));
  CHECK_FALSE(body("content-length: 00\r\n"));
  for (char const* bad :
       {"content-length: 3\r\ncontent-length: 3\r\n", "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n", "transfer-encoding: identity\r\n", "transfer-encoding:\r\n", "content-length:\r\n",
        "content-length: +3\r\n", "content-length: -1\r\n", "content-length: 0x3\r\n", "content-length: 3, 3\r\n",
        "content-length: 3 3\r\n", "content-length: 99999999999999999999\r\n"})
    CHECK_MESSAGE(outcome(get(bad)) == 400, bad);
}

namespace {

/// What comes of the bytes behind a head: the body and `|` and what is left, `more` or `no`; the same however they are cut.
std::string body_of(std::string const& headers, std::string const& bytes, std::size_t most = 100) {
  head_reader head;
  std::string const text = get(headers);
  REQUIRE(head.read(text) == done);
  std::string first;
  for (std::size_t const step : {bytes.size() + 1, std::size_t{1}, std::size_t{3}}) {
    phx::detail::body_reader reader(head, most);
    std::string body, said;
    std::string_view none;
    auto p = reader.read(none, body);
    std::size_t at = 0;
    while (p == more && at < bytes.size()) {
      std::string_view part = std::string_view(bytes).substr(at, step);
      std::size_t const given = part.size();
      p = reader.read(part, body);
      at += given - part.size();
      if (p == more) CHECK(part.empty());
    }
    said = p == done ? body + '|' + bytes.substr(at) : p == more ? "more" : "no";
    if (first.empty()) first = said;
    CHECK(said == first);
    CHECK(body.size() <= most);
  }
  return first;
}
std::string chunked(std::string const& bytes, std::size_t most = 100) { return body_of("transfer-encoding: chunked\r\n", bytes, most); }

}  // namespace

TEST_CASE("http: a body of so many bytes") {
  CHECK(body_of("", "GET /") == "|GET /");
  CHECK(body_of("content-length: 0\r\n", "GET /") == "|GET /");
  CHECK(body_of("content-length: 5\r\n", "helloGET /") == "hello|GET /");
  CHECK(body_of("content-length: 5\r\n", "hell") == "more");
  CHECK(body_of("content-length: 5\r\n", "hello", 5) == "hello|");
  CHECK(body_of("content-length: 6\r\n", "hello!", 5) == "no");
  CHECK(body_of("content-length: 9999999999999999999\r\n", "") == "no");
}

TEST_CASE("http: a body in chunks, which has nothing beside it") {
  CHECK(chunked("0\r\n\r\nGET /") == "|GET /");
  CHECK(chunked("3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n") == "abc0123456789|");
  CHECK(chunked("3 \t;x\r\na\r\n\r\n0\r\n\r\n") == "a\r\n|");
  CHECK(chunked("0;last\r\nx-forwarded-for: me\r\nx: y\r\n\r\nGET /") == "|GET /");
  CHECK(chunked("3\r\nabc\r\n0\r\n\r") == "more");
  CHECK(chunked("3\r\nabc\r\n0\r\nx: y\r\n") == "more");
  for (char const* bad :
       {"zz\r\n", "-1\r\n", " 1\r\n", "+1\r\n", "0x1\r\n", "\r\n", ";x\r\n", "1\na\n0\n\n", "1\r\naa\r\n", "1\r\na\n", "1\rx",
        "1;\nx", "1;\r\r\n", "0\r\n\n", "0\r\nx: y\n\r\n", "0\r\n\rx", "1\r\na\rx", "1 2\x01\r\n"})
    CHECK_MESSAGE(chunked(bad) == "no", bad);
}

TEST_CASE("http: chunks are bounded together, and so is what stands beside them") {
  CHECK(chunked("5\r\nabcde\r\n0\r\n\r\n", 5) == "abcde|");
  CHECK(chunked("6\r\n", 5) == "no");
  CHECK(chunked("3\r\nabc\r\n3\r\n", 5) == "no");
  CHECK(chunked("fffffffffffffff0\r\n") == "no");
  CHECK(chunked("ffffffffffffffffffffffffffffffffff\r\n", SIZE_MAX) == "no");
  std::string zeros(100'000, '0');
  zeros.append("1\r\na\r\n0\r\n\r\n");
  CHECK(chunked(zeros) == "no");
  using phx::detail::body_reader;
  std::string const fits(body_reader::most_line, 'x');
  CHECK(chunked("1;" + fits + "\r\na\r\n0\r\n" + fits + "\r\n\r\n") == "a|");
  CHECK(chunked("1;" + fits + "x\r\n") == "no");
  CHECK(chunked("0\r\n" + fits + "\r\nx\r\n") == "no");
}

TEST_CASE("http: the accept key is the RFC's own example") {
  CHECK(phx::detail::accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST_CASE("http: sha1 at the lengths where its padding turns") {
  auto const hash = [](std::string const& s) {
    auto const bytes = phx::detail::sha1(s);
    return phx::detail::to_base64({bytes.data(), bytes.size()}, phx::detail::base64_alphabet::standard);
  };
  CHECK(hash("") == "2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
  CHECK(hash("abc") == "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
  CHECK(hash(std::string(55, 'a')) == "wci73CJ5bijA4VFj0giZtlYh1lo=");
  CHECK(hash(std::string(56, 'a')) == "wtszD2CDhUyZ1LW/tujynyAb5pk=");
  CHECK(hash(std::string(64, 'a')) == "AJi6gktcFkJ716ESKlpEKiXsZE0=");
}

TEST_CASE("http: the upgrade's answer") {
  CHECK(phx::detail::switching_protocols("dGhlIHNhbXBsZSBub25jZQ==") ==
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
  CHECK(phx::detail::switching_protocols("k", "phoenix").ends_with("\r\nsec-websocket-protocol: phoenix\r\n\r\n"));
}

TEST_CASE("http: an answer ends the connection and cannot be made to say two things") {
  using phx::detail::to_bytes;
  CHECK(to_bytes({}) == "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
  CHECK(to_bytes({503, {{"retry-after", "1"}}, "later"}) ==
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 5\r\nretry-after: 1\r\n\r\nlater");
  CHECK(to_bytes(
            {403, {{"a", "b\r\nset-cookie: c"}, {"x\r\ny", "z"}, {"", "z"}, {"a b", "z"}, {"Content-Length", "9"}}, ""}) ==
        to_bytes({}));
  CHECK(to_bytes({200, {{"connection", "close"}}, "on"}, true) == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\non");
  CHECK(to_bytes({204, {}, "ignored"}) == "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
  CHECK(to_bytes({418, {}, ""}).starts_with("HTTP/1.1 418 \r\n"));
  CHECK(to_bytes({101, {}, ""}).starts_with("HTTP/1.1 500 "));
}

#include <phx/http/request_reader.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>

using phx::http::progress;
using phx::http::request_reader;
using namespace std::string_literals;

namespace {

constexpr auto more = progress::need_more;
constexpr auto done = progress::complete;
constexpr auto refused = progress::refused;

/// The status of the refusal, 0 for complete, 1 for more; checked to be the same however the input is split.
int outcome(std::string const& bytes) {
  auto const code = [](request_reader const& r, progress p) {
    return p == done ? 0 : p == more ? 1 : static_cast<int>(r.status());
  };
  request_reader whole;
  int const at_once = code(whole, whole.read(bytes));
  for (std::size_t step : {std::size_t{1}, std::size_t{5}}) {
    request_reader r;
    auto p = more;
    for (std::size_t n = step; p == more && n < bytes.size() + step; n += step)
      p = r.read(bytes.substr(0, n));  // also moves the buffer
    CHECK(code(r, p) == at_once);
  }
  return at_once;
}
std::string get(std::string const& headers) { return "GET / HTTP/1.1\r\nhost: h\r\n" + headers + "\r\n"; }

}  // namespace

TEST_CASE("http: a head is read into a request") {
  std::string const bytes =
      "GET /socket/websocket?vsn=2.0.0&a=%20 HTTP/1.1\r\nHost: [::1]:4000\r\nX-Odd:\t  two words "
      "\t\r\nx-empty:\r\n\r\nframes";
  request_reader r;
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

TEST_CASE("http: a head may arrive byte by byte, and its buffer may move meanwhile") {
  std::string const bytes = get("a: 1\r\nb: 2\r\n");
  request_reader r;
  for (std::size_t n = 0; n < bytes.size(); ++n) REQUIRE(r.read(std::string(bytes, 0, n)) == more);
  REQUIRE(r.read(bytes) == done);
  CHECK(r.method() == "GET");
  CHECK(r.headers()[2].name == "b");
  CHECK(r.headers()[2].value == "2");
}

TEST_CASE("http: invalid request lines are 400, other versions 505") {
  for (char const* line :
       {"", "GET", "GET /", "GET  HTTP/1.1", " / HTTP/1.1", "G(T / HTTP/1.1", "GET /a b HTTP/1.1", "GET /a\tb HTTP/1.1",
        "GET /\x01 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /#x HTTP/1.1", "GET / http/1.1", "GET / "})
    CHECK_MESSAGE(outcome(line + "\r\nhost: h\r\n\r\n"s) == 400, line);
  for (char const* version : {"HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/1.1 ", "HTTP/1.10", "HTTP/"})
    CHECK_MESSAGE(outcome("GET / "s + version + "\r\nhost: h\r\n\r\n") != 0, version);
  CHECK(outcome("GET / HTTP/1.2\r\nhost: h\r\n\r\n") == 505);
  CHECK(outcome("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 505);
  CHECK(outcome("M-SEARCH /x HTTP/1.1\r\nhost: h\r\n\r\n") == 0);
}

TEST_CASE("http: headers that another server may read differently are 400") {
  CHECK(outcome(get("a: 1\r\n")) == 0);
  CHECK(outcome(get("a: \xc3\xa9\t.\r\n")) == 0);  // obs-text and tabs in a value are allowed
  for (char const* bad : {"a : 1\r\n", " a: 1\r\n", "a: 1\r\n folded\r\n", "a: 1\r\n\tfolded\r\n", "a\r\n", ": 1\r\n",
                          "a b: 1\r\n", "a: 1\nb: 2\r\n", "a: 1\rb: 2\r\n", "a: \x01\r\n", "a: \x7f\r\n", "\xc3\xa9: 1\r\n",
                          "host: twice\r\n", "HOST: h\r\n"})
    CHECK_MESSAGE(outcome(get(bad)) == 400, bad);
  CHECK(outcome(get("a: x\0y\r\n"s)) == 400);
  CHECK(outcome("GET / HTTP/1.1\nhost: h\n\n") == 400);
  CHECK(outcome("GET / HTTP/1.1\r\n\r\n") == 400);  // no Host
}

TEST_CASE("http: a head is limited in bytes and headers") {
  std::string headers;
  for (std::size_t i = 0; i < request_reader::max_headers - 1; ++i) headers += "x: y\r\n";  // plus Host
  CHECK(outcome(get(headers)) == 0);
  CHECK(outcome(get(headers + "x: y\r\n")) == 431);

  std::string const frame = get("x: \r\n");
  std::string const fits = get("x: " + std::string(request_reader::default_max_bytes - frame.size(), 'y') + "\r\n");
  REQUIRE(fits.size() == request_reader::default_max_bytes);
  request_reader a, b, c;
  CHECK(a.read(fits) == done);
  CHECK(a.size() == fits.size());
  CHECK(b.read(get("x: " + std::string(request_reader::default_max_bytes - frame.size() + 1, 'y') + "\r\n")) == refused);
  CHECK(b.status() == 431);
  CHECK(c.read(std::string(request_reader::default_max_bytes, 'G')) == refused);  // not even a line
  CHECK(c.status() == 431);
}

TEST_CASE("http: a body is detected, and its end is unambiguous") {
  auto const body = [](std::string const& headers) {
    request_reader r;
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
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: identity\r\n", "transfer-encoding:\r\n", "content-length:\r\n", "content-length: +3\r\n",
        "content-length: -1\r\n", "content-length: 0x3\r\n", "content-length: 3, 3\r\n", "content-length: 3 3\r\n",
        "content-length: 99999999999999999999\r\n"})
    CHECK_MESSAGE(outcome(get(bad)) == 400, bad);
}

TEST_CASE("http: a few empty lines before a request line are skipped") {
  std::string lines;
  for (std::size_t i = 0; i < request_reader::max_empty_lines; ++i) {
    lines += "\r\n";
    CHECK(outcome(lines + get("a: 1\r\n")) == 0);
  }
  CHECK(outcome(lines + "\r\n") == 400);
  CHECK(outcome("\n" + get("")) == 400);
  CHECK(outcome("\r\n\n" + get("")) == 400);
  CHECK(outcome("\r\n \r\n" + get("")) == 400);

  std::string const bytes = "\r\n\r\n" + get("a: 1\r\n") + "next";
  request_reader r;
  CHECK(r.read(bytes.substr(0, 2)) == more);
  CHECK_FALSE(r.begun());
  CHECK(r.read(bytes.substr(0, 5)) == more);
  CHECK(r.begun());
  REQUIRE(r.read(bytes) == done);
  CHECK(r.method() == "GET");
  CHECK(r.target() == "/");
  CHECK(r.headers()[1].value == "1");
  CHECK(bytes.substr(r.size()) == "next");
  r.reset();
  CHECK_FALSE(r.begun());
  CHECK(r.read(get("")) == done);
}

TEST_CASE("http: raw UTF-8 in a target is accepted") {
  request_reader r;
  REQUIRE(r.read("GET /\xc3\xa9?name=\xc5\xbc\xff HTTP/1.1\r\nhost: h\r\n\r\n") == done);
  CHECK(r.request().path == "/\xc3\xa9");
  CHECK(r.request().query == "name=\xc5\xbc\xff");  // params::parse checks that it is UTF-8
}

TEST_CASE("http: HTTP/1.0 needs no Host, has no chunks, and closes after the response") {
  request_reader r;
  REQUIRE(r.read("OPTIONS / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n") == done);
  CHECK(r.version() == 10);
  CHECK(r.request().version == 10);
  CHECK_FALSE(r.keep_alive());
  CHECK(outcome("POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\n") == 0);
  CHECK(outcome("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n") == 400);
  r.reset();
  REQUIRE(r.read("POST / HTTP/1.0\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n") == done);
  CHECK_FALSE(r.expects_continue());
}

TEST_CASE("http: whether the connection continues, and whether the client expects 100") {
  auto const read = [](std::string const& headers) {
    request_reader r;
    std::string const bytes = get(headers);
    REQUIRE(r.read(bytes) == done);
    return std::pair(r.keep_alive(), r.expects_continue());
  };
  CHECK(read("") == std::pair(true, false));
  CHECK(read("connection: x, Close\r\n") == std::pair(false, false));
  CHECK(read("connection: keep-alive\r\nconnection: close\r\n") == std::pair(false, false));
  CHECK(read("expect: 100-Continue\r\n") == std::pair(true, false));  // without a body the client does not wait
  CHECK(read("expect: 100-Continue\r\ncontent-length: 1\r\n") == std::pair(true, true));
}

TEST_CASE("http: a host may set a limit below 16 KB") {
  request_reader r(100);
  CHECK(r.read(get("x: " + std::string(50, 'y') + "\r\n")) == done);
  r.reset();
  CHECK(r.read("GET / HTTP/1.1\r\nx: " + std::string(100, 'y')) == refused);
  CHECK(r.status() == 431);
}

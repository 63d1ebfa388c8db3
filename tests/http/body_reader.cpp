#include <phx/http/body_reader.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

using phx::http::body_event;
using phx::http::body_reader;
using phx::http::request_reader;

namespace {

std::string get(std::string const& headers) { return "GET / HTTP/1.1\r\nhost: h\r\n" + headers + "\r\n"; }

}  // namespace

namespace {

/// The body, `|` and the remaining bytes, or `more` or `no`; checked to be the same however the input is split.
std::string body_of(std::string const& headers, std::string const& bytes, std::size_t most = 100) {
  request_reader head;
  std::string const text = get(headers);
  REQUIRE(head.read(text) == phx::http::progress::complete);
  std::string first;
  for (std::size_t const step : {bytes.size() + 1, std::size_t{1}, std::size_t{3}}) {
    body_reader reader(head, most);
    std::string body, outcome;
    std::string_view none;
    auto state = reader.next(none).state;
    std::size_t at = 0;
    while (state == body_event::need_more && at < bytes.size()) {
      std::string_view part = std::string_view(bytes).substr(at, step);
      std::size_t const given = part.size();
      body_event event = reader.next(part);
      for (; event.state == body_event::data; event = reader.next(part)) body += event.part;
      state = event.state;
      at += given - part.size();
      if (state == body_event::need_more) CHECK(part.empty());
    }
    outcome = state == body_event::complete ? body + '|' + bytes.substr(at) : state == body_event::need_more ? "more" : "no";
    if (state == body_event::refused) CHECK((reader.status() == 400 || reader.status() == 413));
    if (first.empty()) first = outcome;
    CHECK(outcome == first);
    CHECK(body.size() <= most);
  }
  return first;
}
std::string chunked(std::string const& bytes, std::size_t most = 100) {
  return body_of("transfer-encoding: chunked\r\n", bytes, most);
}

}  // namespace

TEST_CASE("http: a body of a given length") {
  CHECK(body_of("", "GET /") == "|GET /");
  CHECK(body_of("content-length: 0\r\n", "GET /") == "|GET /");
  CHECK(body_of("content-length: 5\r\n", "helloGET /") == "hello|GET /");
  CHECK(body_of("content-length: 5\r\n", "hell") == "more");
  CHECK(body_of("content-length: 5\r\n", "hello", 5) == "hello|");
  CHECK(body_of("content-length: 6\r\n", "hello!", 5) == "no");
  CHECK(body_of("content-length: 9999999999999999999\r\n", "") == "no");
}

TEST_CASE("http: a body in chunks, without anything else") {
  CHECK(chunked("0\r\n\r\nGET /") == "|GET /");
  CHECK(chunked("3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n") == "abc0123456789|");
  CHECK(chunked("3 \t;x\r\na\r\n\r\n0\r\n\r\n") == "a\r\n|");
  CHECK(chunked("0;last\r\nx-forwarded-for: me\r\nx: y\r\n\r\nGET /") == "|GET /");
  CHECK(chunked("3\r\nabc\r\n0\r\n\r") == "more");
  CHECK(chunked("3\r\nabc\r\n0\r\nx: y\r\n") == "more");
  for (char const* bad :
       {"zz\r\n", "-1\r\n", " 1\r\n", "+1\r\n", "0x1\r\n", "\r\n", ";x\r\n", "1\na\n0\n\n", "1\r\naa\r\n", "1\r\na\n",
        "1\rx", "1;\nx", "1;\r\r\n", "0\r\n\n", "0\r\nx: y\n\r\n", "0\r\n\rx", "1\r\na\rx", "1 2\x01\r\n"})
    CHECK_MESSAGE(chunked(bad) == "no", bad);
}

TEST_CASE("http: chunks have one limit together, and so have extensions and trailers") {
  CHECK(chunked("5\r\nabcde\r\n0\r\n\r\n", 5) == "abcde|");
  CHECK(chunked("6\r\n", 5) == "no");
  CHECK(chunked("3\r\nabc\r\n3\r\n", 5) == "no");
  CHECK(chunked("fffffffffffffff0\r\n") == "no");
  CHECK(chunked("ffffffffffffffffffffffffffffffffff\r\n", SIZE_MAX) == "no");
  std::string zeros(100'000, '0');
  zeros.append("1\r\na\r\n0\r\n\r\n");
  CHECK(chunked(zeros) == "no");
  std::string const fits(body_reader::max_line, 'x');
  CHECK(chunked("1;" + fits + "\r\na\r\n0\r\n" + fits + "\r\n\r\n") == "a|");
  CHECK(chunked("1;" + fits + "x\r\n") == "no");
  CHECK(chunked("0\r\n" + fits + "\r\nx\r\n") == "no");
}

TEST_CASE("http: a too long body is 413 before any of it is read, an invalid one is 400") {
  auto const status = [](std::string const& headers, std::string_view bytes) {
    request_reader head;
    std::string const text = get(headers);
    REQUIRE(head.read(text) == phx::http::progress::complete);
    body_reader reader(head, 5);
    body_event event = reader.next(bytes);
    for (; event.state == body_event::data; event = reader.next(bytes)) continue;
    CHECK(event.state == body_event::refused);
    return reader.status();
  };
  CHECK(status("content-length: 6\r\n", "") == 413);
  CHECK(status("transfer-encoding: chunked\r\n", "6\r\n") == 413);
  CHECK(status("transfer-encoding: chunked\r\n", "3\r\nabc\r\n3\r\n") == 413);
  CHECK(status("transfer-encoding: chunked\r\n", "x") == 400);
  CHECK(status("transfer-encoding: chunked\r\n", "1\r\nabc") == 400);
}

TEST_CASE("http: the parts of a body are views of the caller's bytes") {
  request_reader head;
  std::string const text = get("content-length: 5\r\n");
  REQUIRE(head.read(text) == phx::http::progress::complete);
  body_reader reader(head, 5);
  std::string const bytes = "helloGET";
  std::string_view rest = bytes;
  body_event const event = reader.next(rest);
  CHECK(event.state == body_event::data);
  CHECK(event.part.data() == bytes.data());
  CHECK(event.part == "hello");
  CHECK(reader.next(rest).state == body_event::complete);
  CHECK(rest == "GET");
}

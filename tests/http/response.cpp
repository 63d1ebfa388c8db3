#include <phx/http/response.hpp>

#include <doctest/doctest.h>

#include <string>

TEST_CASE("http: a response closes the connection, and a header cannot break out of its line") {
  using phx::http::persistence;
  using phx::http::to_bytes;
  CHECK(to_bytes({}) == "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
  CHECK(to_bytes({503, {{"retry-after", "1"}}, "later"}) ==
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 5\r\nretry-after: 1\r\n\r\nlater");
  CHECK(to_bytes(
            {403, {{"a", "b\r\nset-cookie: c"}, {"x\r\ny", "z"}, {"", "z"}, {"a b", "z"}, {"Content-Length", "9"}}, ""}) ==
        to_bytes({}));
  CHECK(to_bytes({200, {{"connection", "close"}}, "on"}, persistence::keep_alive) ==
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\non");
  CHECK(to_bytes({204, {}, "ignored"}) == "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
  CHECK(to_bytes({418, {}, ""}).starts_with("HTTP/1.1 418 \r\n"));
  CHECK(to_bytes({101, {}, ""}).starts_with("HTTP/1.1 500 "));
}

TEST_CASE("http: the response to a HEAD has the length of the body it omits") {
  phx::http::response const r{200, {{"a", "b"}}, "text"};
  CHECK(phx::http::to_bytes(r, phx::http::persistence::keep_alive, true) ==
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\na: b\r\n\r\n");
}

TEST_CASE("http: a response may be written piece by piece into any output") {
  struct counted {
    std::string bytes{};
    int pieces = 0;
    void append(std::string_view more) {
      bytes += more;
      ++pieces;
    }
  } out;
  phx::http::response_writer writer(out, 404, 3, phx::http::persistence::close);
  writer.header("x", "y");
  writer.header("x\r\ny", "z");
  writer.body("abc");
  CHECK(out.bytes == phx::http::to_bytes({404, {{"x", "y"}}, "abc"}));
  CHECK(out.pieces > 1);
}

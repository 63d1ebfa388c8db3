#include <phx/websocket/handshake.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

TEST_CASE("websocket: the accept key of the RFC's own example") {
  CHECK(phx::websocket::accept_key("dGhlIHNhbXBsZSBub25jZQ==").view() == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST_CASE("websocket: sha1 at the lengths around its padding") {
  auto const hash = [](std::string const& s) {
    phx::detail::sha1 h;
    h.update(s);
    auto const bytes = h.digest();
    return phx::detail::to_base64({bytes.data(), bytes.size()}, phx::detail::base64_alphabet::standard);
  };
  CHECK(hash("") == "2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
  CHECK(hash("abc") == "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
  CHECK(hash(std::string(55, 'a')) == "wci73CJ5bijA4VFj0giZtlYh1lo=");
  CHECK(hash(std::string(56, 'a')) == "wtszD2CDhUyZ1LW/tujynyAb5pk=");
  CHECK(hash(std::string(64, 'a')) == "AJi6gktcFkJ716ESKlpEKiXsZE0=");
}

TEST_CASE("websocket: the 101 response") {
  auto const answer = [](std::string_view key, std::string_view subprotocol = {}) {
    phx::http::header const headers[] = {{"Sec-WebSocket-Key", key}};
    return phx::websocket::switching_protocols(phx::http::request::of("GET", "/", headers), subprotocol);
  };
  CHECK(answer("dGhlIHNhbXBsZSBub25jZQ==") ==
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
  CHECK(answer("k", "phoenix").ends_with("\r\nsec-websocket-protocol: phoenix\r\n\r\n"));
  CHECK(phx::websocket::switching_protocols({}, {}, "permessage-deflate")
            .ends_with("=\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"));
}

TEST_CASE("websocket: upgrade requests, and the responses to others") {
  using phx::http::header;
  std::vector<header> const good{{"Host", "h"},
                                 {"Connection", "keep-alive"},
                                 {"connection", "x, Upgrade"},
                                 {"Upgrade", "h2c, WebSocket"},
                                 {"Sec-WebSocket-Key", "k"},
                                 {"Sec-WebSocket-Version", "13"}};
  auto const answer = [](std::vector<header> const& headers, std::string_view method = "GET", std::uint8_t version = 11,
                         bool body = false) {
    phx::http::request request = phx::http::request::of(method, "/", headers);
    request.version = version;
    request.has_body = body;
    auto const no = phx::websocket::upgrade_refusal(request);
    if (no) CHECK(no->headers.at(0).first == "content-type");
    return no ? std::to_string(no->status) + " " + no->body : "101";
  };
  CHECK(answer(good) == "101");
  CHECK(answer(good, "POST") == "400 HTTP method POST unsupported");
  CHECK(answer(good, "GET", 10) == "505 HTTP before 1.1");
  CHECK(answer(good, "GET", 11, true) == "400 a request with a body");
  for (auto const& [name, problem] :
       {std::pair{"Host", "400 'host' header is absent"},
        {"connection", "400 'connection' header must contain 'upgrade', got [\"keep-alive\"]"},
        {"Upgrade", "400 'upgrade' header must contain 'websocket', got []"},
        {"Sec-WebSocket-Key", "400 'sec-websocket-key' header is absent"},
        {"Sec-WebSocket-Version", "400 'sec-websocket-version' header must equal '13', got []"}}) {
    std::vector<header> less;
    for (header const& h : good)
      if (h.name != name) less.push_back(h);
    CHECK(answer(less) == problem);
  }
}

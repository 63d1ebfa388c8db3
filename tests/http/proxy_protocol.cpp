#include <phx/http/proxy_protocol.hpp>

#include <doctest/doctest.h>

#include <string>

namespace {

using phx::http::progress;
using phx::http::proxy_protocol_reader;
using namespace std::string_literals;

/// "ADDRESS PORT" and the remaining bytes; "socket" if the header has no address; "refused", "more". The same however the
/// input is split.
std::string read(std::string_view bytes, std::size_t most = proxy_protocol_reader::default_max_bytes) {
  std::string first;
  for (std::size_t cut : {std::size_t{0}, std::size_t{1}, std::size_t{3}, std::size_t{17}, std::size_t{1000}}) {
    proxy_protocol_reader reader(most);
    std::string_view rest = bytes;
    std::size_t consumed = 0;
    while (!rest.empty() && reader.state() == progress::need_more) {
      std::size_t const wanted = reader.wants();
      REQUIRE(wanted != 0);
      std::string_view part = rest.substr(0, cut == 0 ? wanted : cut);  // 0: no more than the header
      std::size_t const came = part.size();
      progress const now = reader.read(part);
      CHECK(now == reader.state());
      if (cut == 0 && reader.state() != progress::refused) CHECK(part.empty());
      consumed += came - part.size();
      rest.remove_prefix(came - part.size());
      if (now == progress::need_more) CHECK(part.empty());
    }
    std::string text;
    if (reader.state() == progress::need_more) text = "more";
    if (reader.state() == progress::refused) text = "refused";
    if (reader.state() == progress::complete) {
      CHECK(reader.wants() == 0);
      std::string_view untouched = rest;
      CHECK(reader.read(untouched) == progress::complete);
      CHECK(untouched.size() == rest.size());
      phx::peer_data const peer = reader.peer({.address = "socket", .port = 1, .ssl_cert = {}});
      CHECK(reader.names_peer() == (peer.address != "socket"));
      text =
          std::string(peer.address) + (reader.names_peer() ? " " + std::to_string(peer.port) : "") + "|" + std::string(rest);
    }
    if (cut == 0) first = text;
    CHECK_MESSAGE(text == first, cut);
    if (text != "refused") CHECK(consumed + rest.size() == bytes.size());
  }
  return first;
}
std::string v2(char command, char family, std::string_view body) {
  std::string out("\r\n\r\n\0\r\nQUIT\n", 12);
  out += command;
  out += family;
  out += static_cast<char>(body.size() >> 8);
  out += static_cast<char>(body.size());
  return out.append(body);
}
std::string const four("\xCB\x00\x71\x05\x0A\x00\x00\x01\x12\x67\x01\xBB", 12);  // 203.0.113.5:4711 to 10.0.0.1:443
std::string const six =
    std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x05" + std::string(16, '\1') + "\x12\x67\x01\xBB";

}  // namespace

TEST_CASE("proxy protocol: version 1") {
  CHECK(read("PROXY TCP4 203.0.113.5 10.0.0.1 4711 443\r\nGET /") == "203.0.113.5 4711|GET /");
  CHECK(read("PROXY TCP6 2001:DB8:0::5 ::1 4711 443\r\n\x16\x03") == "2001:db8::5 4711|\x16\x03");
  CHECK(read("PROXY TCP6 ::ffff:1.2.3.4 ::ffff:1.2.3.5 1 2\r\n") == "1.2.3.4 1|");
  CHECK(read("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n") == "255.255.255.255 65535|");
  CHECK(read("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n") == "0.0.0.0 0|");
  CHECK(read("PROXY TCP6 :: :: 1 2\r\n\n") == ":: 1|\n");
  CHECK(read("PROXY UNKNOWN\r\n") == "socket|");
  CHECK(read("PROXY UNKNOWN\r\n\r\n") == "socket|\r\n");
  CHECK(read("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
             "65535\r\nG") == "socket|G");
  CHECK(read("PROXY UNKNOWN what ever\r\n") == "socket|");
  for (char const* const some : {"P", "PROXY ", "PROXY TCP4 203.0.113.5 10.0.0.1 4711 443\r", "PROXY UNKNOWN\r"})
    CHECK_MESSAGE(read(some) == "more", some);
}

TEST_CASE("proxy protocol: version 1, refused") {
  for (char const* const wrong : {"GET / HTTP/1.1\r\n",
                                  "\x16\x03\x01",
                                  "proxy TCP4 ",
                                  "PROXYTCP4",
                                  "PROXY  TCP4 203.0.113.5 10.0.0.1 1 2\r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.1 1 2\n",
                                  "PROXY TCP4 203.0.113.5  10.0.0.1 1 2\r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.1 1 2 \r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.1 1\r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.1 1 2 3\r\n",
                                  "PROXY TCP4 203.0.113.05 10.0.0.1 1 2\r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.256 1 2\r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.1 01 2\r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.1 1 65536\r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.1 -1 2\r\n",
                                  "PROXY TCP4 203.0.113.5 10.0.0.1 1 \r\n",
                                  "PROXY TCP4 ::1 ::1 1 2\r\n",
                                  "PROXY TCP6 203.0.113.5 10.0.0.1 1 2\r\n",
                                  "PROXY TCP6 ::1 1.2.3.4 1 2\r\n",
                                  "PROXY UDP4 203.0.113.5 10.0.0.1 1 2\r\n",
                                  "PROXY TCP4 localhost 10.0.0.1 1 2\r\n",
                                  "PROXY UNKNOWNX\r\n",
                                  "PROXY \r\n        ",
                                  "PROXY UNKNOWN\n      "})
    CHECK_MESSAGE(read(wrong) == "refused", wrong);
  std::string const longest = "PROXY UNKNOWN " + std::string(107 - 16, 'x');
  CHECK(read(longest + "\r\n") == "socket|");
  CHECK(read(longest + "x\r\n") == "refused");
  CHECK(read(longest + "xx") == "refused");
}

TEST_CASE("proxy protocol: version 2") {
  CHECK(read(v2('\x21', '\x11', four) + "GET /") == "203.0.113.5 4711|GET /");
  CHECK(read(v2('\x21', '\x21', six) + "\x16\x03") == "2001:db8::5 4711|\x16\x03");
  std::string path = "/run/client.sock";
  path.resize(216);
  CHECK(read(v2('\x21', '\x31', path)) == "unix:/run/client.sock 0|");
  CHECK(read(v2('\x21', '\x31', std::string(216, 'p'))) == "unix:" + std::string(108, 'p') + " 0|");
  CHECK(read(v2('\x21', '\x31', std::string(216, '\0'))) == "unix: 0|");
  CHECK(read(v2('\x21', '\x00', "")) == "socket|");
  CHECK(read(v2('\x21', '\x00', "whatever")) == "socket|");
  // the balancer itself: a health check
  CHECK(read(v2('\x20', '\x00', "")) == "socket|");
  CHECK(read(v2('\x20', '\x11', four) + "GET") == "socket|GET");
  CHECK(read(v2('\x20', '\x11', "x")) == "socket|");
  // TLVs are skipped
  CHECK(read(v2('\x21', '\x11', four + "\x03\x00\x04\xAB\xCD\xEF\x01"s) + "GET") == "203.0.113.5 4711|GET");
  CHECK(read(v2('\x21', '\x11', four + std::string(2000, 't')) + "GET") == "203.0.113.5 4711|GET");
  CHECK(read(v2('\x21', '\x11', four + std::string(60'000, 't')) + "GET", 65'551) == "203.0.113.5 4711|GET");

  std::string const whole = v2('\x21', '\x11', four);
  for (std::size_t n = 1; n < whole.size(); ++n) CHECK(read(whole.substr(0, n)) == "more");
}

TEST_CASE("proxy protocol: version 2, refused") {
  CHECK(read(v2('\x21', '\x11', four.substr(1))) == "refused");
  CHECK(read(v2('\x21', '\x21', six.substr(1))) == "refused");
  CHECK(read(v2('\x21', '\x31', std::string(215, 'p'))) == "refused");
  CHECK(read(v2('\x21', '\x12', four)) == "refused");  // a datagram
  CHECK(read(v2('\x21', '\x41', four)) == "refused");
  CHECK(read(v2('\x21', '\x10', four)) == "refused");
  CHECK(read(v2('\x22', '\x11', four)) == "refused");
  CHECK(read(v2('\x11', '\x11', four)) == "refused");
  CHECK(read("\r\n\r\nGET / HTTP/1.1") == "refused");
  CHECK(read("\r\n\r\n\0\r\nQUIT\r               "s) == "refused");
  CHECK(read(v2('\x21', '\x11', four + std::string(4096, 't'))) == "refused");
  CHECK(read(v2('\x21', '\x11', four + std::string(4096 - 28, 't'))) == "203.0.113.5 4711|");
}

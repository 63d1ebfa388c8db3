// Bytes before the first request, and headers written by proxies. A PROXY header is read the same however TCP splits it, and
// no byte after it is consumed; and nothing that a client writes to the left of a trusted proxy's entry changes the client's
// address.
#include "oracle.hpp"

#include <phx/connect/trusted_proxies.hpp>
#include <phx/http/proxy_protocol.hpp>

#include <algorithm>
#include <array>

namespace {

using phx::http::progress;
using phx::http::proxy_protocol_reader;

struct outcome {
  progress state = progress::need_more;
  std::string address{};
  std::uint16_t port = 0;
  std::size_t size = 0;
  friend bool operator==(outcome const&, outcome const&) = default;
};

/// @param cut bytes read at a time; 0: no more than the reader asks for
outcome read(std::string_view bytes, std::size_t cut) {
  constexpr std::size_t most = 600;
  proxy_protocol_reader reader(most);
  outcome out;
  while (out.size < bytes.size() && reader.state() == progress::need_more) {
    oracle::require(reader.wants() != 0, "it wants more");
    std::string_view part = bytes.substr(out.size, cut == 0 ? reader.wants() : cut);
    std::size_t const came = part.size();
    progress const state = reader.read(part);
    out.size += came - part.size();
    if (state == progress::need_more || (cut == 0 && state == progress::complete))
      oracle::require(part.empty(), "what it wants is the header's");
  }
  oracle::require(out.size <= most, "a header is bounded");
  out.state = reader.state();
  if (out.state == progress::complete) {
    phx::peer_data const peer = reader.peer({.address = "socket", .port = 1, .ssl_cert = {}});
    out.address = peer.address;
    out.port = peer.port;
    oracle::require(!peer.address.empty(), "a peer has an address");
    if (reader.names_peer() && !peer.address.starts_with("unix:"))
      oracle::require(phx::trusted_proxies::parse({peer.address}).has_value(), "and it can be read");
  }
  return out;
}

std::string client(phx::trusted_proxies const& proxies, std::span<phx::header const> headers) {
  phx::request asked = phx::request::of("GET", "/", headers, {.address = "10.0.0.1", .port = 9, .ssl_cert = {}});
  if (auto const no = proxies.rewrite(asked)) {
    oracle::require(no->answer.status == 400 && !no->detail.empty(), "a refusal is 400 and tells why");
    return "400";
  }
  oracle::require(asked.scheme == "http" || asked.scheme == "https", "a scheme is one of two");
  oracle::require(asked.host.find_first_of(std::string_view(" \"/,;\0", 6)) == asked.host.npos, "a host is one");
  return std::string(asked.peer.address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static phx::trusted_proxies const proxies{"10.0.0.0/8", "2001:db8::/32", "unix"};
  if (size < 2) return 0;
  std::string_view text(reinterpret_cast<char const*>(data + 2), size - 2);
  if (data[0] % 2 == 0) {
    outcome const whole = read(text, size), parts = read(text, data[1] % 32u + 1), wanted = read(text, 0);
    oracle::require(whole == parts && (whole == wanted || whole.state == progress::refused),
                    "cut or not, it is read the same");
    oracle::require(whole.state == wanted.state, "cut or not, it is refused");
    return 0;
  }
  std::string value(text.substr(0, 2000));
  std::replace_if(
      value.begin(), value.end(), [](char c) { return c == '\0' || c == '\r' || c == '\n'; }, ' ');
  constexpr std::array<std::string_view, 5> names{"x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-host",
                                                  "x-forwarded-port"};
  std::array const alone{phx::header{"host", "a"}, phx::header{names[data[1] % names.size()], value}};
  (void)client(proxies, alone);
  std::string const x = value + ", 203.0.113.5", rfc = value + ", for=203.0.113.5";
  std::array const of_x{phx::header{"x-forwarded-for", value}, phx::header{"x-forwarded-for", x}};
  std::array const of_rfc{phx::header{"forwarded", value}, phx::header{"forwarded", rfc}};
  oracle::require(client(proxies, of_x) == "203.0.113.5", "X-Forwarded-For ends at the first who is not trusted");
  oracle::require(client(proxies, of_rfc) == "203.0.113.5", "Forwarded ends at the first who is not trusted");
  std::array const both{of_x[1], of_rfc[1], phx::header{"x-forwarded-for", "10.2.2.2"},
                        phx::header{"forwarded", "for=10.2.2.2"}};
  oracle::require(client(proxies, both) == "203.0.113.5", "both end there");
  return 0;
}

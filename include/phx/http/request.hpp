#ifndef PHX_HTTP_REQUEST_HPP
#define PHX_HTTP_REQUEST_HPP
// An HTTP request as a host passes it to phx: views of the received bytes, and the peer's address. No I/O, no allocation.

#include <phx/core/text/ascii.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace http {

/// One header line (RFC 9110, section 5).
struct header {
  /// As sent; names are compared without regard to case.
  std::string_view name;
  /// Without leading and trailing spaces.
  std::string_view value;
};

/// The other end of the connection, as the server sees it.
struct peer_data {
  /// The address, as text.
  std::string_view address{};
  /// The client's port.
  std::uint16_t port = 0;
  std::optional<std::string_view> ssl_cert{};  ///< the peer's certificate, DER
};

/// The value of the first header of that name. Names are compared without case.
[[nodiscard]] constexpr std::optional<std::string_view> header_value(std::span<header const> headers,
                                                                     std::string_view name) noexcept {
  for (header const& h : headers)
    if (detail::equal_ignoring_case(h.name, name)) return h.value;
  return std::nullopt;
}

/// Calls `each(element)` for every element of the comma-separated list that all headers `name` form together (RFC 9110,
/// section 5.3), in their order, without surrounding spaces and without empty elements.
template <class F>
constexpr void for_each_element(std::span<header const> headers, std::string_view name, F&& each) {
  for (header const& h : headers) {
    if (!detail::equal_ignoring_case(h.name, name)) continue;
    for (std::string_view rest = h.value; !rest.empty();)
      if (std::string_view const element = detail::trimmed(detail::next_part(rest, ',')); !element.empty()) each(element);
  }
}

/// Whether the list that the headers `name` form together (`connection`, `upgrade`, `expect`) contains `element`, compared
/// without case.
[[nodiscard]] constexpr bool header_lists(std::span<header const> headers, std::string_view name,
                                          std::string_view element) noexcept {
  bool found = false;
  for_each_element(headers, name, [&](std::string_view e) { found = found || detail::equal_ignoring_case(e, element); });
  return found;
}

/// A request without its body. All views refer to the host's bytes, which must stay valid until the call that takes the
/// request (phx::handshake, longpoll::service::serve) has returned.
struct request {
  /// The method as sent: `GET`, `POST`.
  std::string_view method = "GET";
  /// As the server sees it. Behind a TLS proxy this is `http`, until phx::trusted_proxies::rewrite.
  std::string_view scheme = "http";
  std::string_view host{};      ///< from the Host header, without port and brackets
  std::uint16_t port = 80;      ///< from the Host header, or the scheme's default; 0 if the header has an invalid port
  std::string_view path = "/";  ///< as sent, percent escapes included
  std::string_view query{};     ///< without the question mark
  /// The headers, in the order received.
  std::span<http::header const> headers{};
  /// The sender, as the host sees it.
  peer_data peer{};
  std::uint8_t version = 11;  ///< 10 for HTTP/1.0, else 11
  bool has_body = false;      ///< whether a body follows; an upgrade must have none

  /// The value of the first header of that name; empty if there is none.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const noexcept {
    return header_value(headers, name);
  }

  /// Makes a request for hosts whose HTTP library gives them a request line and headers. (request_reader::request does this
  /// for you.)
  /// @param target `/path?query` or `http://host/path?query`; the host in a target takes precedence (RFC 9112, section
  ///   3.2.2)
  [[nodiscard]] static request of(std::string_view method, std::string_view target, std::span<http::header const> headers,
                                  peer_data peer = {}, std::string_view scheme = "http") noexcept {
    request r;
    r.method = method;
    r.scheme = scheme;
    r.headers = headers;
    r.peer = peer;
    std::string_view authority = r.header("host").value_or("");
    if (!target.starts_with('/')) {
      if (std::size_t const slashes = target.find("://"); slashes != std::string_view::npos) {
        target.remove_prefix(slashes + 3);
        std::size_t const end = target.find_first_of("/?");
        authority = target.substr(0, end);
        target.remove_prefix(end == std::string_view::npos ? target.size() : end);
      }
    }
    r.path = detail::next_part(target, '?');
    r.query = target;
    if (r.path.empty()) r.path = "/";
    r.port = scheme == "https" || scheme == "wss" ? 443 : 80;
    r.take_authority(detail::trimmed(authority));
    return r;
  }

 private:
  void take_authority(std::string_view authority) noexcept {
    std::size_t const bracket = authority.starts_with('[') ? authority.find(']') : std::string_view::npos;
    std::size_t const colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
    host = authority.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (colon == std::string_view::npos || colon + 1 == authority.size()) return;
    std::uint32_t number = 0;
    for (char const c : authority.substr(colon + 1))
      number = c >= '0' && c <= '9' && number <= 65'535 ? number * 10 + static_cast<std::uint32_t>(c - '0') : 65'536;
    port = number <= 65'535 ? static_cast<std::uint16_t>(number) : std::uint16_t{0};
  }
};

}  // namespace http

using http::header;
using http::header_value;
using http::peer_data;
using http::request;

}  // namespace PHX_BUILD
}  // namespace phx

#endif

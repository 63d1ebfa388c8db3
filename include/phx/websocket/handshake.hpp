#ifndef PHX_WEBSOCKET_HANDSHAKE_HPP
#define PHX_WEBSOCKET_HANDSHAKE_HPP
// The opening handshake of RFC 6455, section 4.2: checks that a request is an upgrade, and writes the 101 response. No I/O.
//
//     auto decision = phx::handshake(mount, dispatcher, request);             // path, origin, vsn, connect: Phoenix's part
//     if (auto no = phx::websocket::upgrade_refusal(request)) ...             // write *no, close
//     phx::websocket::write_switching_protocols(out, request, admission.subprotocol);
//     // From here on the connection carries frames: frame_reader.hpp.

#include <phx/core/text/base64.hpp>
#include <phx/core/text/concat.hpp>
#include <phx/http/request.hpp>
#include <phx/http/response.hpp>
#include <phx/websocket/detail/sha1.hpp>

#include <array>
#include <optional>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {
[[nodiscard]] inline http::response no_upgrade(std::initializer_list<std::string_view> text, std::uint16_t status = 400) {
  http::response no;
  no.status = status;
  no.headers.emplace_back("content-type", "text/plain; charset=utf-8");
  append(no.body, text);
  return no;
}
/// The values of all headers `name`, as Elixir shows a list of strings.
[[nodiscard]] inline std::string shown_values(http::request const& request, std::string_view name) {
  std::string all = "[";
  for (http::header const& h : request.headers) {
    if (!equal_ignoring_case(h.name, name)) continue;
    all += all.size() > 1 ? ", \"" : "\"";
    for (char const c : for_a_log(h.value)) {
      if (c == '"' || c == '\\') all += '\\';
      all += c;
    }
    all += '"';
  }
  all += ']';
  return all;
}
}  // namespace detail
namespace websocket {

/// The value of Sec-WebSocket-Accept for a Sec-WebSocket-Key (section 4.2.2, 5.4): 28 characters. Allocates nothing.
class accept_key {
 public:
  /// From the client's `sec-websocket-key`.
  explicit accept_key(std::string_view key) noexcept {
    detail::sha1 hash;
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    std::array<char, 20> const digest = hash.digest();
    (void)detail::to_base64({digest.data(), digest.size()}, detail::base64_alphabet::standard, text_.data());
  }
  /// The 28 characters for `sec-websocket-accept`.
  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), text_.size()}; }

 private:
  std::array<char, 28> text_{};
};

/// The response to a request that is not an upgrade to WebSocket (section 4.2.1); nothing if it is one. 400 with the text of
/// Phoenix's server; 400 also for a request with a body, whose bytes would be read as frames; 505 for HTTP/1.0. Call it
/// after phx::handshake, as Phoenix does (protocol 8.1, step 6).
/// @par Errors: std::bad_alloc. @par Cost: allocates only to refuse.
[[nodiscard]] inline std::optional<http::response> upgrade_refusal(http::request const& request) {
  using detail::no_upgrade;
  using detail::shown_values;
  if (request.method != "GET") return no_upgrade({"HTTP method ", detail::for_a_log(request.method), " unsupported"});
  if (request.version < 11) return no_upgrade({"HTTP before 1.1"}, 505);
  if (request.header("host").value_or("").empty()) return no_upgrade({"'host' header is absent"});
  if (!http::header_lists(request.headers, "connection", "upgrade"))
    return no_upgrade({"'connection' header must contain 'upgrade', got ", shown_values(request, "connection")});
  if (!http::header_lists(request.headers, "upgrade", "websocket"))
    return no_upgrade({"'upgrade' header must contain 'websocket', got ", shown_values(request, "upgrade")});
  if (request.header("sec-websocket-key").value_or("").empty()) return no_upgrade({"'sec-websocket-key' header is absent"});
  if (request.header("sec-websocket-version") != std::optional<std::string_view>("13"))
    return no_upgrade(
        {"'sec-websocket-version' header must equal '13', got ", shown_values(request, "sec-websocket-version")});
  if (request.has_body) return no_upgrade({"a request with a body"});
  return std::nullopt;
}

/// Appends the 101 response (section 4.2.2). @pre upgrade_refusal(request) is nothing.
/// @param subprotocol admission::subprotocol; sent if it is not empty
/// @param extensions deflate_terms::answer; sent if it is not empty
template <http::Output O>
void write_switching_protocols(O& out, http::request const& request, std::string_view subprotocol = {},
                               std::string_view extensions = {}) {
  out.append(std::string_view("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"));
  out.append(std::string_view("sec-websocket-accept: "));
  out.append(accept_key(request.header("sec-websocket-key").value_or("")).view());
  if (!subprotocol.empty()) {
    out.append(std::string_view("\r\nsec-websocket-protocol: "));
    out.append(subprotocol);
  }
  if (!extensions.empty()) {
    out.append(std::string_view("\r\nsec-websocket-extensions: "));
    out.append(extensions);
  }
  out.append(std::string_view("\r\n\r\n"));
}
/// The 101 response as a string. @par Errors: std::bad_alloc.
[[nodiscard]] inline std::string switching_protocols(http::request const& request, std::string_view subprotocol = {},
                                                     std::string_view extensions = {}) {
  std::string out;
  write_switching_protocols(out, request, subprotocol, extensions);
  return out;
}

}  // namespace websocket
}  // namespace PHX_BUILD
}  // namespace phx

#endif

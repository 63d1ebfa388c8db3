#ifndef PHX_ADAPTER_BEAST_DETAIL_RECEIVED_REQUEST_HPP
#define PHX_ADAPTER_BEAST_DETAIL_RECEIVED_REQUEST_HPP
// The request of a connection that is being read or served: whose it is, and which mount or route it is for.

#include <phx/adapter/beast/detail/request_parser.hpp>
#include <phx/adapter/beast/detail/strand_context.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

namespace phx {
inline namespace PHX_BUILD {
namespace beast::detail {

/// An http_request with what it is made of. Its views are into this and into the parser.
struct received_request : http_request {
  /// Sets the http_request but its body, its mount, and the parser's limit of the body. @return the status to refuse it
  /// with, or 0. @par Errors: std::bad_alloc.
  [[nodiscard]] std::uint16_t read_head(request_parser& parser, stream const& from, strand_context& ctx) {
    server_state const& server = ctx.server();
    if (from.secure()) certificate = from.certificate();
    static_cast<http_request&>(*this) = {};
    static_cast<phx::request&>(*this) =
        phx::request::of(parser.method(), parser.target(), parser.headers(),
                         {.address = peer_address,
                          .port = peer_port,
                          .ssl_cert = certificate.empty() ? std::nullopt : std::optional<std::string_view>(certificate)},
                         from.secure() ? "https" : "http");
    std::tie(mount, transport) = server.find(path);
    if (!parser.unambiguous()) return 400;
    if (auto const refused = server.opts.trusted_proxies.rewrite(*this)) {
      report_refusal(ctx.loop(), *refused);
      return refused->answer.status;
    }
    return parser.allow_body(is_poll() ? mount->polls.body : server.opts.body_bytes) ? std::uint16_t{0} : std::uint16_t{413};
  }
  [[nodiscard]] bool is_poll() const noexcept { return mount != nullptr && transport == transport_kind::longpoll; }

  mounted* mount = nullptr;  // null: it is for the routes
  transport_kind transport = transport_kind::websocket;
  std::string peer_address{}, certificate{};
  std::uint16_t peer_port = 0;
};

}  // namespace beast::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

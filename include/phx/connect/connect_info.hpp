#ifndef PHX_CONNECT_CONNECT_INFO_HPP
#define PHX_CONNECT_CONNECT_INFO_HPP
// The parts of an HTTP request that the user's connect can read (protocol 8.2). Made once per connection. Allocates; the
// handshake throws std::bad_alloc when memory runs out.

#include <phx/connect/params.hpp>
#include <phx/core/text/concat.hpp>
#include <phx/http/request.hpp>
#include <phx/http/response.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The transport of a client (protocol 8.1 and 10).
enum class transport_kind : std::uint8_t { websocket, longpoll };
/// `websocket` or `longpoll`.
[[nodiscard]] constexpr std::string_view to_string(transport_kind k) noexcept {
  return k == transport_kind::websocket ? "websocket" : "longpoll";
}

/// How a client identifies itself. Filled in by admit (mount::auth_token, mount::session), read by connect.
struct credentials {
  std::optional<std::string> auth_token{};  ///< the client's `authToken`, not verified (protocol 8.4)
  std::optional<std::string> session{};     ///< the result of mount::session (protocol 8.3)
};

namespace detail {
/// The combined value of all headers `name` (RFC 9110, section 5.3); nothing if there is none. A view of the header if there
/// is one, else of `storage`, where the values are joined.
[[nodiscard]] inline std::optional<std::string_view> joined_header(std::span<header const> headers, std::string_view name,
                                                                   std::string& storage) {
  std::optional<std::string_view> joined;
  for (header const& h : headers) {
    if (!equal_ignoring_case(h.name, name)) continue;
    if (!joined) {
      joined = h.value;
      continue;
    }
    if (storage.empty()) storage.assign(*joined);
    append(storage, {", ", h.value});
    joined = storage;
  }
  return joined;
}
/// A `Sec-WebSocket-Protocol` list that may carry an auth token (protocol 8.4). The views are of the list.
struct bearer_offer {
  static constexpr std::string_view prefix = "base64url.bearer.phx.";
  std::string_view token{};  ///< the last token, in base 64
  unsigned tokens = 0;       ///< how many tokens there are
  std::string others{};      ///< all other subprotocols, separated by `, `

  [[nodiscard]] static bearer_offer of(std::string_view header) {
    bearer_offer b;
    while (!header.empty()) {
      std::string_view const one = trimmed(next_part(header, ','));
      if (one.starts_with(prefix)) {
        b.token = one.substr(prefix.size());
        ++b.tokens;
      } else if (!one.empty()) {
        append(b.others, {b.others.empty() ? "" : ", ", one});
      }
    }
    return b;
  }
  /// The list with its tokens filtered.
  [[nodiscard]] static std::string for_a_log(std::string_view header) {
    bearer_offer const b = of(header);
    if (b.tokens == 0) return detail::for_a_log(header);
    return detail::for_a_log(concat({b.others, b.others.empty() ? "" : ", ", prefix, "[FILTERED]"}));
  }
};
}  // namespace detail

/// Scheme, host, port, path and query of the request, as the server sees them; scheme, host and port as trusted_proxies found
/// them, where the host has some.
struct uri {
  /// `http` or `https`.
  std::string_view scheme;
  /// From the `host` header, without the port.
  std::string_view host;
  /// From the `host` header, or the scheme's default.
  std::uint16_t port;
  /// Without the query.
  std::string_view path;
  /// As sent, without the question mark.
  std::string_view query;
};

/// The argument of your `connect`: what it may know about the client. It has no cookies and only the headers below, on
/// purpose: browsers let any page open a WebSocket to any server, so a connect that trusted a cookie could be hijacked by
/// another site. Header names are in lower case, as in Phoenix. All views are valid until connect returns.
/// @par Thread: the one that does the handshake. @par Cost: copies the names of the headers it shows.
class connect_info {
 public:
  /// handshake makes it; a host of yours that calls `connect` itself may, too. All arguments must outlive it.
  /// @param from the request. @param params its parameters. @param via the transport. @param custom mount::custom.
  /// @param brought the client's credentials, or null.
  connect_info(request const& from, phx::params const& params, transport_kind via = transport_kind::websocket,
               std::span<std::pair<std::string, std::string> const> custom = {}, credentials const* brought = nullptr)
      : request_(from), params_(params), custom_(custom), brought_(brought), via_(via) {
    std::size_t name_bytes = 0, count = 0;
    for (header const& h : from.headers)
      if (group_of(h.name) != group::hidden) {
        name_bytes += h.name.size();
        ++count;
      }
    names_.reserve(name_bytes);  // headers_ has views of it, so it must not be reallocated
    headers_.reserve(count);
    for (group const wanted : {group::x, group::trace, group::websocket}) {
      for (header const& h : from.headers) {
        if (group_of(h.name) != wanted) continue;
        std::size_t const at = names_.size();
        for (char const c : h.name) names_ += detail::lower_letter(c);
        headers_.push_back({{names_.data() + at, h.name.size()}, h.value});
      }
      if (wanted == group::x) x_ends_ = headers_.size();
      if (wanted == group::trace) trace_ends_ = headers_.size();
    }
    if (auth_token() && via_ == transport_kind::websocket) hide_token();
  }
  connect_info(connect_info const&) = delete;
  connect_info& operator=(connect_info const&) = delete;

  /// The parameters of the query and of the mount's path.
  [[nodiscard]] phx::params const& params() const noexcept { return params_; }
  /// The text of a parameter, as params().get(name).
  [[nodiscard]] std::optional<std::string_view> param(std::string_view name) const noexcept { return params_.get(name); }
  /// WebSocket or long-poll.
  [[nodiscard]] transport_kind transport() const noexcept { return via_; }
  /// The parts of the request's URI.
  [[nodiscard]] phx::uri uri() const noexcept {
    return {request_.scheme, request_.host, request_.port, request_.path, request_.query};
  }
  /// The client's address and port, as the host reported them: behind a proxy the proxy's, unless the host has trusted_proxies
  /// or expects the PROXY protocol.
  [[nodiscard]] phx::peer_data const& peer_data() const noexcept { return request_.peer; }
  /// The `user-agent` header, if there is one.
  [[nodiscard]] std::optional<std::string_view> user_agent() const noexcept { return request_.header("user-agent"); }
  /// All headers that begin with `x-`; find one by header_value(info.x_headers(), "x-request-id"). As they were sent: any client
  /// can write `x-forwarded-for`, so take its address from peer_data, and scheme and host from uri, which trusted_proxies has
  /// verified.
  [[nodiscard]] std::span<header const> x_headers() const noexcept { return part(0, x_ends_); }
  /// `traceparent` and `tracestate`.
  [[nodiscard]] std::span<header const> trace_context_headers() const noexcept { return part(x_ends_, trace_ends_); }
  /// All headers that begin with `sec-websocket-`; with mount::auth_token without the token.
  [[nodiscard]] std::span<header const> sec_websocket_headers() const noexcept { return part(trace_ends_, headers_.size()); }
  /// With mount::auth_token: the `authToken` that phoenix.js was given, if any. Not verified: connect must check it.
  [[nodiscard]] std::optional<std::string_view> auth_token() const noexcept {
    return brought_ != nullptr && brought_->auth_token ? std::optional<std::string_view>(*brought_->auth_token)
                                                       : std::nullopt;
  }
  /// With mount::session: the session of the web application that served the client's page, in the format of that source.
  /// Nothing if there is none, or if the page could not prove that it belongs to the application (CSRF token).
  [[nodiscard]] std::optional<std::string_view> session() const noexcept {
    return brought_ != nullptr && brought_->session ? std::optional<std::string_view>(*brought_->session) : std::nullopt;
  }
  /// An entry of mount::custom.
  [[nodiscard]] std::optional<std::string_view> custom(std::string_view name) const noexcept {
    for (auto const& [key, value] : custom_)
      if (key == name) return value;
    return std::nullopt;
  }

 private:
  enum class group : std::uint8_t { hidden, x, trace, websocket };
  [[nodiscard]] static group group_of(std::string_view name) noexcept {
    using namespace detail;
    if (starts_with_ignoring_case(name, "x-")) return group::x;
    if (equal_ignoring_case(name, "traceparent") || equal_ignoring_case(name, "tracestate")) return group::trace;
    return starts_with_ignoring_case(name, "sec-websocket-") ? group::websocket : group::hidden;
  }
  /// Removes the token from the subprotocols, as Phoenix does, and their header if nothing else is left. Several header lines
  /// are combined into one.
  void hide_token() {
    std::string storage;
    offered_ =
        detail::bearer_offer::of(detail::joined_header(request_.headers, "sec-websocket-protocol", storage).value_or(""))
            .others;
    bool replaced = offered_.empty();
    for (std::size_t i = trace_ends_; i < headers_.size();) {
      if (headers_[i].name != "sec-websocket-protocol")
        ++i;
      else if (std::exchange(replaced, true))
        headers_.erase(headers_.begin() + static_cast<std::ptrdiff_t>(i));
      else
        headers_[i++].value = offered_;
    }
  }
  [[nodiscard]] std::span<header const> part(std::size_t from, std::size_t to) const noexcept {
    return std::span<header const>(headers_).subspan(from, to - from);
  }
  request const& request_;
  phx::params const& params_;
  std::span<std::pair<std::string, std::string> const> custom_;
  credentials const* brought_;
  std::string names_;
  std::vector<header> headers_;
  std::string offered_;
  std::size_t x_ends_ = 0, trace_ends_ = 0;
  transport_kind via_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CONNECT_HANDSHAKE_HPP
#define PHX_CONNECT_HANDSHAKE_HPP
// From an HTTP request to a socket that may be opened, or to the answer that says why not (protocol 8.1).

#include <phx/connect/connected.hpp>
#include <phx/connect/mount.hpp>
#include <phx/websocket/handshake.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Why a request was not admitted, one code for an observer's counters. What the peer is told is the answer's business.
enum class refusal : std::uint8_t {
  path,           ///< 404: the mount does not serve it
  method,         ///< 400: a WebSocket begins with GET
  params,         ///< 400, 414 where it is too long: a query that cannot be read
  origin,         ///< 403
  origin_threw,   ///< 500: the mount's callback
  auth_token,     ///< 500, as in Phoenix: one that is no base 64
  subprotocol,    ///< 403: none in common
  vsn,            ///< 403: no serializer for it, or it is no version
  connect,        ///< 403, or the dispatcher's own answer
  connect_threw,  ///< 500
  upgrade,        ///< 400: no WebSocket upgrade, or not one of RFC 6455
  draining,       ///< 503: for hosts that drain (protocol 12)
  too_often,      ///< 429: this address has connected too often lately (throttle)
  too_many,       ///< 503: all of them together have
};
[[nodiscard]] constexpr std::string_view to_string(refusal reason) noexcept {
  switch (reason) {
    case refusal::path: return "path";
    case refusal::method: return "method";
    case refusal::params: return "params";
    case refusal::origin: return "origin";
    case refusal::origin_threw: return "origin_threw";
    case refusal::auth_token: return "auth_token";
    case refusal::subprotocol: return "subprotocol";
    case refusal::vsn: return "vsn";
    case refusal::connect: return "connect";
    case refusal::connect_threw: return "connect_threw";
    case refusal::upgrade: return "upgrade";
    case refusal::draining: return "draining";
    case refusal::too_often: return "too_often";
    case refusal::too_many: return "too_many";
  }
  return "unknown";
}
/// The HTTP status a refusal has unless something better is known.
[[nodiscard]] constexpr std::uint16_t status_of(refusal reason) noexcept {
  switch (reason) {
    case refusal::path: return 404;
    case refusal::method:
    case refusal::params:
    case refusal::upgrade: return 400;
    case refusal::auth_token:
    case refusal::origin_threw:
    case refusal::connect_threw: return 500;
    case refusal::too_often: return 429;
    case refusal::draining:
    case refusal::too_many: return 503;
    case refusal::origin:
    case refusal::subprotocol:
    case refusal::vsn:
    case refusal::connect: return 403;
  }
  return 403;
}

/// `answer` is for the peer, over a WebSocket's connection as it is; `why` and `detail` are for a log, `detail` on one line.
struct refused_request {
  /// What to write to the client.
  http_answer answer{};
  /// Why, for metrics.
  refusal reason = refusal::connect;
  std::string detail{};
};
/// A refusal with its own status and an empty body.
[[nodiscard]] inline refused_request refuse(refusal reason, std::string detail = {}) {
  return {{status_of(reason), {}, {}}, reason, std::move(detail)};
}

namespace detail {
inline constexpr limits default_limits{};
}

/// What a socket is made of. A plain aggregate: a host that authenticates asynchronously calls admit, fills in session and
/// id later, then upgrades.
template <class S>
struct admission {
  /// Chosen by the client's `vsn`.
  serializer_ref serializer;
  std::string subprotocol{};  ///< not empty: answer it as `Sec-WebSocket-Protocol`
  /// What `connect` made; to be filled in by a host that called admit.
  std::optional<S> session{};
  std::optional<std::string> id{};                 ///< the topic on which a `disconnect` ends the socket
  limits const* bounds = &detail::default_limits;  ///< the mount's
  phx::params params{};                            ///< of the query and the path
  credentials brought{};                           ///< what connect gets to see of who it is
};
template <class S>
using admitted = std::variant<admission<S>, refused_request>;

/// Everything that is judged before user code is asked, in Phoenix's order: path, method, query, origin, auth token,
/// subprotocol, vsn; then the session is read.
/// @param m is kept by the admission: it outlives the socket. @param from only read; nothing of it is kept.
/// @param via a long-poll skips the method and the subprotocol, and its auth token has a header of its own; its refusals are
///   written differently too (protocol 10.2).
/// @par Errors: std::bad_alloc, here and in handshake only. @par Cost: parses the query, allocates.
///
/// With handshake, authentication is done when it returns. Where it takes a while (a token to be looked up elsewhere):
///
///     auto judged = phx::admit<session>(m, request);
///     if (auto* no = std::get_if<phx::refused_request>(&judged)) return write(no->answer);
///     auto coming = std::get<phx::admission<session>>(std::move(judged));      // owns what it holds: keep it
///     std::string token(coming.params.get("token").value_or(""));
///     look_up(token, [this, coming = std::move(coming)](std::optional<session> who) mutable {
///       if (!who) return write(phx::http_answer{});                            // 403, empty
///       coming.session = std::move(who);
///       coming.id = "user:" + coming.session->name;
///       upgrade(std::move(coming));                                            // 101, then phx::socket
///     });
template <class S>
[[nodiscard]] admitted<S> admit(mount const& m, request const& from, transport_kind via = transport_kind::websocket) {
  if (m.route(from.path) != via) return refuse(refusal::path, detail::for_a_log(from.path));
  if (via == transport_kind::websocket && from.method != "GET")
    return refuse(refusal::method, detail::for_a_log(from.method));

  admission<S> in{};
  result<params> query = params::parse(from.query, m.query);
  if (!query) {
    refused_request no =
        refuse(refusal::params, std::string(to_string(query.error().code)).append(": ").append(query.error().entry));
    if (query.error().code == errc::limit_reached) no.answer.status = 414;
    return no;
  }
  in.params = *std::move(query);
  m.path_params(from.path, in.params);

  if (origin_decision o = m.origin(from); !o)
    return refuse(o.threw ? refusal::origin_threw : refusal::origin, std::move(o.detail));

  if (via == transport_kind::websocket) {
    std::string lines;
    std::optional<std::string_view> offer = detail::joined_header(from.headers, "sec-websocket-protocol", lines);
    detail::bearer_offer carried;
    if (m.auth_token && offer) {
      carried = detail::bearer_offer::of(*offer);
      if (carried.tokens == 1) {  // of several none is believed, and all stay where they are
        // the alphabet is the standard one, whatever the prefix says; browsers let only the other's `-` and `_` through
        in.brought.auth_token =
            detail::from_base64(carried.token, detail::base64_alphabet::both, detail::base64_padding::optional);
        if (!in.brought.auth_token) return refuse(refusal::auth_token, "not base 64");
        if (carried.others.empty())
          offer.reset();
        else
          offer = carried.others;
      }
    }
    if (offer && (m.auth_token || m.subprotocols)) {
      auto const offered = [&](std::string_view ours) {
        for (std::string_view rest = *offer; !rest.empty();)
          if (detail::without_spaces_around(detail::next_part(rest, ',')) == ours) return true;
        return false;
      };
      if (m.auth_token && offered("phoenix")) in.subprotocol = "phoenix";
      if (in.subprotocol.empty() && m.subprotocols)
        for (std::string const& ours : *m.subprotocols)
          if (in.subprotocol.empty() && offered(ours)) in.subprotocol = ours;
      if (in.subprotocol.empty()) return refuse(refusal::subprotocol, detail::bearer_offer::for_a_log(*offer));
    }
  } else if (m.auth_token) {
    in.brought.auth_token = from.header("x-phoenix-authtoken");
  }

  // absent means 1.0.0; a list or a map is no version (protocol 3.1, a crash before 1.8.6)
  std::optional<param> const vsn = in.params.find("vsn");
  std::string_view const version = vsn ? vsn->text().value_or("") : "1.0.0";
  in.serializer = choose(m.offered(), version);
  if (!in.serializer) return refuse(refusal::vsn, vsn && !vsn->text() ? "not text" : detail::for_a_log(version));
  in.bounds = &m.bounds;

  if (m.session) {
    std::string thrown;
    if (!detail::try_invoke([&] { in.brought.session = m.session.session(from, in.params); },
                            [&](char const* text) { thrown = text; }))
      return refuse(refusal::connect_threw, std::move(thrown));
  }
  return in;
}

template <class S>
admitted<S> admit(mount const&&, request const&, transport_kind = transport_kind::websocket) = delete;

/// admit, then `d.connect`. Whether the request is an upgrade at all is not asked, as in Phoenix: `connect` may run for one
/// that is none, and it is for the host, or upgrade_refusal, to say so after.
/// A `connect` that throws is answered 500, as Phoenix answers a raise; `detail` then says what it threw.
/// Of a Dispatcher it asks the part that connects, no more.
template <class D>
requires has_session<D> && connects<D>
[[nodiscard]] admitted<typename D::session_type> handshake(mount const& m, D& d, request const& from,
                                                           transport_kind via = transport_kind::websocket) {
  using session_type = typename D::session_type;
  admitted<session_type> judged = admit<session_type>(m, from, via);
  auto* const in = std::get_if<admission<session_type>>(&judged);
  if (in == nullptr) return judged;

  std::optional<connect_outcome<session_type>> outcome;
  std::string thrown;
  connect_info const info(from, in->params, via, m.custom, &in->brought);
  if (!detail::try_invoke([&] { outcome.emplace(d.connect(info)); }, [&](char const* text) { thrown = text; }))
    return refuse(refusal::connect_threw, std::move(thrown));
  if (auto* const no = std::get_if<http_answer>(&*outcome)) return refused_request{std::move(*no), refusal::connect, {}};
  auto& yes = *std::get_if<connected<session_type>>(&*outcome);
  in->session.emplace(std::move(yes.session));
  in->id = std::move(yes.id);
  return judged;
}

template <class D>
admitted<typename D::session_type> handshake(mount const&&, D&, request const&,
                                             transport_kind = transport_kind::websocket) = delete;

/// websocket::upgrade_refusal for hosts that tell an observer: 400 with the text Phoenix gives, 505 for HTTP/1.0; nothing if
/// the request is an upgrade to RFC 6455. To be asked after handshake (protocol 8.1, step 6). @par Errors: std::bad_alloc.
[[nodiscard]] inline std::optional<refused_request> upgrade_refusal(request const& from) {
  std::optional<http::response> no = websocket::upgrade_refusal(from);
  if (!no) return std::nullopt;
  std::string text = no->body;
  return refused_request{*std::move(no), refusal::upgrade, std::move(text)};
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

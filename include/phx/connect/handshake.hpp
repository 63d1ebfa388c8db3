#ifndef PHX_CONNECT_HANDSHAKE_HPP
#define PHX_CONNECT_HANDSHAKE_HPP
// The handshake: from an HTTP request to a socket that may be opened, or to the response that refuses it (protocol 8.1).

#include <phx/connect/connected.hpp>
#include <phx/connect/mount.hpp>
#include <phx/websocket/handshake.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Why a request was refused, for an observer's logs and counters, with the HTTP status of the response.
enum class refusal : std::uint8_t {
  path,           ///< 404: the mount does not serve this path
  method,         ///< 400: a WebSocket handshake must be a GET
  params,         ///< 400: a query that cannot be decoded; 414: one that is too long
  forwarded,      ///< 400: a trusted proxy's headers contradict each other or cannot be read (trusted_proxies)
  origin,         ///< 403: mount::origins does not allow it
  origin_threw,   ///< 500: the callback of mount::origins threw
  auth_token,     ///< 500, as in Phoenix: the auth token is not base 64
  subprotocol,    ///< 403: no subprotocol in common
  vsn,            ///< 403: no serializer for this `vsn`, or it is not a version
  connect,        ///< 403, or the response that `connect` returned
  connect_threw,  ///< 500: `connect` or the session source threw
  upgrade,        ///< 400: not a WebSocket upgrade as RFC 6455 defines it
  draining,       ///< 503: the host is draining (protocol 12)
  too_often,      ///< 429: this address has connected too often (throttle)
  too_many,       ///< 503: all addresses together have connected too often (throttle)
};
/// The code's name, as in the enum.
[[nodiscard]] constexpr std::string_view to_string(refusal reason) noexcept {
  switch (reason) {
    case refusal::path: return "path";
    case refusal::method: return "method";
    case refusal::params: return "params";
    case refusal::forwarded: return "forwarded";
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
/// The usual HTTP status of a refusal.
[[nodiscard]] constexpr std::uint16_t status_of(refusal reason) noexcept {
  switch (reason) {
    case refusal::path: return 404;
    case refusal::method:
    case refusal::params:
    case refusal::forwarded:
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

/// A request that was refused: `answer` goes to the client, `reason` and `detail` to a log (see report_refusal).
struct refused_request {
  /// The response to write to the client.
  http_answer answer{};
  /// The reason.
  refusal reason = refusal::connect;
  std::string detail{};  ///< details on one line, safe for a log
};
/// A refusal with its usual status and an empty body.
[[nodiscard]] inline refused_request refuse(refusal reason, std::string detail = {}) {
  return {{status_of(reason), {}, {}}, reason, std::move(detail)};
}

namespace detail {
inline constexpr limits default_limits{};
}

/// An accepted request: what a phx::socket is constructed from. A plain struct. A host that authenticates asynchronously
/// calls admit, sets session and id later, and then upgrades the connection.
template <class S>
struct admission {
  /// The serializer for the client's `vsn`.
  serializer_ref serializer;
  std::string subprotocol{};  ///< not empty: send it as `Sec-WebSocket-Protocol` in the response
  /// The session that `connect` returned; a host that calls admit sets it.
  std::optional<S> session{};
  std::optional<std::string> id{};                 ///< a `disconnect` broadcast on this topic closes the socket
  limits const* bounds = &detail::default_limits;  ///< the mount's limits
  duration linger{};                               ///< the mount's linger
  phx::params params{};                            ///< the parameters of the query and the path
  credentials brought{};                           ///< the client's credentials
};
template <class S>
using admitted = std::variant<admission<S>, refused_request>;

namespace detail {
/// The parts of an admission that do not depend on the type of its session.
struct admission_parts {
  serializer_ref& serializer;
  std::string& subprotocol;
  limits const*& bounds;
  duration& linger;
  phx::params& params;
  credentials& brought;
};
/// False, and `no` is that refusal.
inline bool refuse_as(refused_request& no, refusal reason, std::string_view text) {
  no = refuse(reason, std::string(text));
  return false;
}
/// First step of admit. False: refused. So are the next two.
[[nodiscard]] inline bool admit_target(mount const& m, request const& from, transport_kind via, refused_request& no) {
  if (m.route(from.path) != via) return refuse_as(no, refusal::path, for_a_log(from.path));
  if (via == transport_kind::websocket && from.method != "GET")
    return refuse_as(no, refusal::method, for_a_log(from.method));
  return true;
}
/// Takes the subprotocol and the auth token of a WebSocket.
[[nodiscard]] inline bool admit_subprotocol(mount const& m, request const& from, admission_parts const& in,
                                            refused_request& no) {
  if (!m.auth_token && !m.subprotocols) return true;
  std::string lines;
  std::optional<std::string_view> offer = joined_header(from.headers, "sec-websocket-protocol", lines);
  if (!offer) return true;
  bearer_offer carried;
  if (m.auth_token) {
    carried = bearer_offer::of(*offer);
    if (carried.tokens == 1) {  // several tokens are ambiguous: none is used, and all stay in the header
      // phoenix.js uses the standard alphabet, despite the prefix; but browsers accept only `-` and `_` in a subprotocol
      in.brought.auth_token = from_base64(carried.token, base64_alphabet::both, base64_padding::optional);
      if (!in.brought.auth_token) return refuse_as(no, refusal::auth_token, "not base 64");
      if (carried.others.empty()) return true;
      offer = carried.others;
    }
  }
  auto const offered = [&](std::string_view ours) {
    for (std::string_view rest = *offer; !rest.empty();)
      if (trimmed(next_part(rest, ',')) == ours) {
        in.subprotocol = ours;
        return true;
      }
    return false;
  };
  if (m.auth_token && offered("phoenix")) return true;
  if (m.subprotocols)
    for (std::string const& ours : *m.subprotocols)
      if (!ours.empty() && offered(ours)) return true;
  return refuse_as(no, refusal::subprotocol, bearer_offer::for_a_log(*offer));
}
/// The rest of admit, with the query's parameters.
[[nodiscard]] inline bool admit_query(mount const& m, request const& from, transport_kind via, result<params> query,
                                      admission_parts const& in, refused_request& no) {
  if (!query) {
    error const& wrong = query.error();
    no = refuse(refusal::params, concat({to_string(wrong.code), ": ", wrong.entry}));
    if (wrong.code == errc::limit_reached) no.answer.status = 414;
    return false;
  }
  in.params = *std::move(query);
  m.path_params(from.path, in.params);

  if (origin_decision const o = m.origin(from); !o)
    return refuse_as(no, o.threw ? refusal::origin_threw : refusal::origin, o.detail);

  if (via == transport_kind::websocket) {
    if (!admit_subprotocol(m, from, in, no)) return false;
  } else if (m.auth_token) {
    in.brought.auth_token = from.header("x-phoenix-authtoken");
  }

  // absent means 1.0.0; a list or a map is not a version (protocol 3.1; Phoenix before 1.8.6 crashed)
  std::optional<param> const vsn = in.params.find("vsn");
  std::string_view const version = vsn ? vsn->text().value_or("") : "1.0.0";
  in.serializer = choose(m.offered(), version);
  if (!in.serializer) return refuse_as(no, refusal::vsn, vsn && !vsn->text() ? "not text" : for_a_log(version));
  in.bounds = &m.bounds;
  in.linger = m.linger;

  return !m.session || try_invoke([&] { in.brought.session = m.session.session(from, in.params); },
                                  [&](char const* text) { (void)refuse_as(no, refusal::connect_threw, text); });
}
/// admit; `query_of` gives the parameters, and is called once path and method are right.
template <class S, class Query>
[[nodiscard]] admitted<S> admit_with(mount const& m, request const& from, transport_kind via, Query const& query_of) {
  admitted<S> decision;
  admission<S>& in = *std::get_if<0>(&decision);
  refused_request no;
  if (!admit_target(m, from, via, no) ||
      !admit_query(m, from, via, query_of(), {in.serializer, in.subprotocol, in.bounds, in.linger, in.params, in.brought},
                   no))
    decision.template emplace<1>(std::move(no));
  return decision;
}
}  // namespace detail

/// Checks a request before `connect` is called, in Phoenix's order: path, method, query, origin, auth token, subprotocol,
/// vsn; then reads the session. Most hosts call handshake instead, which also calls `connect`.
/// @param m must outlive the socket, which refers to its limits. @param from the request; not referred to afterwards.
/// @param via for a long-poll, method and subprotocol are not checked, and the auth token is read from a header of its own.
///   Its refusals are written differently, too (protocol 10.2).
/// @par Errors: std::bad_alloc, as in handshake. @par Cost: parses the query, allocates.
///
/// Call admit directly if authentication takes a while, such as a look-up of a token elsewhere:
///
///     auto result = phx::admit<session>(m, request);
///     if (auto* refused = std::get_if<phx::refused_request>(&result)) return write(refused->answer);
///     auto accepted = std::get<phx::admission<session>>(std::move(result));    // owns its data: it may be kept
///     std::string token(accepted.params.get("token").value_or(""));
///     look_up(token, [this, accepted = std::move(accepted)](std::optional<session> user) mutable {
///       if (!user) return write(phx::http_answer{});                           // 403, empty
///       accepted.session = std::move(user);
///       accepted.id = "user:" + accepted.session->name;
///       upgrade(std::move(accepted));                                          // 101, then phx::socket
///     });
template <class S>
[[nodiscard]] admitted<S> admit(mount const& m, request const& from, transport_kind via = transport_kind::websocket) {
  return detail::admit_with<S>(m, from, via, [&] { return params::parse(from.query, m.query); });
}
/// The same for a host whose server or framework has decoded the query already: `from.query` is not read.
///
///     auto result = phx::admit<session>(m, request, phx::params::decoded(framework.query_map(), m.query));
///
/// @param decoded the parameters; where they are an error, the request is refused as for such a query.
template <class S>
[[nodiscard]] admitted<S> admit(mount const& m, request const& from, result<params> decoded,
                                transport_kind via = transport_kind::websocket) {
  return detail::admit_with<S>(m, from, via, [&] { return std::move(decoded); });
}

template <class S>
admitted<S> admit(mount const&&, request const&, transport_kind = transport_kind::websocket) = delete;
template <class S>
admitted<S> admit(mount const&&, request const&, result<params>, transport_kind = transport_kind::websocket) = delete;

namespace detail {
/// The second half of handshake: calls `connect` and stores its result in `decision`.
template <class D>
void ask_dispatcher(mount const& m, D& d, request const& from, transport_kind via,
                    admitted<typename D::session_type>& decision) {
  using session_type = typename D::session_type;
  auto* const in = std::get_if<admission<session_type>>(&decision);
  if (in == nullptr) return;

  refused_request no;
  bool accepted = false;
  {
    connect_info const info(from, in->params, via, m.custom, &in->brought);
    (void)try_invoke(
        [&] {
          connect_outcome<session_type> outcome = d.connect(info);
          if (auto* const answer = std::get_if<http_answer>(&outcome)) {
            no.answer = std::move(*answer);
          } else {
            auto& yes = *std::get_if<connected<session_type>>(&outcome);
            in->session.emplace(std::move(yes.session));
            in->id = std::move(yes.id);
            accepted = true;
          }
        },
        [&](char const* text) { (void)refuse_as(no, refusal::connect_threw, text); });
  }
  if (!accepted) decision.template emplace<refused_request>(std::move(no));
}
}  // namespace detail

/// Calls admit, then `d.connect`. If `connect` throws, the request is refused with 500, as when it raises in Phoenix, and
/// `detail` is the exception's text. As in Phoenix, it does not check that the request is a WebSocket upgrade: the host, or
/// upgrade_refusal, does that afterwards.
/// @param m must outlive the socket. @param d a Dispatcher, or anything with its `connect` half. @param from the request.
/// @param via the transport.
template <class D>
requires has_session<D> && connects<D>
[[nodiscard]] admitted<typename D::session_type> handshake(mount const& m, D& d, request const& from,
                                                           transport_kind via = transport_kind::websocket) {
  admitted<typename D::session_type> decision = admit<typename D::session_type>(m, from, via);
  detail::ask_dispatcher(m, d, from, via, decision);
  return decision;
}
/// The same with parameters that the host's server has decoded already; see admit.
template <class D>
requires has_session<D> && connects<D>
[[nodiscard]] admitted<typename D::session_type> handshake(mount const& m, D& d, request const& from, result<params> decoded,
                                                           transport_kind via = transport_kind::websocket) {
  admitted<typename D::session_type> decision = admit<typename D::session_type>(m, from, std::move(decoded), via);
  detail::ask_dispatcher(m, d, from, via, decision);
  return decision;
}

template <class D>
admitted<typename D::session_type> handshake(mount const&&, D&, request const&,
                                             transport_kind = transport_kind::websocket) = delete;
template <class D>
admitted<typename D::session_type> handshake(mount const&&, D&, request const&, result<params>,
                                             transport_kind = transport_kind::websocket) = delete;

/// The refusal of a request that is not a WebSocket upgrade of RFC 6455: 400 with Phoenix's text, 505 for HTTP/1.0. Nothing
/// if it is one. Call it after handshake (protocol 8.1, step 6). @par Errors: std::bad_alloc.
[[nodiscard]] inline std::optional<refused_request> upgrade_refusal(request const& from) {
  std::optional<http::response> answer = websocket::upgrade_refusal(from);
  if (!answer) return std::nullopt;
  std::string text = answer->body;
  return refused_request{*std::move(answer), refusal::upgrade, std::move(text)};
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CONNECT_MOUNT_HPP
#define PHX_CONNECT_MOUNT_HPP
// Where a socket is mounted and on what terms: what `socket "/socket", UserSocket, ...` says in a Phoenix endpoint.

#include <phx/serializer/legacy/generation.hpp>
#include <phx/connect/check_origin.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Someone who can tell from what a browser sends by itself whose page it is: the cookie of the web application next door
/// (protocol 8.3). phx::session_cookie of adapter/token.hpp is one.
/// session: bytes whose meaning is the source's own; nothing, where there is no session or it is not to be trusted. Asked by
///   whichever thread does the handshake. If it throws, the request is refused (500).
/// checks_csrf: the page has to show that it belongs to the application too. A browser sends the cookie whatever page
///   connects, so that a mount without check_origin needs this.
template <class S>
concept SessionSource = requires(S const& s, request const& from, params const& of_it) {
  { s.session(from, of_it) } -> std::same_as<std::optional<std::string>>;
  { s.checks_csrf() }
  noexcept->std::same_as<bool>;
};
/// A SessionSource by reference: it outlives the mount and its copies.
class session_source {
 public:
  constexpr session_source() noexcept = default;
  /// From a session_cookie, which outlives the mount.
  template <SessionSource S>
  session_source(S const& from) noexcept
      : from_(&from),
        session_(
            [](void const* self, request const& r, params const& p) { return static_cast<S const*>(self)->session(r, p); }),
        checks_csrf_([](void const* self) noexcept -> bool { return static_cast<S const*>(self)->checks_csrf(); }) {}
  template <SessionSource S>
  session_source(S const&&) = delete;

  /// Is there one?
  [[nodiscard]] explicit operator bool() const noexcept { return from_ != nullptr; }
  /// @pre *this
  [[nodiscard]] std::optional<std::string> session(request const& from, params const& of_it) const {
    return session_(from_, from, of_it);
  }
  /// @pre *this
  [[nodiscard]] bool checks_csrf() const noexcept { return checks_csrf_(from_); }

 private:
  void const* from_ = nullptr;
  std::optional<std::string> (*session_)(void const*, request const&, params const&) = nullptr;
  bool (*checks_csrf_)(void const*) noexcept = nullptr;
};

/// A plain aggregate, to be written with designated initialisers. Sockets point at their mount's limits: it must outlive
/// them, and stay as it is.
///
///     phx::mount const m{.path = "/socket", .origins = {"//localhost", "https://*.example.com"}, .longpoll = true};
struct mount {
  /// Segments; one that reads `:name` takes what the client has there, as it was sent, and it becomes the param `name`,
  /// whatever the query says of that name. One like `:_name` takes anything and tells nobody.
  std::string path = "/socket";
  /// Which Phoenix this is on the wire. Says which serializers are offered, which paths are served, and what `origins` are
  /// if they are not set: before v0_15 all (protocol 9.3; 0.15 itself too, which shares its generation with stricter ones).
  /// A set policy is today's in every generation, but for check_origin::seed.
  phx::generation generation = phx::generation::today;
  std::vector<serializer_ref> serializers{};  ///< in the order of choice; empty: those of `generation`
  /// Who may connect from a browser.
  check_origin origins{};
  std::optional<std::string> url_host = "localhost";  ///< for `origins = true`; unset: any host (protocol 9.1)
  /// Unset: an offer is ignored, none is answered. Set: the first of these that the client offers is answered, and a client
  /// that offers only others is refused (protocol 8.5).
  std::optional<std::vector<std::string>> subprotocols{};
  /// Take the client's `authToken` out of its `Sec-WebSocket-Protocol` (answered `phoenix`: it counts as the first of
  /// `subprotocols`) or its `X-Phoenix-AuthToken` and show it to connect (protocol 8.4).
  bool auth_token = false;
  session_source session{};  ///< whose answer connect_info::session is
  /// What its sockets keep to.
  limits bounds{};
  /// What is read of a request's query.
  params::bounds query{};
  /// Passed through to connect_info::custom.
  std::vector<std::pair<std::string, std::string>> custom{};
  /// Whether WebSockets are served.
  bool websocket = true;
  /// Whether long-polling is served, for clients that cannot open a WebSocket. A restart reaches a phoenix.js that polls as an
  /// error without the code 1012, which only WebSockets have; it comes back all the same.
  bool longpoll = false;
  std::string websocket_path = "/websocket";  ///< below `path`
  std::string longpoll_path = "/longpoll";    ///< below `path`

  /// Which of its transports a request path belongs to, if any. As in Phoenix empty segments do not count, so that
  /// `/socket//websocket/` is `/socket/websocket`, and a path is compared as it was sent, percent escapes and all.
  /// Before 0.15 WebSockets connect to `path` itself and polls go to `path/poll` (protocol 4.1); `legacy` serves both.
  [[nodiscard]] std::optional<transport_kind> route(std::string_view request_path) const noexcept {
    bool const old = generation < phx::generation::v0_15 || generation == phx::generation::legacy;
    if (websocket && (matches(request_path, websocket_path) || (old && matches(request_path, {}))))
      return transport_kind::websocket;
    if (longpoll && (matches(request_path, longpoll_path) || (old && matches(request_path, "/poll"))))
      return transport_kind::longpoll;
    return std::nullopt;
  }

  /// Puts what `request_path` has in the place of each `:name` into `into`. @pre route(request_path)
  void path_params(std::string_view request_path, params& into) const {
    for (std::string_view rest = path; !rest.empty();) {
      std::string_view const ours = segment(rest);
      std::string_view const theirs = segment(request_path);
      if (ours.starts_with(':') && !ours.starts_with(":_")) into.set(ours.substr(1), theirs);
    }
  }

  /// The origin policy's word on a request (protocol 9). For WebSockets admit asks it; a long-poll is checked at every
  /// request.
  [[nodiscard]] origin_decision origin(request const& asked) const {
    // v0_15 stands for 0.15 to 0.17, of which only the first allowed all: the stricter of the two
    return origins.decide(asked, url_host ? std::optional<std::string_view>(*url_host) : std::nullopt,
                          generation < phx::generation::v0_15);
  }

  /// The serializers that it offers, in their order.
  [[nodiscard]] std::span<serializer_ref const> offered() const noexcept {
    return serializers.empty() ? serializers_of(generation) : std::span<serializer_ref const>(serializers);
  }

  /// What is wrong with this mount: errc::none, or the code and the entry at fault. Ask once, at start-up.
  [[nodiscard]] error check() const {
    for (std::string const* const p : {&path, &websocket_path, &longpoll_path}) {
      if (!p->starts_with('/') || p->find_first_of("?#") != std::string::npos) return {errc::bad_path, *p};
      for (std::string_view rest = *p; !rest.empty();) {
        std::string_view const part = segment(rest);
        if (std::size_t const colon = part.find(':');
            colon != std::string_view::npos && (colon != 0 || p != &path || !is_word(part.substr(1))))
          return {errc::bad_path, *p};
      }
    }
    if (session && !session.checks_csrf() && origins_open())
      return {errc::unguarded_session, path};  // Phoenix does not start either
    for (serializer_ref const s : serializers) {
      if (!s) return {errc::bad_requirement, "a null serializer_ref"};
      // a requirement is met by the version it names; `~> 3.0` names 3.0.0
      std::string_view named = s.requirement();
      while (!named.empty() && !(named.front() >= '0' && named.front() <= '9')) named.remove_prefix(1);
      if (!satisfies(named, s.requirement()) && !satisfies(std::string(named) + ".0", s.requirement()))
        return {errc::bad_requirement, std::string(s.requirement())};
    }
    return {};
  }

 private:
  [[nodiscard]] bool origins_open() const noexcept {
    return origins.allows_all() || (origins.unset() && generation < phx::generation::v0_15);
  }
  /// Takes the first segment that is not empty away from `rest`; empty at the end.
  [[nodiscard]] static constexpr std::string_view segment(std::string_view& rest) noexcept {
    while (rest.starts_with('/')) rest.remove_prefix(1);
    std::string_view const s = rest.substr(0, rest.find('/'));
    rest.remove_prefix(s.size());
    while (rest.starts_with('/')) rest.remove_prefix(1);
    return s;
  }
  [[nodiscard]] static constexpr bool is_word(std::string_view s) noexcept {
    for (char const c : s)
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_')) return false;
    return !s.empty();
  }
  [[nodiscard]] bool matches(std::string_view theirs, std::string_view below) const noexcept {
    std::string_view ours = path;
    for (std::string_view const part : {ours, below})
      for (std::string_view rest = part;;) {
        std::string_view const local = segment(rest);
        if (local.empty()) break;
        std::string_view const there = segment(theirs);
        if (there.empty() || (!local.starts_with(':') && local != there)) return false;
      }
    return segment(theirs).empty();
  }
};

/// `m`, or what is wrong with it: phx::checked({.path = ...}).value() stops a program that is wrongly configured.
[[nodiscard]] inline result<mount> checked(mount m) {
  error wrong = m.check();
  if (wrong.code != errc::none) return wrong;
  return m;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

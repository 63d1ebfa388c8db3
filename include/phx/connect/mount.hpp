#ifndef PHX_CONNECT_MOUNT_HPP
#define PHX_CONNECT_MOUNT_HPP
// The settings of a mounted socket: `socket "/socket", UserSocket, ...` of a Phoenix endpoint.

#include <phx/serializer/generation.hpp>
#include <phx/connect/check_origin.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Reads the session of a web application from a request, usually from its cookie (protocol 8.3), such as phx::session_cookie.
/// session: the session in the source's own format; nothing if there is none, or if it cannot be trusted. Called on whichever
///   thread does the handshake. If it throws, the request is refused with 500.
/// checks_csrf: true if the source also requires a CSRF token of the page. Browsers send the cookie whichever page connects,
///   so a mount that does not check the origin needs such a source.
// clang-format off
template <class S>
concept SessionSource = requires(S const& s, request const& from, params const& of_it) {
  { s.session(from, of_it) } -> std::same_as<std::optional<std::string>>;
  { s.checks_csrf() } noexcept -> std::same_as<bool>;
};
// clang-format on
/// A reference to a SessionSource, which must outlive the mount and its copies. phx calls it in the handshake.
class session_source {
 public:
  constexpr session_source() noexcept = default;
  /// @param from must outlive the mount.
  template <SessionSource S>
  session_source(S const& from) noexcept
      : from_(&from),
        session_(
            [](void const* self, request const& r, params const& p) { return static_cast<S const*>(self)->session(r, p); }),
        checks_csrf_([](void const* self) noexcept -> bool { return static_cast<S const*>(self)->checks_csrf(); }) {}
  template <SessionSource S>
  session_source(S const&&) = delete;

  /// False for a default-constructed one.
  [[nodiscard]] explicit operator bool() const noexcept { return from_ != nullptr; }
  /// See SessionSource. @pre *this
  [[nodiscard]] std::optional<std::string> session(request const& from, params const& of_it) const {
    return session_(from_, from, of_it);
  }
  /// See SessionSource. @pre *this
  [[nodiscard]] bool checks_csrf() const noexcept { return checks_csrf_(from_); }

 private:
  void const* from_ = nullptr;
  std::optional<std::string> (*session_)(void const*, request const&, params const&) = nullptr;
  bool (*checks_csrf_)(void const*) noexcept = nullptr;
};

/// A plain struct, best written with designated initialisers. Call check() once at start-up (or use checked), then pass the
/// mount to handshake or a host. It must outlive its sockets and not change, since they refer to its limits. Constant, it may
/// be used on any thread.
///
///     phx::mount const m{.path = "/socket", .origins = {"//localhost", "https://*.example.com"}, .longpoll = true};
struct mount {
  /// The path. A segment `:name` matches any segment of the request, which becomes the param `name`, as it was sent, and takes
  /// precedence over the query. A segment `:_name` matches any segment without making it a param.
  std::string path = "/socket";
  /// Which Phoenix this is on the wire; an older one comes from phx::legacy::of (serializer/legacy/generation.hpp). It decides
  /// the serializers, the paths, and the default of `origins`: before v0_15 all are allowed (protocol 9.3; in 0.15 itself too,
  /// which shares its generation with stricter versions). If `origins` is set, it means the same in every generation.
  mount_generation generation{};
  std::vector<serializer_ref> serializers{};  ///< in the order of choice; empty: those of `generation`
  /// Which web pages may connect.
  check_origin origins{};
  std::optional<std::string> url_host = "localhost";  ///< for `origins = true`; unset: any host (protocol 9.1)
  /// Unset: the client's offer is ignored. Set: the first of these that the client offers is chosen, and a client that offers
  /// only others is refused (protocol 8.5).
  std::optional<std::vector<std::string>> subprotocols{};
  /// true: `connect` gets the client's `authToken`, from `Sec-WebSocket-Protocol` (the answer is then `phoenix`, as if it were
  /// the first of `subprotocols`) or from `X-Phoenix-AuthToken` (protocol 8.4).
  bool auth_token = false;
  session_source session{};  ///< the source of connect_info::session
  /// The limits of its sockets.
  limits bounds{};
  /// How long a frame may wait for others to leave with it: one write instead of many, where messages are frequent. Replies and
  /// closes keep their place among them; a close does not wait. In whole milliseconds; 0: every turn is written at its end. The
  /// frames of all connections of a loop leave together, so that on average they wait half as long. At 0 it costs one test for
  /// each turn that writes.
  std::chrono::milliseconds linger{};
  /// The limits of a request's query.
  params::bounds query{};
  /// Passed through to connect_info::custom.
  std::vector<std::pair<std::string, std::string>> custom{};
  /// Whether WebSockets are served.
  bool websocket = true;
  /// Whether long-polling is served, for clients that cannot open a WebSocket. At a restart a polling phoenix.js gets an
  /// error without the code 1012, which only WebSockets have; it reconnects all the same.
  bool longpoll = false;
  std::string websocket_path = "/websocket";  ///< below `path`
  std::string longpoll_path = "/longpoll";    ///< below `path`

  /// The transport of a request path; nothing if the mount does not serve it. As in Phoenix, empty segments are ignored, so
  /// that `/socket//websocket/` equals `/socket/websocket`, and percent escapes are not decoded. Before 0.15, WebSockets
  /// connect to `path` itself and polls go to `path/poll` (protocol 4.1); `legacy` serves old and new paths.
  [[nodiscard]] std::optional<transport_kind> route(std::string_view request_path) const noexcept {
    bool const old = generation < phx::generation::v0_15 || generation == phx::generation::legacy;
    if (websocket && (matches(request_path, websocket_path) || (old && matches(request_path, {}))))
      return transport_kind::websocket;
    if (longpoll && (matches(request_path, longpoll_path) || (old && matches(request_path, "/poll"))))
      return transport_kind::longpoll;
    return std::nullopt;
  }

  /// Sets a param for each segment `:name` of the path. @pre route(request_path)
  void path_params(std::string_view request_path, params& into) const {
    for (std::string_view rest = path; !rest.empty();) {
      std::string_view const ours = segment(rest);
      std::string_view const theirs = segment(request_path);
      if (ours.starts_with(':') && !ours.starts_with(":_")) into.set(ours.substr(1), theirs);
    }
  }

  /// Checks the origin of a request (protocol 9). admit calls it for a WebSocket; a long-poll is checked at every request.
  [[nodiscard]] origin_decision origin(request const& from) const {
    // v0_15 stands for 0.15 to 0.17; only 0.15 allowed all, so the stricter default applies
    return origins.decide(from, url_host ? std::optional<std::string_view>(*url_host) : std::nullopt,
                          generation < phx::generation::v0_15);
  }

  /// Its serializers in the order of choice.
  [[nodiscard]] std::span<serializer_ref const> offered() const noexcept {
    return serializers.empty() ? generation.serializers() : std::span<serializer_ref const>(serializers);
  }

  /// Checks the settings: errc::none, or an error with the entry at fault. Call it once, at start-up.
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
      return {errc::unguarded_session, path};  // Phoenix refuses to start, too
    for (serializer_ref const s : serializers) {
      if (!s) return {errc::bad_requirement, "a null serializer_ref"};
      // a valid requirement is met by the version it names; `~> 3.0` names 3.0.0
      std::string_view named = s.requirement();
      while (!named.empty() && !(named.front() >= '0' && named.front() <= '9')) named.remove_prefix(1);
      if (!satisfies(named, s.requirement()) && !satisfies(detail::concat({named, ".0"}), s.requirement()))
        return {errc::bad_requirement, std::string(s.requirement())};
    }
    return {};
  }

 private:
  [[nodiscard]] bool origins_open() const noexcept {
    return origins.allows_all() || (origins.unset() && generation < phx::generation::v0_15);
  }
  /// Removes the first non-empty segment from `rest` and returns it; empty at the end.
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

/// The mount if its settings are valid, else the error: phx::checked({.path = ...}).value() stops a misconfigured program.
[[nodiscard]] inline result<mount> checked(mount m) {
  error wrong = m.check();
  if (wrong.code != errc::none) return wrong;
  return m;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

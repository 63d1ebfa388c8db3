#ifndef PHX_CONNECT_CHECK_ORIGIN_HPP
#define PHX_CONNECT_CHECK_ORIGIN_HPP
// Which web pages may connect (protocol 9). A browser sends cookies with a WebSocket whichever page opened it, so only the
// Origin header tells the server's own pages from others.

#include <phx/connect/connect_info.hpp>

#include <atomic>
#include <cassert>
#include <concepts>
#include <initializer_list>
#include <type_traits>

namespace phx {
inline namespace PHX_BUILD {

/// The parts of an Origin header, or of an entry of a list, as Elixir's URI.parse splits them (protocol 9.2). Views of the
/// text that was parsed.
struct origin {
  std::optional<std::string_view> scheme{};  ///< in lower case when passed to a callback
  std::optional<std::string_view> host{};    ///< as sent, without userinfo and IPv6 brackets; `file://` has the host ""
  std::optional<std::uint32_t> port{};       ///< if absent, the scheme's default, if known. The range is not checked

  /// Parses an `origin` header. Parts that are absent are empty.
  [[nodiscard]] static constexpr origin parse(std::string_view text) noexcept {
    origin o;
    if (std::size_t const colon = text.find(':'); colon != std::string_view::npos && is_scheme(text.substr(0, colon))) {
      o.scheme = text.substr(0, colon);
      text.remove_prefix(colon + 1);
    }
    if (text.starts_with("//")) {
      text.remove_prefix(2);
      std::string_view authority = text.substr(0, text.find_first_of("/?#"));
      if (authority.empty()) o.host = "";
      if (std::size_t const at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
      std::size_t const bracket = closing_bracket(authority);
      std::size_t const end = bracket != 0 ? bracket + 1 : authority.find(':');
      if (std::string_view host = authority.substr(0, end); !host.empty()) {
        while (host.starts_with('[')) host.remove_prefix(1);
        while (host.ends_with(']')) host.remove_suffix(1);
        o.host = host;
      }
      if (end < authority.size() && authority[end] == ':')
        for (char const c : authority.substr(end + 1)) {
          if (c < '0' || c > '9') break;
          std::uint64_t const port = std::uint64_t{o.port.value_or(0)} * 10 + static_cast<std::uint64_t>(c - '0');
          o.port = port > 0xFFFFFFFFu ? 0xFFFFFFFFu : static_cast<std::uint32_t>(port);
        }
    }
    if (!o.port && o.scheme) o.port = default_port(*o.scheme);
    return o;
  }

 private:
  [[nodiscard]] static constexpr bool is_scheme(std::string_view s) noexcept {
    auto const letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    if (s.empty() || !letter(s[0])) return false;
    for (char const c : s)
      if (!letter(c) && !(c >= '0' && c <= '9') && c != '+' && c != '-' && c != '.') return false;
    return true;
  }
  /// The index of the `]` of a host `[...]` of letters, digits, colons and dots; 0 if it is not such a host.
  [[nodiscard]] static constexpr std::size_t closing_bracket(std::string_view authority) noexcept {
    if (!authority.starts_with('[')) return 0;
    for (std::size_t i = 1; i < authority.size(); ++i) {
      char const c = detail::lower_letter(authority[i]);
      if (c == ']') return i;
      if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != ':' && c != '.') return 0;
    }
    return 0;
  }
  [[nodiscard]] static constexpr std::optional<std::uint32_t> default_port(std::string_view scheme) noexcept {
    struct known {
      std::string_view scheme;
      std::uint32_t port;
    };
    constexpr known all[] = {{"http", 80}, {"https", 443}, {"ws", 80},   {"wss", 443},
                             {"ftp", 21},  {"sftp", 22},   {"tftp", 69}, {"ldap", 389}};
    for (known const& k : all)
      if (detail::equal_ignoring_case(k.scheme, scheme)) return k.port;
    return std::nullopt;
  }
};

/// One allowed origin, as a literal: `//example.com` (any scheme and port), `https://*.example.com` (that domain and its
/// subdomains), `//example.com:888`. An entry without a host does not compile.
class origin_pattern {
 public:
  /// From a literal, `"https://example.com"`, `"//*.example.com"`, checked by the compiler.
  template <std::size_t N>
  consteval origin_pattern(char const (&text)[N]) : text_(text, N - 1) {
    if (!origin::parse(text_).host) an_allowed_origin_needs_a_host();
  }
  /// The literal.
  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

 private:
  static void an_allowed_origin_needs_a_host() {}
  std::string_view text_;
};

namespace detail {
/// True if an origin matches an entry. A part that the entry lacks matches anything (protocol 9.1).
/// @param lenient as in Phoenix before 0.16: a part that the origin lacks matches anything too, and there are no wildcards (9.3).
[[nodiscard]] constexpr bool origin_matches(origin const& sent, origin const& allowed, bool lenient) noexcept {
  auto const either_null = [&](bool a, bool b) { return !b || (lenient && !a); };
  bool const scheme = either_null(sent.scheme.has_value(), allowed.scheme.has_value()) ||
                      (sent.scheme && equal_ignoring_case(*sent.scheme, *allowed.scheme));
  bool const port = either_null(sent.port.has_value(), allowed.port.has_value()) || sent.port == allowed.port;
  if (!scheme || !port || !allowed.host) return false;  // an entry always has a host: see origin_pattern and parse
  if (!sent.host) return lenient;
  if (lenient || !allowed.host->starts_with("*.")) return sent.host == allowed.host;
  // the dot is part of the suffix: without it evilexample.com would match *.example.com (CVE-2022-42975)
  return sent.host == allowed.host->substr(2) || sent.host->ends_with(allowed.host->substr(1));
}

/// A user's callback with a reference count.
struct origin_callback {
  std::atomic<std::uint32_t> count{1};
  bool (*call)(origin_callback&, origin const&);
  void (*destroy)(origin_callback*) noexcept;
};
}  // namespace detail

/// The result of a check.
struct origin_decision {
  /// True if the origin may connect.
  bool allowed = true;
  std::string_view header{};  ///< the Origin header as sent; a view of the request
  std::string detail{};       ///< for a log: the reason of a refusal, with origin and list, or the exception's text
  /// True if the callback threw; the origin is then refused.
  bool threw = false;

  /// True if the origin may connect.
  [[nodiscard]] explicit operator bool() const noexcept { return allowed; }
};

/// A mount's origin policy: one of Phoenix's forms of `check_origin` (protocol 9.1). Set mount::origins; phx calls decide()
/// in the handshake, on whichever thread does it. Owns its list and callback; copies share the callback.
///
///     .origins = {}                                             // unset: as true; generations before v0_15 allow all (9.3)
///     .origins = true                                           // the host must be the mount's url_host
///     .origins = false                                          // all are allowed
///     .origins = {"//localhost", "https://*.example.com"}       // one of these; checked by the compiler
///     .origins = phx::check_origin::parse(from_a_file).value()  // the same, checked now
///     .origins = phx::check_origin::conn()                      // scheme, host and port of the request itself
///     .origins = phx::check_origin::callback([](phx::origin const& o) { return o.host == "example.com"; })
class check_origin {
 public:
  check_origin() noexcept = default;
  /// `true`: the host must be mount::url_host. `false`: all origins are allowed.
  template <std::same_as<bool> B>
  check_origin(B enabled) noexcept : rule_(enabled ? rule::same_host : rule::any) {}
  /// The allowed origins.
  check_origin(std::initializer_list<origin_pattern> list) : rule_(rule::list) {
    for (origin_pattern const& p : list) {
      // Clang 14 runs a consteval constructor at run time when braces initialise a variable or member (but not for the
      // arguments of a call, such as list's). An invalid entry that passes that way matches nothing.
      assert(origin::parse(p.text()).host && "an allowed origin needs a host");
      list_.emplace_back(p.text());
    }
  }
  /// A copy; it shares the callback.
  check_origin(check_origin const& o) : rule_(o.rule_), list_(o.list_), callback_(o.callback_) {
    if (callback_ != nullptr) callback_->count.fetch_add(1, std::memory_order_relaxed);
  }
  /// Takes the policy over; `o` then allows no origin.
  check_origin(check_origin&& o) noexcept
      : rule_(o.rule_), list_(std::move(o.list_)), callback_(std::exchange(o.callback_, nullptr)) {
    // a policy that was moved from by mistake must not allow anybody
    o.rule_ = rule::list;
    o.list_.clear();
  }
  /// Replaces the policy.
  check_origin& operator=(check_origin o) noexcept {
    std::swap(rule_, o.rule_);
    std::swap(list_, o.list_);
    std::swap(callback_, o.callback_);
    return *this;
  }
  ~check_origin() {
    if (callback_ != nullptr && callback_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) callback_->destroy(callback_);
  }

  /// The same as braces, but Clang 14 checks the entries of a call at compile time.
  [[nodiscard]] static check_origin list(std::initializer_list<origin_pattern> list) { return check_origin(list); }
  /// A list known at run time. @return errc::origin_without_host and the entry, if an entry has no host (`other.com`).
  template <class List = std::initializer_list<std::string_view>>
  [[nodiscard]] static result<check_origin> parse(List const& entries) {
    check_origin c;
    c.rule_ = rule::list;
    for (std::string_view const entry : entries) {
      if (!origin::parse(entry).host) return error{errc::origin_without_host, std::string(entry)};
      c.list_.emplace_back(entry);
    }
    return c;
  }
  /// The `origins` of Phoenix 0.11 to 0.15 (protocol 9.3), for a mount that must behave as those versions: a part that is
  /// absent on *either* side matches, so that every list allows `Origin: null`; there are no wildcards.
  [[nodiscard]] static check_origin seed(std::initializer_list<origin_pattern> list) {
    check_origin c(list);
    c.rule_ = rule::seed_list;
    return c;
  }
  /// Only pages of the same scheme, host and port as the request. Behind a proxy that ends TLS, or that changes the Host header,
  /// these are the client's only if the host has trusted_proxies.
  [[nodiscard]] static check_origin conn() noexcept {
    check_origin c;
    c.rule_ = rule::conn;
    return c;
  }
  /// @param function any callable `bool(origin const&)`, copied or moved in. Called for every origin, including one without
  ///   a host, on whichever thread does the handshake. If it throws, the request is refused with 500.
  template <class F>
  requires std::is_invocable_r_v<bool, F&, origin const&>
  [[nodiscard]] static check_origin callback(F function) {
    struct holder : detail::origin_callback {
      explicit holder(F&& g) : f(std::move(g)) {}
      F f;
    };
    holder* const h = new holder(std::move(function));
    h->call = [](detail::origin_callback& self, origin const& o) -> bool { return static_cast<holder&>(self).f(o); };
    h->destroy = [](detail::origin_callback* self) noexcept { delete static_cast<holder*>(self); };
    check_origin c;
    c.rule_ = rule::callback;
    c.callback_ = h;
    return c;
  }

  /// Checks the origin of a request; one without an Origin header is allowed, since it does not come from a web page.
  /// @param from the request. @param url_host the mount's; unset: `true` allows every origin with a host (protocol 9.1).
  /// @param unset_allows_all true for a mount of a generation before 0.15.
  [[nodiscard]] origin_decision decide(request const& from, std::optional<std::string_view> url_host,
                                       bool unset_allows_all = false) const {
    origin_decision d;
    std::optional<std::string_view> const header = from.header("origin");
    if (!header) return d;
    d.header = *header;
    rule const selected = rule_ != rule::unset ? rule_ : unset_allows_all ? rule::any : rule::same_host;
    if (selected == rule::any) return d;
    origin o = origin::parse(*header);
    switch (selected) {
      case rule::callback: {
        std::string scheme(o.scheme.value_or(""));
        for (char& c : scheme) c = detail::lower_letter(c);
        if (o.scheme) o.scheme = scheme;
        d.threw = !detail::try_invoke([&] { d.allowed = callback_->call(*callback_, o); },
                                      [&](char const* error_text) { d.detail = error_text; });
        if (d.threw) d.allowed = false;
        break;
      }
      case rule::conn:
        // a request without a Host header has no origin to compare with
        d.allowed = o.host == from.host && !from.host.empty() && o.scheme &&
                    detail::equal_ignoring_case(*o.scheme, from.scheme) && o.port == from.port;
        break;
      case rule::seed_list: d.allowed = any_of_list(o, true); break;
      case rule::list: d.allowed = o.host && any_of_list(o, false); break;
      case rule::same_host: d.allowed = o.host && (!url_host || o.host == url_host); break;
      case rule::any:
      case rule::unset: break;
    }
    if (!d.allowed)
      d.detail = detail::concat({"origin ", detail::for_a_log(*header), " refused by ", describe(selected, from, url_host),
                                 d.threw ? ", which threw: " : "", d.detail});
    return d;
  }

  /// True if all origins are allowed (`false` was given).
  [[nodiscard]] bool allows_all() const noexcept { return rule_ == rule::any; }
  /// True for a default-constructed policy.
  [[nodiscard]] bool unset() const noexcept { return rule_ == rule::unset; }
  /// The entries of a list, as they were written.
  [[nodiscard]] std::span<std::string const> entries() const noexcept { return list_; }

 private:
  enum class rule : std::uint8_t { unset, any, same_host, list, seed_list, conn, callback };

  [[nodiscard]] bool any_of_list(origin const& o, bool lenient) const noexcept {
    for (std::string const& entry : list_)
      if (detail::origin_matches(o, origin::parse(entry), lenient)) return true;
    return false;
  }
  /// The policy as a log shows it.
  [[nodiscard]] std::string describe(rule selected, request const& from, std::optional<std::string_view> url_host) const {
    std::string out;
    switch (selected) {
      case rule::callback: return "a callback";
      case rule::conn:
        return detail::concat({"conn, ", from.scheme, "://", detail::for_a_log(from.host), ":", std::to_string(from.port)});
      case rule::list:
      case rule::seed_list:
        out = "the list [";
        for (std::string const& entry : list_) detail::append(out, {out.back() == '[' ? "\"" : ", \"", entry, "\""});
        out += ']';
        return out;
      case rule::same_host:
      case rule::any:
      case rule::unset: break;
    }
    return detail::concat({url_host ? "true, the host " : "true: it has no host", url_host.value_or("")});
  }

  rule rule_ = rule::unset;
  std::vector<std::string> list_;
  detail::origin_callback* callback_ = nullptr;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

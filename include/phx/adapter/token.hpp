#ifndef PHX_ADAPTER_TOKEN_HPP
#define PHX_ADAPTER_TOKEN_HPP
// Tokens and cookies that an Elixir application made or will read (protocol 15): Phoenix.Token, and the session of Plug.
// A C++ server beside a Phoenix web application trusts the same login with them. Needs OpenSSL 1.1.1 or later: phx::token.

#include <phx/adapter/detail/crypto.hpp>
#include <phx/adapter/term.hpp>
#include <phx/connect/connect_info.hpp>
#include <phx/connect/mount.hpp>

#include <algorithm>
#include <chrono>
#include <limits>
#include <type_traits>

namespace phx {
inline namespace PHX_BUILD {

/// How long a token is good: whole seconds, a fraction of them, or for ever.
class token_age {
 public:
  /// As long as this.
  template <class Rep, class Period>
  constexpr token_age(std::chrono::duration<Rep, Period> age) noexcept {
    using given = std::chrono::duration<Rep, Period>;
    using seconds = std::chrono::duration<std::int64_t>;
    if constexpr (std::is_convertible_v<given, seconds>) {
      // hours::max() has more seconds than fit: as long as can be counted.
      constexpr given longest = std::chrono::duration_cast<given>((seconds::max)());
      whole_ = age > longest ? (seconds::max)().count() : age < -longest ? -1 : seconds(age).count();
    } else {
      fraction_ = std::chrono::duration<double>(age).count();
      kind_ = kind::fraction;
    }
  }
  /// For ever.
  [[nodiscard]] static constexpr token_age infinity() noexcept {
    token_age a(std::chrono::seconds(0));
    a.kind_ = kind::infinity;
    return a;
  }

 private:
  friend class phoenix_token;
  enum class kind : std::uint8_t { whole, fraction, infinity };
  /// A day: what is meant where nothing is said.
  static constexpr std::int64_t usual = 86'400;

  [[nodiscard]] static std::optional<token_age> read(term_view t) {
    if (std::optional<std::int64_t> const n = t.integer()) return token_age(std::chrono::duration<std::int64_t>(*n));
    if (std::optional<double> const f = t.number()) return token_age(std::chrono::duration<double>(*f));
    if (t.is_atom("infinity")) return infinity();
    return std::nullopt;
  }
  [[nodiscard]] term written() const {
    return kind_ == kind::whole      ? term::integer(whole_)
           : kind_ == kind::fraction ? term::number(fraction_)
                                     : term::atom("infinity");
  }
  [[nodiscard]] bool none() const noexcept { return kind_ == kind::whole ? whole_ <= 0 : fraction_ <= 0; }
  /// From then on it is too old. @pre neither none() nor infinity
  [[nodiscard]] std::int64_t ends(std::int64_t since_ms) const noexcept {
    constexpr std::int64_t never = (std::numeric_limits<std::int64_t>::max)();
    bool const for_ever = kind_ == kind::whole ? whole_ > never / 1000 : !(fraction_ * 1000.0 < 9.0e18);
    if (for_ever) return never;
    std::int64_t const age = kind_ == kind::whole ? whole_ * 1000 : static_cast<std::int64_t>(fraction_ * 1000.0);
    return since_ms > never - age ? never : since_ms + age;
  }

  std::int64_t whole_ = 0;
  double fraction_ = 0;
  kind kind_ = kind::whole;
};

/// Phoenix.Token for one salt. The key is derived once, here: that is slow on purpose. Every const member may be called from
/// any thread. Nothing of it is ever shown in an error.
///
///     auto const logins = phx::phoenix_token::make(secret_key_base, "user auth").value();
///     phx::result<phx::term> who = logins.verify(info.auth_token(), std::chrono::system_clock::now());
///     if (who) if (auto name = who->view().text()) ...
class phoenix_token {
 public:
  /// A point of the system's clock, in which tokens count.
  using time = std::chrono::system_clock::time_point;
  /// Bytes of a token. A longer one is invalid, unread.
  static constexpr std::size_t longest = 65'536;
  /// How far in the future a token may have been signed: the clocks of two machines differ by a few seconds.
  static constexpr std::chrono::seconds usual_leeway{60};

  /// @param secret_key_base the application's, as the text it is; at least 20 bytes. @param salt what the application calls
  /// it
  ///   in Phoenix.Token.sign, a namespace. @param opts its `key_iterations`, `key_length`, `key_digest`, if it gives any.
  /// @return errc::weak_key for a short secret, no iterations, or a key of no bytes or more than 1024.
  [[nodiscard]] static result<phoenix_token> make(std::string_view secret_key_base, std::string_view salt,
                                                  key_options const& opts = {}) {
    result<detail::secret> key = detail::derived_key(secret_key_base, 20, salt, opts);
    if (!key) return key.error();
    return phoenix_token(*std::move(key));
  }

  /// What Phoenix.Token.sign gives: everybody can read it, nobody can change it.
  /// @return errc::no_memory, if OpenSSL has none.
  [[nodiscard]] result<std::string> sign(term const& data, time now, token_age max_age = std::chrono::hours(24)) const {
    return detail::signed_message(key_.view(), envelope(data, now, max_age), key_digest::sha256);
  }
  /// @param token as the client sent it, if it did. @param max_age replaces the one the token says.
  /// @param leeway a token that was signed up to this long after `now` is valid, for its maker's clock may be ahead of ours.
  ///   It does not make a token live longer.
  /// @return the data, or errc::token_missing; errc::token_expired; errc::token_invalid for all else: forged, mutilated,
  /// made
  ///   with another secret or salt, signed later than `leeway` from now, or with data that is none (see term::read).
  [[nodiscard]] result<term> verify(std::optional<std::string_view> token, time now, std::optional<token_age> max_age = {},
                                    std::chrono::seconds leeway = usual_leeway) const {
    return judged(token, now, max_age, leeway, [&](std::string_view t) { return detail::verified_message(key_.view(), t); });
  }
  /// As sign, and nobody can read it (Phoenix.Token.encrypt).
  /// @return errc::weak_key unless the key has 32 bytes, errc::no_memory, if OpenSSL has none, or no random bytes.
  [[nodiscard]] result<std::string> encrypt(term const& data, time now, token_age max_age = std::chrono::hours(24)) const {
    return detail::encrypted_message(key_.view(), envelope(data, now, max_age));
  }
  /// As verify, for what encrypt gave, of plug_crypto 1 too.
  [[nodiscard]] result<term> decrypt(std::optional<std::string_view> token, time now, std::optional<token_age> max_age = {},
                                     std::chrono::seconds leeway = usual_leeway) const {
    return judged(token, now, max_age, leeway,
                  [&](std::string_view t) { return detail::decrypted_message(key_.view(), {}, t); });
  }

 private:
  explicit phoenix_token(detail::secret key) : key_(std::move(key)) {}

  [[nodiscard]] static std::int64_t ms(time t) noexcept {
    return std::chrono::floor<std::chrono::duration<std::int64_t, std::milli>>(t.time_since_epoch()).count();
  }
  [[nodiscard]] static std::string envelope(term const& data, time now, token_age max_age) {
    return term::tuple({data, term::integer(ms(now)), max_age.written()}).external();
  }
  /// Whether `since` is more than `leeway` after `now`, both in milliseconds.
  [[nodiscard]] static bool of_the_future(std::int64_t since, std::int64_t now, std::chrono::seconds leeway) noexcept {
    if (since <= now) return false;
    std::uint64_t const ahead = static_cast<std::uint64_t>(since) - static_cast<std::uint64_t>(now);
    return leeway.count() <= 0 || ahead / 1000 + (ahead % 1000 != 0) > static_cast<std::uint64_t>(leeway.count());
  }
  template <class Open>
  [[nodiscard]] static result<term> judged(std::optional<std::string_view> token, time now, std::optional<token_age> max_age,
                                           std::chrono::seconds leeway, Open const& open) {
    if (!token) return error{errc::token_missing};
    if (token->size() > longest) return error{errc::token_invalid};
    std::optional<std::string> const payload = open(*token);
    if (!payload) return error{errc::token_invalid};
    result<term> const whole = term::read(*payload);
    if (!whole) return error{errc::token_invalid};

    // {data, signed_at_ms, max_age}; before plug_crypto 1.2 without max_age, before that a map
    std::optional<term_view> data, signed_at;
    std::optional<token_age> age = token_age(std::chrono::duration<std::int64_t>(token_age::usual));
    if (whole->view().kind() == term_kind::map) {
      data = whole->view().find_atom("data");
      signed_at = whole->view().find_atom("signed");
      if (whole->view().size() != 2 || !data) return error{errc::token_invalid};
    } else {
      if (whole->view().kind() != term_kind::tuple) return error{errc::token_invalid};
      std::vector<term_view> const parts = whole->view().elements();
      if (parts.size() != 2 && parts.size() != 3) return error{errc::token_invalid};
      data = parts[0];
      signed_at = parts[1];
      if (parts.size() == 3) age = token_age::read(parts[2]);
    }
    std::optional<std::int64_t> const since = signed_at ? signed_at->integer() : std::nullopt;
    if (!since || !age) return error{errc::token_invalid};
    if (max_age) age = max_age;
    if (age->kind_ != token_age::kind::infinity) {
      if (age->none()) return error{errc::token_expired};
      if (of_the_future(*since, ms(now), leeway)) return error{errc::token_invalid};
      if (age->ends(*since) < ms(now)) return error{errc::token_expired};
    }
    return term(*data);
  }

  detail::secret key_;
};

/// The session that a Plug application keeps in a cookie (protocol 8.3): a mount's SessionSource. A session says nothing of
/// when it was written, so that no clock matters here.
///
///     phx::session_cookie const cookie = phx::session_cookie::make(secret_key_base, {.name = "_shop_key", .signing_salt =
///     "8fR.."}).value(); phx::mount const m{.path = "/socket", .session = cookie};
///     // and in connect: a page that sent `_csrf_token` is of that application, whoever is logged in there
///     if (auto session = phx::web_session(info)) if (auto id = session->view().find("user_id")) ...
class session_cookie {
 public:
  /// What `@session_options` of the Phoenix endpoint says, of a store that is :cookie.
  struct options {
    std::string name{};  ///< its `key`
    /// The application's `signing_salt` of Plug.Session.
    std::string signing_salt{};
    std::string encryption_salt{};  ///< if it has one, the cookie is encrypted
    /// How the keys are derived from the secret.
    key_options keys{};
    /// The page shows in the parameter `_csrf_token` what Plug.CSRFProtection.get_csrf_token() gave it. Without that any
    /// page on the web can connect as whoever is looking at it, unless check_origin forbids it.
    bool check_csrf = true;
    std::string csrf_token_key = "_csrf_token";  ///< in the session
  };
  /// Bytes of a cookie's value, which Plug keeps below 4096. A longer one is no session.
  static constexpr std::size_t longest = 65'536;

  /// @param secret_key_base the application's; at least 64 bytes, as Plug has it. @return errc::weak_key, as phoenix_token.
  [[nodiscard]] static result<session_cookie> make(std::string_view secret_key_base, options opts) {
    result<detail::secret> signing = detail::derived_key(secret_key_base, 64, opts.signing_salt, opts.keys);
    if (!signing) return signing.error();
    if (opts.encryption_salt.empty()) return session_cookie(std::move(opts), *std::move(signing), std::nullopt);
    result<detail::secret> hiding = detail::derived_key(secret_key_base, 64, opts.encryption_salt, opts.keys);
    if (!hiding) return hiding.error();
    return session_cookie(std::move(opts), *std::move(signing), *std::move(hiding));
  }

  /// The session in a cookie's value. @return errc::token_invalid for whatever is none.
  [[nodiscard]] result<term> read(std::string_view cookie) const {
    if (cookie.size() > longest) return error{errc::token_invalid};
    std::optional<std::string> const bytes = hiding_ ? detail::decrypted_message(hiding_->view(), signing_.view(), cookie)
                                                     : detail::verified_message(signing_.view(), cookie);
    if (!bytes) return error{errc::token_invalid};
    result<term> session = term::read(*bytes);
    if (!session || session->view().kind() != term_kind::map) return error{errc::token_invalid};
    return session;
  }
  /// A cookie's value that the application will read. Where it is sent to the browser (Set-Cookie) is yours.
  [[nodiscard]] result<std::string> write(term const& session) const {
    return hiding_ ? detail::encrypted_message(hiding_->view(), session.external())
                   : detail::signed_message(signing_.view(), session.external(), key_digest::sha256);
  }

  // ---- a SessionSource
  /// The term, in its external format; see web_session. Nothing without the cookie, or where its mac or the CSRF token
  /// fails.
  [[nodiscard]] std::optional<std::string> session(request const& from, params const& of_it) const {
    std::optional<std::string> const cookie = value_of(from);
    if (!cookie) return std::nullopt;
    result<term> const all = read(*cookie);
    if (!all) return std::nullopt;
    if (opts_.check_csrf) {
      std::optional<term_view> const state = all->view().find(opts_.csrf_token_key);
      std::optional<std::string_view> const shown = of_it.get("_csrf_token");
      if (!state || !state->text() || !shown || !csrf_token_fits(*state->text(), *shown)) return std::nullopt;
    }
    return all->external();
  }
  /// Does it ask for a CSRF token beside the cookie?
  [[nodiscard]] bool checks_csrf() const noexcept { return opts_.check_csrf; }

 private:
  session_cookie(options&& opts, detail::secret&& signing, std::optional<detail::secret>&& hiding)
      : opts_(std::move(opts)), signing_(std::move(signing)), hiding_(std::move(hiding)) {}

  /// As Plug.Conn.Cookies reads them: of two the last; one with a space in its name, or with other white space, is none.
  [[nodiscard]] std::optional<std::string> value_of(request const& from) const {
    constexpr std::string_view odd = "\t\r\n\v\f";
    std::optional<std::string> found;
    for (header const& h : from.headers) {
      if (!detail::same_but_for_case(h.name, "cookie")) continue;
      for (std::string_view rest = h.value; !rest.empty();) {
        std::string_view one = detail::next_part(rest, ';');
        one.remove_prefix((std::min)(one.find_first_not_of(" \t"), one.size()));
        if (!one.starts_with(opts_.name) || opts_.name.empty()) continue;
        one.remove_prefix(opts_.name.size());
        if (!one.starts_with('=') || one.find_first_of(odd) != std::string_view::npos) continue;
        one.remove_prefix(1);
        found = one.substr(0, one.find_last_not_of(' ') + 1);
      }
    }
    return found;
  }
  /// Plug.CSRFProtection: 24 bytes X in base 64, then a mask M of 24 letters; it fits when state XOR X is M.
  [[nodiscard]] static bool csrf_token_fits(std::string_view state, std::string_view shown) {
    if (state.size() != 24 || shown.size() != 56) return false;
    std::optional<std::string> const x =
        detail::from_base64(shown.substr(0, 32), detail::base64_alphabet::url, detail::base64_padding::required);
    if (!x || x->size() != 24) return false;
    std::string masked(state);
    for (std::size_t i = 0; i < 24; ++i) masked[i] = static_cast<char>(masked[i] ^ (*x)[i]);
    return detail::same_secret(masked, shown.substr(32));
  }

  options opts_;
  detail::secret signing_;
  std::optional<detail::secret> hiding_;
};

/// What a session_cookie found for this client: a map, mostly with strings for keys. Nothing without a session.
[[nodiscard]] inline std::optional<term> web_session(connect_info const& info) {
  std::optional<std::string_view> const bytes = info.session();
  if (!bytes) return std::nullopt;
  result<term> session = term::read(*bytes, {.bytes = bytes->size()});
  if (!session) return std::nullopt;
  return *std::move(session);
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

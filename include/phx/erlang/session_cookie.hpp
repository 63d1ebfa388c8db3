#ifndef PHX_ERLANG_SESSION_COOKIE_HPP
#define PHX_ERLANG_SESSION_COOKIE_HPP
// The session of a Plug application, kept in a cookie (protocol 8.3): a browser that is logged in to a Phoenix application
// is known here. Needs OpenSSL 1.1.1 or later: link phx::token.

#include <phx/connect/connect_info.hpp>
#include <phx/connect/mount.hpp>
#include <phx/erlang/detail/crypto.hpp>
#include <phx/erlang/key_options.hpp>
#include <phx/erlang/term.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {

/// A SessionSource for mount::session: decrypts or verifies the cookie, and checks the CSRF token. A session does not
/// contain the time it was written, so it does not expire. Its const members may be called from any thread.
///
///     auto const cookie = phx::session_cookie::make(secret_key_base, {.name = "_shop_key", .signing_salt = "8fR.."}).value();
///     phx::mount const m{.path = "/socket", .session = cookie};
///     // in connect; a page that sent `_csrf_token` is of that application, whoever is logged in there
///     if (auto session = phx::web_session(info)) if (auto id = session->view().find("user_id")) ...
class session_cookie {
 public:
  /// `@session_options` of the Phoenix endpoint, whose store must be :cookie.
  struct options {
    std::string name{};  ///< its `key`
    /// The application's `signing_salt` of Plug.Session.
    std::string signing_salt{};
    std::string encryption_salt{};  ///< the application's; if it is set, the cookie is encrypted
    /// How the keys are derived from the secret.
    key_options keys{};
    /// The page must send the token of Plug.CSRFProtection.get_csrf_token() in the parameter `_csrf_token`. Without this
    /// check, any page on the web could connect as the user who looks at it, unless check_origin forbids it.
    bool check_csrf = true;
    std::string csrf_token_key = "_csrf_token";  ///< in the session
  };
  /// Bytes of a cookie's value; Plug keeps it below 4096. A longer one is not read.
  static constexpr std::size_t max_bytes = 65'536;

  /// Derives the keys. @param secret_key_base of the application; at least 64 bytes, as Plug requires.
  /// @return errc::weak_key, as phoenix_token::make.
  [[nodiscard]] static result<session_cookie> make(std::string_view secret_key_base, options opts) {
    result<detail::secret> signing = detail::derived_key(secret_key_base, 64, opts.signing_salt, opts.keys);
    if (!signing) return signing.error();
    if (opts.encryption_salt.empty()) return session_cookie(std::move(opts), *std::move(signing), std::nullopt);
    result<detail::secret> encryption = detail::derived_key(secret_key_base, 64, opts.encryption_salt, opts.keys);
    if (!encryption) return encryption.error();
    return session_cookie(std::move(opts), *std::move(signing), *std::move(encryption));
  }

  /// The session in a cookie's value. @return errc::token_invalid if there is no valid one.
  [[nodiscard]] result<term> read(std::string_view cookie) const {
    if (cookie.size() > max_bytes) return error{errc::token_invalid};
    std::optional<std::string> const bytes = encryption_
                                                 ? detail::decrypted_message(encryption_->view(), signing_.view(), cookie)
                                                 : detail::verified_message(signing_.view(), cookie);
    if (!bytes) return error{errc::token_invalid};
    result<term> session = term::read(*bytes);
    if (!session || session->view().kind() != term_kind::map) return error{errc::token_invalid};
    return session;
  }
  /// A cookie's value that the application will read. Sending it to the browser (Set-Cookie) is up to you.
  [[nodiscard]] result<std::string> write(term const& session) const {
    return encryption_ ? detail::encrypted_message(encryption_->view(), session.external())
                       : detail::signed_message(signing_.view(), session.external(), key_digest::sha256);
  }

  // ---- a SessionSource

  /// The session in Erlang's external format; web_session reads it. Nothing without the cookie, or if its signature or the
  /// CSRF token is wrong.
  [[nodiscard]] std::optional<std::string> session(request const& request, params const& params) const {
    std::optional<std::string> const cookie = value_of(request);
    if (!cookie) return std::nullopt;
    result<term> const session = read(*cookie);
    if (!session) return std::nullopt;
    if (opts_.check_csrf) {
      std::optional<term_view> const state = session->view().find(opts_.csrf_token_key);
      std::optional<std::string_view> const token = params.get("_csrf_token");
      if (!state || !state->text() || !token || !csrf_token_valid(*state->text(), *token)) return std::nullopt;
    }
    return session->external();
  }
  /// Whether it requires a CSRF token.
  [[nodiscard]] bool checks_csrf() const noexcept { return opts_.check_csrf; }

 private:
  session_cookie(options&& opts, detail::secret&& signing, std::optional<detail::secret>&& encryption)
      : opts_(std::move(opts)), signing_(std::move(signing)), encryption_(std::move(encryption)) {}

  /// As Plug.Conn.Cookies reads them: the last of several; a cookie with a space in its name or other white space is
  /// ignored.
  [[nodiscard]] std::optional<std::string> value_of(request const& request) const {
    constexpr std::string_view forbidden = "\t\r\n\v\f";
    std::optional<std::string> found;
    for (header const& h : request.headers) {
      if (!detail::equal_ignoring_case(h.name, "cookie")) continue;
      for (std::string_view rest = h.value; !rest.empty();) {
        std::string_view one = detail::next_part(rest, ';');
        one.remove_prefix((std::min)(one.find_first_not_of(" \t"), one.size()));
        if (!one.starts_with(opts_.name) || opts_.name.empty()) continue;
        one.remove_prefix(opts_.name.size());
        if (!one.starts_with('=') || one.find_first_of(forbidden) != std::string_view::npos) continue;
        one.remove_prefix(1);
        found = one.substr(0, one.find_last_not_of(' ') + 1);
      }
    }
    return found;
  }
  /// As Plug.CSRFProtection: 24 bytes X in base 64, then a mask M of 24 letters; it is valid if state XOR X is M.
  [[nodiscard]] static bool csrf_token_valid(std::string_view state, std::string_view token) {
    if (state.size() != 24 || token.size() != 56) return false;
    std::optional<std::string> const x =
        detail::from_base64(token.substr(0, 32), detail::base64_alphabet::url, detail::base64_padding::required);
    if (!x || x->size() != 24) return false;
    std::string masked(state);
    for (std::size_t i = 0; i < 24; ++i) masked[i] = static_cast<char>(masked[i] ^ (*x)[i]);
    return detail::same_secret(masked, token.substr(32));
  }

  options opts_;
  detail::secret signing_;
  std::optional<detail::secret> encryption_;
};

/// The session that a session_cookie found for this client: a map, mostly with strings for keys. Nothing without one.
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

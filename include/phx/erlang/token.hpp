#ifndef PHX_ERLANG_TOKEN_HPP
#define PHX_ERLANG_TOKEN_HPP
// Phoenix.Token (protocol 15): tokens that an Elixir application made or will read. A C++ server beside a Phoenix
// application accepts the same logins with them. Needs OpenSSL 1.1.1 or later: link phx::token. The session cookie is in
// session_cookie.hpp.

#include <phx/core/error.hpp>
#include <phx/erlang/detail/crypto.hpp>
#include <phx/erlang/key_options.hpp>
#include <phx/erlang/term.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {

/// How long a token is valid after it was signed: whole seconds, a fraction of them, or for ever.
class token_age {
 public:
  /// For this duration.
  template <class Rep, class Period>
  constexpr token_age(std::chrono::duration<Rep, Period> age) noexcept {
    using given = std::chrono::duration<Rep, Period>;
    using seconds = std::chrono::duration<std::int64_t>;
    if constexpr (std::is_convertible_v<given, seconds>) {
      // hours::max() has more seconds than fit: clamped.
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
  /// A day, as in Phoenix.
  static constexpr std::int64_t default_seconds = 86'400;

  [[nodiscard]] static std::optional<token_age> read(term_view t) {
    if (std::optional<std::int64_t> const n = t.integer()) return token_age(std::chrono::duration<std::int64_t>(*n));
    if (std::optional<double> const f = t.number()) return token_age(std::chrono::duration<double>(*f));
    if (t.is_atom("infinity")) return infinity();
    return std::nullopt;
  }
  [[nodiscard]] term to_term() const {
    return kind_ == kind::whole      ? term::integer(whole_)
           : kind_ == kind::fraction ? term::number(fraction_)
                                     : term::atom("infinity");
  }
  [[nodiscard]] bool expired_at_once() const noexcept { return kind_ == kind::whole ? whole_ <= 0 : fraction_ <= 0; }
  /// The last millisecond at which it is valid. @pre neither expired_at_once() nor infinity
  [[nodiscard]] std::int64_t valid_until(std::int64_t since_ms) const noexcept {
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

/// Phoenix.Token for one salt. Constructing it derives the key, which is slow on purpose (PBKDF2): keep one. Its const
/// members may be called from any thread. No error contains any part of a key or token.
///
///     auto const logins = phx::phoenix_token::make(secret_key_base, "user auth").value();
///     phx::result<phx::term> const user = logins.verify(info.auth_token(), std::chrono::system_clock::now());
///     if (user) if (auto name = user->view().text()) ...
class phoenix_token {
 public:
  /// Of the system's clock: tokens contain the time they were signed.
  using time = std::chrono::system_clock::time_point;
  /// Bytes of a token. A longer one is invalid and not read.
  static constexpr std::size_t max_bytes = 65'536;
  /// How far in the future a token may have been signed: the clocks of two machines differ by a few seconds.
  static constexpr std::chrono::seconds default_leeway{60};

  /// Derives the key. @param secret_key_base of the application, as text; at least 20 bytes. @param salt the second argument
  /// of
  ///   Phoenix.Token.sign. @param opts the application's `key_iterations`, `key_length`, `key_digest`, if it sets any.
  /// @return errc::weak_key for a short secret, no iterations, or a key of no bytes or more than 1024.
  [[nodiscard]] static result<phoenix_token> make(std::string_view secret_key_base, std::string_view salt,
                                                  key_options const& opts = {}) {
    result<detail::secret> key = detail::derived_key(secret_key_base, 20, salt, opts);
    if (!key) return key.error();
    return phoenix_token(*std::move(key));
  }

  /// Makes what Phoenix.Token.sign makes: a token that everybody can read and nobody can change.
  /// @return errc::no_memory if OpenSSL has none.
  [[nodiscard]] result<std::string> sign(term const& data, time now, token_age max_age = std::chrono::hours(24)) const {
    return detail::signed_message(key_.view(), envelope(data, now, max_age), key_digest::sha256);
  }
  /// @param token as the client sent it, if it did. @param max_age replaces the age inside the token.
  /// @param leeway a token that was signed up to this long after `now` is valid, because its maker's clock may be ahead of
  ///   this one. It does not extend a token's life. @return the data, or errc::token_missing; errc::token_expired;
  ///   errc::token_invalid for everything else: forged, damaged, made with another secret or salt, signed later than
  ///   `leeway` from now, or with data that term::read refuses.
  [[nodiscard]] result<term> verify(std::optional<std::string_view> token, time now, std::optional<token_age> max_age = {},
                                    std::chrono::seconds leeway = default_leeway) const {
    return check(token, now, max_age, leeway, [&](std::string_view t) { return detail::verified_message(key_.view(), t); });
  }
  /// As sign, but nobody can read it (Phoenix.Token.encrypt).
  /// @return errc::weak_key unless the key has 32 bytes; errc::no_memory if OpenSSL has none, or no random bytes.
  [[nodiscard]] result<std::string> encrypt(term const& data, time now, token_age max_age = std::chrono::hours(24)) const {
    return detail::encrypted_message(key_.view(), envelope(data, now, max_age));
  }
  /// As verify, for encrypted tokens, including those of plug_crypto 1.
  [[nodiscard]] result<term> decrypt(std::optional<std::string_view> token, time now, std::optional<token_age> max_age = {},
                                     std::chrono::seconds leeway = default_leeway) const {
    return check(token, now, max_age, leeway,
                 [&](std::string_view t) { return detail::decrypted_message(key_.view(), {}, t); });
  }

 private:
  explicit phoenix_token(detail::secret key) : key_(std::move(key)) {}

  [[nodiscard]] static std::int64_t ms(time t) noexcept {
    return std::chrono::floor<std::chrono::duration<std::int64_t, std::milli>>(t.time_since_epoch()).count();
  }
  [[nodiscard]] static std::string envelope(term const& data, time now, token_age max_age) {
    return term::tuple({data, term::integer(ms(now)), max_age.to_term()}).external();
  }
  /// Whether `since` is more than `leeway` after `now`, both in milliseconds.
  [[nodiscard]] static bool too_far_ahead(std::int64_t since, std::int64_t now, std::chrono::seconds leeway) noexcept {
    if (since <= now) return false;
    std::uint64_t const ahead = static_cast<std::uint64_t>(since) - static_cast<std::uint64_t>(now);
    return leeway.count() <= 0 || ahead / 1000 + (ahead % 1000 != 0) > static_cast<std::uint64_t>(leeway.count());
  }
  template <class Open>
  [[nodiscard]] static result<term> check(std::optional<std::string_view> token, time now, std::optional<token_age> max_age,
                                          std::chrono::seconds leeway, Open const& open) {
    if (!token) return error{errc::token_missing};
    if (token->size() > max_bytes) return error{errc::token_invalid};
    std::optional<std::string> const payload = open(*token);
    if (!payload) return error{errc::token_invalid};
    result<term> const envelope = term::read(*payload);
    if (!envelope) return error{errc::token_invalid};

    // {data, signed_at_ms, max_age}; before plug_crypto 1.2 without max_age, before that a map
    std::optional<term_view> data, signed_at;
    std::optional<token_age> age = token_age(std::chrono::duration<std::int64_t>(token_age::default_seconds));
    if (envelope->view().kind() == term_kind::map) {
      data = envelope->view().find_atom("data");
      signed_at = envelope->view().find_atom("signed");
      if (envelope->view().size() != 2 || !data) return error{errc::token_invalid};
    } else {
      if (envelope->view().kind() != term_kind::tuple) return error{errc::token_invalid};
      std::vector<term_view> const parts = envelope->view().elements();
      if (parts.size() != 2 && parts.size() != 3) return error{errc::token_invalid};
      data = parts[0];
      signed_at = parts[1];
      if (parts.size() == 3) age = token_age::read(parts[2]);
    }
    std::optional<std::int64_t> const since = signed_at ? signed_at->integer() : std::nullopt;
    if (!since || !age) return error{errc::token_invalid};
    if (max_age) age = max_age;
    if (age->kind_ != token_age::kind::infinity) {
      if (age->expired_at_once()) return error{errc::token_expired};
      if (too_far_ahead(*since, ms(now), leeway)) return error{errc::token_invalid};
      if (age->valid_until(*since) < ms(now)) return error{errc::token_expired};
    }
    return term(*data);
  }

  detail::secret key_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

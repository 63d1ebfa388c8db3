#include <phx/erlang/session_cookie.hpp>
#include <phx/erlang/token.hpp>

#include <doctest/doctest.h>

#include <phx/channel/router.hpp>
#include <phx/connect/handshake.hpp>

#include <string>

namespace {

using phx::errc;
using phx::phoenix_token;
using phx::session_cookie;
using phx::term;
using namespace std::chrono_literals;

std::string const base = "kjoy3o1zeidquwy1398juxzldjlksahdk3";
phoenix_token::time at(double seconds) {
  return phoenix_token::time(std::chrono::duration_cast<phoenix_token::time::duration>(
      std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000))));
}
auto const signed_at = at(1'700'000'000);
phoenix_token user_auth(phx::key_options const& opts = {}) { return phoenix_token::make(base, "user auth", opts).value(); }
errc reason(phx::result<term> const& r) { return r ? errc::none : r.error().code; }
std::string unhex(std::string_view text) {
  std::string out;
  auto const digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) out += static_cast<char>(digit(text[i]) * 16 + digit(text[i + 1]));
  return out;
}

struct vector {
  term data;
  phx::token_age age;
  std::string_view token;
};
std::vector<vector> const& vectors() {
  static std::vector<vector> const all{
      {term::integer(99), 24h, "SFMyNTY.g2gDYWNuBgAAaOXPiwFiAAFRgA.uvJEDHa-IjTolIYW4Crh8PlZJCIGkSHuF4_nhnqPLRk"},
      {term::text("user:42"), 3600s,
       "SFMyNTY.g2gDbQAAAAd1c2VyOjQybgYAAGjlz4sBYgAADhA.5mzIbCNIJpeSC7en-ofa2MzmhLiOtT7moMvJH91WAzc"},
      {term::map(
           {{term::text("id"), term::integer(7)}, {term::text("roles"), term::list({term::text("a"), term::text("b")})}}),
       phx::token_age::infinity(),
       "SFMyNTY.g2gDdAAAAAJtAAAAAmlkYQdtAAAABXJvbGVzbAAAAAJtAAAAAWFtAAAAAWJqbgYAAGjlz4sBZAAIaW5maW5pdHk."
       "dEz2S8UPWz47pyUW3YzBr910xM0le3KRrva6h-ytDEk"},
      {term::tuple({term::atom("ok"), term::nil(), term::boolean(true), term::number(1.5), term::integer(-3),
                    term::integer(300), term::integer(5'000'000'000)}),
       std::chrono::duration<double>(1.5),
       "SFMyNTY.g2gDaAdkAAJva2QAA25pbGQABHRydWVGP_gAAAAAAABi_____WIAAAEsbgUAAPIFKgFuBgAAaOXPiwFGP_gAAAAAAAA."
       "8ogbr-KGHjajpLEHw5k6s-r1KwdjuxJzudsOBp8A8lQ"}};
  return all;
}

}  // namespace

TEST_CASE("Phoenix.Token: signs byte for byte as Elixir does, and verifies") {
  CHECK(phx::detail::derived_key(base, 20, "user auth", {}).value().view() ==
        unhex("71e6bb9087444023e8313bbb80bf25945ba411c024f266b2954f9ca21db07a01"));
  phoenix_token const t = user_auth();
  for (vector const& v : vectors()) {
    CHECK(t.sign(v.data, signed_at, v.age).value() == v.token);
    phx::result<term> const back = t.verify(v.token, signed_at + 1s);
    REQUIRE(back);
    CHECK(back->external() == v.data.external());
  }
  CHECK(t.sign(term::integer(99), signed_at).value() == vectors()[0].token);
}

TEST_CASE("Phoenix.Token: key options change the key, not the mac") {
  phx::key_options const opts{.iterations = 2000, .length = 64, .digest = phx::key_digest::sha512};
  std::string_view const token = "SFMyNTY.g2gDYWNuBgAAaOXPiwFiAAFRgA.iJNmHOi7IOezJr_zgjv7yVioBXApL7HMN5Idf40q6Sk";
  CHECK(user_auth(opts).sign(term::integer(99), signed_at).value() == token);
  CHECK(user_auth(opts).verify(token, signed_at)->view().integer() == 99);
  CHECK(reason(user_auth().verify(token, signed_at)) == errc::token_invalid);
  CHECK(reason(user_auth({.iterations = 2000, .length = 64}).verify(token, signed_at)) == errc::token_invalid);
}

TEST_CASE("Plug.Crypto: the vectors of the raw verifier, with three digests") {
  using phx::key_digest;
  std::pair<key_digest, std::string_view> const all[] = {
      {key_digest::sha256, "SFMyNTY.aGVsbG8.02bzyKZaIfTWtFUAsgqQ6ZHrQJaIP5SabVLnal2Bv9M"},
      {key_digest::sha384, "SFMzODQ.aGVsbG8.c-tjHCsGTjqG7vKkbsflqnjLQ58seUv_V_1ACCROeypWMBrM6VSQbc8SWNHEXfWl"}};
  for (auto const& [digest, token] : all) {
    CHECK(phx::detail::signed_message("secret key", "hello", digest).value() == token);
    CHECK(phx::detail::verified_message("secret key", token) == "hello");
    CHECK_FALSE(phx::detail::verified_message("secret kex", token));
    CHECK(phx::detail::verified_message("secret key", std::string(token) + (digest == key_digest::sha256 ? "=" : "")) ==
          "hello");
  }
  std::string const five = phx::detail::signed_message("secret key", "hello", key_digest::sha512).value();
  CHECK(five.starts_with("SFM1MTI.aGVsbG8."));
  CHECK(phx::detail::verified_message("secret key", five) == "hello");
  // the padding is part of the signed text
  CHECK_FALSE(phx::detail::verified_message("secret key", "SFMyNTY.aGVsbG8=.02bzyKZaIfTWtFUAsgqQ6ZHrQJaIP5SabVLnal2Bv9M"));
}

TEST_CASE("Phoenix.Token: encrypts as Elixir does") {
  std::string_view const token = "XCP.NyqNT1oJ2SAm8cOshV4kvkALs1tAXaRy7EAO6r5SqvRPIMjDc0abnpbYncozzpoXXK74UJYq8DtisYc";
  phoenix_token const t = user_auth();
  CHECK(t.decrypt(token, signed_at + 1s)->view().integer() == 99);
  // the same nonce makes the same token
  std::string const key = unhex("71e6bb9087444023e8313bbb80bf25945ba411c024f266b2954f9ca21db07a01");
  std::string const bytes = *phx::detail::from_base64url(token.substr(4));
  CHECK(phx::detail::encrypted_with(key, bytes.substr(0, 24), unhex("83680361636e06000068e5cf8b016200015180")).value() ==
        token);
  // HChaCha20, draft-irtf-cfrg-xchacha 2.2.1
  std::string counting;
  for (int i = 0; i < 32; ++i) counting += static_cast<char>(i);
  CHECK(phx::detail::hchacha20(counting, unhex("000000090000004a0000000031415927")).view() ==
        unhex("82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"));

  std::string const one = t.encrypt(term::text("user:42"), signed_at, 60s).value();
  CHECK(one != t.encrypt(term::text("user:42"), signed_at, 60s).value());
  CHECK(t.decrypt(one, signed_at + 60s)->view().text() == "user:42");
  CHECK(reason(t.decrypt(one, signed_at + 61s)) == errc::token_expired);
  CHECK(reason(t.verify(one, signed_at)) == errc::token_invalid);
  CHECK(reason(t.decrypt(vectors()[0].token, signed_at)) == errc::token_invalid);
  CHECK(reason(t.decrypt(std::nullopt, signed_at)) == errc::token_missing);
  for (std::size_t i = 4; i + 1 < token.size(); ++i) {  // the last letter has two unused bits
    std::string bad(token);
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    CHECK(reason(t.decrypt(bad, signed_at)) == errc::token_invalid);
    CHECK(reason(t.decrypt(bad.substr(0, i), signed_at)) == errc::token_invalid);
  }
  CHECK(reason(phoenix_token::make(base, "other", {})->decrypt(token, signed_at)) == errc::token_invalid);
  CHECK(user_auth({.length = 64}).encrypt(term::nil(), signed_at).error().code == errc::weak_key);
  CHECK(reason(user_auth({.length = 64}).decrypt(token, signed_at)) == errc::token_invalid);
}

TEST_CASE("Phoenix.Token: tokens encrypted by plug_crypto 1 are still read") {
  // as plug_crypto 1 did: AES-GCM with a random key, which is wrapped with ours
  auto const sealed = [](std::string_view key, std::string_view nonce, std::string_view aad, std::string_view text) {
    phx::detail::evp_context const c(EVP_CIPHER_CTX_new());
    std::string out(text.size(), '\0'), tag(16, '\0');
    int n = 0;
    REQUIRE(EVP_EncryptInit_ex(c.get(), key.size() == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm(), nullptr,
                               phx::detail::octets(key), phx::detail::octets(nonce)) == 1);
    if (!aad.empty())
      REQUIRE(EVP_EncryptUpdate(c.get(), nullptr, &n, phx::detail::octets(aad), static_cast<int>(aad.size())) == 1);
    REQUIRE(EVP_EncryptUpdate(c.get(), phx::detail::octets(out), &n, phx::detail::octets(text),
                              static_cast<int>(text.size())) == 1);
    REQUIRE(EVP_EncryptFinal_ex(c.get(), phx::detail::octets(out) + n, &n) == 1);
    REQUIRE(EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_AEAD_GET_TAG, 16, tag.data()) == 1);
    return std::pair(out, tag);
  };
  auto const made = [&](std::string_view key, std::string_view sign_key, std::string_view text) {
    std::string const content(16, 'c'), nonce(12, 'n'), other(12, 'm');
    auto const [wrapped, wrapped_tag] = sealed(key, other, sign_key, content);
    auto const [hidden, tag] = sealed(content, nonce, "A128GCM", text);
    std::string token = "QTEyOEdDTQ";
    for (std::string const& part : {wrapped + wrapped_tag + other, nonce, hidden, tag})
      token += "." + phx::detail::to_base64url(part);
    return token;
  };
  std::string const key = unhex("71e6bb9087444023e8313bbb80bf25945ba411c024f266b2954f9ca21db07a01");
  std::string const payload = unhex("83680361636e06000068e5cf8b016200015180");
  std::string const token = made(key, "", payload);
  CHECK(user_auth().decrypt(token, signed_at)->view().integer() == 99);
  CHECK(phx::detail::decrypted_message(key + "more", "", token) == payload);  // only the first 32 bytes are used
  CHECK(phx::detail::decrypted_message(key, "guard", made(key, "guard", "text")) == "text");
  CHECK_FALSE(phx::detail::decrypted_message(key, "guard", token));
  CHECK_FALSE(phx::detail::decrypted_message(key.substr(1), "", token));
  for (std::size_t i = 0; i < token.size(); ++i) {
    CHECK_FALSE(phx::detail::decrypted_message(key, "", std::string_view(token).substr(0, i)));
    if (token[i] == '.' || i + 1 == token.size() || token[i + 1] == '.') continue;
    std::string bad = token;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    CHECK_FALSE(phx::detail::decrypted_message(key, "", bad));
  }
}

TEST_CASE("Phoenix.Token: a token is valid from its creation until its maximum age") {
  phoenix_token const t = user_auth();
  auto const token = [&](std::size_t i) { return vectors()[i].token; };
  CHECK(reason(t.verify(token(0), signed_at)) == errc::none);
  CHECK(reason(t.verify(token(0), signed_at + 24h)) == errc::none);
  CHECK(reason(t.verify(token(0), signed_at + 24h + 1ms)) == errc::token_expired);
  CHECK(reason(t.verify(token(1), signed_at + 3600s)) == errc::none);
  CHECK(reason(t.verify(token(1), signed_at + 3601s)) == errc::token_expired);
  CHECK(reason(t.verify(token(2), signed_at + 24h * 36'500)) == errc::none);
  CHECK(reason(t.verify(token(3), signed_at + 1500ms)) == errc::none);
  CHECK(reason(t.verify(token(3), signed_at + 1501ms)) == errc::token_expired);
  // the verifier may set another maximum age
  CHECK(reason(t.verify(token(0), signed_at + 10s, 9s)) == errc::token_expired);
  CHECK(reason(t.verify(token(0), signed_at + 10s, 10s)) == errc::none);
  CHECK(reason(t.verify(token(3), signed_at + 1h, 2h)) == errc::none);
  CHECK(reason(t.verify(token(2), signed_at + 2s, 1s)) == errc::token_expired);
  CHECK(reason(t.verify(token(0), signed_at + 24h * 999, phx::token_age::infinity())) == errc::none);
  CHECK(reason(t.verify(token(0), signed_at, 0s)) == errc::token_expired);
  CHECK(reason(t.verify(token(0), signed_at - 1s, -1s)) == errc::token_expired);
  CHECK(reason(t.verify(token(0), signed_at + 1s, std::chrono::duration<double>(0.9999))) == errc::token_expired);
  CHECK(reason(t.verify(token(0), signed_at + 1s, std::chrono::duration<double>(1e300))) == errc::none);
  CHECK(reason(t.verify(token(0), signed_at + 1s,
                        std::chrono::duration<std::int64_t>(std::numeric_limits<std::int64_t>::max()))) == errc::none);
}

TEST_CASE("Phoenix.Token: the clock of the signer may be a minute ahead, or as much as the host allows") {
  phoenix_token const t = user_auth();
  std::string_view const token = vectors()[0].token;
  for (auto const ahead : {1ms, 999ms, 5000ms, 59'999ms, 60'000ms})
    CHECK(t.verify(token, signed_at - ahead)->view().integer() == 99);
  CHECK(reason(t.verify(token, signed_at - 60'001ms)) == errc::token_invalid);
  CHECK(reason(t.verify(token, signed_at - 1h)) == errc::token_invalid);
  CHECK(reason(t.verify(token, signed_at - 1ms, {}, 0s)) == errc::token_invalid);
  CHECK(reason(t.verify(token, signed_at - 1ms, {}, -1s)) == errc::token_invalid);
  CHECK(reason(t.verify(token, signed_at, {}, -1s)) == errc::none);
  CHECK(reason(t.verify(token, signed_at - 1ms, {}, 1s)) == errc::none);
  CHECK(reason(t.verify(token, signed_at - 1001ms, {}, 1s)) == errc::token_invalid);
  CHECK(reason(t.verify(token, signed_at - 24h * 20'000, {}, std::chrono::seconds::max())) == errc::none);
  CHECK(reason(t.verify(token, phoenix_token::time::min(), {}, std::chrono::seconds::max())) == errc::none);
  CHECK(reason(t.verify(token, phoenix_token::time::min())) == errc::token_invalid);
  // the leeway does not extend a token's life
  CHECK(reason(t.verify(token, signed_at + 24h + 1ms)) == errc::token_expired);
  CHECK(reason(t.verify(token, signed_at - 5s, 0s)) == errc::token_expired);

  std::string const sealed = t.encrypt(term::text("ann"), signed_at + 30s, 60s).value();
  CHECK(t.decrypt(sealed, signed_at)->view().text() == "ann");
  CHECK(reason(t.decrypt(sealed, signed_at, {}, 29s)) == errc::token_invalid);

  // signed at the last possible time
  std::string const key = unhex("71e6bb9087444023e8313bbb80bf25945ba411c024f266b2954f9ca21db07a01");
  for (std::int64_t const ms : {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    term const envelope = term::tuple({term::integer(99), term::integer(ms), term::integer(60)});
    std::string const signed_then = phx::detail::signed_message(key, envelope.external(), phx::key_digest::sha256).value();
    errc const expected = ms > 0 ? errc::token_invalid : errc::token_expired;
    CHECK(reason(t.verify(signed_then, signed_at)) == expected);
    CHECK(reason(t.verify(signed_then, phoenix_token::time::min())) == expected);
  }
}

TEST_CASE("Phoenix.Token: a maximum age beyond the range of seconds means for ever, or already expired") {
  phoenix_token const t = user_auth();
  std::string_view const token = vectors()[0].token;
  CHECK(reason(t.verify(token, signed_at + 24h * 999, std::chrono::hours::max())) == errc::none);
  CHECK(reason(t.verify(token, signed_at + 24h * 999, std::chrono::nanoseconds::max())) == errc::none);
  CHECK(reason(t.verify(token, signed_at, std::chrono::hours::min())) == errc::token_expired);
  std::string const long_lived = t.sign(term::integer(5), signed_at, std::chrono::hours::max()).value();
  CHECK(t.verify(long_lived, signed_at + 24h * 36'500)->view().integer() == 5);
}

TEST_CASE("Phoenix.Token: older envelopes are read, others are not") {
  phoenix_token const t = user_auth();
  std::string const key = unhex("71e6bb9087444023e8313bbb80bf25945ba411c024f266b2954f9ca21db07a01");
  auto const judged = [&](term const& envelope, phoenix_token::time now) {
    return t.verify(phx::detail::signed_message(key, envelope.external(), phx::key_digest::sha256).value(), now);
  };
  term const ms = term::integer(1'700'000'000'000), data = term::integer(99);
  CHECK(judged(term::tuple({data, ms}), signed_at + 24h)->view().integer() == 99);
  CHECK(reason(judged(term::tuple({data, ms}), signed_at + 24h + 1ms)) == errc::token_expired);
  CHECK(judged(term::map({{term::atom("data"), data}, {term::atom("signed"), ms}}), signed_at + 1s)->view().integer() == 99);
  term const nonsense[] = {data,
                           term::tuple({data}),
                           term::tuple({data, ms, ms, ms}),
                           term::list({data, ms}),
                           term::tuple({data, term::text("1700000000000")}),
                           term::tuple({data, ms, term::text("60")}),
                           term::tuple({data, ms, term::atom("for_ever")}),
                           term::map({{term::text("data"), data}, {term::text("signed"), ms}}),
                           term::map({{term::atom("data"), data}}),
                           term::map({{term::atom("signed"), ms}, {term::atom("date"), ms}})};
  for (term const& n : nonsense) CHECK(reason(judged(n, signed_at + 1s)) == errc::token_invalid);
  // signed, but not a term: the same error
  for (std::string_view const payload : {"", "\x83", "\x83g", "hello",
                                         "\x83h\x03"
                                         "ac"})
    CHECK(reason(t.verify(phx::detail::signed_message(key, payload, phx::key_digest::sha256).value(), signed_at)) ==
          errc::token_invalid);
}

TEST_CASE("Phoenix.Token: forged tokens are refused") {
  phoenix_token const t = user_auth();
  std::string const good(vectors()[1].token);
  auto const tried = [&](std::string_view token) { return reason(t.verify(token, signed_at + 1s)); };
  REQUIRE(tried(good) == errc::none);
  CHECK(reason(t.verify(std::nullopt, signed_at)) == errc::token_missing);
  for (std::size_t n = 0; n < good.size(); ++n) CHECK(tried(good.substr(0, n)) == errc::token_invalid);
  for (std::size_t i = 0; i + 1 < good.size(); ++i)
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(static_cast<unsigned char>(bad[i]) ^ (1u << bit));
      CHECK(tried(bad) == errc::token_invalid);
    }
  CHECK(tried(good + "x") == errc::token_invalid);
  CHECK(tried(good + ".") == errc::token_invalid);
  CHECK(tried("." + good) == errc::token_invalid);
  CHECK(tried(" " + good) == errc::token_invalid);
  CHECK(tried("..") == errc::token_invalid);
  CHECK(tried("SFMyNTY..") == errc::token_invalid);

  // the name of another algorithm, no name, or an empty mac
  for (std::string_view const header : {"SFMzODQ", "SFM1MTI", "bm9uZQ", "SFMyNTY=", "sfmynty", "", "eyJhbGciOiJub25lIn0"})
    CHECK(tried(std::string(header) + good.substr(7)) == errc::token_invalid);
  CHECK(tried(good.substr(0, good.rfind('.') + 1)) == errc::token_invalid);
  // the payload of one token with the mac of another
  std::string const other(vectors()[0].token);
  CHECK(tried(good.substr(0, good.rfind('.')) + other.substr(other.rfind('.'))) == errc::token_invalid);

  CHECK(reason(phoenix_token::make(base, "user auth ").value().verify(good, signed_at + 1s)) == errc::token_invalid);
  CHECK(reason(phoenix_token::make(base + "x", "user auth").value().verify(good, signed_at + 1s)) == errc::token_invalid);

  for (std::size_t const n : {std::size_t{65'536}, std::size_t{65'537}, std::size_t{8'000'000}}) {
    CHECK(tried(std::string(n, 'A')) == errc::token_invalid);
    CHECK(tried("SFMyNTY." + std::string(n, 'A') + ".A") == errc::token_invalid);
    CHECK(tried(std::string(n, '.')) == errc::token_invalid);
    CHECK(reason(t.decrypt("XCP." + std::string(n, 'A'), signed_at)) == errc::token_invalid);
  }
}

TEST_CASE("Phoenix.Token: weak secrets and keys are refused, and no error contains them") {
  auto const code = [](std::string_view secret, phx::key_options const& opts = {}) {
    auto const r = phoenix_token::make(secret, "salt", opts);
    if (!r) CHECK(r.error().entry.empty());
    return r ? errc::none : r.error().code;
  };
  CHECK(code(std::string(20, 'x')) == errc::none);
  CHECK(code(std::string(19, 'x')) == errc::weak_key);
  CHECK(code("") == errc::weak_key);
  CHECK(code(base, {.iterations = 0}) == errc::weak_key);
  CHECK(code(base, {.iterations = 0xFFFFFFFFu}) == errc::weak_key);
  CHECK(code(base, {.length = 0}) == errc::weak_key);
  CHECK(code(base, {.length = 1025}) == errc::weak_key);
  auto const r = user_auth().verify("SFMyNTY.secret.secret", signed_at);
  REQUIRE(!r);
  CHECK(r.error().entry.empty());
  CHECK(phoenix_token::make(base, "").has_value());  // an empty salt is valid
}

// ---- the session's cookie

namespace {

std::string const cookie_base(64, 's');
std::string const signed_cookie =
    "SFMyNTY.g3QAAAACbQAAAAtfY3NyZl90b2tlbm0AAAAYYWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4bQAAAAd1c2VyX2lkYQU."
    "HGm13ocPzUrox0YsbfLjgmf-JDTsxxHTS3rqQD20ej0";
std::string const state = "abcdefghijklmnopqrstuvwx";
std::string csrf_token(std::string_view of = state, std::string_view mask = "0123456789ABCDEFGHIJKLMN") {
  std::string x;
  for (std::size_t i = 0; i < 24; ++i) x += static_cast<char>(of[i] ^ mask[i]);
  return phx::detail::to_base64url(x) + std::string(mask);
}
session_cookie cookie(session_cookie::options opts = {}) {
  opts.name = "_app_key";
  opts.signing_salt = "signing salt";
  return session_cookie::make(cookie_base, std::move(opts)).value();
}
/// The user's id in the session of a request, or 0.
std::int64_t user_of(session_cookie const& c, std::string_view cookies, std::string_view query) {
  std::vector<phx::header> const h{{"Cookie", cookies}};
  phx::request const r = phx::request::of("GET", "/", h);
  phx::params const p = phx::params::parse(query).value();
  std::optional<std::string> const session = c.session(r, p);
  if (!session) return 0;
  phx::credentials const brought{std::nullopt, session};
  phx::connect_info const info(r, p, phx::transport_kind::websocket, {}, &brought);
  return phx::web_session(info)->view().find("user_id")->integer().value();
}

}  // namespace

TEST_CASE("session cookie: Plug's signed cookie, byte for byte as the vector") {
  session_cookie const c = cookie();
  phx::result<term> const session = c.read(signed_cookie);
  REQUIRE(session);
  CHECK(session->view().find("_csrf_token")->text() == state);
  CHECK(session->view().find("user_id")->integer() == 5);
  CHECK(c.write(*session).value() == signed_cookie);
  for (std::size_t i = 0; i + 1 < signed_cookie.size(); ++i) {
    std::string bad = signed_cookie;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    CHECK(reason(c.read(bad)) == errc::token_invalid);
    CHECK(reason(c.read(bad.substr(0, i))) == errc::token_invalid);
  }
  CHECK(reason(c.read(std::string(1'000'000, 'A'))) == errc::token_invalid);
  CHECK(reason(c.read(c.write(term::integer(5)).value())) == errc::token_invalid);  // a session must be a map
  CHECK(session_cookie::make(std::string(63, 's'), {.name = "a"}).error().code == errc::weak_key);
}

TEST_CASE("session cookie: Plug's encrypted cookie") {
  session_cookie const c = cookie({.encryption_salt = "encryption salt"});
  term const session =
      term::map({{term::text("_csrf_token"), term::text(state)}, {term::text("user_id"), term::integer(5)}});
  std::string const value = c.write(session).value();
  CHECK(value.starts_with("XCP."));
  CHECK(c.read(value)->view().find("user_id")->integer() == 5);
  CHECK(user_of(c, "_app_key=" + value, "_csrf_token=" + csrf_token()) == 5);
  CHECK(reason(c.read(signed_cookie)) == errc::token_invalid);
  CHECK(reason(cookie().read(value)) == errc::token_invalid);
  CHECK(reason(cookie({.encryption_salt = "another"}).read(value)) == errc::token_invalid);
}

TEST_CASE("session cookie: a page without the CSRF token has no session") {
  session_cookie const c = cookie();
  std::string const cookies = "_app_key=" + signed_cookie;
  CHECK(user_of(c, cookies, "_csrf_token=" + csrf_token()) == 5);
  CHECK(user_of(c, cookies, "_csrf_token=" + csrf_token(state, "zzzzzzzzzzzzzzzzzzzzzzzz")) == 5);
  CHECK(user_of(c, cookies, "") == 0);
  CHECK(user_of(c, cookies, "_csrf_token=") == 0);
  CHECK(user_of(c, cookies, "_csrf_token=" + state) == 0);
  CHECK(user_of(c, cookies, "_csrf_token[]=" + csrf_token()) == 0);
  CHECK(user_of(c, cookies, "_csrf_token=" + csrf_token().substr(0, 55)) == 0);
  CHECK(user_of(c, cookies, "_csrf_token=" + csrf_token() + "A") == 0);
  CHECK(user_of(c, cookies, "_csrf_token=" + csrf_token("abcdefghijklmnopqrstuvwy")) == 0);
  std::string const good = csrf_token();
  for (std::size_t i = 0; i < 56; ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'A' ? 'B' : 'A';
    CHECK(user_of(c, cookies, "_csrf_token=" + bad) == 0);
  }
  CHECK(user_of(c, "_app_key=" + c.write(term::map({{term::text("user_id"), term::integer(5)}})).value(),
                "_csrf_token=" + good) == 0);
  CHECK(user_of(c, "_app_key=" + signed_cookie.substr(0, 90), "_csrf_token=" + good) == 0);

  session_cookie const trusting = cookie({.check_csrf = false});
  CHECK(user_of(trusting, cookies, "") == 5);
  CHECK(user_of(trusting, "_app_key=x", "") == 0);
  CHECK_FALSE(trusting.checks_csrf());
  session_cookie const renamed = cookie({.csrf_token_key = "_csrf"});
  CHECK(user_of(renamed, cookies, "_csrf_token=" + good) == 0);
  term const other = term::map({{term::text("_csrf"), term::text(state)}, {term::text("user_id"), term::integer(6)}});
  CHECK(user_of(renamed, "_app_key=" + renamed.write(other).value(), "_csrf_token=" + good) == 6);
}

TEST_CASE("session cookie: the cookie is found among others as Plug finds it") {
  session_cookie const c = cookie({.check_csrf = false});
  auto const found = [&](std::string const& cookies) { return user_of(c, cookies, "") == 5; };
  CHECK(found("_app_key=" + signed_cookie));
  CHECK(found("a=b; _app_key=" + signed_cookie + "; c=d"));
  CHECK(found("a=b;\t _app_key=" + signed_cookie + " ;"));
  CHECK(found("_app_key=x; _app_key=" + signed_cookie));
  CHECK_FALSE(found("_app_key=" + signed_cookie + "; _app_key=x"));
  CHECK(found("_app_key=" + signed_cookie + "; _app_key=x\ty"));  // the second one is invalid
  CHECK_FALSE(found("_app_key =" + signed_cookie));
  CHECK_FALSE(found("my_app_key=" + signed_cookie));
  CHECK_FALSE(found("_app_key2=" + signed_cookie));
  CHECK_FALSE(found("_APP_KEY=" + signed_cookie));
  CHECK_FALSE(found("_app_key"));
  CHECK_FALSE(found(";;==;"));
  CHECK_FALSE(found(""));
}

TEST_CASE("session cookie: a mount with a session source lets connect see the user of the web application") {
  session_cookie const c = cookie();
  phx::mount const m{.origins = false, .session = c, .longpoll = true};
  CHECK(m.check().code == errc::none);
  session_cookie const careless = cookie({.check_csrf = false});
  CHECK(phx::mount{.origins = false, .session = careless}.check().code == errc::unguarded_session);

  std::int64_t seen = 0;
  phx::router<std::int64_t> app([&](phx::connect_info const& info) -> phx::connect_outcome<std::int64_t> {
    std::optional<term> const session = phx::web_session(info);
    seen = session ? session->view().find("user_id")->integer().value_or(0) : 0;
    return phx::connected<std::int64_t>{seen};
  });
  std::string const cookies = "_app_key=" + signed_cookie;
  std::vector<phx::header> const h{{"cookie", cookies}};
  std::string const query = "?vsn=2.0.0&_csrf_token=" + csrf_token();
  for (auto const& [path, via] : {std::pair{"/socket/websocket", phx::transport_kind::websocket},
                                  std::pair{"/socket/longpoll", phx::transport_kind::longpoll}}) {
    seen = 0;
    CHECK(phx::handshake(m, app, phx::request::of("GET", path + query, h), via).index() == 0);
    CHECK(seen == 5);
    CHECK(phx::handshake(m, app, phx::request::of("GET", path, h), via).index() == 0);
    CHECK(seen == 0);
  }
}

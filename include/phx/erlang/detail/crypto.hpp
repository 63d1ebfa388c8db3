#ifndef PHX_ERLANG_DETAIL_CRYPTO_HPP
#define PHX_ERLANG_DETAIL_CRYPTO_HPP
// Plug.Crypto's key generator, message verifier and message encryptor (protocol 15.1, 15.2, 15.6), on OpenSSL.

#include <phx/core/error.hpp>
#include <phx/core/text/ascii.hpp>
#include <phx/core/text/base64.hpp>
#include <phx/erlang/key_options.hpp>

#include <array>
#include <bit>
#include <climits>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {

/// Secret bytes: overwritten before their memory is freed.
class secret {
 public:
  explicit secret(std::size_t size) : bytes_(new unsigned char[size]()), size_(size) {}
  secret(secret const& o) : secret(o.size_) { std::memcpy(bytes_.get(), o.bytes_.get(), size_); }
  secret(secret&& o) noexcept : bytes_(std::move(o.bytes_)), size_(std::exchange(o.size_, 0)) {}
  secret& operator=(secret o) noexcept {
    std::swap(bytes_, o.bytes_);
    std::swap(size_, o.size_);
    return *this;
  }
  ~secret() {
    if (bytes_) OPENSSL_cleanse(bytes_.get(), size_);
  }
  [[nodiscard]] unsigned char* data() noexcept { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::string_view view() const noexcept {
    return {static_cast<char const*>(static_cast<void const*>(bytes_.get())), size_};
  }

 private:
  std::unique_ptr<unsigned char[]> bytes_;
  std::size_t size_;
};

[[nodiscard]] inline unsigned char const* octets(std::string_view s) noexcept {
  return static_cast<unsigned char const*>(static_cast<void const*>(s.data()));
}
[[nodiscard]] inline unsigned char* octets(std::string& s) noexcept {
  return static_cast<unsigned char*>(static_cast<void*>(s.data()));
}
/// Compares in constant time: the time tells nothing about where they differ.
[[nodiscard]] inline bool same_secret(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}
[[nodiscard]] inline EVP_MD const* evp(key_digest d) noexcept {
  return d == key_digest::sha256 ? EVP_sha256() : d == key_digest::sha384 ? EVP_sha384() : EVP_sha512();
}

/// PBKDF2 (protocol 15.1).
[[nodiscard]] inline result<secret> derived_key(std::string_view base, std::size_t least, std::string_view salt,
                                                key_options const& opts) {
  if (base.size() < least || base.size() > INT_MAX || salt.size() > INT_MAX || opts.iterations == 0 ||
      opts.iterations > INT_MAX || opts.length == 0 || opts.length > 1024)
    return error{errc::weak_key};
  secret key(opts.length);
  if (PKCS5_PBKDF2_HMAC(base.data(), static_cast<int>(base.size()), octets(salt), static_cast<int>(salt.size()),
                        static_cast<int>(opts.iterations), evp(opts.digest), static_cast<int>(opts.length), key.data()) != 1)
    return error{errc::no_memory};
  return key;
}

// ---- MessageVerifier: PROTECTED "." payload "." mac

[[nodiscard]] inline std::optional<std::string> mac_of(std::string_view key, std::string_view text, key_digest digest) {
  std::string mac(EVP_MAX_MD_SIZE, '\0');
  unsigned size = 0;
  if (HMAC(evp(digest), key.data(), static_cast<int>(key.size()), octets(text), text.size(), octets(mac), &size) == nullptr)
    return std::nullopt;
  mac.resize(size);
  return mac;
}
[[nodiscard]] constexpr std::string_view protected_header(key_digest d) noexcept {  // base 64 of HS256, HS384, HS512
  return d == key_digest::sha256 ? "SFMyNTY" : d == key_digest::sha384 ? "SFMzODQ" : "SFM1MTI";
}
[[nodiscard]] inline std::string to_base64url(std::string_view bytes) { return to_base64(bytes, base64_alphabet::url); }
[[nodiscard]] inline std::optional<std::string> from_base64url(std::string_view text) {
  return from_base64(text, base64_alphabet::url, base64_padding::optional);
}

[[nodiscard]] inline result<std::string> signed_message(std::string_view key, std::string_view payload, key_digest digest) {
  std::string text(protected_header(digest));
  text.append(".").append(to_base64url(payload));
  std::optional<std::string> const mac = mac_of(key, text, digest);
  if (!mac) return error{errc::no_memory};
  return text.append(".").append(to_base64url(*mac));
}
/// The payload; nothing if the message is forged or malformed.
[[nodiscard]] inline std::optional<std::string> verified_message(std::string_view key, std::string_view token) {
  std::string_view rest = token;
  std::string_view const header = next_part(rest, '.');
  std::size_t const point = rest.find('.');
  if (point == std::string_view::npos || rest.find('.', point + 1) != std::string_view::npos) return std::nullopt;
  std::optional<key_digest> digest;
  for (key_digest const d : {key_digest::sha256, key_digest::sha384, key_digest::sha512})
    if (header == protected_header(d)) digest = d;
  if (!digest) return std::nullopt;
  std::optional<std::string> const claimed = from_base64url(rest.substr(point + 1));
  std::optional<std::string> const computed = mac_of(key, token.substr(0, header.size() + 1 + point), *digest);
  if (!claimed || !computed || !same_secret(*claimed, *computed)) return std::nullopt;
  return from_base64url(rest.substr(0, point));
}

// ---- MessageEncryptor: "XCP." iv, tag and ciphertext: XChaCha20-Poly1305. OpenSSL has ChaCha20-Poly1305, with a shorter nonce.

/// HChaCha20 (draft-irtf-cfrg-xchacha, 2.2): the key for ChaCha20 with the rest of the nonce.
[[nodiscard]] inline secret hchacha20(std::string_view key, std::string_view nonce) {
  std::array<std::uint32_t, 16> s{0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u};
  auto const word = [](std::string_view from, std::size_t i) {
    std::uint32_t w = 0;
    for (std::size_t k = 4; k-- > 0;) w = (w << 8) | static_cast<unsigned char>(from[4 * i + k]);
    return w;
  };
  for (std::size_t i = 0; i < 8; ++i) s[4 + i] = word(key, i);
  for (std::size_t i = 0; i < 4; ++i) s[12 + i] = word(nonce, i);
  auto const quarter = [&](std::size_t a, std::size_t b, std::size_t c, std::size_t d) {
    s[d] = std::rotl(s[d] ^ (s[a] += s[b]), 16);
    s[b] = std::rotl(s[b] ^ (s[c] += s[d]), 12);
    s[d] = std::rotl(s[d] ^ (s[a] += s[b]), 8);
    s[b] = std::rotl(s[b] ^ (s[c] += s[d]), 7);
  };
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < 4; ++i) quarter(i, 4 + i, 8 + i, 12 + i);
    for (std::size_t i = 0; i < 4; ++i) quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
  }
  secret out(32);
  for (std::size_t i = 0; i < 8; ++i)
    for (std::size_t k = 0; k < 4; ++k) out.data()[4 * i + k] = static_cast<unsigned char>(s[i < 4 ? i : 8 + i] >> (8 * k));
  OPENSSL_cleanse(s.data(), sizeof s);
  return out;
}

struct evp_free {
  void operator()(EVP_CIPHER_CTX* c) const noexcept { EVP_CIPHER_CTX_free(c); }
};
using evp_context = std::unique_ptr<EVP_CIPHER_CTX, evp_free>;
inline constexpr std::size_t tag_bytes = 16;

/// Decrypts with an AEAD cipher, a nonce of 12 bytes and a tag of 16. Nothing: the tag does not match, or OpenSSL has no
/// memory.
[[nodiscard]] inline std::optional<std::string> aead_decrypt(EVP_CIPHER const* cipher, std::string_view key,
                                                             std::string_view nonce, std::string_view aad,
                                                             std::string_view text, std::string_view tag) {
  evp_context const c(EVP_CIPHER_CTX_new());
  std::string out(text.size() + 1, '\0');  // never empty: OpenSSL wants a pointer to something
  std::string expected(tag);
  int n = 0;
  if (!c || text.size() > INT_MAX - 1 || aad.size() > INT_MAX ||
      EVP_DecryptInit_ex(c.get(), cipher, nullptr, octets(key), octets(nonce)) != 1 ||
      (!aad.empty() && EVP_DecryptUpdate(c.get(), nullptr, &n, octets(aad), static_cast<int>(aad.size())) != 1) ||
      (!text.empty() && EVP_DecryptUpdate(c.get(), octets(out), &n, octets(text), static_cast<int>(text.size())) != 1) ||
      EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_AEAD_SET_TAG, static_cast<int>(expected.size()), expected.data()) != 1 ||
      EVP_DecryptFinal_ex(c.get(), octets(out), &n) != 1)
    return std::nullopt;
  out.resize(text.size());
  return out;
}
[[nodiscard]] inline std::string inner_nonce(std::string_view iv) { return std::string(4, '\0').append(iv.substr(16)); }
inline constexpr std::string_view encryptor_aad = "A128GCM";  // in every version, whatever its cipher

/// With a given nonce, for tests. @pre a key of 32 bytes, an iv of 24.
[[nodiscard]] inline result<std::string> encrypted_with(std::string_view key, std::string_view iv, std::string_view text) {
  secret const inner = hchacha20(key, iv);
  std::string const nonce = inner_nonce(iv);
  evp_context const c(EVP_CIPHER_CTX_new());
  std::string out(text.size() + 1, '\0'), tag(tag_bytes, '\0');
  int n = 0;
  if (!c || text.size() > INT_MAX - 1 ||
      EVP_EncryptInit_ex(c.get(), EVP_chacha20_poly1305(), nullptr, octets(inner.view()), octets(nonce)) != 1 ||
      EVP_EncryptUpdate(c.get(), nullptr, &n, octets(encryptor_aad), static_cast<int>(encryptor_aad.size())) != 1 ||
      EVP_EncryptUpdate(c.get(), octets(out), &n, octets(text), static_cast<int>(text.size())) != 1 ||
      EVP_EncryptFinal_ex(c.get(), octets(out) + text.size(), &n) != 1 ||
      EVP_CIPHER_CTX_ctrl(c.get(), EVP_CTRL_AEAD_GET_TAG, static_cast<int>(tag.size()), tag.data()) != 1)
    return error{errc::no_memory};
  out.resize(text.size());
  return "XCP." + to_base64url(std::string(iv) + tag + out);
}
[[nodiscard]] inline result<std::string> encrypted_message(std::string_view key, std::string_view text) {
  std::string iv(24, '\0');
  if (key.size() != 32) return error{errc::weak_key};
  if (RAND_bytes(octets(iv), static_cast<int>(iv.size())) != 1) return error{errc::no_memory};
  return encrypted_with(key, iv, text);
}

/// A message of plug_crypto 1: AES-GCM with a content key, which is encrypted with `key`. @param sign_key authenticated with
/// it.
[[nodiscard]] inline std::optional<std::string> decrypted_version_1(std::string_view key, std::string_view sign_key,
                                                                    std::string_view token) {
  std::array<std::string, 5> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (token.empty()) return std::nullopt;
    std::optional<std::string> part = from_base64url(i + 1 < parts.size() ? next_part(token, '.') : token);
    if (!part) return std::nullopt;
    parts[i] = *std::move(part);
  }
  auto const& [name, wrapped, iv, text, tag] = parts;
  auto const aes = [](std::size_t bytes) {
    return bytes == 16 ? EVP_aes_128_gcm() : bytes == 24 ? EVP_aes_192_gcm() : bytes == 32 ? EVP_aes_256_gcm() : nullptr;
  };
  key = key.substr(0, 32);
  if (name != encryptor_aad || iv.size() != 12 || tag.size() != tag_bytes || wrapped.size() < 16 + tag_bytes + 12 ||
      aes(key.size()) == nullptr)
    return std::nullopt;
  std::size_t const size = wrapped.size() - tag_bytes - 12;  // of the content key; then the tag, then the nonce
  std::string_view const w = wrapped;
  if (aes(size) == nullptr) return std::nullopt;
  std::optional<std::string> content =
      aead_decrypt(aes(key.size()), key, w.substr(size + tag_bytes), sign_key, w.substr(0, size), w.substr(size, tag_bytes));
  if (!content) return std::nullopt;
  std::optional<std::string> out = aead_decrypt(aes(size), *content, iv, encryptor_aad, text, tag);
  OPENSSL_cleanse(content->data(), content->size());
  return out;
}

/// The text; nothing if the message is forged or malformed.
[[nodiscard]] inline std::optional<std::string> decrypted_message(std::string_view key, std::string_view sign_key,
                                                                  std::string_view token) {
  if (!token.starts_with("XCP.")) return decrypted_version_1(key, sign_key, token);
  std::optional<std::string> const all = from_base64url(token.substr(4));
  if (!all || all->size() < 24 + tag_bytes || key.size() != 32) return std::nullopt;
  std::string_view const bytes = *all;
  secret const inner = hchacha20(key, bytes.substr(0, 16));
  std::string const nonce = inner_nonce(bytes.substr(0, 24));
  return aead_decrypt(EVP_chacha20_poly1305(), inner.view(), nonce, encryptor_aad, bytes.substr(24 + tag_bytes),
                      bytes.substr(24, tag_bytes));
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

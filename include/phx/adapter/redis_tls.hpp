#ifndef PHX_ADAPTER_REDIS_TLS_HPP
#define PHX_ADAPTER_REDIS_TLS_HPP
// TLS to Redis with OpenSSL. A header and a target (phx::redis_tls) of its own, because redis.hpp does not need OpenSSL.
//
//     phx::redis::options o;
//     o.url = "rediss://app:secret@redis.example.com:6380/0";
//     o.secure = phx::redis::tls({.ca_file = "ca.pem"});   // {}: the certificate authorities of the system
//     phx::redis::pubsub pubsub(o);
//
// The server's certificate is verified, and must name options::host. TLS 1.2 and 1.3.

#include <phx/adapter/redis.hpp>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

[[nodiscard]] inline std::string openssl_error(std::string otherwise) {
  unsigned long const code = ERR_peek_last_error();
  char const* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? otherwise : reason;
}

class redis_openssl final : public redis::secure_channel {
 public:
  explicit redis_openssl(SSL* owned) noexcept : ssl_(owned) {}
  ~redis_openssl() override { SSL_free(ssl_); }

  progress handshake() override {
    ERR_clear_error();
    int const result = SSL_connect(ssl_);
    if (result == 1) return progress::done;
    progress const p = unfinished(result);
    if (p == progress::failed && SSL_get_verify_result(ssl_) != X509_V_OK)
      error_ = X509_verify_cert_error_string(SSL_get_verify_result(ssl_));
    return p;
  }
  progress read(char* into, std::size_t size, std::size_t& count) override {
    ERR_clear_error();
    int const result = SSL_read_ex(ssl_, into, size, &count);
    return result == 1 ? progress::done : unfinished(result);
  }
  progress write(char const* bytes, std::size_t size, std::size_t& count) override {
    ERR_clear_error();
    int const result = SSL_write_ex(ssl_, bytes, size, &count);
    return result == 1 ? progress::done : unfinished(result);
  }
  std::string error() const override { return error_; }

 private:
  [[nodiscard]] progress unfinished(int result) {
    int const system_error = errno;
    switch (SSL_get_error(ssl_, result)) {
      case SSL_ERROR_WANT_READ: return progress::want_read;
      case SSL_ERROR_WANT_WRITE: return progress::want_write;
      case SSL_ERROR_SYSCALL:
        error_ =
            openssl_error(system_error == 0 ? "the connection was closed" : std::generic_category().message(system_error));
        break;
      case SSL_ERROR_ZERO_RETURN: error_ = "Redis closed the connection"; break;
      default: error_ = openssl_error("failed"); break;
    }
    return progress::failed;
  }

  SSL* ssl_;
  std::string error_{};
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

namespace phx {
inline namespace PHX_BUILD {
namespace redis {

/// Which certificates to trust, and this client's own.
struct tls_options {
  std::string ca_file{};      ///< PEM; empty: the system's certificate authorities
  std::string certificate{};  ///< a PEM file, for a Redis that asks its clients for a certificate
  std::string key{};          ///< the certificate's, a PEM file
  std::string server_name{};  ///< what the certificate must name, and SNI; empty: the host of the options
  /// False accepts any certificate: no protection against a man in the middle. For a Redis with a self-signed certificate.
  bool verify = true;
};

/// For options::secure. The files are read here, once; a new connection does not read them again.
/// @par Errors: std::runtime_error: a file that cannot be read or does not fit; no memory.
[[nodiscard]] inline std::function<std::unique_ptr<secure_channel>(int, std::string const&)> tls(tls_options o = {}) {
  ERR_clear_error();
  std::shared_ptr<SSL_CTX> const context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  auto const require = [](bool fine, std::string const& subject) {
    if (!fine) phx::detail::no_value(("phx::redis::tls: " + subject + ": " + phx::detail::openssl_error("failed")).c_str());
  };
  require(context != nullptr, "context");
  SSL_CTX* const c = context.get();
  require(SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1, "TLS 1.2");
  SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (o.ca_file.empty())
    require(SSL_CTX_set_default_verify_paths(c) == 1, "the system's certificate authorities");
  else
    require(SSL_CTX_load_verify_locations(c, o.ca_file.c_str(), nullptr) == 1, o.ca_file);
  if (!o.certificate.empty()) {
    require(SSL_CTX_use_certificate_chain_file(c, o.certificate.c_str()) == 1, o.certificate);
    require(SSL_CTX_use_PrivateKey_file(c, o.key.c_str(), SSL_FILETYPE_PEM) == 1, o.key);
    require(SSL_CTX_check_private_key(c) == 1, o.key);
  }
  SSL_CTX_set_verify(c, o.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  return [context, o](int socket, std::string const& host) -> std::unique_ptr<secure_channel> {
    std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), &SSL_free);
    if (ssl == nullptr || SSL_set_fd(ssl.get(), socket) != 1) return nullptr;
    std::string const& name = o.server_name.empty() ? host : o.server_name;
    X509_VERIFY_PARAM* const expected = SSL_get0_param(ssl.get());
    if (X509_VERIFY_PARAM_set1_ip_asc(expected, name.c_str()) != 1) {  // not an address
      if (X509_VERIFY_PARAM_set1_host(expected, name.c_str(), 0) != 1) return nullptr;
      // SSL_set_tlsext_host_name, without the cast in its macro
      if (SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(name.c_str())) != 1)
        return nullptr;
    }
    auto channel = std::make_unique<phx::detail::redis_openssl>(ssl.get());
    (void)ssl.release();
    return channel;
  };
}

}  // namespace redis
}  // namespace PHX_BUILD
}  // namespace phx

#endif

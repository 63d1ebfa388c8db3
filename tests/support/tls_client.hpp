#ifndef PHX_TESTS_SUPPORT_TLS_CLIENT_HPP
#define PHX_TESTS_SUPPORT_TLS_CLIENT_HPP
// The raw client over TLS: OpenSSL between buffers in memory, so that tests can read and change every byte.

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <functional>
#include <memory>

#include "support/raw_client.hpp"

namespace phx_tests {

struct tls_terms {
  int newest = TLS1_3_VERSION;
  int receive_buffer = 0;
  std::size_t piece = SIZE_MAX;  ///< encrypted bytes sent at once
  std::function<void(SSL*)> adjust{};
};

class tls_client : public raw_client {
 public:
  explicit tls_client(std::uint16_t port, tls_terms const& mode = {})
      : raw_client(port, mode.receive_buffer), ssl_(SSL_new(context()), &SSL_free), piece_(mode.piece) {
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_connect_state(ssl_.get());
    SSL_set_max_proto_version(ssl_.get(), mode.newest);
    if (mode.adjust) mode.adjust(ssl_.get());
  }

  [[nodiscard]] SSL* tls() const { return ssl_.get(); }
  /// Does the handshake. True once it is complete.
  bool shake() {
    auto const until = now() + patience;
    for (;;) {
      ERR_clear_error();
      int const code = SSL_do_handshake(tls());
      bool const waits = code != 1 && SSL_get_error(tls(), code) == SSL_ERROR_WANT_READ;
      if (code != 1 && !waits) ec_ = ERR_GET_REASON(ERR_peek_error());
      if (!flush() || (code != 1 && !waits)) return false;
      if (code == 1) return true;
      ssize_t n = -1;
      while ((n = more_raw()) < 0)
        if (!ready(POLLIN, until)) return false;
      if (n == 0) return false;
    }
  }
  /// The bytes of a ClientHello; they are not sent.
  [[nodiscard]] std::string hello() {
    (void)SSL_do_handshake(tls());
    return unsent();
  }
  /// Sends bytes as they are, whatever the state of TLS.
  bool raw(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t const n = raw_client::put(bytes);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// Sends pending TLS records: alerts, key updates.
  bool flush() {
    std::string const all = unsent();
    for (std::size_t at = 0; at < all.size(); at += std::min(piece_, all.size() - at))
      if (!raw(std::string_view(all).substr(at, piece_))) return false;
    return true;
  }
  bool send_within(std::string_view, milliseconds) = delete;  // it would bypass TLS
  /// True if the other end disconnects; sends nothing meanwhile, not even an alert in response.
  bool hung_up_on() {
    auto const until = now() + patience;
    for (ssize_t n = 1; n != 0;)
      if ((n = more_raw()) < 0 && !ready(POLLIN, until)) return false;
    return true;
  }
  /// OpenSSL's error code of the end, including alerts; 0: none.
  [[nodiscard]] int reason() const { return ec_; }
  /// True if the other end sent close_notify.
  [[nodiscard]] bool told_of_end() const { return (SSL_get_shutdown(tls()) & SSL_RECEIVED_SHUTDOWN) != 0; }
  /// Frees the TLS state; the socket stays open.
  void forget_tls() { ssl_.reset(); }

 private:
  static SSL_CTX* context() {
    static std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> const made = [] {
      std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> c(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
      SSL_CTX_set_security_level(c.get(), 0);  // the server must refuse old versions, not this client
      SSL_CTX_set_min_proto_version(c.get(), 0);
      return c;
    }();
    return made.get();
  }
  [[nodiscard]] std::string unsent() {
    std::string all(BIO_ctrl_pending(out_), '\0');
    if (!all.empty()) all.resize(static_cast<std::size_t>(BIO_read(out_, all.data(), static_cast<int>(all.size()))));
    return all;
  }
  ssize_t more_raw() {
    char bytes[16 * 1024];
    ssize_t const n = raw_client::take(bytes, sizeof bytes);
    if (n > 0) (void)BIO_write(in_, bytes, static_cast<int>(n));
    return n;
  }
  ssize_t put(std::string_view bytes) override {
    ERR_clear_error();
    int const n = SSL_write(tls(), bytes.data(), static_cast<int>(bytes.size()));
    return flush() ? n : -1;
  }
  ssize_t take(char* into, std::size_t room) override {
    for (;;) {
      ERR_clear_error();
      int const n = SSL_read(tls(), into, static_cast<int>(room));
      if (n > 0) return n;
      bool const waits = SSL_get_error(tls(), n) == SSL_ERROR_WANT_READ;
      if (!waits) ec_ = ERR_GET_REASON(ERR_peek_error());
      (void)flush();
      if (!waits) return 0;
      if (ssize_t const got = more_raw(); got <= 0) return got;
    }
  }

  std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  BIO* in_;
  BIO* out_;
  std::size_t piece_;
  int ec_ = 0;
};

}  // namespace phx_tests

#endif

#ifndef PHX_ADAPTER_BEAST_TLS_HPP
#define PHX_ADAPTER_BEAST_TLS_HPP
// TLS for the Beast host. It needs OpenSSL, so it is a header and a target (phx::beast_tls) of its own.
//
//     phx::beast::server server{io, {.port = 4443}};
//     server.secure(phx::beast::tls("chain.pem", "key.pem"));    // before start: no connection is without TLS
//     server.serve(app, {.path = "/socket", .longpoll = true});  // the rest as without TLS
//
// The scheme of a request is `https`; a client's certificate, if the context requests one, is in its `peer_data`.
//
// | the client | the server |
// | --- | --- |
// | begins with HTTP | answers 400 unencrypted and closes |
// | begins with something else, or with a hello of more than tls::hello_bytes | closes |
// | has no version or cipher in common, or breaks the handshake | sends an alert and closes |
// | stops before its handshake or request is complete | closes after options::handshake, or answers 408 |
// | wants to renegotiate (TLS 1.2) | sends the alert no_renegotiation and closes |
// | ends without close_notify | as with it: frames and bodies have lengths, so a truncated one is noticed |
// | is refused by options::throttle or max_connections | closes before the handshake, which is expensive |
//
// The frames of one turn are encrypted in records of up to 16 KiB, and each record is one `send`. A connection has up to two
// buffers of 17 KiB while it reads and writes, none while it is idle (SSL_MODE_RELEASE_BUFFERS). An idle client costs 14 KB
// more than without TLS, for the state of OpenSSL 3.0 (phx_tests -s -tc='beast_tls: an idle*' prints it).
//
// asio::ssl::stream is not used: it copies every byte through a pair of BIOs and allows one operation in each direction at a
// time. Here OpenSSL reads and writes the socket itself when it is ready; the BIO is written here, because OpenSSL's raises
// SIGPIPE.

#include <phx/adapter/beast.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <cerrno>

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

namespace detail {

/// Bounds the size of a client's hello. OpenSSL accepts 128 KiB and allocates them as soon as the size is announced, so nine
/// bytes would be enough to make it allocate. A client sends one hello, or two if a server of TLS 1.3 requests another.
class hello_guard {
 public:
  enum class result : std::uint8_t { accepted, http, refused };

  explicit hello_guard(std::size_t limit) noexcept : limit_(limit) {}
  /// @param bytes received next. @param agreed_on_old the version is TLS 1.2, or not known yet: there is no second hello
  ///   then.
  [[nodiscard]] result check(std::string_view bytes, bool agreed_on_old) noexcept {
    if (first_ && !bytes.empty()) {
      first_ = false;
      // OpenSSL recognises some HTTP methods, but not OPTIONS.
      if (bytes[0] >= 'A' && bytes[0] <= 'Z') return result::http;
      if (octet(bytes[0]) != handshake) return result::refused;
    }
    while (!bytes.empty() && !done_) {
      if (in_record_ == 0) {
        record_[have_record_++] = octet(take(bytes));
        if (have_record_ < sizeof record_) continue;
        have_record_ = 0;
        in_record_ = std::size_t{record_[3]} << 8 | record_[4];
        if (record_[0] == change_cipher_spec && agreed_on_old) done_ = true;
      } else if (record_[0] != handshake || in_message_ != 0) {
        std::size_t n = (std::min)(bytes.size(), in_record_);
        if (record_[0] == handshake) {
          n = (std::min)(n, in_message_);
          in_message_ -= n;
        }
        in_record_ -= n;
        bytes.remove_prefix(n);
      } else {
        message_[have_message_++] = octet(take(bytes));
        --in_record_;
        if (have_message_ < sizeof message_) continue;
        have_message_ = 0;
        in_message_ = std::size_t{message_[1]} << 16 | std::size_t{message_[2]} << 8 | message_[3];
        done_ = message_[0] != client_hello;
        if (!done_ && in_message_ > limit_) return result::refused;
      }
    }
    return result::accepted;
  }

 private:
  static constexpr unsigned char change_cipher_spec = 20, handshake = 22, client_hello = 1;
  [[nodiscard]] static unsigned char octet(char c) noexcept { return static_cast<unsigned char>(c); }
  [[nodiscard]] static char take(std::string_view& bytes) noexcept {
    char const c = bytes.front();
    bytes.remove_prefix(1);
    return c;
  }

  std::size_t limit_;
  std::size_t in_record_ = 0, in_message_ = 0;  // bytes left
  unsigned char record_[5] = {}, message_[4] = {};
  std::uint8_t have_record_ = 0, have_message_ = 0;
  bool first_ = true;
  bool done_ = false;
};

/// OpenSSL on a non-blocking socket, which Asio owns.
class openssl_stream final : public tls_stream {
 public:
  /// @par Errors: std::bad_alloc.
  openssl_stream(SSL_CTX* context, int descriptor, std::size_t max_hello) : fd_(descriptor), guard_(max_hello) {
    BIO_METHOD* const by = method();
    ssl_ = SSL_new(context);
    BIO* const socket = ssl_ == nullptr ? nullptr : BIO_new(by);
    if (socket == nullptr) {
      SSL_free(ssl_);
      throw std::bad_alloc();
    }
    BIO_set_data(socket, this);
    BIO_set_init(socket, 1);
    SSL_set_bio(ssl_, socket, socket);
    SSL_set_accept_state(ssl_);
    SSL_set_options(ssl_, SSL_OP_NO_RENEGOTIATION);
    SSL_set_read_ahead(ssl_, 1);  // one recv for a record, instead of two
    // A write that is tried again may have its bytes elsewhere in memory, and more after them.
    SSL_set_mode(ssl_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    // A client that renews keys all the time must not keep the others of its loop waiting.
    SSL_clear_mode(ssl_, SSL_MODE_AUTO_RETRY);
  }
  ~openssl_stream() override { SSL_free(ssl_); }

  std::size_t read(std::span<char> into, error_code& ec) noexcept override {
    std::size_t have = 0;
    more_ = false;
    reading_ = true;
    while (!end_) {
      if (have == into.size()) {
        more_ = SSL_has_pending(ssl_) == 1;
        break;
      }
      if (have != 0 && socket_drained_ && SSL_has_pending(ssl_) == 0) break;  // saves a recv that would give nothing
      std::size_t n = 0;
      (void)handshake_done();
      ERR_clear_error();
      int const code = SSL_read_ex(ssl_, into.data() + have, into.size() - have, &n);
      have += n;
      if (code > 0) continue;
      stopped(SSL_get_error(ssl_, code));
      break;
    }
    reading_ = false;
    if (have == 0) ec = end_;  // what was read before the end is given first
    return have;
  }
  std::size_t write(std::string_view bytes, error_code& ec) noexcept override {
    std::size_t written = 0;
    while (written < bytes.size() && !broken_) {
      std::size_t n = 0;
      ERR_clear_error();
      int const code = SSL_write_ex(ssl_, bytes.data() + written, bytes.size() - written, &n);
      written += n;
      if (code > 0) continue;
      int const fault = SSL_get_error(ssl_, code);
      if (fault == SSL_ERROR_WANT_WRITE) return written;
      stopped(SSL_ERROR_SSL);
    }
    if (broken_) ec = end_;
    return written;
  }
  net::socket_base::wait_type read_needs() const noexcept override { return read_needs_; }
  bool has_pending() const noexcept override { return more_ || end_; }
  std::string certificate() const override {
    std::string der;
    std::unique_ptr<X509, void (*)(X509*)> const theirs(SSL_get_peer_certificate(ssl_), [](X509* x) { X509_free(x); });
    if (int const size = theirs ? i2d_X509(theirs.get(), nullptr) : 0; size > 0) {
      der.resize(static_cast<std::size_t>(size));
      auto* into = reinterpret_cast<unsigned char*>(der.data());
      (void)i2d_X509(theirs.get(), &into);
    }
    return der;
  }
  void finish() noexcept override {
    if (broken_ || !handshake_done()) return;
    ERR_clear_error();
    (void)SSL_shutdown(ssl_);  // if the kernel does not take it, the end of the stream tells the client
    ERR_clear_error();
  }

 private:
  /// @par Errors: std::bad_alloc; the next call tries again.
  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* const m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "phx socket");
      if (m == nullptr) throw std::bad_alloc();
      BIO_meth_set_read_ex(m, [](BIO* b, char* into, std::size_t n, std::size_t* done) {
        return static_cast<openssl_stream*>(BIO_get_data(b))->receive(b, into, n, *done);
      });
      BIO_meth_set_write_ex(m, [](BIO* b, char const* from, std::size_t n, std::size_t* done) {
        return static_cast<openssl_stream*>(BIO_get_data(b))->transmit(b, from, n, *done);
      });
      BIO_meth_set_ctrl(m, [](BIO*, int value, long, void*) -> long { return value == BIO_CTRL_FLUSH ? 1 : 0; });
      return m;
    }();
    return made;
  }
  /// The handshake is complete. It stays so: OpenSSL says otherwise while it refuses a renegotiation.
  [[nodiscard]] bool handshake_done() noexcept {
    return handshake_done_ = handshake_done_ || SSL_is_init_finished(ssl_) == 1;
  }
  [[nodiscard]] static bool not_yet() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

  int receive(BIO* b, char* into, std::size_t n, std::size_t& done) noexcept {
    BIO_clear_retry_flags(b);
    done = 0;
    if (ignores_input_) return 0;
    ssize_t const got = ::recv(fd_, into, n, 0);
    socket_drained_ = got < static_cast<ssize_t>(n);
    if (got <= 0) {
      if (got < 0 && not_yet()) BIO_set_retry_read(b);
      return 0;
    }
    done = static_cast<std::size_t>(got);
    if (!handshake_done()) {
      auto const kind = guard_.check({into, done}, SSL_version(ssl_) <= TLS1_2_VERSION);
      http_ = kind == hello_guard::result::http;
      ignores_input_ = kind != hello_guard::result::accepted;
    }
    if (ignores_input_) done = 0;
    return ignores_input_ ? 0 : 1;
  }
  int transmit(BIO* b, char const* from, std::size_t n, std::size_t& done) noexcept {
    BIO_clear_retry_flags(b);
    // What TLS 1.2 writes while it reads, after the handshake, are alerts: the end, or the refusal of a renegotiation.
    // OpenSSL would answer request after request within one call, so nothing is read after the first.
    if (reading_ && handshake_done() && SSL_version(ssl_) <= TLS1_2_VERSION) ignores_input_ = true;
    ssize_t const written = ::send(fd_, from, n, MSG_NOSIGNAL);
    done = written > 0 ? static_cast<std::size_t>(written) : 0;
    if (written < 0 && not_yet()) BIO_set_retry_write(b);
    return written > 0 ? 1 : 0;
  }
  /// OpenSSL cannot go on, until the socket is ready or for ever.
  void stopped(int ec) noexcept {
    ERR_clear_error();
    if (ec == SSL_ERROR_WANT_READ && !ignores_input_) {
      read_needs_ = net::socket_base::wait_read;
    } else if (ec == SSL_ERROR_WANT_WRITE && !ignores_input_) {
      read_needs_ = net::socket_base::wait_write;
    } else if (ec == SSL_ERROR_ZERO_RETURN) {
      end_ = net::error::eof;
    } else {
      end_ = http_ ? plain_http_error() : error_code(net::error::connection_reset);
      broken_ = true;
    }
  }

  SSL* ssl_ = nullptr;
  int fd_;
  net::socket_base::wait_type read_needs_ = net::socket_base::wait_read;
  error_code end_{};  // of reading
  hello_guard guard_;
  bool more_ = false;            // there may be something to read although the socket has nothing
  bool socket_drained_ = false;  // the socket had less than it was asked for
  bool reading_ = false;
  bool handshake_done_ = false;
  bool ignores_input_ = false;  // nothing more is read
  bool http_ = false;
  bool broken_ = false;  // nothing can be written
};

class openssl_factory final : public tls_factory {
 public:
  /// @param context owned from now on. @par Errors: it is null: std::runtime_error.
  openssl_factory(SSL_CTX* context, std::size_t max_hello) : context_(context), most_hello_(max_hello) {
    if (context == nullptr) phx::detail::no_value("TLS: no context");
  }
  ~openssl_factory() override { SSL_CTX_free(context_); }
  std::unique_ptr<tls_stream> make(int accepted) const override {
    return std::make_unique<openssl_stream>(context_, accepted, most_hello_);
  }
  [[nodiscard]] SSL_CTX* context() const noexcept { return context_; }

 private:
  SSL_CTX* context_;
  std::size_t most_hello_;
};

}  // namespace detail

/// A server's certificate and TLS settings. A value: copies share one context, which lives as long as its connections.
class tls {
 public:
  /// The limit of a client's hello; beyond, the connection is closed. Those of browsers are less than a fifth of it.
  static constexpr std::size_t hello_bytes = 16 * 1024;

  /// TLS 1.2 and 1.3; of TLS 1.2 only ciphers with forward secrecy. Sessions are resumed by tickets, which the client keeps;
  /// the server keeps nothing. It needs a certificate, set through native_handle.
  tls() : tls(private_tag{}, SSL_CTX_new(TLS_server_method())) {
    SSL_CTX* const c = native_handle();
    constexpr std::string_view name = "phx";  // required if clients have certificates
    require(SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
                SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
                SSL_CTX_set_session_id_context(c, reinterpret_cast<unsigned char const*>(name.data()),
                                               static_cast<unsigned>(name.size())) == 1,
            "a context");
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    // A key with a pass phrase is an error: by default OpenSSL would ask for it on the terminal.
    SSL_CTX_set_default_passwd_cb(c, [](char*, int, int, void*) { return 0; });
  }
  /// @param chain, @param key PEM files: the server's certificate followed by its intermediate certificates; its key.
  ///   @par Errors: std::runtime_error with the reason of OpenSSL.
  tls(std::string const& chain, std::string const& key) : tls() {
    ERR_clear_error();
    require(SSL_CTX_use_certificate_chain_file(native_handle(), chain.c_str()) == 1, chain);
    require(SSL_CTX_use_PrivateKey_file(native_handle(), key.c_str(), SSL_FILETYPE_PEM) == 1, key);
  }
  /// A context of the program's own, unchanged, except that renegotiation is refused. @param own shared: native_handle() of
  /// a
  ///   boost::asio::ssl::context is one. Its callbacks are called inside the loops; they must not block or throw.
  explicit tls(SSL_CTX* own) : tls(private_tag{}, own) { (void)SSL_CTX_up_ref(own); }
  /// A self-signed certificate for development, valid for a year; browsers warn about it. @param names a subjectAltName in
  /// OpenSSL's syntax. @par Errors: std::runtime_error.
  [[nodiscard]] static tls self_signed(std::string const& names = "DNS:localhost,IP:127.0.0.1,IP:::1");

  /// OpenSSL's object, for other settings: ciphers, client certificates.
  [[nodiscard]] SSL_CTX* native_handle() const noexcept { return factory_->context(); }

 private:
  friend class server;
  struct private_tag {};
  tls(private_tag, SSL_CTX* with) : factory_(std::make_shared<detail::openssl_factory>(with, hello_bytes)) {}
  static void require(bool done, std::string_view subject) {
    if (done) return;
    char const* const reason = ERR_reason_error_string(ERR_peek_last_error());
    std::string const text =
        std::string("TLS: ").append(subject).append(": ").append(reason != nullptr ? reason : "no memory");
    ERR_clear_error();
    phx::detail::no_value(text.c_str());
  }

  std::shared_ptr<detail::openssl_factory const> factory_;
};

inline tls tls::self_signed(std::string const& names) {
  tls out;
  ERR_clear_error();
  EVP_PKEY* bare = nullptr;
  std::unique_ptr<EVP_PKEY_CTX, void (*)(EVP_PKEY_CTX*)> const maker(EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr),
                                                                     &EVP_PKEY_CTX_free);
  require(maker && EVP_PKEY_keygen_init(maker.get()) == 1 &&
              EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker.get(), NID_X9_62_prime256v1) == 1 &&
              EVP_PKEY_keygen(maker.get(), &bare) == 1,
          "a key");
  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> const key(bare, &EVP_PKEY_free);
  std::unique_ptr<X509, void (*)(X509*)> const paper(X509_new(), &X509_free);
  X509* const x = paper.get();
  std::uint64_t serial = 0;
  X509V3_CTX context{};
  X509V3_set_ctx(&context, x, x, nullptr, nullptr, 0);
  auto const add = [&](int nid, char const* value) {
    std::unique_ptr<X509_EXTENSION, void (*)(X509_EXTENSION*)> const one(X509V3_EXT_nconf_nid(nullptr, &context, nid, value),
                                                                         &X509_EXTENSION_free);
    return one && X509_add_ext(x, one.get(), -1) == 1;
  };
  auto const* const name = reinterpret_cast<unsigned char const*>("phx, self-signed");
  require(x != nullptr && RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1 &&
              X509_set_version(x, 2) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1) == 1 &&
              X509_gmtime_adj(X509_getm_notBefore(x), -3600) != nullptr &&
              X509_gmtime_adj(X509_getm_notAfter(x), 365L * 24 * 3600) != nullptr && X509_set_pubkey(x, key.get()) == 1 &&
              X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, name, -1, -1, 0) == 1 &&
              X509_set_issuer_name(x, X509_get_subject_name(x)) == 1 && add(NID_basic_constraints, "critical,CA:FALSE") &&
              add(NID_ext_key_usage, "serverAuth") && add(NID_subject_alt_name, names.c_str()) &&
              X509_sign(x, key.get(), EVP_sha256()) != 0 && SSL_CTX_use_certificate(out.native_handle(), x) == 1 &&
              SSL_CTX_use_PrivateKey(out.native_handle(), key.get()) == 1,
          "a certificate for " + names);
  return out;
}

inline void server::secure(tls const& with) { core_->set_tls(with.factory_); }

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

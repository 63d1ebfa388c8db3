#ifndef PHX_ADAPTER_BEAST_TLS_HPP
#define PHX_ADAPTER_BEAST_TLS_HPP
// TLS for the Beast host. It needs OpenSSL, so it is a header and a target (phx::beast_tls) of its own.
//
//     phx::beast::server server{io, {.port = 4443}};
//     server.secure(phx::beast::tls("chain.pem", "key.pem"));    // before start: nobody speaks without
//     server.serve(app, {.path = "/socket", .longpoll = true});  // the rest is as it was
//
// A request's scheme is then `https`, and a client's certificate, if the context asks for one, is in its `peer_data`.
//
// | what a client does | what comes of it |
// | --- | --- |
// | begins with HTTP | 400, unencrypted, and the connection ends |
// | begins with something else, or with a hello of more than tls::hello_bytes | hung up on |
// | a hello that finds no version or cipher in common, a handshake that is broken | an alert, and hung up on |
// | stops before its handshake or its request is whole | hung up on after options::handshake, or 408 |
// | wants to renegotiate (TLS 1.2) | the alert no_renegotiation, and hung up on |
// | ends without close_notify | as with: frames and bodies say how long they are, so nothing cut is taken for whole |
// | comes while options::throttle or max_connections would refuse it | hung up on before its handshake, which is dear |
//
// A turn's messages are put together, encrypted in records of up to 16 KiB, and each record is one `send`. At work a
// connection has up to two buffers of 17 KiB, idle none (SSL_MODE_RELEASE_BUFFERS): beside what one costs without TLS, an
// idle client costs OpenSSL's state for it, 14 KB with OpenSSL 3.0 (phx_tests -s -tc='beast_tls: an idle*' says so).
//
// Not by asio::ssl::stream: that copies every byte through a pair of BIOs and wants one operation each way at a time, where
// this host reads and writes by readiness. OpenSSL does the same on the socket itself; the BIO is ours, for OpenSSL's raises
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

/// Looks at what a client sends before anything is encrypted. OpenSSL takes a hello of 128 KiB, and sets room aside for it
/// as soon as it is announced: nine bytes would be enough. Hellos come once, or twice where TLS 1.3 asks for another.
class hello_guard {
 public:
  enum class verdict : std::uint8_t { fine, http, refused };

  explicit hello_guard(std::size_t most) noexcept : most_(most) {}
  /// @param bytes what came next. @param agreed_on an old version: TLS 1.2, or none yet. Nothing before 1.3 repeats a hello.
  [[nodiscard]] verdict look(std::string_view bytes, bool agreed_on_old) noexcept {
    if (first_ && !bytes.empty()) {
      first_ = false;
      // OPTIONS, too, which OpenSSL does not know for HTTP
      if (bytes[0] >= 'A' && bytes[0] <= 'Z') return verdict::http;
      if (octet(bytes[0]) != handshake) return verdict::refused;
    }
    while (!bytes.empty() && !over_) {
      if (in_record_ == 0) {
        record_[have_record_++] = octet(take(bytes));
        if (have_record_ < sizeof record_) continue;
        have_record_ = 0;
        in_record_ = std::size_t{record_[3]} << 8 | record_[4];
        if (record_[0] == change_cipher_spec && agreed_on_old) over_ = true;
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
        over_ = message_[0] != client_hello;
        if (!over_ && in_message_ > most_) return verdict::refused;
      }
    }
    return verdict::fine;
  }

 private:
  static constexpr unsigned char change_cipher_spec = 20, handshake = 22, client_hello = 1;
  [[nodiscard]] static unsigned char octet(char c) noexcept { return static_cast<unsigned char>(c); }
  [[nodiscard]] static char take(std::string_view& bytes) noexcept {
    char const c = bytes.front();
    bytes.remove_prefix(1);
    return c;
  }

  std::size_t most_;
  std::size_t in_record_ = 0, in_message_ = 0;  // bytes left
  unsigned char record_[5] = {}, message_[4] = {};
  std::uint8_t have_record_ = 0, have_message_ = 0;
  bool first_ = true;
  bool over_ = false;
};

/// OpenSSL on a socket that Asio has made non-blocking. The descriptor stays Asio's.
class openssl_stream final : public tls_stream {
 public:
  /// @par Errors: std::bad_alloc.
  openssl_stream(SSL_CTX* context, int descriptor, std::size_t most_hello) : fd_(descriptor), guard_(most_hello) {
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
    SSL_set_read_ahead(ssl_, 1);  // a record is one recv, not one for its five bytes and one for the rest
    // What waits to be written may lie elsewhere when it is tried again, and have more behind it.
    SSL_set_mode(ssl_, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_clear_mode(ssl_, SSL_MODE_AUTO_RETRY);  // who changes keys all the time has its turn for it like others
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
      if (have != 0 && drained_ && SSL_has_pending(ssl_) == 0) break;  // saves a recv that would find nothing
      std::size_t n = 0;
      (void)shaken();
      ERR_clear_error();
      int const code = SSL_read_ex(ssl_, into.data() + have, into.size() - have, &n);
      have += n;
      if (code > 0) continue;
      stopped(SSL_get_error(ssl_, code));
      break;
    }
    reading_ = false;
    if (have == 0) ec = end_;  // what was read before an end is given first
    return have;
  }
  std::size_t write(std::string_view bytes, error_code& ec) noexcept override {
    std::size_t gone = 0;
    while (gone < bytes.size() && !broken_) {
      std::size_t n = 0;
      ERR_clear_error();
      int const code = SSL_write_ex(ssl_, bytes.data() + gone, bytes.size() - gone, &n);
      gone += n;
      if (code > 0) continue;
      int const fault = SSL_get_error(ssl_, code);
      if (fault == SSL_ERROR_WANT_WRITE) return gone;
      stopped(SSL_ERROR_SSL);
    }
    if (broken_) ec = end_;
    return gone;
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
    if (broken_ || !shaken()) return;
    ERR_clear_error();
    (void)SSL_shutdown(ssl_);  // if the kernel is full it is not said: the end of the stream will say it
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
  /// The handshake is done. OpenSSL takes that back while it says no to another.
  [[nodiscard]] bool shaken() noexcept { return shaken_ = shaken_ || SSL_is_init_finished(ssl_) == 1; }
  [[nodiscard]] static bool not_yet() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

  int receive(BIO* b, char* into, std::size_t n, std::size_t& done) noexcept {
    BIO_clear_retry_flags(b);
    done = 0;
    if (deaf_) return 0;
    ssize_t const got = ::recv(fd_, into, n, 0);
    drained_ = got < static_cast<ssize_t>(n);
    if (got <= 0) {
      if (got < 0 && not_yet()) BIO_set_retry_read(b);
      return 0;
    }
    done = static_cast<std::size_t>(got);
    if (!shaken()) {
      auto const kind = guard_.look({into, done}, SSL_version(ssl_) <= TLS1_2_VERSION);
      http_ = kind == hello_guard::verdict::http;
      deaf_ = kind != hello_guard::verdict::fine;
    }
    if (deaf_) done = 0;
    return deaf_ ? 0 : 1;
  }
  int transmit(BIO* b, char const* from, std::size_t n, std::size_t& done) noexcept {
    BIO_clear_retry_flags(b);
    // All that TLS 1.2 writes while it reads, once its handshake is done, are alerts: the end, or a no to a renegotiation.
    // That one it would go on saying, in one call, for as long as somebody asks.
    if (reading_ && shaken() && SSL_version(ssl_) <= TLS1_2_VERSION) deaf_ = true;
    ssize_t const gone = ::send(fd_, from, n, MSG_NOSIGNAL);
    done = gone > 0 ? static_cast<std::size_t>(gone) : 0;
    if (gone < 0 && not_yet()) BIO_set_retry_write(b);
    return gone > 0 ? 1 : 0;
  }
  /// Nothing more goes, or comes: for now, or for ever.
  void stopped(int ec) noexcept {
    ERR_clear_error();
    if (ec == SSL_ERROR_WANT_READ && !deaf_) {
      read_needs_ = net::socket_base::wait_read;
    } else if (ec == SSL_ERROR_WANT_WRITE && !deaf_) {
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
  error_code end_{};  // of what comes
  hello_guard guard_;
  bool more_ = false;     // there may be something to read although the socket has nothing
  bool drained_ = false;  // the socket had less than it was asked for
  bool reading_ = false;
  bool shaken_ = false;
  bool deaf_ = false;  // whatever comes is not listened to
  bool http_ = false;
  bool broken_ = false;  // nothing can be written
};

class openssl_factory final : public tls_factory {
 public:
  /// @param with becomes its own. @par Errors: it is null: std::runtime_error.
  openssl_factory(SSL_CTX* with, std::size_t most_hello) : with_(with), most_hello_(most_hello) {
    if (with == nullptr) phx::detail::no_value("TLS: no context");
  }
  ~openssl_factory() override { SSL_CTX_free(with_); }
  std::unique_ptr<tls_stream> make(int accepted) const override {
    return std::make_unique<openssl_stream>(with_, accepted, most_hello_);
  }
  [[nodiscard]] SSL_CTX* context() const noexcept { return with_; }

 private:
  SSL_CTX* with_;
  std::size_t most_hello_;
};

}  // namespace detail

/// A server's certificate, and how it speaks TLS. A value: copies are the same one, which lives as long as its connections.
class tls {
 public:
  /// Of a client's hello, as those of browsers are not a fifth of it; beyond: hung up on.
  static constexpr std::size_t hello_bytes = 16 * 1024;

  /// TLS 1.2 and 1.3; of 1.2 only what keeps a recording secret when the key is lost. A session is resumed by its ticket,
  /// which the client keeps; here nothing is kept. It still needs a certificate, by way of native_handle.
  tls() : tls(made{}, SSL_CTX_new(TLS_server_method())) {
    SSL_CTX* const c = native_handle();
    constexpr std::string_view name = "phx";  // sessions with client certificates need one
    must(SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) == 1 &&
             SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
             SSL_CTX_set_session_id_context(c, reinterpret_cast<unsigned char const*>(name.data()),
                                            static_cast<unsigned>(name.size())) == 1,
         "a context");
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
    // A key with a pass phrase is an error; OpenSSL would ask for it on the terminal.
    SSL_CTX_set_default_passwd_cb(c, [](char*, int, int, void*) { return 0; });
  }
  /// @param chain, @param key PEM files: the server's certificate and after it those that vouch for it; its key.
  ///   @par Errors: what OpenSSL says of them: std::runtime_error.
  tls(std::string const& chain, std::string const& key) : tls() {
    ERR_clear_error();
    must(SSL_CTX_use_certificate_chain_file(native_handle(), chain.c_str()) == 1, chain);
    must(SSL_CTX_use_PrivateKey_file(native_handle(), key.c_str(), SSL_FILETYPE_PEM) == 1, key);
  }
  /// A context of your own, as it is; but nobody renegotiates. @param own is shared: what native_handle() of a
  ///   boost::asio::ssl::context gives is one. Its callbacks are called inside the loops, answer at once and do not throw.
  explicit tls(SSL_CTX* own) : tls(made{}, own) { (void)SSL_CTX_up_ref(own); }
  /// A certificate for trying things out, valid for a year, that nobody knows but this process: browsers ask before they
  /// believe it. @param names as OpenSSL writes a subjectAltName. @par Errors: std::runtime_error.
  [[nodiscard]] static tls self_signed(std::string const& names = "DNS:localhost,IP:127.0.0.1,IP:::1");

  /// OpenSSL's own object, for what is not here: ciphers, client certificates.
  [[nodiscard]] SSL_CTX* native_handle() const noexcept { return with_->context(); }

 private:
  friend class server;
  struct made {};
  tls(made, SSL_CTX* with) : with_(std::make_shared<detail::openssl_factory>(with, hello_bytes)) {}
  static void must(bool done, std::string_view subject) {
    if (done) return;
    char const* const reason = ERR_reason_error_string(ERR_peek_last_error());
    std::string const text =
        std::string("TLS: ").append(subject).append(": ").append(reason != nullptr ? reason : "no memory");
    ERR_clear_error();
    phx::detail::no_value(text.c_str());
  }

  std::shared_ptr<detail::openssl_factory const> with_;
};

inline tls tls::self_signed(std::string const& names) {
  tls out;
  ERR_clear_error();
  EVP_PKEY* bare = nullptr;
  std::unique_ptr<EVP_PKEY_CTX, void (*)(EVP_PKEY_CTX*)> const maker(EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nullptr),
                                                                     &EVP_PKEY_CTX_free);
  must(maker && EVP_PKEY_keygen_init(maker.get()) == 1 &&
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
  must(x != nullptr && RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1 &&
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

inline void server::secure(tls const& with) { core_->set_tls(with.with_); }

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_BEAST_HPP
#define PHX_ADAPTER_BEAST_HPP
// WebSockets and long-polls on Boost.Asio and Boost.Beast: one acceptor, several loops, as many threads as run the
// io_context.
//
//     boost::asio::io_context io;
//     phx::router app;
//     app.channel<room>("room:*");
//     phx::beast::server server{io, {.port = 4000, .loops = 4}};
//     server.serve(app, {.path = "/socket", .longpoll = true});
//     server.start();
//     io.run();                                       // in as many threads as you like
//
// A loop is a strand. A connection is given to the loop with the fewest connections when it is accepted; it is read, handled
// and written inside that strand only.
//
// Beast reads the HTTP. The WebSocket frames are read and written here and not by beast::websocket::stream, for three
// reasons:
// - its async_write takes one message, and the next may begin only when that is done: the messages of one turn would be many
//   system calls instead of one `send`, and a frame that phx has encoded once for a thousand clients would be framed a
//   thousand times;
// - it keeps a write buffer of 4 KiB and several more for every connection, idle ones too; here an idle connection has none;
// - it answers a client's close with the client's own code, where Phoenix's server answers 1000 or 1002 (protocol 12).
// - its permessage-deflate compresses a broadcast for each recipient; here options::compression does so once for each loop.
//
// TLS is in adapter/beast_tls.hpp, which needs OpenSSL; this header does not.

#include <phx/adapter/beast/detail/late_answer.hpp>
#include <phx/adapter/beast/detail/server_core.hpp>
#include <phx/adapter/beast/detail/websocket_connection.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

class tls;

/// Phoenix sockets, long-polls and routes of the program's own on one port of a Boost.Asio io_context.
///
/// Order: construct it, call `serve`, `route`, `observe` and `secure`, then `start`; run the io_context on as many threads
/// as you like; `drain` or `stop` ends it. User code (dispatchers, routes, observers) is called inside the loops: by one
/// thread at a time for one connection, by several threads at once for different loops.
class server {
 public:
  /// @param io must outlive the server. Its threads may be running already. @par Errors: std::bad_alloc.
  explicit server(boost::asio::io_context& io, options opts = {})
      : core_(std::make_shared<detail::server_core>(io, std::move(opts))) {
    core_->make_contexts();
  }
  server(server const&) = delete;
  server& operator=(server const&) = delete;
  /// Closes every connection without a WebSocket close; their channels terminate. @pre no thread runs the io_context.
  ~server() {
    core_->draining.store(false);  // no callback of a drain any more
    for (auto const& c : core_->contexts) c->stop();
    for (auto const& c : core_->contexts) c->destroy_loop();
  }

  // ---- before start

  /// Serves the sockets of `app` at `mount`. A request goes to the first mount whose path fits. @param app must outlive the
  /// server.
  /// @param polls used if `mount.longpoll` is set. @par Errors: a mount that is not valid: std::runtime_error.
  template <class D>
  void serve(D& app, mount mount, longpoll::options const& polls = {}) {
    if (error const wrong = mount.check(); wrong.code != errc::none)
      phx::detail::no_value((std::string(to_string(wrong.code)) + ": " + wrong.entry).c_str());
    core_->mounts.push_back(std::make_unique<mounted_dispatcher<D>>(std::move(mount), app, polls));
    core_->mounts.back()->number = core_->mounts.size() - 1;
  }
  /// Handles requests whose path is no mount's. Routes are tried in the order they were added; the first that answers wins.
  /// If none does, the answer is 404 with an empty body. A route that throws answers 500.
  /// @param f std::optional<http_answer>(http_request const&), called inside the loops: by several threads at once. A route
  ///   that called http_request::later and returns std::nullopt owns the request, and answers it later.
  template <class F>
  void route(F f) {
    core_->routes.emplace_back(std::move(f));
  }
  /// @param o gets every event, refused requests included, from several threads at once. It must outlive the server.
  template <Observer O>
  void observe(O& o) noexcept {
    for (auto const& c : core_->contexts) c->loop().observe(o);
  }
  /// @param m observes each loop by itself, as phx::metrics does. @param next at most one: gets every event after m. Both outlive
  ///   the server. Before start. @par Errors: those of M::observe.
  template <class M, Observer... O>
  requires(!Observer<M> && sizeof...(O) <= 1 &&
           requires(M & m, phx::loop& l, O&... next) { m.observe(l, next...); }) void observe(M& m, O&... next) {
    for (auto const& c : core_->contexts) m.observe(c->loop(), next...);
  }
  /// Accepts connections from now on. @par Errors: the address or the port is not available: std::runtime_error.
  void start() {
    if (detail::error_code const ec = core_->start())
      phx::detail::no_value(
          ("cannot listen on " + core_->opts.address + " port " + std::to_string(core_->opts.port) + ": " + ec.message())
              .c_str());
  }

  // ---- from any thread

  /// The port it listens on: options::port, or the one the kernel chose if that is 0.
  [[nodiscard]] std::uint16_t port() const noexcept { return core_->port; }
  /// Connections that are accepted from now on speak TLS; those that exist stay as they are. Call it again with another
  /// `tls` to change the certificate. Defined in adapter/beast_tls.hpp.
  void secure(tls const& with);
  /// For broadcasts and disconnects from outside the loops.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return core_->endpoint; }
  /// The number of TCP connections, including those that speak HTTP or are closing.
  [[nodiscard]] std::uint32_t connections() const noexcept { return core_->connection_count.load(); }
  /// Runs `f(phx::loop&)` inside each loop, soon: to list sockets, for example. @param f is copied. @par Errors:
  /// std::bad_alloc.
  template <class F>
  void in_loops(F f) {
    core_->post_to_all([f = std::move(f)](detail::strand_context& ctx) mutable { f(ctx.loop()); });
  }
  /// Stops accepting and closes all WebSockets with 1012, in batches (protocol 12). `done` is called on a thread of the
  /// io_context when the last connection has gone: at the latest options::goodbye after drain_options::limit. After that
  /// nothing of the server keeps the io_context running. @par Errors: std::bad_alloc, and nothing is done.
  void drain(drain_options const& opts = {}, std::function<void()> done = {}) { core_->drain(opts, std::move(done)); }
  /// Stops accepting and ends all connections at once, without a WebSocket close. The callbacks of a drain are called.
  void stop() noexcept { core_->stop(); }

 private:
  template <class D>
  class mounted_dispatcher final : public detail::mounted {
   public:
    mounted_dispatcher(phx::mount m, D& app, longpoll::options const& opts) : mounted(std::move(m), opts), app_(app) {}
    [[nodiscard]] std::variant<std::unique_ptr<detail::accepted_websocket>, refused_request> connect(
        phx::request const& request) override {
      auto result = phx::handshake(mount, app_, request);
      if (auto* const refused = std::get_if<refused_request>(&result)) return std::move(*refused);
      return std::make_unique<accepted>(app_, std::move(*std::get_if<admission_type>(&result)));
    }
    [[nodiscard]] std::unique_ptr<longpoll::service> make_service(longpoll::sessions& sessions, phx::loop& loop) override {
      return std::make_unique<longpoll::service_for<D>>(sessions, loop, mount, app_, polls);
    }

   private:
    using admission_type = admission<typename D::session_type>;
    class accepted final : public detail::accepted_websocket {
     public:
      accepted(D& app, admission_type&& admitted) : app_(app), admitted_(std::move(admitted)) {
        subprotocol = admitted_.subprotocol;
      }
      void open(detail::connection_permit&& p, detail::stream&& s, std::span<char> early) override {
        detail::websocket_connection_of<D>::open(std::move(p), std::move(s), app_, std::move(admitted_), std::move(codec),
                                                 early);
      }

     private:
      D& app_;
      admission_type admitted_;
    };
    D& app_;
  };

  std::shared_ptr<detail::server_core> core_;
};

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ADAPTER_EPOLL_HPP
#define PHX_ADAPTER_EPOLL_HPP
// WebSockets, long-polls and routes of your own on Linux' epoll: one loop for each thread, no other library.
//
//     phx::router app;
//     app.channel<room>("room:*");
//     phx::epoll::server server(app, {.port = 4000, .mount = {.path = "/socket", .longpoll = true}});
//     server.run();                                    // until server.drain() or server.stop(), from a signal handler, say
//
// Several mounts, as with Beast:
//
//     phx::epoll::server server({.port = 4000, .loops = 4});
//     server.serve(app, {.path = "/socket", .longpoll = true});
//     server.serve(admin, {.path = "/admin"});
//     server.route([](phx::epoll::http_request const& r) -> std::optional<phx::http_answer> { ... });
//     server.run();
//
// HTTP is read and written by the room http/, frames by the room websocket/; TLS is a proxy's.

#include <phx/adapter/epoll/detail/http_connection.hpp>

#include <string>
#include <thread>

namespace phx {
inline namespace PHX_BUILD {
namespace epoll {

/// A server with a thread for each loop. Construct it, `serve`, `route`, `observe`; then `run`; `drain` or `stop` ends that,
/// from another thread or a signal handler.
class server {
 public:
  /// Listens at once; run() serves. @par Errors: an address or a port that cannot be had, no descriptors:
  /// std::runtime_error, or abort without exceptions.
  explicit server(options opts) : server_(std::move(opts)) {
    for (std::uint32_t i = 0; i < server_.opts.loops; ++i)
      server_.loops.push_back(std::make_unique<detail::event_loop>(server_, i == 0 || server_.opts.reuse_port));
    std::uint16_t port = server_.opts.port;
    for (auto const& l : server_.loops) {
      if (int const error = l->listen(port); error != 0)
        phx::detail::no_value(
            ("cannot listen on " + server_.opts.address + " port " + std::to_string(port) + ": " + std::strerror(error))
                .c_str());
      port = server_.loops.front()->port();
    }
  }
  /// The same, and serves `app` at options::mount. @param app outlives the server. @par Errors: also a mount that is wrong.
  template <class D>
  explicit server(D& app, options opts = {}) : server(std::move(opts)) {
    serve(app, server_.opts.mount, server_.opts.polls);
  }
  server(server const&) = delete;
  server& operator=(server const&) = delete;
  /// @pre run() is not running.
  ~server() = default;

  // ---- before run

  /// Sockets of `app` at `where`. The first mount whose path fits has the request. @param app outlives the server.
  /// @par Errors: a mount that is wrong: std::runtime_error.
  /// @param polls where `where.longpoll` is set: how it polls.
  template <class D>
  void serve(D& app, mount where, longpoll::options const& polls = {}) {
    if (error const wrong = where.check(); wrong.code != errc::none)
      phx::detail::no_value((std::string(to_string(wrong.code)) + ": " + wrong.entry).c_str());
    server_.mounts.push_back(std::make_unique<mounted_at<D>>(std::move(where), app, polls));
    server_.mounts.back()->number = server_.mounts.size() - 1;
  }
  /// The host's own requests, those of no mount: the first route with an answer has it; if none has, 404 with an empty body.
  /// @param f std::optional<http_answer>(http_request const&), called inside the loops: by several threads at once. A route
  ///   that called http_request::later and returns nothing has the request, and answers it when it likes. One that throws:
  ///   500.
  template <class F>
  void route(F f) {
    server_.routes.emplace_back(std::move(f));
  }
  /// @param o told of everything, refused requests included, by several threads at once. Outlives the server.
  template <Observer O>
  void observe(O& o) noexcept {
    for (auto const& l : server_.loops) l->loop().observe(o);
  }
  /// @param m observes each loop by itself, as phx::metrics does. @param next at most one: gets every event after m. Both outlive
  ///   the server. Before run(). @par Errors: those of M::observe.
  template <class M, Observer... O>
  requires(!Observer<M> && sizeof...(O) <= 1 &&
           requires(M & m, phx::loop& l, O&... next) { m.observe(l, next...); }) void observe(M& m, O&... next) {
    for (auto const& l : server_.loops) m.observe(l->loop(), next...);
  }

  /// Accepts connections and runs the first loop; the others run in threads of their own, which have ended when it returns.
  /// Returns after drain() or stop(). Once. @par Errors: a thread that cannot be had: std::system_error.
  void run() {
    struct others {
      std::vector<std::thread> threads{};
      ~others() {
        for (std::thread& t : threads) t.join();
      }
    } started;
    bool const all_run = phx::detail::try_invoke(
        [&] {
          for (std::size_t i = 1; i < server_.loops.size(); ++i)
            started.threads.emplace_back([l = server_.loops[i].get()] { l->run(); });
        },
        [](char const*) noexcept {});
    if (!all_run) {
      stop();
      phx::detail::no_value("phx::epoll: no thread for a loop");
    }
    server_.loops.front()->run();
  }

  // ---- from any thread

  /// The port it listens on: the one asked for, or the kernel's choice where 0 was. 0 of a Unix socket.
  [[nodiscard]] std::uint16_t port() const noexcept { return server_.loops.front()->port(); }
  /// Broadcasts and disconnects.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return server_.everywhere; }
  /// Connections, those included that speak HTTP or are on their way out.
  [[nodiscard]] std::uint32_t connections() const noexcept { return server_.connection_count.load(); }
  /// Calls `f(phx::loop&)` inside each loop, soon: to list sockets, say. @param f copied. @par Errors: std::bad_alloc.
  template <class F>
  void in_loops(F f) {
    for (auto const& l : server_.loops) l->inbox()->post(std::function<void(phx::loop&)>(f));
  }
  /// No client may connect any more; all WebSockets close with 1012, in batches (protocol 12), as options::drain says, and
  /// run() returns when the last connection and the last long-poll session have gone: at the latest options::goodbye after
  /// drain_options::limit. Also from a signal handler.
  void drain() noexcept {
    server_.draining.store(true);
    for (auto const& l : server_.loops) l->wake();
  }
  /// Ends every connection without a word: their channels end, and run() returns. Also from a signal handler.
  void stop() noexcept {
    server_.stopping.store(true);
    for (auto const& l : server_.loops) l->wake();
  }

 private:
  template <class D>
  class mounted_at final : public detail::mounted {
   public:
    mounted_at(mount m, D& app, longpoll::options const& opts) : mounted(std::move(m), opts), app_(app) {}
    [[nodiscard]] std::variant<detail::websocket_connection*, refused_request> upgrade(phx::request const& request,
                                                                                       detail::tcp_socket& from,
                                                                                       detail::event_loop& on) override {
      auto judged = phx::handshake(terms, app_, request);
      if (auto* const refused = std::get_if<refused_request>(&judged)) return std::move(*refused);
      // Asked last, as in Phoenix (protocol 8.1, step 6).
      if (auto refused = upgrade_refusal(request)) return *std::move(refused);
      using admitted_as = admission<typename D::session_type>;
      return detail::websocket_of<D>::make(from, on, app_, std::move(*std::get_if<admitted_as>(&judged)), request);
    }
    [[nodiscard]] std::unique_ptr<longpoll::service> polling(longpoll::sessions& all, phx::loop& event_loop) override {
      return std::make_unique<longpoll::service_for<D>>(all, event_loop, terms, app_, polls);
    }

   private:
    D& app_;
  };

  detail::server_state server_;
};

}  // namespace epoll
}  // namespace PHX_BUILD
}  // namespace phx

#endif

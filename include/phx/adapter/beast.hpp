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
// A loop is a strand; a connection is given one when it is accepted, the one with the fewest, and is read, spoken for and
// written inside it alone.
//
// Beast reads the HTTP. The frames are read and written here, not by beast::websocket::stream, for three reasons. Its
// async_write takes one message and wants no other begun before the first is done: the many messages of a turn would be many
// system calls, where here they are one `send`, and a frame that phx has encoded once for a thousand clients would be framed
// a thousand times. It keeps 4 KiB to write in and several buffers more for every connection, idle ones too; here an idle
// one has none. And it answers a client's close with the client's own code, where Phoenix's server answers 1000 or 1002
// (protocol 12). What that costs: permessage-deflate, which Phoenix leaves off by default, is not offered. An offer is
// ignored, as there.
//
// TLS is in adapter/beast_tls.hpp, which needs OpenSSL; this header does not.

#include <phx/adapter/detail/beast_http_connection.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace beast {

class tls;

/// Phoenix sockets, long-polls and routes of yours on one port of a Boost.Asio io_context. Construct it, `serve`, `route`,
/// `start`; run the io_context on as many threads as you like; `drain` ends it.
class server {
 public:
  /// @param io outlives the server. Its threads may be running.
  explicit server(boost::asio::io_context& io, options opts = {})
      : core_(std::make_shared<detail::core>(io, std::move(opts))) {
    core_->prepare();
  }
  server(server const&) = delete;
  server& operator=(server const&) = delete;
  /// Ends every connection without a word: their channels end. @pre no thread runs the io_context.
  ~server() {
    core_->draining.store(false);  // nobody is told any more
    for (auto const& l : core_->strands) l->dismiss();
    for (auto const& l : core_->strands) l->end();
  }

  // ---- before start

  /// Sockets of `app` at `where`. The first mount whose path fits has the request. @param app outlives the server.
  /// @par Errors: a mount that is wrong: std::runtime_error.
  /// @param polls where `where.longpoll` is set: how it polls.
  template <class D>
  void serve(D& app, mount where, longpoll::options const& polls = {}) {
    if (error const wrong = where.check(); wrong.code != errc::none)
      phx::detail::no_value((std::string(to_string(wrong.code)) + ": " + wrong.entry).c_str());
    core_->mounts.push_back(std::make_unique<mounted_at<D>>(std::move(where), app, polls));
    core_->mounts.back()->number = core_->mounts.size() - 1;
  }
  /// The host's own requests, those of no mount: the first route with an answer has it; if none has, 404 with an empty body.
  /// @param f std::optional<http_answer>(http_request const&), called inside the loops: by several threads at once. One that
  ///   asked http_request::later and answers nothing has the request, and answers it when it likes.
  template <class F>
  void route(F f) {
    core_->routes.emplace_back(std::move(f));
  }
  /// @param o told of everything, refused requests included, by several threads at once. Outlives the server.
  template <Observer O>
  void observe(O& o) noexcept {
    for (auto const& l : core_->strands) l->loop().observe(o);
  }
  /// Accepts connections from now on. @par Errors: an address or a port that cannot be had: std::runtime_error.
  void start() {
    if (detail::error_code const ec = core_->listen())
      phx::detail::no_value(
          ("cannot listen on " + core_->opts.address + " port " + std::to_string(core_->opts.port) + ": " + ec.message())
              .c_str());
  }

  // ---- from any thread

  /// The port it listens on: the one asked for, or the kernel's choice where 0 was.
  [[nodiscard]] std::uint16_t port() const noexcept { return core_->port; }
  /// All connections that are accepted from now on speak TLS, as `with` says; those that are there stay as they are. Before
  /// start, or later: a new certificate is another `with`. Defined in adapter/beast_tls.hpp.
  void secure(tls const& with);
  /// Broadcasts and disconnects.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return core_->everywhere; }
  /// TCP connections, those included that speak HTTP or are on their way out.
  [[nodiscard]] std::uint32_t connections() const noexcept { return core_->connection_count.load(); }
  /// Calls `f(phx::loop&)` inside each loop, soon: to list sockets, say. @param f copied.
  template <class F>
  void in_loops(F f) {
    core_->post_to_all_strands([f = std::move(f)](detail::strand_context& l) mutable { f(l.loop()); });
  }
  /// Nobody is let in any more; all WebSockets close with 1012, in batches (protocol 12). `done` is called, on some thread
  /// of the io_context, when the last connection is gone: at the latest options::goodbye after drain_options::limit. Then
  /// nothing of the server's keeps the io_context running. @par Errors: std::bad_alloc, and nothing is done.
  void drain(drain_options const& opts = {}, std::function<void()> done = {}) { core_->drain(opts, std::move(done)); }
  /// The same at once and without a word. Whoever waits for a drain is told.
  void stop() noexcept { core_->stop(); }

 private:
  template <class D>
  class mounted_at final : public detail::mounted {
   public:
    mounted_at(mount m, D& app, longpoll::options const& opts) : mounted(std::move(m), opts), app_(app) {}
    [[nodiscard]] std::variant<std::unique_ptr<detail::opening>, refused_request> judge(phx::request const& from) override {
      auto judged = phx::handshake(terms, app_, from);
      if (auto* const no = std::get_if<refused_request>(&judged)) return std::move(*no);
      return std::make_unique<opening_to>(app_, std::move(*std::get_if<admitted_as>(&judged)));
    }
    [[nodiscard]] std::unique_ptr<longpoll::service> polling(longpoll::sessions& all, phx::loop& event_loop) override {
      return std::make_unique<longpoll::service_for<D>>(all, event_loop, terms, app_, polls);
    }

   private:
    using admitted_as = admission<typename D::session_type>;
    class opening_to final : public detail::opening {
     public:
      opening_to(D& app, admitted_as&& admitted) : app_(app), who_(std::move(admitted)) { subprotocol = who_.subprotocol; }
      void open(detail::connection_permit&& t, detail::stream&& s, std::span<char> early) override {
        detail::connection_to<D>::open(std::move(t), std::move(s), app_, std::move(who_), early);
      }

     private:
      D& app_;
      admitted_as who_;
    };
    D& app_;
  };

  std::shared_ptr<detail::core> core_;
};

}  // namespace beast
}  // namespace PHX_BUILD
}  // namespace phx

#endif

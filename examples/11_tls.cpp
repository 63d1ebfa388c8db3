// wss:// and https:// on one port: the server of 08 with a certificate, which can be replaced while the server runs.
#include <phx/adapter/beast_tls.hpp>
#include <phx/phx.hpp>

#include <boost/asio/signal_set.hpp>

#include <cstdio>
#include <cstdlib>

namespace {

struct room {
  phx::outcome handle_in(phx::context&, phx::message const& in) { return phx::outcome::reply(in.payload); }
};

}  // namespace

// 11_tls --port P [CHAIN.pem KEY.pem]
int main(int argc, char** argv) try {
  boost::asio::io_context io;
  phx::router app;
  app.channel<room>("room:*");

  // Without files the server signs its own certificate, for experiments: clients must be configured to trust it.
  auto const certificate = [&] { return argc == 5 ? phx::beast::tls(argv[3], argv[4]) : phx::beast::tls::self_signed(); };

  phx::beast::options opts;
  opts.port = static_cast<std::uint16_t>(argc > 2 ? std::atoi(argv[2]) : 4443);
  // For the open internet: an address may connect 100 times at once, then twice a second, and refused clients wait.
  opts.throttle = {.each = {.burst = 100, .every = std::chrono::milliseconds(500)}, .refuse_after = std::chrono::seconds(1)};
  phx::beast::server server(io, opts);
  server.secure(certificate());
  server.serve(app, phx::mount{.path = "/socket", .longpoll = true});
  server.route([](phx::beast::http_request const& request) -> std::optional<phx::http_answer> {
    if (request.path != "/scheme") return std::nullopt;
    return phx::http_answer{200, {}, std::string(request.scheme)};
  });
  server.start();
  std::printf("listening on https://localhost:%d, that is 127.0.0.1:%d\n", int{server.port()}, int{server.port()});
  std::fflush(stdout);

  // SIGHUP: the files are read again, for later connections.
  boost::asio::signal_set hangup(io, SIGHUP);
  auto const reload = [&](auto self) -> void {
    hangup.async_wait([&, self](boost::system::error_code cancelled, int) {
      if (cancelled) return;
      try {
        server.secure(certificate());
      } catch (std::exception const& wrong) {
        std::fprintf(stderr, "%s; the old certificate stays\n", wrong.what());
      }
      self(self);
    });
  };
  reload(reload);
  boost::asio::signal_set stop(io, SIGTERM, SIGINT);
  stop.async_wait([&](boost::system::error_code, int) {
    hangup.cancel();
    server.drain();
  });
  io.run();
} catch (std::exception const& wrong) {
  std::fprintf(stderr, "11_tls: %s\n", wrong.what());
  return 1;
}

// A server behind proxies that tells each client its address, for tests/proxies/run.mjs.
//
//   behind_proxy --host beast|blocking|epoll
//
// prints `listening on 127.0.0.1:P, with the PROXY protocol on 127.0.0.1:Q`. 127.0.0.1 and 127.0.0.3 are trusted proxies. SIGTERM
// drains and exits 0.

#include <phx/adapter/beast.hpp>
#include <phx/adapter/blocking_longpoll.hpp>
#include <phx/adapter/epoll.hpp>
#include <phx/phx.hpp>

#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

namespace {

/// The connect_info of the client, as JSON.
struct client {
  std::string told;
};
std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }  // nothing here has to be escaped
phx::connect_outcome<client> identify(phx::connect_info const& info) {
  phx::uri const uri = info.uri();
  return phx::connected<client>{
      {"{\"peer\":" + quoted(info.peer_data().address) + ",\"port\":" + std::to_string(info.peer_data().port) + ",\"uri\":" +
       quoted(std::string(uri.scheme) + "://" + std::string(uri.host) + ":" + std::to_string(uri.port) +
              std::string(uri.path)) +
       ",\"x\":" + quoted(phx::header_value(info.x_headers(), "x-forwarded-for").value_or("")) + "}"}};
}
struct room {
  explicit room(client const& c) : told(c.told) {}
  phx::join_result join(phx::joining&, phx::message const&) { return phx::join_result::ok(phx::payload::json(told)); }
  phx::outcome handle_in(phx::context&, phx::message const& in) {
    if (in.event == "large")
      return phx::outcome::reply(phx::payload::json("{\"fill\":\"" + std::string(300'000, 'x') + "\"}"));
    return phx::outcome::reply(in.payload);
  }
  std::string told;
};

phx::mount where() { return {.path = "/socket", .origins = phx::check_origin::conn(), .longpoll = true}; }
phx::trusted_proxies proxies() { return {"127.0.0.1", "127.0.0.3"}; }
void announce(std::uint16_t plain, std::uint16_t proxied) {
  std::printf("listening on 127.0.0.1:%d, with the PROXY protocol on 127.0.0.1:%d\n", int{plain}, int{proxied});
  std::fflush(stdout);
}

void on_beast(phx::router<client>& app) {
  boost::asio::io_context io;
  phx::beast::server plain(io, {.port = 0, .trusted_proxies = proxies()});
  phx::beast::server proxied(io, {.port = 0, .proxy_protocol = true});
  for (phx::beast::server* const s : {&plain, &proxied}) {
    s->serve(app, where());
    s->route([](phx::beast::http_request const& asked) -> std::optional<phx::http_answer> {
      if (asked.path != "/health") return std::nullopt;
      return phx::http_answer{200, {}, std::string(asked.peer.address)};
    });
    s->start();
  }
  announce(plain.port(), proxied.port());
  boost::asio::signal_set ends(io, SIGTERM);
  ends.async_wait([&](boost::system::error_code, int) {
    plain.drain();
    proxied.drain();
  });
  io.run();
}

phx::blocking::server<phx::router<client>, phx::blocking::long_polling>* running[2];
void on_threads(phx::router<client>& app) {
  phx::blocking::options opts{.port = 0, .mount = where()};
  opts.trusted_proxies = proxies();
  phx::blocking::server plain(app, opts, phx::blocking::long_polling{});
  opts.trusted_proxies = {};
  opts.proxy_protocol = true;
  phx::blocking::server proxied(app, opts, phx::blocking::long_polling{});
  running[0] = &plain;
  running[1] = &proxied;
  std::signal(SIGTERM, [](int) {
    for (auto* const s : running) s->stop();
  });
  announce(plain.port(), proxied.port());
  std::thread other([&] { proxied.run(); });
  plain.run();
  other.join();
}

phx::epoll::server* polling[2];
void on_epoll(phx::router<client>& app) {
  phx::epoll::server plain({.port = 0, .trusted_proxies = proxies()});
  phx::epoll::server proxied({.port = 0, .proxy_protocol = true});
  polling[0] = &plain;
  polling[1] = &proxied;
  for (phx::epoll::server* const s : polling) {
    s->serve(app, where());
    s->route([](phx::epoll::http_request const& asked) -> std::optional<phx::http_answer> {
      if (asked.path != "/health") return std::nullopt;
      return phx::http_answer{200, {}, std::string(asked.peer.address)};
    });
  }
  std::signal(SIGTERM, [](int) {
    for (auto* const s : polling) s->drain();
  });
  announce(plain.port(), proxied.port());
  std::thread other([&] { proxied.run(); });
  plain.run();
  other.join();
}

}  // namespace

int main(int argc, char** argv) try {
  phx::router<client> app(identify);
  app.channel<room>("room:*");
  if (argc == 3 && std::strcmp(argv[2], "beast") == 0)
    on_beast(app);
  else if (argc == 3 && std::strcmp(argv[2], "blocking") == 0)
    on_threads(app);
  else if (argc == 3 && std::strcmp(argv[2], "epoll") == 0)
    on_epoll(app);
  else
    return 2;
} catch (std::exception const& wrong) {
  std::fprintf(stderr, "behind_proxy: %s\n", wrong.what());
  return 1;
}

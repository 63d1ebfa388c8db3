// lab_server --port P [--host beast|epoll] [--threads N] [--dispatcher router|actors] [--redis HOST:PORT] [--node NAME]
//            [--silence MS] [--drop-beyond BYTES] [--compress off|messages|windows|all] [--tls on|off]
//
// The lab server, on Boost.Beast or on epoll. On SIGTERM or SIGINT it closes every client with 1012 (reconnect later), then exits with 0;
// after a second signal it does not wait.
//
// With --redis it is one of several nodes, and prints when Redis connects and disconnects. The presence of the other nodes
// takes a node for down after --silence without a message: 30,000 ms, as in Phoenix. With --drop-beyond a client that does
// not read loses the oldest pushes instead of its connection. With --compress clients may agree on permessage-deflate, each
// message compressed by itself or with windows for each connection; `all` compresses the shortest ones too.
// With --tls the Beast host has a self-signed certificate.

#include "actors.hpp"
#include "channels.hpp"

#include <phx/adapter/beast.hpp>
#ifdef WITH_TLS
#include <phx/adapter/beast_tls.hpp>
#endif
#ifdef __linux__
#include <phx/adapter/epoll.hpp>
#endif
#ifdef WITH_REDIS
#include <phx/adapter/redis.hpp>
#endif
#ifdef WITH_DEFLATE
#include <phx/websocket/deflate.hpp>
#endif

#include <boost/asio/signal_set.hpp>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace net = boost::asio;

struct command_line {
  std::uint16_t port = 4000;
  std::uint32_t threads = 1;
  bool actors = false;
  bool epoll = false;
  bool tls = false;
  [[nodiscard]] std::uint32_t loops() const { return threads == 1 ? 1 : 2 * threads; }
  std::string redis_host{};  // empty: this is the only node
  std::uint16_t redis_port = 0;
  std::string node{};
  std::size_t drop_beyond = 0;  // 0: the limits of the mounts
  std::int64_t silence = 30'000;
  phx::websocket::compression compress{};
};

bool read_compression(std::string_view text, phx::websocket::compression& into) {
  if (text == "off") return true;
#ifdef WITH_DEFLATE
  bool const windows = text == "windows";
  if (!windows && text != "messages" && text != "all") return false;
  phx::websocket::deflate_options opts{.server_context_takeover = windows, .client_context_takeover = windows};
  if (text == "all") opts.min_size = 0;
  into = phx::websocket::permessage_deflate(opts);
  return true;
#else
  (void)into;
  return false;
#endif
}

template <class Number>
bool read(char const* text, Number& into) {
  char const* const end = text + std::strlen(text);
  auto const [stopped, fault] = std::from_chars(text, end, into);
  return fault == std::errc{} && stopped == end;
}
std::optional<command_line> read(int argc, char** argv) {
  command_line args;
  for (int i = 1; i < argc; i += 2) {
    std::string_view const name = argv[i];
    if (i + 1 == argc) return std::nullopt;
    if (name == "--port" && read(argv[i + 1], args.port)) continue;
    if (name == "--threads" && read(argv[i + 1], args.threads) && args.threads != 0) continue;
    if (name == "--drop-beyond" && read(argv[i + 1], args.drop_beyond)) continue;
    if (name == "--silence" && read(argv[i + 1], args.silence) && args.silence >= 200 && args.silence <= 3'600'000) continue;
    if (name == "--compress" && read_compression(argv[i + 1], args.compress)) continue;
#ifdef WITH_TLS
    if (name == "--tls") {
      args.tls = std::strcmp(argv[i + 1], "on") == 0;
      if (args.tls || std::strcmp(argv[i + 1], "off") == 0) continue;
    }
#endif
    if (name == "--node") {
      args.node = argv[i + 1];
      continue;
    }
    if (name == "--redis") {
      std::string_view const at = argv[i + 1];
      std::size_t const colon = at.rfind(':');
      if (colon == at.npos || !read(argv[i + 1] + colon + 1, args.redis_port)) return std::nullopt;
      args.redis_host = at.substr(0, colon);
      continue;
    }
    if (name == "--host") {
      args.epoll = std::strcmp(argv[i + 1], "epoll") == 0;
      if (args.epoll || std::strcmp(argv[i + 1], "beast") == 0) continue;
    }
    args.actors = std::strcmp(argv[i + 1], "actors") == 0;
    if (name != "--dispatcher" || (!args.actors && std::strcmp(argv[i + 1], "router") != 0)) return std::nullopt;
  }
  if (args.tls && args.epoll) return std::nullopt;
  return args;
}

#ifdef WITH_REDIS
/// The other nodes, if there are any.
class nodes {
 public:
  explicit nodes(command_line const& flags) {
    if (flags.redis_host.empty()) return;
    phx::redis::options redis;
    redis.host = flags.redis_host;
    redis.port = flags.redis_port;
    redis.node = flags.node;
    redis.on_change = [](phx::redis::change const& c) {
      if (c.connected) {
        auto const gap = std::chrono::duration_cast<std::chrono::milliseconds>(c.disconnected_for).count();
        std::printf("redis: connected, %lld ms without messages, %llu unsent\n", static_cast<long long>(gap),
                    static_cast<unsigned long long>(c.unsent));
      } else {
        std::printf("redis: disconnected, %.*s\n", static_cast<int>(c.reason.size()), c.reason.data());
      }
      std::fflush(stdout);
    };
    between_.emplace(std::move(redis));
  }
  void join(phx::endpoint& endpoint) {
    if (between_) endpoint.attach(*between_);
  }

 private:
  std::optional<phx::redis::pubsub> between_{};
};
#else
class nodes {
 public:
  explicit nodes(command_line const& args) {
    if (!args.redis_host.empty()) throw std::runtime_error("built without phx::redis");
  }
  void join(phx::endpoint&) {}
};
#endif

/// `POST /suite/broadcast?topic=T&event=E`, by which a test disconnects a user.
std::optional<phx::http_answer> control(phx::endpoint& all, phx::request const& request) {
  if (request.method != "POST" || request.path != "/suite/broadcast") return std::nullopt;
  auto const query = phx::params::parse(request.query);
  auto const topic = query ? query->get("topic") : std::nullopt;
  auto const event = query ? query->get("event") : std::nullopt;
  if (!topic || !event) return phx::http_answer{400, {}, {}};
  (void)all.broadcast(*topic, *event, {});
  return phx::http_answer{204, {}, {}};
}

/// Serves the sites and the control route.
template <class Server, class Sites>
void prepare(Server& server, Sites& sites, phx::presence& presence, command_line const& args) {
  presence.start(server.endpoint());
  for (auto& site : sites) {
    if (args.drop_beyond != 0) {
      site.at.bounds.outbound = args.drop_beyond;
      site.at.bounds.pressure = phx::pressure_policy::drop_oldest;
    }
    server.serve(site.serves, site.at, site.polls);
  }
  server.route([&all = server.endpoint()](auto const& request) { return control(all, request); });
}
void print_port(std::uint16_t port) {
  std::printf("listening on 127.0.0.1:%u\n", unsigned{port});
  std::fflush(stdout);
}

/// Calls use(server, run): `run` serves until a signal was received and all clients have disconnected.
template <class F>
void on_beast(command_line const& args, F use) {
  net::io_context io(static_cast<int>(args.threads));
  phx::beast::options opts;
  opts.port = args.port;
  opts.loops = args.loops();
  opts.compression = args.compress;
  phx::beast::server server(io, opts);
#ifdef WITH_TLS
  if (args.tls) server.secure(phx::beast::tls::self_signed());
#endif
  use(server, [&] {
    server.start();
    net::signal_set signals(net::make_strand(io), SIGINT, SIGTERM);
    signals.async_wait([&](boost::system::error_code, int) {
      signals.async_wait([&](boost::system::error_code cancelled, int) {
        if (!cancelled) server.stop();
      });
      server.drain({}, [&] { net::post(signals.get_executor(), [&] { signals.cancel(); }); });
    });
    print_port(server.port());
    std::vector<std::thread> others;
    for (std::uint32_t i = 1; i < args.threads; ++i) others.emplace_back([&io] { io.run(); });
    io.run();
    for (std::thread& t : others) t.join();
  });
}

#ifdef __linux__
phx::epoll::server* signalled = nullptr;
void on_signal(int) {
  static std::atomic<bool> again{false};
  again.exchange(true) ? signalled->stop() : signalled->drain();
}
template <class F>
void on_epoll(command_line const& args, F use) {
  phx::epoll::server server({.port = args.port, .loops = args.loops(), .compression = args.compress});
  use(server, [&] {
    signalled = &server;
    for (int const s : {SIGINT, SIGTERM}) (void)std::signal(s, on_signal);
    print_port(server.port());
    server.run();
    for (int const s : {SIGINT, SIGTERM}) (void)std::signal(s, SIG_IGN);
  });
}
#else
template <class F>
void on_epoll(command_line const&, F) {
  throw std::runtime_error("this system has no epoll");
}
#endif

int main(int argc, char** argv) try {
  std::optional<command_line> const args = read(argc, argv);
  if (!args) {
    std::fprintf(
        stderr,
        "usage: %s --port P [--host beast|epoll] [--threads N] [--dispatcher router|actors] [--redis HOST:PORT]\n"
        "  [--node NAME] [--drop-beyond BYTES] [--silence MS] [--compress off|messages|windows|all] [--tls on|off]\n",
        argv[0]);
    return 2;
  }
  // The dispatchers and what they refer to outlive the server.
  lab::alarm_clock alarms;
  phx::presence presence(lab::as_in_phoenix(std::chrono::milliseconds(args->silence)));
  nodes others(*args);
  auto const serve = [&](auto& sites, auto begin, auto end) {
    auto const use = [&](auto& server, auto run) {
      others.join(server.endpoint());
      begin(server.endpoint());
      prepare(server, sites, presence, *args);
      run();
      end();
    };
    args->epoll ? on_epoll(*args, use) : on_beast(*args, use);
  };
  if (args->actors) {
    lab::worker_pool workers{alarms};
    auto sites = lab::sites([&](auto connect) { return lab::actors<lab::session>(workers, connect); }, alarms, presence);
    serve(
        sites, [&](phx::endpoint& all) { workers.endpoint = &all; },
        [&] {
          alarms.stop();     // its timers post to the workers
          workers.finish();  // the channels' last pushes and broadcasts need the endpoint
        });
  } else {
    auto sites = lab::sites([](auto connect) { return phx::router<lab::session>(connect); }, alarms, presence);
    serve(
        sites, [](phx::endpoint&) {}, [] {});
  }
  return 0;
} catch (std::exception const& error) {
  std::fprintf(stderr, "lab_server: %s\n", error.what());
  return 1;
}

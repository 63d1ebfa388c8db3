// lab_server --port P [--threads N] [--dispatcher router|actors] [--redis HOST:PORT] [--node NAME] [--silence MS]
//            [--drop-beyond BYTES]
//
// The lab server on Boost.Beast. On SIGTERM or SIGINT every client is told to come back later (1012), then it exits with 0;
// a second signal does not wait.
//
// With --redis it is one of several nodes, and says on its output when Redis comes and goes. A node of which nothing is
// heard for
// --silence is down to the others' presence: 30,000 ms, as in Phoenix. With --drop-beyond a client that does not read loses
// the oldest of what it is pushed, instead of its connection.

#include "actors.hpp"
#include "channels.hpp"

#include <phx/adapter/beast.hpp>
#ifdef WITH_REDIS
#include <phx/adapter/redis.hpp>
#endif

#include <boost/asio/signal_set.hpp>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace net = boost::asio;

struct asked_for {
  std::uint16_t port = 4000;
  std::uint32_t threads = 1;
  bool actors = false;
  std::string redis_host{};  // none: this node is the only one
  std::uint16_t redis_port = 0;
  std::string node{};
  std::size_t drop_beyond = 0;  // 0: as the mounts have it
  std::int64_t silence = 30'000;
};

template <class Number>
bool read(char const* text, Number& into) {
  char const* const end = text + std::strlen(text);
  auto const [stopped, wrong] = std::from_chars(text, end, into);
  return wrong == std::errc{} && stopped == end;
}
std::optional<asked_for> read(int argc, char** argv) {
  asked_for item;
  for (int i = 1; i < argc; i += 2) {
    std::string_view const name = argv[i];
    if (i + 1 == argc) return std::nullopt;
    if (name == "--port" && read(argv[i + 1], item.port)) continue;
    if (name == "--threads" && read(argv[i + 1], item.threads) && item.threads != 0) continue;
    if (name == "--drop-beyond" && read(argv[i + 1], item.drop_beyond)) continue;
    if (name == "--silence" && read(argv[i + 1], item.silence) && item.silence >= 200 && item.silence <= 3'600'000) continue;
    if (name == "--node") {
      item.node = argv[i + 1];
      continue;
    }
    if (name == "--redis") {
      std::string_view const at = argv[i + 1];
      std::size_t const colon = at.rfind(':');
      if (colon == at.npos || !read(argv[i + 1] + colon + 1, item.redis_port)) return std::nullopt;
      item.redis_host = at.substr(0, colon);
      continue;
    }
    item.actors = std::strcmp(argv[i + 1], "actors") == 0;
    if (name != "--dispatcher" || (!item.actors && std::strcmp(argv[i + 1], "router") != 0)) return std::nullopt;
  }
  return item;
}

#ifdef WITH_REDIS
/// The other nodes, if there are any.
class nodes {
 public:
  explicit nodes(asked_for const& flags) {
    if (flags.redis_host.empty()) return;
    phx::redis::options redis;
    redis.host = flags.redis_host;
    redis.port = flags.redis_port;
    redis.node = flags.node;
    redis.on_change = [](phx::redis::change const& c) {
      if (c.connected) {
        auto const deaf = std::chrono::duration_cast<std::chrono::milliseconds>(c.deaf).count();
        std::printf("redis: there, deaf for %lld ms, %llu unsent\n", static_cast<long long>(deaf),
                    static_cast<unsigned long long>(c.unsent));
      } else {
        std::printf("redis: away, %.*s\n", static_cast<int>(c.reason.size()), c.reason.data());
      }
      std::fflush(stdout);
    };
    between_.emplace(std::move(redis));
  }
  void join(phx::endpoint& here) {
    if (between_) here.attach(*between_);
  }

 private:
  std::optional<phx::redis::pubsub> between_{};
};
#else
class nodes {
 public:
  explicit nodes(asked_for const& item) {
    if (!item.redis_host.empty()) throw std::runtime_error("built without phx::redis");
  }
  void join(phx::endpoint&) {}
};
#endif

/// `POST /suite/broadcast?topic=T&event=E`, by which a test disconnects a user.
std::optional<phx::http_answer> control(phx::endpoint& all, phx::request const& asked) {
  if (asked.method != "POST" || asked.path != "/suite/broadcast") return std::nullopt;
  auto const query = phx::params::parse(asked.query);
  auto const topic = query ? query->get("topic") : std::nullopt;
  auto const event = query ? query->get("event") : std::nullopt;
  if (!topic || !event) return phx::http_answer{400, {}, {}};
  (void)all.broadcast(*topic, *event, {});
  return phx::http_answer{204, {}, {}};
}

/// Runs until a signal has come and all clients have gone.
template <class Sites>
void run(net::io_context& io, phx::beast::server& server, Sites& sites, phx::presence& presence, asked_for const& item) {
  presence.start(server.endpoint());
  for (auto& site : sites) {
    if (item.drop_beyond != 0) {
      site.at.bounds.outbound = item.drop_beyond;
      site.at.bounds.pressure = phx::pressure_policy::drop_oldest;
    }
    server.serve(site.serves, site.at, site.polls);
  }
  server.route([&all = server.endpoint()](auto const& asked) { return control(all, asked); });
  server.start();

  net::signal_set signals(net::make_strand(io), SIGINT, SIGTERM);
  signals.async_wait([&](boost::system::error_code, int) {
    signals.async_wait([&](boost::system::error_code cancelled, int) {
      if (!cancelled) server.stop();
    });
    server.drain({}, [&] { net::post(signals.get_executor(), [&] { signals.cancel(); }); });
  });

  std::printf("listening on 127.0.0.1:%u\n", unsigned{server.port()});
  std::fflush(stdout);
  std::vector<std::thread> others;
  for (std::uint32_t i = 1; i < item.threads; ++i) others.emplace_back([&io] { io.run(); });
  io.run();
  for (std::thread& t : others) t.join();
}

int main(int argc, char** argv) try {
  std::optional<asked_for> const item = read(argc, argv);
  if (!item) {
    std::fprintf(stderr,
                 "usage: %s --port P [--threads N] [--dispatcher router|actors] [--redis HOST:PORT] [--node NAME]\n"
                 "  [--drop-beyond BYTES] [--silence MS]\n",
                 argv[0]);
    return 2;
  }
  phx::beast::options opts;
  opts.port = item->port;
  opts.loops = item->threads == 1 ? 1 : 2 * item->threads;

  // Who answers outlives the server.
  lab::alarm_clock alarms;
  phx::presence presence(lab::as_in_phoenix(std::chrono::milliseconds(item->silence)));
  nodes others(*item);
  if (item->actors) {
    lab::crew crew{alarms};
    auto sites = lab::sites([&](auto connect) { return lab::actors<lab::session>(crew, connect); }, alarms, presence);
    net::io_context io(static_cast<int>(item->threads));
    phx::beast::server server(io, opts);
    others.join(server.endpoint());
    crew.everywhere = &server.endpoint();
    run(io, server, sites, presence, *item);
    alarms.stop();  // they post to the crew
    crew.finish();  // the last words of the channels, to an endpoint that is still there
  } else {
    auto sites = lab::sites([](auto connect) { return phx::router<lab::session>(connect); }, alarms, presence);
    net::io_context io(static_cast<int>(item->threads));
    phx::beast::server server(io, opts);
    others.join(server.endpoint());
    run(io, server, sites, presence, *item);
  }
  return 0;
} catch (std::exception const& wrong) {
  std::fprintf(stderr, "lab_server: %s\n", wrong.what());
  return 1;
}

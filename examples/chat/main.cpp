// Rooms, who is in them with how many tabs, several nodes, and what phx does beneath, drawn live. What page and server agree
// on is in README.md.
//
//   chat [--port P] [--redis HOST:PORT] [--node NAME] [--silence MS]
#include <phx/adapter/beast.hpp>
#include <phx/adapter/nlohmann.hpp>
#ifdef WITH_REDIS
#include <phx/adapter/redis.hpp>
#endif
#include <phx/phx.hpp>
#include <phx/presence/presence.hpp>

#include <boost/asio/signal_set.hpp>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>

namespace {

using json = nlohmann::json;

constexpr std::size_t longest_name = 24, longest_text = 4000, kept = 50;
constexpr std::string_view before_name = "room:";
constexpr std::string_view heard = "heard";  // the topic on which nodes tell each other what to remember

/// What this node remembers. One thread serves the chat, so nobody else looks at it meanwhile.
struct hall {
  struct room {
    std::size_t people = 0;  // on all nodes, as presence says
    std::deque<json> recent;
  };
  std::map<std::string, room, std::less<>> rooms;

  /// A new one if need be. Of rooms that nobody is in only the last few are remembered.
  [[nodiscard]] room& at(std::string_view name) {
    if (auto const known = rooms.find(name); known != rooms.end()) return known->second;
    for (auto r = rooms.begin(); rooms.size() > 100 && r != rooms.end();)
      r = r->second.people == 0 ? rooms.erase(r) : std::next(r);
    return rooms[std::string(name)];
  }
  [[nodiscard]] phx::payload list() const {
    json busy = json::array();
    for (auto const& [name, r] : rooms)
      if (r.people != 0) busy.push_back({{"name", name}, {"people", r.people}});
    return json{{"rooms", std::move(busy)}};
  }
  void keep(std::string_view name, json message) {
    auto& recent = at(name).recent;
    recent.push_back(std::move(message));
    if (recent.size() > kept) recent.pop_front();
  }
};

[[nodiscard]] std::string trimmed(std::string_view text) {
  constexpr std::string_view spaces = " \t\r\n";
  std::size_t const first = text.find_first_not_of(spaces);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(spaces) - first + 1));
}
[[nodiscard]] phx::payload because(std::string const& reason) { return json{{"reason", reason}}; }

struct hello {
  std::string name;
};
struct line {
  std::string text;
};
void from_json(json const& j, hello& h) { j.at("name").get_to(h.name); }
void from_json(json const& j, line& l) { j.at("text").get_to(l.text); }

/// One tab of somebody in one room.
class member {
 public:
  member(hall& all, phx::presence& presence, phx::endpoint& everywhere, phx::payload meta)
      : hall_(all), presence_(presence), everywhere_(everywhere), meta_(std::move(meta)) {}

  phx::join_result join(phx::joining& j, phx::message const& in) {
    room_ = std::string(j.topic().substr(before_name.size()));
    if (room_.empty() || room_.size() > longest_name)
      return phx::join_result::error(because("the room's name is too long: 24 bytes at most"));
    auto const answer = in.payload.get<hello>();
    name_ = answer ? trimmed(answer->name) : "";
    if (name_.empty()) return phx::join_result::error(because("the name is empty"));
    if (name_.size() > longest_name) return phx::join_result::error(because("the name is too long: 24 bytes at most"));
    // From now on until this channel ends; a page that is loaded anew is back before anybody has noticed.
    auto const tracked = presence_.track(j, name_, meta_);
    if (!tracked) return phx::join_result::error(phx::presence::reason(tracked.error().code));
    j.send("joined");
    return phx::join_result::ok(json{{"recent", hall_.at(room_).recent}});
  }

  phx::outcome handle_info(phx::context& ctx, phx::message const&) {
    ctx.push("presence_state", presence_.list(ctx.topic()));
    return phx::outcome::noreply();
  }

  phx::outcome say(phx::context& ctx, line const& answer) {
    if (trimmed(answer.text).empty()) return phx::outcome::reply(phx::status::error, because("nothing was said"));
    if (answer.text.size() > longest_text)
      return phx::outcome::reply(phx::status::error, because("too long: 4000 bytes at most"));
    auto const at =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
    json message{{"from", name_}, {"text", answer.text}, {"at", at.count()}};
    phx::payload const wire = message;
    ctx.broadcast("said", wire);  // to the clients of all nodes
    (void)everywhere_.to_others({heard, room_, wire, {}});
    hall_.keep(room_, std::move(message));
    return phx::outcome::reply();
  }
  /// The page is about to disconnect because it was told to, not because the network failed.
  phx::outcome going(phx::context& ctx) {
    presence_.untrack(ctx);
    return phx::outcome::noreply();
  }
  phx::outcome crash(phx::context&) { throw std::runtime_error("somebody pressed the button"); }

  static constexpr auto events =
      phx::events(phx::on<&member::say>("say"), phx::on<&member::going>("going"), phx::on<&member::crash>("crash"));

 private:
  hall& hall_;
  phx::presence& presence_;
  phx::endpoint& everywhere_;
  phx::payload meta_;
  std::string room_, name_;
};

/// Tells twice a second what the loop has done.
class meter {
 public:
  meter(hall& all, phx::payload node) : hall_(all), node_(std::move(node)) {}

  phx::join_result join(phx::joining& j, phx::message const&) {
    j.send("rooms");
    j.send("tick");
    return phx::join_result::ok(node_);
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    if (in.event == "rooms") {
      ctx.push("rooms", hall_.list());
      return phx::outcome::noreply();
    }
    phx::loop const& l = ctx.event_loop();
    ctx.push("stats", json{{"frames_in", l.traffic().messages_in},
                           {"frames_out", l.traffic().messages_out},
                           {"bytes_out", l.traffic().bytes_out},
                           {"clients", l.sockets()},
                           {"channels", l.channels()}});
    (void)ctx.send_after(std::chrono::milliseconds(500), "tick");
    return phx::outcome::noreply();
  }

 private:
  hall& hall_;
  phx::payload node_;
};

/// The page, read once.
[[nodiscard]] std::map<std::string, phx::http_answer, std::less<>> page() {
  std::map<std::string, phx::http_answer, std::less<>> files;
  auto const add = [&](char const* path, std::string const& file, char const* type) {
    std::ifstream in(EXAMPLE_DIR "/" + file, std::ios::binary);
    if (!in) std::fprintf(stderr, "cannot read %s\n", file.c_str());
    std::string body{std::istreambuf_iterator<char>(in), {}};
    files[path] = {200, {{"content-type", type}, {"cache-control", "no-cache"}}, std::move(body)};
  };
  add("/", "page/index.html", "text/html; charset=utf-8");
  add("/app.js", "page/app.js", "text/javascript; charset=utf-8");
  add("/meter.js", "page/meter.js", "text/javascript; charset=utf-8");
  add("/style.css", "page/style.css", "text/css; charset=utf-8");
  add("/phoenix.mjs", "node_modules/phoenix/priv/static/phoenix.mjs", "text/javascript; charset=utf-8");
  return files;
}

struct asked_for {
  std::uint16_t port = 4000;
  std::string redis_host{};  // none: this node is the only one
  std::uint16_t redis_port = 0;
  std::string node{};
  std::int64_t silence = 30'000;  // milliseconds; a node not heard for so long is gone, and its people with it
};

template <class Number>
bool read(std::string_view text, Number& into) {
  auto const [stopped, wrong] = std::from_chars(text.data(), text.data() + text.size(), into);
  return wrong == std::errc{} && stopped == text.data() + text.size();
}
std::optional<asked_for> read(std::vector<std::string_view> const& words) {
  asked_for item;
  if (words.size() % 2 != 0) return std::nullopt;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    std::string_view const name = words[i], value = words[i + 1];
    if (name == "--port" && read(value, item.port)) continue;
    if (name == "--silence" && read(value, item.silence) && item.silence >= 200 && item.silence <= 3'600'000) continue;
    if (name == "--node" && !value.empty()) {
      item.node = value;
      continue;
    }
    std::size_t const colon = value.rfind(':');
    if (name != "--redis" || colon == value.npos || !read(value.substr(colon + 1), item.redis_port)) return std::nullopt;
    item.redis_host = value.substr(0, colon);
  }
  return item;
}

}  // namespace

int main(int argc, char** argv) try {
  auto const flags = read({argv + 1, argv + argc});
  if (!flags) {
    std::fprintf(stderr, "usage: chat [--port P] [--redis HOST:PORT] [--node NAME] [--silence MS]\n");
    return 2;
  }
#ifdef WITH_REDIS
  std::optional<phx::redis::pubsub> between;  // outlives the server
  if (!flags->redis_host.empty()) {
    phx::redis::options redis;
    redis.host = flags->redis_host;
    redis.port = flags->redis_port;
    redis.node = flags->node;
    redis.on_change = [name = flags->node](phx::redis::change const& c) {
      std::printf("%s: Redis is %s%.*s\n", name.c_str(), c.connected ? "there" : "away: ", static_cast<int>(c.reason.size()),
                  c.reason.data());
      std::fflush(stdout);
    };
    between.emplace(std::move(redis));
  }
#else
  if (!flags->redis_host.empty()) {
    std::fprintf(stderr, "--redis: this chat was built without Redis; install libhiredis-dev and build it again\n");
    return 2;
  }
#endif

  phx::presence_options opts;
  opts.nodes.down = std::chrono::milliseconds(flags->silence);
  opts.nodes.period = opts.nodes.down / (2 * opts.nodes.silent_periods);  // as Phoenix relates them
  phx::presence presence(opts);
  hall all;
  phx::router app;
  phx::mount const mount{.origins = {"//localhost", "//127.0.0.1"}, .longpoll = true};

  boost::asio::io_context io;
  struct {
    boost::asio::io_context& io;
    hall& all;
  } remembers{io, all};
  phx::beast::server server(io, {.port = flags->port, .loops = 1});
  phx::endpoint& everywhere = server.endpoint();
  phx::payload const node = flags->node.empty() ? phx::payload{} : json{{"node", flags->node}};
  app.channel("room:*", [&](phx::anonymous const&) { return member(all, presence, everywhere, node); });
  app.channel("stats", [&](phx::anonymous const&) { return meter(all, node); });

  presence.handle_metas([&](phx::presence_change const& c) {
    auto const present = c.present.get<json>();
    if (!present || !c.topic.starts_with(before_name)) return;
    all.at(c.topic.substr(before_name.size())).people = present->size();
    (void)everywhere.local_broadcast("stats", "rooms", all.list());  // every node tells its own clients
  });
  // What is said on other nodes reaches this one's clients by itself; this is so that it is remembered as well.
  everywhere.listen(heard, {&remembers, [](void* self, phx::broadcast const& b) noexcept {
                              auto* const to = static_cast<decltype(remembers)*>(self);
                              boost::asio::post(to->io, [to, room = std::string(b.event), said = b.payload] {
                                if (auto message = said.get<json>(); message && message->is_object())
                                  to->all.keep(room, *std::move(message));
                              });
                            }});
#ifdef WITH_REDIS
  if (between) everywhere.attach(*between);
#endif
  presence.start(everywhere);

  server.serve(app, mount);
  server.route([files = page()](phx::request const& r) -> std::optional<phx::http_answer> {
    auto const file = files.find(r.path);
    if (file == files.end() || r.method != "GET") return std::nullopt;
    return file->second;
  });
  server.start();
  std::printf("open http://127.0.0.1:%d/%s%s\n", int{server.port()}, flags->node.empty() ? "" : "   node ",
              flags->node.c_str());
  std::fflush(stdout);

  boost::asio::signal_set stop(io, SIGINT, SIGTERM);
  stop.async_wait([&](boost::system::error_code, int) { server.drain(); });
  io.run();
} catch (std::exception const& wrong) {
  std::fprintf(stderr, "chat: %s\n", wrong.what());
  return 1;
}

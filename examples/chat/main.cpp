// A chat with rooms, presence, several nodes, and live charts of phx's work. README.md specifies the protocol of page and
// server.
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
constexpr std::string_view history_topic = "chat_history";  // on which nodes send each other messages for their histories

/// The recent messages of all rooms on this node. The chat runs on one thread, so no lock is needed.
struct history {
  struct room {
    std::size_t people = 0;  // on all nodes, by presence
    std::deque<json> recent;
  };
  std::map<std::string, room, std::less<>> rooms;

  /// The room of that name; creates it if necessary. At most 100 rooms are kept, except those with people in them.
  [[nodiscard]] room& at(std::string_view name) {
    if (auto const known = rooms.find(name); known != rooms.end()) return known->second;
    for (auto r = rooms.begin(); rooms.size() > 100 && r != rooms.end();)
      r = r->second.people == 0 ? rooms.erase(r) : std::next(r);
    return rooms[std::string(name)];
  }
  [[nodiscard]] phx::payload list() const {
    json list = json::array();
    for (auto const& [name, r] : rooms)
      if (r.people != 0) list.push_back({{"name", name}, {"people", r.people}});
    return json{{"rooms", std::move(list)}};
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
[[nodiscard]] phx::payload reason_of(std::string const& reason) { return json{{"reason", reason}}; }

struct join_params {
  std::string name;
};
struct line {
  std::string text;
};
void from_json(json const& j, join_params& p) { j.at("name").get_to(p.name); }
void from_json(json const& j, line& l) { j.at("text").get_to(l.text); }

/// The channel of one tab in one room.
class member {
 public:
  member(history& all, phx::presence& presence, phx::endpoint& endpoint, phx::payload meta)
      : history_(all), presence_(presence), endpoint_(endpoint), meta_(std::move(meta)) {}

  phx::join_result join(phx::joining& j, phx::message const& in) {
    room_ = std::string(j.topic().substr(before_name.size()));
    if (room_.empty() || room_.size() > longest_name)
      return phx::join_result::error(reason_of("the room's name is too long: 24 bytes at most"));
    auto const params = in.payload.get<join_params>();
    name_ = params ? trimmed(params->name) : "";
    if (name_.empty()) return phx::join_result::error(reason_of("the name is empty"));
    if (name_.size() > longest_name) return phx::join_result::error(reason_of("the name is too long: 24 bytes at most"));
    // Tracked until this channel ends; a reloaded page is back before presence reports a leave.
    auto const tracked = presence_.track(j, name_, meta_);
    if (!tracked) return phx::join_result::error(phx::presence::reason(tracked.error().code));
    j.send("joined");
    return phx::join_result::ok(json{{"recent", history_.at(room_).recent}});
  }

  phx::outcome handle_info(phx::context& ctx, phx::message const&) {
    ctx.push("presence_state", presence_.list(ctx.topic()));
    return phx::outcome::noreply();
  }

  phx::outcome say(phx::context& ctx, line const& l) {
    if (trimmed(l.text).empty()) return phx::outcome::reply(phx::status::error, reason_of("the message is empty"));
    if (l.text.size() > longest_text)
      return phx::outcome::reply(phx::status::error, reason_of("the message is too long: 4000 bytes at most"));
    auto const at =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
    json message{{"from", name_}, {"text", l.text}, {"at", at.count()}};
    phx::payload const wire = message;
    ctx.broadcast("said", wire);  // to the clients of all nodes
    (void)endpoint_.to_other_nodes({history_topic, room_, wire, {}});
    history_.keep(room_, std::move(message));
    return phx::outcome::reply();
  }
  /// The page is about to disconnect on purpose, so the entry need not linger.
  phx::outcome going(phx::context& ctx) {
    presence_.untrack(ctx);
    return phx::outcome::noreply();
  }
  phx::outcome crash(phx::context&) { throw std::runtime_error("the crash button was pressed"); }

  static constexpr auto events =
      phx::events(phx::on<&member::say>("say"), phx::on<&member::going>("going"), phx::on<&member::crash>("crash"));

 private:
  history& history_;
  phx::presence& presence_;
  phx::endpoint& endpoint_;
  phx::payload meta_;
  std::string room_, name_;
};

/// Pushes the loop's counters twice a second.
class meter {
 public:
  meter(history& all, phx::payload node) : history_(all), node_(std::move(node)) {}

  phx::join_result join(phx::joining& j, phx::message const&) {
    j.send("rooms");
    j.send("tick");
    return phx::join_result::ok(node_);
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const& in) {
    if (in.event == "rooms") {
      ctx.push("rooms", history_.list());
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
  history& history_;
  phx::payload node_;
};

/// The files of the page, read at start.
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

struct command_line {
  std::uint16_t port = 4000;
  std::string redis_host{};  // empty: this is the only node
  std::uint16_t redis_port = 0;
  std::string node{};
  std::int64_t silence = 30'000;  // milliseconds; after this time without a message a node is down, and its people leave
};

template <class Number>
bool read(std::string_view text, Number& into) {
  auto const [stopped, fault] = std::from_chars(text.data(), text.data() + text.size(), into);
  return fault == std::errc{} && stopped == text.data() + text.size();
}
std::optional<command_line> read(std::vector<std::string_view> const& words) {
  command_line args;
  if (words.size() % 2 != 0) return std::nullopt;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    std::string_view const name = words[i], value = words[i + 1];
    if (name == "--port" && read(value, args.port)) continue;
    if (name == "--silence" && read(value, args.silence) && args.silence >= 200 && args.silence <= 3'600'000) continue;
    if (name == "--node" && !value.empty()) {
      args.node = value;
      continue;
    }
    std::size_t const colon = value.rfind(':');
    if (name != "--redis" || colon == value.npos || !read(value.substr(colon + 1), args.redis_port)) return std::nullopt;
    args.redis_host = value.substr(0, colon);
  }
  return args;
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
      std::printf("%s: Redis %s%.*s\n", name.c_str(),
                  c.connected ? "connected" : "disconnected: ", static_cast<int>(c.reason.size()), c.reason.data());
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
  opts.nodes.period = opts.nodes.down / (2 * opts.nodes.silent_periods);  // the same ratio as in Phoenix
  phx::presence presence(opts);
  history rooms;
  phx::router app;
  phx::mount const mount{.origins = {"//localhost", "//127.0.0.1"}, .longpoll = true};

  boost::asio::io_context io;
  struct {
    boost::asio::io_context& io;
    history& rooms;
  } recorder{io, rooms};
  phx::beast::server server(io, {.port = flags->port, .loops = 1});
  phx::endpoint& endpoint = server.endpoint();
  phx::payload const node = flags->node.empty() ? phx::payload{} : json{{"node", flags->node}};
  app.channel("room:*", [&](phx::anonymous const&) { return member(rooms, presence, endpoint, node); });
  app.channel("stats", [&](phx::anonymous const&) { return meter(rooms, node); });

  presence.handle_metas([&](phx::presence_change const& c) {
    auto const present = c.present.get<json>();
    if (!present || !c.topic.starts_with(before_name)) return;
    rooms.at(c.topic.substr(before_name.size())).people = present->size();
    (void)endpoint.local_broadcast("stats", "rooms", rooms.list());  // each node informs its own clients
  });
  // Broadcasts of other nodes reach the clients of this one by themselves; this records them in its history as well.
  endpoint.listen(history_topic, {&recorder, [](void* self, phx::broadcast const& b) noexcept {
                                    auto* const to = static_cast<decltype(recorder)*>(self);
                                    boost::asio::post(to->io, [to, room = std::string(b.event), message = b.payload] {
                                      if (auto object = message.get<json>(); object && object->is_object())
                                        to->rooms.keep(room, *std::move(object));
                                    });
                                  }});
#ifdef WITH_REDIS
  if (between) endpoint.attach(*between);
#endif
  presence.start(endpoint);

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
} catch (std::exception const& error) {
  std::fprintf(stderr, "chat: %s\n", error.what());
  return 1;
}

// Rooms, names, several tabs, and what phx does beneath, drawn live. What page and server agree on is in README.md.
#include <phx/adapter/beast.hpp>
#include <phx/adapter/nlohmann.hpp>
#include <phx/phx.hpp>

#include <boost/asio/signal_set.hpp>

#include <csignal>
#include <cstdio>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>

namespace {

using json = nlohmann::json;

/// What the server remembers. One loop serves the chat, so nobody else looks at it meanwhile.
struct hall {
  struct room {
    std::vector<std::string> names;
    std::deque<json> recent;
  };
  std::map<std::string, room, std::less<>> rooms;

  [[nodiscard]] phx::payload list() const {
    json all = json::array();
    for (auto const& [name, r] : rooms)
      if (!r.names.empty()) all.push_back({{"name", name}, {"people", r.names.size()}});
    return phx::to_payload(json{{"rooms", std::move(all)}});
  }
  /// Messages of rooms that nobody is in are kept for the last few of them only.
  void forget_some() {
    for (auto r = rooms.begin(); rooms.size() > 100 && r != rooms.end();)
      r = r->second.names.empty() ? rooms.erase(r) : std::next(r);
  }
};

constexpr std::size_t longest_name = 24, longest_text = 4000, kept = 50;

[[nodiscard]] std::string trimmed(std::string_view text) {
  constexpr std::string_view spaces = " \t\r\n";
  std::size_t const first = text.find_first_not_of(spaces);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(spaces) - first + 1));
}
[[nodiscard]] phx::payload because(std::string const& reason) { return phx::to_payload(json{{"reason", reason}}); }

struct hello {
  std::string name;
};
struct line {
  std::string text;
};
void from_json(json const& j, hello& h) { j.at("name").get_to(h.name); }
void from_json(json const& j, line& l) { j.at("text").get_to(l.text); }

/// One member of one room.
class member {
 public:
  using json = phx::nlohmann_json;
  explicit member(hall& all) : hall_(all) {}

  phx::join_result join(phx::joining& j, phx::message const& in) {
    room_ = std::string(j.topic().substr(std::string_view("room:").size()));
    if (room_.empty() || room_.size() > longest_name)
      return phx::join_result::error(because("the room's name is too long: 24 bytes at most"));
    auto const said = phx::parse<hello>(in.payload);
    name_ = said ? trimmed(said->name) : "";
    if (name_.empty()) return phx::join_result::error(because("the name is empty"));
    if (name_.size() > longest_name) return phx::join_result::error(because("the name is too long: 24 bytes at most"));
    hall_.forget_some();
    hall_.rooms[room_].names.push_back(name_);
    present_ = true;
    j.send("after_join");
    return phx::join_result::ok(phx::to_payload(nlohmann::json{{"recent", hall_.rooms[room_].recent}}));
  }

  phx::outcome handle_info(phx::context& here, phx::message const&) {
    here.push("members", phx::to_payload(nlohmann::json{{"names", hall_.rooms[room_].names}}));
    here.broadcast_from("joined", phx::to_payload(nlohmann::json{{"name", name_}}));
    here.publish("stats", "rooms", hall_.list());
    return phx::outcome::noreply();
  }

  phx::outcome say(phx::context& here, line const& said) {
    if (trimmed(said.text).empty()) return phx::outcome::reply(phx::status::error, because("nothing was said"));
    if (said.text.size() > longest_text) return phx::outcome::reply(phx::status::error, because("too long: 4000 bytes at most"));
    auto const at = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch());
    nlohmann::json message{{"from", name_}, {"text", said.text}, {"at", at.count()}};
    here.broadcast("said", phx::to_payload(message));
    auto& recent = hall_.rooms[room_].recent;
    recent.push_back(std::move(message));
    if (recent.size() > kept) recent.pop_front();
    return phx::outcome::reply();
  }
  phx::outcome crash(phx::context&) { throw std::runtime_error("somebody pressed the button"); }

  static constexpr auto events = phx::events(phx::on<&member::say>("say"), phx::on<&member::crash>("crash"));

  void terminate(phx::context& here, phx::exit_reason) noexcept {
    if (!present_) return;  // the join was refused
    auto& names = hall_.rooms[room_].names;
    if (auto const mine = std::find(names.begin(), names.end(), name_); mine != names.end()) names.erase(mine);
    here.broadcast_from("left", phx::to_payload(nlohmann::json{{"name", name_}}));
    here.publish("stats", "rooms", hall_.list());
  }

 private:
  hall& hall_;
  std::string room_, name_;
  bool present_ = false;
};

/// Tells twice a second what the loop has done.
class meter {
 public:
  explicit meter(hall& all) : hall_(all) {}

  phx::join_result join(phx::joining& j, phx::message const&) {
    j.send("rooms");
    j.send("tick");
    return phx::join_result::ok();
  }
  phx::outcome handle_info(phx::context& here, phx::message const& in) {
    if (in.event == "rooms") {
      here.push("rooms", hall_.list());
      return phx::outcome::noreply();
    }
    phx::loop const& l = here.here();
    here.push("stats", phx::to_payload(json{{"frames_in", l.traffic().messages_in},
                                            {"frames_out", l.traffic().messages_out},
                                            {"bytes_out", l.traffic().bytes_out},
                                            {"clients", l.sockets()},
                                            {"channels", l.channels()}}));
    here.send_after(std::chrono::milliseconds(500), "tick");
    return phx::outcome::noreply();
  }

 private:
  hall& hall_;
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

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 4000;
  if (argc == 3) port = static_cast<std::uint16_t>(std::atoi(argv[2]));  // --port P

  hall all;
  phx::router app;
  app.channel("room:*", [&](phx::anonymous const&) { return member(all); });
  app.channel("stats", [&](phx::anonymous const&) { return meter(all); });
  phx::mount const mount{.origins = {"//localhost", "//127.0.0.1"}, .longpoll = true};

  boost::asio::io_context io;
  phx::beast::server server(io, {.port = port, .loops = 1});
  server.serve(app, mount);
  server.route([files = page()](phx::request const& r) -> std::optional<phx::http_answer> {
    auto const file = files.find(r.path);
    if (file == files.end() || r.method != "GET") return std::nullopt;
    return file->second;
  });
  server.start();
  std::printf("open http://127.0.0.1:%d/\n", int{server.port()});
  std::fflush(stdout);

  boost::asio::signal_set stop(io, SIGINT, SIGTERM);
  stop.async_wait([&](boost::system::error_code, int) { server.drain(); });
  io.run();
}

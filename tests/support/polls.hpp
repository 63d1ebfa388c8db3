#ifndef PHX_TESTS_SUPPORT_POLLS_HPP
#define PHX_TESTS_SUPPORT_POLLS_HPP
// A long-polling browser, and the loops and services that serve it.

#include <phx/longpoll/longpoll.hpp>
#include <phx/testing/fake_loop.hpp>

#include <support/room.hpp>

#include <memory>

namespace support {

/// The response to a request, as text.
struct poll_result {
  int status = 0;  // the HTTP status; 0: no response yet
  std::string body{};
  std::map<std::string, std::string> headers{};
  std::optional<phx::refusal> refused{};
  [[nodiscard]] std::string token() const {
    std::size_t const at = body.find(R"("token":")");
    return at == std::string::npos ? "" : body.substr(at + 9, body.find('"', at + 9) - at - 9);
  }
  [[nodiscard]] std::string messages() const {  // unescaped as far as tests need it
    std::size_t const at = body.find(R"("messages":[)");
    if (at == std::string::npos) return "none";
    std::string out;
    std::string const inside = body.substr(at + 12, body.rfind(R"(],"status")") - at - 12);
    for (std::size_t i = 0; i < inside.size(); ++i) {
      if (inside[i] == '\\') ++i;
      out += inside[i];
    }
    return out;
  }
  [[nodiscard]] bool says(int code) const {
    return status == 200 && body.find("\"status\":" + std::to_string(code)) != std::string::npos;
  }
};

/// One HTTP connection.
struct tab {
  phx::longpoll::poll_request asked{*this};
  poll_result last{};
  std::vector<phx::longpoll::response> held{};
  bool hold = false;   // responses are not written
  bool fails = false;  // their writes fail
  int responses = 0;

  void respond(phx::longpoll::response r) noexcept {
    ++responses;
    last = {};
    last.status = r.status();
    last.body = std::string(r.body());
    last.refused = r.refused();
    r.each_header(
        [&](std::string_view name, std::string_view value) { last.headers[std::string(name)] = std::string(value); });
    if (hold)
      held.push_back(std::move(r));
    else
      fails ? r.failed() : r.written();
  }
};

struct asked_for {
  std::string_view method = "GET";
  std::string token{};
  std::string_view body{};
  std::string_view type = "application/json";
  std::vector<phx::header> headers{};
  std::string_view query = "vsn=2.0.0";
  std::string_view path = "/socket/longpoll";
  bool in_header = false;
};

/// The loops of one server, with long-polling at /socket.
struct polls {
  struct polled_rooms;
  using service = phx::longpoll::service_for<polled_rooms>;
  explicit polls(std::size_t loops = 1, phx::longpoll::options const& opts = {}, phx::mount at = {},
                 phx::limits const& of_loops = {}, std::uint32_t most = 100'000, phx::longpoll::entropy chance = {})
      : mount(with_longpoll(std::move(at))), sessions(most, chance, of_loops.memory), local(loops, of_loops), options(opts) {
    for (std::size_t i = 0; i < loops; ++i)
      services.push_back(std::make_unique<service>(sessions, local[i], mount, dispatcher, opts));
  }
  static phx::mount with_longpoll(phx::mount m) {
    m.longpoll = true;
    if (m.origins.unset()) m.origins = phx::check_origin{"//localhost"};
    return m;
  }

  void ask(tab& t, asked_for const& item, std::size_t loop = 0) {
    std::string query(item.query);
    std::vector<phx::header> headers = item.headers;
    if (!item.token.empty() && item.in_header) headers.push_back({"X-Phoenix-LongPoll-Token", item.token});
    if (!item.token.empty() && !item.in_header) query += "&token=" + item.token;
    if (item.method == "POST") headers.push_back({"Content-Type", item.type});
    // the request's data is invalid once serve has returned
    auto const target = std::make_unique<std::string>(std::string(item.path) + (query.empty() ? "" : "?" + query));
    auto const body = std::make_unique<std::string>(item.body);
    services[loop]->serve(t.asked, phx::request::of(item.method, *target, headers, {"127.0.0.1", 50'000, {}}), *body,
                          local.now());
  }
  poll_result now(asked_for const& item, std::size_t loop = 0) {
    tab t;
    ask(t, item, loop);
    local.settle();
    return t.last;
  }
  std::string open(std::size_t loop = 0, std::string_view query = "vsn=2.0.0") {
    poll_result const g = now({.query = query}, loop);
    return g.says(410) ? g.token() : "";
  }
  poll_result post(std::string const& token, std::string_view body, std::size_t loop = 0) {
    return now({.method = "POST", .token = token, .body = body}, loop);
  }
  poll_result batch(std::string const& token, std::string_view body, std::size_t loop = 0) {
    return now({.method = "POST", .token = token, .body = body, .type = "application/x-ndjson"}, loop);
  }
  poll_result poll(std::string const& token, std::size_t loop = 0) { return now({.token = token}, loop); }
  /// Joins room:a and takes the reply. @return the token
  std::string joined(std::size_t loop = 0) {
    std::string token = open(loop);
    (void)post(token, R"(["1","1","room:a","phx_join",{}])", loop);
    (void)poll(token, loop);
    return token;
  }

  journal log{};
  /// `room:*`, for clients whose query has their name (`user`), or a reason to refuse them (`reject`).
  struct polled_rooms : phx::router<user> {
    explicit polled_rooms(journal& j)
        : phx::router<user>([&j](phx::connect_info const& from) -> phx::connect_outcome<user> {
            if (auto const no = from.param("reject"))
              return phx::http_answer{*no == "429" ? std::uint16_t{429} : std::uint16_t{403}, {}, "not you"};
#ifdef __cpp_exceptions
            if (from.param("boom")) throw std::runtime_error("connect exploded");
#endif
            phx::connected<user> yes{{&j, "ann"}, {}};
            if (auto const user = from.param("user")) yes.id = "user:" + std::string(*user);
            return yes;
          }) {
      channel<room>("room:*");
    }
  };
  polled_rooms dispatcher{log};
  phx::mount mount;
  phx::longpoll::sessions sessions;
  phx::testing::fake_loops local;
  phx::longpoll::options options;
  std::vector<std::unique_ptr<service>> services{};
};

}  // namespace support

#endif

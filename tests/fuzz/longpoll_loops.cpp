// Long-polling on two loops. The input is a program of opens, polls, posts, replacements, cancels, disconnects, failed
// writes, time jumps, destroyed services, and failing allocations. Each request is answered once, and each frame reaches its
// client once and in order, unless its session has ended for a known reason; at the end all memory is released.
#include <phx/channel/router.hpp>
#include <phx/longpoll/longpoll.hpp>

#include "oracle.hpp"

#include <charconv>
#include <deque>
#include <map>
#include <set>

namespace {

using oracle::require;
using namespace std::chrono_literals;

// ---- memory that fails and is counted

struct counted_memory {
  static inline std::ptrdiff_t bytes = 0;
  static inline std::uint32_t until_failure = UINT32_MAX;  // allocations that still succeed
  static inline bool all_fail = false;
  static inline bool failed = false;  // since the last reset

  [[nodiscard]] static phx::memory hook() {
    return {[](std::size_t n) noexcept -> void* {
              bool const fails = all_fail || until_failure == 0;
              if (until_failure != UINT32_MAX) --until_failure;
              if (fails) {
                failed = true;
                return nullptr;
              }
              bytes += static_cast<std::ptrdiff_t>(n);
              return std::malloc(n);
            },
            [](void* p, std::size_t n) noexcept {
              bytes -= static_cast<std::ptrdiff_t>(n);
              std::free(p);
            }};
  }
};

// ---- loops that can be run one by one

struct bell {
  bool woken = false;
  void wake() noexcept { woken = true; }
};
struct one_loop {
  bell waker{};
  phx::loop loop;
  phx::time_point due = (phx::time_point::max)();
  explicit one_loop(phx::endpoint& everywhere, phx::limits const& bounds) : loop(everywhere, waker, bounds) {}
  bool run(phx::time_point now) {
    if (!waker.woken && due > now) return false;
    waker.woken = false;
    due = loop.run(now);
    return true;
  }
};

// ---- the model of a client, from its first poll to the end of its session

struct client {
  std::string token{};
  std::uint32_t sent = 0;  // numbers that its channel pushed
  std::set<std::uint32_t> received{};
  bool in_order = true;  // nothing happened that may change the order
  bool may_end = false;
};

struct numbers {  // the channel
  client* of;
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    std::string text = R"({"n":)" + std::to_string(of->sent) + "}";
    if (in.event == "count" && ctx.push("number", phx::payload::json(text))) ++of->sent;
    return phx::outcome::noreply();
  }
};

struct world;

/// One HTTP connection.
struct connection {
  enum mode_t : std::uint8_t { writes, holds, fails };
  struct held {
    phx::longpoll::response response;
    client* to;
    std::vector<std::uint32_t> frames;
  };
  explicit connection(world& w) : in(&w) {}
  void respond(phx::longpoll::response r) noexcept;

  world* in;
  phx::longpoll::poll_request exchange{*this};
  mode_t mode = writes;
  bool asked = false;  // a response is due
  bool opens = false;
  std::uint32_t user = 0;
  client* polls = nullptr;
  std::uint16_t status = 0;
  std::string body{};
  std::vector<held> unwritten{};
};

struct world {
  static constexpr phx::duration window = 10s;
  static constexpr std::size_t most_clients = 6;

  phx::limits bounds = [] {
    phx::limits l;
    l.memory = counted_memory::hook();
    l.mailbox_bytes = 100'000;  // so small that no frames are kept
    return l;
  }();
  std::deque<client> clients{};
  std::map<std::string, client*, std::less<>> by_token{};
  phx::router<client*> app{[this](phx::connect_info const& from) -> phx::connect_outcome<client*> {
    std::size_t user = 0;
    std::string_view const text = from.param("user").value_or("0");
    std::from_chars(text.data(), text.data() + text.size(), user);
    return phx::connected<client*>{&clients[user], "user:" + std::string(text)};
  }};
  phx::mount mount{.path = "/socket", .longpoll = true};
  phx::endpoint everywhere{};
  phx::longpoll::sessions sessions{100, {}, bounds.memory};
  std::deque<one_loop> loops{};
  using service = phx::longpoll::service_for<decltype(app)>;
  std::optional<service> services[2];
  std::optional<connection> connections[3];
  phx::time_point now{std::chrono::hours(1)};
  bool memory_failed = false;
  bool service_went = false;  // its unwritten responses are lost

  world() {
    app.channel("room:*", [](client* const& client) { return numbers{client}; });
    for (int i = 0; i < 2; ++i) loops.emplace_back(everywhere, bounds);
    for (std::size_t i = 0; i < 2; ++i) start(i);
    for (auto& c : connections) c.emplace(*this);
  }
  void start(std::size_t i) {
    phx::longpoll::options opts;
    opts.window = window;
    services[i].emplace(sessions, loops[i].loop, mount, app, opts);
  }
  ~world() {
    for (auto& c : connections) c.reset();
    for (auto& s : services) s.reset();
  }

  void settle() {
    bool ran = true;
    for (int rounds = 0; ran; ++rounds) {
      require(rounds < 10'000, "the loops come to rest");
      ran = false;
      for (one_loop& l : loops) ran = l.run(now) || ran;
    }
  }
  void advance(phx::duration d) {
    phx::time_point const until = now + d;
    for (settle(); now < until; settle()) {
      phx::time_point next = until;
      for (one_loop const& l : loops) next = (std::min)(next, l.due);
      now = (std::max)(now, next);
      if (now == until) break;
    }
    settle();
  }
  void all_may_end() {
    for (client& c : clients) c.may_end = true;
  }

  /// Sends a request; the connection's waiting request is cancelled.
  void ask(connection& c, std::size_t at, char const* method, client* client, std::string_view body = {},
           bool batch = false) {
    if (c.polls != nullptr) c.polls->in_order = false;
    c.polls = client != nullptr && *method == 'G' ? client : nullptr;
    // of two polls on two loops, the later one may be answered first
    for (auto const& other : connections)
      if (c.polls != nullptr && &*other != &c && other->polls == c.polls) c.polls->in_order = false;
    c.opens = client == nullptr;
    std::string target = "/socket/longpoll?vsn=2.0.0";
    target += client != nullptr ? "&token=" + client->token : "&user=" + std::to_string(c.user);
    phx::header const type{"content-type", batch ? "application/x-ndjson" : "application/json"};
    c.asked = true;
    c.status = 0;
    services[at]->serve(c.exchange, phx::request::of(method, target, {&type, 1}), body, now);
    note_memory();
  }
  void open(connection& c, std::size_t at) {
    if (clients.size() == most_clients) return;
    clients.emplace_back();
    clients.back().may_end = memory_failed;
    c.user = static_cast<std::uint32_t>(clients.size() - 1);
    ask(c, at, "GET", nullptr);
  }
  void note_memory() {
    if (!std::exchange(counted_memory::failed, false)) return;
    memory_failed = true;
    all_may_end();
  }
  void hang_up(connection& c) {
    if (c.polls != nullptr) c.polls->in_order = false;
    c.polls = nullptr;
    c.asked = false;
  }

  void received(client& by, std::vector<std::uint32_t> const& frames, phx::longpoll::response& r) {
    r.written();
    for (std::uint32_t const n : frames) {
      require(by.received.insert(n).second, "no frame comes twice");
      if (by.in_order) require(n + 1 == by.received.size(), "frames come in their order");
    }
  }
};

void connection::respond(phx::longpoll::response r) noexcept {
  require(std::exchange(asked, false), "one response to each request, and none to what was cancelled");
  client* const waited = std::exchange(polls, nullptr);
  status = r.status();
  body = std::string(r.body());
  require(status == 200 || status == 400 || status == 500 || status == 503, "a known status");
  require(body.empty() || oracle::accepts(body), "the body is JSON");
  auto const says = [&](std::string_view code) { return body.find("\"status\":" + std::string(code)) != std::string::npos; };
  std::size_t const at = body.find(R"("token":")");
  std::string const token = at == std::string::npos ? "" : body.substr(at + 9, 43);

  if (status == 200 && says("410") && !token.empty()) {  // a new session
    if (!opens) {
      require(waited == nullptr || waited->may_end, "no session ends without a reason");
      return;  // of no client: it will not be polled
    }
    client& c = in->clients[user];
    c.token = token;
    in->by_token[token] = &c;
    return;
  }
  if (status != 200 || !says("200") || token.empty()) return;
  auto const known = in->by_token.find(token);
  require(known != in->by_token.end() && known->second == waited, "who polls gets its own frames");
  std::vector<std::uint32_t> frames;
  constexpr std::string_view mark = R"({\"n\":)";
  for (std::size_t from = 0; (from = body.find(mark, from)) != std::string::npos; from += mark.size()) {
    std::uint32_t n = 0;
    std::from_chars(body.data() + from + mark.size(), body.data() + body.size(), n);
    require(frames.empty() || frames.back() < n, "a response has its frames in order");
    require(n < waited->sent, "only what was sent");
    frames.push_back(n);
  }
  if (mode != writes) waited->in_order = false;
  if (mode == fails) return;  // destroyed without a report
  if (mode == holds) return unwritten.push_back({std::move(r), waited, std::move(frames)});
  in->received(*waited, frames, r);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  counted_memory::bytes = 0;
  counted_memory::until_failure = UINT32_MAX;
  counted_memory::all_fail = counted_memory::failed = false;
  if (size > 600) return 0;
  {
    world w;
    std::size_t at = 0;
    auto const byte = [&]() -> std::uint8_t { return at < size ? data[at++] : 0; };
    auto const somebody = [&](std::uint8_t b) -> client* {
      if (w.clients.empty()) return nullptr;
      client& c = w.clients[b % w.clients.size()];
      return c.token.empty() ? nullptr : &c;
    };
    constexpr std::string_view join = R"(["1","1","room:a","phx_join",{}])", count = R"(["1","2","room:a","count",{}])";
    while (at < size) {
      std::uint8_t const item = byte(), b = byte();
      connection& c = *w.connections[b % 3];
      std::size_t const loop = b >> 7;
      client* const client = somebody(static_cast<std::uint8_t>(b >> 2 & 15));
      switch (item % 19) {
        case 0: w.open(c, loop); break;
        case 1:
        case 2:
          if (client != nullptr) w.ask(c, loop, "GET", client);
          break;
        case 3:
          if (client != nullptr) w.ask(c, loop, "POST", client, join);
          break;
        case 4:
          if (client != nullptr) w.ask(c, loop, "POST", client, count);
          break;
        case 5:
          if (client != nullptr) {
            std::string lines(join);
            for (int n = byte() % 8; n > 0; --n) lines.append("\n").append(count);
            w.ask(c, loop, "POST", client, lines, true);
          }
          break;
        case 6:
          if (client != nullptr) {
            client->may_end = true;
            w.ask(c, loop, "POST", client, R"({"no":"message"})");
          }
          break;
        case 7:
          if (client != nullptr) w.ask(c, loop, "POST", client, "no base64", true);
          break;
        case 8:
          w.hang_up(c);
          c.exchange.cancel();
          break;
        case 9: {
          w.hang_up(c);
          c.exchange.cancel();  // otherwise its unwritten response would be written to it
          auto const mode = c.mode;
          w.connections[b % 3].emplace(w).mode = mode;
          break;
        }
        case 10: c.mode = static_cast<connection::mode_t>(b / 3 % 3); break;
        case 11:
          if (!c.unwritten.empty()) {  // moved out first: a failed response may answer a poll of this connection
            auto const at_one = c.unwritten.begin() + b / 3 % static_cast<std::ptrdiff_t>(c.unwritten.size());
            connection::held one = std::move(*at_one);
            c.unwritten.erase(at_one);
            if (b & 64)
              one.response.failed();
            else
              w.received(*one.to, one.frames, one.response);
          }
          break;
        case 12: {
          constexpr phx::duration jumps[] = {1ms, 100ms, 5s, world::window, 16s, 40s};
          phx::duration const d = jumps[b % 6];
          if (d >= 5s) w.all_may_end();  // several in a row exceed a window and a half
          if (b & 64)
            w.now += d;  // no loop runs meanwhile
          else
            w.advance(d);
          break;
        }
        case 13: (void)w.loops[loop].run(w.now); break;
        case 14: w.settle(); break;
        case 15:
          if (client != nullptr) {
            client->may_end = true;
            (void)w.everywhere.disconnect("user:" + std::to_string(client - &w.clients[0]));
          }
          break;
        case 16: counted_memory::until_failure = b % 64; break;
        case 17:
          counted_memory::all_fail = (b & 1) != 0;
          counted_memory::until_failure = UINT32_MAX;
          break;
        default: {  // a service is destroyed and replaced
          if (b & 63) break;
          bool const failing = std::exchange(counted_memory::all_fail, false);
          counted_memory::until_failure = UINT32_MAX;
          w.all_may_end();
          w.service_went = true;
          w.services[loop].reset();
          // the requests of its own loop get no response
          for (auto& each : w.connections)
            if (each->asked && !each->exchange.waiting()) w.hang_up(*each);
          w.start(loop);
          counted_memory::all_fail = failing;
        }
      }
      w.note_memory();
    }

    // The end: every response is written or failed, no request waits, and each client polls until it has all frames.
    counted_memory::all_fail = false;
    counted_memory::until_failure = UINT32_MAX;
    for (auto& c : w.connections) c->mode = connection::writes;
    for (auto& c : w.connections) {
      for (connection::held& h : std::exchange(c->unwritten, {})) {
        if (size & 1)
          h.response.failed();
        else
          w.received(*h.to, h.frames, h.response);
      }
      w.hang_up(*c);
      c->exchange.cancel();
    }
    w.settle();
    for (client& one : w.clients) {
      if (one.token.empty()) continue;
      std::size_t const loop = one.sent & 1;
      connection& c = *w.connections[0];
      for (int polls = 0;; ++polls) {
        require(polls < 1000, "a session does not answer for ever");
        w.ask(c, loop, "GET", &one);
        w.settle();
        if (c.asked) {
          require(w.service_went || one.received.size() == one.sent, "each frame came, or its session has ended");
          break;
        }
        require(c.status != 503, "with memory there are answers");
        if (c.body.find(R"("status":410)") != std::string::npos) break;
      }
      w.hang_up(c);
      c.exchange.cancel();
      w.settle();
    }
    w.advance(4 * world::window);
    require(w.sessions.size() == 0, "who is not polled has no session");
    for (one_loop& l : w.loops) require(l.loop.sockets() == 0, "nor a socket");
  }
  require(counted_memory::bytes == 0, "no byte is left");
  return 0;
}

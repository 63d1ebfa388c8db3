// Whole sockets. The input is a program of operations on two loops and up to six clients. Frames are split anywhere,
// transports refuse, callbacks and `close` destroy connections, the clock jumps, loops drain, and allocations fail.
// Invariants:
//   - after Transport::close, and after `gone`, the transport is not called again; it is closed at most once
// - each channel that its dispatcher made is terminated once, and destroyed once after that
//   - when all clients are gone the loops count no socket, channel or topic, and every allocation was released with its size
#include <phx/phx.hpp>
#include <phx/testing/fake_loop.hpp>

#include "oracle.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>

namespace {

using oracle::require;
using namespace std::chrono_literals;

// ---- memory that fails and is counted

struct heap {
  static inline std::ptrdiff_t blocks = 0;
  static inline std::size_t until_failure = SIZE_MAX;  // this many succeed, then `failures` fail
  static inline std::size_t failures = 0;

  static void reset() {
    blocks = 0;
    until_failure = SIZE_MAX;
    failures = 0;
  }
  static phx::memory hook() {
    return {[](std::size_t n) noexcept -> void* {
              if (until_failure != SIZE_MAX && (until_failure == 0 || --until_failure == 0) && failures != 0) {
                if (--failures == 0) until_failure = SIZE_MAX;
                return nullptr;
              }
              auto* const at = static_cast<std::size_t*>(std::malloc(n + sizeof(std::max_align_t)));
              *at = n;
              ++blocks;
              return reinterpret_cast<char*>(at) + sizeof(std::max_align_t);
            },
            [](void* p, std::size_t n) noexcept {
              auto* const at = reinterpret_cast<std::size_t*>(static_cast<char*>(p) - sizeof(std::max_align_t));
              require(*at == n, "memory is released with the size it was asked for");
              --blocks;
              std::free(at);
            }};
  }
};

// ---- the program

class program {
 public:
  program(std::uint8_t const* data, std::size_t size) : at_(data), end_(data + size) {}
  [[nodiscard]] bool empty() const { return at_ == end_; }
  [[nodiscard]] std::uint8_t byte() { return at_ == end_ ? std::uint8_t{0} : *at_++; }
  [[nodiscard]] std::string_view bytes(std::size_t n) {
    std::size_t const left = static_cast<std::size_t>(end_ - at_), take = n < left ? n : left;
    std::string_view const out(reinterpret_cast<char const*>(at_), take);
    at_ += take;
    return out;
  }

 private:
  std::uint8_t const* at_;
  std::uint8_t const* end_;
};

// ---- channels

struct world;

/// The history of one channel.
struct record {
  int terminated = 0, destroyed = 0;
};
struct life {
  explicit life(record& r) : of(&r) {}
  life(life&& other) noexcept : of(std::exchange(other.of, nullptr)) {}
  life& operator=(life&&) = delete;
  ~life() {
    if (of != nullptr) ++of->destroyed;
  }
  record* of;
};

struct dispatcher {
  using session_type = int;
  using channel_type = life;
  world* all = nullptr;

  phx::connect_outcome<int> connect(phx::connect_info const&) { return phx::connected<int>{0}; }
  bool matches(std::string_view topic) noexcept { return topic.starts_with("t"); }
  phx::join_result join(int&, phx::joining& j, phx::message const& in, phx::channel_place<life>& place);
  phx::outcome handle_in(life&, phx::context& ctx, phx::message const& in);
  phx::outcome handle_out(life&, phx::context& ctx, phx::broadcast const& b);
  phx::outcome handle_info(life&, phx::context& ctx, phx::message const& in);
  std::span<std::string_view const> intercepts(life const& l) noexcept;
  std::optional<phx::pressure_policy> when_slow(life const&) noexcept;
  void terminate(life& l, phx::context& ctx, phx::exit_reason) noexcept;
};

// ---- clients

struct client;
struct transport {
  client* to;
  phx::send_status send(phx::frame const& f) noexcept;
  void close(phx::close_frame) noexcept;
  [[nodiscard]] std::size_t buffered() const noexcept;
  void flush() noexcept;
  void pause_reading(bool paused) noexcept;
};
using socket = phx::socket<transport, dispatcher>;

struct client {
  std::unique_ptr<socket> held{};  // on the heap, so that a use after its end is detected
  std::size_t loop = 0;
  int closes = 0;
  bool over = false;  // closed, gone or destroyed
  bool destroys_in_close = false;
  phx::send_status answer = phx::send_status::ok;
  std::size_t waiting = 0;
};

struct world {
  explicit world(program& in) : input(in), loops(2, bounds()) {
    app.all = this;
    constexpr phx::pressure_policy policies[] = {phx::pressure_policy::close, phx::pressure_policy::drop_newest,
                                                 phx::pressure_policy::drop_oldest, phx::pressure_policy::keep_latest};
    for (std::size_t i = 0; i < mounts.size(); ++i) {
      mounts[i].bounds = bounds();
      mounts[i].bounds.pressure = policies[i];
      mounts[i].bounds.tell_dropped = i % 2 == 1;
      mounts[i].bounds.strict_encoding = i == 2;
    }
    mounts[1].bounds.inbound = {.messages = 20, .on_excess = phx::flood_policy::pause};
    mounts[2].bounds.inbound_channel = {.messages = 20, .bytes = 1000, .on_excess = phx::flood_policy::drop};
    mounts[3].bounds.inbound = {.bytes = 2000, .burst = std::chrono::seconds(3)};
    mounts[3].linger = mounts[1].linger = std::chrono::milliseconds(300);
  }
  static phx::limits bounds() {
    phx::limits l = phx::limits::for_small_machines();
    l.frame = 600;
    l.channels = 4;
    l.subscriptions = 3;
    l.channel_timers = 3;
    l.held_pushes = 2;
    l.outbound = 2000;
    l.timers = 16;
    l.mailbox = 24;
    l.memory = heap::hook();
    return l;
  }

  void open(client& c) {
    if (c.held) c.held.reset();
    std::uint8_t const bits = input.byte();
    phx::mount const& on = mounts[bits & 3];
    c.loop = bits >> 2 & 1;
    c.closes = 0;
    c.over = false;
    c.destroys_in_close = (bits & 8) != 0;
    c.answer = phx::send_status::ok;
    c.waiting = 0;
    phx::admission<int> in{};
    in.serializer = phx::choose(on.offered(), (bits & 16) != 0 ? "1.0.0" : "2.0.0");
    in.session.emplace(0);
    if ((bits & 32) != 0) in.id = "user";
    in.bounds = &on.bounds;
    in.linger = on.linger;
    old[static_cast<std::size_t>(&c - clients.data())] = (bits & 16) != 0;
    c.held = std::make_unique<socket>(loops[c.loop], app, std::move(in), transport{&c}, loops.now());
  }
  void give(client& c, phx::opcode op, std::string_view part, bool last) {
    if (!c.held || c.over) return;
    // A host reuses its receive buffer.
    std::unique_ptr<char[]> const copy(new char[part.size()]);
    std::copy(part.begin(), part.end(), copy.get());
    bool const lives = c.held->receive(op, {copy.get(), part.size()}, last, loops.now());
    require(lives == !c.over, "receive says whether the socket was closed");
  }
  /// Sends a message of this client on topic t0 to t3.
  void say(client& c, std::string_view event, std::string_view payload) {
    std::uint8_t const bits = input.byte();
    std::string const topic = "t" + std::to_string(bits & 3), ref = std::to_string(++refs);
    bool const v1 = old[static_cast<std::size_t>(&c - clients.data())];
    std::string const join_ref = event == "phx_join" ? ref : std::to_string(joins[bits & 3]);
    if (event == "phx_join") joins[bits & 3] = refs;
    std::string const text = v1 ? R"({"topic":")" + topic + R"(","event":")" + std::string(event) + R"(","payload":)" +
                                      std::string(payload) + R"(,"ref":")" + ref + R"("})"
                                : "[\"" + join_ref + "\",\"" + ref + "\",\"" + topic + "\",\"" + std::string(event) + "\"," +
                                      std::string(payload) + "]";
    std::size_t const cut = (bits & 64) != 0 ? input.byte() % (text.size() + 1) : text.size();
    if (cut == text.size()) return give(c, phx::opcode::text, text, (bits & 128) == 0);
    give(c, phx::opcode::text, std::string_view(text).substr(0, cut), false);
    give(c, phx::opcode::text, std::string_view(text).substr(cut), true);
  }
  void leave(client& c, bool destroy) {
    if (!c.held) return;
    if (!destroy) {
      c.held->gone(phx::lost::error);
      c.over = true;
      return;
    }
    c.held.reset();
    c.over = true;
  }

  /// A callback may destroy any connection of its loop except its own.
  template <class Context>
  void leave_from(Context& ctx, client& c, bool destroy) {
    if (c.held && &ctx.event_loop() == &loops[c.loop] && !(c.held->name() == ctx.socket())) leave(c, destroy);
  }

  /// The body of a callback: up to three operations from the input.
  template <class Context>
  void act(Context& ctx) {
    if (depth != 0) return;  // callbacks start from receive, run or gone and are never nested
    ++depth;
    for (std::uint8_t n = input.byte() & 3; n != 0; --n) {
      std::uint8_t const op = input.byte();
      std::string const topic = "t" + std::to_string(op & 3);
      phx::payload const data = (op & 4) != 0 ? phx::payload::binary("\1\2") : phx::payload::json(R"({"a":1})");
      switch (op >> 3 & 15) {
        case 0: (void)loops.endpoint().broadcast(topic, "e", data); break;
        case 1: (void)loops.endpoint().disconnect("user"); break;
        case 2: (void)ctx.send_after(std::chrono::seconds(op & 7), "late", data); break;
        case 3: (void)ctx.subscribe(topic); break;
        case 4: keep(ctx.id()); break;
        case 5: (void)ctx.id().broadcast("e", data); break;
        case 6: (void)ctx.id().broadcast_from("masked", data); break;
        case 7: leave_from(ctx, clients[op % clients.size()], true); break;
        case 8: leave_from(ctx, clients[op % clients.size()], false); break;
        default: more(ctx, op, topic, data);
      }
    }
    --depth;
  }
  void more(phx::joining&, std::uint8_t, std::string const&, phx::payload const&) {}
  void more(phx::context& ctx, std::uint8_t op, std::string const& topic, phx::payload const& data) {
    switch (op >> 3 & 15) {
      case 9: (void)ctx.push("p", data, (op & 1) != 0 ? "key" : "").error(); break;
      case 10: (void)ctx.broadcast("masked", data).error(); break;
      case 11: (void)ctx.broadcast_from("e", data); break;
      case 12: (void)ctx.publish(topic, "e", data); break;
      case 13: ctx.unsubscribe(topic); break;
      case 14: (void)ctx.disconnect("user"); break;
      default: (void)ctx.after_end().push("last", data); break;
    }
  }
  phx::outcome end(phx::context& ctx, bool may_answer) {
    act(ctx);
    switch (input.byte() & 15) {
      case 0: return phx::outcome::stop();
      case 1: return phx::outcome::stop(phx::exit_reason::error);
      case 2: throw std::runtime_error("a callback");
      case 3:
      case 4:
      case 5: return may_answer ? phx::outcome::reply(phx::payload::json(R"({"b":2})")) : phx::outcome::noreply();
      case 6: return phx::outcome::stop(phx::exit_reason::shutdown, phx::status::ok, {});
      default: return phx::outcome::noreply();
    }
  }
  void keep(phx::channel_id id) { handles[next_handle++ % handles.size()] = std::move(id); }
  void use_handle() {
    std::uint8_t const op = input.byte();
    phx::channel_id const& h = handles[op % handles.size()];
    phx::payload const data = (op & 8) != 0 ? phx::payload::binary("\1\2") : phx::payload::json(R"({"c":3})");
    switch (op >> 4 & 7) {
      case 0: (void)h.push("p", data); break;
      case 1: (void)h.broadcast("e", data); break;
      case 2: (void)h.broadcast_from("e", data); break;
      case 3: (void)h.send("late", data); break;
      case 4: (void)h.joined(data); break;
      case 5: (void)h.refused(data); break;
      case 6: (void)h.exit(phx::exit_reason::normal); break;
      default: (void)h.exit(phx::exit_reason::killed); break;
    }
  }

  void step() {
    std::uint8_t const op = input.byte();
    client& c = clients[op >> 5 & 7 ? (op >> 5) % clients.size() : 0];
    switch (op & 31) {
      case 0:
      case 1: open(c); break;
      case 2:
      case 3:
      case 4: say(c, "phx_join", "{}"); break;
      case 5:
      case 6:
      case 7: say(c, "do", R"({"x":"y"})"); break;
      case 8: say(c, "phx_leave", "{}"); break;
      case 9: give(c, phx::opcode::text, R"([null,"1","phoenix","heartbeat",{}])", true); break;
      case 10: {
        std::uint8_t const bits = input.byte();
        give(c, (bits & 1) != 0 ? phx::opcode::binary : phx::opcode::text, input.bytes(bits >> 2), (bits & 2) != 0);
        break;
      }
      case 11: give(c, phx::opcode::pong, {}, true); break;
      case 12: {
        std::uint8_t const bits = input.byte();
        c.answer = static_cast<phx::send_status>(bits & 3);
        c.waiting = static_cast<std::size_t>(bits >> 2) * 50;
        break;
      }
      case 13:
        if (c.held && !c.over) {
          bool const lives = c.held->writable(loops.now());
          require(lives == !c.over, "writable says whether the socket was closed");
        }
        break;
      case 14:
      case 15: loops.settle(); break;
      case 16:
      case 17: loops.sleep(std::chrono::milliseconds(input.byte() * 20)); break;
      case 18:
        loops.sleep(std::chrono::hours(input.byte()));
        loops.settle();
        break;
      case 19: leave(c, false); break;
      case 20: leave(c, true); break;
      case 21:
        if (c.held && !c.over) c.held->disconnect();
        break;
      case 22:
        if ((input.byte() & 15) == 0)
          loops.endpoint().drain({.batch = 1, .interval = std::chrono::milliseconds(input.byte()), .limit = 1s});
        break;
      case 23:
        (void)loops.endpoint().broadcast("t" + std::to_string(input.byte() & 3), "e", phx::payload::json("{}"));
        break;
      case 24: (void)loops.endpoint().disconnect("user"); break;
      case 25:
      case 26: use_handle(); break;
      case 27: {
        std::uint8_t const bits = input.byte();
        heap::until_failure = bits & 31;
        heap::failures = 1u + (bits >> 5);
        break;
      }
      case 28: (void)loops[op >> 5 & 1].publish({"t0", "e", phx::payload::json("{}"), {}, {}}); break;
      default: (void)loops[op >> 5 & 1].run(loops.now()); break;
    }
  }
  void finish() {
    heap::until_failure = SIZE_MAX;
    loops.settle();
    for (client& c : clients) leave(c, true);
    loops.settle();
    for (std::size_t i = 0; i < loops.size(); ++i) {
      require(loops[i].sockets() == 0, "no sockets are left");
      require(loops[i].channels() == 0, "no channels are left");
      require(loops[i].topics() == 0, "no topics are left");
    }
    for (record const& r : records) {
      require(r.destroyed == 1, "each channel is destroyed once");
      require(r.terminated == 1, "each channel is terminated once");
    }
  }

  program& input;
  dispatcher app{};
  std::array<phx::mount, 4> mounts{};
  std::deque<record> records{};
  std::array<phx::channel_id, 4> handles{};
  std::size_t next_handle = 0;
  phx::testing::fake_loops loops;
  std::array<client, 6> clients{};
  std::array<bool, 6> old{};
  std::array<unsigned long, 4> joins{};
  unsigned long refs = 0;
  int depth = 0;
};

phx::join_result dispatcher::join(int&, phx::joining& j, phx::message const&, phx::channel_place<life>& place) {
  all->act(j);
  std::uint8_t const bits = all->input.byte();
  switch (bits & 7) {
    case 0: return phx::join_result::error();
    case 1: throw std::runtime_error("a join");
    case 2: return phx::join_result::crash("on purpose");
    case 3:
      all->keep(j.id());
      place.emplace(all->records.emplace_back());
      return phx::join_result::later(j.now() + std::chrono::seconds(bits >> 3));
    case 4: place.emplace(all->records.emplace_back()); return phx::join_result::error();
    case 5: return phx::join_result::ok();  // without a channel: a crash
    default: place.emplace(all->records.emplace_back()); return phx::join_result::ok();
  }
}
phx::outcome dispatcher::handle_in(life&, phx::context& ctx, phx::message const&) { return all->end(ctx, true); }
phx::outcome dispatcher::handle_out(life&, phx::context& ctx, phx::broadcast const&) { return all->end(ctx, false); }
phx::outcome dispatcher::handle_info(life&, phx::context& ctx, phx::message const&) { return all->end(ctx, false); }
std::span<std::string_view const> dispatcher::intercepts(life const&) noexcept {
  static constexpr std::string_view masked[] = {"masked"};
  return (all->input.byte() & 1) != 0 ? std::span<std::string_view const>(masked) : std::span<std::string_view const>{};
}
std::optional<phx::pressure_policy> dispatcher::when_slow(life const&) noexcept {
  std::uint8_t const bits = all->input.byte();
  if ((bits & 8) == 0) return std::nullopt;
  return static_cast<phx::pressure_policy>((bits & 7) % 5);
}
void dispatcher::terminate(life& l, phx::context& ctx, phx::exit_reason) noexcept {
  require(l.of != nullptr && l.of->destroyed == 0, "a channel that is terminated lives");
  require(++l.of->terminated == 1, "each channel is terminated once");
  all->act(ctx);
}

phx::send_status transport::send(phx::frame const&) noexcept {
  require(!to->over, "nothing is sent after the end");
  return to->answer;
}
void transport::close(phx::close_frame) noexcept {
  require(!to->over, "no close after the end");
  require(++to->closes == 1, "one close");
  to->over = true;
  if (to->destroys_in_close) to->held.reset();
}
std::size_t transport::buffered() const noexcept {
  require(!to->over, "nothing is asked after the end");
  return to->waiting;
}
void transport::flush() noexcept { require(!to->over, "no flush after the end"); }
void transport::pause_reading(bool) noexcept { require(!to->over, "no pause after the end"); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  heap::reset();
  program input(data, size);
  {
    world w(input);
    for (int steps = 0; !input.empty() && steps < 400; ++steps) w.step();
    w.finish();
  }
  require(heap::blocks == 0, "all memory was released");
  return 0;
}

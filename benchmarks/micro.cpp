// The cost of phx in process, with a transport that does nothing. The measurements and their budgets:
//   decode      ns to read one frame, 94 bytes and 1 KiB                      within 2 x simdjson reading the document
//   rejected    ns to refuse such a frame with a fault in its last byte             no more than decode
//   echo        ns from bytes in to frame out: decode, dispatch, handler, reply
//   fan-out     ns for each recipient of one broadcast, 1 to 1,000,000        10 at 1,000, 30 at 1,000,000
//   join        ns to join and leave a topic with a million subscribers       independent of the million
//   idle        bytes of one idle socket with one joined channel              1 KiB
// Run: cmake --preset release -DPHX_BENCHMARKS=ON, then build/release/bin/phx_micro
#include "subject.hpp"

#include <benchmark/benchmark.h>
#ifdef PHX_BESIDE_SIMDJSON
#include <simdjson.h>
#endif

#include <memory>
#include <string>
#include <vector>

namespace {

using client = phx::socket<subject::null_transport, subject::application>;

struct world {
  subject::no_waker waker;
  phx::limits bounds;
  phx::loop loop{waker, bounds};
  subject::application app;
  phx::mount mount{};
  std::uint64_t bytes = 0;
  std::vector<std::unique_ptr<client>> clients;

  explicit world(phx::limits const& l = {}) : bounds(l) { app.channel<subject::channel>("load:*"); }

  client& connect() {
    clients.push_back(
        std::make_unique<client>(loop, app, subject::let_in(mount, app), subject::null_transport{&bytes}, subject::now));
    return *clients.back();
  }
  void say(client& c, std::string_view text) {
    benchmark::DoNotOptimize(c.receive(phx::opcode::text, text, true, subject::now));
  }
};

std::string echo_of(std::size_t size) { return subject::frame_of("echo", size); }

void decode(benchmark::State& state) {
  std::string const text = echo_of(static_cast<std::size_t>(state.range(0)));
  phx::scratch room(phx::memory{});
  for (auto _ : state) {
    phx::message m;
    benchmark::DoNotOptimize(phx::v2_json::decode(phx::opcode::text, text, room, m));
    benchmark::DoNotOptimize(m);
    room.reset();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(decode)->Arg(94)->Arg(1024);

void rejected(benchmark::State& state) {
  std::string text = echo_of(static_cast<std::size_t>(state.range(0)));
  text.back() = '}';
  phx::scratch room(phx::memory{});
  for (auto _ : state) {
    phx::message m;
    benchmark::DoNotOptimize(phx::v2_json::decode(phx::opcode::text, text, room, m));
    room.reset();
  }
}
BENCHMARK(rejected)->Arg(94)->Arg(1024);

#ifdef PHX_BESIDE_SIMDJSON
/// Reads the whole document on demand, every key, string and number, which makes simdjson validate all of it.
std::size_t read_all(simdjson::ondemand::value v) {
  std::size_t seen = 0;
  switch (v.type().value_unsafe()) {
    case simdjson::ondemand::json_type::array:
      for (auto item : v.get_array()) seen += read_all(item.value_unsafe());
      break;
    case simdjson::ondemand::json_type::object:
      for (auto field : v.get_object()) {
        seen += field.unescaped_key().value_unsafe().size();
        seen += read_all(field.value().value_unsafe());
      }
      break;
    case simdjson::ondemand::json_type::string: seen += v.get_string().value_unsafe().size(); break;
    case simdjson::ondemand::json_type::number: seen += v.get_double().value_unsafe() > 1 ? 1 : 0; break;
    default: break;
  }
  return seen;
}
void simdjson_whole(benchmark::State& state) {
  std::string const text = echo_of(static_cast<std::size_t>(state.range(0)));
  simdjson::padded_string const padded(text);
  simdjson::ondemand::parser parser;
  for (auto _ : state) {
    simdjson::ondemand::document document;
    if (parser.iterate(padded).get(document) != simdjson::SUCCESS) state.SkipWithError("simdjson refuses it");
    std::size_t seen = 0;
    for (auto item : document.get_array()) seen += read_all(item.value_unsafe());
    benchmark::DoNotOptimize(seen);
  }
}
BENCHMARK(simdjson_whole)->Arg(94)->Arg(1024);
#endif

void echo(benchmark::State& state) {
  world w;
  client& c = w.connect();
  w.say(c, R"(["1","1","load:1","phx_join",{}])");
  std::string const text = echo_of(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) w.say(c, text);
}
BENCHMARK(echo)->Arg(94)->Arg(1024);

void heartbeat(benchmark::State& state) {
  world w;
  client& c = w.connect();
  for (auto _ : state) w.say(c, R"([null,"5","phoenix","heartbeat",{}])");
}
BENCHMARK(heartbeat);

void fan_out(benchmark::State& state) {
  world w;
  auto const n = static_cast<std::size_t>(state.range(0));
  w.clients.reserve(n);
  for (std::size_t i = 0; i < n; ++i) w.say(w.connect(), R"(["1","1","load:1","phx_join",{}])");
  std::string text = echo_of(128);
  text.replace(text.find("\"echo\""), 6, "\"shout\"");
  for (auto _ : state) w.say(*w.clients[0], text);
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(n));
}
BENCHMARK(fan_out)->Arg(1)->Arg(10)->Arg(1000)->Arg(100'000)->Arg(1'000'000);

void join_and_leave(benchmark::State& state) {
  world w;
  auto const n = static_cast<std::size_t>(state.range(0));
  for (std::size_t i = 0; i < n; ++i) w.say(w.connect(), R"(["1","1","load:1","phx_join",{}])");
  client& c = w.connect();
  for (auto _ : state) {
    w.say(c, R"(["1","1","load:1","phx_join",{}])");
    w.say(c, R"(["1","2","load:1","phx_leave",{}])");
  }
}
BENCHMARK(join_and_leave)->Arg(10)->Arg(1'000'000);

}  // namespace

BENCHMARK_MAIN();

// The capacity of one process, with a transport that does nothing. The measurements and their budgets:
//   bytes      of a joined socket in total, with 2,000,000 sockets on 8 loops                 600
//   reach      ms until a broadcast has reached the last of them, on two threads              100
//   build, tear down   seconds, and µs for each socket
//   two loops  the throughput of two loops on two threads, against one loop on one thread: twice
// Run: phx_scale [--sockets 2000000] [--loops 8] [--threads 2] [--rounds 11]; lines of name=value
#include "on_threads.hpp"
#include "subject.hpp"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

namespace {

// All memory of phx is allocated here. Padded, so that two loops do not share a cache line of the counters.
struct alignas(128) tally {
  std::atomic<std::int64_t> bytes{0};
};
tally held;
void* allocate(std::size_t n) noexcept {
  void* const p = std::malloc(n);
  if (p != nullptr) held.bytes.fetch_add(static_cast<std::int64_t>(malloc_usable_size(p)), std::memory_order_relaxed);
  return p;
}
void release(void* p, std::size_t) noexcept {
  held.bytes.fetch_sub(static_cast<std::int64_t>(malloc_usable_size(p)), std::memory_order_relaxed);
  std::free(p);
}

[[nodiscard]] double resident() noexcept {
  double kilobytes = 0;
  if (std::FILE* const f = std::fopen("/proc/self/smaps_rollup", "re")) {
    char line[256];
    while (std::fgets(line, sizeof line, f) != nullptr)
      if (std::sscanf(line, "Rss: %lf", &kilobytes) == 1) break;
    std::fclose(f);
  }
  return kilobytes * 1024;
}
struct heard {
  std::uint64_t messages = 0, bytes = 0;
};
struct hearing {
  heard* to;
  phx::send_status send(phx::frame const& f) noexcept {
    ++to->messages;
    to->bytes += f.data().size();
    return phx::send_status::ok;
  }
  void close(phx::close_frame) noexcept {}
  [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
};
using subject::application, subject::now;
using client = phx::socket<hearing, application>;

/// Wakes a thread: posts to one of its loops call it.
struct bell {
  std::binary_semaphore rung{0};
  std::atomic<bool> ringing{false};
  std::atomic<double> at{0};            // when this thread's loops had run,
  std::atomic<std::uint64_t> heard{0};  // and the frames their sockets had received by then
  void wake() noexcept {
    if (!ringing.exchange(true)) rung.release();
  }
  void wait() noexcept {
    rung.acquire();
    ringing.store(false);
  }
};

phx::limits bounds() {
  phx::limits l;
  l.memory = {&allocate, &release};
  return l;
}

struct alignas(128) shelf {
  phx::loop loop;
  heard in{};
  std::vector<std::unique_ptr<client>> clients{};

  shelf(phx::endpoint& all, bell& b) : loop(all, b, bounds()) {}
  void add(application& app, phx::mount const& where) {
    clients.push_back(std::make_unique<client>(loop, app, subject::let_in(where, app), hearing{&in}, now));
    say(*clients.back(), subject::join("load:all"));
  }
  static void say(client& c, std::string_view text) { (void)c.receive(phx::opcode::text, text, true, now); }
};

struct options {
  unsigned sockets = 2'000'000, loops = 8, threads = 2, rounds = 11;
};

int many(options const& opts) {
  application app;
  app.channel<subject::channel>("load:*");
  phx::mount const where{};
  phx::endpoint everywhere;
  std::vector<std::unique_ptr<bell>> bells;
  std::vector<std::unique_ptr<shelf>> shelves;
  for (unsigned t = 0; t < opts.threads; ++t) bells.push_back(std::make_unique<bell>());
  for (unsigned l = 0; l < opts.loops; ++l) shelves.push_back(std::make_unique<shelf>(everywhere, *bells[l % opts.threads]));

  double const resident_before = resident();
  spent const built = on_threads(opts.threads, [&](unsigned t) {
    for (unsigned l = t; l < opts.loops; l += opts.threads) {
      shelf& s = *shelves[l];
      unsigned const local = opts.sockets / opts.loops + (l < opts.sockets % opts.loops ? 1 : 0);
      s.clients.reserve(local);
      for (unsigned i = 0; i < local; ++i) s.add(app, where);
    }
  });
  double const resident_each = (resident() - resident_before) / opts.sockets;
  double const held_each = static_cast<double>(held.bytes.load()) / opts.sockets;

  std::vector<double> reached(opts.rounds);
  std::atomic<bool> over{false};
  auto const count = [&](unsigned t) {
    std::uint64_t sum = 0;
    for (unsigned l = t; l < opts.loops; l += opts.threads) sum += shelves[l]->in.messages;
    return sum;
  };
  for (unsigned t = 0; t < opts.threads; ++t) bells[t]->heard = count(t);
  std::vector<std::thread> pumps;
  for (unsigned t = 0; t < opts.threads; ++t)
    pumps.emplace_back([&, t] {
      pin(t);
      for (;;) {
        bells[t]->wait();
        if (over.load()) return;
        for (unsigned l = t; l < opts.loops; l += opts.threads) (void)shelves[l]->loop.run(now);
        std::uint64_t const heard = count(t);
        if (heard == bells[t]->heard.load()) continue;
        bells[t]->at = seconds();
        bells[t]->heard = heard;
      }
    });
  std::string const payload = R"({"c":17,"d":")" + std::string(100, 'x') + R"(","n":4711})";
  std::uint64_t due = opts.sockets;  // the replies to the joins
  auto const all_heard = [&] {
    std::uint64_t sum = 0;
    for (auto const& b : bells) sum += b->heard.load();
    return sum;
  };
  bool complete = all_heard() == due;
  for (double& took : reached) {
    double const from = seconds();
    complete = everywhere.broadcast("load:all", "shout", phx::payload::json(payload)) == phx::errc::none && complete;
    due += opts.sockets;
    for (double const limit = from + 20; seconds() < limit && all_heard() < due;) {
      timespec const nap{0, 200'000};
      nanosleep(&nap, nullptr);
    }
    double last = from;
    for (auto const& b : bells) last = std::max(last, b->at.load());
    took = (last - from) * 1e3;
    complete = complete && all_heard() == due;
  }
  over = true;
  for (auto const& b : bells) b->wake();
  for (std::thread& t : pumps) t.join();
  std::sort(reached.begin(), reached.end());

  spent const torn = on_threads(opts.threads, [&](unsigned t) {
    for (unsigned l = t; l < opts.loops; l += opts.threads) shelves[l]->clients.clear();
  });

  std::printf(
      "sockets=%u loops=%u threads=%u bytes_each=%.1f phx_bytes_each=%.1f socket_bytes=%zu reach_ms=%.2f reach_best_ms=%.2f "
      "reach_worst_ms=%.2f build_s=%.2f build_us_each=%.3f tear_down_s=%.2f tear_down_us_each=%.3f complete=%d\n",
      opts.sockets, opts.loops, opts.threads, resident_each, held_each, sizeof(client), reached[reached.size() / 2],
      reached.front(), reached.back(), built.wall, built.cpu * 1e6 / opts.sockets, torn.wall, torn.cpu * 1e6 / opts.sockets,
      int{complete});
  return complete ? 0 : 1;
}

/// ns of wall and of CPU for each operation.
struct cost {
  double wall, cpu;
};
/// Echo: each loop serves its own clients. Fan-out: one topic with 2,000 subscribers on all loops; the loops publish in
/// turn.
cost throughput(unsigned loops, bool fan_out) {
  constexpr unsigned subscribers = 2000;
  application app;
  app.channel<subject::channel>("load:*");
  phx::mount const where{};
  phx::endpoint everywhere;
  std::vector<std::unique_ptr<bell>> bells;
  std::vector<std::unique_ptr<shelf>> shelves;
  for (unsigned l = 0; l < loops; ++l) {
    bells.push_back(std::make_unique<bell>());
    shelves.push_back(std::make_unique<shelf>(everywhere, *bells.back()));
    for (unsigned i = 0; i < subscribers / loops; ++i) shelves[l]->add(app, where);
  }
  unsigned const total = fan_out ? 4000 : 2'000'000;
  std::string const echo = subject::frame_of("echo", 160, "load:all"), shout = subject::frame_of("shout", 160, "load:all");
  std::atomic<unsigned> published{0};
  spent const s = on_threads(loops, [&](unsigned t) {
    shelf& mine = *shelves[t];
    std::size_t const n = mine.clients.size();
    for (unsigned i = 0; i < total / loops; ++i) {
      shelf::say(*mine.clients[i % n], fan_out ? shout : echo);
      if (fan_out) (void)mine.loop.run(now);  // posts of the other loops
    }
    if (!fan_out) return;
    ++published;
    while (published.load() != loops) {
      timespec const nap{0, 100'000};
      nanosleep(&nap, nullptr);
      (void)mine.loop.run(now);
    }
    (void)mine.loop.run(now);
  });
  std::uint64_t heard = 0;
  for (auto const& one : shelves) heard += one->in.messages;
  double const operations = static_cast<double>(total) * (fan_out ? subscribers : 1);
  if (static_cast<double>(heard) != operations + subscribers) std::fprintf(stderr, "scale: messages are missing\n");
  return {s.wall * 1e9 / operations, s.cpu * 1e9 / operations};
}

void two_loops(unsigned rounds) {
  for (bool const fan_out : {false, true}) {
    std::vector<double> wall, cpu, one_ns;
    for (unsigned i = 0; i < rounds; ++i) {
      cost const one = throughput(1, fan_out), two = throughput(2, fan_out);
      wall.push_back(one.wall / two.wall);
      cpu.push_back(two.cpu / one.cpu);
      one_ns.push_back(one.cpu);
    }
    for (auto* const v : {&wall, &cpu, &one_ns}) std::sort(v->begin(), v->end());
    std::printf("two_loops=%s times_one=%.2f cpu_each_against_one=%.2f one_ns=%.1f\n", fan_out ? "fan-out" : "echo",
                wall[wall.size() / 2], cpu[cpu.size() / 2], one_ns[one_ns.size() / 2]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  options opts;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string_view const name = argv[i];
    auto const value = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
    if (name == "--sockets")
      opts.sockets = value;
    else if (name == "--loops")
      opts.loops = value;
    else if (name == "--threads")
      opts.threads = value;
    else if (name == "--rounds")
      opts.rounds = value;
    else
      return std::fprintf(stderr, "scale: unknown option %s\n", argv[i]), 2;
  }
  if (opts.sockets == 0 || opts.loops == 0 || opts.threads == 0 || opts.rounds == 0 || opts.threads > opts.loops)
    return std::fprintf(stderr, "usage: %s [--sockets N] [--loops L] [--threads T] [--rounds R]\n", argv[0]), 2;
  int const status = many(opts);
  two_loops(std::min(opts.rounds, 7U));
  return status;
}

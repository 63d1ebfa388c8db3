// instructions CASE TIMES: repeats one operation of the hot path. Run by instructions.sh under callgrind, whose
// counts are the same on a busy machine as on an idle one.
#include "subject.hpp"

#include <phx/metrics/metrics.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace {

using client = phx::socket<subject::null_transport, subject::application>;
using subject::frame_of;

std::size_t decode(std::string const& text, unsigned long times, phx::errc verdict = phx::errc::none) {
  phx::scratch room(phx::memory{});
  std::size_t seen = 0;
  for (; times != 0; --times) {
    phx::message m;
    if (phx::v2_json::decode(phx::opcode::text, text, room, m) != verdict) std::abort();
#ifdef PHX_DECODES_TWICE  // the regression that the self-test must detect
    if (phx::v2_json::decode(phx::opcode::text, text, room, m) != verdict) std::abort();
#endif
    seen += m.payload.raw().size();
    room.reset();
  }
  return seen;
}
/// The same with a fault in its last byte, or in the middle.
std::string broken(std::string text, bool at_the_end) {
  text[at_the_end ? text.size() - 1 : text.size() / 2] = at_the_end ? '}' : '\x01';
  return text;
}
/// Clients of one loop, all of them on the same topics.
struct crowd {
  subject::no_waker waker{};
  phx::loop loop{waker};
  subject::application app{};
  phx::mount const where{};
  std::uint64_t bytes = 0;
  unsigned topics;
  std::vector<std::unique_ptr<client>> all{};

  crowd(std::size_t clients, unsigned on) : topics(on) {
    app.channel<subject::channel>("load:*");
    all.resize(clients);
    for (auto& one : all) come(one);
  }
  void come(std::unique_ptr<client>& one) {
    one = std::make_unique<client>(loop, app, subject::let_in(where, app), subject::null_transport{&bytes}, subject::now);
    for (unsigned t = 1; t <= topics; ++t)
      if (!one->receive(phx::opcode::text, subject::join("load:" + std::to_string(t)), true, subject::now)) std::abort();
  }
};
std::size_t hear(std::string const& text, std::size_t clients, unsigned long times, bool with_metrics = false) {
  phx::metrics metrics({.topics = {"load:*"}, .clock = phx::steady_nanoseconds});
  crowd c(clients, 1);
  if (with_metrics) metrics.observe(c.loop);
  for (; times != 0; --times)
    if (!c.all.front()->receive(phx::opcode::text, text, true, subject::now)) std::abort();
  return c.bytes;
}
/// Ends and reopens one client after the other: the last, the first, and all between.
std::size_t come_and_go(std::size_t clients, unsigned topics, unsigned long times) {
  crowd c(clients, topics);
  for (unsigned long i = 0; i != times; ++i) {
    auto& one = c.all[i * 7 % clients];
    one.reset();
    c.come(one);
  }
  return c.bytes;
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view const text = argc == 3 ? argv[1] : "";
  unsigned long const times = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;
  std::size_t done = 0;
  if (text == "decode_94")
    done = decode(frame_of("echo", 94), times);
  else if (text == "decode_1024")
    done = decode(frame_of("echo", 1024), times);
  else if (text == "reject_1024")
    done = decode(broken(frame_of("echo", 1024), true), times, phx::errc::not_json);
  else if (text == "reject_middle")
    done = decode(broken(frame_of("echo", 1024), false), times, phx::errc::not_json);
  else if (text == "dispatch")
    done = hear(frame_of("mute", 94), 1, times);  // decode, find the channel, call it
  else if (text == "reply_94")
    done = hear(frame_of("echo", 94), 1, times);  // and encode its reply
  else if (text == "reply_94_metrics")
    done = hear(frame_of("echo", 94), 1, times, true);
  else if (text == "reply_1024")
    done = hear(frame_of("echo", 1024), 1, times);
  else if (text == "fan_out_1000")
    done = hear(frame_of("shout", 128), 1000, times);
  else if (text == "come_and_go_10")
    done = come_and_go(10, 1, times);
  else if (text == "come_and_go_10000")
    done = come_and_go(10'000, 1, times);
  else if (text == "come_and_go_100_topics")
    done = come_and_go(10, 100, times);
  else
    return std::fprintf(stderr, "usage: %s CASE TIMES\n", argv[0]), 2;
  std::printf("%zu\n", done);
}

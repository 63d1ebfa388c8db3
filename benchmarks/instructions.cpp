// instructions CASE TIMES: does one thing of the hot path so many times. Run by instructions.sh under callgrind, whose
// counts are the same on a busy machine as on an idle one.
#include <phx/phx.hpp>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace {

struct null_transport {
  std::size_t* bytes;
  phx::send_status send(phx::frame const& f) noexcept {
    *bytes += f.data().size();
    return phx::send_status::ok;
  }
  void close(phx::close_frame) noexcept {}
  [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
};
struct no_waker {
  void wake() noexcept {}
};
struct channel {
  phx::outcome handle_in(phx::context& here, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "shout") here.broadcast("shout", in.payload);
    return phx::outcome::noreply();
  }
};
using application = phx::router<>;
using client = phx::socket<null_transport, application>;
constexpr phx::time_point now{};

std::string frame_of(char const* event, std::size_t size) {
  std::string text = std::string(R"(["1","12345","load:1",")") + event + R"(",{"c":17,"d":"","n":4711}])";
  text.insert(text.find(R"("d":")") + 5, size > text.size() ? size - text.size() : 0, 'x');
  return text;
}

std::size_t decode(std::string const& text, unsigned long times, phx::errc verdict = phx::errc::none) {
  phx::scratch room(phx::memory{});
  std::size_t seen = 0;
  for (; times != 0; --times) {
    phx::message m;
    if (phx::v2_json::decode(phx::opcode::text, text, room, m) != verdict) std::abort();
#ifdef PHX_DECODES_TWICE  // what the guard's own test must find
    if (phx::v2_json::decode(phx::opcode::text, text, room, m) != verdict) std::abort();
#endif
    seen += m.payload.raw().size();
    room.reset();
  }
  return seen;
}
/// The same, wrong in its last byte, or in the middle.
std::string broken(std::string text, bool at_the_end) {
  text[at_the_end ? text.size() - 1 : text.size() / 2] = at_the_end ? '}' : '\x01';
  return text;
}
std::size_t hear(std::string const& text, std::size_t clients, unsigned long times) {
  no_waker waker;
  phx::loop loop(waker);
  application app;
  app.channel<channel>("load:*");
  phx::mount const where{};
  std::size_t bytes = 0;
  std::vector<std::unique_ptr<client>> all;
  for (std::size_t i = 0; i < clients; ++i) {
    phx::request from;
    from.method = "GET";
    from.path = "/socket/websocket";
    from.query = "vsn=2.0.0";
    auto judged = phx::handshake(where, app, from);
    all.push_back(std::make_unique<client>(loop, app, std::move(*std::get_if<0>(&judged)), null_transport{&bytes}, now));
    (void)all.back()->receive(phx::opcode::text, R"(["1","1","load:1","phx_join",{}])", true, now);
  }
  for (; times != 0; --times)
    if (!all.front()->receive(phx::opcode::text, text, true, now)) std::abort();
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view const what = argc == 3 ? argv[1] : "";
  unsigned long const times = argc == 3 ? std::strtoul(argv[2], nullptr, 10) : 0;
  std::size_t done = 0;
  if (what == "decode_94") done = decode(frame_of("echo", 94), times);
  else if (what == "decode_1024") done = decode(frame_of("echo", 1024), times);
  else if (what == "reject_1024") done = decode(broken(frame_of("echo", 1024), true), times, phx::errc::not_json);
  else if (what == "reject_middle") done = decode(broken(frame_of("echo", 1024), false), times, phx::errc::not_json);
  else if (what == "dispatch") done = hear(frame_of("mute", 94), 1, times);       // decode, find the channel, call it
  else if (what == "reply_94") done = hear(frame_of("echo", 94), 1, times);       // and encode its reply
  else if (what == "reply_1024") done = hear(frame_of("echo", 1024), 1, times);
  else if (what == "fan_out_1000") done = hear(frame_of("shout", 128), 1000, times);
  else return std::fprintf(stderr, "usage: %s CASE TIMES\n", argv[0]), 2;
  std::printf("%zu\n", done);
}

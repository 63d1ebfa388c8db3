// Whatever a client sends and however TCP cuts it: the reader says the same things, stays within its limit, reads every
// byte, and says nothing after the end.
#include <phx/adapter/detail/rfc6455.hpp>

#include <cstdlib>
#include <string>
#include <vector>

namespace {

using phx::detail::frame_event;

struct told {
  frame_event::kind what;
  phx::opcode op;
  std::uint16_t code;
  std::string data;
  friend bool operator==(told const&, told const&) = default;
};

void must(bool holds) {
  if (!holds) std::abort();
}

/// @param cut how many bytes come at a time; 0: all.
std::vector<told> read(std::string bytes, std::size_t most, std::size_t cut) {
  std::vector<told> out;
  std::string message;
  phx::detail::frame_reader reader(most);
  bool ended = false;
  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t const n = cut == 0 ? bytes.size() : std::min(cut, bytes.size() - at);
    std::span<char> rest(bytes.data() + at, n);
    at += n;
    for (;;) {
      frame_event const e = reader.next(rest);
      if (e.what == frame_event::nothing) break;
      must(!ended);
      ended = e.what == frame_event::close || e.what == frame_event::broken;
      if (e.what != frame_event::data) {
        must(e.part.size() <= 125);
        out.push_back({e.what, e.op, e.code, std::string(e.part)});
        continue;
      }
      message += e.part;
      must(message.size() <= most);
      if (e.last) out.push_back({e.what, e.op, 0, std::exchange(message, {})});
    }
    must(rest.empty());
  }
  if (!message.empty()) out.push_back({frame_event::data, phx::opcode::text, 0, message});
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size < 2) return 0;
  std::size_t const most = data[0] * 16u, cut = data[1] % 32u + 1;
  std::string const bytes(reinterpret_cast<char const*>(data + 2), size - 2);
  must(read(bytes, most, 0) == read(bytes, most, cut));
  return 0;
}

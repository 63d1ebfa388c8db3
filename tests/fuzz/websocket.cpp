// Whatever a client sends and however TCP splits it: the reader returns the same events, stays within its limit, reads every
// byte, and returns nothing after the end.
#include <phx/websocket/frame_reader.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

using phx::websocket::event_kind;
using phx::websocket::frame_event;

struct message {
  event_kind kind;
  phx::opcode op;
  std::uint16_t code;
  std::string data;
  friend bool operator==(message const&, message const&) = default;
};

void require(bool holds) {
  if (!holds) std::abort();
}

/// @param cut bytes read at a time; 0: all.
std::vector<message> read(std::string bytes, std::size_t most, std::size_t cut) {
  std::vector<message> out;
  std::string text;
  phx::websocket::frame_reader reader(most);
  bool ended = false;
  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t const n = cut == 0 ? bytes.size() : std::min(cut, bytes.size() - at);
    std::span<char> rest(bytes.data() + at, n);
    at += n;
    for (;;) {
      frame_event const e = reader.next(rest);
      if (e.kind == event_kind::need_more) break;
      require(!ended);
      ended = e.kind == event_kind::close || e.kind == event_kind::error;
      if (e.kind != event_kind::data) {
        require(e.part.size() <= 125);
        out.push_back({e.kind, e.op, e.code, std::string(e.part)});
        continue;
      }
      text += e.part;
      require(text.size() <= most);
      if (e.last) out.push_back({e.kind, e.op, 0, std::exchange(text, {})});
    }
    require(rest.empty());
  }
  if (!text.empty()) out.push_back({event_kind::data, phx::opcode::text, 0, text});
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size < 2) return 0;
  std::size_t const most = data[0] * 16u, cut = data[1] % 32u + 1;
  std::string const bytes(reinterpret_cast<char const*>(data + 2), size - 2);
  require(read(bytes, most, 0) == read(bytes, most, cut));
  return 0;
}

#ifndef PHX_ADAPTER_DETAIL_RFC6455_HPP
#define PHX_ADAPTER_DETAIL_RFC6455_HPP
// The frame reader under its old names, until the Beast host uses websocket/frame_reader.hpp.

#include <phx/websocket/frame_reader.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

struct frame_event {
  enum kind : std::uint8_t { nothing, data, ping, pong, close, broken };
  kind verdict = nothing;
  opcode op = opcode::text;
  bool last = true;
  std::uint16_t code = 0;
  std::string_view part{};
};
class frame_reader {
 public:
  explicit frame_reader(std::size_t most) noexcept : reader_(most) {}
  [[nodiscard]] frame_event next(std::span<char>& bytes) noexcept {
    websocket::frame_event const e = reader_.next(bytes);
    return {static_cast<frame_event::kind>(e.kind), e.op, e.last, e.code, e.part};
  }

 private:
  websocket::frame_reader reader_;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

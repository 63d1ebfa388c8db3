#ifndef PHX_SOCKET_DETAIL_CHANNEL_SLOT_HPP
#define PHX_SOCKET_DETAIL_CHANNEL_SLOT_HPP
// One topic of a socket, with the dispatcher's channel in it.

#include <phx/socket/dispatcher.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// The Dispatcher of a socket, erased by table.
struct dispatch_table {
  struct verdict {
    enum : std::uint8_t { crashed, accepted, pending, refused } kind = crashed;
    payload response{};
    time_point deadline{};
    std::string_view reason{};
    bool constructed = false;  // the channel was put into its place
  };
  std::size_t channel_size;
  bool (*matches)(void* d, std::string_view) noexcept;
  verdict (*join)(void* d, void* session, void* channel, joining&, message const&);
  outcome (*handle_in)(void* d, void* channel, context&, message const&);
  outcome (*handle_out)(void* d, void* channel, context&, broadcast const&);
  outcome (*handle_info)(void* d, void* channel, context&, message const&);
  void (*terminate)(void* d, void* channel, context&, exit_reason) noexcept;
  std::span<std::string_view const> (*intercepts)(void* d, void const* channel) noexcept;
  std::optional<pressure_policy> (*when_slow)(void* d, void const* channel) noexcept;
  void (*destroy)(void* channel) noexcept;
};

/// One joined or joining topic of a socket. Behind it, in one piece: the dispatcher's channel, and the join's two refs.
struct alignas(std::max_align_t) channel_slot : subscriber {
  dispatch_table const* ops = nullptr;
  void* dispatcher = nullptr;
  socket_id socket{};          // its owner's: `terminate` may run when the owner is destroyed already
  json_ref join_ref{}, ref{};  // of the join, as they were sent
  channel_state state = channel_state::joining;
  bool constructed = false;
  std::size_t size = 0;
  exit_reason reason = exit_reason::normal;
  std::uint32_t held = 0;
  std::uint32_t timers = 0;  // that wait for it
  std::size_t held_bytes = 0;
  mail_queue waiting{};
  end_watch* watches = nullptr;

  [[nodiscard]] void* channel() noexcept { return this + 1; }
  /// What stamps this channel's pushes and replies: the join's ref where the join_ref was null (protocol 5, notes).
  [[nodiscard]] json_ref stamp() const noexcept { return join_ref.null() ? ref : join_ref; }
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_SOCKET_DETAIL_CHANNEL_SLOT_HPP
#define PHX_SOCKET_DETAIL_CHANNEL_SLOT_HPP
// One topic of a socket with the dispatcher's channel, and how a connection calls both.

#include <phx/socket/detail/inbound_meter.hpp>
#include <phx/socket/dispatcher.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

struct channel_slot;

/// How a connection calls one type of channel. `d` is the Dispatcher, `channel` points to what was constructed in the slot.
struct channel_ops {
  outcome (*handle_in)(void* d, void* channel, context&, message const&);
  outcome (*handle_out)(void* d, void* channel, context&, broadcast const&);
  outcome (*handle_info)(void* d, void* channel, context&, message const&);
  void (*terminate)(void* d, void* channel, context&, exit_reason) noexcept;
  std::span<std::string_view const> (*intercepts)(void* d, void const* channel) noexcept;
  std::optional<pressure_policy> (*when_slow)(void* d, void const* channel) noexcept;
  void (*destroy)(void* channel) noexcept;
};

/// How a connection calls its Dispatcher, of any type.
struct dispatcher_ops {
  std::size_t channel_size;  ///< bytes that a channel needs in its slot
  bool (*matches)(void* d, std::string_view) noexcept;
  /// Constructs the channel in the slot, sets `ops` and `constructed` there, and joins it.
  join_result (*join)(void* d, void* session, channel_slot&, joining&, message const&);
};

/// One joined or joining topic of a socket. In the same allocation follow the dispatcher's channel and the two refs of the join.
struct alignas(std::max_align_t) channel_slot : subscriber {
  channel_ops const* ops = nullptr;  // set with `constructed`
  void* dispatcher = nullptr;
  socket_id socket{};          // `terminate` may run after its socket was destroyed
  json_ref join_ref{}, ref{};  // of the join, as they were sent
  channel_state state = channel_state::joining;
  bool constructed = false;                  // there is a channel
  bool metered = false;                      // an inbound_meter is at the end of the allocation
  std::size_t size = 0;                      // of the allocation
  exit_reason reason = exit_reason::normal;  // why it ended
  std::uint32_t held = 0;                    // messages that wait for a pending join
  std::uint32_t timers = 0;                  // of its own, and the deadline of a pending join
  std::size_t held_bytes = 0;
  mail_queue waiting{};  // what waits for a pending join
  end_watch* watches = nullptr;

  [[nodiscard]] void* channel() noexcept { return this + 1; }
  /// @pre metered
  [[nodiscard]] inbound_meter& meter() noexcept {
    return *reinterpret_cast<inbound_meter*>(reinterpret_cast<char*>(this) + size - sizeof(inbound_meter));
  }
  /// The join_ref of this channel's pushes and replies: the ref of the join if its join_ref was null (protocol 5, notes).
  [[nodiscard]] json_ref stamp() const noexcept { return join_ref.null() ? ref : join_ref; }
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

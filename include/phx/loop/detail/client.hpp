#ifndef PHX_LOOP_DETAIL_CLIENT_HPP
#define PHX_LOOP_DETAIL_CLIENT_HPP
// What a loop knows of a socket and of its channels: what the rooms to the right implement.

#include <phx/core/intrusive_list.hpp>
#include <phx/core/limits.hpp>
#include <phx/loop/detail/mail.hpp>
#include <phx/message/frame.hpp>
#include <phx/serializer/serializer.hpp>

namespace phx {
inline namespace PHX_BUILD {

class loop;

namespace detail {

struct topic;
class client;

/// One subscription to a topic: a channel, a topic_listener, or a socket on its id topic. It knows its place in the topic's
/// list, so that unsubscribing takes O(1).
struct subscriber {
  client* owner = nullptr;  // null: its socket has gone
  topic* on = nullptr;
  std::uint32_t index = 0;    // in on->plain or on->others
  std::uint32_t number = 0;   // identifies one life of one channel of its socket; 0: no channel
  std::uint32_t dropped = 0;  // messages that its client missed, not yet reported to it
  std::uint64_t since = 0;    // topic_table::subscriptions when it subscribed
  bool subscribed = false;
  bool intercepting = false;  // among on->others
  bool listening = false;     // a topic_listener
  pressure_policy pressure = pressure_policy::close;
  std::span<std::string_view const> intercepts{};
  subscriber* next = nullptr;                          // in the loop's list of detached channels
  void (*end)(loop&, subscriber&) noexcept = nullptr;  // ends a detached channel: runs its terminate, and frees it

  /// Whether its client gets the frame of this event: it is a channel, and does not intercept it.
  [[nodiscard]] bool passes(std::string_view event) const noexcept {
    if (number == 0 || listening) return false;
    for (std::string_view const e : intercepts)
      if (e == event) return false;
    return true;
  }
};

/// A channel's subscription to another topic: broadcasts on it go to the channel's handle_info (protocol 6.4). There is one
/// for each call of subscribe, among `others` of that topic.
struct topic_listener : subscriber {
  subscriber* channel = nullptr;
};

/// A frame for a client, and what a slow client's pressure policy asks about it.
struct delivery {
  frame bytes{};
  topic const* on = nullptr;  ///< null: it may never be dropped, such as a reply
  std::string_view event{}, key{};
};

/// One socket, as its loop sees it. Every member is called inside the loop.
class client {
 public:
  client() = default;
  client(client const&) = delete;
  client& operator=(client const&) = delete;

  /// Sends a frame. Calls no user code.
  virtual void deliver(delivery const&) noexcept = 0;
  /// Handles a mail and frees it.
  virtual void handle(channel_mail*) noexcept = 0;
  /// Closes the client if nothing was received for too long. @return when to call it again; max() once it is closing.
  virtual time_point on_idle_timer(time_point now) noexcept = 0;
  /// Whether the mail of a timer would still find its channel.
  [[nodiscard]] virtual bool awaits(channel_mail const&) const noexcept = 0;
  /// Writes what was sent during the turn.
  virtual void flush() noexcept = 0;
  /// Ends its channels, which runs callbacks. `close`, after it, closes the transport, and may destroy the client.
  virtual void end_channels() noexcept = 0;
  virtual void close() noexcept = 0;
  /// From now on it is closing: it sends nothing and ignores input.
  virtual void begin_close(close_frame, exit_reason) noexcept = 0;
  virtual void list(void* with, void (*each)(void*, std::string_view topic, channel_state)) const noexcept = 0;

  serializer_ref wire{};
  socket_id id{};
  client* next = nullptr;     // in one of its loop's lists: dirty, lingering, closing or ended
  client** before = nullptr;  // see link
  bool dirty = false;         // it is in the first of them, or in its loop's lingering_list
  bool closing = false;
  std::uint32_t linger_ms = 0;  // mount::linger

 protected:
  ~client() = default;
};

/// A client that reads too slowly and has a policy that drops: its loop writes to it from time to time.
struct slow_client {
  client* owner = nullptr;
  slow_client* next = nullptr;
  slow_client** before = nullptr;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

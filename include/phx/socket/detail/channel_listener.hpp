#ifndef PHX_SOCKET_DETAIL_CHANNEL_LISTENER_HPP
#define PHX_SOCKET_DETAIL_CHANNEL_LISTENER_HPP
// Subscriptions of a channel to topics other than its own (protocol 6.4). They end with the channel.

#include <phx/socket/detail/connection.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// A channel's subscription to another topic. It is also an end_watch of the channel, which destroys it when the channel ends.
struct channel_listener : topic_listener, end_watch {
  loop* event_loop;
  channel_listener(loop& l, channel_slot& of, topic* to) noexcept : event_loop(&l) {
    owner = of.owner;
    on = to;
    number = of.number;
    intercepting = listening = true;
    channel = &of;
    ended = &on_channel_end;
  }
  static void on_channel_end(end_watch* self, exit_reason) noexcept {
    channel_listener* const e = static_cast<channel_listener*>(self);
    topic_table& topics = loop_access::topics(*e->event_loop);
    topics.unsubscribe(*e);
    topics.unuse(e->on);
    destroy(loop_access::from(*e->event_loop), e);
  }
};

/// Subscribes a channel to another topic (6.4). dropped: limits::subscriptions, or no memory.
inline send_status connection::subscribe_to(channel_slot& s, std::string_view text) noexcept {
  std::uint32_t listeners = 0;
  for (end_watch const* w = s.watches; w != nullptr; w = w->next)
    listeners += w->ended == &channel_listener::on_channel_end ? 1u : 0u;
  if (listeners >= bounds_->subscriptions) return send_status::dropped;
  topic_table& topics = loop_access::topics(*loop_);
  topic* const to = topics.use(text, {});
  if (to == nullptr) return send_status::dropped;
  auto* const e = make<channel_listener>(loop_access::from(*loop_), *loop_, s, to);
  if (e == nullptr || !topics.subscribe_plain(*e)) {
    destroy(loop_access::from(*loop_), e);
    topics.unuse(to);
    return send_status::dropped;
  }
  static_cast<end_watch*>(e)->next = s.watches;
  s.watches = e;
  return send_status::ok;
}
/// Ends all subscriptions of a channel to `text`. Its own topic is not among them.
inline void connection::unsubscribe_from(channel_slot& s, std::string_view text) noexcept {
  for (end_watch** link = &s.watches; *link != nullptr;) {
    end_watch* const w = *link;
    if (w->ended != &channel_listener::on_channel_end || static_cast<channel_listener*>(w)->on->text() != text) {
      link = &w->next;
      continue;
    }
    *link = w->next;
    w->ended(w, exit_reason::normal);
  }
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

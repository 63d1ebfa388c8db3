#ifndef PHX_SOCKET_DETAIL_CONTEXT_IMPL_HPP
#define PHX_SOCKET_DETAIL_CONTEXT_IMPL_HPP
// The bodies of context and joining (socket/context.hpp), which need the connection they speak for. Each costs a few loads; what
// it sends is encoded at once.

#include <phx/socket/detail/channel_listener.hpp>
#include <phx/socket/detail/connection.hpp>

namespace phx {
inline namespace PHX_BUILD {

inline std::string_view joining::topic() const noexcept { return channel_.on->text(); }
inline socket_id joining::socket() const noexcept { return connection_.id; }
inline loop& joining::event_loop() const noexcept { return connection_.event_loop(); }
inline time_point joining::now() const noexcept { return event_loop().now(); }
inline channel_id joining::id() const noexcept {
  return {detail::loop_access::box(event_loop()), *channel_.on, connection_.id, channel_.number};
}

namespace detail {
/// For presence: has an end_watch called when a channel ends.
struct watch_access {
  struct address {
    void const* loop;
    std::uint32_t slot, generation, number;
    [[nodiscard]] friend auto operator<=>(address const&, address const&) = default;
  };
  [[nodiscard]] static address of(channel_id const& c) noexcept {
    return {c.box_.get(), c.socket_.slot, c.socket_.generation, c.number_};
  }
  /// Inside the loop.
  static void watch(context& ctx, end_watch* w) noexcept { add(ctx.channel_, w); }
  static void watch(joining& ctx, end_watch* w) noexcept { add(ctx.channel_, w); }
  /// From any thread. It may be called before this returns. @return false: there was no memory, it will never be called.
  [[nodiscard]] static bool watch(channel_id const& c, end_watch* w) noexcept {
    if (!c.box_) {
      w->ended(w, exit_reason::closed);
      return true;
    }
    auto* const m = c.make<watch_mail>();
    if (m == nullptr) return false;
    m->watch = w;
    (void)c.box_->post(m, false);
    return true;
  }

 private:
  static void add(channel_slot& s, end_watch* w) noexcept {
    w->next = s.watches;
    s.watches = w;
  }
};
}  // namespace detail

inline send_status joining::send(std::string_view event, payload const& data) noexcept {
  return send_after(duration::zero(), event, data);
}
inline send_status joining::send_after(duration delay, std::string_view event, payload const& data) noexcept {
  return connection_.send_to_self(channel_, delay, event, data);
}

inline send_status joining::subscribe(std::string_view topic) noexcept { return connection_.subscribe_to(channel_, topic); }

inline std::string_view context::topic() const noexcept { return channel_.on->text(); }
inline socket_id context::socket() const noexcept { return channel_.socket; }
inline time_point context::now() const noexcept { return loop_.now(); }
inline channel_state context::state() const noexcept { return channel_.state; }
inline channel_id context::id() const noexcept {
  return {detail::loop_access::box(loop_), *channel_.on, socket(), channel_.number};
}
inline sent context::push(std::string_view event, payload const& data, std::string_view key) noexcept {
  return {connection_ == nullptr ? errc::none : connection_->send_push(channel_, event, data, key), unhandled_};
}
namespace detail {
inline errc publish(loop& event_loop, connection const* connection, broadcast const& b, subscriber const* except) noexcept {
  return loop_access::publish(event_loop, b, except, connection != nullptr && connection->strict_encoding());
}
}  // namespace detail
inline sent context::broadcast(std::string_view event, payload const& data, std::string_view key) noexcept {
  return publish(topic(), event, data, key);
}
inline sent context::broadcast_from(std::string_view event, payload const& data, std::string_view key) noexcept {
  return publish_from(topic(), event, data, key);
}
inline sent context::publish(std::string_view topic, std::string_view event, payload const& data,
                             std::string_view key) noexcept {
  return {detail::publish(loop_, connection_, {topic, event, detail::payload_access::lend(data), {}, key}, nullptr),
          unhandled_};
}
inline sent context::publish_from(std::string_view topic, std::string_view event, payload const& data,
                                  std::string_view key) noexcept {
  return {detail::publish(loop_, connection_, {topic, event, detail::payload_access::lend(data), {}, key}, &channel_),
          unhandled_};
}
inline send_status context::send(std::string_view event, payload const& data) noexcept {
  return send_after(duration::zero(), event, data);
}
inline send_status context::send_after(duration delay, std::string_view event, payload const& data) noexcept {
  return connection_ == nullptr ? send_status::closed : connection_->send_to_self(channel_, delay, event, data);
}
inline send_status context::subscribe(std::string_view topic) noexcept {
  return connection_ == nullptr ? send_status::closed : connection_->subscribe_to(channel_, topic);
}
inline void context::unsubscribe(std::string_view topic) noexcept { detail::connection::unsubscribe_from(channel_, topic); }
inline ended_channel context::after_end() const noexcept {
  ended_channel e;
  if (connection_ == nullptr || connection_->closing || connection_->contains(channel_)) return e;
  e.box_ = detail::loop_access::box(loop_);
  e.socket_ = channel_.socket;
  e.text_ = detail::payload_access::assembled(detail::loop_access::from(loop_), topic(), channel_.stamp().json);
  e.topic_ = topic().size();
  return e;
}
inline reply_to context::reply() const noexcept {
  reply_to r;
  if (in_ == nullptr || connection_ == nullptr) return r;
  r.box_ = detail::loop_access::box(loop_);
  r.socket_ = connection_->id;
  r.number_ = channel_.number;
  std::string_view const ref = in_->ref.json;
  r.text_ = detail::payload_access::assembled(detail::loop_access::from(loop_), topic(), ref, channel_.stamp().json);
  r.topic_ = topic().size();
  r.ref_ = ref.size();
  return r;
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

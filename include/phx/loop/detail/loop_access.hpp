#ifndef PHX_LOOP_DETAIL_LOOP_ACCESS_HPP
#define PHX_LOOP_DETAIL_LOOP_ACCESS_HPP
// The loop's interface for the rooms to its right: what they may do, and no user may.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// What the rooms socket, presence and longpoll may do with a loop. Inside the loop, except where it is documented otherwise.
struct loop_access {
  static topic_table& topics(loop& l) noexcept { return l.topic_table_; }
  static frame_pool& pool(loop& l) noexcept { return l.pool_; }
  static phx::scratch& scratch(loop& l) noexcept { return l.scratch_; }
  static memory const& from(loop& l) noexcept { return l.bounds_.memory; }
  static mailbox_ref const& box(loop& l) noexcept { return l.box_; }
  static observer_ref const& observer(loop& l) noexcept { return l.observer_; }
  static bool add(loop& l, client& c) noexcept { return l.add(c); }
  static void remove(loop& l, client& c) noexcept { l.remove(c); }
  static errc publish(loop& l, broadcast const& b, subscriber const* except, bool strict) noexcept {
    return l.publish(b, except, strict);
  }
  static errc fan_out_cast(loop& l, cast_mail const& m, subscriber const* except, bool strict) noexcept {
    return l.fan_out_cast(m, except, strict);
  }
  /// Posts to the other loops of the endpoint. From any thread. @param local has been entered
  static errc post_to_others(mailbox const& local, broadcast const& b) noexcept {
    return local.everywhere == nullptr ? errc::none : local.everywhere->post_all(b, true, &local);
  }
  /// Whether a part of phx, such as presence, owns `topic` between nodes. Channels may not join it: they could forge messages
  /// of other nodes.
  static bool is_reserved(loop const& l, std::string_view topic) noexcept {
    return l.endpoint_ != nullptr && l.endpoint_->has_listener(topic);
  }
  static errc disconnect(loop& l, std::string_view id) noexcept {
    return l.publish({id, event::disconnect, empty_object, {}}, nullptr, false, false);
  }
  static void enqueue(loop& l, mail* m) noexcept { l.run_queue_.push(m); }
  static bool timer(loop& l, time_point at, channel_mail* m, socket_id of) noexcept { return l.set_timer(at, m, of); }
  /// Counts timers of a socket or channel that has ended.
  static void stale_timers(loop& l, std::uint32_t timers) noexcept { l.timers_.add_stale(timers); }
  static void begin_close(loop& l, client& c) noexcept { l.begin_close(c); }
  static void mark_dirty(loop& l, client& c) noexcept { l.mark_dirty(c); }
  static void watch_slow(loop& l, slow_client& s) noexcept { l.watch_slow(s); }
  static void request_wake(loop& l) noexcept { l.request_wake(); }
  /// Sets the time, if no call is running.
  static void set_time(loop& l, time_point now) noexcept {
    if (l.depth_ == 0 && now > l.now_) l.now_ = now;
  }
  static void add_detached(loop& l, subscriber& m) noexcept { m.next = std::exchange(l.detached_channels_, &m); }
  static std::uint32_t& channels(loop& l) noexcept { return l.channels_; }
  static phx::traffic& traffic(loop& l) noexcept { return l.traffic_; }
  /// Whether receive, run or gone is running.
  static bool busy(loop& l) noexcept { return l.depth_ != 0; }
  /// From now on the component gets its mail, and on_timer is called when it is due, until it is detached.
  static void attach_component(loop& l, loop_component& component) noexcept {
    component.number = ++l.last_component_;
    component.next = std::exchange(l.components_, &component);
  }
  /// From now on flushes look at client::linger_ms.
  static void expect_lingering(loop& l) noexcept {
    if (l.lingering_.number == 0) attach_component(l, l.lingering_);
  }
  static void detach_component(loop& l, loop_component& component) noexcept {
    loop_component** link = &l.components_;
    while (*link != &component) link = &(*link)->next;
    *link = component.next;
  }
};

/// The duration of one receive, run or gone.
class loop_entry {
 public:
  loop_entry(loop& l, time_point now) noexcept : loop_(l) { loop_.enter(now); }
  loop_entry(loop_entry const&) = delete;
  loop_entry& operator=(loop_entry const&) = delete;
  ~loop_entry() { loop_.leave(); }

 private:
  loop& loop_;
};

}  // namespace detail

}  // namespace PHX_BUILD
}  // namespace phx

#endif

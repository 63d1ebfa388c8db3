#ifndef PHX_LOOP_LOOP_HPP
#define PHX_LOOP_LOOP_HPP
// One event loop of the host: its sockets, topics and timers, and the mailbox through which other threads reach it.
//
// "Inside the loop" means: one caller at a time, each of which sees what the one before it wrote. It need not always be the
// same thread. Callbacks run during receive, run and gone, never inside one another. Before the outermost of these returns,
// the run queue is handled in rounds; what a round adds is handled by the next.

#include <phx/core/slot_map.hpp>
#include <phx/message/event.hpp>
#include <phx/loop/detail/component.hpp>
#include <phx/loop/detail/timer_queue.hpp>
#include <phx/loop/detail/topic_table.hpp>
#include <phx/loop/endpoint.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// What phx asks of the host's event loop. wake: called from any thread, has loop::run called soon, inside the loop. Must not
/// throw.
// clang-format off
template <class W>
concept Waker = requires(W& w) {
  { w.wake() } noexcept;
};
// clang-format on

class loop;
/// What a loop has received and sent since it was constructed: messages, and their bytes without WebSocket framing.
struct traffic {
  /// Messages that were received.
  std::uint64_t messages_in = 0;
  /// Their bytes.
  std::uint64_t bytes_in = 0;
  /// Messages that were passed to transports, sent or not.
  std::uint64_t messages_out = 0;
  /// Their bytes.
  std::uint64_t bytes_out = 0;
  /// Messages of messages_in that limits::inbound and inbound_channel dropped.
  std::uint64_t messages_dropped = 0;
};
namespace detail {
struct loop_access;
class encoded_frames;
class loop_entry;

/// The sockets of a loop whose flush waits (mount::linger): detail/lingering.hpp.
class lingering_list final : public loop_component {
 public:
  explicit lingering_list(loop& of) noexcept : loop_(of) {}
  void handle(component_mail*) noexcept override;
  [[nodiscard]] time_point due() const noexcept override;
  void on_timer(time_point now) noexcept override;
  void add(client& c, time_point now) noexcept;
  void flush() noexcept;

 private:
  loop& loop_;
  client* first_ = nullptr;
  time_point flush_at_{};
};
}  // namespace detail

/// Delays flushes until it is destroyed: hold one over many calls of `receive`, and each connection is written to once.
class turn_guard {
 public:
  /// Begins the turn. Inside the loop.
  explicit turn_guard(loop& l) noexcept;
  turn_guard(turn_guard const&) = delete;
  turn_guard& operator=(turn_guard const&) = delete;
  ~turn_guard();

 private:
  loop& loop_;
};

/// One event loop of the host. Construct it with its waker; call `run` when woken, and when the time that it returned last has
/// come; destroy it after its sockets. Everything inside the loop; other threads use endpoint and channel_id.
class loop {
 public:
  /// A loop of an endpoint: what one of its loops publishes reaches the sockets of all.
  /// @param everywhere outlives the loop
  /// @param waker outlives the loop
  template <Waker W>
  loop(endpoint& everywhere, W& waker, limits const& bounds = {}) : loop(&everywhere, waker_of(waker), bounds) {}
  /// A loop without an endpoint.
  /// @param waker outlives the loop
  template <Waker W>
  explicit loop(W& waker, limits const& bounds = {}) : loop(nullptr, waker_of(waker), bounds) {}
  loop(loop const&) = delete;
  loop& operator=(loop const&) = delete;
  /// @pre its sockets have been destroyed.
  ~loop();

  /// Handles mail and timers, closes sockets, flushes. Call it when woken and when the time that it returned has come, or
  /// regularly. If that time comes nearer later, phx calls wake().
  /// @return when to call it again; time_point::max(): nothing is waiting.
  time_point run(time_point now) noexcept;

  /// Delays flushes: held over many calls of `receive`, each connection is flushed once, when the guard is destroyed.
  [[nodiscard]] turn_guard turn() noexcept { return turn_guard(*this); }

  /// Broadcasts to all subscribers of `b.topic`: to this loop's at once, to the other loops by one mail each, to the other
  /// nodes by the PubSub. Inside the loop: from a callback, or from the host when no callback runs.
  /// @return errc::nodes_not_reached: the subscribers of this node got it, those of other nodes did not (see
  ///   endpoint::broadcast). Other errors: nobody got it, because no serializer of this loop's subscribers can encode it
  ///   (3.5), or with limits::strict_encoding one of them cannot. Without it, subscribers whose serializer cannot encode it
  ///   are skipped, and the observer gets event_code::broadcast_skipped.
  errc publish(broadcast const& b) noexcept {
    errc const fault = publish(b, nullptr, bounds_.strict_encoding);
    flush_after_publish();
    return fault;
  }
  /// Broadcasts to this loop's subscribers only.
  errc publish_local(broadcast const& b) noexcept {
    errc const fault = fan_out(b, nullptr, bounds_.strict_encoding);
    flush_after_publish();
    return fault;
  }

  /// Closes every socket with 1012, in batches (protocol 12); new sockets are closed at once. Done when sockets() is 0. Inside
  /// the loop; from other threads use endpoint::drain.
  void drain(drain_options const& opts, time_point now) noexcept;
  /// Whether drain was called.
  [[nodiscard]] bool draining() const noexcept { return drain_.on; }

  /// Sets the observer; one that was set before gets no more events. @param o outlives the loop, or is replaced before.
  template <Observer O>
  void observe(O& o) noexcept {
    observer_ = detail::observer_ref::of(o);
  }

  /// Sockets that have not ended.
  [[nodiscard]] std::uint32_t sockets() const noexcept { return sockets_.size(); }
  /// Topics that have a subscriber.
  [[nodiscard]] std::uint32_t topics() const noexcept { return topic_table_.topics(); }
  /// Joined channels and pending joins.
  [[nodiscard]] std::uint32_t channels() const noexcept { return channels_; }
  /// What it has received and sent so far.
  [[nodiscard]] phx::traffic const& traffic() const noexcept { return traffic_; }
  /// Calls `each(socket_id)` for every socket. Inside the loop; `each` must not open or close one.
  template <class F>
  void for_each_socket(F&& each) const {
    sockets_.for_each([&each](detail::client const& c) { each(c.id); });
  }
  /// Calls `each(std::string_view topic, channel_state)` for every channel of that socket.
  template <class F>
  void for_each_channel(socket_id of, F&& each) const {
    detail::client const* const c = sockets_.find(of);
    if (c == nullptr) return;
    auto call = [&each](std::string_view topic, channel_state state) { each(topic, state); };
    c->list(&call, [](void* with, std::string_view topic, channel_state state) {
      (*static_cast<decltype(call)*>(with))(topic, state);
    });
  }
  /// Mails that were dropped because of limits::mailbox and mailbox_bytes.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return box_->dropped(); }
  /// The time that the host passed to the call that is running. Inside a callback only.
  [[nodiscard]] time_point now() const noexcept { return now_; }

 private:
  friend struct detail::loop_access;
  friend class detail::loop_entry;
  friend class detail::lingering_list;
  friend class turn_guard;

  template <class W>
  [[nodiscard]] static detail::mailbox::waker_ref waker_of(W& w) noexcept {
    return {&w, [](void* host) noexcept { static_cast<W*>(host)->wake(); }};
  }
  loop(endpoint* everywhere, detail::mailbox::waker_ref waker, limits const& bounds);
  /// Blocks that the frame pool keeps for the next frames, each of up to 16 KiB: 64, which is 1 MiB, and fewer where
  /// limits::mailbox_bytes shows that memory is scarce. No user needs to tune it, so it is no limit of its own.
  [[nodiscard]] static std::uint32_t frames_kept(limits const& bounds) noexcept {
    std::size_t const affordable = bounds.mailbox_bytes / (128 * 1024);
    return affordable < 64 ? static_cast<std::uint32_t>(affordable) : 64;
  }

  [[nodiscard]] bool add(detail::client& c) noexcept;
  void remove(detail::client& c) noexcept;

  /// @param except a subscriber that does not get it; null: everyone gets it
  /// @param strict limits::strict_encoding
  /// @param bounded false for a `disconnect`, which must always get into the other mailboxes
  errc publish(broadcast const& b, detail::subscriber const* except, bool strict, bool bounded = true) noexcept;
  /// @param epoch only for those who had subscribed by then; see topic_table::subscriptions
  errc fan_out(broadcast const& b, detail::subscriber const* except, bool strict, std::uint64_t epoch = UINT64_MAX) noexcept;
  /// Broadcasts what channel_id::broadcast posted.
  errc fan_out_cast(detail::cast_mail const& m, detail::subscriber const* except, bool strict) noexcept;
  errc publish_to_nodes(broadcast const& b) noexcept;
  errc encode_all(broadcast const& b, detail::subscriber const* except, bool strict, detail::topic const& t,
                  detail::encoded_frames& frames) noexcept;
  void queue_intercepted(broadcast const& b, detail::subscriber const* except, std::uint64_t epoch, detail::topic const& t,
                         detail::encoded_frames& frames) noexcept;
  void queue_for_handler(broadcast const& b, payload const& kept, detail::subscriber const& at) noexcept;

  [[nodiscard]] bool set_timer(time_point at, detail::channel_mail* work, socket_id of) noexcept;
  void run_timers() noexcept;

  /// Flushes after the host has published. Inside a callback the outermost call does it, and closes what begins to close.
  void flush_after_publish() noexcept {
    if (depth_ != 0) return;
    if (turns_ == 0) flush_all();
    request_wake();
  }
  void enter(time_point now) noexcept;
  void leave() noexcept;
  void request_wake() noexcept;
  void run_queue() noexcept;
  void close_sockets() noexcept;
  void flush_all() noexcept;
  void flush_or_linger() noexcept;
  void handle(detail::mail* m) noexcept;
  void begin_close(detail::client& c) noexcept {
    if (std::exchange(c.dirty, false)) detail::unlink(c);  // closing flushes it too
    detail::link(closing_, c);
  }
  /// @pre it is not closing.
  void mark_dirty(detail::client& c) noexcept {
    if (c.dirty) return;
    c.dirty = true;
    detail::link(dirty_, c);
  }
  void watch_slow(detail::slow_client& s) noexcept {
    if (slow_ == nullptr) next_slow_check_ = saturating_add(now_, slow_check_interval);
    detail::link(slow_, s);
  }
  void mark_slow_dirty() noexcept;
  void drain_batch() noexcept;
  [[nodiscard]] time_point next_time() const noexcept;

  limits bounds_;
  detail::mailbox_ref box_;
  detail::topic_table topic_table_;
  frame_pool pool_;
  phx::scratch scratch_;
  endpoint* endpoint_;
  detail::peer_list peers_{};
  detail::observer_ref observer_{};

  detail::mail_queue run_queue_;  // handled in the next round
  detail::mail_queue inbox_;      // taken from the mailbox
  detail::timer_queue timers_;
  detail::slot_map<detail::client, socket_id> sockets_;
  std::uint32_t channels_ = 0;
  phx::traffic traffic_{};

  // Lists of sockets; a socket is in one of them at most.
  detail::client* closing_ = nullptr;  // their channels have not been ended yet
  detail::client* ended_ = nullptr;    // closing, and their channels have been ended: the transport is closed next
  detail::client* dirty_ = nullptr;    // were sent to, and not flushed since
  detail::loop_component* components_ = nullptr;
  std::uint32_t last_component_ = 0;
  detail::lingering_list lingering_{*this};  // a component once a socket lingers
  /// Slow clients, which are written to at this interval, for hosts that do not call `writable`.
  detail::slow_client* slow_ = nullptr;
  static constexpr duration slow_check_interval = std::chrono::milliseconds(100);
  time_point next_slow_check_{};
  detail::subscriber* detached_channels_ = nullptr;  // their socket has gone; their terminate runs in the next round
  std::uint32_t depth_ = 0;                          // nested calls of receive, run and gone
  std::uint32_t turns_ = 0;                          // turn_guards
  bool in_round_ = false;                            // the run queue is being handled
  bool in_run_ = false;
  time_point now_{};
  time_point next_run_ = (time_point::max)();  // what run returned last, or an earlier time for which it was woken
  struct {
    bool on = false;
    drain_options opts{};
    std::uint32_t next_slot = 0, total = 0;
    time_point next_batch{}, limit{};
  } drain_{};
};

}  // namespace PHX_BUILD
}  // namespace phx

#include <phx/loop/detail/loop_access.hpp>

namespace phx {
inline namespace PHX_BUILD {

inline turn_guard::turn_guard(loop& l) noexcept : loop_(l) { ++loop_.turns_; }
inline turn_guard::~turn_guard() {
  if (--loop_.turns_ == 0) loop_.flush_after_publish();
}

inline loop::loop(endpoint* everywhere, detail::mailbox::waker_ref waker, limits const& bounds)
    : bounds_(bounds),
      box_(detail::mailbox_ref::adopt(
          detail::make<detail::mailbox>(bounds.memory, bounds.memory, bounds.mailbox, bounds.mailbox_bytes, waker))),
      topic_table_(bounds.memory, bounds.seed, box_ ? &box_->epoch : nullptr),
      pool_(bounds.memory, frames_kept(bounds)),
      scratch_(bounds.memory),
      endpoint_(everywhere) {
  if (!box_) detail::no_value("phx::loop: no memory");
  box_->everywhere = everywhere;
  if (endpoint_ != nullptr) endpoint_->add_loop(box_);
}

inline loop::~loop() {
  run_queue();  // ends the last detached channels
  if (endpoint_ != nullptr) endpoint_->remove_loop(box_);
  box_->close();
  run_queue_.clear();
  peers_.clear(bounds_.memory);
  timers_.free(bounds_.memory);
  sockets_.free(bounds_.memory);
}

inline bool loop::add(detail::client& c) noexcept {
  if (!sockets_.insert(bounds_.memory, c, c.id)) return false;
  box_->sockets.store(sockets(), std::memory_order_relaxed);
  return true;
}

inline void loop::remove(detail::client& c) noexcept {
  detail::unlink(c);
  c.dirty = false;
  if (c.id == socket_id{}) return;  // there was no memory to add it
  sockets_.erase(c.id);
  timers_.add_stale(1);                                       // its idle timer
  if (drain_.on && sockets() == 0) drain_.next_batch = now_;  // the next run reports that it has drained
  box_->sockets.store(sockets(), std::memory_order_relaxed);
}

inline bool loop::set_timer(time_point at, detail::channel_mail* work, socket_id of) noexcept {
  return timers_.set(bounds_.memory, bounds_.timers, at, work, of, [this](detail::timer_queue::timer const& t) {
    detail::client const* const c = sockets_.find(t.socket);
    return c != nullptr && (t.work == nullptr || c->awaits(*t.work));
  });
}

inline void loop::run_timers() noexcept {
  while (!timers_.empty() && timers_.front().at <= now_) {
    detail::timer_queue::timer const due = timers_.front();
    if (due.work != nullptr) {
      timers_.pop();
      handle(due.work);
      continue;
    }
    detail::client* const c = sockets_.find(due.socket);
    time_point const again = c == nullptr ? (time_point::max)() : c->on_idle_timer(now_);
    timers_.pop();
    // Cannot fail: it takes the place of the timer that was just removed.
    if (again != (time_point::max)()) (void)set_timer(again, nullptr, due.socket);
  }
}

inline void loop::handle(detail::mail* m) noexcept {
  switch (m->kind) {
    case detail::mail_kind::broadcast: {
      // Not strict: a subscriber whose serializer cannot encode it is skipped, and the observer is told.
      auto const& b = m->as<detail::broadcast_mail>();
      (void)fan_out({b.topic, b.event, detail::payload_access::lend(b.payload), {}, b.key}, nullptr, false, b.epoch);
      break;
    }
    case detail::mail_kind::drain: drain(m->as<detail::drain_mail>().options, now_); break;
    case detail::mail_kind::component: {
      auto& for_component = m->as<detail::component_mail>();
      for (detail::loop_component* l = components_; l != nullptr; l = l->next)
        if (l->number == for_component.component) return l->handle(&for_component);
      break;
    }
    default: {
      auto& for_channel = m->as<detail::channel_mail>();
      if (detail::client* const c = sockets_.find(for_channel.to)) return c->handle(&for_channel);
      // Mail for a socket that has gone is dropped (protocol 6.3). A broadcast is for others.
      if (m->kind == detail::mail_kind::cast) (void)fan_out_cast(m->as<detail::cast_mail>(), nullptr, false);
      break;
    }
  }
  detail::mail::free(m);
}

}  // namespace PHX_BUILD
}  // namespace phx

#include <phx/loop/detail/drain.hpp>
#include <phx/loop/detail/fan_out.hpp>
#include <phx/loop/detail/lingering.hpp>
#include <phx/loop/detail/turn.hpp>

#endif

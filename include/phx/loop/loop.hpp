#ifndef PHX_LOOP_LOOP_HPP
#define PHX_LOOP_LOOP_HPP
// One event loop of the host: its topics, its sockets, its timers, and the mailbox through which everybody else speaks to
// it.
//
// A loop is mutual exclusion with happens-before, not a thread: one caller at a time, each seeing what the last one wrote.
// Callbacks start from receive, run or gone and never inside one another; the run queue goes in rounds before the outermost
// of these returns, and what a round adds waits for the next.

#include <phx/message/event.hpp>
#include <phx/loop/detail/component.hpp>
#include <phx/loop/endpoint.hpp>
#include <phx/loop/detail/topic_table.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// All that is asked of an event loop: from any thread, have loop::run called soon, inside the loop. Must not throw.
// clang-format off
template <class W>
concept Waker = requires(W& w) {
  { w.wake() } noexcept;
};
// clang-format on

class loop;
/// What went through a loop since it was made: messages, and their bytes without WebSocket framing.
struct traffic {
  /// Messages that were received.
  std::uint64_t messages_in = 0;
  /// Their bytes.
  std::uint64_t bytes_in = 0;
  /// Messages that were given to transports, whatever became of them.
  std::uint64_t messages_out = 0;
  /// Their bytes.
  std::uint64_t bytes_out = 0;
};
namespace detail {
struct loop_access;
class encoded_frames;
class loop_entry;
}  // namespace detail

/// Flushes wait for its end: hold one over many `receive`s, and each connection is written to once.
class turn_guard {
 public:
  /// Flushes wait until it is destroyed. Inside the loop.
  explicit turn_guard(loop& l) noexcept;
  turn_guard(turn_guard const&) = delete;
  turn_guard& operator=(turn_guard const&) = delete;
  ~turn_guard();

 private:
  loop& loop_;
};

/// One event loop of the host. Construct it with its waker, call `run` when woken and when the time it returned has come,
/// all inside the loop; its sockets go before it.
class loop {
 public:
  /// A loop of `everywhere`: what any loop publishes reaches the sockets of all. @param waker and @param everywhere outlive
  /// it.
  template <Waker W>
  loop(endpoint& everywhere, W& waker, limits const& bounds = {}) : loop(&everywhere, waker_of(waker), bounds) {}
  /// A loop on its own.
  template <Waker W>
  explicit loop(W& waker, limits const& bounds = {}) : loop(nullptr, waker_of(waker), bounds) {}
  loop(loop const&) = delete;
  loop& operator=(loop const&) = delete;
  /// @pre its sockets are gone.
  ~loop();

  /// The only pump (mailbox, timers, closing sockets, flush): call it when woken, when the time it returned has come, or
  /// every tick. If a later call brings that time nearer, phx calls wake(). time_point::max(): nothing is waiting.
  time_point run(time_point now) noexcept;

  /// Held over many receives, each connection is flushed once, at its end.
  [[nodiscard]] turn_guard turn() noexcept { return turn_guard(*this); }

  /// To all subscribers of `b.topic`: this loop's own at once, the other loops by one mail each, the other nodes by the
  /// PubSub. Inside the loop: from a callback, or from the host while nobody else is inside.
  /// @return errc::nodes_not_reached: this node's have it, the other nodes do not (see endpoint::broadcast). Other errors:
  /// no
  ///   serializer of this loop's subscribers can carry it (3.5), or with limits::strict_encoding one of them cannot; nobody
  ///   got anything. A subscriber who alone cannot be given it is skipped, and the observer is told.
  errc publish(broadcast const& b) noexcept {
    errc const fault = publish(b, nullptr, bounds_.strict_encoding);
    flush_after_publish();
    return fault;
  }
  /// The same for this loop's subscribers only.
  errc publish_local(broadcast const& b) noexcept {
    errc const fault = fan_out(b, nullptr, bounds_.strict_encoding);
    flush_after_publish();
    return fault;
  }

  /// Every socket, with channels or not, closes with 1012, in batches (protocol 12). New ones are closed at once.
  /// Ends when sockets() is 0. Inside the loop; endpoint::drain from any thread.
  void drain(drain_options const& opts, time_point now) noexcept;
  /// Is the loop letting its clients go?
  [[nodiscard]] bool draining() const noexcept { return drain_.on; }

  /// `o` outlives the loop, or another call; null takes it off.
  template <Observer O>
  void observe(O& o) noexcept {
    observer_ = detail::observer_ref::of(o);
  }

  /// Connections that are alive.
  [[nodiscard]] std::uint32_t sockets() const noexcept { return live_; }
  /// Topics with a subscriber.
  [[nodiscard]] std::uint32_t topics() const noexcept { return topic_table_.topics(); }
  /// Joined channels and pending joins.
  [[nodiscard]] std::uint32_t channels() const noexcept { return channels_; }
  /// What went through it so far.
  [[nodiscard]] phx::traffic const& traffic() const noexcept { return traffic_; }
  /// Calls `each(socket_id)` for every socket. Inside the loop; `each` must not open or close one.
  template <class F>
  void for_each_socket(F&& each) const {
    for (slot const& s : slots_)
      if (s.owner != nullptr) each(s.owner->id);
  }
  /// Calls `each(std::string_view topic, channel_state)` for every channel of that socket.
  template <class F>
  void for_each_channel(socket_id of, F&& each) const {
    detail::client const* const c = find(of);
    if (c == nullptr) return;
    auto call = [&each](std::string_view topic, channel_state state) { each(topic, state); };
    c->list(&call, [](void* with, std::string_view topic, channel_state state) {
      (*static_cast<decltype(call)*>(with))(topic, state);
    });
  }
  /// Mails that limits::mailbox refused so far.
  [[nodiscard]] std::uint64_t dropped() const noexcept { return box_->dropped(); }
  /// The time that came with the call being served. Inside a callback only.
  [[nodiscard]] time_point now() const noexcept { return now_; }

 private:
  friend struct detail::loop_access;
  friend class detail::loop_entry;
  friend class turn_guard;

  struct slot {
    detail::client* owner;
    std::uint32_t generation, next_free;
  };
  struct timer {
    time_point at;
    std::uint64_t order;
    detail::mail* work;  // null: ask the socket whether it has been quiet too long
    std::uint32_t slot, generation;
    [[nodiscard]] friend bool operator<(timer const& a, timer const& b) noexcept {
      return a.at != b.at ? a.at < b.at : a.order < b.order;
    }
  };

  template <class W>
  [[nodiscard]] static detail::mailbox::waker_ref waker_of(W& w) noexcept {
    return {&w, [](void* host) noexcept { static_cast<W*>(host)->wake(); }};
  }
  loop(endpoint* everywhere, detail::mailbox::waker_ref waker, limits const& bounds);

  [[nodiscard]] detail::client* find(socket_id of) const noexcept {
    return of.slot < slots_.size() && slots_[of.slot].generation == of.generation ? slots_[of.slot].owner : nullptr;
  }
  [[nodiscard]] bool add(detail::client& c) noexcept;
  void remove(detail::client& c) noexcept;

  /// @param strict limits::strict_encoding
  /// @param bounded false for a `disconnect`, which always gets into the other mailboxes.
  errc publish(broadcast const& b, detail::subscriber const* except, bool strict, bool bounded = true) noexcept;
  /// @param epoch only who had subscribed by then; see topic_table::subscriptions
  errc fan_out(broadcast const& b, detail::subscriber const* except, bool strict, std::uint64_t epoch = UINT64_MAX) noexcept;
  /// What channel_id::broadcast posted. @param except see mail_kind::cast
  errc fan_out_cast(detail::mail const& m, detail::subscriber const* except, bool strict) noexcept;
  errc publish_to_nodes(broadcast const& b) noexcept;
  errc encode_all(broadcast const& b, detail::subscriber const* except, bool strict, detail::topic const& t,
                  detail::encoded_frames& in) noexcept;
  void queue_intercepted(broadcast const& b, detail::subscriber const* except, std::uint64_t epoch, detail::topic const& t,
                         detail::encoded_frames& in) noexcept;
  void queue_for_handler(broadcast const& b, payload const& kept, detail::subscriber const& at) noexcept;

  [[nodiscard]] bool set_timer(time_point at, detail::mail* work, socket_id of) noexcept;
  void run_timers() noexcept;
  void sweep_timers() noexcept;
  void sift_up(std::uint32_t i) noexcept;
  void sift_down(std::uint32_t i) noexcept;
  void pop_timer() noexcept;

  /// After a host has published: outside of a callback nothing else flushes, or closes the sockets that begin to close.
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
  void handle(detail::mail* m) noexcept;
  void begin_close(detail::client& c) noexcept {
    if (std::exchange(c.dirty, false)) detail::unlink(c);  // before it is closed it is flushed
    detail::link(closing_list_, c);
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
  endpoint* everywhere_;
  detail::peer_list peers_{};
  detail::observer_ref observer_{};

  detail::mail_queue queue_;     // waits for the next round
  detail::mail_queue inbox_;     // taken from the mailbox
  detail::array<timer> timers_;  // a binary heap
  std::uint64_t timer_order_ = 0;
  std::uint32_t timed_mails_ = 0;  // of them: the others ask a socket whether it has been quiet for too long
  std::size_t stale_timers_ = 0;   // of them: for sockets, channels and joins that are no more; this or less
  detail::array<slot> slots_;
  std::uint32_t free_slot_ = none, live_ = 0, channels_ = 0;
  phx::traffic traffic_{};
  static constexpr std::uint32_t none = UINT32_MAX;

  detail::client* closing_list_ = nullptr;  // closing; their channels are to be ended
  detail::client* ended_ = nullptr;         // then their transports are to be closed
  detail::client* dirty_ = nullptr;
  detail::loop_component* components_ = nullptr;
  std::uint32_t last_component_ = 0;
  detail::slow_client* slow_ = nullptr;
  /// A host that says `writable` is not waited for. One that does not has its slow clients looked after so often.
  static constexpr duration slow_check_interval = std::chrono::milliseconds(100);
  time_point next_slow_check_{};
  detail::delivery const* current_delivery_ = nullptr;  // what is being sent, unless it may not be dropped
  detail::subscriber* detached_channels_ =
      nullptr;               // channels of sockets that a callback destroyed: `terminate` takes its turn
  std::uint32_t depth_ = 0;  // of receive, run and gone
  std::uint32_t turns_ = 0;
  bool in_round_ = false;  // the run queue is being handled
  bool in_run_ = false;
  time_point now_{};
  time_point promised_ = (time_point::max)();  // what run returned last; a host that has not called it yet waits to be woken
  struct {
    bool on = false;
    drain_options opts{};
    std::uint32_t next = 0, total = 0;
    time_point next_batch{}, hard{};
  } drain_{};
};

namespace detail {

/// The loop's interface for the socket, presence and longpoll rooms.
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
  static errc fan_out_cast(loop& l, mail const& m, subscriber const* except, bool strict) noexcept {
    return l.fan_out_cast(m, except, strict);
  }
  /// To the other loops of `here`, which has been entered. From any thread.
  static errc post_to_others(mailbox const& local, broadcast const& b) noexcept {
    return local.everywhere == nullptr ? errc::none : local.everywhere->post_all(b, true, &local);
  }
  /// Between nodes, for a part of phx: no channel's.
  static bool is_reserved(loop const& l, std::string_view topic) noexcept {
    return l.everywhere_ != nullptr && l.everywhere_->listens(topic);
  }
  static errc disconnect(loop& l, std::string_view id) noexcept {
    return l.publish({id, event::disconnect, empty_object, {}}, nullptr, false, false);
  }
  static void enqueue(loop& l, mail* m) noexcept { l.queue_.push(m); }
  static bool timer(loop& l, time_point at, mail* m, socket_id of) noexcept { return l.set_timer(at, m, of); }
  /// Counts timers whose socket or channel is gone; they are swept once they are many (see set_timer).
  static void stale_timers(loop& l, std::uint32_t timers) noexcept { l.stale_timers_ += timers; }
  static void begin_close(loop& l, client& c) noexcept { l.begin_close(c); }
  static void mark_dirty(loop& l, client& c) noexcept { l.mark_dirty(c); }
  static void watch_slow(loop& l, slow_client& s) noexcept { l.watch_slow(s); }
  /// Not a parameter of `deliver`: a fan-out spends some 25 instructions for each recipient.
  static delivery const*& current_delivery(loop& l) noexcept { return l.current_delivery_; }
  static void request_wake(loop& l) noexcept { l.request_wake(); }
  static void tick(loop& l, time_point now) noexcept {
    if (l.depth_ == 0 && now > l.now_) l.now_ = now;
  }
  static void add_detached(loop& l, subscriber& m) noexcept { m.next = std::exchange(l.detached_channels_, &m); }
  static std::uint32_t& channels(loop& l) noexcept { return l.channels_; }
  static phx::traffic& traffic(loop& l) noexcept { return l.traffic_; }
  static bool busy(loop& l) noexcept { return l.depth_ != 0; }
  /// From now on `who` gets its mail and is rung for when it is due, until it is evicted.
  static void attach_component(loop& l, loop_component& component) noexcept {
    component.number = ++l.last_component_;
    component.next = std::exchange(l.components_, &component);
  }
  static void detach_component(loop& l, loop_component& component) noexcept {
    loop_component** link = &l.components_;
    while (*link != &component) link = &(*link)->next;
    *link = component.next;
  }
};

/// The span of one receive, run or gone.
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

inline turn_guard::turn_guard(loop& l) noexcept : loop_(l) { ++loop_.turns_; }
inline turn_guard::~turn_guard() {
  if (--loop_.turns_ == 0) loop_.flush_after_publish();
}

inline loop::loop(endpoint* everywhere, detail::mailbox::waker_ref waker, limits const& bounds)
    : bounds_(bounds),
      box_(detail::mailbox_ref::adopt(
          detail::make<detail::mailbox>(bounds.memory, bounds.memory, bounds.mailbox, bounds.mailbox_bytes, waker))),
      topic_table_(bounds.memory, bounds.seed, box_ ? &box_->epoch : nullptr),
      pool_(bounds.memory, bounds.frames_kept),
      scratch_(bounds.memory),
      everywhere_(everywhere) {
  if (!box_) detail::no_value("phx::loop: no memory");
  box_->everywhere = everywhere;
  if (everywhere_ != nullptr) everywhere_->add(box_);
}

inline loop::~loop() {
  run_queue();  // the last orphans are told
  if (everywhere_ != nullptr) everywhere_->remove(box_);
  box_->close();
  queue_.clear();
  for (timer const& t : timers_)
    if (t.work != nullptr) detail::mail::free(t.work);
  peers_.clear(bounds_.memory);
  timers_.free(bounds_.memory);
  slots_.free(bounds_.memory);
}

inline time_point loop::run(time_point now) noexcept {
  in_run_ = true;
  enter(now);
  // First: what it publishes is in the mailbox already.
  if (everywhere_ != nullptr && everywhere_->due() <= now_) everywhere_->beat(now_);
  box_->take(inbox_);
  while (detail::mail* const m = inbox_.pop()) handle(m);
  run_timers();
  for (detail::loop_component* l = components_; l != nullptr; l = l->next)
    if (l->due() <= now_) l->on_timer(now_);
  if (drain_.on && now_ >= drain_.next_batch) drain_batch();
  if (slow_ != nullptr && now_ >= next_slow_check_) mark_slow_dirty();
  leave();
  in_run_ = false;
  promised_ = next_time();
  return promised_;
}

inline time_point loop::next_time() const noexcept {
  if (!queue_.empty() || closing_list_ != nullptr || detached_channels_ != nullptr || (dirty_ != nullptr && turns_ == 0))
    return now_;
  time_point next = timers_.empty() ? (time_point::max)() : timers_[0].at;
  if (drain_.on && live_ != 0 && drain_.next_batch < next) next = drain_.next_batch;
  for (detail::loop_component const* l = components_; l != nullptr; l = l->next)
    if (time_point const due = l->due(); due < next) next = due;
  if (slow_ != nullptr && next_slow_check_ < next) next = next_slow_check_;
  if (everywhere_ != nullptr)
    if (time_point const due = everywhere_->due(); due < next) next = due < now_ ? now_ : due;
  return next;
}

inline void loop::enter(time_point now) noexcept {
  if (depth_++ != 0) return;
  if (now > now_) now_ = now;
  // Every entry first runs what the last one left.
  run_queue();
}

inline void loop::leave() noexcept {
  if (depth_ == 1) {
    run_queue();
    close_sockets();
    if (turns_ == 0 && dirty_ != nullptr) flush_all();
    if (!in_run_) request_wake();
  }
  --depth_;
}

inline void loop::request_wake() noexcept {
  if (next_time() >= promised_) return;
  promised_ = next_time();
  box_->wake();
}

inline void loop::run_queue() noexcept {
  if (in_round_) return;
  in_round_ = true;
  for (detail::subscriber* m = std::exchange(detached_channels_, nullptr); m != nullptr;) {
    detail::subscriber* const next = m->next;
    m->end(*this, *m);
    m = next;
  }
  detail::mail_queue round;
  round.swap(queue_);
  while (detail::mail* const m = round.pop()) handle(m);
  in_round_ = false;
}

inline void loop::close_sockets() noexcept {
  // Ending channels runs `terminate`, which may doom others: they are served here too, each socket once.
  while (closing_list_ != nullptr) {
    detail::client& c = *closing_list_;
    detail::unlink(c);
    detail::link(ended_, c);
    c.end_channels();
  }
  while (ended_ != nullptr) {
    detail::client& c = *ended_;
    detail::unlink(c);
    c.close();  // may destroy c
  }
}

inline void loop::flush_all() noexcept {
  while (dirty_ != nullptr) {
    detail::client& c = *dirty_;
    detail::unlink(c);
    c.dirty = false;
    c.flush();
  }
}

inline void loop::mark_slow_dirty() noexcept {
  next_slow_check_ = saturating_add(now_, slow_check_interval);
  for (detail::slow_client const* s = slow_; s != nullptr; s = s->next)
    if (!s->owner->closing) mark_dirty(*s->owner);
}

inline bool loop::add(detail::client& c) noexcept {
  std::uint32_t at = free_slot_;
  if (at == none) {
    at = slots_.size();
    if (!slots_.push(bounds_.memory, {nullptr, 1, none})) return false;
  } else {
    free_slot_ = slots_[at].next_free;
  }
  slots_[at].owner = &c;
  c.id = {at, slots_[at].generation};
  ++live_;
  box_->live.store(live_, std::memory_order_relaxed);
  return true;
}

inline void loop::remove(detail::client& c) noexcept {
  detail::unlink(c);
  c.dirty = false;
  if (c.id == socket_id{}) return;  // there was no memory for a place
  slot& s = slots_[c.id.slot];
  s.owner = nullptr;
  ++s.generation;
  s.next_free = free_slot_;
  free_slot_ = c.id.slot;
  ++stale_timers_;  // whether it was quiet
  --live_;
  box_->live.store(live_, std::memory_order_relaxed);
}

inline void loop::handle(detail::mail* m) noexcept {
  switch (m->kind) {
    case detail::mail_kind::broadcast:
      // Judged in its own loop: here a subscriber whose serializer cannot carry it is skipped, and the observer is told.
      (void)fan_out({m->text(0), m->text(1), detail::payload_access::lend(m->payload), {}, m->text(3)}, nullptr, false,
                    static_cast<std::uint64_t>(m->numbers[0]));
      break;
    case detail::mail_kind::drain:
      drain({static_cast<std::uint32_t>(m->numbers[0]), duration(m->numbers[1]), duration(m->numbers[2])}, now_);
      break;
    case detail::mail_kind::component:
      for (detail::loop_component* l = components_; l != nullptr; l = l->next)
        if (l->number == m->slot) return l->handle(m);
      break;
    default:
      if (detail::client* const c = find({m->slot, m->generation})) {
        c->handle(m);
        return;
      }
      // Its socket is gone, and with it everything that was for it (protocol 6.3). A broadcast is for others.
      if (m->kind == detail::mail_kind::cast) (void)fan_out_cast(*m, nullptr, false);
      break;
  }
  detail::mail::free(m);
}

}  // namespace PHX_BUILD
}  // namespace phx

#include <phx/loop/detail/drain.hpp>
#include <phx/loop/detail/fan_out.hpp>
#include <phx/loop/detail/timers.hpp>

#endif

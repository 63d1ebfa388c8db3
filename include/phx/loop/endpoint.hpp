#ifndef PHX_LOOP_ENDPOINT_HPP
#define PHX_LOOP_ENDPOINT_HPP
// All loops of a process. A broadcast on the endpoint, from any thread, reaches the sockets of all loops; with a PubSub
// attached also those of other nodes.

#include <phx/loop/detail/mailbox.hpp>
#include <phx/loop/drain_options.hpp>
#include <phx/pubsub/pubsub.hpp>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {

class loop;
namespace detail {
struct loop_access;
}

/// A periodic task of the process, such as presence. When it is due, the loop that runs first calls `tick`: inside that loop,
/// outside of every callback, never two at once.
struct ticker {
  /// Passed to the functions.
  void* self = nullptr;
  /// @return when to be called next; it may be called earlier.
  time_point (*tick)(void* self, time_point now) noexcept = nullptr;
  /// Called once, by ~endpoint, which must not be used any more.
  void (*endpoint_destroyed)(void* self) noexcept = nullptr;
};

namespace detail {
/// A loop's copy of the endpoint's list of mailboxes. It is read without a lock, and renewed after a loop came or went.
struct peer_list {
  std::uint64_t version = 0;
  array<mailbox*> boxes{};  // with one reference to each
  void clear(memory const& from) noexcept {
    for (mailbox* const b : boxes) b->drop_ref();
    boxes.free(from);
  }
};
}  // namespace detail

/// All loops of a process. Construct it before its loops and destroy it after them; attach a PubSub before a loop serves.
/// Every member may be called from any thread, and takes a lock for a short time; `broadcast` copies the message once for
/// each loop.
class endpoint {
 public:
  endpoint() = default;
  endpoint(endpoint const&) = delete;
  endpoint& operator=(endpoint const&) = delete;
  /// @pre its loops have been destroyed.
  ~endpoint() {
    for (ticker const& t : tickers_) t.endpoint_destroyed(t.self);
    if (pubsub_) pubsub_.stop(pubsub_.host);
  }

  /// Connects this node to others: from now on every broadcast and every disconnect reaches the other nodes too, and theirs
  /// this one. May throw what p.start throws.
  /// @pre nothing is attached yet, and no loop serves. @param p outlives the endpoint
  template <PubSub P>
  void attach(P& p) {
    // Set before the start, because the first message that it delivers may be answered. Undone if it throws.
    struct undo {
      detail::pubsub_ref& pubsub;
      bool started = false;
      ~undo() {
        if (!started) pubsub = {};
      }
    } attempt{pubsub_};
    pubsub_ = detail::pubsub_ref::of(p);
    p.start(*this);
    attempt.started = true;
  }
  /// The name of this node. Without a PubSub that of an Erlang node that is not distributed.
  [[nodiscard]] std::string_view node_name() const noexcept {
    return pubsub_ ? pubsub_.node_name(pubsub_.host) : std::string_view("nonode@nohost");
  }

  /// Broadcasts to all subscribers of `topic` in every loop of every node. It arrives when the loops run next, at those who
  /// were subscribed when it was called: a channel whose `join` broadcasts on its own topic does not get it, nor does one that
  /// subscribes afterwards. A subscriber whose serializer cannot encode it is skipped, and the observer of its loop is told.
  /// In Phoenix an adapter that fails keeps the broadcast from the own node as well (protocol 13.1); here the own node always
  /// gets it.
  /// @param key what the message is about, for clients that are to get only the latest one (pressure_policy::keep_latest)
  /// @return errc::invalid_payload: nothing was sent. errc::limit_reached: a mailbox was full. errc::nodes_not_reached: this
  ///   node got it, the others did not.
  errc broadcast(std::string_view topic, std::string_view event, payload const& data, std::string_view key = {}) noexcept {
    if (!data.valid()) return errc::invalid_payload;
    return post_everywhere({topic, event, detail::payload_access::lend(data), {}, key}, true);
  }
  /// Broadcasts to the subscribers on this node only.
  errc local_broadcast(std::string_view topic, std::string_view event, payload const& data,
                       std::string_view key = {}) noexcept {
    if (!data.valid()) return errc::invalid_payload;
    return post_all({topic, event, detail::payload_access::lend(data), {}, key}, true);
  }
  /// Closes every socket with this id on every node with 1001 (protocol 8.1), after which its clients reconnect. A full
  /// mailbox takes it too. Called in `connect`, it closes the older sockets, not the new one.
  /// @return errc::nodes_not_reached: it reached this node only.
  errc disconnect(std::string_view id) noexcept {
    return post_everywhere({id, event::disconnect, detail::empty_object, {}}, false);
  }

  /// Broadcasts to the other nodes only. Without a PubSub there are none, and the result is ok.
  /// @return dropped or closed: it was not sent, and is counted in unsent().
  send_status to_other_nodes(phx::broadcast const& b) noexcept {
    return pubsub_ ? count_unsent(pubsub_.broadcast(pubsub_.host, b)) : send_status::ok;
  }
  /// Broadcasts to one node, which may be this one.
  /// @return closed without a PubSub.
  send_status to_node(std::string_view node, phx::broadcast const& b) noexcept {
    return pubsub_ ? count_unsent(pubsub_.direct_broadcast(pubsub_.host, node, b)) : send_status::closed;
  }
  /// Broadcasts that the PubSub did not accept so far.
  [[nodiscard]] std::uint64_t unsent() const noexcept { return unsent_.load(std::memory_order_relaxed); }

  /// For the PubSub: delivers what another node published to the subscribers of this node; or, on a topic with listeners, to
  /// these only. A full mailbox takes a `disconnect` too.
  /// @return congested: it was taken, but a loop is far behind: it is better to wait until congested() is false. dropped: the
  ///   mailbox of a loop was full, or there was no memory; the other loops got it.
  send_status deliver(phx::broadcast const& b) noexcept {
    if (!b.payload.valid()) return send_status::dropped;
    if (listener_count_.load(std::memory_order_acquire) != 0 && notify_listeners(b)) return send_status::ok;
    if (post_all(b, b.event != event::disconnect) != errc::none) return send_status::dropped;
    return congested() ? send_status::congested : send_status::ok;
  }
  /// Whether the mailbox of a loop is more than half full.
  [[nodiscard]] bool congested() const noexcept {
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_)
      if (box->congested()) return true;
    return false;
  }

  /// Adds a listener: from now on, what other nodes publish on `topic` goes to its listeners, no longer to the loops. What this
  /// node publishes does not. @pre not called from within on_broadcast.
  void listen(std::string_view topic, listener listener) {
    auto added = std::make_unique<listening>();
    added->topic = topic;
    added->target = listener;
    std::lock_guard const hold(listeners_mutex_);
    added->number = ++last_listener_;
    listeners_.push_back(std::move(added));
    listener_count_.store(static_cast<std::uint32_t>(listeners_.size()), std::memory_order_release);
  }
  /// Removes the listeners of `self` on `topic`. Once it has returned, they are not called any more.
  /// @pre not called from within on_broadcast.
  void unlisten(std::string_view topic, void* self) noexcept {
    std::unique_lock hold(listeners_mutex_);
    for (std::size_t i = 0; i < listeners_.size();) {
      if (listeners_[i]->target.self != self || listeners_[i]->topic != topic) {
        ++i;
        continue;
      }
      std::unique_ptr<listening> const removed = std::move(listeners_[i]);
      listeners_.erase(listeners_.begin() + static_cast<std::ptrdiff_t>(i));
      listener_count_.store(static_cast<std::uint32_t>(listeners_.size()), std::memory_order_release);
      call_ended_.wait(hold, [&] { return removed->calls == 0; });
      i = 0;  // the list may have changed meanwhile
    }
  }

  /// Whether `topic` has a listener. Channels may not join or publish there: they could forge messages of other nodes.
  [[nodiscard]] bool has_listener(std::string_view topic) const noexcept {
    if (listener_count_.load(std::memory_order_acquire) == 0) return false;
    std::lock_guard const hold(listeners_mutex_);
    for (auto const& l : listeners_)
      if (l->topic == topic) return true;
    return false;
  }
  /// Whether a PubSub is attached.
  [[nodiscard]] bool has_pubsub() const noexcept { return static_cast<bool>(pubsub_); }

  /// Adds a ticker, which is called soon for the first time. @pre not called from within a tick.
  void add_ticker(ticker t) {
    {
      std::lock_guard const hold(tickers_mutex_);
      tickers_.push_back(t);
    }
    schedule_tick((time_point::min)());
  }
  /// Removes the tickers of `self`. Once it has returned, they are not called any more. @pre not called from within a tick.
  void remove_ticker(void* self) noexcept {
    std::lock_guard const hold(tickers_mutex_);
    std::erase_if(tickers_, [&](ticker const& t) { return t.self == self; });
  }
  /// Has the tickers called at `at`, if no earlier time is set.
  void schedule_tick(time_point at) noexcept {
    if (!lower_due(at)) return;
    std::lock_guard const hold(mutex_);
    if (!boxes_.empty()) boxes_.front()->wake();
  }

  /// Drains every loop (loop::drain). Done when sockets() is 0.
  /// @param done is told then; replaces that of an earlier call
  void drain(drain_options const& opts = {}, drain_listener done = {}) noexcept {
    {
      std::lock_guard const hold(mutex_);
      if (done.drained != nullptr) drain_listener_ = done;
      post_drain(opts);
    }
    report_drained();  // if there is no loop, or they had drained before
  }
  /// Sockets of all loops.
  [[nodiscard]] std::uint32_t sockets() const noexcept {
    std::uint32_t sum = 0;
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_) sum += box->sockets.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  friend class loop;
  friend struct detail::loop_access;

  /// @pre mutex_ is held
  void post_drain(drain_options const& opts) noexcept {
    for (detail::mailbox_ref const& box : boxes_) {
      auto* const m = detail::mail::make<detail::drain_mail>(box->from());
      if (m == nullptr) continue;
      m->options = opts;
      (void)box->post(m, false);
    }
  }
  /// Calls the drain_listener, if all loops have drained.
  void report_drained() noexcept {
    drain_listener done;
    {
      std::lock_guard const hold(mutex_);
      if (drain_listener_.drained == nullptr) return;
      for (detail::mailbox_ref const& box : boxes_)
        if (!box->drained.load(std::memory_order_relaxed) || box->sockets.load(std::memory_order_relaxed) != 0) return;
      done = std::exchange(drain_listener_, {});
    }
    done.drained(done.self);
  }

  /// @return false: the tickers are due by then already.
  bool lower_due(time_point at) noexcept {
    duration::rep const wanted = at.time_since_epoch().count();
    duration::rep now = due_.load(std::memory_order_relaxed);
    while (wanted < now)
      if (due_.compare_exchange_weak(now, wanted, std::memory_order_release, std::memory_order_relaxed)) return true;
    return false;
  }
  [[nodiscard]] time_point due() const noexcept { return time_point(duration(due_.load(std::memory_order_acquire))); }
  /// Inside a loop. Does nothing while another loop does it.
  void run_tickers(time_point now) noexcept {
    std::unique_lock const hold(tickers_mutex_, std::try_to_lock);
    if (!hold) return;
    // Reset before they are called, so that a schedule_tick during the calls is not lost.
    due_.store((time_point::max)().time_since_epoch().count(), std::memory_order_release);
    time_point next = (time_point::max)();
    for (ticker const& t : tickers_)
      if (time_point const at = t.tick(t.self, now); at < next) next = at;
    lower_due(next);
  }

  void add_loop(detail::mailbox_ref const& box) {
    std::lock_guard const hold(mutex_);
    boxes_.push_back(box);
    version_.fetch_add(1, std::memory_order_release);
  }
  void remove_loop(detail::mailbox_ref const& box) noexcept {
    {
      std::lock_guard const hold(mutex_);
      std::erase_if(boxes_, [&](detail::mailbox_ref const& b) { return b.get() == box.get(); });
      version_.fetch_add(1, std::memory_order_release);
      // It may have been the loop that was to call the tickers.
      if (due() != (time_point::max)() && !boxes_.empty()) boxes_.front()->wake();
    }
    report_drained();
  }
  void refresh(detail::peer_list& peers, memory const& from) noexcept {
    if (version_.load(std::memory_order_acquire) == peers.version) return;
    std::lock_guard const hold(mutex_);
    detail::array<detail::mailbox*> boxes;
    // Without memory the old list is used until the next time: a loop that has gone answers `closed`, a new one misses this
    // message.
    if (!boxes.reserve(from, boxes_.size())) return;
    for (detail::mailbox_ref const& b : boxes_) {
      b->add_ref();
      (void)boxes.push(from, b.get());
    }
    peers.clear(from);
    peers.boxes.swap(boxes);
    peers.version = version_.load(std::memory_order_relaxed);
  }
  struct listening {
    std::string topic{};
    listener target{};
    std::uint64_t number = 0;
    std::uint32_t calls = 0;
  };
  /// Calls the listeners of the topic. False: it has none. They are called without the lock, so that a listener may publish,
  /// also through a PubSub that delivers on the same thread.
  [[nodiscard]] bool notify_listeners(phx::broadcast const& b) noexcept {
    bool any = false;
    std::uint64_t last_called = 0;
    std::unique_lock hold(listeners_mutex_);
    for (std::size_t i = 0; i < listeners_.size();) {
      listening* const l = listeners_[i].get();
      if (l->number <= last_called || l->topic != b.topic) {
        ++i;
        continue;
      }
      any = true;
      last_called = l->number;
      ++l->calls;
      hold.unlock();
      l->target.on_broadcast(l->target.self, b);
      hold.lock();
      if (--l->calls == 0) call_ended_.notify_all();
      i = 0;  // the list may have changed
    }
    return any;
  }
  [[nodiscard]] send_status count_unsent(send_status s) noexcept {
    if (s == send_status::dropped || s == send_status::closed) unsent_.fetch_add(1, std::memory_order_relaxed);
    return s;
  }
  [[nodiscard]] bool reached_other_nodes(phx::broadcast const& b) noexcept {
    send_status const s = to_other_nodes(b);
    return s == send_status::ok || s == send_status::congested;
  }
  errc post_everywhere(phx::broadcast const& b, bool bounded) noexcept {
    errc const local = post_all(b, bounded);
    return reached_other_nodes(b) || local != errc::none ? local : errc::nodes_not_reached;
  }
  /// @param except a loop that has it already
  errc post_all(phx::broadcast const& b, bool bounded, detail::mailbox const* except = nullptr) noexcept {
    errc outcome = errc::none;
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_)
      if (box.get() != except && post(*box.get(), b, bounded) == send_status::dropped) outcome = errc::limit_reached;
    return outcome;
  }
  /// The bytes are copied into the mail, so that two loops share no reference count.
  [[nodiscard]] static send_status post(detail::mailbox& box, phx::broadcast const& b, bool bounded) noexcept {
    using detail::broadcast_mail;
    auto* const m = detail::mail::make<broadcast_mail>(box.from(), {{&broadcast_mail::topic, b.topic},
                                                                    {&broadcast_mail::event, b.event},
                                                                    {&broadcast_mail::bytes, b.payload.raw()},
                                                                    {&broadcast_mail::key, b.key}});
    if (m == nullptr) return send_status::dropped;
    m->payload = detail::payload_access::borrow(m->bytes, b.payload.is_binary());
    m->epoch = box.epoch.load(std::memory_order_relaxed);
    return box.post(m, bounded);
  }

  mutable std::mutex mutex_;  // of boxes_ and drain_listener_
  std::vector<detail::mailbox_ref> boxes_;
  drain_listener drain_listener_{};
  std::atomic<std::uint64_t> version_{1};  // of boxes_
  std::mutex tickers_mutex_;
  std::vector<ticker> tickers_;
  std::atomic<duration::rep> due_{(time_point::max)().time_since_epoch().count()};  // when the tickers are to be called
  detail::pubsub_ref pubsub_{};
  std::atomic<std::uint64_t> unsent_{0};
  mutable std::mutex listeners_mutex_;
  std::condition_variable call_ended_;  // of a listener
  std::vector<std::unique_ptr<listening>> listeners_;
  std::uint64_t last_listener_ = 0;
  std::atomic<std::uint32_t> listener_count_{0};  // read without the lock
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

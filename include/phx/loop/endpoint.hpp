#ifndef PHX_LOOP_ENDPOINT_HPP
#define PHX_LOOP_ENDPOINT_HPP
// All loops of a process: what is said here, from any thread, reaches the sockets of all of them, and with a PubSub attached
// those of the other nodes.

#include <phx/loop/detail/mailbox.hpp>
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

/// How a server goes down without its clients noticing much (protocol 12): every socket closes with 1012.
///
/// Batches help behind a balancer that already sends new connections elsewhere: a client that is closed finds another
/// server, and those servers do not get all clients at once. Without a balancer they hurt: a client that was closed early
/// comes back to this server, is refused while it drains, and waits longer before it tries again. There close all at once
/// (`batch` = UINT32_MAX). Seen with a rolling restart: all clients were back after 3.8 s, no attempt refused, behind a
/// balancer, after 5.7 s without.
struct drain_options {
  std::uint32_t batch = 10'000;                 ///< sockets of one loop closed at a time
  duration interval = std::chrono::seconds(2);  ///< between two batches; max(): the second goes at the limit
  duration limit = std::chrono::seconds(30);    ///< after this all that are left go at once; max(): never
};

/// Somebody who has something to do at times of its own, such as presence. The loops of the endpoint see to it: whichever
/// runs first when it is due calls `beat`, inside that loop, outside of every callback, never two at once.
///   beat: returns when it wants to be called next; it may be called earlier.
///   gone: the endpoint goes, and is not to be used after that.
struct ticker {
  /// Handed to the functions.
  void* self = nullptr;
  /// Called inside a loop when its time has come. @return when next.
  time_point (*beat)(void* self, time_point now) noexcept = nullptr;
  /// Called once, when the endpoint goes.
  void (*gone)(void* self) noexcept = nullptr;
};

namespace detail {
/// The other loops as one loop last saw them: read without a lock, renewed when a loop came or went.
struct peer_list {
  std::uint64_t version = 0;
  array<mailbox*> boxes{};  // one count of each
  void clear(memory const& from) noexcept {
    for (mailbox* const b : boxes) b->drop();
    boxes.free(from);
  }
};
}  // namespace detail

/// All loops of a process, from any thread: broadcast to every client, disconnect by id, drain. Construct it before its
/// loops, destroy it after them; attach a PubSub before it serves.
class endpoint {
 public:
  endpoint() = default;
  endpoint(endpoint const&) = delete;
  endpoint& operator=(endpoint const&) = delete;
  /// @pre its loops are gone.
  ~endpoint() {
    for (ticker const& p : tickers_) p.gone(p.self);
    if (others_) others_.stop(others_.host);
  }

  /// From now on every broadcast and every disconnect reaches the other nodes too, and theirs this one.
  /// @pre nothing is attached yet, and no loop serves. @param p outlives the endpoint. May throw what p.start throws.
  template <PubSub P>
  void attach(P& p) {
    // Before the start: the first thing it delivers may be answered. Undone when it throws.
    struct undo {
      detail::pubsub_ref& others;
      bool started = false;
      ~undo() {
        if (!started) others = {};
      }
    } attempt{others_};
    others_ = detail::pubsub_ref::of(p);
    p.start(*this);
    attempt.started = true;
  }
  /// What other nodes call this one. Without a PubSub the name an Erlang node has that knows no others.
  [[nodiscard]] std::string_view node_name() const noexcept {
    return others_ ? others_.node_name(others_.host) : std::string_view("nonode@nohost");
  }

  /// To all subscribers of `topic` in every loop of every node. From any thread; arrives when the loops run next, at those
  /// who were subscribed when it was called: a channel whose `join` broadcasts on its own topic does not get it, nor does
  /// one that subscribes afterwards. A subscriber whose serializer cannot carry it is skipped and counted.
  /// @param key what it is about, where a slow client is to get the latest only (pressure_policy::keep_latest).
  /// In Phoenix an adapter that fails keeps the broadcast from the own node as well (protocol 13.1); here the own node is
  /// always served, and what did not go further is said and counted.
  /// @return errc::invalid_payload: nothing was sent. errc::limit_reached: a mailbox was full. errc::nodes_not_reached: this
  ///   node was served, the others were not.
  errc broadcast(std::string_view topic, std::string_view event, payload const& data, std::string_view key = {}) noexcept {
    if (!data.valid()) return errc::invalid_payload;
    return post_everywhere({topic, event, detail::payload_access::lend(data), {}, key}, true);
  }
  /// To the subscribers on this node only.
  errc local_broadcast(std::string_view topic, std::string_view event, payload const& data,
                       std::string_view key = {}) noexcept {
    if (!data.valid()) return errc::invalid_payload;
    return post_all({topic, event, detail::payload_access::lend(data), {}, key}, true);
  }
  /// Ends every socket with this id on every node (protocol 8.1): close 1001, its clients come back. It gets into a full
  /// mailbox too. Called in `connect`, it ends the older sockets and not the one that is being made.
  /// @return errc::nodes_not_reached: on this node only.
  errc disconnect(std::string_view id) noexcept {
    return post_everywhere({id, event::disconnect, detail::empty_object, {}}, false);
  }

  /// To the other nodes only. From any thread. Without a PubSub there are none: ok.
  /// @return dropped, closed: it was not sent, and is counted in unsent().
  send_status to_others(phx::broadcast const& b) noexcept {
    return others_ ? counted(others_.broadcast(others_.host, b)) : send_status::ok;
  }
  /// To one node, which may be this one. From any thread.
  /// @return closed without a PubSub.
  send_status to_node(std::string_view node, phx::broadcast const& b) noexcept {
    return others_ ? counted(others_.direct_broadcast(others_.host, node, b)) : send_status::closed;
  }
  /// What the PubSub would not take so far. From any thread.
  [[nodiscard]] std::uint64_t unsent() const noexcept { return unsent_.load(std::memory_order_relaxed); }

  /// For the PubSub: what another node published, to this node's subscribers (there is no sender among them to leave out),
  /// or to those who listen. From any thread. A `disconnect` gets into a full mailbox too.
  /// @return congested: taken, and a loop is far behind: better wait until congested() is false. dropped: a loop's mailbox
  ///   was full, or there was no memory; the other loops have it.
  send_status deliver(phx::broadcast const& b) noexcept {
    if (!b.payload.valid()) return send_status::dropped;
    if (listening_.load(std::memory_order_acquire) != 0 && heard(b)) return send_status::ok;
    if (post_all(b, b.event != event::disconnect) != errc::none) return send_status::dropped;
    return congested() ? send_status::congested : send_status::ok;
  }
  /// Some loop's mailbox is more than half full. From any thread.
  [[nodiscard]] bool congested() const noexcept {
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_)
      if (box->crowded()) return true;
    return false;
  }

  /// What other nodes publish on `topic` goes to `who` (and to all others who listen), no longer to the loops. What this
  /// node publishes does not. From any thread but not from within `heard`.
  void listen(std::string_view topic, listener listener) {
    auto fresh = std::make_unique<listening>();
    fresh->topic = topic;
    fresh->target = listener;
    std::lock_guard const hold(listening_mutex_);
    fresh->number = ++listened_;
    listeners_.push_back(std::move(fresh));
    listening_.store(static_cast<std::uint32_t>(listeners_.size()), std::memory_order_release);
  }
  /// When it returns `self` is not called any more. @pre not called from within `heard`.
  void unlisten(std::string_view topic, void* self) noexcept {
    std::unique_lock hold(listening_mutex_);
    for (std::size_t i = 0; i < listeners_.size();) {
      if (listeners_[i]->target.self != self || listeners_[i]->topic != topic) {
        ++i;
        continue;
      }
      std::unique_ptr<listening> const going = std::move(listeners_[i]);
      listeners_.erase(listeners_.begin() + static_cast<std::ptrdiff_t>(i));
      listening_.store(static_cast<std::uint32_t>(listeners_.size()), std::memory_order_release);
      heard_.wait(hold, [&] { return going->calls == 0; });
      i = 0;  // others may have come and gone meanwhile
    }
  }

  /// Somebody listens on `topic`: what channels say there would be taken for another node's word. From any thread.
  [[nodiscard]] bool listens(std::string_view topic) const noexcept {
    if (listening_.load(std::memory_order_acquire) == 0) return false;
    std::lock_guard const hold(listening_mutex_);
    for (auto const& l : listeners_)
      if (l->topic == topic) return true;
    return false;
  }
  /// Other nodes may hear what is published here.
  [[nodiscard]] bool has_others() const noexcept { return static_cast<bool>(others_); }

  /// From now on `p.beat` is called when it is due, the first time soon. @pre not called from within a beat.
  void add(ticker p) {
    {
      std::lock_guard const hold(pulse_mutex_);
      tickers_.push_back(p);
    }
    hurry((time_point::min)());
  }
  /// When it returns `self` is not called any more. @pre not called from within a beat.
  void remove(void* self) noexcept {
    std::lock_guard const hold(pulse_mutex_);
    std::erase_if(tickers_, [&](ticker const& p) { return p.self == self; });
  }
  /// A pulse is due at `at` already. From any thread.
  void hurry(time_point at) noexcept {
    if (!due_by(at)) return;
    std::lock_guard const hold(mutex_);
    if (!boxes_.empty()) boxes_.front()->wake();
  }

  /// Drains every loop. From any thread; done when sockets() is 0.
  void drain(drain_options const& opts = {}) noexcept {
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_) {
      detail::mail* const m = detail::mail::make(box->from(), detail::mail_kind::drain);
      if (m == nullptr) continue;
      m->numbers[0] = opts.batch;
      m->numbers[1] = opts.interval.count();
      m->numbers[2] = opts.limit.count();
      (void)box->post(m, false);
    }
  }
  /// Sockets of all loops, as each last said. From any thread.
  [[nodiscard]] std::uint32_t sockets() const noexcept {
    std::uint32_t sum = 0;
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_) sum += box->live.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  friend class loop;
  friend struct detail::loop_access;

  /// Brings the time nearer at which a loop is to call `beat`. @return whether it was later.
  bool due_by(time_point at) noexcept {
    duration::rep const wanted = at.time_since_epoch().count();
    duration::rep now = due_.load(std::memory_order_relaxed);
    while (wanted < now)
      if (due_.compare_exchange_weak(now, wanted, std::memory_order_release, std::memory_order_relaxed)) return true;
    return false;
  }
  [[nodiscard]] time_point due() const noexcept { return time_point(duration(due_.load(std::memory_order_acquire))); }
  /// Inside a loop. If another one is at it, that one also sees to what comes next.
  void beat(time_point now) noexcept {
    std::unique_lock const hold(pulse_mutex_, std::try_to_lock);
    if (!hold) return;
    // Before they are asked: who hurries from now on is heard.
    due_.store((time_point::max)().time_since_epoch().count(), std::memory_order_release);
    time_point next = (time_point::max)();
    for (ticker const& p : tickers_)
      if (time_point const its = p.beat(p.self, now); its < next) next = its;
    due_by(next);
  }

  void add(detail::mailbox_ref const& box) {
    std::lock_guard const hold(mutex_);
    boxes_.push_back(box);
    version_.fetch_add(1, std::memory_order_release);
  }
  void remove(detail::mailbox_ref const& box) noexcept {
    std::lock_guard const hold(mutex_);
    std::erase_if(boxes_, [&](detail::mailbox_ref const& b) { return b.get() == box.get(); });
    version_.fetch_add(1, std::memory_order_release);
    // It may have been the one that would have run for a pulse.
    if (due() != (time_point::max)() && !boxes_.empty()) boxes_.front()->wake();
  }
  void refresh(detail::peer_list& seen, memory const& from) noexcept {
    if (version_.load(std::memory_order_acquire) == seen.version) return;
    std::lock_guard const hold(mutex_);
    detail::array<detail::mailbox*> fresh;
    // Without memory the old list serves until the next time: a loop that went answers `closed`, a new one misses this.
    if (!fresh.reserve(from, boxes_.size())) return;
    for (detail::mailbox_ref const& b : boxes_) {
      b->keep();
      (void)fresh.push(from, b.get());
    }
    seen.clear(from);
    seen.boxes.swap(fresh);
    seen.version = version_.load(std::memory_order_relaxed);
  }
  struct listening {
    std::string topic{};
    listener target{};
    std::uint64_t number = 0;
    std::uint32_t calls = 0;
  };
  /// Calls run without the lock, so that whoever hears may publish, also through a PubSub that delivers on the same thread.
  [[nodiscard]] bool heard(phx::broadcast const& b) noexcept {
    bool any = false;
    std::uint64_t after = 0;
    std::unique_lock hold(listening_mutex_);
    for (std::size_t i = 0; i < listeners_.size();) {
      listening* const l = listeners_[i].get();
      if (l->number <= after || l->topic != b.topic) {
        ++i;
        continue;
      }
      any = true;
      after = l->number;
      ++l->calls;
      hold.unlock();
      l->target.heard(l->target.self, b);
      hold.lock();
      if (--l->calls == 0) heard_.notify_all();
      i = 0;  // the list may have changed
    }
    return any;
  }
  [[nodiscard]] send_status counted(send_status s) noexcept {
    if (s == send_status::dropped || s == send_status::closed) unsent_.fetch_add(1, std::memory_order_relaxed);
    return s;
  }
  [[nodiscard]] bool reached_others(phx::broadcast const& b) noexcept {
    send_status const s = to_others(b);
    return s == send_status::ok || s == send_status::congested;
  }
  errc post_everywhere(phx::broadcast const& b, bool bounded) noexcept {
    errc const local = post_all(b, bounded);
    return reached_others(b) || local != errc::none ? local : errc::nodes_not_reached;
  }
  /// @param but a loop that has it already
  errc post_all(phx::broadcast const& b, bool bounded, detail::mailbox const* but = nullptr) noexcept {
    errc outcome = errc::none;
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_)
      if (box.get() != but && post(*box.get(), b, bounded) == send_status::dropped) outcome = errc::limit_reached;
    return outcome;
  }
  /// The bytes are copied into the mail, so that no count is shared between two loops.
  [[nodiscard]] static send_status post(detail::mailbox& box, phx::broadcast const& b, bool bounded) noexcept {
    detail::mail* const m =
        detail::mail::make(box.from(), detail::mail_kind::broadcast, b.topic, b.event, b.payload.raw(), b.key);
    if (m == nullptr) return send_status::dropped;
    m->payload = detail::payload_access::borrow(m->text(2), b.payload.is_binary());
    m->numbers[0] = static_cast<std::int64_t>(box.epoch.load(std::memory_order_relaxed));
    return box.post(m, bounded);
  }

  mutable std::mutex mutex_;
  std::vector<detail::mailbox_ref> boxes_;
  std::atomic<std::uint64_t> version_{1};
  std::mutex pulse_mutex_;
  std::vector<ticker> tickers_;
  std::atomic<duration::rep> due_{(time_point::max)().time_since_epoch().count()};
  detail::pubsub_ref others_{};
  std::atomic<std::uint64_t> unsent_{0};
  mutable std::mutex listening_mutex_;
  std::condition_variable heard_;
  std::vector<std::unique_ptr<listening>> listeners_;
  std::uint64_t listened_ = 0;
  std::atomic<std::uint32_t> listening_{0};  // how many, for those who need not look
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

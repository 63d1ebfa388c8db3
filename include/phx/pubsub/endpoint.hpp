#ifndef PHX_PUBSUB_ENDPOINT_HPP
#define PHX_PUBSUB_ENDPOINT_HPP
// All loops of a process: what is said here, from any thread, reaches the sockets of all of them.

#include <phx/pubsub/detail/mailbox.hpp>

#include <mutex>
#include <vector>

namespace phx::inline PHX_BUILD {

class loop;

/// How a server goes down without its clients noticing much (protocol 12): every socket closes with 1012.
struct drain_options {
  std::uint32_t batch = 10'000;                      ///< sockets of one loop closed at a time
  duration interval = std::chrono::seconds(2);       ///< between two batches
  duration limit = std::chrono::seconds(30);         ///< after this all that are left go at once
};

namespace detail {
/// The other loops as one loop last saw them: read without a lock, renewed when a loop came or went.
struct peer_list {
  std::uint64_t version = 0;
  std::vector<mailbox_ref> boxes{};
  std::vector<mailbox*> plain{};
  [[nodiscard]] auto begin() const noexcept { return plain.begin(); }
  [[nodiscard]] auto end() const noexcept { return plain.end(); }
};
}  // namespace detail

class endpoint {
 public:
  endpoint() = default;
  endpoint(endpoint const&) = delete;
  endpoint& operator=(endpoint const&) = delete;
  /// @pre its loops are gone.
  ~endpoint() = default;

  /// To all subscribers of `topic` in every loop. From any thread; arrives when the loops run next. A subscriber whose
  /// serializer cannot carry it is skipped and counted.
  /// @return errc::invalid_payload: nothing was sent. errc::limit_reached: a mailbox was full.
  errc broadcast(std::string_view topic, std::string_view event, payload const& what) noexcept {
    if (!what.valid()) return errc::invalid_payload;
    return post_all({topic, event, detail::payload_access::lend(what), {}}, true);
  }
  /// Ends every socket with this id (protocol 8.1): close 1001, its clients come back. It gets into a full mailbox too.
  errc disconnect(std::string_view id) noexcept {
    return post_all({id, event::disconnect, detail::empty_object, {}}, false);
  }

  /// Drains every loop. From any thread; done when sockets() is 0.
  void drain(drain_options const& how = {}) noexcept {
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_) {
      detail::mail* const m = detail::mail::make(box->from(), detail::mail_kind::drain);
      if (m == nullptr) continue;
      m->numbers[0] = how.batch;
      m->numbers[1] = how.interval.count();
      m->numbers[2] = how.limit.count();
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

  void add(detail::mailbox_ref const& box) {
    std::lock_guard const hold(mutex_);
    boxes_.push_back(box);
    version_.fetch_add(1, std::memory_order_release);
  }
  void remove(detail::mailbox_ref const& box) noexcept {
    std::lock_guard const hold(mutex_);
    std::erase_if(boxes_, [&](detail::mailbox_ref const& b) { return b.get() == box.get(); });
    version_.fetch_add(1, std::memory_order_release);
  }
  void refresh(detail::peer_list& seen) noexcept {
    if (version_.load(std::memory_order_acquire) == seen.version) return;
    std::lock_guard const hold(mutex_);
    seen.version = version_.load(std::memory_order_relaxed);
    seen.boxes = boxes_;
    seen.plain.clear();
    for (detail::mailbox_ref const& b : seen.boxes) seen.plain.push_back(b.get());
  }
  errc post_all(phx::broadcast const& b, bool bounded) noexcept {
    errc outcome = errc::none;
    std::lock_guard const hold(mutex_);
    for (detail::mailbox_ref const& box : boxes_)
      if (post(*box.get(), b, bounded) == send_status::dropped) outcome = errc::limit_reached;
    return outcome;
  }
  /// The bytes are copied into the mail, so that no count is shared between two loops.
  [[nodiscard]] static send_status post(detail::mailbox& box, phx::broadcast const& b, bool bounded) noexcept {
    detail::mail* const m = detail::mail::make(box.from(), detail::mail_kind::broadcast, b.topic, b.event, b.payload.raw());
    if (m == nullptr) return send_status::dropped;
    m->payload = detail::payload_access::borrow(m->text(2), b.payload.is_binary());
    return box.post(m, bounded);
  }

  mutable std::mutex mutex_;
  std::vector<detail::mailbox_ref> boxes_;
  std::atomic<std::uint64_t> version_{1};
};

}  // namespace phx::inline PHX_BUILD

#endif

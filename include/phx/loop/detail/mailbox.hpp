#ifndef PHX_LOOP_DETAIL_MAILBOX_HPP
#define PHX_LOOP_DETAIL_MAILBOX_HPP
// How other threads give a loop work: they post mails without a lock, the loop takes all of them at once.

#include <phx/core/limits.hpp>
#include <phx/core/send_status.hpp>
#include <phx/loop/detail/mail.hpp>

namespace phx {
inline namespace PHX_BUILD {

class endpoint;

namespace detail {

/// The mailbox of one loop. Lock-free: a stack that the loop takes whole and reverses, so that the mails of one thread stay in
/// their order. Reference-counted, because channel_id and reply_to may outlive their loop; ~loop closes it. post costs a few
/// atomic operations, and one call of the host's wake if the mailbox was empty.
class mailbox {
 public:
  struct waker_ref {
    void* host;
    void (*wake)(void*) noexcept;
  };

  /// @param limit limits::mailbox
  /// @param limit_bytes limits::mailbox_bytes
  mailbox(memory const& from, std::uint32_t limit, std::size_t limit_bytes, waker_ref waker) noexcept
      : from_(from), limit_(limit), limit_bytes_(limit_bytes), waker_(waker) {}
  mailbox(mailbox const&) = delete;
  mailbox& operator=(mailbox const&) = delete;
  ~mailbox() {
    mail* m = head_.load(std::memory_order_relaxed);
    while (m != nullptr && m != &closed_) mail::free(std::exchange(m, m->next));
  }

  void add_ref() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void drop_ref() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      memory const from = from_;
      destroy(from, this);
    }
  }
  [[nodiscard]] memory const& from() const noexcept { return from_; }

  /// Takes `m` in any case; null is answered `dropped`. @param bounded false for mail that must always get in: exits,
  /// verdicts, a drain.
  send_status post(mail* m, bool bounded) noexcept {
    if (m == nullptr) return send_status::dropped;
    if (bounded &&
        (waiting_.load(std::memory_order_relaxed) >= limit_ || bytes_.load(std::memory_order_relaxed) >= limit_bytes_)) {
      if (head_.load(std::memory_order_acquire) == &closed_) {  // it was full when its loop was destroyed, and stays so
        mail::free(m);
        return send_status::closed;
      }
      dropped_.fetch_add(1, std::memory_order_relaxed);
      mail::free(m);
      return send_status::dropped;
    }
    // ~loop waits for posters_ to be zero after it has closed the mailbox: until then the waker and the endpoint live.
    posters_.fetch_add(1, std::memory_order_seq_cst);
    waiting_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(m->weight(), std::memory_order_relaxed);
    mail* head = head_.load(std::memory_order_acquire);
    do {
      if (head == &closed_) {
        posters_.fetch_sub(1, std::memory_order_release);
        mail::free(m);
        return send_status::closed;
      }
      m->next = head;
    } while (!head_.compare_exchange_weak(head, m, std::memory_order_release, std::memory_order_acquire));
    if (head == nullptr) waker_.wake(waker_.host);
    posters_.fetch_sub(1, std::memory_order_release);
    return send_status::ok;
  }

  /// Keeps the loop and its endpoint from being destroyed until `leave`. False: the loop has gone; do not call `leave`. From
  /// any thread. ~loop spins meanwhile: only for a few posts.
  [[nodiscard]] bool enter() noexcept {
    posters_.fetch_add(1, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) != &closed_) return true;
    leave();
    return false;
  }
  void leave() noexcept { posters_.fetch_sub(1, std::memory_order_release); }

  // ---- for the loop

  /// Moves all mails behind those in `to`, in the order in which they were posted.
  void take(mail_queue& to) noexcept {
    if (head_.load(std::memory_order_relaxed) == nullptr) return;
    mail* m = head_.exchange(nullptr, std::memory_order_acquire);
    mail* reversed = nullptr;
    std::uint32_t count = 0;
    std::size_t bytes = 0;
    while (m != nullptr) {
      mail* const next = m->next;
      bytes += m->weight();
      m->next = reversed;
      reversed = m;
      m = next;
      ++count;
    }
    waiting_.fetch_sub(count, std::memory_order_relaxed);
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    while (reversed != nullptr) {
      mail* const next = reversed->next;
      to.push(reversed);
      reversed = next;
    }
  }
  void close() noexcept {
    mail* m = head_.exchange(&closed_, std::memory_order_seq_cst);
    while (posters_.load(std::memory_order_seq_cst) != 0) {
      // A poster is between its push and its wake: a few instructions, of which the host's `wake` is the longest. One that
      // has entered is posting to the other loops of the endpoint.
    }
    while (m != nullptr && m != &closed_) mail::free(std::exchange(m, m->next));
  }
  void wake() noexcept { waker_.wake(waker_.host); }
  /// Mails that were posted and not taken yet. From any thread.
  [[nodiscard]] std::uint32_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }
  /// Whether it is more than half full.
  [[nodiscard]] bool congested() const noexcept {
    return waiting_.load(std::memory_order_relaxed) > limit_ / 2 ||
           bytes_.load(std::memory_order_relaxed) > limit_bytes_ / 2;
  }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

  std::atomic<std::uint32_t> sockets{0};  ///< of this loop; written by the loop, read by the endpoint
  std::atomic<bool> drained{false};       ///< the loop drains, and had no socket when it last looked; likewise
  /// topic_table::subscriptions of this loop: a broadcast posted now is not for those who subscribe later.
  std::atomic<std::uint64_t> epoch{0};
  phx::endpoint* everywhere = nullptr;  ///< the loop's; only while the loop lives, see `enter`

 private:
  memory from_;
  std::uint32_t const limit_;
  std::size_t const limit_bytes_;
  waker_ref const waker_;
  std::atomic<std::uint32_t> references_{1};
  mail closed_{};  ///< never posted: the head points to it once the mailbox is closed
  // What other threads write is kept apart from what they only read. Padding, not alignas: the memory hook aligns for
  // std::max_align_t only.
  [[maybe_unused]] char padding_[64] = {};
  std::atomic<mail*> head_{nullptr};
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<std::uint32_t> posters_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

/// Shared ownership of a mailbox.
class mailbox_ref {
 public:
  mailbox_ref() = default;
  explicit mailbox_ref(mailbox* box) noexcept : box_(box) {
    if (box_ != nullptr) box_->add_ref();
  }
  mailbox_ref(mailbox_ref const& other) noexcept : mailbox_ref(other.box_) {}
  mailbox_ref(mailbox_ref&& other) noexcept : box_(std::exchange(other.box_, nullptr)) {}
  mailbox_ref& operator=(mailbox_ref other) noexcept {
    std::swap(box_, other.box_);
    return *this;
  }
  ~mailbox_ref() {
    if (box_ != nullptr) box_->drop_ref();
  }
  /// Takes over the reference that a new mailbox begins with.
  [[nodiscard]] static mailbox_ref adopt(mailbox* box) noexcept {
    mailbox_ref r;
    r.box_ = box;
    return r;
  }
  [[nodiscard]] mailbox* operator->() const noexcept { return box_; }
  [[nodiscard]] mailbox* get() const noexcept { return box_; }
  [[nodiscard]] explicit operator bool() const noexcept { return box_ != nullptr; }

 private:
  mailbox* box_ = nullptr;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

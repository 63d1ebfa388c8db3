#ifndef PHX_LOOP_DETAIL_MAILBOX_HPP
#define PHX_LOOP_DETAIL_MAILBOX_HPP
// Late work as data: one mail is one thing to be done inside a loop. The mailbox takes mails from any thread without a lock;
// the loop's own queue and its timers are made of the same mails.

#include <phx/core/exit_reason.hpp>
#include <phx/core/limits.hpp>
#include <phx/core/send_status.hpp>
#include <phx/message/message.hpp>

namespace phx {
inline namespace PHX_BUILD {

class endpoint;

namespace detail {

enum class mail_kind : std::uint8_t {
  broadcast,  // topic, event, payload's text, key: to this loop's subscribers that subscribed before; numbers[0]: the epoch
  out,        // topic, event, key, payload: an intercepted broadcast for one channel's handle_out
  push,       // event, key, payload
  cast,       // event, key, topic, payload: a broadcast by a channel_id, as above; granted: to all but that channel
  info,   // event, payload: for handle_info; granted: a broadcast on another topic, which is the second text; numbers[0]: by
          // a timer
  reply,  // topic, ref, join_ref, status, payload
  last_push,  // topic, event, join_ref, payload: by a channel whose life is over
  verdict,    // payload; granted
  exit,       // reason
  deadline,   // of a pending join
  inbound,    // a message held for a pending join: its six texts
  drain,      // count, and two durations in nanoseconds
  component,  // for what lives on the loop beside its sockets: slot is its number, the rest its own business
  watch,      // an end_watch, for one channel
};

/// Somebody who wants to know when a channel's life is over, whatever its end was. It is called once, by the loop when the
/// channel has been told, or by whoever finds that there is no such channel (any more, or no such loop); then it is not used
/// again.
struct end_watch {
  end_watch* next = nullptr;
  void (*ended)(end_watch*, exit_reason) noexcept = nullptr;
};

/// One thing to be done. Addressed by value: slot and generation name the socket, number the life of one of its channels.
struct mail {
  static constexpr std::size_t texts = 6;

  mail* next = nullptr;
  void (*release)(void*, std::size_t) noexcept = nullptr;
  std::uint32_t slot = 0, generation = 0, number = 0;
  mail_kind kind = mail_kind::broadcast;
  bool granted = false;
  exit_reason reason = exit_reason::normal;
  phx::status status = phx::status::ok;
  phx::payload payload{};
  end_watch* watch = nullptr;
  std::int64_t numbers[3] = {};
  std::uint32_t sizes[texts] = {};

  [[nodiscard]] std::string_view text(std::size_t which) const noexcept {
    char const* at = reinterpret_cast<char const*>(this + 1);
    for (std::size_t i = 0; i < which; ++i) at += sizes[i];
    return {at, sizes[which]};
  }
  [[nodiscard]] std::size_t total() const noexcept {
    std::size_t sum = sizeof(mail);
    for (std::uint32_t const s : sizes) sum += s;
    return sum;
  }
  /// Bytes it keeps; a payload that several mails share counts for each, one that lies in a text of its own does not again.
  [[nodiscard]] std::size_t weight() const noexcept {
    return total() + (payload_access::borrowed(payload) ? 0 : payload.raw().size());
  }
  /// Null without memory. The texts are copied behind the mail, in one piece with it.
  template <class... Text>
  [[nodiscard]] static mail* make(memory const& from, mail_kind kind, Text const&... parts) noexcept {
    static_assert(sizeof...(Text) <= texts);
    std::string_view const given[texts] = {std::string_view(parts)...};
    std::size_t total = sizeof(mail);
    for (std::string_view const t : given) total += t.size();
    void* const at = from.allocate(total);
    if (at == nullptr) return nullptr;
    mail* const made = new (at) mail;
    made->kind = kind;
    made->release = from.release;
    char* into = reinterpret_cast<char*>(made + 1);
    for (std::size_t i = 0; i < texts; ++i) {
      made->sizes[i] = static_cast<std::uint32_t>(given[i].size());
      if (!given[i].empty()) std::memcpy(into, given[i].data(), given[i].size());
      into += given[i].size();
    }
    return made;
  }
  /// `m` gets the payload. Without memory for one it is freed.
  [[nodiscard]] static bool carries(mail* m, phx::payload const& data, memory const& from) noexcept {
    m->payload = payload_access::owned(data, from);
    if (m->payload.valid() || !data.valid()) return true;
    free(m);
    return false;
  }
  static void free(mail* m) noexcept {
    std::size_t const size = m->total();
    auto const function = m->release;
    end_watch* const unmet = m->watch;
    m->~mail();
    function(m, size);
    if (unmet != nullptr) unmet->ended(unmet, exit_reason::closed);
  }
};

/// First in, first out, of one thread.
class mail_queue {
 public:
  mail_queue() = default;
  mail_queue(mail_queue const&) = delete;
  mail_queue& operator=(mail_queue const&) = delete;
  ~mail_queue() { clear(); }

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  void push(mail* m) noexcept {
    m->next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = m;
    last_ = m;
  }
  [[nodiscard]] mail* pop() noexcept {
    mail* const m = first_;
    if (m != nullptr) first_ = m->next;
    return m;
  }
  void swap(mail_queue& other) noexcept {
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
  }
  void clear() noexcept {
    while (mail* const m = pop()) mail::free(m);
  }

 private:
  mail* first_ = nullptr;
  mail* last_ = nullptr;
};

/// Many threads post, one loop takes. Lock-free: a stack that the loop takes whole and turns round, so that what one thread
/// posted stays in its order. Counted, because channel_id and reply_to may outlive their loop; ~loop closes it.
class mailbox {
 public:
  struct waker_ref {
    void* host;
    void (*wake)(void*) noexcept;
  };

  /// @param most, @param most_bytes limits::mailbox, limits::mailbox_bytes
  mailbox(memory const& from, std::uint32_t most, std::size_t most_bytes, waker_ref waker) noexcept
      : from_(from), most_(most), most_bytes_(most_bytes), waker_(waker) {}
  mailbox(mailbox const&) = delete;
  mailbox& operator=(mailbox const&) = delete;
  ~mailbox() {
    mail* m = head_.load(std::memory_order_relaxed);
    while (m != nullptr && m != &end_) mail::free(std::exchange(m, m->next));
  }

  void keep() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
  void drop() noexcept {
    if (owners_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      memory const from = from_;
      destroy(from, this);
    }
  }
  [[nodiscard]] memory const& from() const noexcept { return from_; }

  /// Takes `m` in any case. @param bounded false for what must always get in: exits, verdicts, a drain.
  send_status post(mail* m, bool bounded) noexcept {
    if (m == nullptr) return send_status::dropped;
    if (bounded &&
        (waiting_.load(std::memory_order_relaxed) >= most_ || bytes_.load(std::memory_order_relaxed) >= most_bytes_)) {
      if (head_.load(std::memory_order_acquire) == &end_) {  // it was full when its loop went: nobody will make room
        mail::free(m);
        return send_status::closed;
      }
      dropped_.fetch_add(1, std::memory_order_relaxed);
      mail::free(m);
      return send_status::dropped;
    }
    // ~loop waits for posters_ to be zero after it has closed the box: until then the waker and the endpoint live.
    posters_.fetch_add(1, std::memory_order_seq_cst);
    waiting_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(m->weight(), std::memory_order_relaxed);
    mail* head = head_.load(std::memory_order_acquire);
    do {
      if (head == &end_) {
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

  /// From true to `leave` the loop and its endpoint are not destroyed. From any thread, for a few posts.
  [[nodiscard]] bool enter() noexcept {
    posters_.fetch_add(1, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) != &end_) return true;
    leave();
    return false;
  }
  void leave() noexcept { posters_.fetch_sub(1, std::memory_order_release); }

  // ---- the loop's side
  void take(mail_queue& into) noexcept {
    if (head_.load(std::memory_order_relaxed) == nullptr) return;
    mail* m = head_.exchange(nullptr, std::memory_order_acquire);
    mail* turned = nullptr;
    std::uint32_t count = 0;
    std::size_t bytes = 0;
    while (m != nullptr) {
      mail* const next = m->next;
      bytes += m->weight();
      m->next = turned;
      turned = m;
      m = next;
      ++count;
    }
    waiting_.fetch_sub(count, std::memory_order_relaxed);
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    while (turned != nullptr) {
      mail* const next = turned->next;
      into.push(turned);
      turned = next;
    }
  }
  void close() noexcept {
    mail* m = head_.exchange(&end_, std::memory_order_seq_cst);
    while (posters_.load(std::memory_order_seq_cst) != 0) {
      // A poster is between its push and its wake: a few instructions, of which the host's `wake` is the longest. One that has
      // entered is posting to the other loops of the endpoint.
    }
    while (m != nullptr && m != &end_) mail::free(std::exchange(m, m->next));
  }
  void wake() noexcept { waker_.wake(waker_.host); }
  /// More than half full.
  [[nodiscard]] bool crowded() const noexcept {
    return waiting_.load(std::memory_order_relaxed) > most_ / 2 || bytes_.load(std::memory_order_relaxed) > most_bytes_ / 2;
  }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }

  std::atomic<std::uint32_t> live{0};  ///< sockets of this loop; written by the loop, read by the endpoint
  /// topic_table::subscriptions of this loop, for mails: what is posted now is not for those who subscribe later.
  std::atomic<std::uint64_t> epoch{0};
  phx::endpoint* everywhere = nullptr;  ///< the loop's; only while it lives, see `enter`

 private:
  memory from_;
  std::uint32_t const most_;
  std::size_t const most_bytes_;
  waker_ref const waker_;
  std::atomic<std::uint32_t> owners_{1};
  mail end_{};  ///< its address says: closed
  // What other loops write stands apart from what they only read.
  // Padding, not alignas: the hook's memory is aligned for std::max_align_t only.
  [[maybe_unused]] char apart_[64] = {};
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
    if (box_ != nullptr) box_->keep();
  }
  mailbox_ref(mailbox_ref const& other) noexcept : mailbox_ref(other.box_) {}
  mailbox_ref(mailbox_ref&& other) noexcept : box_(std::exchange(other.box_, nullptr)) {}
  mailbox_ref& operator=(mailbox_ref other) noexcept {
    std::swap(box_, other.box_);
    return *this;
  }
  ~mailbox_ref() {
    if (box_ != nullptr) box_->drop();
  }
  /// Takes the count its maker holds.
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

#ifndef PHX_LOOP_DETAIL_MAIL_HPP
#define PHX_LOOP_DETAIL_MAIL_HPP
// Work to be done later inside a loop, as data: one struct for each kind. A loop's mailbox, its run queue and its timers hold
// the same mails.

#include <phx/core/exit_reason.hpp>
#include <phx/loop/drain_options.hpp>
#include <phx/loop/socket_id.hpp>
#include <phx/message/message.hpp>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {

enum class mail_kind : std::uint8_t {
  broadcast,
  cast,
  drain,
  component,
  // for one channel or socket: channel_mail
  intercepted,
  push,
  info,
  reply,
  last_push,
  verdict,
  exit,
  deadline,
  inbound,
  watch,
  resume,
};

/// Is called once when a channel has ended, however it ended: by the loop, after the channel's terminate; or on any thread, if
/// the channel or its loop no longer exists when the watch is added. It is not used after that.
struct end_watch {
  end_watch* next = nullptr;
  void (*ended)(end_watch*, exit_reason) noexcept = nullptr;
};

template <class M>
struct mail_text;

/// The head of every mail. The texts of a mail lie behind it in one allocation; its members of type std::string_view refer to
/// them. A kind adds only members that need no destructor. Created by `make`, destroyed by `free`;
/// one queue or pointer owns it at a time.
struct mail {
  mail* next = nullptr;
  void (*release)(void*, std::size_t) noexcept = nullptr;
  phx::payload payload{};  ///< of the message that it carries; empty for the kinds that carry none
  std::uint32_t size = 0;  ///< of its allocation
  mail_kind kind = mail_kind::broadcast;

  /// A mail of type M with copies of the texts. Null without memory.
  ///     mail::make<push_mail>(from, {{&push_mail::event, event}, {&push_mail::key, key}})
  template <class M, std::size_t N>
  [[nodiscard]] static M* make(memory const& from, mail_text<M> const (&texts)[N]) noexcept {
    return make<M>(from, texts, N);
  }
  template <class M>
  [[nodiscard]] static M* make(memory const& from) noexcept {
    return make<M>(from, nullptr, 0);
  }
  /// Gives `m` the payload; bytes that it only borrows are copied. False without memory: `m` has been freed.
  [[nodiscard]] static bool set_payload(mail* m, phx::payload const& data, memory const& from) noexcept {
    m->payload = payload_access::owned(data, from);
    if (m->payload.valid() || !data.valid()) return true;
    free(m);
    return false;
  }
  static void free(mail* m) noexcept;

  template <class M>
  [[nodiscard]] M& as() noexcept {
    return static_cast<M&>(*this);
  }
  template <class M>
  [[nodiscard]] M const& as() const noexcept {
    return static_cast<M const&>(*this);
  }
  /// The bytes that it keeps from being freed. A payload that several mails share counts for each of them; one that lies in
  /// the mail's own texts is not counted again.
  [[nodiscard]] std::size_t weight() const noexcept {
    return size + (payload_access::borrowed(payload) ? 0 : payload.raw().size());
  }

 private:
  template <class M>
  [[nodiscard]] static M* make(memory const& from, mail_text<M> const* texts, std::size_t count) noexcept;
};

/// A text for `mail::make`, and the member that is to refer to its copy.
template <class M>
struct mail_text {
  std::string_view M::*member;
  std::string_view text;
};

template <class M>
inline M* mail::make(memory const& from, mail_text<M> const* texts, std::size_t count) noexcept {
  std::size_t total = sizeof(M);
  for (std::size_t i = 0; i < count; ++i) total += texts[i].text.size();
  if (total > UINT32_MAX) return nullptr;
  void* const at = from.allocate(total);
  if (at == nullptr) return nullptr;
  M* const made = new (at) M;
  made->kind = M::kind_of;
  made->release = from.release;
  made->size = static_cast<std::uint32_t>(total);
  char* to = reinterpret_cast<char*>(made + 1);
  for (std::size_t i = 0; i < count; ++i) {
    std::string_view const text = texts[i].text;
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    made->*texts[i].member = {to, text.size()};
    to += text.size();
  }
  return made;
}

/// A broadcast of another loop, node or thread, to those subscribers of this loop that had subscribed when it was posted.
struct broadcast_mail : mail {
  static constexpr mail_kind kind_of = mail_kind::broadcast;
  std::string_view topic{}, event{}, bytes{}, key{};  ///< the payload is in `bytes`: loops share no reference count
  std::uint64_t epoch = 0;                            ///< topic_table::subscriptions when it was posted
};

/// Closes the sockets of the loop.
struct drain_mail : mail {
  static constexpr mail_kind kind_of = mail_kind::drain;
  drain_options options{};
};

/// For a loop_component, which derives its messages from this.
struct component_mail : mail {
  static constexpr mail_kind kind_of = mail_kind::component;
  std::uint32_t component = 0;  ///< loop_component::number
};

/// For one life of one channel: dropped if that is over, with the exceptions below.
struct channel_mail : mail {
  socket_id to{};
  std::uint32_t number = 0;  ///< subscriber::number
};

/// What channel_id::broadcast posted to the loop of the channel. Published whatever has become of the channel.
struct cast_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::cast;
  std::string_view event{}, key{}, topic{};
  std::uint64_t epoch = 0;     ///< as of broadcast_mail
  bool except_sender = false;  ///< broadcast_from: the channel itself does not get it
};

/// An intercepted broadcast, for handle_out.
struct intercepted_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::intercepted;
  std::string_view topic{}, event{}, key{};
};

/// For the channel's client.
struct push_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::push;
  std::string_view event{}, key{};
};

/// For handle_info.
struct info_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::info;
  std::string_view event{};
  std::string_view topic{};  ///< of a broadcast on another topic; not set (null data) for what was sent to the channel
  bool timed = false;        ///< a timer brings it: it counts as one of the channel's timers
  /// Whether it is a broadcast on another topic. A topic may be empty.
  [[nodiscard]] bool on_other_topic() const noexcept { return topic.data() != nullptr; }
};

/// A reply_to's answer. Sent as long as the socket lives, whatever has become of the channel (protocol 6.3).
struct reply_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::reply;
  std::string_view topic{}, ref{}, join_ref{};
  phx::status status = phx::status::ok;
};

/// A push by an ended_channel. Sent until the client joins the topic again; it has no number.
struct last_push_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::last_push;
  std::string_view topic{}, event{}, join_ref{};
};

/// The verdict on a pending join: channel_id::joined or refused.
struct verdict_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::verdict;
  bool accepted = false;
};

/// Ends the channel.
struct exit_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::exit;
  exit_reason reason = exit_reason::normal;
};

/// Refuses a join that is still pending.
struct deadline_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::deadline;
};

/// A message of the client, kept until a pending join is decided.
struct inbound_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::inbound;
  std::string_view join_ref{}, ref{}, topic{}, event{};
  std::string_view topic_json{}, event_json{};  ///< json_text::json
};

/// Adds an end_watch to a channel. If the mail is freed with the watch in it, there was no such channel: the watch is called.
struct watch_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::watch;
  end_watch* watch = nullptr;
};

/// Has the socket read again after a pause (flood_policy::pause). It has no number.
struct resume_mail : channel_mail {
  static constexpr mail_kind kind_of = mail_kind::resume;
};

inline void mail::free(mail* m) noexcept {
  std::size_t const size = m->size;
  auto const function = m->release;
  end_watch* const unmet = m->kind == mail_kind::watch ? m->as<watch_mail>().watch : nullptr;
  m->~mail();
  function(m, size);
  if (unmet != nullptr) unmet->ended(unmet, exit_reason::closed);
}

/// First in, first out. One thread. It owns the mails in it.
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

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

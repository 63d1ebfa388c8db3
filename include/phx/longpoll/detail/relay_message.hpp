#ifndef PHX_LONGPOLL_DETAIL_RELAY_MESSAGE_HPP
#define PHX_LONGPOLL_DETAIL_RELAY_MESSAGE_HPP
// Messages between the long-poll services of several loops: a request may arrive at a loop that does not own its session.

#include <phx/longpoll/sessions.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// The address of a request that waits on another loop.
struct request_address {
  std::uint32_t service = 0;
  slot_key key{};
  [[nodiscard]] friend bool operator==(request_address, request_address) noexcept = default;
};

/// The mail of a relay_message.
struct relay_mail : component_mail {
  enum class kind_t : std::uint8_t { poll, post, cancel, answer, frames, outcome };

  std::string_view text{};
  slot_key session{}, request{};
  std::uint32_t peer = 0;             // the service at the other end
  std::uint32_t response_number = 0;  // of frames and their outcome
  std::uint16_t status = 0;           // of an answer
  kind_t relay_kind = kind_t::poll;
  bool is_batch = false;     // of a post
  bool was_written = false;  // of an outcome
};

/// One message, which owns its memory. A request message is turned into its answer, and the answer into its outcome, in the
/// same memory, so that answering cannot fail.
///
/// | kind | goes to | contains |
/// | --- | --- | --- |
/// | poll | the session's loop | session, request, text: the token |
/// | post | the session's loop | session, request, text: the body, is_batch |
/// | cancel | the session's loop | session, request: this poll no longer waits |
/// | answer | the request's loop | request, status |
/// | frames | the request's loop | request, session, response_number, body: the response 200 to a poll |
/// | outcome | the session's loop | session, response_number, was_written |
class relay_message {
 public:
  using kind_t = relay_mail::kind_t;

  relay_message() = default;
  /// Takes over a message from another loop.
  explicit relay_message(component_mail* received) noexcept : mail_(static_cast<relay_mail*>(received)) {}
  /// The message is empty if there is no memory. Copies the text.
  relay_message(memory const& from, kind_t kind, session_address to, request_address about, std::string_view text,
                bool is_batch = false) noexcept
      : mail_(mail::make<relay_mail>(from, {{&relay_mail::text, text}})) {
    if (mail_ == nullptr) return;
    mail_->relay_kind = kind;
    mail_->session = to.key;
    mail_->request = about.key;
    mail_->peer = about.service;
    mail_->is_batch = is_batch;
  }
  relay_message(relay_message&& other) noexcept : mail_(std::exchange(other.mail_, nullptr)) {}
  relay_message& operator=(relay_message&& other) noexcept {
    std::swap(mail_, other.mail_);
    return *this;
  }
  ~relay_message() { clear(); }

  [[nodiscard]] explicit operator bool() const noexcept { return mail_ != nullptr; }
  void clear() noexcept {
    if (mail_ != nullptr) mail::free(std::exchange(mail_, nullptr));
  }
  [[nodiscard]] relay_mail* release() noexcept { return std::exchange(mail_, nullptr); }

  [[nodiscard]] kind_t kind() const noexcept { return mail_->relay_kind; }
  [[nodiscard]] slot_key session() const noexcept { return mail_->session; }
  [[nodiscard]] request_address request() const noexcept { return {peer(), mail_->request}; }
  [[nodiscard]] std::string_view text() const noexcept { return mail_->text; }
  [[nodiscard]] bool is_batch() const noexcept { return mail_->is_batch; }
  [[nodiscard]] std::uint16_t status() const noexcept { return mail_->status; }
  [[nodiscard]] std::uint32_t response_number() const noexcept { return mail_->response_number; }
  [[nodiscard]] bool was_written() const noexcept { return mail_->was_written; }
  /// The service at the other end: for a request the one that sent it, for an answer the one that owns the session.
  [[nodiscard]] std::uint32_t peer() const noexcept { return mail_->peer; }

  /// Turns a poll or a post into its answer. @param from the service that answers. @return the service to send it to.
  [[nodiscard]] std::uint32_t become_answer(std::uint32_t from, std::uint16_t status) noexcept {
    mail_->relay_kind = kind_t::answer;
    mail_->status = status;
    return address_to(from);
  }
  /// Turns a poll into frames. @return false without memory for the body; then nothing has changed.
  [[nodiscard]] bool become_frames(memory const& memory, slot_key session, std::uint32_t response_number,
                                   std::string_view body) noexcept {
    mail_->payload = phx::detail::payload_access::assembled(memory, body);
    if (!mail_->payload.valid()) {
      mail_->payload = {};
      return false;
    }
    mail_->relay_kind = kind_t::frames;
    mail_->session = session;
    mail_->response_number = response_number;
    return true;
  }
  /// Addresses the message to the service at the other end; `from` becomes the sender. @return the service to send it to.
  std::uint32_t address_to(std::uint32_t from) noexcept {
    std::uint32_t const to = peer();
    mail_->peer = from;
    return to;
  }
  /// Turns frames into their outcome.
  void become_outcome(bool written) noexcept {
    mail_->relay_kind = kind_t::outcome;
    mail_->was_written = written;
    mail_->payload = {};
  }

 private:
  relay_mail* mail_ = nullptr;
};

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

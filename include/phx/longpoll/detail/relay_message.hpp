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
  enum class kind_t : std::uint32_t { poll, post, cancel, answer, frames, outcome };

  relay_message() = default;
  /// Takes over a message from another loop.
  explicit relay_message(mail* received) noexcept : mail_(received) {}
  /// The message is empty if there is no memory. Copies the text.
  relay_message(memory const& from, kind_t kind, session_address to, request_address about, std::string_view text,
                bool is_batch = false) noexcept
      : mail_(mail::make(from, mail_kind::component, text)) {
    if (mail_ == nullptr) return;
    set(kind);
    mail_->numbers[0] = to.key.packed();
    mail_->numbers[1] = about.key.packed();
    mail_->numbers[2] = about.service;
    mail_->granted = is_batch;
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
  [[nodiscard]] mail* release() noexcept { return std::exchange(mail_, nullptr); }

  [[nodiscard]] kind_t kind() const noexcept { return static_cast<kind_t>(mail_->number); }
  [[nodiscard]] slot_key session() const noexcept { return slot_key::unpacked(mail_->numbers[0]); }
  [[nodiscard]] request_address request() const noexcept { return {peer(), slot_key::unpacked(mail_->numbers[1])}; }
  [[nodiscard]] std::string_view text() const noexcept { return mail_->text(0); }
  [[nodiscard]] bool is_batch() const noexcept { return mail_->granted; }
  [[nodiscard]] std::uint16_t status() const noexcept { return static_cast<std::uint16_t>(mail_->generation); }
  [[nodiscard]] std::uint32_t response_number() const noexcept { return mail_->generation; }
  [[nodiscard]] bool was_written() const noexcept { return mail_->granted; }
  /// The service at the other end: for a request the one that sent it, for an answer the one that owns the session.
  [[nodiscard]] std::uint32_t peer() const noexcept { return static_cast<std::uint32_t>(mail_->numbers[2]); }

  /// Turns a poll or a post into its answer. @param from the service that answers. @return the service to send it to.
  [[nodiscard]] std::uint32_t become_answer(std::uint32_t from, std::uint16_t status) noexcept {
    set(kind_t::answer);
    mail_->generation = status;
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
    set(kind_t::frames);
    mail_->numbers[0] = session.packed();
    mail_->generation = response_number;
    return true;
  }
  /// Addresses the message to the service at the other end; `from` becomes the sender. @return the service to send it to.
  std::uint32_t address_to(std::uint32_t from) noexcept {
    std::uint32_t const to = peer();
    mail_->numbers[2] = from;
    return to;
  }
  /// Turns frames into their outcome.
  void become_outcome(bool written) noexcept {
    set(kind_t::outcome);
    mail_->granted = written;
    mail_->payload = {};
  }

 private:
  void set(kind_t kind) noexcept { mail_->number = static_cast<std::uint32_t>(kind); }

  mail* mail_ = nullptr;
};

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

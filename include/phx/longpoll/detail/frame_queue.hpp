#ifndef PHX_LONGPOLL_DETAIL_FRAME_QUEUE_HPP
#define PHX_LONGPOLL_DETAIL_FRAME_QUEUE_HPP
// The frames of a session: those that wait for a poll, and those in responses that can still fail.

#include <phx/message/frame.hpp>
#include <phx/core/memory.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// A queue of frames in the order in which they were sent. Frames that are part of a response are stored apart from those
/// that wait, so that a client that leaves a large response unread slows down no other request. It does not store the
/// allocator: the owner passes it, and must call clear() before the queue is destroyed.
class frame_queue {
 public:
  frame_queue() = default;
  frame_queue(frame_queue const&) = delete;
  frame_queue& operator=(frame_queue const&) = delete;
  ~frame_queue() = default;

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }  ///< of all frames, including those in responses
  [[nodiscard]] bool waiting() const noexcept { return first_ != nullptr; }
  [[nodiscard]] std::uint32_t responses() const noexcept { return responses_; }  ///< the number of the latest response

  /// @return false without memory.
  [[nodiscard]] bool append(memory const& from, frame const& f) noexcept { return append(from, f, true); }
  /// Appends a frame that cannot be sent in a poll, since it is not text: see has_unsendable().
  [[nodiscard]] bool append_unsendable(memory const& from, frame const& f) noexcept { return append(from, f, false); }

  [[nodiscard]] bool has_unsendable() const noexcept { return unsendable_ != 0; }
  /// Removes all frames that cannot be sent in a poll, and calls `dropped(bytes)` for each.
  template <class F>
  void drop_unsendable(memory const& from, F&& dropped) noexcept {
    last_ = nullptr;
    for (entry** link = &first_; *link != nullptr;) {
      entry* const e = *link;
      if (!e->sendable) {
        dropped(e->bytes.data().size());
        *link = e->next;
        drop(from, e);
      } else {
        last_ = e;
        link = &e->next;
      }
    }
    unsendable_ = 0;
  }

  /// Makes the body of a poll's response from all waiting frames; the response then has the number responses().
  /// @param objects true: frames of version 1 are written as objects, not as strings.
  /// @return an empty frame without memory; then nothing has changed. @pre !has_unsendable().
  [[nodiscard]] frame compose(memory const& from, frame_pool& pool, std::string_view token, bool objects) noexcept {
    if (!in_responses_.reserve(from, std::size_t{in_responses_.size()} + 1)) return {};
    std::size_t room = 128;
    for (entry const* e = first_; e != nullptr; e = e->next) room += e->bytes.data().size() * 5 / 4 + 8;
    frame_builder out(pool);
    out.start(opcode::text, room);
    out.append(R"({"messages":[)");
    for (entry const* e = first_; e != nullptr; e = e->next) {
      if (e != first_) out.append(',');
      if (objects && e->bytes.data().starts_with('{'))
        out.append(e->bytes.data());
      else
        out.quoted(e->bytes.data());
    }
    out.append(R"(],"status":200,"token":")");
    out.append(token);
    out.append("\"}");
    frame body = out.finish();
    if (body.empty()) return body;
    if (++responses_ == 0) responses_ = 1;
    (void)in_responses_.push(from, {std::exchange(first_, nullptr), responses_});
    last_ = nullptr;
    return body;
  }

  /// Ends a response. If it was written its frames are released; otherwise they wait again, before all frames sent later.
  void finish(memory const& from, std::uint32_t response, bool written) noexcept {
    carried* at = in_responses_.begin();
    while (at != in_responses_.end() && at->response != response) ++at;
    if (at == in_responses_.end()) return;
    entry* back = at->first;
    *at = in_responses_.back();
    in_responses_.pop();
    if (written) return drop_all(from, back);
    // Frames of other responses may already wait again.
    for (entry** link = &first_; back != nullptr; link = &(*link)->next) {
      while (*link != nullptr && (*link)->number < back->number) link = &(*link)->next;
      entry* const e = std::exchange(back, back->next);
      e->next = *link;
      *link = e;
      if (e->next == nullptr) last_ = e;
    }
  }

  void clear(memory const& from) noexcept {
    drop_all(from, std::exchange(first_, nullptr));
    for (carried const& c : in_responses_) drop_all(from, c.first);
    in_responses_.free(from);
    last_ = nullptr;
    unsendable_ = 0;
  }

 private:
  struct entry {
    frame bytes;
    entry* next = nullptr;
    std::uint64_t number = 0;  // increases in the order of sending
    bool sendable = true;
  };
  struct carried {
    entry* first;
    std::uint32_t response;
  };

  [[nodiscard]] bool append(memory const& from, frame const& f, bool sendable) noexcept {
    auto* const e = phx::detail::make<entry>(from, entry{f, nullptr, ++appended_, sendable});
    if (e == nullptr) return false;
    (last_ == nullptr ? first_ : last_->next) = e;
    last_ = e;
    bytes_ += f.data().size();
    if (!sendable) ++unsendable_;
    return true;
  }
  void drop(memory const& from, entry* e) noexcept {
    bytes_ -= e->bytes.data().size();
    phx::detail::destroy(from, e);
  }
  void drop_all(memory const& from, entry* first) noexcept {
    while (first != nullptr) drop(from, std::exchange(first, first->next));
  }

  entry* first_ = nullptr;  // of the frames that are in no response
  entry* last_ = nullptr;
  phx::detail::array<carried> in_responses_{};
  std::size_t bytes_ = 0;
  std::uint64_t appended_ = 0;
  std::uint32_t unsendable_ = 0;
  std::uint32_t responses_ = 0;
};

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

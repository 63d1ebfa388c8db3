#ifndef PHX_LONGPOLL_DETAIL_OUTBOX_HPP
#define PHX_LONGPOLL_DETAIL_OUTBOX_HPP
// What a session has to tell its client: frames that wait for a poll, and frames in a response that may yet fail.

#include <phx/message/frame.hpp>
#include <phx/core/text/json.hpp>
#include <phx/core/memory.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// The frames of one session in the order they were sent. Those of a response are apart from those that wait: a client that
/// leaves a large one unread makes no other request slow. Its memory is its service's, handed in; clear() before it goes.
class outbox {
 public:
  outbox() = default;
  outbox(outbox const&) = delete;
  outbox& operator=(outbox const&) = delete;
  ~outbox() = default;

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }  ///< of all frames, in a response or not
  [[nodiscard]] bool waiting() const noexcept { return first_ != nullptr; }
  [[nodiscard]] std::uint32_t responses() const noexcept { return responses_; }  ///< the number of the last one made

  /// @return false: no memory.
  [[nodiscard]] bool add(memory const& from, frame const& f) noexcept {
    // Every text of ours is UTF-8 but for names that a program made up; bytes are as often as not.
    auto* const k = phx::detail::make<kept>(from, kept{f, nullptr, ++added_, !json::utf8(f.data())});
    if (k == nullptr) return false;
    (last_ == nullptr ? first_ : last_->next) = k;
    last_ = k;
    bytes_ += f.data().size();
    if (k->unfit) ++unfit_;
    return true;
  }

  /// There are frames that no poll can carry, for they are no text.
  [[nodiscard]] bool unfit() const noexcept { return unfit_ != 0; }
  /// Without those; `dropped(bytes)` is told of each.
  template <class F>
  void drop_unfit(memory const& from, F&& dropped) noexcept {
    last_ = nullptr;
    for (kept** link = &first_; *link != nullptr;) {
      kept* const k = *link;
      if (k->unfit) {
        dropped(k->bytes.data().size());
        *link = k->next;
        drop(from, k);
      } else {
        last_ = k;
        link = &k->next;
      }
    }
    unfit_ = 0;
  }

  /// All that waits, as the body of a poll's answer, which is then response number responses().
  /// @param objects frames of version 1 stand in it as objects, not as strings.
  /// @return an empty frame: no memory; nothing has changed. @pre !unfit().
  [[nodiscard]] frame compose(memory const& from, frame_pool& pool, std::string_view token, bool objects) noexcept {
    if (!under_way_.reserve(from, std::size_t{under_way_.size()} + 1)) return {};
    std::size_t room = 128;
    for (kept const* k = first_; k != nullptr; k = k->next) room += k->bytes.data().size() * 5 / 4 + 8;
    frame_builder out(pool);
    out.start(opcode::text, room);
    out.append(R"({"messages":[)");
    for (kept const* k = first_; k != nullptr; k = k->next) {
      if (k != first_) out.append(',');
      if (objects && k->bytes.data().starts_with('{'))
        out.append(k->bytes.data());
      else
        out.quoted(k->bytes.data());
    }
    out.append(R"(],"status":200,"token":")");
    out.append(token);
    out.append("\"}");
    frame body = out.finish();
    if (body.empty()) return body;
    if (++responses_ == 0) responses_ = 1;
    (void)under_way_.push(from, {std::exchange(first_, nullptr), responses_});
    last_ = nullptr;
    return body;
  }

  /// What became of a response: its frames are done with, or wait again, before all that was sent later.
  void settled(memory const& from, std::uint32_t response, bool written) noexcept {
    sent* at = under_way_.begin();
    while (at != under_way_.end() && at->response != response) ++at;
    if (at == under_way_.end()) return;
    kept* back = at->first;
    *at = under_way_.back();
    under_way_.pop();
    if (written) return drop_all(from, back);
    // Those of other responses may have come back before them.
    for (kept** link = &first_; back != nullptr; link = &(*link)->next) {
      while (*link != nullptr && (*link)->number < back->number) link = &(*link)->next;
      kept* const k = std::exchange(back, back->next);
      k->next = *link;
      *link = k;
      if (k->next == nullptr) last_ = k;
    }
  }

  void clear(memory const& from) noexcept {
    drop_all(from, std::exchange(first_, nullptr));
    for (sent const& s : under_way_) drop_all(from, s.first);
    under_way_.free(from);
    last_ = nullptr;
    unfit_ = 0;
  }

 private:
  struct kept {
    frame bytes;
    kept* next = nullptr;
    std::uint64_t number = 0;  // rises in the order in which they were sent
    bool unfit = false;        // no text: it only ever waits
  };
  struct sent {
    kept* first;
    std::uint32_t response;
  };

  void drop(memory const& from, kept* k) noexcept {
    bytes_ -= k->bytes.data().size();
    phx::detail::destroy(from, k);
  }
  void drop_all(memory const& from, kept* first) noexcept {
    while (first != nullptr) drop(from, std::exchange(first, first->next));
  }

  kept* first_ = nullptr;  // of those in no response
  kept* last_ = nullptr;
  phx::detail::array<sent> under_way_{};
  std::size_t bytes_ = 0;
  std::uint64_t added_ = 0;
  std::uint32_t unfit_ = 0;
  std::uint32_t responses_ = 0;
};

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

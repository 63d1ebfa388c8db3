#ifndef PHX_LONGPOLL_DETAIL_OUTBOX_HPP
#define PHX_LONGPOLL_DETAIL_OUTBOX_HPP
// What a session has to tell its client: frames that wait for a poll, and frames in a response that may yet fail.

#include <phx/core/frame.hpp>
#include <phx/core/json.hpp>
#include <phx/core/memory.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace phx::inline PHX_BUILD::longpoll::detail {

/// The frames of one session in the order they were sent. Its memory is its service's, handed in; clear() before it goes.
class outbox {
 public:
  outbox() = default;
  outbox(outbox const&) = delete;
  outbox& operator=(outbox const&) = delete;
  ~outbox() = default;

  [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }  ///< of all frames, in a response or not
  [[nodiscard]] bool waiting() const noexcept { return waiting_ != 0; }
  [[nodiscard]] std::uint32_t responses() const noexcept { return responses_; }  ///< the number of the last one made

  /// @return false: no memory.
  [[nodiscard]] bool add(memory const& from, frame const& f) noexcept {
    // Every text of ours is UTF-8 but for names that a program made up; bytes are as often as not.
    auto* const k = phx::detail::make<kept>(from, kept{f, nullptr, 0, !json::utf8(f.data())});
    if (k == nullptr) return false;
    (last_ == nullptr ? first_ : last_->next) = k;
    last_ = k;
    bytes_ += f.data().size();
    ++waiting_;
    if (k->unfit) ++unfit_;
    return true;
  }

  /// There are frames that no poll can carry, for they are no text.
  [[nodiscard]] bool unfit() const noexcept { return unfit_ != 0; }
  /// Without those; `dropped(bytes)` is told of each.
  template <class F>
  void drop_unfit(memory const& from, F&& dropped) noexcept {
    remove_if(from, [&](kept const& k) {
      if (!k.unfit) return false;
      dropped(k.what.data().size());
      --waiting_;
      return true;
    });
    unfit_ = 0;
  }

  /// All that waits, as the body of a poll's answer, which is then response number responses().
  /// @param objects frames of version 1 stand in it as objects, not as strings.
  /// @return an empty frame: no memory; nothing has changed. @pre !unfit().
  [[nodiscard]] frame compose(frame_pool& pool, std::string_view token, bool objects) noexcept {
    std::size_t room = 128;
    for (kept const* k = first_; k != nullptr; k = k->next)
      if (k->number == 0) room += k->what.data().size() * 5 / 4 + 8;
    frame_builder out(pool);
    out.start(opcode::text, room);
    out.append(R"({"messages":[)");
    bool first = true;
    for (kept const* k = first_; k != nullptr; k = k->next) {
      if (k->number != 0) continue;
      if (!std::exchange(first, false)) out.append(',');
      if (objects && k->what.data().starts_with('{'))
        out.append(k->what.data());
      else
        out.quoted(k->what.data());
    }
    out.append(R"(],"status":200,"token":")");
    out.append(token);
    out.append("\"}");
    frame body = out.finish();
    if (body.empty()) return body;
    if (++responses_ == 0) responses_ = 1;
    for (kept* k = first_; k != nullptr; k = k->next)
      if (k->number == 0) k->number = responses_;
    waiting_ = 0;
    return body;
  }

  /// What became of a response: its frames are done with, or wait again, before all that was sent later.
  void settled(memory const& from, std::uint32_t response, bool written) noexcept {
    if (written) return remove_if(from, [&](kept const& k) { return k.number == response; });
    for (kept* k = first_; k != nullptr; k = k->next)
      if (k->number == response) {
        k->number = 0;
        ++waiting_;
      }
  }

  void clear(memory const& from) noexcept {
    remove_if(from, [](kept const&) { return true; });
    waiting_ = unfit_ = 0;
  }

 private:
  struct kept {
    frame what;
    kept* next = nullptr;
    std::uint32_t number = 0;  // of the response it went into; 0: it waits
    bool unfit = false;        // no text: it only ever waits
  };

  template <class F>
  void remove_if(memory const& from, F&& which) noexcept {
    last_ = nullptr;
    for (kept** link = &first_; *link != nullptr;) {
      kept* const k = *link;
      if (which(std::as_const(*k))) {
        *link = k->next;
        bytes_ -= k->what.data().size();
        phx::detail::destroy(from, k);
      } else {
        last_ = k;
        link = &k->next;
      }
    }
  }

  kept* first_ = nullptr;
  kept* last_ = nullptr;
  std::size_t bytes_ = 0;
  std::uint32_t waiting_ = 0;  // frames in no response
  std::uint32_t unfit_ = 0;
  std::uint32_t responses_ = 0;
};

}  // namespace phx::inline PHX_BUILD::longpoll::detail

#endif

#ifndef PHX_LONGPOLL_DETAIL_INTRUSIVE_LIST_HPP
#define PHX_LONGPOLL_DETAIL_INTRUSIVE_LIST_HPP
// A doubly linked list whose links are members of its elements.

#include <phx/core/memory.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// A list in the order of push_back: among elements with the same delay, the front is due first. Owns nothing.
template <class T, T* T::*Previous, T* T::*Next>
class intrusive_list {
 public:
  /// The first element; null if the list is empty.
  [[nodiscard]] T* front() const noexcept { return first_; }
  /// @pre `element` is in no list.
  void push_back(T& element) noexcept {
    element.*Previous = last_;
    element.*Next = nullptr;
    (last_ == nullptr ? first_ : last_->*Next) = &element;
    last_ = &element;
  }
  /// Does nothing if `element` is not in the list.
  void remove(T& element) noexcept {
    T* const before = element.*Previous;
    T* const behind = element.*Next;
    if (before == nullptr && behind == nullptr && first_ != &element) return;
    (before == nullptr ? first_ : before->*Next) = behind;
    (behind == nullptr ? last_ : behind->*Previous) = before;
    element.*Previous = element.*Next = nullptr;
  }

 private:
  T* first_ = nullptr;
  T* last_ = nullptr;
};

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

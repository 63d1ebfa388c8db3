#ifndef PHX_CORE_INTRUSIVE_LIST_HPP
#define PHX_CORE_INTRUSIVE_LIST_HPP
// Linked lists through members of their elements: adding and removing take constant time and allocate nothing.
//
//   intrusive_list   keeps the order of insertion; to remove an element its list must be known
//   link, unlink     the newest element first; an element is removed without knowing which list it is in

#include <phx/core/detail/build.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// A doubly linked list in the order of insertion. It owns no element.
template <class T, T* T::*Previous, T* T::*Next>
class intrusive_list {
 public:
  /// The first element, or null.
  [[nodiscard]] T* front() const noexcept { return first_; }
  /// The last element, or null.
  [[nodiscard]] T* back() const noexcept { return last_; }
  /// @pre it is in no list.
  void push_back(T& element) noexcept {
    element.*Previous = last_;
    element.*Next = nullptr;
    (last_ == nullptr ? first_ : last_->*Next) = &element;
    last_ = &element;
  }
  /// Does nothing if the element is not in the list.
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

/// Adds an element with the members `next` and `before` to the list that begins at `first`. `before` points to the pointer
/// that points to the element, so that unlink needs no list: a socket is in one of three lists of its loop.
template <class T>
void link(T*& first, T& element) noexcept {
  element.next = first;
  element.before = &first;
  if (first != nullptr) first->before = &element.next;
  first = &element;
}
/// Removes an element from whichever list it is in. Does nothing if it is in none.
template <class T>
void unlink(T& element) noexcept {
  if (element.before == nullptr) return;
  *element.before = element.next;
  if (element.next != nullptr) element.next->before = element.before;
  element.before = nullptr;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

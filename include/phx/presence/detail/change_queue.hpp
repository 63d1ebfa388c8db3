#ifndef PHX_PRESENCE_DETAIL_CHANGE_QUEUE_HPP
#define PHX_PRESENCE_DETAIL_CHANGE_QUEUE_HPP
// The joins and leaves of entries, in order. Adding one never allocates: an entry owns the nodes for its own join and leave
// from the start, so that it can be removed when there is no memory.

#include <phx/presence/detail/entry.hpp>

#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// An entry joined or left. An update is a leave of the old entry followed by a join of the new one.
struct entry_change {
  entry_ptr entry{};
  bool joined = false;
};

/// A queue, first in, first out. One thread at a time. All members except size() take constant time; none allocates.
class change_queue {
 public:
  struct node {
    entry_change change{};
    std::unique_ptr<node> next{};
  };

  change_queue() = default;
  change_queue(change_queue&& other) noexcept
      : first_(std::move(other.first_)), last_(std::exchange(other.last_, nullptr)) {}
  change_queue& operator=(change_queue&& other) noexcept {
    if (this == &other) return *this;
    clear();
    first_ = std::move(other.first_);
    last_ = std::exchange(other.last_, nullptr);
    return *this;
  }
  ~change_queue() { clear(); }

  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  /// The number of changes. Linear time.
  [[nodiscard]] std::size_t size() const noexcept {
    std::size_t n = 0;
    for (node const* at = first_.get(); at != nullptr; at = at->next.get()) ++n;
    return n;
  }
  /// @pre !empty()
  [[nodiscard]] entry_change const& front() const noexcept { return first_->change; }
  void pop() noexcept {
    first_ = std::move(first_->next);
    if (first_ == nullptr) last_ = nullptr;
  }
  void push(std::unique_ptr<node> added) noexcept {
    node* const at = added.get();
    (last_ == nullptr ? first_ : last_->next) = std::move(added);
    last_ = at;
  }
  /// Moves all changes of `other` to the end.
  void append(change_queue&& other) noexcept {
    if (other.empty()) return;
    (last_ == nullptr ? first_ : last_->next) = std::move(other.first_);
    last_ = std::exchange(other.last_, nullptr);
  }

  class iterator {
   public:
    using value_type = entry_change;
    using difference_type = std::ptrdiff_t;
    iterator() = default;
    explicit iterator(node const* at) noexcept : at_(at) {}
    [[nodiscard]] entry_change const& operator*() const noexcept { return at_->change; }
    iterator& operator++() noexcept {
      at_ = at_->next.get();
      return *this;
    }
    iterator operator++(int) noexcept {
      iterator const before = *this;
      ++*this;
      return before;
    }
    [[nodiscard]] friend bool operator==(iterator, iterator) = default;

   private:
    node const* at_ = nullptr;
  };
  [[nodiscard]] iterator begin() const noexcept { return iterator(first_.get()); }
  [[nodiscard]] iterator end() const noexcept { return {}; }

 private:
  /// Frees one node at a time: the destructor of a chain of a million nodes would recurse as deep.
  void clear() noexcept {
    while (!empty()) pop();
  }
  std::unique_ptr<node> first_{};
  node* last_ = nullptr;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

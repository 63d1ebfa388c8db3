#ifndef PHX_CORE_HASH_INDEX_HPP
#define PHX_CORE_HASH_INDEX_HPP
// The hash table of phx: topics of a loop, queued messages that a later one replaces, long-poll sessions.

#include <phx/core/memory.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// A hash table with chains through a member of its elements. The caller computes the hashes, keyed where a peer chooses the
/// names, and compares the elements. It owns no element, and its memory is handed in: call free() before it is destroyed.
/// Inside one loop, or under one lock. Operations are O(1) on average; only reserve allocates.
/// @tparam Next the member that links a chain @tparam Hash the member that holds the element's hash
template <class T, T* T::*Next, std::uint64_t T::*Hash>
class hash_index {
 public:
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// The element of this hash for which `same(element)` is true, or null.
  template <class Same>
  [[nodiscard]] T* find(std::uint64_t hash, Same&& same) const noexcept {
    if (buckets_.empty()) return nullptr;
    for (T* at = buckets_[bucket_of(hash)]; at != nullptr; at = at->*Next)
      if (at->*Hash == hash && same(*at)) return at;
    return nullptr;
  }
  /// Makes room for one more element. False if there is no memory for the first buckets; later, without memory, the chains
  /// grow longer instead.
  [[nodiscard]] bool reserve(memory const& from) noexcept {
    if (size_ < buckets_.size()) return true;
    std::uint32_t const wanted = buckets_.empty() ? 8 : buckets_.size() * 2;
    array<T*> wider;
    if (!wider.reserve(from, wanted)) return !buckets_.empty();
    for (std::uint32_t i = 0; i < wanted; ++i) (void)wider.push(from, nullptr);
    buckets_.swap(wider);
    for (T* chain : wider)
      while (chain != nullptr) {
        T* const moved = chain;
        chain = chain->*Next;
        put(*moved);
      }
    wider.free(from);
    return true;
  }
  /// @pre reserve has returned true since the last insert.
  void insert(T& element) noexcept {
    put(element);
    ++size_;
  }
  /// @pre the element is in the table.
  void erase(T& element) noexcept {
    T** link = &buckets_[bucket_of(element.*Hash)];
    while (*link != &element) link = &((*link)->*Next);
    *link = element.*Next;
    --size_;
  }
  /// Calls `each(T&)` for every element; `each` may destroy the element. The table is empty afterwards.
  template <class F>
  void clear(F&& each) noexcept {
    for (T*& bucket : buckets_)
      for (T* chain = std::exchange(bucket, nullptr); chain != nullptr;) {
        T* const element = chain;
        chain = chain->*Next;
        each(*element);
      }
    size_ = 0;
  }
  /// Frees the buckets. @pre the table is empty, or is not used again.
  void free(memory const& from) noexcept { buckets_.free(from); }

 private:
  [[nodiscard]] std::uint32_t bucket_of(std::uint64_t hash) const noexcept {
    return static_cast<std::uint32_t>(hash) & (buckets_.size() - 1);
  }
  void put(T& element) noexcept {
    T*& bucket = buckets_[bucket_of(element.*Hash)];
    element.*Next = bucket;
    bucket = &element;
  }
  array<T*> buckets_;
  std::uint32_t size_ = 0;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

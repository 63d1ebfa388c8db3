#ifndef PHX_CORE_SLOT_MAP_HPP
#define PHX_CORE_SLOT_MAP_HPP
// Finds objects by a key that stays safe to use after the object has gone: sockets of a loop, sessions and requests of
// long-polling. Another thread or a timer may hold the key.

#include <phx/core/memory.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// A map from slots to objects. A slot is used again after its object was erased, with the next generation: an old key then
/// finds nothing. `Key` has the members slot and generation. Inside one loop. find, insert and erase are O(1); insert may
/// allocate. It owns no object. Its memory is handed in: call free() before it is destroyed.
template <class T, class Key>
class slot_map {
 public:
  static constexpr std::uint32_t none = UINT32_MAX;

  /// The object, or null if it was erased or the key does not belong to this map.
  [[nodiscard]] T* find(Key key) const noexcept {
    return key.slot < slots_.size() && slots_[key.slot].generation == key.generation ? slots_[key.slot].value : nullptr;
  }
  /// Sets `key`. False without memory: nothing has changed.
  [[nodiscard]] bool insert(memory const& from, T& value, Key& key) noexcept {
    if (free_ == none) {
      if (!slots_.push(from, {nullptr, 1, none})) return false;
      free_ = slots_.size() - 1;
    }
    std::uint32_t const at = free_;
    free_ = slots_[at].next_free;
    slots_[at].value = &value;
    key = {at, slots_[at].generation};
    ++size_;
    return true;
  }
  /// @pre find(key) is not null.
  void erase(Key key) noexcept {
    entry& s = slots_[key.slot];
    s.value = nullptr;
    ++s.generation;
    s.next_free = free_;
    free_ = key.slot;
    --size_;
  }
  /// Objects in the map.
  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  /// Slots, free ones included: the bound of `at`.
  [[nodiscard]] std::uint32_t slot_count() const noexcept { return slots_.size(); }
  /// The object in a slot, by its number, or null if the slot is free.
  [[nodiscard]] T* at(std::uint32_t place) const noexcept { return slots_[place].value; }
  /// Calls `each(T&)` for every object. `each` may erase any of them.
  template <class F>
  void for_each(F&& each) const {
    for (std::uint32_t i = 0; i < slots_.size(); ++i)
      if (slots_[i].value != nullptr) each(*slots_[i].value);
  }
  void free(memory const& from) noexcept { slots_.free(from); }

 private:
  struct entry {
    T* value;
    std::uint32_t generation, next_free;
  };
  array<entry> slots_;
  std::uint32_t free_ = none;
  std::uint32_t size_ = 0;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_LONGPOLL_DETAIL_SLOT_MAP_HPP
#define PHX_LONGPOLL_DETAIL_SLOT_MAP_HPP
// Keys for objects that another loop may look up after they were destroyed.

#include <phx/core/memory.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// The key of a value: a slot, and a generation that distinguishes the values that have used it.
struct slot_key {
  static constexpr std::uint32_t no_slot = UINT32_MAX;
  std::uint32_t slot = no_slot, generation = 0;

  [[nodiscard]] explicit operator bool() const noexcept { return slot != no_slot; }
  [[nodiscard]] friend bool operator==(slot_key, slot_key) noexcept = default;
  [[nodiscard]] std::int64_t packed() const noexcept {
    return static_cast<std::int64_t>(std::uint64_t{slot} << 32 | generation);
  }
  [[nodiscard]] static slot_key unpacked(std::int64_t packed) noexcept {
    auto const bits = static_cast<std::uint64_t>(packed);
    return {static_cast<std::uint32_t>(bits >> 32), static_cast<std::uint32_t>(bits)};
  }
};

/// Finds values by key in constant time. Slots are reused, keys are not. Owns no value. It does not store the allocator: the
/// owner passes it, and must call free() before the map is destroyed.
template <class T>
class slot_map {
 public:
  /// The value; null if it was erased or never inserted.
  [[nodiscard]] T* find(slot_key key) const noexcept {
    return key.slot < slots_.size() && slots_[key.slot].generation == key.generation ? slots_[key.slot].value : nullptr;
  }
  /// @return its key; a key without a slot if there is no memory.
  [[nodiscard]] slot_key insert(memory const& from, T& value) noexcept {
    if (free_ == slot_key::no_slot) {
      if (!slots_.push(from, {nullptr, 1, slot_key::no_slot})) return {};
      free_ = slots_.size() - 1;
    }
    std::uint32_t const at = free_;
    free_ = slots_[at].next_free;
    slots_[at].value = &value;
    return {at, slots_[at].generation};
  }
  /// @pre find(key) is not null.
  void erase(slot_key key) noexcept {
    slot& s = slots_[key.slot];
    s.value = nullptr;
    ++s.generation;
    s.next_free = free_;
    free_ = key.slot;
  }
  /// Calls `each(T&)` for every value; it may erase values, including its own.
  template <class F>
  void for_each(F&& each) {
    for (std::uint32_t i = 0; i < slots_.size(); ++i)
      if (slots_[i].value != nullptr) each(*slots_[i].value);
  }
  void free(memory const& from) noexcept { slots_.free(from); }

 private:
  struct slot {
    T* value;
    std::uint32_t generation, next_free;
  };
  phx::detail::array<slot> slots_;
  std::uint32_t free_ = slot_key::no_slot;
};

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_LONGPOLL_DETAIL_PLACES_HPP
#define PHX_LONGPOLL_DETAIL_PLACES_HPP
// Names for what another loop may ask for after it has gone: the number of a place, and which of its guests is meant.

#include <phx/core/memory.hpp>

#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// Guests and their places; a place is given away again, its generations are not. Its memory is handed in; free() at the
/// end.
template <class T>
class places {
 public:
  static constexpr std::uint32_t none = UINT32_MAX;

  [[nodiscard]] T* find(std::uint32_t at, std::uint32_t generation) const noexcept {
    return at < table_.size() && table_[at].generation == generation ? table_[at].who : nullptr;
  }
  /// @return its place, or none: no memory.
  [[nodiscard]] std::uint32_t sit(memory const& from, T* target) noexcept {
    if (vacant_ == none) {
      if (!table_.push(from, {nullptr, 1, none})) return none;
      vacant_ = table_.size() - 1;
    }
    std::uint32_t const at = vacant_;
    vacant_ = table_[at].next_vacant;
    table_[at].who = target;
    return at;
  }
  [[nodiscard]] std::uint32_t generation(std::uint32_t at) const noexcept { return table_[at].generation; }
  void rise(std::uint32_t at) noexcept {
    table_[at].who = nullptr;
    ++table_[at].generation;
    table_[at].next_vacant = vacant_;
    vacant_ = at;
  }
  /// `each(T&)`, which may rise.
  template <class F>
  void each(F&& f) {
    for (std::uint32_t i = 0; i < table_.size(); ++i)
      if (table_[i].who != nullptr) f(*table_[i].who);
  }
  void free(memory const& from) noexcept { table_.free(from); }

 private:
  struct place {
    T* who;
    std::uint32_t generation, next_vacant;
  };
  phx::detail::array<place> table_;
  std::uint32_t vacant_ = none;
};

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_LOOP_DETAIL_COMPONENT_HPP
#define PHX_LOOP_DETAIL_COMPONENT_HPP
// What lives on a loop beside its sockets: it gets mail from other loops, and has a time of its own.

#include <phx/core/close.hpp>
#include <phx/loop/detail/mailbox.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Neither counted among the sockets nor drained. Taken off its loop before either goes.
class loop_component {
 public:
  loop_component() = default;
  loop_component(loop_component const&) = delete;
  loop_component& operator=(loop_component const&) = delete;

  /// A mail of kind `component` with this number in `slot`; it is the component's to free.
  virtual void handle(mail*) noexcept = 0;
  /// When `on_timer` is wanted; loop::run's answer covers it. Whoever brings it nearer from outside calls request_wake.
  [[nodiscard]] virtual time_point due() const noexcept = 0;
  virtual void on_timer(time_point now) noexcept = 0;

  std::uint32_t number = 0;  ///< on its loop, never used again
  loop_component* next = nullptr;

 protected:
  ~loop_component() = default;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

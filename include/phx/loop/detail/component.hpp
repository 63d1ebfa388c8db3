#ifndef PHX_LOOP_DETAIL_COMPONENT_HPP
#define PHX_LOOP_DETAIL_COMPONENT_HPP
// What lives on a loop beside its sockets, such as a long-poll service.

#include <phx/core/close.hpp>
#include <phx/loop/detail/mail.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Gets mail from other loops, and is called when a time of its own has come. It is neither counted among the sockets nor
/// drained. Detach it before it or its loop is destroyed. Inside the loop.
class loop_component {
 public:
  loop_component() = default;
  loop_component(loop_component const&) = delete;
  loop_component& operator=(loop_component const&) = delete;

  /// Handles a mail with this component's number, and frees it.
  virtual void handle(component_mail*) noexcept = 0;
  /// When on_timer is to be called next; the loop's run returns no later time. If a call from outside the loop's own
  /// functions brings it nearer, call request_wake.
  [[nodiscard]] virtual time_point due() const noexcept = 0;
  virtual void on_timer(time_point now) noexcept = 0;

  std::uint32_t number = 0;  ///< identifies it on its loop; never used again
  loop_component* next = nullptr;

 protected:
  ~loop_component() = default;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

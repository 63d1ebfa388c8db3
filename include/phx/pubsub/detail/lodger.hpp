#ifndef PHX_PUBSUB_DETAIL_LODGER_HPP
#define PHX_PUBSUB_DETAIL_LODGER_HPP
// What lives on a loop beside its sockets: it gets mail from other loops, and has a time of its own.

#include <phx/core/close.hpp>
#include <phx/pubsub/detail/mailbox.hpp>

namespace phx::inline PHX_BUILD::detail {

/// Neither counted among the sockets nor drained. Taken off its loop before either goes.
class lodger {
 public:
  lodger() = default;
  lodger(lodger const&) = delete;
  lodger& operator=(lodger const&) = delete;

  /// A mail of kind `lodger` with this number in `slot`; it is the lodger's to free.
  virtual void take(mail*) noexcept = 0;
  /// When `ring` is wanted; loop::run's answer covers it. Whoever brings it nearer from outside nudges the loop.
  [[nodiscard]] virtual time_point due() const noexcept = 0;
  virtual void ring(time_point now) noexcept = 0;

  std::uint32_t number = 0;  ///< on its loop, never used again
  lodger* next = nullptr;

 protected:
  ~lodger() = default;
};

}  // namespace phx::inline PHX_BUILD::detail

#endif

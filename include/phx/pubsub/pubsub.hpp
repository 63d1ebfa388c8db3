#ifndef PHX_PUBSUB_PUBSUB_HPP
#define PHX_PUBSUB_PUBSUB_HPP
// The concept of a PubSub, which carries broadcasts between nodes. Between the loops of one process loop/endpoint.hpp does so,
// with one mail for each loop (loop/detail/mailbox.hpp).

#include <phx/core/send_status.hpp>
#include <phx/message/message.hpp>

#include <concepts>

namespace phx {
inline namespace PHX_BUILD {

class endpoint;

/// Carries broadcasts between nodes (protocol 13.1); the endpoint delivers to the own node itself. broadcast and
/// direct_broadcast are called from any thread, must not block, and copy what `b` refers to before they return. The messages of
/// one thread keep their order.
///   start(at): from now on it passes what other nodes publish to `at.deliver`, from any thread. May throw.
///   stop(): once it has returned, it does not call `deliver` any more. Called once, by ~endpoint; broadcasts may still be
///     called meanwhile.
///   node_name(): unique among the nodes; the same from start to stop.
///   broadcast(b): to all nodes but this one.
///   direct_broadcast(node, b): to one node. If that is this node, it arrives by `deliver` as well, at once or later.
/// `ok` and `congested` mean that it was accepted, not that it has arrived: there is no acknowledgement and no history.
// clang-format off
template <class P>
concept PubSub = requires(P& p, P const& c, endpoint& at, broadcast const& b, std::string_view node) {
  p.start(at);
  { p.stop() } noexcept;
  { c.node_name() } noexcept -> std::convertible_to<std::string_view>;
  { p.broadcast(b) } noexcept -> std::same_as<send_status>;
  { p.direct_broadcast(node, b) } noexcept -> std::same_as<send_status>;
};
// clang-format on

/// Receives what other nodes publish on a topic that no client may join, such as the topic of presence.
struct listener {
  /// Passed to on_broadcast.
  void* self = nullptr;
  /// Called with each broadcast of other nodes on its topic, on the PubSub's thread, with no lock of phx held. The views in the
  /// broadcast are valid until it returns. It may publish but not call unlisten; while it runs, later messages wait.
  void (*on_broadcast)(void* self, broadcast const&) noexcept = nullptr;
};

namespace detail {
/// A reference to a PubSub of any type.
struct pubsub_ref {
  void* host = nullptr;
  std::string_view (*node_name)(void const*) noexcept = nullptr;
  send_status (*broadcast)(void*, phx::broadcast const&) noexcept = nullptr;
  send_status (*direct_broadcast)(void*, std::string_view, phx::broadcast const&) noexcept = nullptr;
  void (*stop)(void*) noexcept = nullptr;

  template <PubSub P>
  [[nodiscard]] static pubsub_ref of(P& p) noexcept {
    return {&p, [](void const* to) noexcept { return std::string_view(static_cast<P const*>(to)->node_name()); },
            [](void* to, phx::broadcast const& b) noexcept { return static_cast<P*>(to)->broadcast(b); },
            [](void* to, std::string_view node, phx::broadcast const& b) noexcept {
              return static_cast<P*>(to)->direct_broadcast(node, b);
            },
            [](void* to) noexcept { static_cast<P*>(to)->stop(); }};
  }
  [[nodiscard]] explicit operator bool() const noexcept { return host != nullptr; }
};
}  // namespace detail

}  // namespace PHX_BUILD
}  // namespace phx

#endif

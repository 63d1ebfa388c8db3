#ifndef PHX_PUBSUB_PUBSUB_HPP
#define PHX_PUBSUB_PUBSUB_HPP
// What carries broadcasts between nodes: the concept, and how an endpoint holds whoever satisfies it.

#include <phx/core/send_status.hpp>
#include <phx/message/message.hpp>

#include <concepts>

namespace phx {
inline namespace PHX_BUILD {

class endpoint;

/// Between nodes (protocol 13.1). Local delivery is not its job. broadcast and direct_broadcast come from any thread, those
/// of one thread in their order, and must not block: what `b` views is copied before they return.
///   start(here): from now on it hands what other nodes publish to `here.deliver`, from any thread. May throw.
///   stop(): when it returns it calls `deliver` no more. Called once, by ~endpoint; broadcasts may still arrive meanwhile.
///   node_name(): unique among the nodes; the same from start to stop.
///   broadcast(b): to all nodes but this one.
///   direct_broadcast(node, b): to one, which may be this one: then it arrives by `deliver` as well, now or later.
/// `ok` and `congested` mean that it was taken, not that it has arrived: there is no acknowledgement and no history.
// clang-format off
template <class P>
concept PubSub = requires(P& p, P const& c, endpoint& ctx, broadcast const& b, std::string_view node) {
  p.start(ctx);
  { p.stop() } noexcept;
  { c.node_name() } noexcept -> std::convertible_to<std::string_view>;
  { p.broadcast(b) } noexcept -> std::same_as<send_status>;
  { p.direct_broadcast(node, b) } noexcept -> std::same_as<send_status>;
};
// clang-format on

/// Someone who hears a topic that no client joins, such as presence its peers.
/// heard: on the adapter's thread, with no lock of phx held; the views of the broadcast die when it returns. It may publish,
/// it may not unlisten; it should not take long, because what comes after it waits.
struct listener {
  /// Handed to `heard`.
  void* self = nullptr;
  /// Called with each broadcast on its topic that reaches this node.
  void (*heard)(void* self, broadcast const&) noexcept = nullptr;
};

namespace detail {
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

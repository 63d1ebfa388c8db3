// A minimal PubSub, and an endpoint that has one.

#include <phx/phx.hpp>

namespace archetype {

struct pubsub {
  pubsub(pubsub const&) = delete;
  void start(phx::endpoint&);
  void stop() noexcept;
  struct name {
    operator std::string_view() const noexcept;
  };
  name node_name() const noexcept;
  phx::send_status broadcast(phx::broadcast const&) noexcept;
  phx::send_status direct_broadcast(std::string_view, phx::broadcast const&) noexcept;
};
static_assert(phx::PubSub<pubsub>);

phx::send_status use(phx::endpoint& everywhere, pubsub& p);
phx::send_status use(phx::endpoint& everywhere, pubsub& p) {
  everywhere.attach(p);
  everywhere.listen("topic", {&p, [](void*, phx::broadcast const&) noexcept {}});
  everywhere.unlisten("topic", &p);
  (void)everywhere.to_node(everywhere.node_name(), {"topic", "event", phx::payload{}, {}});
  return everywhere.to_other_nodes({"topic", "event", phx::payload{}, {}});
}

struct may_throw : pubsub {
  phx::send_status broadcast(phx::broadcast const&);
};
static_assert(!phx::PubSub<may_throw>);
struct returns_nothing : pubsub {
  void direct_broadcast(std::string_view, phx::broadcast const&) noexcept;
};
static_assert(!phx::PubSub<returns_nothing>);
struct nameless : pubsub {
  int node_name() const noexcept;
};
static_assert(!phx::PubSub<nameless>);
struct endless : pubsub {
  void stop();
};
static_assert(!phx::PubSub<endless>);

}  // namespace archetype

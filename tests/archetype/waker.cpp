// A minimal Waker and Observer, and a loop made with them.

#include <phx/phx.hpp>

namespace archetype {

struct waker {
  waker(waker const&) = delete;
  void wake() noexcept;
};
static_assert(phx::Waker<waker>);

struct observer {
  observer(observer const&) = delete;
  void on_event(phx::telemetry_event const&) noexcept;
};
static_assert(phx::Observer<observer>);

phx::time_point use(phx::endpoint& everywhere, waker& w, observer& o, phx::time_point now);
phx::time_point use(phx::endpoint& everywhere, waker& w, observer& o, phx::time_point now) {
  phx::loop alone(w), together(everywhere, w, phx::limits::for_small_machines());
  together.observe(o);
  auto turn = together.turn();
  together.for_each_socket([](phx::socket_id) {});
  (void)alone.publish({"topic", "event", phx::payload{}, {}});
  return together.run(now);
}

struct may_throw_waker {
  void wake();
};
static_assert(!phx::Waker<may_throw_waker>);
struct asleep {};
static_assert(!phx::Waker<asleep>);
struct may_throw_observer {
  void on_event(phx::telemetry_event const&);
};
static_assert(!phx::Observer<may_throw_observer>);
struct changes_it {
  void on(phx::telemetry_event&) noexcept;
};
static_assert(!phx::Observer<changes_it>);

}  // namespace archetype

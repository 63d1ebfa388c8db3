// What is private to phx cannot be reached through a public type: no base class and no member of `detail`.
// (tests/archetype/near_miss has the accesses that must not compile.)

#include "archetype/minimal.hpp"

#include <phx/longpoll/longpoll.hpp>
#include <phx/metrics/metrics.hpp>

namespace {

using socket_type = phx::socket<archetype::wire, phx::router<>>;

template <class Public, class Private>
constexpr bool hides = !std::is_convertible_v<Public*, Private*>;

// Private members that outsiders must not see: an inaccessible name is a substitution failure.
template <class T>
concept shows_interior = requires(T& t) {
  t.sockets_;
}
|| requires(T& t) { t.loop_; }
|| requires(T& t) { t.wire; }
|| requires(T& t) { t.id; }
|| requires(T& t) { t.dirty; }
|| requires(T& t) { t.registry_; }
|| requires(T& t) { t.loops_; };
template <class T>
concept is_fed_from_outside = requires(T& t, phx::detail::channel_mail* m) {
  t.handle(m);
}
|| requires(T& t, phx::detail::component_mail* m) { t.handle(m); }
|| requires(T& t, phx::detail::delivery const& d) { t.deliver(d); }
|| requires(T& t) { t.begin_close(phx::close_frame{}, phx::exit_reason::closed); };

template <class T>
constexpr bool closed = !shows_interior<T> && !is_fed_from_outside<T>;

static_assert(hides<socket_type, phx::detail::connection> && hides<socket_type, phx::detail::outbound> &&
              hides<socket_type, phx::detail::client>);
static_assert(closed<socket_type>);
static_assert(closed<phx::loop>);
static_assert(closed<phx::endpoint>);
static_assert(closed<phx::router<>>);
static_assert(closed<phx::presence>);
static_assert(closed<phx::metrics>);
static_assert(closed<phx::context> && closed<phx::joining> && closed<phx::channel_id> && closed<phx::reply_to>);

using service_type = phx::longpoll::service_for<phx::router<>>;
static_assert(hides<phx::longpoll::service, phx::detail::loop_component> &&
              hides<service_type, phx::detail::loop_component>);
static_assert(closed<service_type>);

}  // namespace

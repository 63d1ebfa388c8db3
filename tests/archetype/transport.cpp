// A minimal Transport, and a socket made with it.

#include <phx/phx.hpp>

namespace archetype {

struct transport {
  int& reference;                    // prevents a default constructor and assignment
  transport(transport&&) = default;  // prevents a copy
  phx::send_status send(phx::frame const&) noexcept;
  void close(phx::close_frame) noexcept;
  std::size_t buffered() const noexcept;
};
static_assert(phx::FrameSink<transport>);
static_assert(phx::Transport<transport>);
static_assert(!phx::flushes<transport>);

/// With everything optional.
struct flushing {
  int& reference;
  flushing(flushing&&) = default;
  phx::send_status send(phx::frame const&) noexcept;
  void close(phx::close_frame) noexcept;
  unsigned short buffered() const noexcept;
  void flush() noexcept;
};
static_assert(phx::Transport<flushing>);
static_assert(phx::flushes<flushing>);

using phx::router;
template <class T>
bool use(phx::loop& event_loop, router<>& d, phx::admission<phx::anonymous> admitted, T t, phx::time_point now) {
  phx::socket<T, router<>> s(event_loop, d, std::move(admitted), std::move(t), now);
  bool const lives = s.receive(phx::opcode::text, "", true, now);
  s.disconnect();
  s.gone(phx::lost::normal);
  return lives && s.name() == phx::socket_id{} && s.transport().buffered() == 0;
}
template bool use(phx::loop&, router<>&, phx::admission<phx::anonymous>, transport, phx::time_point);
template bool use(phx::loop&, router<>&, phx::admission<phx::anonymous>, flushing, phx::time_point);

// A host may name its socket type while its transport is still incomplete.
struct connection;
struct handle;
using not_yet = phx::socket<handle, router<>>;
struct handle {
  connection* of;
  phx::send_status send(phx::frame const&) noexcept;
  void close(phx::close_frame) noexcept;
  std::size_t buffered() const noexcept;
};
struct connection {
  not_yet socket;
};

struct may_throw {
  phx::send_status send(phx::frame const&);
};
static_assert(!phx::FrameSink<may_throw>);
struct returns_nothing {
  void send(phx::frame const&) noexcept;
};
static_assert(!phx::FrameSink<returns_nothing>);
struct takes_it_all {
  phx::send_status send(phx::frame&) noexcept;
};
static_assert(!phx::FrameSink<takes_it_all>);
struct immovable : transport {
  immovable(immovable&&) = delete;
};
static_assert(!phx::Transport<immovable>);

}  // namespace archetype

#ifndef TESTS_ARCHETYPE_MINIMAL_HPP
#define TESTS_ARCHETYPE_MINIMAL_HPP
// Minimal types: they have what the concepts require and nothing else. The near misses break one part of them.

#include <phx/phx.hpp>

namespace archetype {

struct wire {
  phx::send_status send(phx::frame const&) noexcept;
  void close(phx::close_frame) noexcept;
  std::size_t buffered() const noexcept;
};

struct session {  // can be moved, and nothing else
  explicit session(int);
  session(session&&) = default;
  session& operator=(session&&) = delete;
};
struct channel {
  explicit channel(int);
  channel(channel&&) noexcept;
  channel& operator=(channel&&) = delete;
};
struct dispatcher {
  using session_type = session;
  using channel_type = channel;
  dispatcher(dispatcher const&) = delete;
  phx::connect_outcome<session> connect(phx::connect_info const&);
  bool matches(std::string_view) noexcept;
  phx::join_result join(session&, phx::joining&, phx::message const&, phx::channel_place<channel>&);
  phx::outcome handle_in(channel&, phx::context&, phx::message const&);
  void terminate(channel&, phx::context&, phx::exit_reason) noexcept;
};

template <class D>
void open(phx::loop& event_loop, D& d, phx::admission<session> in) {
  phx::socket<wire, D>(event_loop, d, std::move(in), wire{}, {});
}

}  // namespace archetype

#endif

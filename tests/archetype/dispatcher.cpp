// A socket and a handshake with a minimal Dispatcher.

#include "minimal.hpp"

namespace archetype {

static_assert(phx::Dispatcher<dispatcher>);
static_assert(!phx::intercepts_events<dispatcher>);
static_assert(!phx::handles_out<dispatcher>);
static_assert(!phx::handles_info<dispatcher>);
template void open(phx::loop&, dispatcher&, phx::admission<session>);  // as in the near misses

/// With everything optional.
struct complete : dispatcher {
  std::span<std::string_view const> intercepts(channel const&) noexcept;
  std::optional<phx::pressure_policy> when_slow(channel const&) noexcept;
  phx::outcome handle_out(channel&, phx::context&, phx::broadcast const&);
  phx::outcome handle_info(channel&, phx::context&, phx::message const&);
};
static_assert(phx::Dispatcher<complete>);
static_assert(phx::intercepts_events<complete>);
static_assert(phx::chooses_pressure<complete> && !phx::chooses_pressure<dispatcher>);
static_assert(phx::handles_out<complete>);
static_assert(phx::handles_info<complete>);

static_assert(phx::Dispatcher<phx::router<>>);
static_assert(phx::Dispatcher<phx::router<session>>);

template <class D>
bool use(phx::loop& event_loop, D& d, phx::mount const& m, phx::request const& r, phx::time_point now) {
  auto judged = phx::handshake(m, d, r);
  auto* const in = std::get_if<phx::admission<session>>(&judged);
  if (in == nullptr) return false;
  phx::socket<wire, D> s(event_loop, d, std::move(*in), wire{}, now);
  (void)s.session();
  return s.receive(phx::opcode::text, "", true, now) && s.writable(now);
}
template bool use(phx::loop&, dispatcher&, phx::mount const&, phx::request const&, phx::time_point);
template bool use(phx::loop&, complete&, phx::mount const&, phx::request const&, phx::time_point);

// handshake requires only the connect part of a Dispatcher.
struct connector {
  using session_type = session;
  phx::connect_outcome<session> connect(phx::connect_info const&);
};
phx::admitted<session> connect_only(connector& c, phx::mount const& m, phx::request const& r);
phx::admitted<session> connect_only(connector& c, phx::mount const& m, phx::request const& r) {
  return phx::handshake(m, c, r);
}

struct forgets_channels : dispatcher {
  struct channel_type {
    channel_type(channel_type&&);  // may throw
  };
};
static_assert(!phx::Dispatcher<forgets_channels>);
struct may_throw_at_the_end : dispatcher {
  void terminate(channel&, phx::context&, phx::exit_reason);
};
static_assert(!phx::Dispatcher<may_throw_at_the_end>);
struct may_throw_in_matches : dispatcher {
  bool matches(std::string_view);
};
static_assert(!phx::Dispatcher<may_throw_in_matches>);
struct forgets_the_context : dispatcher {
  void terminate(channel&, phx::exit_reason) noexcept;
};
static_assert(!phx::Dispatcher<forgets_the_context>);
struct answers_nothing : dispatcher {
  void handle_in(channel&, phx::context&, phx::message const&);
};
static_assert(!phx::Dispatcher<answers_nothing>);

}  // namespace archetype

// error: when_slow must be: std::optional<pressure_policy> when_slow(channel_type const&) noexcept
#include <phx/phx.hpp>

struct wire {
  phx::send_status send(phx::frame const&) noexcept;
  void close(phx::close_frame) noexcept;
  std::size_t buffered() const noexcept;
};
struct channel {};
struct dispatcher {
  using session_type = phx::anonymous;
  using channel_type = channel;
  phx::connect_outcome<phx::anonymous> connect(phx::connect_info const&);
  bool matches(std::string_view) noexcept;
  phx::join_outcome<channel> join(phx::anonymous&, phx::joining&, phx::message const&);
  phx::outcome handle_in(channel&, phx::context&, phx::message const&);
  void terminate(channel&, phx::context&, phx::exit_reason) noexcept;
  phx::pressure_policy when_slow(channel const&) noexcept;
};
using near_miss = phx::socket<wire, dispatcher>;
void open(phx::loop& l, dispatcher& d, phx::admission<phx::anonymous> in) { near_miss(l, d, std::move(in), wire{}, {}); }

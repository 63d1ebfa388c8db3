// Minimal channels: one callback each, of every kind, and each way to construct them.

#include <phx/phx.hpp>

namespace archetype {

struct session {
  int user = 0;
};

struct only_in {
  phx::outcome handle_in(phx::context&, phx::message const&);
};
struct only_joins {
  static constexpr phx::pressure_policy when_slow = phx::pressure_policy::keep_latest;
  phx::join_result join(phx::joining&, phx::message const&);
};
struct only_listens {
  static constexpr std::array<std::string_view, 1> intercepts{"masked"};
  phx::outcome handle_out(phx::context&, phx::broadcast const&);
  phx::outcome handle_in(phx::context&, phx::message const&);
};
struct only_info {
  phx::pressure_policy when_slow = phx::pressure_policy::drop_oldest;
  phx::outcome handle_info(phx::context&, phx::message const&);
};
struct only_ends {
  void terminate(phx::context&, phx::exit_reason) noexcept;
};
struct only_events {
  phx::outcome nothing(phx::context&);
  phx::outcome whole(phx::context&, phx::message const&);
  phx::outcome data(phx::context&, phx::payload const&);
  phx::outcome on_idle_timer(phx::context&) noexcept;
  static constexpr auto events =
      phx::events(phx::on<&only_events::nothing>("nothing"), phx::on<&only_events::whole>("whole"),
                  phx::on<&only_events::data>("data"), phx::on<&only_events::on_idle_timer>("quiet"));
};
struct line {
  int n;
};

}  // namespace archetype

/// Reads one type of the application, and writes none.
template <>
struct phx::json_traits<archetype::line> {
  static phx::result<archetype::line> read(phx::payload const&);
};
static_assert(phx::JsonReadable<archetype::line> && !phx::JsonWritable<archetype::line>);

namespace archetype {

struct reads {
  phx::outcome add(phx::context&, line const&);
  phx::outcome take(phx::context&, line);
  static constexpr auto events = phx::events(phx::on<&reads::add>("add"), phx::on<&reads::take>("take"));
};

/// Made from the session, at an address that must not change.
struct immovable {
  explicit immovable(session const&);
  immovable(immovable const&) = delete;
  phx::outcome handle_in(phx::context&, phx::message const&);
};
struct argued {
  argued(int, session const&);
  argued(argued const&) = delete;
  phx::outcome handle_in(auto& ctx, auto const& in) { return ctx.push(in.event, in.payload), phx::outcome::noreply(); }
};

struct closed final {
  phx::join_result join(auto& j, auto const&) {
    return j.topic().empty() ? phx::join_result::error() : phx::join_result::ok();
  }
  void terminate(phx::context&, phx::exit_reason) noexcept;
};
/// With other members besides the callbacks, one of them overloaded.
struct overloaded {
  phx::outcome handle_in(phx::context&, phx::message const&);
  phx::outcome handle_in(phx::context&, std::string_view);
  int events_seen = 0;
};

phx::router<session> all();
phx::router<session> all() {
  phx::router<session> r;
  r.channel<only_in>("a").channel<only_joins>("b:*").channel<only_listens>("c").channel<only_info>("d");
  r.channel<only_ends>("e").channel<only_events>("f").channel<reads>("g").channel<immovable>("h");
  r.channel<immovable>("i", [](session& mine) { mine.user = 1; });
  r.channel<closed>("j").channel<overloaded>("k");
  r.channel("*", [](session const& me) { return argued(7, me); });
  return r;
}

}  // namespace archetype

// Presence: each client in a room sees who else is in it, on how many devices, and what they are doing.
#include <phx/adapter/blocking.hpp>
#include <phx/phx.hpp>
#include <phx/presence/presence.hpp>

#include <cstdio>

namespace {

struct user {
  std::string name;
};

class room {
 public:
  room(user const& me, phx::presence& presence) : me_(me), presence_(&presence) {}

  phx::join_result join(phx::joining& ctx, phx::message const&) {
    ctx.send("joined");  // pushing is not possible before the join's reply
    return phx::join_result::ok();
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const&) {
    // Tracked until this channel ends, however it ends. Reloading a page causes no leave and join.
    auto const tracked = presence_->track(ctx, me_.name, phx::payload::json(R"({"at":"reading"})"));
    if (!tracked) ctx.push("not_listed", phx::presence::reason(tracked.error().code));
    ctx.push("presence_state", presence_->list(ctx.topic()));
    return phx::outcome::noreply();
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event != "now") return phx::outcome::stop(phx::exit_reason::error);
    auto const updated = presence_->update(ctx, me_.name, in.payload);
    if (updated) return phx::outcome::reply();
    return phx::outcome::reply(phx::status::error, phx::presence::reason(updated.error().code));
  }

 private:
  user me_;
  phx::presence* presence_;
};

phx::connect_outcome<user> authenticate(phx::connect_info const& c) {
  auto const name = c.param("name");
  if (!name || name->empty()) return phx::http_answer{};
  return phx::connected<user>{{std::string(*name)}};
}

}  // namespace

int main(int argc, char** argv) {
  phx::presence presence;
  phx::router app(authenticate);
  app.channel("room:*", [&presence](user const& me) { return room(me, presence); });

  phx::blocking::options opts;
  if (argc == 3) opts.port = static_cast<std::uint16_t>(std::atoi(argv[2]));  // --port P
  phx::blocking::server server(app, opts);
  presence.start(server.endpoint());
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

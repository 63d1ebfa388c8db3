// Who is here: everybody in a room sees who is in it, on how many devices, and what they are at.
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
    ctx.send("joined");  // before the join is answered nothing can be pushed
    return phx::join_result::ok();
  }
  phx::outcome handle_info(phx::context& ctx, phx::message const&) {
    // From now on until this channel ends, however it ends. A page that is loaded anew is no leave and join.
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

phx::connect_outcome<user> who_is(phx::connect_info const& c) {
  auto const name = c.param("name");
  if (!name || name->empty()) return phx::http_answer{};
  return phx::connected<user>{{std::string(*name)}};
}

}  // namespace

int main(int argc, char** argv) {
  phx::presence presence;
  phx::router app(who_is);
  app.channel("room:*", [&presence](user const& me) { return room(me, presence); });

  phx::blocking::options opts;
  if (argc == 3) opts.port = static_cast<std::uint16_t>(std::atoi(argv[2]));  // --port P
  phx::blocking::server server(app, opts);
  presence.start(server.endpoint());
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

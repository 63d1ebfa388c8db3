// Asynchronous replies: a join decided on another thread, and a reply from there. Other topics are served meanwhile.
#include <phx/adapter/blocking.hpp>
#include <phx/phx.hpp>

#include <cstdio>
#include <thread>

namespace {

/// A slow service with threads of its own. Its arguments are values: they may outlive the channel, the socket and the loop.
struct database {
  void may_join(phx::channel_id channel) {
    std::thread([channel] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      channel.joined(phx::payload::json(R"({"rows":3})"));
      channel.push("snapshot", phx::payload::json(R"({"row":[1,2,3]})"));
    }).detach();
  }
  void query(phx::reply_to answer, phx::payload data) {
    std::thread([answer = std::move(answer), data = std::move(data)] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      answer(data);  // is sent even if the channel has left meanwhile, as in Phoenix
    }).detach();
  }
};

struct table {
  database& db;

  phx::join_result join(phx::joining& j, phx::message const&) {
    db.may_join(j.id());
    return phx::join_result::later(j.now() + std::chrono::seconds(5));  // without a verdict by then: error, "timeout"
  }
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    db.query(ctx.reply(), in.payload);
    return phx::outcome::noreply();
  }
};

}  // namespace

int main(int argc, char** argv) {
  database db;
  phx::router app;
  app.channel("table:*", [&db](phx::anonymous const&) { return table{db}; });
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  phx::blocking::server server(app, {.port = static_cast<std::uint16_t>(port)});
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

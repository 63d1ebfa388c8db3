// A custom Dispatcher: the channels belong to a game world, on its own thread. phx keeps the topic and the address of each
// channel, forwards its messages, and sends phx_close or phx_error when the channel exits.
#include <phx/adapter/blocking.hpp>
#include <phx/phx.hpp>

#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace {

struct task {
  enum : std::uint8_t { join, in, end } kind;
  phx::channel_id channel;
  std::string event{};
  phx::payload data{};
  phx::reply_to answer{};
};

/// The game world: one thread and its inbox.
class world {
 public:
  void post(task t) noexcept {
    std::lock_guard const hold(mutex_);
    inbox_.push_back(std::move(t));
    changed_.notify_one();
  }
  void run() {
    for (;;) {
      std::vector<task> todo;
      {
        std::unique_lock hold(mutex_);
        changed_.wait(hold, [&] { return !inbox_.empty(); });
        todo.swap(inbox_);
      }
      for (task const& t : todo) handle(t);
    }
  }

 private:
  void handle(task const& t) {
    switch (t.kind) {
      case task::join:
        t.channel.joined();
        t.channel.push("snapshot", phx::payload::json(R"({"tick":1})"));
        break;
      case task::in:
        if (t.event == "quit")
          t.channel.exit(phx::exit_reason::normal);
        else if (t.event == "fall")
          t.channel.exit(phx::exit_reason::error);
        else
          t.answer(t.data);
        break;
      case task::end: break;
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<task> inbox_;
};

struct world_dispatcher {
  struct session_type {};
  using channel_type = phx::channel_id;  // the socket stores only the address
  world& game;

  phx::connect_outcome<session_type> connect(phx::connect_info const&) { return phx::connected<session_type>{{}}; }
  bool matches(std::string_view topic) noexcept { return topic.starts_with("match:"); }
  phx::join_result join(session_type&, phx::joining& j, phx::message const& in, phx::channel_place<channel_type>& place) {
    place.emplace(j.id());
    game.post({task::join, j.id(), {}, in.payload});
    return phx::join_result::later(j.now() + std::chrono::seconds(5));
  }
  phx::outcome handle_in(channel_type& ch, phx::context& ctx, phx::message const& in) {
    game.post({task::in, ch, std::string(in.event), in.payload, ctx.reply()});
    return phx::outcome::noreply();
  }
  void terminate(channel_type& ch, phx::context&, phx::exit_reason) noexcept { game.post({task::end, ch}); }
};
static_assert(phx::Dispatcher<world_dispatcher>);

}  // namespace

int main(int argc, char** argv) {
  world game;
  std::thread([&] { game.run(); }).detach();
  world_dispatcher app{game};
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  phx::blocking::server server(app, {.port = static_cast<std::uint16_t>(port)});
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

// A Dispatcher of one's own: the channels live in a game's world, on its thread. phx keeps topic and address, forwards what
// comes in, and turns an exit into the notice the client understands: the founding contract, whole.
#include <phx/adapter/blocking.hpp>
#include <phx/phx.hpp>

#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace {

struct order {
  enum : std::uint8_t { join, in, end } kind;
  phx::channel_id channel;
  std::string event{};
  phx::payload data{};
  phx::reply_to answer{};
};

/// The world: one thread, an inbox, and what it knows about its players.
class world {
 public:
  void post(order o) noexcept {
    std::lock_guard const hold(mutex_);
    inbox_.push_back(std::move(o));
    changed_.notify_one();
  }
  void live() {
    for (;;) {
      std::vector<order> todo;
      {
        std::unique_lock hold(mutex_);
        changed_.wait(hold, [&] { return !inbox_.empty(); });
        todo.swap(inbox_);
      }
      for (order const& o : todo) carry_out(o);
    }
  }

 private:
  void carry_out(order const& o) {
    switch (o.kind) {
      case order::join:
        o.channel.joined();
        o.channel.push("snapshot", phx::payload::json(R"({"tick":1})"));
        break;
      case order::in:
        if (o.event == "quit")
          o.channel.exit(phx::exit_reason::normal);
        else if (o.event == "fall")
          o.channel.exit(phx::exit_reason::error);
        else
          o.answer(o.data);
        break;
      case order::end: break;
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<order> inbox_;
};

struct elsewhere {
  struct session_type {};
  using channel_type = phx::channel_id;  // all that stays here is the address
  world& there;

  phx::connect_outcome<session_type> connect(phx::connect_info const&) { return phx::connected<session_type>{{}}; }
  bool matches(std::string_view topic) noexcept { return topic.starts_with("match:"); }
  phx::join_outcome<channel_type> join(session_type&, phx::joining& j, phx::message const& in) {
    there.post({order::join, j.id(), {}, in.payload});
    return phx::pending<channel_type>{j.id(), j.now() + std::chrono::seconds(5)};
  }
  phx::outcome handle_in(channel_type& ch, phx::context& ctx, phx::message const& in) {
    there.post({order::in, ch, std::string(in.event), in.payload, ctx.reply()});
    return phx::outcome::noreply();
  }
  void terminate(channel_type& ch, phx::context&, phx::exit_reason) noexcept { there.post({order::end, ch}); }
};
static_assert(phx::Dispatcher<elsewhere>);

}  // namespace

int main(int argc, char** argv) {
  world there;
  std::thread([&] { there.live(); }).detach();
  elsewhere app{there};
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  phx::blocking::server server(app, {.port = static_cast<std::uint16_t>(port)});
  std::printf("listening on 127.0.0.1:%d\n", int{server.port()});
  std::fflush(stdout);
  server.run();
}

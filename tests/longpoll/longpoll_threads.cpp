// Long-polling on two loops that are threads: the requests of every client come to both.
#include <phx/longpoll/longpoll.hpp>

#include <support/room.hpp>

#include <doctest/doctest.h>

#include <array>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;

/// A room without a journal, because two threads use it.
struct quiet_room {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    ctx.broadcast("shout", in.payload);
    return phx::outcome::reply();
  }
};

/// A loop, the thread that runs it, and functions posted to run inside it.
struct thread_loop {
  struct waker {
    thread_loop* to;
    void wake() noexcept {
      std::lock_guard const hold(to->mutex);
      to->woken = true;
      to->bell.notify_one();
    }
  };
  explicit thread_loop(phx::endpoint& all) : loop(all, ring) {}

  void post(std::function<void()> item) {
    std::lock_guard const hold(mutex);
    todo.push_back(std::move(item));
    bell.notify_one();
  }
  void run() {
    for (;;) {
      std::vector<std::function<void()>> now_todo;
      {
        std::unique_lock hold(mutex);
        bell.wait_until(hold, std::min(next, std::chrono::steady_clock::now() + 1h),
                        [&] { return woken || stopping || !todo.empty(); });
        if (stopping && todo.empty()) return;
        woken = false;
        now_todo.swap(todo);
      }
      for (auto& f : now_todo) f();
      next = loop.run(std::chrono::steady_clock::now());
    }
  }
  void stop() {
    std::lock_guard const hold(mutex);
    stopping = true;
    bell.notify_one();
  }

  std::mutex mutex{};
  std::condition_variable bell{};
  std::vector<std::function<void()>> todo{};
  bool woken = true, stopping = false;
  waker ring{this};
  phx::loop loop;
  phx::time_point next{};
};

/// A client's connection to one loop; a client uses both in turn.
struct line {
  phx::longpoll::poll_request asked{*this};
  std::mutex mutex{};
  std::condition_variable bell{};
  std::string body{};
  bool done = false, refuse = false;
  void respond(phx::longpoll::response r) noexcept {
    std::lock_guard const hold(mutex);
    body = std::string(r.body());
    refuse ? r.failed() : r.written();
    done = true;
    bell.notify_one();
  }
};

}  // namespace

TEST_CASE("longpoll: clients whose requests alternate between the threads of two loops lose nothing, in order") {
  constexpr int clients = 4, rounds = 60;
  phx::router app;
  app.channel<quiet_room>("room:*");
  phx::mount const mount{.path = "/socket", .longpoll = true};
  phx::longpoll::sessions sessions;
  phx::endpoint everywhere;
  std::array<std::unique_ptr<thread_loop>, 2> loops;
  using service = phx::longpoll::service_for<decltype(app)>;
  std::array<std::unique_ptr<service>, 2> services;
  for (std::size_t i = 0; i < 2; ++i) {
    loops[i] = std::make_unique<thread_loop>(everywhere);
    services[i] = std::make_unique<service>(sessions, loops[i]->loop, mount, app);
  }
  std::vector<std::thread> threads;
  for (auto& l : loops) threads.emplace_back([&l] { l->run(); });

  // doctest asserts on this thread only
  auto const client = [&](int number) -> std::string {
    std::array<line, 2> lines;
    std::size_t turn = static_cast<std::size_t>(number);
    std::string const base = "/socket/longpoll?vsn=2.0.0", room = "room:" + std::to_string(number);
    auto const ask = [&](char const* method, std::string const& token, std::string const& body, bool refuse = false) {
      std::size_t const at = turn++ % 2;
      line& l = lines[at];
      std::string const target = base + (token.empty() ? "" : "&token=" + token);
      l.done = false;
      l.refuse = refuse;
      loops[at]->post([&, at] {
        services[at]->serve(l.asked, phx::request::of(method, target, {}), body, std::chrono::steady_clock::now());
      });
      std::unique_lock hold(l.mutex);
      l.bell.wait_for(hold, 60s, [&] { return l.done; });
      return l.done ? l.body : "nothing came";
    };
    std::string answer = ask("GET", "", "");
    std::size_t const at = answer.find(R"("token":")");
    if (at == std::string::npos) return answer;
    std::string const token = answer.substr(at + 9, 43);
    answer = ask("POST", token, R"(["1","1",")" + room + R"(","phx_join",{}])");
    if (answer != R"({"status":200})") return answer;
    int next = 0;
    for (int round = 0; round < rounds; ++round) {
      answer = ask("POST", token, R"(["1","2",")" + room + R"(","say",{"n":)" + std::to_string(round) + "}]");
      if (answer != R"({"status":200})") return answer;
      if (round % 3 == 0) (void)ask("GET", token, "", true);  // never written: sent again
      if (round % 5 != 4) continue;
      while (next <= round) {
        answer = ask("GET", token, "");
        if (answer.find(R"("status":20)") == std::string::npos) return answer;
        for (std::size_t n = 0; (n = answer.find(R"({\"n\":)", n)) != std::string::npos; ++n)
          if (std::atoi(answer.c_str() + n + 7) != next++) return "out of order: " + answer;
      }
    }
    // the poll_requests belong to their loops, which must destroy them
    for (std::size_t i = 0; i < 2; ++i) {
      line& l = lines[i];
      l.done = false;
      loops[i]->post([&l] {
        l.asked.cancel();
        std::lock_guard const hold(l.mutex);
        l.done = true;
        l.bell.notify_one();
      });
      std::unique_lock hold(l.mutex);
      l.bell.wait(hold, [&] { return l.done; });
    }
    return next == rounds ? "" : "only " + std::to_string(next);
  };
  std::array<std::string, clients> wrong;
  std::vector<std::thread> all;
  for (int i = 0; i < clients; ++i) all.emplace_back([&, i] { wrong[static_cast<std::size_t>(i)] = client(i); });
  for (std::thread& t : all) t.join();
  for (std::string const& w : wrong) CHECK(w == "");
  CHECK(sessions.size() == clients);

  // one loop ends while the other still uses its sessions
  loops[0]->stop();
  threads[0].join();
  services[0].reset();
  loops[0].reset();
  std::uint32_t const left = sessions.size();
  loops[1]->stop();
  threads[1].join();
  services[1].reset();
  CHECK(left <= clients);
  CHECK(sessions.size() == 0);
}

// Two loops on two threads, and other threads that post to them, for ThreadSanitizer.

#include <phx/socket/socket.hpp>

#include <support/room.hpp>

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

using namespace support;

namespace {

/// A loop of a host with a thread of its own: sleeps until it is woken or its time has come.
class threaded_loop {
 public:
  explicit threaded_loop(phx::endpoint& everywhere) : event_loop(everywhere, *this) {}
  threaded_loop(threaded_loop const&) = delete;
  threaded_loop& operator=(threaded_loop const&) = delete;
  ~threaded_loop() { stop(); }

  void wake() noexcept {
    {
      std::lock_guard const hold(mutex_);
      woken_ = true;
    }
    bell_.notify_one();
  }
  /// `work(now)` runs inside the loop, repeatedly, until it returns false; then the loop runs until `stop`.
  template <class F>
  void start(F work) {
    thread_ = std::thread([this, work]() mutable {
      bool more = true;
      while (!stopped_) {
        auto const now = std::chrono::steady_clock::now();
        if (more) more = work(now);
        phx::time_point const next = event_loop.run(std::chrono::steady_clock::now());
        std::unique_lock hold(mutex_);
        if (more) woken_ = true;
        auto const until = std::min<phx::time_point>(next, now + 50ms);
        bell_.wait_until(hold, until, [&] { return woken_; });
        woken_ = false;
      }
      if (at_end) at_end();
    });
  }
  void stop() {
    if (!thread_.joinable()) return;
    stopped_ = true;
    wake();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable bell_;
  bool woken_ = false;
  std::atomic<bool> stopped_{false};
  std::thread thread_;

 public:
  std::function<void()> at_end{};
  phx::loop event_loop;
};

using recorded = phx::socket<phx::testing::recorder::transport_type, rooms>;
struct seat {
  phx::testing::recorder wire{};
  std::optional<recorded> socket{};
};

}  // namespace

TEST_CASE("threads: two loops broadcast to each other while other threads broadcast, push, reply and drain") {
  constexpr int shouts = 200, seats_each = 3, outsiders = 2, code = 100;
  phx::endpoint everywhere;
  rooms d;
  journal logs[2];
  std::vector<std::unique_ptr<seat>> seats[2];
  std::mutex handles_mutex;
  std::vector<phx::channel_id> ids;
  std::vector<phx::reply_to> replies;
  std::atomic<int> ready{0}, done{0};
  {
    threaded_loop loops[2] = {threaded_loop(everywhere), threaded_loop(everywhere)};
    for (std::size_t l = 0; l < 2; ++l) {
      loops[l].at_end = [&, l] { seats[l].clear(); };
      loops[l].start([&, l, n = 0](phx::time_point now) mutable {
        if (n == 0) {
          for (int i = 0; i < seats_each; ++i) {
            seats[l].push_back(std::make_unique<seat>());
            seat& s = *seats[l].back();
            phx::admission<user> in{phx::serializer_ref::of<phx::v2_json>()};
            in.session.emplace(user{&logs[l], "x"});
            in.id = "user:ann";
            s.socket.emplace(loops[l].event_loop, d, std::move(in), s.wire.transport(), now);
            (void)s.socket->receive(phx::opcode::text, R"(["1","1","room:a","phx_join",{}])", true, now);
            (void)s.socket->receive(phx::opcode::text, R"(["1","2","room:a","async",{}])", true, now);
            std::lock_guard const hold(handles_mutex);
            ids.push_back(logs[l].ids["room:a"]);
            replies.push_back(logs[l].replies.back());
          }
          ++ready;
          n = 1;
          return true;
        }
        if (ready < 2) return true;
        if (n <= shouts) {
          std::string const text =
              R"(["1",null,"room:a","shout",{"loop":)" + std::to_string(l) + R"(,"n":)" + std::to_string(n) + "}]";
          (void)seats[l][static_cast<std::size_t>(n % seats_each)]->socket->receive(phx::opcode::text, text, true, now);
        }
        if (++n <= shouts) return true;
        ++done;
        return false;
      });
    }
    while (ready < 2) std::this_thread::yield();
    std::vector<std::thread> others;
    for (int o = 0; o < outsiders; ++o)
      others.emplace_back([&, o] {
        for (int n = 0; n < code; ++n) {
          std::string const subject = R"({"outsider":)" + std::to_string(o) + R"(,"n":)" + std::to_string(n) + "}";
          CHECK(everywhere.broadcast("room:a", "news", phx::payload::json(subject)) == phx::errc::none);
          ids[static_cast<std::size_t>(n) % ids.size()].push("direct", phx::payload::json(subject));
          replies[static_cast<std::size_t>(n) % replies.size()](phx::payload::json(subject));
          (void)everywhere.sockets();
        }
      });
    for (std::thread& t : others) t.join();
    while (done < 2) std::this_thread::yield();
    // Everything is posted; the mailboxes are handled before the loops learn of a drain.
    everywhere.drain();
    while (everywhere.sockets() != 0) std::this_thread::yield();
    for (threaded_loop& l : loops) l.at_end = nullptr;
    for (threaded_loop& l : loops) l.stop();
  }
  std::size_t directs = 0, answers = 0;
  for (auto& of_loop : seats)
    for (auto& s : of_loop) {
      int next[2] = {0, 0}, news[outsiders] = {};
      for (std::string const& f : s->wire.out()) {
        // The messages of each sender in the order of sending, none lost and none twice.
        for (int l = 0; l < 2; ++l)
          if (f.find(R"("shout",{"loop":)" + std::to_string(l)) != f.npos) {
            int const n = std::stoi(f.substr(f.find(R"("n":)") + 4));
            CHECK(n == next[l] + 1);
            next[l] = n;
          }
        for (int o = 0; o < outsiders; ++o)
          if (f.find(R"("news",{"outsider":)" + std::to_string(o)) != f.npos) {
            CHECK(f.find(R"("n":)" + std::to_string(news[o]) + "}") != f.npos);
            ++news[o];
          }
        directs += f.find(R"("direct")") != f.npos;
        answers += f.find(R"("phx_reply",{"status":"ok","response":{"outsider")") != f.npos;
      }
      for (int o = 0; o < outsiders; ++o) CHECK(news[o] == code);
      CHECK(next[0] == shouts);
      CHECK(next[1] == shouts);
      REQUIRE(s->wire.closed.has_value());
      CHECK(s->wire.closed->code == phx::close_code::restart);
    }
  CHECK(directs == outsiders * code);
  CHECK(answers == outsiders * code);
}

TEST_CASE("threads: joins answered from another thread, exits and disconnects at the same time") {
  phx::endpoint everywhere;
  rooms d;
  journal log;
  seat one;
  std::mutex mutex;
  std::vector<phx::channel_id> pending;
  std::atomic<bool> finished{false};
  std::size_t frames = 0;
  {
    threaded_loop l(everywhere);
    l.at_end = [&] { one.socket.reset(); };
    l.start([&, n = 0](phx::time_point now) mutable {
      if (n == 0) {
        phx::admission<user> in{phx::serializer_ref::of<phx::v2_json>()};
        in.session.emplace(user{&log, "x"});
        in.id = "user:ann";
        one.socket.emplace(l.event_loop, d, std::move(in), one.wire.transport(), now);
      }
      if (n < 300 && !one.wire.closed) {
        std::string const topic = "room:" + std::to_string(n % 50), ref = std::to_string(n);
        (void)one.socket->receive(phx::opcode::text,
                                  "[\"" + ref + "\",\"" + ref + "\",\"" + topic + R"(","phx_join",{"later":1}])", true, now);
        std::lock_guard const hold(mutex);
        pending.push_back(log.ids[topic]);
      }
      ++n;
      return n < 300 && !one.wire.closed;
    });
    std::thread decider([&] {
      for (int n = 0; n < 300; ++n) {
        phx::channel_id channel;
        for (bool have = false; !have;) {
          std::lock_guard const hold(mutex);
          if (static_cast<std::size_t>(n) < pending.size()) channel = pending[static_cast<std::size_t>(n)], have = true;
        }
        if (n % 3 == 0)
          channel.refused();
        else
          channel.joined();
        channel.push("welcome", {});
        if (n % 5 == 0) channel.exit(phx::exit_reason::killed);
      }
      CHECK(everywhere.disconnect("user:ann") == phx::errc::none);
      while (everywhere.sockets() != 0) std::this_thread::yield();
      finished = true;
    });
    decider.join();
    l.stop();
    frames = one.wire.frames.size();
  }
  CHECK(finished);
  CHECK(frames > 0);  // the scheduler decides how many joins were replaced before their verdict
  REQUIRE(one.wire.closed.has_value());
  CHECK(one.wire.closed->code == phx::close_code::going_away);
}

TEST_CASE("threads: posting to a loop that is being destroyed is safe, and returns closed") {
  for (int round = 0; round < 20; ++round) {
    phx::endpoint everywhere;
    rooms d;
    journal log;
    phx::channel_id id;
    std::atomic<bool> go{false};
    std::thread poster;
    phx::testing::fake_waker beside_waker;
    phx::loop beside(everywhere, beside_waker);  // broadcasts of a channel_id are posted here too
    {
      phx::testing::fake_waker waker;
      phx::loop event_loop(everywhere, waker);
      seat s;
      phx::admission<user> in{phx::serializer_ref::of<phx::v2_json>()};
      in.session.emplace(user{&log, "x"});
      s.socket.emplace(event_loop, d, std::move(in), s.wire.transport(), phx::time_point{});
      (void)s.socket->receive(phx::opcode::text, R"(["1","1","room:a","phx_join",{}])", true, phx::time_point{});
      id = log.ids["room:a"];
      poster = std::thread([&] {
        go = true;
        while (id.push("x", {}) != phx::send_status::closed) {
          (void)everywhere.broadcast("room:a", "x", {});
          (void)id.broadcast("x", {});
        }
      });
      while (!go) std::this_thread::yield();
      (void)event_loop.run(phx::time_point{});
      s.socket.reset();
    }
    poster.join();
    CHECK(id.push("x", {}) == phx::send_status::closed);
    CHECK(id.broadcast("x", {}) == phx::send_status::closed);
  }
}

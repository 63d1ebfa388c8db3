// Long-polling behind somebody else's HTTP server, with its own sockets, threads and handlers: here cpp-httplib. All it asks
// of one is that a handler may take its time. (httplib keeps its sockets to itself, so that a WebSocket is 404 and
// phoenix.js falls back, with `longPollFallbackMs`. A server that hands a socket over does what README says under "A socket
// type".)
#include <phx/longpoll/longpoll.hpp>
#include <phx/phx.hpp>

#include <httplib.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <semaphore>
#include <thread>

namespace {

struct room {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event != "say") return phx::outcome::stop(phx::exit_reason::error);
    ctx.broadcast("said", in.payload);
    return phx::outcome::reply();
  }
};

struct bell {
  std::counting_semaphore<> rung{0};
  void wake() noexcept { rung.release(); }
};

// One request, in its handler's thread.
struct asking {
  phx::longpoll::exchange exchange{*this};
  std::shared_ptr<phx::longpoll::response> answer{};
  std::condition_variable answered{};
  void respond(phx::longpoll::response r) noexcept {
    answer = std::make_shared<phx::longpoll::response>(std::move(r));
    answered.notify_one();
  }
};

}  // namespace

int main(int argc, char** argv) {
  using clock = std::chrono::steady_clock;
  phx::router app;
  app.channel<room>("room:*");
  phx::mount const mount{.path = "/socket", .longpoll = true};

  std::mutex inside;  // the loop: a mutex, held by whoever calls phx
  bell bell;
  phx::endpoint everywhere;
  phx::longpoll::sessions sessions;
  phx::loop loop(everywhere, bell);
  phx::longpoll::service_for<decltype(app)> polling(sessions, loop, mount, app);

  auto const serve = [&](httplib::Request const& asked, httplib::Response& to) {
    std::vector<phx::header> headers;
    for (auto const& [name, value] : asked.headers) headers.push_back({name, value});
    phx::peer_data const peer{asked.remote_addr, static_cast<std::uint16_t>(asked.remote_port), {}};

    std::unique_lock hold(inside);
    asking mine;
    polling.serve(mine.exchange, phx::request::of(asked.method, asked.target, headers, peer), asked.body, clock::now());
    // There is an answer when the poll's window ends, at the latest; no handler waits for ever, whatever keeps the loop from
    // it.
    bool const answered = mine.answered.wait_for(hold, std::chrono::minutes(1), [&] { return mine.answer != nullptr; });
    to.status = answered ? mine.answer->status() : 503;
    if (!answered) return;

    std::string type;
    mine.answer->each_header([&](std::string_view name, std::string_view value) {
      name == "content-type" ? void(type = value) : to.set_header(std::string(name), std::string(value));
    });
    if (mine.answer->body().empty()) return;
    // Written by a function, because then httplib tells whether it could be: what the client has not got comes with its next
    // poll.
    to.set_content_provider(
        mine.answer->body().size(), type,
        [it = mine.answer](std::size_t at, std::size_t size, httplib::DataSink& sink) {
          return sink.is_writable() && sink.write(it->body().data() + at, size);
        },
        [&inside, it = mine.answer](bool written) {
          std::lock_guard const hold_again(inside);
          if (!written) it->failed();
          phx::longpoll::response const done(std::move(*it));  // it ends inside the loop, as it began
        });
  };

  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(256); };  // a poll that waits has one of these threads
  server.set_payload_max_length(polling.most_body());
  server.Get("/socket/longpoll", serve).Post("/socket/longpoll", serve).Options("/socket/longpoll", serve);

  std::thread time([&] {
    for (;;) {
      std::unique_lock hold(inside);
      phx::time_point const next = loop.run(clock::now());
      hold.unlock();
      (void)bell.rung.try_acquire_until(std::min(next, clock::now() + std::chrono::hours(1)));
    }
  });
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  if (!server.bind_to_port("127.0.0.1", port)) return std::printf("port %d is taken\n", port), 1;
  std::printf("listening on 127.0.0.1:%d\n", port);
  std::fflush(stdout);
  server.listen_after_bind();
}

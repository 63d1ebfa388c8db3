// Long-polling in another HTTP server with its own sockets, threads and handlers: here cpp-httplib. phx only requires that a
// handler may block. (httplib does not give access to its sockets, so a WebSocket is answered 404 and phoenix.js falls back,
// with `longPollFallbackMs`. For a server that does, include websocket/handshake.hpp and socket/receive_frames.hpp.)
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

struct waker {
  std::counting_semaphore<> woken{0};
  void wake() noexcept { woken.release(); }
};

// One request, on the thread of its handler.
struct pending_request {
  phx::longpoll::poll_request request{*this};
  std::shared_ptr<phx::longpoll::response> response{};
  std::condition_variable responded{};
  void respond(phx::longpoll::response r) noexcept {
    response = std::make_shared<phx::longpoll::response>(std::move(r));
    responded.notify_one();
  }
};

}  // namespace

int main(int argc, char** argv) {
  using clock = std::chrono::steady_clock;
  phx::router app;
  app.channel<room>("room:*");
  phx::mount const mount{.path = "/socket", .longpoll = true};

  std::mutex mutex;  // protects the loop: every call of phx holds it
  waker waker;
  phx::endpoint endpoint;
  phx::longpoll::sessions sessions;
  phx::loop loop(endpoint, waker);
  phx::longpoll::service_for<decltype(app)> polling(sessions, loop, mount, app);

  auto const serve = [&](httplib::Request const& request, httplib::Response& to) {
    std::vector<phx::http::header> headers;
    for (auto const& [name, value] : request.headers) headers.push_back({name, value});
    phx::http::peer_data const peer{request.remote_addr, static_cast<std::uint16_t>(request.remote_port), {}};

    std::unique_lock lock(mutex);
    pending_request pending;
    polling.serve(pending.request, phx::http::request::of(request.method, request.target, headers, peer), request.body,
                  clock::now());
    // A response comes at the end of the poll's window at the latest; the minute is for a loop that is blocked.
    bool const responded =
        pending.responded.wait_for(lock, std::chrono::minutes(1), [&] { return pending.response != nullptr; });
    to.status = responded ? pending.response->status() : 503;
    if (!responded) return;

    std::string type;
    pending.response->each_header([&](std::string_view name, std::string_view value) {
      name == "content-type" ? void(type = value) : to.set_header(std::string(name), std::string(value));
    });
    if (pending.response->body().empty()) return;
    // A content provider writes it, so that httplib reports the result: unwritten frames come with the next poll.
    to.set_content_provider(
        pending.response->body().size(), type,
        [response = pending.response](std::size_t at, std::size_t size, httplib::DataSink& sink) {
          return sink.is_writable() && sink.write(response->body().data() + at, size);
        },
        [&mutex, response = pending.response](bool written) {
          std::lock_guard const lock_again(mutex);
          written ? response->written() : response->failed();
          phx::longpoll::response const done(std::move(*response));  // destroyed inside the loop, as phx requires
        });
  };

  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(256); };  // each waiting poll occupies one of these threads
  server.set_payload_max_length(polling.max_body());
  server.Get("/socket/longpoll", serve).Post("/socket/longpoll", serve).Options("/socket/longpoll", serve);

  std::thread loop_thread([&] {
    for (;;) {
      std::unique_lock lock(mutex);
      phx::time_point const next = loop.run(clock::now());
      lock.unlock();
      (void)waker.woken.try_acquire_until(std::min(next, clock::now() + std::chrono::hours(1)));
    }
  });
  int const port = argc > 2 ? std::atoi(argv[2]) : 4000;  // --port P
  if (!server.bind_to_port("127.0.0.1", port)) return std::printf("port %d is already in use\n", port), 1;
  std::printf("listening on 127.0.0.1:%d\n", port);
  std::fflush(stdout);
  server.listen_after_bind();
}

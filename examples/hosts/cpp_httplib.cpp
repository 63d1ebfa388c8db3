// phx on cpp-httplib, by long-polling: the library has threads that block and hands out no sockets. All that phx needs of
// it is that a handler may block; a mutex protects the loop: every call of phx holds it.

#include "app.hpp"

#include <phx/longpoll/longpoll.hpp>

#include <httplib.h>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

// One request, in its handler's thread.
struct pending_request {
  phx::longpoll::poll_request request{*this};
  std::shared_ptr<phx::longpoll::response> response{};
  std::condition_variable responded{};
  void respond(phx::longpoll::response r) noexcept {
    response = std::make_shared<phx::longpoll::response>(std::move(r));
    responded.notify_one();
  }
};

class host {
 public:
  host() {
    app_.mount.longpoll = true;
    app_.mount.websocket = false;
    auto const handler = [this](httplib::Request const& request, httplib::Response& to) { serve(request, to); };
    std::string const path = app_.mount.path + app_.mount.longpoll_path;
    http_.Get(path, handler).Post(path, handler).Options(path, handler);
    http_.new_task_queue = [] { return new httplib::ThreadPool(256); };  // a poll that waits has one of these threads
    http_.set_payload_max_length(polling_.max_body());
    http_.set_keep_alive_timeout(1);  // so long a connection that does nothing keeps the program from ending
    http_.set_tcp_nodelay(true);
  }
  void wake() noexcept {  // from any thread, with or without the mutex
    std::lock_guard const hold(wake_mutex_);
    woken_ = true;
    wakes_.notify_one();
  }
  bool listen(std::uint16_t port) {
    int const bound = port == 0 ? http_.bind_to_any_port("127.0.0.1") : http_.bind_to_port("127.0.0.1", port) ? port : -1;
    if (bound <= 0) return false;
    announce(static_cast<unsigned>(bound));
    std::thread loop([this] { run(); });
    http_.listen_after_bind();  // until stop()
    loop.join();
    return true;
  }
  void drain() { app_.endpoint.drain(app_.drain); }  // from any thread

 private:
  void serve(httplib::Request const& request, httplib::Response& to) {
    std::vector<phx::header> headers;
    for (auto const& [name, value] : request.headers) headers.push_back({name, value});
    phx::peer_data const peer{request.remote_addr, static_cast<std::uint16_t>(request.remote_port), {}};
    std::unique_lock lock(mutex_);
    pending_request pending;
    auto const head = phx::request::of(request.method, request.target, headers, peer);
    polling_.serve(pending.request, head, request.body, clock::now());
    // There is a response when the poll's window ends, at the latest.
    bool const responded = pending.responded.wait_for(lock, 1min, [&] { return pending.response != nullptr; });
    to.status = responded ? pending.response->status() : 503;
    if (responded) write(pending.response, to);
  }
  /// With the mutex.
  void write(std::shared_ptr<phx::longpoll::response> const& response, httplib::Response& to) {
    std::string type;
    response->each_header([&](std::string_view name, std::string_view value) {
      name == "content-type" ? void(type = value) : to.set_header(std::string(name), std::string(value));
    });
    if (response->body().empty()) return;
    // By a function, because then httplib tells whether it was written: what the client has not got comes with its next poll.
    auto const provide = [response](std::size_t at, std::size_t size, httplib::DataSink& sink) {
      return sink.is_writable() && sink.write(response->body().data() + at, size);
    };
    auto const done = [this, response](bool written) {
      std::lock_guard const hold(mutex_);
      written ? response->written() : response->failed();
      phx::longpoll::response const ends_inside_the_loop(std::move(*response));
    };
    to.set_content_provider(response->body().size(), type, provide, done);
  }
  void run() {
    for (bool served = false; !served;) {
      std::unique_lock lock(mutex_);
      phx::time_point const next = loop_.run(clock::now());
      served = loop_.draining() && loop_.sockets() == 0;
      lock.unlock();
      std::unique_lock waiting(wake_mutex_);
      if (!served) wakes_.wait_until(waiting, std::min(next, clock::now() + 1h), [&] { return woken_; });
      woken_ = false;
    }
    http_.stop();
  }

  std::mutex wake_mutex_{};
  std::condition_variable wakes_{};
  bool woken_ = false;
  application app_{};
  std::mutex mutex_{};  // the loop's
  phx::longpoll::sessions sessions_{};
  phx::loop loop_{app_.endpoint, *this, app_.bounds};
  // A restart is not to wait for the polls that wait: they are answered when their session ends.
  phx::longpoll::service_for<phx::router<user>> polling_{sessions_, loop_, app_.mount, app_.channels, {.wake_at_end = true}};
  httplib::Server http_{};
};

}  // namespace

int main(int argc, char** argv) {
  sigset_t terminated;
  sigemptyset(&terminated), sigaddset(&terminated, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &terminated, nullptr);  // in all threads; one waits for it
  host all;
  std::thread([&] {
    int signal = 0;
    sigwait(&terminated, &signal);
    all.drain();
  }).detach();
  return all.listen(port_of(argc, argv)) ? 0 : 1;
}

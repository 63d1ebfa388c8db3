#ifndef PHX_TESTS_SUPPORT_EPOLL_HOST_HPP
#define PHX_TESTS_SUPPORT_EPOLL_HOST_HPP
// A server of adapter/epoll.hpp with threads of its own.

#include <phx/adapter/epoll.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <thread>

#include "support/eventually.hpp"
#include "support/host_polls.hpp"
#include "support/raw_client.hpp"
#include "support/slow.hpp"

namespace phx_tests::on_epoll {

using phx_tests::poller;
using phx_tests::request;

/// The events of the observer, from any thread.
struct journal {
  std::mutex mutex{};
  std::vector<std::string> lines{};
  void on_event(phx::telemetry_event const& n) noexcept {
    std::string line(to_string(n.kind));
    for (std::string_view const part : {n.event, n.text, n.exit.detail()}) line.append(" ").append(part);
    std::lock_guard const hold(mutex);
    lines.push_back(std::move(line));
  }
  [[nodiscard]] std::size_t count(std::string_view text) {
    std::lock_guard const hold(mutex);
    std::size_t n = 0;
    for (std::string const& l : lines) n += l.starts_with(text) ? 1u : 0u;
    return n;
  }
  /// Waits for an event.
  [[nodiscard]] bool has(std::string_view text, std::size_t times = 1) {
    return eventually([&] { return count(text) >= times; });
  }
};

inline phx::epoll::options quick(std::uint32_t loops = 1) {
  phx::epoll::options o{.port = 0, .loops = loops};
  o.goodbye = std::chrono::milliseconds(500);
  return o;
}

/// A server and its threads, drained at the end of the scope.
struct running {
  /// @param before is called with the server before it starts.
  explicit running(phx::epoll::options o = quick(), phx::mount m = {}, phx::longpoll::options polls = {},
                   std::function<void(phx::epoll::server&)> const& before = {})
      : server(std::move(o)) {
    app.channel<host_room>("room:*");
    serve_floods(app);
    server.observe(seen);
    server.serve(app, std::move(m), polls);
    server.serve(app, phx::mount{.path = "/other", .url_host = "other.example"});
    server.route([this](phx::epoll::http_request const& r) -> std::optional<phx::http_answer> {
      if (r.path == "/body") return phx::http_answer{200, {{"x-method", std::string(r.method)}}, std::string(r.body)};
      if (r.path == "/peer") return phx::http_answer{200, {}, std::string(r.peer.address)};
      if (r.path == "/throws") throw 1;
      if (r.path == "/header") return phx::http_answer{200, {}, std::string(r.header(r.query).value_or("none"))};
      if (r.path == "/later") {
        std::lock_guard const hold(waiting_mutex);
        waiting.push_back(r.later());
        (void)r.later();  // discards the handle: no response is given
      }
      return std::nullopt;
    });
    if (before) before(server);
    thread = std::thread([this] {
      server.run();
      gone.set_value();
    });
  }
  ~running() { end(); }
  /// Drains. True when run() returned by itself.
  bool end() {
    server.drain();
    return ended();
  }
  /// Waits until run() has returned; stops it if it does not.
  bool ended() {
    if (!thread.joinable()) return true;
    bool const done = over.wait_for(raw_client::patience) == std::future_status::ready;
    if (!done) server.stop();
    thread.join();
    return done;
  }
  raw_client client(int receive_buffer = 0) const { return raw_client(server.port(), receive_buffer); }
  raw_client joined(std::string const& topic = "room:a", int receive_buffer = 0) const {
    raw_client c = client(receive_buffer);
    join(c, topic);
    return c;
  }
  static void join(raw_client& c, std::string const& topic = "room:a") {
    REQUIRE(c.open() == 101);
    REQUIRE(c.text("[\"1\",\"1\",\"" + topic + "\",\"phx_join\",{}]"));
    REQUIRE(c.read().data == "[\"1\",\"1\",\"" + topic + "\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]");
  }
  /// Waits until this many connections are open.
  bool connections(std::uint32_t n) const {
    return eventually([&] { return server.connections() == n; });
  }
  /// The next late response that a client waits for.
  phx::epoll::late_answer next_waiting() {
    auto const somebody_waits = [&] {
      std::lock_guard const hold(waiting_mutex);
      return !waiting.empty();
    };
    if (!eventually(somebody_waits)) throw std::runtime_error("nobody waits");
    std::lock_guard const hold(waiting_mutex);
    phx::epoll::late_answer next = std::move(waiting.front());
    waiting.pop_front();
    return next;
  }
  phx::router<> app{};
  journal seen{};
  std::mutex waiting_mutex{};
  std::list<phx::epoll::late_answer> waiting{};
  std::promise<void> gone{};
  std::future<void> over = gone.get_future();
  phx::epoll::server server;
  std::thread thread{};
};

// ---- long-polling

[[nodiscard]] inline phx::mount polled() {
  phx::mount m{};
  m.longpoll = true;
  return m;
}

}  // namespace phx_tests::on_epoll

#endif

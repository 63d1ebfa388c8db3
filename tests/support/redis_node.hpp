#ifndef PHX_TESTS_SUPPORT_REDIS_NODE_HPP
#define PHX_TESTS_SUPPORT_REDIS_NODE_HPP
// An endpoint on a Redis, and a listener on the topic "t".

#include <phx/adapter/redis.hpp>

#include <algorithm>

#include "support/eventually.hpp"

namespace support {

/// Options for a Redis on this machine: reconnects quickly, gives up late.
[[nodiscard]] inline phx::redis::options fast_redis() {
  using namespace std::chrono_literals;
  phx::redis::options o;
  o.backoff = 10ms;
  o.max_backoff = 50ms;
  o.ping = 50ms;
  o.silence = 60s;
  o.connect = 60s;
  return o;
}

struct redis_node {
  explicit redis_node(phx::redis::options o) : between(with(std::move(o), *this)) {
    local.attach(between);
    local.listen("t", {this, [](void* self, phx::broadcast const& b) noexcept {
                         auto& me = *static_cast<redis_node*>(self);
                         std::lock_guard const hold(me.mutex);
                         me.heard.push_back(std::string(b.event) + ' ' + std::string(b.payload.raw()));
                         me.bytes = b.payload.is_binary();
                       }});
  }
  static phx::redis::options with(phx::redis::options o, redis_node& me) {
    o.on_warning = [&me](phx::redis::warning const& w) {
      std::lock_guard const hold(me.mutex);
      me.warnings.push_back({w.kind, std::string(w.topic) + ' ' + std::string(w.event) + ' ' + std::string(w.module)});
    };
    o.on_change = [&me](phx::redis::change const& c) {
      std::lock_guard const hold(me.mutex);
      me.changes.push_back(c);
      me.changes.back().reason = {};
      if (!c.connected) me.last_reason = c.reason;
    };
    return o;
  }
  bool up() { return between.wait_connected(std::chrono::seconds(60)); }
  bool listening(std::string_view message) {
    return phx_tests::eventually([&] {
      std::lock_guard const hold(mutex);
      return std::find(heard.begin(), heard.end(), message) != heard.end();
    });
  }
  std::size_t count() {
    std::lock_guard const hold(mutex);
    return heard.size();
  }
  /// The reason of the last disconnect or failed connect.
  std::string reason() {
    std::lock_guard const hold(mutex);
    return last_reason;
  }
  phx::errc say(std::string_view event, std::string_view json = "{}") {
    return local.broadcast("t", event, phx::payload::json(json));
  }

  std::mutex mutex{};
  std::vector<std::string> heard{};
  std::vector<phx::redis::change> changes{};
  std::vector<std::pair<phx::redis::warning_kind, std::string>> warnings{};
  std::string last_reason{};
  bool bytes = false;
  phx::redis::pubsub between;  // outlives the endpoint
  phx::endpoint local{};
};

}  // namespace support

#endif

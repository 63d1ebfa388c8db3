#ifndef PHX_METRICS_METRICS_HPP
#define PHX_METRICS_METRICS_HPP
// Metrics in the Prometheus text format: sockets, joins, messages, drops, refusals and loop lag. Not in phx.hpp.
//
//     phx::metrics metrics({.topics = {"room:*", "game:*"}});   // outlives the loops
//     metrics.observe(loop);                                    // each loop, before it runs; hosts: server.observe(metrics)
//
//     if (auto answer = metrics.answer(request)) return *answer;   // a route: GET /metrics, from loopback addresses only
//
// An observer counts inside each loop, in memory that no other loop writes; a scrape reads it without stopping a loop. Gauges
// and traffic are copied by the loop once an interval: the loop wakes for it. Labels are bounded: topics appear as the
// patterns given, never as themselves.

#include <phx/core/text/ip_address.hpp>
#include <phx/metrics/detail/loop_counters.hpp>
#include <phx/metrics/detail/prometheus_text.hpp>

#include <memory>
#include <mutex>
#include <optional>

namespace phx {
inline namespace PHX_BUILD {

/// Options of phx::metrics.
struct metrics_options {
  /// Values of the label `topic`, in the router's syntax (`room:*`, `lobby`). A topic counts for the first one that matches
  /// it, and for `other` if none does. Events carry topics of clients' choice, so nothing else becomes a label.
  std::vector<std::string> topics{};
  /// How often each loop copies its gauges and measures its lag. At least one millisecond.
  duration interval = std::chrono::seconds(1);
  /// Nanoseconds since any time in the past, not 0: one handler in 64 is timed with it. Called inside the loops. phx reads no
  /// clock; null, the default: handlers are not timed. `phx::steady_nanoseconds` is one.
  std::int64_t (*clock)() noexcept = nullptr;
};

/// A clock for metrics_options::clock: std::chrono::steady_clock.
[[nodiscard]] inline std::int64_t steady_nanoseconds() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Counters, gauges and histograms of any number of loops.
///
/// Order: construct, observe each loop, then text or answer at any time.
/// Lifetime: outlives the loops that it observes.
/// Threads: observe inside the loop, or before it runs; text and answer from any thread.
/// Cost: without it nothing; with it one event for each message (see Observer) and a few additions. text walks all loops:
/// some 60 lines and 16 for each topic pattern.
class metrics {
 public:
  /// The value of the Content-Type header.
  static constexpr std::string_view content_type = "text/plain; version=0.0.4; charset=utf-8";

  /// @throws std::bad_alloc
  explicit metrics(metrics_options options = {}) : options_(std::move(options)) {
    if (options_.interval < std::chrono::milliseconds(1)) options_.interval = std::chrono::milliseconds(1);
  }
  metrics(metrics const&) = delete;
  metrics& operator=(metrics const&) = delete;
  ~metrics() = default;

  /// Becomes the observer of `of`. @throws std::bad_alloc
  void observe(loop& of) { add(of, {}); }
  /// The same; `next` receives every event too, after it was counted. It outlives the loop.
  template <Observer O>
  void observe(loop& of, O& next) {
    add(of, detail::observer_ref::of(next));
  }

  /// All metrics. @throws std::bad_alloc
  [[nodiscard]] std::string text() const;

  /// The answer to a scrape of `path`, or null if the request is for another path: 200 with the text; 405 if the method is
  /// neither GET nor HEAD; 403 unless the peer's address is a loopback address and the request has no header that proxies add
  /// (Forwarded, X-Forwarded-*, X-Real-IP, Via), so that no stranger reads the figures. Behind a proxy on the same machine that
  /// adds none, everybody is the proxy: do not route its requests here. A host with another rule applies it and returns
  /// text() itself. @throws std::bad_alloc
  [[nodiscard]] std::optional<http_answer> answer(http::request const& request, std::string_view path = "/metrics") const;

 private:
  void add(loop& of, detail::observer_ref next) {
    std::lock_guard const held(mutex_);
    if (loops_.size() == loops_.capacity()) loops_.reserve(2 * loops_.size() + 1);
    // Nothing may fail after this: the loop keeps the address of the counters.
    loops_.push_back(std::make_unique<detail::loop_counters>(of, options_.topics, options_.interval, options_.clock, next));
  }
  template <class F>
  [[nodiscard]] std::uint64_t sum(F&& of_loop) const {
    std::uint64_t total = 0;
    for (auto const& l : loops_) total += of_loop(*l);
    return total;
  }
  void write_sockets(detail::prometheus_text& to) const;
  void write_channels(detail::prometheus_text& to) const;
  void write_loops(detail::prometheus_text& to) const;
  /// @param total calls what it is given with each histogram, and adds up the results.
  template <class F>
  static void write_histogram(detail::prometheus_text& to, detail::prometheus_text::label label, F&& total);

  metrics_options options_;
  mutable std::mutex mutex_{};  // protects the list; a scrape and observe hold it
  std::vector<std::unique_ptr<detail::loop_counters>> loops_{};
};

inline std::string metrics::text() const {
  std::string out;
  out.reserve(8192);
  detail::prometheus_text to(out);
  std::lock_guard const held(mutex_);
  write_sockets(to);
  write_channels(to);
  write_loops(to);
  return out;
}

inline std::optional<http_answer> metrics::answer(http::request const& request, std::string_view path) const {
  if (request.path != path) return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") return http_answer{405, {{"allow", "GET, HEAD"}}, {}};
  if (detail::came_through_a_proxy(request) || !detail::is_loopback(request.peer.address)) return http_answer{403, {}, {}};
  return http_answer{200, {{"content-type", std::string(content_type)}}, text()};
}

template <class F>
void metrics::write_histogram(detail::prometheus_text& to, detail::prometheus_text::label label, F&& total) {
  using histogram = detail::duration_histogram;
  std::uint64_t below = 0;
  for (std::size_t b = 0; b < histogram::buckets; ++b) {
    below += total([b](histogram const& h) { return h.count(b); });
    std::string const bound = b < histogram::buckets - 1 ? detail::prometheus_text::seconds(histogram::bounds[b]) : "+Inf";
    to.sample_of("_bucket", std::to_string(below), {label, {"le", bound}});
  }
  std::uint64_t const sum = total([](histogram const& h) { return h.sum_nanoseconds(); });
  to.sample_of("_sum", detail::prometheus_text::seconds(sum), {label});
  to.sample_of("_count", std::to_string(below), {label});
}

inline void metrics::write_sockets(detail::prometheus_text& to) const {
  using counters = detail::loop_counters;
  to.family("phx_sockets_connected_total", "counter", "Sockets that were connected.");
  to.sample(sum([](counters const& l) { return l.events(event_code::socket_connected); }));
  to.family("phx_sockets_closed_total", "counter", "Sockets that were closed, by close code; 0: the client or the network.");
  for (std::size_t i = 0; i <= detail::close_label_count; ++i)
    to.sample(sum([i](counters const& l) { return l.closed[i].value(); }),
              {{"code", i < detail::close_label_count ? std::to_string(detail::close_labels[i]) : "other"}});
  to.family("phx_connects_refused_total", "counter", "Requests that were refused before there was a socket, by reason.");
  for (std::size_t i = 0; i < detail::refusal_count; ++i)
    to.sample(sum([i](counters const& l) { return l.refused[i].value(); }),
              {{"reason", to_string(static_cast<refusal>(i))}});
  to.family("phx_frame_bytes_dropped_total", "counter", "Bytes that were not sent because a client was too slow.");
  to.sample(sum([](counters const& l) { return l.bytes_dropped.value(); }));
  to.family("phx_broadcasts_skipped_total", "counter", "Recipients of broadcasts whose serializer could not encode one.");
  to.sample(sum([](counters const& l) { return l.broadcasts_skipped_for.value(); }));
  to.family("phx_events_total", "counter", "Telemetry events, by phx::event_code.");
  for (std::size_t i = 0; i < detail::event_code_count; ++i)
    to.sample(sum([i](counters const& l) { return l.events(static_cast<event_code>(i)); }),
              {{"event", to_string(static_cast<event_code>(i))}});
}

inline void metrics::write_channels(detail::prometheus_text& to) const {
  using of_topic = detail::topic_counters;
  auto each_topic = [&](auto&& write) {
    for (std::size_t i = 0; i <= options_.topics.size(); ++i) {
      auto total = [&](auto&& pick) {
        return sum([&](detail::loop_counters const& l) -> std::uint64_t { return pick(l.topics[i]).value(); });
      };
      write(i < options_.topics.size() ? std::string_view(options_.topics[i]) : std::string_view("other"), total);
    }
  };
  to.family("phx_joins_total", "counter", "Joins, by topic pattern and outcome.");
  each_topic([&](std::string_view topic, auto&& total) {
    to.sample(total([](of_topic const& t) -> auto& { return t.joined; }), {{"topic", topic}, {"outcome", "ok"}});
    to.sample(total([](of_topic const& t) -> auto& { return t.refused; }), {{"topic", topic}, {"outcome", "refused"}});
    to.sample(total([](of_topic const& t) -> auto& { return t.crashed; }), {{"topic", topic}, {"outcome", "crashed"}});
    to.sample(total([](of_topic const& t) -> auto& { return t.timed_out; }), {{"topic", topic}, {"outcome", "timed_out"}});
  });
  to.family("phx_channels_ended_total", "counter", "Channels that ended, by topic pattern and reason.");
  static constexpr std::string_view reasons[] = {"normal", "shutdown", "left",     "replaced",        "error",
                                                 "killed", "closed",   "draining", "connection_error"};
  static_assert(sizeof reasons / sizeof reasons[0] == detail::exit_kind_count);
  each_topic([&](std::string_view topic, auto&& total) {
    for (std::size_t k = 0; k < detail::exit_kind_count; ++k)
      to.sample(total([k](of_topic const& t) -> auto& { return t.ended[k]; }), {{"topic", topic}, {"reason", reasons[k]}});
  });
  to.family("phx_handled_in_total", "counter", "Messages that a handler returned from, by topic pattern.");
  each_topic([&](std::string_view topic, auto&& total) {
    to.sample(total([](of_topic const& t) -> auto& { return t.handled; }), {{"topic", topic}});
  });
  to.family("phx_handlers_crashed_total", "counter",
            "Handlers that threw, or sent a payload that cannot be encoded, by topic pattern.");
  each_topic([&](std::string_view topic, auto&& total) {
    to.sample(total([](of_topic const& t) -> auto& { return t.handler_crashed; }), {{"topic", topic}});
  });
  if (options_.clock == nullptr) return;
  to.family("phx_handler_seconds", "histogram", "How long handle_in took, by topic pattern. One call in 64 is measured.");
  for (std::size_t i = 0; i <= options_.topics.size(); ++i)
    write_histogram(
        to, {"topic", i < options_.topics.size() ? std::string_view(options_.topics[i]) : std::string_view("other")},
        [&](auto&& read) { return sum([&](detail::loop_counters const& l) { return read(l.topics[i].handler_time); }); });
}

inline void metrics::write_loops(detail::prometheus_text& to) const {
  using counters = detail::loop_counters;
  auto each_loop = [&](std::string_view name, std::string_view type, std::string_view help, auto&& value) {
    to.family(name, type, help);
    for (std::size_t i = 0; i < loops_.size(); ++i) to.sample(value(*loops_[i]), {{"loop", std::to_string(i)}});
  };
  each_loop("phx_sockets", "gauge", "Sockets that are connected.", [](counters const& l) { return l.sockets.value(); });
  each_loop("phx_channels", "gauge", "Joined channels and pending joins.",
            [](counters const& l) { return l.channels.value(); });
  each_loop("phx_topics", "gauge", "Topics with a subscriber.",
            [](counters const& l) { return l.topics_subscribed.value(); });
  each_loop("phx_messages_received_total", "counter", "Messages from clients.",
            [](counters const& l) { return l.messages_in.value(); });
  each_loop("phx_received_bytes_total", "counter", "Their bytes, without WebSocket framing.",
            [](counters const& l) { return l.bytes_in.value(); });
  each_loop("phx_messages_sent_total", "counter", "Messages given to transports.",
            [](counters const& l) { return l.messages_out.value(); });
  each_loop("phx_sent_bytes_total", "counter", "Their bytes, without WebSocket framing.",
            [](counters const& l) { return l.bytes_out.value(); });
  each_loop("phx_mailbox_waiting", "gauge", "Mails from other threads that the loop has not taken yet.",
            [](counters const& l) { return std::uint64_t{l.mailbox_waiting()}; });
  each_loop("phx_mailbox_dropped_total", "counter", "Mails that limits::mailbox refused.",
            [](counters const& l) { return l.mailbox_dropped(); });
  to.family("phx_loop_lag_seconds", "histogram", "How late the loop ran a timer, measured once an interval.");
  for (std::size_t i = 0; i < loops_.size(); ++i)
    write_histogram(to, {"loop", std::to_string(i)}, [&](auto&& read) { return read(loops_[i]->lag); });
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

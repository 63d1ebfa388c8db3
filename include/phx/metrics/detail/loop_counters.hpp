#ifndef PHX_METRICS_DETAIL_LOOP_COUNTERS_HPP
#define PHX_METRICS_DETAIL_LOOP_COUNTERS_HPP
// The counters of one loop. Only the loop's thread writes them, so that a count is a load and a store without a lock or an
// atomic addition; any thread reads them.

#include <phx/connect/handshake.hpp>
#include <phx/core/text/ip_address.hpp>
#include <phx/loop/loop.hpp>

#include <atomic>
#include <string>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// 127.0.0.0/8 or ::1.
[[nodiscard]] inline bool is_loopback(std::string_view address) noexcept {
  auto const a = ip_address::parse(address);
  return a && (*a == ip_address::parse("::1") || (a->is_v4() && a->bytes[12] == 127));
}

/// Whether it has a header that proxies add.
[[nodiscard]] inline bool came_through_a_proxy(http::request const& request) noexcept {
  for (http::header const& h : request.headers)
    if (starts_with_ignoring_case(h.name, "x-forwarded-") || equal_ignoring_case(h.name, "forwarded") ||
        equal_ignoring_case(h.name, "x-real-ip") || equal_ignoring_case(h.name, "via"))
      return true;
  return false;
}

/// A number that one thread writes and all may read.
class counter {
 public:
  void add(std::uint64_t n = 1) noexcept { set(value() + n); }
  void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// A Prometheus histogram of durations.
class duration_histogram {
 public:
  /// In nanoseconds: 10 us to 5 s.
  static constexpr std::uint64_t bounds[] = {10'000,     50'000,     100'000,     500'000,     1'000'000,     5'000'000,
                                             10'000'000, 50'000'000, 100'000'000, 500'000'000, 1'000'000'000, 5'000'000'000};
  static constexpr std::size_t buckets = sizeof bounds / sizeof bounds[0] + 1;  // the last one: beyond all bounds

  void observe(duration d) noexcept {
    auto const ns = std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
    std::uint64_t const n = ns < 0 ? 0 : static_cast<std::uint64_t>(ns);
    std::size_t i = 0;
    while (i < buckets - 1 && n > bounds[i]) ++i;
    counts_[i].add();
    sum_.add(n);
  }
  [[nodiscard]] std::uint64_t count(std::size_t bucket) const noexcept { return counts_[bucket].value(); }
  [[nodiscard]] std::uint64_t sum_nanoseconds() const noexcept { return sum_.value(); }

 private:
  counter counts_[buckets]{};
  counter sum_{};
};

/// The codes that the label `code` of closed sockets can have. 0: the client, or the network, ended the connection.
inline constexpr std::uint16_t close_labels[] = {0, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013};
inline constexpr std::size_t close_label_count = sizeof close_labels / sizeof close_labels[0];

inline constexpr std::size_t event_code_count = static_cast<std::size_t>(event_code::no_memory) + 1;
inline constexpr std::size_t refusal_count = static_cast<std::size_t>(refusal::too_many) + 1;
inline constexpr std::size_t exit_kind_count = static_cast<std::size_t>(exit_reason::connection_error) + 1;

/// What one topic pattern counts.
struct topic_counters {
  counter joined, refused, crashed, timed_out;
  counter handled, handler_crashed;
  counter ended[exit_kind_count]{};
  duration_histogram handler_time{};
};

/// The counters of a joined channel's topic, by the address of its text: to compare patterns for each message would cost more
/// than to handle many. A channel keeps the text of its topic in place while it lives.
class topic_cache {
 public:
  /// Null: not known.
  [[nodiscard]] topic_counters* find(char const* text) const noexcept {
    entry const& e = entries_[index(text)];
    return e.text == text ? e.counters : nullptr;
  }
  void store(char const* text, topic_counters& counters) noexcept { entries_[index(text)] = {text, &counters}; }
  /// Call it when a channel has joined or ended: an address may belong to another topic from now on.
  void clear() noexcept {
    for (entry& e : entries_) e = {};
  }

 private:
  struct entry {
    char const* text = nullptr;
    topic_counters* counters = nullptr;
  };
  static constexpr std::size_t entries = 32;
  [[nodiscard]] static std::size_t index(char const* text) noexcept {
    return reinterpret_cast<std::uintptr_t>(text) / 16 % entries;  // allocations are 16 bytes apart at least
  }
  entry entries_[entries]{};
};

/// Counts the events of one loop, passes them on, and copies the loop's gauges once an interval.
class loop_counters final : private loop_component {
 public:
  static constexpr std::uint32_t sampled_handlers = 64;

  /// @param patterns of the label `topic`; outlive this. @param then receives every event after it was counted; may be empty.
  loop_counters(loop& of, std::vector<std::string> const& patterns, duration interval, std::int64_t (*clock)() noexcept,
                observer_ref then)
      : topics(patterns.size() + 1),
        patterns_(patterns),
        interval_(interval),
        loop_(of),
        box_(loop_access::box(of)),
        then_(then),
        clock_(clock) {
    of.observe(*this);
    loop_access::attach_component(of, *this);
    loop_access::request_wake(of);  // the first copy of the gauges
  }
  loop_counters(loop_counters const&) = delete;
  loop_counters& operator=(loop_counters const&) = delete;
  ~loop_counters() = default;

  void on_event(telemetry_event const& e) noexcept {
    count(e);
    then_(e);
  }
  /// One handler in 64 is timed.
  void on_handler_start() noexcept {
    if (--until_sample_ == 0) start_clock();
  }
  void on_handled_in(message const& m, std::string_view topic, std::uint32_t slot, std::uint32_t generation) noexcept {
    topic_counters* const known = known_.find(topic.data());
    if (known == nullptr || more_to_do_) return count_and_pass_on(m, topic, slot, generation);
    known->handled.add();
  }
  /// Mails that other threads have posted and the loop has not taken yet. From any thread.
  [[nodiscard]] std::uint32_t mailbox_waiting() const noexcept { return box_->waiting(); }
  [[nodiscard]] std::uint64_t mailbox_dropped() const noexcept { return box_->dropped(); }

  counter closed[close_label_count + 1]{};  // the last one: other codes
  counter refused[refusal_count]{};
  std::vector<topic_counters> topics;  // one for each pattern, and one for topics that match none
  counter bytes_dropped{}, broadcasts_skipped_for{};
  duration_histogram lag{};

  /// Events of a kind. handled_in is counted by topic only.
  [[nodiscard]] std::uint64_t events(event_code kind) const noexcept {
    if (kind != event_code::handled_in) return events_[static_cast<std::size_t>(kind)].value();
    std::uint64_t total = 0;
    for (topic_counters const& t : topics) total += t.handled.value();
    return total;
  }
  // Copied from the loop once an interval:
  counter sockets{}, channels{}, topics_subscribed{};
  counter messages_in{}, bytes_in{}, messages_out{}, bytes_out{};

 private:
  void count(telemetry_event const& e) noexcept {
    events_[static_cast<std::size_t>(e.kind)].add();
    switch (e.kind) {
      case event_code::socket_closed: closed[close_label(e.code)].add(); break;
      case event_code::connect_refused: count_refusal(e.event); break;
      case event_code::channel_joined:
        of_topic(e).joined.add();
        known_.clear();
        break;
      case event_code::join_crashed: of_topic(e).crashed.add(); break;
      case event_code::join_timed_out:
        of_topic(e).timed_out.add();
        timed_out_ = true;  // the refusal of the same join follows
        break;
      case event_code::channel_refused:
        if (!std::exchange(timed_out_, false)) of_topic(e).refused.add();
        break;
      case event_code::channel_ended:
        of_topic(e).ended[e.exit.what()].add();
        known_.clear();
        break;
      case event_code::handler_crashed:
        of_topic(e).handler_crashed.add();
        stop_clock();
        break;
      case event_code::frame_dropped: bytes_dropped.add(e.count); break;
      case event_code::broadcast_skipped: broadcasts_skipped_for.add(e.count); break;
      default: break;
    }
  }
  /// The rest of on_handled_in, apart so that the usual case needs no stack frame.
  [[gnu::noinline]] void count_and_pass_on(message const& m, std::string_view topic, std::uint32_t slot,
                                           std::uint32_t generation) noexcept {
    topic_counters& counters = topics[pattern_of(topic)];
    known_.store(topic.data(), counters);
    counters.handled.add();
    if (started_ != 0) counters.handler_time.observe(std::chrono::nanoseconds(clock_() - started_));
    stop_clock();
    if (then_) then_.handled_in(then_.host, m, topic, slot, generation);
  }
  void stop_clock() noexcept {
    started_ = 0;
    more_to_do_ = static_cast<bool>(then_);
  }
  [[gnu::noinline]] void start_clock() noexcept {
    until_sample_ = sampled_handlers;
    if (clock_ == nullptr) return;
    started_ = clock_();
    more_to_do_ = true;
  }
  [[nodiscard]] static std::size_t close_label(std::uint16_t code) noexcept {
    std::size_t i = 0;
    while (i < close_label_count && close_labels[i] != code) ++i;
    return i;
  }
  void count_refusal(std::string_view reason) noexcept {
    for (std::size_t i = 0; i < refusal_count; ++i)
      if (to_string(static_cast<refusal>(i)) == reason) return refused[i].add();
  }
  /// The first pattern that matches, in the order given.
  [[nodiscard]] std::uint32_t pattern_of(std::string_view topic) const noexcept {
    std::uint32_t i = 0;
    for (; i < patterns_.size(); ++i) {
      std::string_view const pattern = patterns_[i];
      if (pattern.ends_with('*') ? topic.starts_with(pattern.substr(0, pattern.size() - 1)) : topic == pattern) break;
    }
    return i;
  }
  [[nodiscard]] topic_counters& of_topic(telemetry_event const& e) noexcept { return topics[pattern_of(e.topic)]; }

  void handle(component_mail* m) noexcept override { mail::free(m); }
  [[nodiscard]] time_point due() const noexcept override { return due_; }
  void on_timer(time_point now) noexcept override {
    if (due_ != (time_point::min)()) lag.observe(now - due_);
    due_ = saturating_add(now, interval_);
    sockets.set(loop_.sockets());
    channels.set(loop_.channels());
    topics_subscribed.set(loop_.topics());
    traffic const& t = loop_.traffic();
    messages_in.set(t.messages_in);
    bytes_in.set(t.bytes_in);
    messages_out.set(t.messages_out);
    bytes_out.set(t.bytes_out);
  }

  counter events_[event_code_count]{};
  std::vector<std::string> const& patterns_;
  topic_cache known_{};
  duration const interval_;
  loop& loop_;
  mailbox_ref const box_;  // outlives the loop
  observer_ref const then_;
  time_point due_ = (time_point::min)();
  std::int64_t (*const clock_)() noexcept;  // null: handlers are not timed
  std::int64_t started_ = 0;                // when the handler that is timed began; 0: none is
  std::uint32_t until_sample_ = sampled_handlers;
  bool more_to_do_ = static_cast<bool>(then_);  // for a handled message than to count it: a clock runs, or then_ is there
  bool timed_out_ = false;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

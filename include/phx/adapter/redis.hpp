#ifndef PHX_ADAPTER_REDIS_HPP
#define PHX_ADAPTER_REDIS_HPP
// Several nodes as one server: broadcasts and disconnects go from node to node through Redis.
//
//   phx::redis::pubsub pubsub({.url = "redis://10.0.0.7", .node = "web-1"});
//   server.endpoint().attach(pubsub);           // before server.start(); `pubsub` must outlive the server
//
// hiredis, the client library of Redis, parses the replies. The sockets are managed here, so that one poll loop has both
// connections, and TLS works with a hiredis without it (Debian 12's 0.14). Link phx::redis.

#include <phx/adapter/redis/detail/own_messages.hpp>
#include <phx/adapter/redis/detail/publish_batch.hpp>
#include <phx/adapter/redis/detail/link.hpp>
#include <phx/adapter/redis/detail/url.hpp>
#include <phx/adapter/redis/detail/wire.hpp>
#include <phx/adapter/redis/detail/wake_event.hpp>
#include <phx/adapter/redis_options.hpp>
#include <phx/loop/endpoint.hpp>

#include <pthread.h>
#include <signal.h>

#include <initializer_list>
#include <random>
#include <thread>

namespace phx {
inline namespace PHX_BUILD {
namespace redis {

/// A PubSub. One thread of its own connects (and resolves options::host), sends and delivers. All members may be called from
/// any thread. Linux.
///
/// It has two connections: one subscribes to one Redis channel, the other sends one PUBLISH for each broadcast, pipelined.
/// They are opened and closed together. While a loop is congested, nothing is read: Redis then buffers the messages, up to
/// its client-output-buffer-limit, and closes the connection beyond; messages are lost until the next connection. Whoever
/// can publish to that Redis can send anything to the clients and disconnect them: protect it like a database.
class pubsub {
 public:
  /// Connects once it is attached to an endpoint.
  explicit pubsub(options o) : options_(std::move(o)) {
    wrong_option_ = phx::detail::normalize(options_);
    channel_ = "phx:" + (options_.beside_elixir.empty() ? options_.name : "Elixir." + options_.beside_elixir + ".Adapter");
  }
  pubsub(pubsub const&) = delete;
  pubsub& operator=(pubsub const&) = delete;
  /// @pre the endpoint it is attached to is destroyed.
  ~pubsub() { stop(); }

  // ---- PubSub
  /// Connects in the background. Broadcasts wait until the first attempt has ended.
  /// @par Errors: std::runtime_error: a wrong option. std::system_error: no thread.
  void start(endpoint& e) {
    if (wrong_option_ != nullptr) phx::detail::no_value(wrong_option_);
    endpoint_ = &e;
    disconnected_since_ = clock::now();
    thread_ = std::thread([this] { run(); });
  }
  /// Sends what is queued, for options::linger at most, and ends the thread.
  void stop() noexcept {
    {
      std::lock_guard const lock(mutex_);
      stopping_ = true;
    }
    wake_.wake();
    if (thread_.joinable()) thread_.join();
  }
  /// The name under which other nodes reach this one.
  [[nodiscard]] std::string_view node_name() const noexcept { return options_.node; }
  /// To all other nodes. @return closed or dropped: it was refused, see options::when_disconnected.
  send_status broadcast(phx::broadcast const& b) noexcept { return send(false, options_.node, b); }
  /// To one node, which may be this one.
  send_status direct_broadcast(std::string_view node, phx::broadcast const& b) noexcept { return send(true, node, b); }

  // ---- for the host
  /// Whether it is connected and has subscribed.
  [[nodiscard]] bool connected() const noexcept {
    std::lock_guard const lock(mutex_);
    return connected_;
  }
  /// Waits until it is connected, at most `limit`. @return whether it is.
  bool wait_connected(duration limit) {
    std::unique_lock lock(mutex_);
    return connected_changed_.wait_until(lock, saturating_add(clock::now(), limit), [this] { return connected_; });
  }
  /// How many messages were sent, received and lost so far.
  [[nodiscard]] redis::counters counters() const noexcept {
    redis::counters c;
    c.sent = sent_, c.confirmed = confirmed_, c.refused = refused_, c.lost = lost_;
    c.received = received_, c.mailbox_full = mailbox_full_, c.skipped = skipped_, c.too_large = too_large_,
    c.connects = connects_;
    c.unreadable = unreadable_, c.unknown_structs = unknown_structs_, c.same_name = same_name_, c.not_objects = not_objects_;
    std::lock_guard const lock(mutex_);
    c.disconnected_for =
        disconnected_for_ + (connected_ || endpoint_ == nullptr ? duration::zero() : clock::now() - disconnected_since_);
    return c;
  }
  /// The Redis channel that all nodes share.
  [[nodiscard]] std::string const& channel() const noexcept { return channel_; }

 private:
  using clock = std::chrono::steady_clock;
  using link = phx::detail::redis_link;

  // ---- any thread

  send_status send(bool only, std::string_view node, phx::broadcast const& b) noexcept {
    send_status status = send_status::dropped;
    if (b.payload.valid()) (void)detail::try_invoke([&] { status = try_send(only, node, b); }, [](char const*) {});
    if (status == send_status::dropped || status == send_status::closed) ++refused_;
    return status;
  }
  [[nodiscard]] bool accepts() const noexcept {
    return connected_ || starting_ || options_.when_disconnected == disconnected_policy::keep;
  }  // mutex_ is held
  send_status try_send(bool only, std::string_view node, phx::broadcast const& b) {
    {
      std::lock_guard const lock(mutex_);
      if (!accepts()) return send_status::closed;
    }
    if (!options_.beside_elixir.empty() && !b.payload.is_object() && !b.payload.is_binary()) {
      ++not_objects_;
      return send_status::dropped;
    }
    std::string message;
    if (!(options_.beside_elixir.empty() ? detail::redis_wire::write(message, only, node, b)
                                         : detail::redis_wire::write_term(message, only, node, b, {})))
      return send_status::dropped;
    std::size_t const hash = std::hash<std::string_view>()(message);
    std::string const command = phx::detail::publish_command(channel_, message);
    bool first = false, congested = false;
    {
      std::lock_guard const lock(mutex_);
      if (stopping_ || !accepts()) return send_status::closed;
      if (pending_.commands.size() + command.size() > options_.queue) return send_status::dropped;
      first = pending_.commands.empty();
      pending_.add(command, only ? nullptr : &hash);
      congested = pending_.commands.size() > options_.queue / 2;
    }
    if (first) wake_.wake();
    return congested ? send_status::congested : send_status::ok;
  }

  // ---- the thread

  void run() noexcept {
    // No signals on this thread: OpenSSL may raise SIGPIPE, and the program's signals belong to its own threads.
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::minstd_rand random(std::random_device{}());
    duration pause = options_.backoff;
    while (!stopping()) {
      session();
      if (stopping()) break;
      if (session_connected_) pause = options_.backoff;
      auto const half =
          (std::max<std::int64_t>)(0, std::chrono::duration_cast<std::chrono::microseconds>(pause / 2).count());
      auto const random_part = std::chrono::microseconds(std::uniform_int_distribution<std::int64_t>(0, half)(random));
      sleep(saturating_add(pause / 2, random_part));
      pause = (std::min)(saturating_mul(pause, 2), options_.max_backoff);
    }
    on_disconnected("stopped");
  }
  [[nodiscard]] bool stopping() const noexcept {
    std::lock_guard const lock(mutex_);
    return stopping_;
  }
  /// Returns early when stop() is called.
  void sleep(duration d) noexcept {
    for (auto const until = saturating_add(clock::now(), d); clock::now() < until && !stopping();) {
      wake_.wait(until - clock::now());
    }
  }
  /// From connecting until something fails.
  void session() noexcept {
    session_connected_ = warned_same_name_ = false;
    own_messages_.new_connection();
    end_reason_.clear();
    session_began_ = next_ping_ = clock::now();
    // An allocation that fails ends this session; the next may have memory.
    (void)phx::detail::try_invoke(
        [this] {
          addresses_ = phx::detail::redis_addresses(options_, end_reason_);
          if (!end_reason_.empty() || !open(subscriber_) || !open(publisher_)) return;
          subscriber_->send({"SUBSCRIBE", channel_}, true);
          publisher_->send({"PING"}, true);
          while (end_reason_.empty() && step()) {
          }
        },
        [](char const*) {});
    subscriber_.reset();
    publisher_.reset();
    on_disconnected(end_reason_);
  }
  void fail(std::string_view reason) {
    if (end_reason_.empty()) end_reason_ = reason;
  }
  [[nodiscard]] bool open(std::unique_ptr<link>& l) {
    l = std::make_unique<link>();
    if (!l->connect(addresses_, options_)) return fail(l->error()), false;
    if (!options_.password.empty()) {
      if (options_.username.empty())
        l->send({"AUTH", options_.password}, true);
      else
        l->send({"AUTH", options_.username, options_.password}, true);
    }
    if (options_.database != 0) l->send({"SELECT", std::to_string(options_.database)}, true);
    return true;
  }

  /// Waits until there is something to do and does it. @return false: the session ends.
  bool step() {
    auto const now = clock::now();
    if (reading_paused_ && !endpoint_->congested()) {
      reading_paused_ = false;
      subscriber_received_at_ = now;
      read_messages();
    }
    if (!session_connected_) {
      if (subscriber_->greeted() && publisher_->greeted())
        on_connected();
      else if (now - session_began_ > options_.connect)
        return fail("no answer while connecting"), false;
    } else {
      if (now >= next_ping_) {
        next_ping_ = saturating_add(now, options_.ping);
        subscriber_->send({"PING"}, false);
        publisher_->send({"PING"}, false);
      }
      if ((!reading_paused_ && now - subscriber_received_at_ > options_.silence) ||
          now - publisher_received_at_ > options_.silence)
        return fail("silence"), false;
    }
    bool const stopping_now = stopping();
    if (stopping_now && !session_connected_) return false;
    if (session_connected_ && !publisher_->unwritten()) send_pending();
    if (stopping_now) {
      if (stopping_since_ == clock::time_point{}) stopping_since_ = now;
      if ((in_flight_ == 0 && !publisher_->unwritten()) || now - stopping_since_ > options_.linger) return false;
    }

    pollfd fds[3] = {wake_.to_poll(), subscriber_->to_poll(!reading_paused_), publisher_->to_poll(true)};
    duration wait = session_connected_ ? saturating_sub(next_ping_, now) : options_.connect;
    constexpr duration soon = std::chrono::milliseconds(20), while_connecting = std::chrono::milliseconds(100);
    if (reading_paused_)
      wait = std::chrono::milliseconds(1);
    else if (stopping_now && wait > soon)
      wait = soon;
    else if (!session_connected_ && wait > while_connecting)
      wait = while_connecting;
    bool const at_once = (subscriber_->more() && !reading_paused_) || publisher_->more();
    if (poll(fds, 3, at_once ? 0 : phx::detail::poll_timeout(wait)) < 0 && errno != EINTR) return fail("poll"), false;
    if (fds[0].revents != 0) wake_.clear();
    return advance(*subscriber_, fds[1].revents, subscriber_received_at_) &&
           advance(*publisher_, fds[2].revents, publisher_received_at_);
  }
  [[nodiscard]] bool advance(link& l, short ready, clock::time_point& last_received) {
    bool received = false;
    bool const reads = &l == publisher_.get() || !reading_paused_;
    bool const alive = l.advance(ready, reads, received);
    if (received) last_received = clock::now();
    // What was received before the end is read first: it may tell the reason.
    if (received && &l == subscriber_.get())
      read_messages();
    else if (received)
      read_answers();
    if (!alive) return fail(l.error()), false;
    if (received && !reading_paused_ && l.replies().buffered() > options_.message) {
      ++too_large_;
      fail("a message over the limit");
    }
    return end_reason_.empty();
  }

  /// Moves the queued commands into the connection's buffer.
  void send_pending() {
    phx::detail::publish_batch batch;
    {
      std::lock_guard const lock(mutex_);
      if (pending_.commands.empty()) return;
      std::swap(batch, pending_);
    }
    sent_ += batch.count;
    in_flight_ += batch.count;
    own_messages_.sent(batch.hashes);
    publisher_->send(batch.commands);
  }
  using reply = phx::detail::redis_reply;
  [[nodiscard]] bool next(link& l) {
    using state = phx::detail::redis_replies::state;
    state const found = l.replies().next();
    if (found == state::failed) fail(l.replies().error());
    return found == state::reply;
  }
  void read_answers() {
    while (next(*publisher_)) {
      reply::element const& answer = publisher_->replies().reply().itself;
      if (publisher_->greeting()) {
        if (answer.kind == reply::kind::error) return fail(answer.text);
        publisher_->greeting_answered();
      } else if (answer.kind == reply::kind::integer && in_flight_ != 0) {
        ++confirmed_;
        --in_flight_;
      } else if (answer.kind == reply::kind::error && in_flight_ != 0) {
        ++lost_;
        --in_flight_;
      }
    }
  }
  void read_messages() {
    while (!reading_paused_ && next(*subscriber_)) {
      reply const& r = subscriber_->replies().reply();
      std::string_view payload;
      if (r.itself.kind == reply::kind::error) return fail(r.itself.text);
      if (subscriber_->greeting())
        subscriber_->greeting_answered();  // nothing else can come before the answers to AUTH, SELECT, SUBSCRIBE
      else if (r.is_message(payload))
        message(payload);
      // else a pong
    }
  }
  void message(std::string_view raw) {
    namespace wire = detail::redis_wire;
    std::size_t const hash = std::hash<std::string_view>()(raw);
    if (own_messages_.is_next(hash)) return;  // the common case: not parsed
    bool const terms = !options_.beside_elixir.empty();
    wire::bus_message read;
    if (terms) {
      etf::struct_hook const hook =
          options_.encode_struct ? elixir_struct::hook(options_.encode_struct) : etf::struct_hook{};
      wire::term_message const term = wire::read_term(raw, storage_, {.inflated = options_.message}, hook);
      read = term.message;
      if (skip(term)) return;
    } else if (auto const ours = wire::read(raw)) {
      read = *ours;
    } else {
      ++skipped_;
      return;
    }
    // As Phoenix compares: the atom a@b is not the binary "a@b".
    bool const own = read.node == options_.node && (!terms || read.node_is_atom == wire::is_atom(options_.node));
    if (own && !read.only && !own_messages_.came_back(hash)) {
      ++same_name_;
      if (!std::exchange(warned_same_name_, true)) warn({warning_kind::same_name, read.topic, read.event, {}});
    }
    if (own != read.only) return;
    ++received_;
    send_status const delivered =
        endpoint_->deliver({read.topic, read.event, detail::payload_access::borrow(read.payload, read.bytes), {}, read.key});
    if (delivered == send_status::dropped) ++mailbox_full_;
    reading_paused_ = delivered != send_status::ok && endpoint_->congested();
  }
  /// Counts and reports a message that is not a broadcast. @return false: it is one.
  [[nodiscard]] bool skip(detail::redis_wire::term_message const& term) noexcept {
    detail::redis_wire::bus_message const& m = term.message;
    switch (term.outcome) {
      case detail::redis_wire::outcome::broadcast: return false;
      case detail::redis_wire::outcome::foreign: ++skipped_; return true;
      case detail::redis_wire::outcome::unreadable:
        ++unreadable_;
        warn({warning_kind::unreadable, m.topic, m.event, {}});
        return true;
      case detail::redis_wire::outcome::unknown_struct:
        ++unknown_structs_;
        warn({warning_kind::unknown_struct, m.topic, m.event, term.module});
        return true;
    }
    return true;
  }
  void warn(warning const& w) noexcept {
    if (options_.on_warning) (void)detail::try_invoke([&] { options_.on_warning(w); }, [](char const*) {});
  }

  void on_connected() {
    session_connected_ = true;
    ++connects_;
    auto const now = clock::now();
    next_ping_ = saturating_add(now, options_.ping);
    subscriber_received_at_ = publisher_received_at_ = now;
    duration disconnected_for;
    {
      std::lock_guard const lock(mutex_);
      connected_ = true;
      starting_ = false;
      disconnected_for = now - disconnected_since_;
      disconnected_for_ += disconnected_for;
    }
    connected_changed_.notify_all();
    notify({true, {}, disconnected_for, refused_ + lost_});
  }
  void on_disconnected(std::string_view reason) noexcept {
    reading_paused_ = false;
    lost_ += std::exchange(in_flight_, 0);
    {
      std::lock_guard const lock(mutex_);
      if (std::exchange(connected_, false)) disconnected_since_ = clock::now();
      starting_ = false;
      if (options_.when_disconnected == disconnected_policy::refuse || stopping_) {
        lost_ += pending_.count;
        pending_ = {};
      }
    }
    if (!reason.empty()) notify({false, reason, {}, refused_ + lost_});
  }
  void notify(change const& c) noexcept {
    if (options_.on_change) (void)detail::try_invoke([&] { options_.on_change(c); }, [](char const*) {});
  }

  options options_;
  char const* wrong_option_ = nullptr;  // start() throws it
  std::string channel_;
  endpoint* endpoint_ = nullptr;
  phx::detail::wake_event wake_;
  std::thread thread_;

  mutable std::mutex mutex_;
  std::condition_variable connected_changed_;
  bool connected_ = false, starting_ = true, stopping_ = false;
  phx::detail::publish_batch pending_;
  clock::time_point disconnected_since_{};
  duration disconnected_for_{};

  std::atomic<std::uint64_t> sent_{0}, confirmed_{0}, refused_{0}, lost_{0}, received_{0}, mailbox_full_{0}, skipped_{0},
      too_large_{0}, connects_{0}, unreadable_{0}, unknown_structs_{0}, same_name_{0}, not_objects_{0};

  // used by the thread only
  std::vector<phx::detail::socket_address> addresses_;
  std::unique_ptr<link> subscriber_, publisher_;
  clock::time_point subscriber_received_at_{}, publisher_received_at_{};
  std::string end_reason_;
  detail::redis_wire::term_storage storage_;
  detail::own_messages own_messages_;
  clock::time_point session_began_{}, next_ping_{}, stopping_since_{};
  std::uint64_t in_flight_ = 0;
  bool session_connected_ = false;  // in this session
  bool warned_same_name_ = false;
  bool reading_paused_ = false;  // a loop is congested: nothing is read
};
static_assert(PubSub<pubsub>);

}  // namespace redis
}  // namespace PHX_BUILD
}  // namespace phx

#endif

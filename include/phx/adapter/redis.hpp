#ifndef PHX_ADAPTER_REDIS_HPP
#define PHX_ADAPTER_REDIS_HPP
// Several nodes as one server: broadcasts and disconnects go from node to node through a Redis that people already operate.
//
//   phx::redis::pubsub between({.url = "redis://10.0.0.7", .node = "web-1"});
//   server.endpoint().attach(between);          // before server.start(); `between` outlives the server
//
// The client library is hiredis, Redis's own, which every distribution has; it takes replies apart. The sockets are ours, so
// that one poll loop has both connections, and TLS works with a hiredis that has none (Debian 12's 0.14). Link phx::redis.

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

/// A PubSub. It has a thread of its own, with which it connects (also resolves options::host), sends, and delivers; phx's
/// core has none. All members are for any thread. Linux.
///
/// Two connections: one subscribes, to one Redis channel; one publishes, one PUBLISH a broadcast, pipelined. They come and
/// go together. While a loop is far behind, it stops reading: then Redis keeps the messages (its client-output-buffer-limit
/// says how many; beyond, it ends the connection, and this node is deaf until the next).
/// Whoever can publish to that Redis can say anything to the clients and disconnect them: it is to be as private as a
/// database.
class pubsub {
 public:
  /// Takes its options; it connects once it is attached to an endpoint.
  explicit pubsub(options o) : options_(std::move(o)) {
    fault_ = phx::detail::settle(options_);
    channel_ = "phx:" + (options_.beside_elixir.empty() ? options_.name : "Elixir." + options_.beside_elixir + ".Adapter");
  }
  pubsub(pubsub const&) = delete;
  pubsub& operator=(pubsub const&) = delete;
  /// @pre the endpoint it is attached to is gone.
  ~pubsub() { stop(); }

  // ---- PubSub
  /// Connects from now on, in the background. What is broadcast before the first attempt has ended waits for it.
  /// @par Errors: std::runtime_error: an option that cannot be right. std::system_error: no thread.
  void start(endpoint& e) {
    if (fault_ != nullptr) phx::detail::no_value(fault_);
    endpoint_ = &e;
    deaf_since_ = clock::now();
    thread_ = std::thread([this] { run(); });
  }
  /// Ends the thread; nothing is received or sent any more.
  void stop() noexcept {
    {
      std::lock_guard const hold(mutex_);
      stopping_ = true;
    }
    wake_.wake();
    if (thread_.joinable()) thread_.join();
  }
  /// The name under which other nodes reach this one.
  [[nodiscard]] std::string_view node_name() const noexcept { return options_.node; }
  /// To all nodes but this one. @return closed or dropped: it was refused, see options::away.
  send_status broadcast(phx::broadcast const& b) noexcept { return send(false, options_.node, b); }
  /// To one node, which may be this one.
  send_status direct_broadcast(std::string_view node, phx::broadcast const& b) noexcept { return send(true, node, b); }

  // ---- for the host
  /// Is there a connection that has subscribed?
  [[nodiscard]] bool connected() const noexcept {
    std::lock_guard const hold(mutex_);
    return up_;
  }
  /// Waits until Redis is there. @return whether it is.
  bool wait_connected(duration most) {
    std::unique_lock hold(mutex_);
    return came_.wait_until(hold, saturating_add(clock::now(), most), [this] { return up_; });
  }
  /// What was sent, received and lost so far.
  [[nodiscard]] redis::counters counters() const noexcept {
    redis::counters c;
    c.sent = sent_, c.confirmed = confirmed_, c.refused = refused_, c.lost = lost_;
    c.heard = heard_, c.overrun = overrun_, c.skipped = skipped_, c.too_large = too_large_, c.connects = connects_;
    c.unreadable = unreadable_, c.unknown_structs = unknown_structs_, c.same_name = same_name_, c.not_objects = not_objects_;
    std::lock_guard const hold(mutex_);
    c.deaf = deaf_ + (up_ || endpoint_ == nullptr ? duration::zero() : clock::now() - deaf_since_);
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
    return up_ || starting_ || options_.away == while_away::keep;
  }  // mutex_ is held
  send_status try_send(bool only, std::string_view node, phx::broadcast const& b) {
    {
      std::lock_guard const hold(mutex_);
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
    bool first = false, crowded = false;
    {
      std::lock_guard const hold(mutex_);
      if (stopping_ || !accepts()) return send_status::closed;
      if (pending_.commands.size() + command.size() > options_.queue) return send_status::dropped;
      first = pending_.commands.empty();
      pending_.add(command, only ? nullptr : &hash);
      crowded = pending_.commands.size() > options_.queue / 2;
    }
    if (first) wake_.wake();
    return crowded ? send_status::congested : send_status::ok;
  }

  // ---- the thread

  void run() noexcept {
    // OpenSSL writes to sockets that may be closed, and the host's signals are for the host's threads.
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::minstd_rand random(std::random_device{}());
    duration pause = options_.backoff;
    while (!stopping()) {
      session();
      if (stopping()) break;
      if (was_up_) pause = options_.backoff;
      auto const half =
          (std::max<std::int64_t>)(0, std::chrono::duration_cast<std::chrono::microseconds>(pause / 2).count());
      auto const chance = std::chrono::microseconds(std::uniform_int_distribution<std::int64_t>(0, half)(random));
      sleep(saturating_add(pause / 2, chance));
      pause = (std::min)(saturating_mul(pause, 2), options_.backoff_most);
    }
    went("stopped");
  }
  [[nodiscard]] bool stopping() const noexcept {
    std::lock_guard const hold(mutex_);
    return stopping_;
  }
  /// Ends early when it is to stop.
  void sleep(duration d) noexcept {
    for (auto const until = saturating_add(clock::now(), d); clock::now() < until && !stopping();) {
      wake_.wait(until - clock::now());
    }
  }
  /// From the first attempt to connect until something fails.
  void session() noexcept {
    was_up_ = told_same_name_ = false;
    own_messages_.new_connection();
    end_reason_.clear();
    begun_ = next_ping_ = clock::now();
    // What it does allocates; without memory this session is over, and another may have some.
    (void)phx::detail::try_invoke(
        [this] {
          addresses_ = phx::detail::redis_addresses(options_, end_reason_);
          if (!end_reason_.empty() || !open(in_) || !open(out_)) return;
          in_->send({"SUBSCRIBE", channel_}, true);
          out_->send({"PING"}, true);
          while (end_reason_.empty() && turn()) {
          }
        },
        [](char const*) {});
    in_.reset();
    out_.reset();
    went(end_reason_);
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

  /// Waits for something to do and does it. @return false when the session is to end.
  bool turn() {
    auto const now = clock::now();
    if (held_ && !endpoint_->congested()) {
      held_ = false;
      in_heard_ = now;
      take_messages();
    }
    if (!was_up_) {
      if (in_->greeted() && out_->greeted())
        came();
      else if (now - begun_ > options_.connect)
        return fail("no answer while connecting"), false;
    } else {
      if (now >= next_ping_) {
        next_ping_ = saturating_add(now, options_.ping);
        in_->send({"PING"}, false);
        out_->send({"PING"}, false);
      }
      if ((!held_ && now - in_heard_ > options_.silence) || now - out_heard_ > options_.silence)
        return fail("silence"), false;
    }
    bool const ends = stopping();
    if (ends && !was_up_) return false;
    if (was_up_ && !out_->unwritten()) take_pending();
    if (ends) {
      if (begun_stopping_ == clock::time_point{}) begun_stopping_ = now;
      if ((in_flight_ == 0 && !out_->unwritten()) || now - begun_stopping_ > options_.linger) return false;
    }

    pollfd fds[3] = {wake_.wanted(), in_->wanted(!held_), out_->wanted(true)};
    duration wait = was_up_ ? saturating_sub(next_ping_, now) : options_.connect;
    constexpr duration soon = std::chrono::milliseconds(20), while_connecting = std::chrono::milliseconds(100);
    if (held_)
      wait = std::chrono::milliseconds(1);
    else if (ends && wait > soon)
      wait = soon;
    else if (!was_up_ && wait > while_connecting)
      wait = while_connecting;
    bool const at_once = (in_->more() && !held_) || out_->more();
    if (poll(fds, 3, at_once ? 0 : phx::detail::poll_timeout(wait)) < 0 && errno != EINTR) return fail("poll"), false;
    if (fds[0].revents != 0) wake_.clear();
    return serve(*in_, fds[1].revents, in_heard_) && serve(*out_, fds[2].revents, out_heard_);
  }
  [[nodiscard]] bool serve(link& l, short ready, clock::time_point& last_heard) {
    bool heard = false;
    bool const reads = &l == out_.get() || !held_;
    bool const alive = l.advance(ready, reads, heard);
    if (heard) last_heard = clock::now();
    // What came before an end counts: it may say why.
    if (heard && &l == in_.get())
      take_messages();
    else if (heard)
      take_answers();
    if (!alive) return fail(l.error()), false;
    if (heard && !held_ && l.replies().buffered() > options_.message) {
      ++too_large_;
      fail("a message over the limit");
    }
    return end_reason_.empty();
  }

  /// What the broadcasters left goes into the connection's buffer, once that is empty.
  void take_pending() {
    phx::detail::publish_batch batch;
    {
      std::lock_guard const hold(mutex_);
      if (pending_.commands.empty()) return;
      std::swap(batch, pending_);
    }
    sent_ += batch.count;
    in_flight_ += batch.count;
    own_messages_.sent(batch.hashes);
    out_->send(batch.commands);
  }
  using reply = phx::detail::redis_reply;
  [[nodiscard]] bool next(link& l) {
    using state = phx::detail::redis_replies::state;
    state const found = l.replies().next();
    if (found == state::failed) fail(l.replies().error());
    return found == state::reply;
  }
  void take_answers() {
    while (next(*out_)) {
      reply::element const& answer = out_->replies().reply().itself;
      if (out_->greeting()) {
        if (answer.kind == reply::kind::error) return fail(answer.text);
        out_->greeting_answered();
      } else if (answer.kind == reply::kind::integer && in_flight_ != 0) {
        ++confirmed_;
        --in_flight_;
      } else if (answer.kind == reply::kind::error && in_flight_ != 0) {
        ++lost_;
        --in_flight_;
      }
    }
  }
  void take_messages() {
    while (!held_ && next(*in_)) {
      reply const& r = in_->replies().reply();
      std::string_view payload;
      if (r.itself.kind == reply::kind::error) return fail(r.itself.text);
      if (in_->greeting())
        in_->greeting_answered();  // nothing else can come before the answers to AUTH, SELECT, SUBSCRIBE
      else if (r.is_message(payload))
        message(payload);
      // else a pong
    }
  }
  void message(std::string_view raw) {
    namespace wire = detail::redis_wire;
    std::size_t const hash = std::hash<std::string_view>()(raw);
    if (own_messages_.is_next(hash)) return;  // without being read
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
    // Exactly, as Phoenix compares: the atom a@b is not the binary "a@b".
    bool const mine = read.node == options_.node && (!terms || read.node_is_atom == wire::is_atom(options_.node));
    if (mine && !read.only && !own_messages_.came_back(hash)) {
      ++same_name_;
      if (!std::exchange(told_same_name_, true)) warn({warning_kind::same_name, read.topic, read.event, {}});
    }
    if (mine != read.only) return;
    ++heard_;
    send_status const delivered =
        endpoint_->deliver({read.topic, read.event, detail::payload_access::borrow(read.payload, read.bytes), {}, read.key});
    if (delivered == send_status::dropped) ++overrun_;
    held_ = delivered != send_status::ok && endpoint_->congested();
  }
  /// Counts and tells what is no broadcast for anybody here.
  [[nodiscard]] bool skip(detail::redis_wire::term_message const& term) noexcept {
    detail::redis_wire::bus_message const& m = term.message;
    switch (term.outcome) {
      case detail::redis_wire::outcome::broadcast: return false;
      case detail::redis_wire::outcome::not_ours: ++skipped_; return true;
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

  void came() {
    was_up_ = true;
    ++connects_;
    auto const now = clock::now();
    next_ping_ = saturating_add(now, options_.ping);
    in_heard_ = out_heard_ = now;
    duration deaf;
    {
      std::lock_guard const hold(mutex_);
      up_ = true;
      starting_ = false;
      deaf = now - deaf_since_;
      deaf_ += deaf;
    }
    came_.notify_all();
    tell({true, {}, deaf, refused_ + lost_});
  }
  void went(std::string_view reason) noexcept {
    held_ = false;
    lost_ += std::exchange(in_flight_, 0);
    {
      std::lock_guard const hold(mutex_);
      if (std::exchange(up_, false)) deaf_since_ = clock::now();
      starting_ = false;
      if (options_.away == while_away::refuse || stopping_) {
        lost_ += pending_.count;
        pending_ = {};
      }
    }
    if (!reason.empty()) tell({false, reason, {}, refused_ + lost_});
  }
  void tell(change const& c) noexcept {
    if (options_.on_change) (void)detail::try_invoke([&] { options_.on_change(c); }, [](char const*) {});
  }

  options options_;
  char const* fault_ = nullptr;  // of the options: told by start()
  std::string channel_;
  endpoint* endpoint_ = nullptr;
  phx::detail::wake_event wake_;
  std::thread thread_;

  mutable std::mutex mutex_;
  std::condition_variable came_;
  bool up_ = false, starting_ = true, stopping_ = false;
  phx::detail::publish_batch pending_;
  clock::time_point deaf_since_{};
  duration deaf_{};

  std::atomic<std::uint64_t> sent_{0}, confirmed_{0}, refused_{0}, lost_{0}, heard_{0}, overrun_{0}, skipped_{0},
      too_large_{0}, connects_{0}, unreadable_{0}, unknown_structs_{0}, same_name_{0}, not_objects_{0};

  // the thread's own
  std::vector<phx::detail::socket_address> addresses_;
  std::unique_ptr<link> in_, out_;
  clock::time_point in_heard_{}, out_heard_{};
  std::string end_reason_;
  detail::redis_wire::term_storage storage_;
  detail::own_messages own_messages_;
  clock::time_point begun_{}, next_ping_{}, begun_stopping_{};
  std::uint64_t in_flight_ = 0;
  bool was_up_ = false;  // in this session
  bool told_same_name_ = false;
  bool held_ = false;  // a loop is far behind: nothing is read
};
static_assert(PubSub<pubsub>);

}  // namespace redis
}  // namespace PHX_BUILD
}  // namespace phx

#endif

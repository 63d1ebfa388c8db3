#ifndef PHX_ADAPTER_REDIS_HPP
#define PHX_ADAPTER_REDIS_HPP
// Several nodes as one server: broadcasts and disconnects go from node to node through a Redis that people already operate.
//
//   phx::redis::pubsub between({.host = "10.0.0.7", .node = "web-1"});
//   server.endpoint().attach(between);          // before server.start(); `between` outlives the server
//
// The client library is hiredis: Redis's own, in every distribution, and its synchronous half does no more than it is told,
// so that one poll loop here has both connections. (Boost.Redis needs Boost 1.84; Debian 12 has 1.74.) Link phx::redis.

#include <phx/adapter/detail/own_messages.hpp>
#include <phx/adapter/detail/redis_wire.hpp>
#include <phx/adapter/elixir_struct.hpp>
#include <phx/loop/endpoint.hpp>

#include <hiredis/hiredis.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <initializer_list>
#include <random>
#include <system_error>
#include <thread>

namespace phx {
inline namespace PHX_BUILD {
namespace redis {

/// What becomes of broadcasts while Redis is away. The own node is served in any case.
enum class while_away : std::uint8_t {
  refuse,  ///< they answer `closed` and are counted; what was queued is counted as lost. As Phoenix does.
  keep,    ///< they wait, up to options::queue bytes, and go out late
};

/// Redis came or went.
struct change {
  bool connected = false;
  std::string_view reason{};  ///< of going, or of another attempt that failed
  duration deaf{};            ///< how long nothing was heard from the other nodes; on coming
  std::uint64_t unsent = 0;   ///< counters::refused and counters::lost together, so far
};

/// A message that did not reach this node's clients, and that an operator should hear of.
enum class warning_kind : std::uint8_t {
  /// A broadcast of an Elixir node has a struct that neither Jason nor options::encode_struct encodes: it was skipped.
  unknown_struct,
  /// A broadcast of an Elixir node cannot be said in JSON, is nested deeper than 64, or is larger than options::message.
  unreadable,
  /// Another node has the name of this one: the two are deaf to each other. Told once for each connection.
  same_name,
};
struct warning {
  warning_kind kind = warning_kind::unreadable;
  std::string_view topic{}, event{};  ///< of the message, as far as they could be read
  std::string_view module{};          ///< of the struct: MyApp.User
};

struct options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 6379;
  std::string username{}, password{};  ///< AUTH, if there is a password
  /// Unique among the nodes, at most 255 bytes; empty: made up. One with an @ is an atom to Elixir.
  std::string node{};
  std::string name = "phx";  ///< of this pubsub: nodes of one name hear each other, on the Redis channel phx:NAME
  /// The module of a Phoenix.PubSub, such as MyApp.PubSub: speak the wire of Phoenix's Redis adapter, on its channel, so
  /// that Phoenix nodes and this one hear each other (protocol 13.2). `name` then does not matter. A payload that is neither
  /// an object nor bytes is refused: it would crash a process on every Phoenix node.
  std::string beside_elixir{};
  /// Beside Elixir: the JSON of a struct in a payload that Jason has no encoder of its own for, or nothing: then the whole
  /// broadcast is skipped. Date, Time, NaiveDateTime, DateTime, Decimal and Jason.OrderedObject never come here. On the
  /// adapter's thread.
  std::function<std::optional<std::string>(elixir_struct const&)> encode_struct{};
  while_away away = while_away::refuse;
  std::size_t queue = 8'000'000;  ///< bytes waiting to be written to Redis; beyond: `dropped`, the newest is refused
  /// The largest message read; a larger one costs the connection. A compressed one that would become larger is skipped.
  std::size_t message = 16'000'000;
  duration connect = std::chrono::seconds(5);         ///< for a connection to be made and greeted
  duration ping = std::chrono::seconds(2);            ///< between two pings
  duration silence = std::chrono::seconds(6);         ///< nothing heard for so long: connect again
  duration backoff = std::chrono::milliseconds(100);  ///< before the second attempt; doubles, half of it at random
  duration backoff_most = std::chrono::seconds(5);
  duration linger = std::chrono::seconds(1);  ///< stop() waits so long for what was queued
  /// On the adapter's thread; must not throw, must not stop the endpoint.
  std::function<void(change const&)> on_change{};
  /// Once for each message that was skipped. On the adapter's thread; must not throw, must not stop the endpoint.
  std::function<void(warning const&)> on_warning{};
};

/// Since it started. Every broadcast that was called for is refused, waits in the queue, or is sent; what is sent is
/// confirmed, lost, or on its way.
struct counters {
  std::uint64_t sent = 0;             ///< given to Redis
  std::uint64_t confirmed = 0;        ///< Redis answered: its subscribers have it
  std::uint64_t refused = 0;          ///< answered closed or dropped: Redis away, the queue full, or not to be encoded
  std::uint64_t lost = 0;             ///< taken, but Redis went or refused before it had confirmed; may have arrived
  std::uint64_t heard = 0;            ///< from other nodes, delivered here
  std::uint64_t overrun = 0;          ///< of these: a loop's mailbox was full
  std::uint64_t skipped = 0;          ///< a stranger's, or Elixir's own traffic (its presence tracker): no client misses it
  std::uint64_t unreadable = 0;       ///< warning_kind::unreadable
  std::uint64_t unknown_structs = 0;  ///< warning_kind::unknown_struct
  std::uint64_t same_name = 0;        ///< messages of another node that has this one's name
  std::uint64_t not_objects = 0;      ///< of `refused`: beside Elixir, a payload that is neither an object nor bytes
  std::uint64_t too_large = 0;        ///< over options::message
  std::uint64_t connects = 0;         ///< how often Redis came
  duration deaf{};                    ///< how long nothing could be heard, all in all
};

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
  explicit pubsub(options opts) : opts_(std::move(opts)) {
    if (opts_.node.empty()) opts_.node = made_up();
    constexpr std::string_view prefix = "Elixir.";  // as the atom is called that names the module
    if (opts_.beside_elixir.starts_with(prefix)) opts_.beside_elixir.erase(0, prefix.size());
    channel_ = "phx:" + (opts_.beside_elixir.empty() ? opts_.name : "Elixir." + opts_.beside_elixir + ".Adapter");
    wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  }
  pubsub(pubsub const&) = delete;
  pubsub& operator=(pubsub const&) = delete;
  /// @pre the endpoint it is attached to is gone.
  ~pubsub() {
    stop();
    if (wake_ >= 0) close(wake_);
  }

  // ---- PubSub
  /// Connects from now on, in the background. What is broadcast before the first attempt has ended waits for it.
  /// @par Errors: std::runtime_error: an option that cannot be right. std::system_error: no thread.
  void start(endpoint& local) {
    if (opts_.node.size() > 255) phx::detail::no_value("phx::redis: a node's name has at most 255 bytes");
    local_ = &local;
    deaf_since_ = clock::now();
    thread_ = std::thread([this] { run(); });
  }
  void stop() noexcept {
    {
      std::lock_guard const hold(mutex_);
      stopping_ = true;
    }
    wake();
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::string_view node_name() const noexcept { return opts_.node; }
  send_status broadcast(phx::broadcast const& b) noexcept { return send(false, opts_.node, b); }
  send_status direct_broadcast(std::string_view node, phx::broadcast const& b) noexcept { return send(true, node, b); }

  // ---- for the host
  [[nodiscard]] bool connected() const noexcept {
    std::lock_guard const hold(mutex_);
    return up_;
  }
  /// Waits until Redis is there. @return whether it is.
  bool wait_connected(duration most) {
    std::unique_lock hold(mutex_);
    return came_.wait_for(hold, most, [this] { return up_; });
  }
  [[nodiscard]] redis::counters counters() const noexcept {
    redis::counters c;
    c.sent = sent_, c.confirmed = confirmed_, c.refused = refused_, c.lost = lost_;
    c.heard = heard_, c.overrun = overrun_, c.skipped = skipped_, c.too_large = too_large_, c.connects = connects_;
    c.unreadable = unreadable_, c.unknown_structs = unknown_structs_, c.same_name = same_name_, c.not_objects = not_objects_;
    std::lock_guard const hold(mutex_);
    c.deaf = deaf_ + (up_ || local_ == nullptr ? duration::zero() : clock::now() - deaf_since_);
    return c;
  }
  [[nodiscard]] std::string const& channel() const noexcept { return channel_; }

 private:
  using clock = std::chrono::steady_clock;

  /// One connection. Greeted once each of its first commands is answered.
  struct link {
    redisContext* c = nullptr;
    bool connecting = false;
    int unanswered = 0;  // of the greeting
    bool unwritten = false;
    clock::time_point heard{};
    [[nodiscard]] bool greeted() const noexcept { return c != nullptr && !connecting && unanswered == 0; }
    void drop() noexcept {
      if (c != nullptr) redisFree(c);
      *this = {};
    }
  };

  [[nodiscard]] static std::string made_up() {
    std::random_device random;
    std::string name = "phx-";
    for (int i = 0; i < 16; ++i) name.push_back("0123456789abcdef"[random() & 15]);
    return name;
  }

  // ---- any thread

  void wake() noexcept {
    std::uint64_t const one = 1;
    (void)!write(wake_, &one, sizeof one);
  }
  send_status send(bool only, std::string_view node, phx::broadcast const& b) noexcept {
    send_status status = send_status::dropped;
    if (b.payload.valid()) (void)detail::try_invoke([&] { status = try_send(only, node, b); }, [](char const*) {});
    if (status == send_status::dropped || status == send_status::closed) ++refused_;
    return status;
  }
  [[nodiscard]] bool accepts() const noexcept {
    return up_ || starting_ || opts_.away == while_away::keep;
  }  // mutex_ is held
  send_status try_send(bool only, std::string_view node, phx::broadcast const& b) {
    {
      std::lock_guard const hold(mutex_);
      if (!accepts()) return send_status::closed;
    }
    if (!opts_.beside_elixir.empty() && !b.payload.is_object() && !b.payload.is_binary()) {
      ++not_objects_;
      return send_status::dropped;
    }
    std::string message;
    if (!(opts_.beside_elixir.empty() ? detail::redis_wire::write(message, only, node, b)
                                      : detail::redis_wire::write_term(message, only, node, b, {})))
      return send_status::dropped;
    std::size_t const hash = std::hash<std::string_view>()(message);
    std::string const head = "*3\r\n$7\r\nPUBLISH\r\n$" + std::to_string(channel_.size()) + "\r\n" + channel_ + "\r\n$" +
                             std::to_string(message.size()) + "\r\n";
    message += "\r\n";
    bool first = false, crowded = false;
    {
      std::lock_guard const hold(mutex_);
      if (stopping_ || !accepts()) return send_status::closed;
      if (pending_.size() + head.size() + message.size() > opts_.queue) return send_status::dropped;
      first = pending_.empty();
      pending_ += head;
      pending_ += message;
      ++pending_count_;
      if (!only) pending_hashes_.push_back(hash);
      crowded = pending_.size() > opts_.queue / 2;
    }
    if (first) wake();
    return crowded ? send_status::congested : send_status::ok;
  }

  // ---- the thread

  void run() noexcept {
    // hiredis writes to sockets that may be closed, and the host's signals are for the host's threads.
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::minstd_rand random(std::random_device{}());
    duration pause = opts_.backoff;
    while (!stopping()) {
      session();
      if (stopping()) break;
      if (was_up_) pause = opts_.backoff;
      auto const half = std::chrono::duration_cast<std::chrono::microseconds>(pause / 2).count();
      sleep(std::chrono::microseconds(half + std::uniform_int_distribution<std::int64_t>(0, half)(random)));
      pause = pause * 2 < opts_.backoff_most ? pause * 2 : opts_.backoff_most;
    }
    went("stopped");
  }
  [[nodiscard]] bool stopping() const noexcept {
    std::lock_guard const hold(mutex_);
    return stopping_;
  }
  /// Ends early when it is to stop.
  void sleep(duration d) noexcept {
    for (auto const until = clock::now() + d; clock::now() < until && !stopping();) {
      pollfd woken{wake_, POLLIN, 0};
      (void)poll(&woken, 1, milliseconds(until - clock::now()));
      drain_wake();
    }
  }
  [[nodiscard]] static int milliseconds(duration d) noexcept {
    auto const ms = std::chrono::duration_cast<std::chrono::milliseconds>(d).count() + 1;
    return ms < 0 ? 0 : ms > 60'000 ? 60'000 : static_cast<int>(ms);
  }
  void drain_wake() noexcept {
    std::uint64_t ignored;
    (void)!read(wake_, &ignored, sizeof ignored);
  }

  /// From the first attempt to connect until something fails.
  void session() noexcept {
    was_up_ = told_same_name_ = false;
    own_.new_connection();
    reason_.clear();
    begun_ = next_ping_ = clock::now();
    // What it does allocates; without memory this session is over, and another may have some.
    (void)phx::detail::try_invoke(
        [this] {
          if (!open(in_) || !open(out_)) return;
          append(in_, {"SUBSCRIBE", channel_});
          append(out_, {"PING"});
          while (reason_.empty() && turn()) {
          }
        },
        [](char const*) {});
    in_.drop();
    out_.drop();
    went(reason_);
  }
  void fail(std::string_view reason) {
    if (reason_.empty()) reason_ = reason;
  }
  [[nodiscard]] bool open(link& l) {
    l.c = redisConnectNonBlock(opts_.host.c_str(), opts_.port);
    if (l.c == nullptr) return fail("no memory"), false;
    if (l.c->err != 0) return fail(l.c->errstr), false;
    l.connecting = true;
    l.heard = clock::now();
    if (!opts_.password.empty()) {
      if (opts_.username.empty())
        append(l, {"AUTH", opts_.password});
      else
        append(l, {"AUTH", opts_.username, opts_.password});
    }
    return true;
  }
  void append(link& l, std::initializer_list<std::string_view> words, bool greeting = true) {
    std::string command = "*" + std::to_string(words.size()) + "\r\n";
    for (std::string_view const w : words) ((command += "$" + std::to_string(w.size()) + "\r\n") += w) += "\r\n";
    append(l, command);
    if (greeting) ++l.unanswered;
  }
  void append(link& l, std::string_view formatted) {
    if (redisAppendFormattedCommand(l.c, formatted.data(), formatted.size()) != REDIS_OK) fail(l.c->errstr);
    l.unwritten = true;
  }

  /// Waits for something to do and does it. @return false when the session is to end.
  bool turn() {
    auto const now = clock::now();
    if (held_ && !local_->congested()) {
      held_ = false;
      in_.heard = now;
      take_messages();
    }
    if (!was_up_) {
      if (in_.greeted() && out_.greeted())
        came();
      else if (now - begun_ > opts_.connect)
        return fail("no answer while connecting"), false;
    } else {
      if (now >= next_ping_) {
        next_ping_ = now + opts_.ping;
        append(in_, {"PING"}, false);
        append(out_, {"PING"}, false);
      }
      if ((!held_ && now - in_.heard > opts_.silence) || now - out_.heard > opts_.silence) return fail("silence"), false;
    }
    bool const ends = stopping();
    if (ends && !was_up_) return false;
    if (was_up_ && !out_.unwritten) take_pending();
    if (ends) {
      if (begun_stopping_ == clock::time_point{}) begun_stopping_ = now;
      if ((in_flight_ == 0 && !out_.unwritten) || now - begun_stopping_ > opts_.linger) return false;
    }

    auto const wants = [](link const& l, bool reads) {
      return static_cast<short>((l.connecting ? 0 : reads ? POLLIN : 0) | (l.connecting || l.unwritten ? POLLOUT : 0));
    };
    pollfd fds[3] = {{wake_, POLLIN, 0}, {in_.c->fd, wants(in_, !held_), 0}, {out_.c->fd, wants(out_, true), 0}};
    duration wait = was_up_ ? next_ping_ - now : opts_.connect;
    if (held_)
      wait = std::chrono::milliseconds(1);
    else if (ends && wait > std::chrono::milliseconds(20))
      wait = std::chrono::milliseconds(20);
    else if (!was_up_ && wait > std::chrono::milliseconds(100))
      wait = std::chrono::milliseconds(100);
    if (poll(fds, 3, milliseconds(wait)) < 0 && errno != EINTR) return fail("poll"), false;
    if (fds[0].revents != 0) drain_wake();
    return serve(in_, fds[1].revents) && serve(out_, fds[2].revents);
  }
  bool serve(link& l, short ready) {
    if (l.connecting) {
      if ((ready & (POLLOUT | POLLERR | POLLHUP)) == 0) return true;
      int wrong = 0;
      socklen_t size = sizeof wrong;
      (void)getsockopt(l.c->fd, SOL_SOCKET, SO_ERROR, &wrong, &size);
      if (wrong != 0) return fail(std::generic_category().message(wrong)), false;
      l.connecting = false;
    }
    if (l.unwritten && (ready & (POLLOUT | POLLERR)) != 0) {
      int done = 0;
      if (redisBufferWrite(l.c, &done) != REDIS_OK) return fail(l.c->errstr), false;
      l.unwritten = done == 0;
    }
    if ((ready & (POLLIN | POLLERR | POLLHUP)) == 0 || (&l == &in_ && held_)) return true;
    if (redisBufferRead(l.c) != REDIS_OK) return fail(l.c->errstr), false;
    l.heard = clock::now();
    if (&l == &in_)
      take_messages();
    else
      take_answers();
    if (!held_ && l.c->reader->len - l.c->reader->pos > opts_.message) {
      ++too_large_;
      fail("a message over the limit");
    }
    return reason_.empty();
  }

  /// What the broadcasters left goes into the connection's buffer, once that is empty.
  void take_pending() {
    std::string batch;
    std::vector<std::size_t> hashes;
    std::uint64_t count = 0;
    {
      std::lock_guard const hold(mutex_);
      if (pending_.empty()) return;
      batch.swap(pending_);
      hashes.swap(pending_hashes_);
      count = std::exchange(pending_count_, 0);
    }
    sent_ += count;
    in_flight_ += count;
    own_.sent(hashes);
    append(out_, batch);
  }
  struct reply {
    redisReply* r = nullptr;
    reply() = default;
    reply(reply const&) = delete;
    reply& operator=(reply const&) = delete;
    ~reply() {
      if (r != nullptr) freeReplyObject(r);
    }
  };
  [[nodiscard]] bool next(link& l, reply& into) {
    void* r = nullptr;
    if (redisGetReplyFromReader(l.c, &r) != REDIS_OK) return fail(l.c->errstr), false;
    into.r = static_cast<redisReply*>(r);
    return r != nullptr;
  }
  void take_answers() {
    for (;;) {
      reply a;
      if (!next(out_, a)) return;
      if (out_.unanswered != 0) {
        if (a.r->type == REDIS_REPLY_ERROR) return fail({a.r->str, static_cast<std::size_t>(a.r->len)});
        --out_.unanswered;
      } else if (a.r->type == REDIS_REPLY_INTEGER) {
        ++confirmed_;
        --in_flight_;
      } else if (a.r->type == REDIS_REPLY_ERROR && in_flight_ != 0) {
        ++lost_;
        --in_flight_;
      }
    }
  }
  void take_messages() {
    while (!held_) {
      reply a;
      if (!next(in_, a)) return;
      if (a.r->type == REDIS_REPLY_ERROR) return fail({a.r->str, static_cast<std::size_t>(a.r->len)});
      if (in_.unanswered != 0) {
        --in_.unanswered;  // AUTH, then SUBSCRIBE: nothing else can come before its answer
      } else if (a.r->type == REDIS_REPLY_ARRAY && a.r->elements == 3 && text(a.r->element[0]) == "message") {
        message(text(a.r->element[2]));
      }  // else a pong
    }
  }
  [[nodiscard]] static std::string_view text(redisReply const* r) noexcept {
    return r->type == REDIS_REPLY_STRING ? std::string_view(r->str, static_cast<std::size_t>(r->len)) : std::string_view();
  }
  void message(std::string_view raw) {
    namespace wire = detail::redis_wire;
    std::size_t const hash = std::hash<std::string_view>()(raw);
    if (own_.is_next(hash)) return;  // without being read
    bool const terms = !opts_.beside_elixir.empty();
    wire::bus_message read;
    if (terms) {
      detail::etf::struct_hook const hook =
          opts_.encode_struct ? phx::detail::elixir_struct_access::hook(opts_.encode_struct) : detail::etf::struct_hook{};
      wire::term_message const term = wire::read_term(raw, storage_, {.inflated = opts_.message}, hook);
      read = term.message;
      if (skip(term)) return;
    } else if (auto const ours = wire::read(raw)) {
      read = *ours;
    } else {
      ++skipped_;
      return;
    }
    // Exactly, as Phoenix compares: the atom a@b is not the binary "a@b".
    bool const mine = read.node == opts_.node && (!terms || read.node_is_atom == wire::is_atom(opts_.node));
    if (mine && !read.only && !own_.came_back(hash)) {
      ++same_name_;
      if (!std::exchange(told_same_name_, true)) warn({warning_kind::same_name, read.topic, read.event, {}});
    }
    if (mine != read.only) return;
    ++heard_;
    send_status const delivered =
        local_->deliver({read.topic, read.event, detail::payload_access::borrow(read.payload, read.bytes), {}, read.key});
    if (delivered == send_status::dropped) ++overrun_;
    held_ = delivered != send_status::ok && local_->congested();
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
    if (opts_.on_warning) (void)detail::try_invoke([&] { opts_.on_warning(w); }, [](char const*) {});
  }

  void came() {
    was_up_ = true;
    ++connects_;
    auto const now = clock::now();
    next_ping_ = now + opts_.ping;
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
      if (opts_.away == while_away::refuse || stopping_) {
        lost_ += std::exchange(pending_count_, 0);
        pending_.clear();
        pending_hashes_.clear();
      }
    }
    if (!reason.empty()) tell({false, reason, {}, refused_ + lost_});
  }
  void tell(change const& c) noexcept {
    if (opts_.on_change) (void)detail::try_invoke([&] { opts_.on_change(c); }, [](char const*) {});
  }

  options opts_;
  std::string channel_;
  endpoint* local_ = nullptr;
  int wake_ = -1;
  std::thread thread_;

  mutable std::mutex mutex_;
  std::condition_variable came_;
  bool up_ = false, starting_ = true, stopping_ = false;
  std::string pending_;  // commands, ready to be written
  std::vector<std::size_t> pending_hashes_;
  std::uint64_t pending_count_ = 0;
  clock::time_point deaf_since_{};
  duration deaf_{};

  std::atomic<std::uint64_t> sent_{0}, confirmed_{0}, refused_{0}, lost_{0}, heard_{0}, overrun_{0}, skipped_{0},
      too_large_{0}, connects_{0}, unreadable_{0}, unknown_structs_{0}, same_name_{0}, not_objects_{0};

  // the thread's own
  link in_{}, out_{};
  std::string reason_;
  detail::redis_wire::term_storage storage_;
  detail::own_messages own_;
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

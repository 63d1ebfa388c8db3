#ifndef EXAMPLES_LAB_SERVER_ACTORS_HPP
#define EXAMPLES_LAB_SERVER_ACTORS_HPP
// A second Dispatcher: every channel lives on one of two other threads. What stays in the loop of its connection is an
// address; what the channel says comes back as values (channel_id, reply_to), by the mailbox of that loop.

#include "alarms.hpp"

#include <phx/phx.hpp>

#include <deque>
#include <future>
#include <memory>
#include <unordered_map>

namespace lab {

template <class Session>
class actors;
class actor;

/// What a worker is asked to do for one of its channels.
struct order {
  enum kind : std::uint8_t { join, in, out, info, end, kill } action;
  std::uint64_t number;                                ///< of the channel, in all the process
  std::optional<phx::owned_message> message{};         ///< join, in
  std::string event{};                                 ///< out, info
  phx::payload payload{};                              ///< out, info
  phx::reply_to answer{};                              ///< in
  phx::ended_channel last{};                           ///< end
  phx::exit_reason reason = phx::exit_reason::normal;  ///< end
  std::unique_ptr<actor> newcomer{};                   ///< join
  /// join; nothing in it: it crashed. Held here, because who waits for it may be gone before set_value has returned.
  std::optional<std::promise<std::optional<phx::join_result>>> verdict{};
};

/// Some channels and the thread they live on. They never wait for a loop: that is what lets a loop wait for them.
class worker {
 public:
  worker() : thread_([this] { run(); }) {}
  worker(worker const&) = delete;
  worker& operator=(worker const&) = delete;
  ~worker() {
    {
      std::lock_guard const hold(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  /// From any thread; arrives in order.
  void post(order item) noexcept {
    {
      std::lock_guard const hold(mutex_);
      waiting_.push_back(std::move(item));
    }
    changed_.notify_all();
  }
  /// Returns once it has done all that was posted so far; @return whether it had to.
  bool finish() {
    std::unique_lock hold(mutex_);
    bool const busy = busy_ || !waiting_.empty();
    idle_.wait(hold, [this] { return !busy_ && waiting_.empty(); });
    return busy;
  }

 private:
  void run() {
    std::unique_lock hold(mutex_);
    for (;;) {
      changed_.wait(hold, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      order next = std::move(waiting_.front());
      waiting_.pop_front();
      busy_ = true;
      hold.unlock();
      handle(next);
      hold.lock();
      busy_ = false;
      if (waiting_.empty()) idle_.notify_all();
    }
  }
  void handle(order& next);

  std::unordered_map<std::uint64_t, std::unique_ptr<actor>> channels_;  // touched by its thread alone
  std::mutex mutex_;
  std::condition_variable changed_, idle_;
  std::deque<order> waiting_;
  bool busy_ = false, stopping_ = false;
  std::thread thread_;
};

/// The threads that the channels of all mounts share.
struct crew {
  alarms& later;
  phx::endpoint* everywhere = nullptr;  ///< set before the first channel joins
  std::array<worker, 2> workers{};
  std::atomic<std::uint64_t> numbers{0};

  /// Returns once nobody here has anything to do: what one worker does may be another's to go on with.
  void finish() {
    for (bool busy = true; busy;) {
      busy = false;
      for (worker& w : workers) busy = w.finish() || busy;
    }
  }
};

/// What phx::context is in the loop, for a channel on another thread.
class elsewhere {
 public:
  elsewhere(crew& all, worker& on, std::uint64_t number, phx::channel_id id, std::string_view topic)
      : all_(all), on_(on), number_(number), id_(std::move(id)), topic_(topic) {}

  [[nodiscard]] std::string_view topic() const noexcept { return topic_; }
  [[nodiscard]] phx::channel_id const& id() const noexcept { return id_; }
  [[nodiscard]] phx::reply_to reply() const noexcept { return answer_; }

  // One that cannot be encoded is found out in the loop, and ends the channel there. Once the loop has ended the channel,
  // its last words need no channel.
  void push(std::string_view event, phx::payload const& data) {
    (void)(last_ ? last_->push(event, data) : id_.push(event, data));
  }
  void broadcast(std::string_view event, phx::payload const& data) {
    if (last_)
      publish(topic_, event, data);
    else
      (void)id_.broadcast(event, data);
  }
  void broadcast_from(std::string_view event, phx::payload const& data) {
    if (last_)
      publish(topic_, event, data);
    else
      (void)id_.broadcast_from(event, data);
  }
  void publish(std::string_view topic, std::string_view event, phx::payload const& data) {
    (void)all_.everywhere->broadcast(topic, event, data);
  }
  void disconnect(std::string_view user) { (void)all_.everywhere->disconnect(user); }
  phx::send_status send(std::string_view event, phx::payload const& data = {}) {
    on_.post({.action = order::info, .number = number_, .event = std::string(event), .payload = data});
    return phx::send_status::ok;
  }
  phx::send_status send_after(std::chrono::milliseconds delay, std::string_view event, phx::payload const& data) {
    all_.later.after(delay, [&on = on_, number = number_, event = std::string(event), data] {
      on.post({.action = order::info, .number = number, .event = event, .payload = data});
    });
    return phx::send_status::ok;
  }

 private:
  friend class actor;
  crew& all_;
  worker& on_;
  std::uint64_t number_;
  phx::channel_id id_;
  std::string topic_;
  phx::reply_to answer_{};                    // to the message in hand
  std::optional<phx::ended_channel> last_{};  // the loop has ended the channel
};

/// One channel on its worker's thread.
class actor {
 public:
  explicit actor(elsewhere where) : dispatcher_(std::move(where)) {}
  actor(actor const&) = delete;
  actor& operator=(actor const&) = delete;
  virtual ~actor() = default;

  [[nodiscard]] std::optional<phx::join_result> join(phx::message const& in) {
    std::optional<phx::join_result> result;
    if (!attempt([&] { result.emplace(do_join(dispatcher_, in)); })) return std::nullopt;
    if (result->what() == phx::join_result::kind::error) do_terminate(dispatcher_, phx::exit_reason::shutdown);
    return result;
  }
  void handle_in(phx::message const& in, phx::reply_to answer) {
    dispatcher_.answer_ = std::move(answer);
    carry_out([&] { return do_handle_in(dispatcher_, in); });
    dispatcher_.answer_ = {};
  }
  void handle_out(phx::broadcast const& b) {
    carry_out([&] { return do_handle_out(dispatcher_, b); });
  }
  void handle_info(phx::message const& in) {
    carry_out([&] { return do_handle_info(dispatcher_, in); });
  }
  /// The loop has ended it.
  void terminate(phx::exit_reason reason, phx::ended_channel last) noexcept {
    dispatcher_.last_ = std::move(last);
    if (!terminated_) do_terminate(dispatcher_, reason);
  }

 private:
  virtual phx::join_result do_join(elsewhere&, phx::message const&) = 0;
  virtual phx::outcome do_handle_in(elsewhere&, phx::message const&) = 0;
  virtual phx::outcome do_handle_out(elsewhere&, phx::broadcast const&) = 0;
  virtual phx::outcome do_handle_info(elsewhere&, phx::message const&) = 0;
  virtual void do_terminate(elsewhere&, phx::exit_reason) noexcept = 0;

  /// @return false if it threw.
  template <class F>
  [[nodiscard]] static bool attempt(F&& body) {
#ifdef __cpp_exceptions
    try {
      body();
      return true;
    } catch (...) {
      return false;
    }
#else
    body();
    return true;
#endif
  }
  template <class F>
  void carry_out(F&& callback) {
    // It has stopped, and its end is on its way to the loop: what arrives meanwhile vanishes, as in Phoenix.
    if (stopped_) return;
    phx::outcome result;
    if (!attempt([&] { result = callback(); })) return stop(phx::exit_reason::error);
    if (result.replies()) (void)dispatcher_.answer_(result.reply_status(), result.response());
    if (result.stops()) stop(result.reason());
  }
  void stop(phx::exit_reason reason) {
    stopped_ = true;
    // What terminate says of an abnormal end comes before phx_error, of a graceful one after phx_close (protocol 6.6).
    terminated_ = !reason.graceful();
    if (terminated_) do_terminate(dispatcher_, reason);
    (void)dispatcher_.id().exit(reason);
  }

  elsewhere dispatcher_;
  bool stopped_ = false, terminated_ = false;
};

inline void worker::handle(order& next) {
  auto const at = channels_.find(next.number);
  if (next.action == order::join) {
    std::optional<phx::join_result> result = next.newcomer->join(next.message->view());
    if (result && result->what() != phx::join_result::kind::error) channels_.emplace(next.number, std::move(next.newcomer));
    next.verdict->set_value(std::move(result));
    return;
  }
  if (at == channels_.end()) return;
  actor& it = *at->second;
  switch (next.action) {
    case order::in: it.handle_in(next.message->view(), std::move(next.answer)); break;
    case order::out: it.handle_out({{}, next.event, next.payload, {}}); break;
    case order::info: {
      phx::message m;
      m.event = next.event;
      m.payload = next.payload;
      it.handle_info(m);
      break;
    }
    case order::end: it.terminate(next.reason, std::move(next.last)); [[fallthrough]];
    case order::kill: channels_.erase(at); break;
    case order::join: break;
  }
}

/// The Dispatcher. Routes are given as to a phx::router.
template <class Session>
class actors {
 public:
  using session_type = Session;
  /// All of a channel that is in the loop.
  struct channel_type {
    worker* on;
    std::uint64_t number;
    std::span<std::string_view const> intercepts;
  };

  actors(crew& all, phx::connect_outcome<Session> (*info)(phx::connect_info const&)) : all_(all), connect_(info) {}

  template <class C>
  actors& channel(phx::topic_pattern pattern) {
    return channel(pattern, [](Session const& me) {
      if constexpr (std::is_constructible_v<C, Session const&>)
        return C(me);
      else
        return (void)me, C{};
    });
  }
  template <class Make>
  actors& channel(phx::topic_pattern pattern, Make make) {
    using C = std::invoke_result_t<Make&, Session const&>;
    std::span<std::string_view const> intercepts;
    if constexpr (requires { C::intercepts; }) intercepts = C::intercepts;
    routes_.push_back({pattern, intercepts, [make](elsewhere where, Session const& me) -> std::unique_ptr<actor> {
                         return std::make_unique<of<C>>(std::move(where), make(me));
                       }});
    return *this;
  }

  // ---- Dispatcher
  phx::connect_outcome<Session> connect(phx::connect_info const& info) { return connect_(info); }
  bool matches(std::string_view topic) noexcept { return find(topic) != nullptr; }

  /// Waits for the verdict. A phx::pending would let the loop go on, but then a second join of the topic cancels the first,
  /// as it must where a join may take minutes; Phoenix's connection waits for each join (protocol 6.1), so that of a burst
  /// of joins every one is answered, and so do these.
  ///
  /// Nothing can lock up: the loop waits for a worker, and a worker waits for nobody. What it tells a loop goes into a
  /// mailbox, which takes it or answers `dropped`, and the loop's waker only posts. What it costs: the loop's other
  /// connections wait too, for whatever that worker has before it. Channels that take their time should use phx::pending.
  phx::join_outcome<channel_type> join(Session& me, phx::joining& j, phx::message const& in) {
    route const& r = *find(in.topic);
    std::uint64_t const number = ++all_.numbers;
    worker& on = all_.workers[number % all_.workers.size()];
    std::promise<std::optional<phx::join_result>> promise;
    std::future<std::optional<phx::join_result>> verdict = promise.get_future();
    on.post({.action = order::join,
             .number = number,
             .message = in.copy(),
             .newcomer = r.make(elsewhere(all_, on, number, j.id(), in.topic), me),
             .verdict = std::move(promise)});
    std::optional<phx::join_result> const result = verdict.get();
    if (!result) return crashed();
    if (result->what() == phx::join_result::kind::error) return phx::refused{result->response()};
    return phx::accepted<channel_type>{{&on, number, r.intercepts}, result->response()};
  }
  phx::outcome handle_in(channel_type& c, phx::context& ctx, phx::message const& in) {
    c.on->post({.action = order::in, .number = c.number, .message = in.copy(), .answer = ctx.reply()});
    return phx::outcome::noreply();
  }
  phx::outcome handle_out(channel_type& c, phx::context&, phx::broadcast const& b) {
    c.on->post({.action = order::out, .number = c.number, .event = std::string(b.event), .payload = b.payload});
    return phx::outcome::noreply();
  }
  phx::outcome handle_info(channel_type& c, phx::context&, phx::message const& in) {
    c.on->post({.action = order::info, .number = c.number, .event = std::string(in.event), .payload = in.payload});
    return phx::outcome::noreply();
  }
  [[nodiscard]] std::span<std::string_view const> intercepts(channel_type const& c) noexcept { return c.intercepts; }
  void terminate(channel_type& c, phx::context& ctx, phx::exit_reason reason) noexcept {
    // A channel that was replaced is not told in Phoenix (6.6).
    c.on->post({.action = reason == phx::exit_reason::replaced ? order::kill : order::end,
                .number = c.number,
                .last = ctx.after_end(),
                .reason = reason});
  }

 private:
  struct route {
    phx::topic_pattern pattern;
    std::span<std::string_view const> intercepts;
    std::function<std::unique_ptr<actor>(elsewhere, Session const&)> make;
  };
  [[nodiscard]] route const* find(std::string_view topic) const noexcept {
    for (route const& r : routes_)
      if (phx::topic_pattern::matches(r.pattern.text(), r.pattern.prefix(), topic)) return &r;
    return nullptr;
  }
  /// What a join that throws over there is here: phx answers `join crashed`.
  [[nodiscard]] static phx::join_outcome<channel_type> crashed() {
#ifdef __cpp_exceptions
    throw std::runtime_error("the join threw on its own thread");
#else
    std::abort();
#endif
  }

  /// Gives a channel what it leaves out, as the router does.
  template <class C>
  class of final : public actor {
   public:
    of(elsewhere where, C it) : actor(std::move(where)), it_(std::move(it)) {}

   private:
    phx::join_result do_join(elsewhere& dispatcher, phx::message const& in) override {
      if constexpr (requires { it_.join(dispatcher, in); })
        return it_.join(dispatcher, in);
      else
        return phx::join_result::ok();
    }
    phx::outcome do_handle_in(elsewhere& dispatcher, phx::message const& in) override {
      if constexpr (requires { it_.handle_in(dispatcher, in); })
        return it_.handle_in(dispatcher, in);
      else
        return phx::outcome::stop(phx::exit_reason::error);
    }
    phx::outcome do_handle_out(elsewhere& dispatcher, phx::broadcast const& b) override {
      if constexpr (requires { it_.handle_out(dispatcher, b); })
        return it_.handle_out(dispatcher, b);
      else
        return phx::outcome::noreply();
    }
    phx::outcome do_handle_info(elsewhere& dispatcher, phx::message const& in) override {
      if constexpr (requires { it_.handle_info(dispatcher, in); })
        return it_.handle_info(dispatcher, in);
      else
        return phx::outcome::noreply();
    }
    void do_terminate(elsewhere& dispatcher, phx::exit_reason reason) noexcept override {
      if constexpr (requires { it_.terminate(dispatcher, reason); }) it_.terminate(dispatcher, reason);
    }
    C it_;
  };

  crew& all_;
  phx::connect_outcome<Session> (*connect_)(phx::connect_info const&);
  std::vector<route> routes_;
};

}  // namespace lab

#endif

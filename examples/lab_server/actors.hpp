#ifndef EXAMPLES_LAB_SERVER_ACTORS_HPP
#define EXAMPLES_LAB_SERVER_ACTORS_HPP
// A second Dispatcher, whose channels belong to two other threads. The loop of a connection stores only an address; the
// channel sends through values (channel_id, reply_to), which use the mailbox of that loop.

#include "alarms.hpp"

#include <phx/phx.hpp>

#include <deque>
#include <future>
#include <memory>
#include <unordered_map>
#include <vector>

namespace lab {

template <class Session>
class actors;
class actor;

/// What a channel sent itself.
struct sent_message {
  std::string event;
  phx::payload payload;
};
/// How a join ended on its worker.
struct remote_verdict {
  std::optional<phx::join_result> result{};  ///< empty: it crashed
  /// What `join` sent to the channel itself. The loop sends it, so that it is handled once the loop has subscribed the channel, as in
  /// Phoenix: else the channel would miss a broadcast that its handle_info causes on another loop.
  std::vector<sent_message> sent{};

  [[nodiscard]] bool refused() const { return result && result->verdict() == phx::join_result::kind::error; }
};

/// A task of a worker for one of its channels.
struct task {
  enum kind : std::uint8_t { join, in, out, info, end, kill } action;
  std::uint64_t number;                                ///< of the channel, unique in the process
  std::optional<phx::owned_message> message{};         ///< join, in
  std::string event{};                                 ///< out, info
  phx::payload payload{};                              ///< out, info
  phx::reply_to answer{};                              ///< in
  phx::ended_channel last{};                           ///< end
  phx::exit_reason reason = phx::exit_reason::normal;  ///< end
  std::unique_ptr<actor> newcomer{};                   ///< join
  /// join. Owned by the task, because the waiting thread may end before set_value has returned.
  std::optional<std::promise<remote_verdict>> verdict{};
};

/// Some channels and the thread they belong to. They never wait for a loop, so that a loop may wait for them.
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
  /// Adds a task. From any thread; tasks run in order.
  void post(task t) noexcept {
    {
      std::lock_guard const hold(mutex_);
      waiting_.push_back(std::move(t));
    }
    changed_.notify_all();
  }
  /// Waits until all tasks posted so far are done. @return false if there were none.
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
      task next = std::move(waiting_.front());
      waiting_.pop_front();
      busy_ = true;
      hold.unlock();
      handle(next);
      hold.lock();
      busy_ = false;
      if (waiting_.empty()) idle_.notify_all();
    }
  }
  void handle(task& next);

  std::unordered_map<std::uint64_t, std::unique_ptr<actor>> channels_;  // used by its thread only
  std::mutex mutex_;
  std::condition_variable changed_, idle_;
  std::deque<task> waiting_;
  bool busy_ = false, stopping_ = false;
  std::thread thread_;
};

/// The threads that the channels of all mounts share.
struct worker_pool {
  alarms& later;
  phx::endpoint* endpoint = nullptr;  ///< set before the first channel joins
  std::array<worker, 2> workers{};
  std::atomic<std::uint64_t> numbers{0};

  /// Waits until all workers are idle; a task of one may post another to a second one.
  void finish() {
    for (bool busy = true; busy;) {
      busy = false;
      for (worker& w : workers) busy = w.finish() || busy;
    }
  }
};

/// The counterpart of phx::context for a channel on another thread.
class remote_context {
 public:
  remote_context(worker_pool& all, worker& on, std::uint64_t number, phx::channel_id id, std::string_view topic)
      : all_(all), on_(on), number_(number), id_(std::move(id)), topic_(topic) {}

  [[nodiscard]] std::string_view topic() const noexcept { return topic_; }
  [[nodiscard]] phx::channel_id const& id() const noexcept { return id_; }
  [[nodiscard]] phx::reply_to reply() const noexcept { return answer_; }

  // A payload that cannot be encoded is detected on the loop, and ends the channel there. After the loop has ended the
  // channel, last_ is used instead of its id.
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
    (void)all_.endpoint->broadcast(topic, event, data);
  }
  void disconnect(std::string_view user) { (void)all_.endpoint->disconnect(user); }
  phx::send_status send(std::string_view event, phx::payload const& data = {}) {
    if (sent_in_join_ != nullptr)
      sent_in_join_->push_back({std::string(event), data});
    else
      on_.post({.action = task::info, .number = number_, .event = std::string(event), .payload = data});
    return phx::send_status::ok;
  }
  phx::send_status send_after(std::chrono::milliseconds delay, std::string_view event, phx::payload const& data) {
    all_.later.after(delay, [&on = on_, number = number_, event = std::string(event), data] {
      on.post({.action = task::info, .number = number, .event = event, .payload = data});
    });
    return phx::send_status::ok;
  }

 private:
  friend class actor;
  worker_pool& all_;
  worker& on_;
  std::uint64_t number_;
  phx::channel_id id_;
  std::string topic_;
  phx::reply_to answer_{};                             // to the current message
  std::vector<sent_message>* sent_in_join_ = nullptr;  // set while the channel joins
  std::optional<phx::ended_channel> last_{};           // set when the loop has ended the channel
};

/// One channel on its worker's thread.
class actor {
 public:
  explicit actor(remote_context ctx) : context_(std::move(ctx)) {}
  actor(actor const&) = delete;
  actor& operator=(actor const&) = delete;
  virtual ~actor() = default;

  [[nodiscard]] remote_verdict join(phx::message const& in) {
    remote_verdict made;
    context_.sent_in_join_ = &made.sent;
    bool const ran = attempt([&] { made.result.emplace(do_join(context_, in)); });
    context_.sent_in_join_ = nullptr;
    if (ran && made.refused()) do_terminate(context_, phx::exit_reason::shutdown);
    return made;
  }
  void handle_in(phx::message const& in, phx::reply_to answer) {
    context_.answer_ = std::move(answer);
    run_callback([&] { return do_handle_in(context_, in); });
    context_.answer_ = {};
  }
  void handle_out(phx::broadcast const& b) {
    run_callback([&] { return do_handle_out(context_, b); });
  }
  void handle_info(phx::message const& in) {
    run_callback([&] { return do_handle_info(context_, in); });
  }
  /// Called when the loop has ended the channel.
  void terminate(phx::exit_reason reason, phx::ended_channel last) noexcept {
    context_.last_ = std::move(last);
    if (!terminated_) do_terminate(context_, reason);
  }

 private:
  virtual phx::join_result do_join(remote_context&, phx::message const&) = 0;
  virtual phx::outcome do_handle_in(remote_context&, phx::message const&) = 0;
  virtual phx::outcome do_handle_out(remote_context&, phx::broadcast const&) = 0;
  virtual phx::outcome do_handle_info(remote_context&, phx::message const&) = 0;
  virtual void do_terminate(remote_context&, phx::exit_reason) noexcept = 0;

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
  void run_callback(F&& callback) {
    // It has stopped, and its exit is on its way to the loop: messages that arrive meanwhile are dropped, as in Phoenix.
    if (stopped_) return;
    phx::outcome result;
    if (!attempt([&] { result = callback(); })) return stop(phx::exit_reason::error);
    if (result.replies()) (void)context_.answer_(result.reply_status(), result.response());
    if (result.stops()) stop(result.reason());
  }
  void stop(phx::exit_reason reason) {
    stopped_ = true;
    // Pushes of terminate come before phx_error if the end is abnormal, and after phx_close if it is graceful (protocol
    // 6.6).
    terminated_ = !reason.graceful();
    if (terminated_) do_terminate(context_, reason);
    (void)context_.id().exit(reason);
  }

  remote_context context_;
  bool stopped_ = false, terminated_ = false;
};

inline void worker::handle(task& next) {
  auto const at = channels_.find(next.number);
  if (next.action == task::join) {
    remote_verdict made = next.newcomer->join(next.message->view());
    if (made.result && !made.refused()) channels_.emplace(next.number, std::move(next.newcomer));
    next.verdict->set_value(std::move(made));
    return;
  }
  if (at == channels_.end()) return;
  actor& it = *at->second;
  switch (next.action) {
    case task::in: it.handle_in(next.message->view(), std::move(next.answer)); break;
    case task::out: it.handle_out({{}, next.event, next.payload, {}}); break;
    case task::info: {
      phx::message m;
      m.event = next.event;
      m.payload = next.payload;
      it.handle_info(m);
      break;
    }
    case task::end: it.terminate(next.reason, std::move(next.last)); [[fallthrough]];
    case task::kill: channels_.erase(at); break;
    case task::join: break;
  }
}

/// The Dispatcher. Routes are declared as for a phx::router.
template <class Session>
class actors {
 public:
  using session_type = Session;
  /// The part of a channel that the loop stores.
  struct channel_type {
    worker* on;
    std::uint64_t number;
    std::span<std::string_view const> intercepts;
  };

  actors(worker_pool& all, phx::connect_outcome<Session> (*connecting)(phx::connect_info const&))
      : all_(all), connect_(connecting) {}

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
    routes_.push_back({pattern, intercepts, [make](remote_context ctx, Session const& me) -> std::unique_ptr<actor> {
                         return std::make_unique<of<C>>(std::move(ctx), make(me));
                       }});
    return *this;
  }

  // ---- Dispatcher
  phx::connect_outcome<Session> connect(phx::connect_info const& info) { return connect_(info); }
  bool matches(std::string_view topic) noexcept { return find(topic) != nullptr; }

  /// Waits for the verdict. With a phx::pending the loop would continue, but a second join of the topic would then cancel
  /// the first. Phoenix's connection waits for each join (protocol 6.1), so that every join of a burst is answered, and so
  /// does this function.
  ///
  /// It cannot deadlock: the loop waits for a worker, and a worker waits for nothing. Its messages to a loop go to a
  /// mailbox, which accepts them or returns `dropped`, and the loop's waker only posts. Cost: the loop's other connections
  /// wait too, for all earlier tasks of that worker. Channels with slow joins should return join_result::later.
  phx::join_result join(Session& me, phx::joining& j, phx::message const& in, phx::channel_place<channel_type>& place) {
    route const& r = *find(in.topic);
    std::uint64_t const number = ++all_.numbers;
    worker& on = all_.workers[number % all_.workers.size()];
    std::promise<remote_verdict> promise;
    std::future<remote_verdict> verdict = promise.get_future();
    on.post({.action = task::join,
             .number = number,
             .message = in.copy(),
             .newcomer = r.make(remote_context(all_, on, number, j.id(), in.topic), me),
             .verdict = std::move(promise)});
    remote_verdict made = verdict.get();
    if (!made.result) return crashed();
    if (!made.refused()) place.emplace(&on, number, r.intercepts);
    for (sent_message const& m : made.sent) (void)j.send(m.event, m.payload);
    return std::move(*made.result);
  }
  phx::outcome handle_in(channel_type& c, phx::context& ctx, phx::message const& in) {
    c.on->post({.action = task::in, .number = c.number, .message = in.copy(), .answer = ctx.reply()});
    return phx::outcome::noreply();
  }
  phx::outcome handle_out(channel_type& c, phx::context&, phx::broadcast const& b) {
    c.on->post({.action = task::out, .number = c.number, .event = std::string(b.event), .payload = b.payload});
    return phx::outcome::noreply();
  }
  phx::outcome handle_info(channel_type& c, phx::context&, phx::message const& in) {
    c.on->post({.action = task::info, .number = c.number, .event = std::string(in.event), .payload = in.payload});
    return phx::outcome::noreply();
  }
  [[nodiscard]] std::span<std::string_view const> intercepts(channel_type const& c) noexcept { return c.intercepts; }
  void terminate(channel_type& c, phx::context& ctx, phx::exit_reason reason) noexcept {
    // In Phoenix terminate does not run for a replaced channel (6.6).
    c.on->post({.action = reason == phx::exit_reason::replaced ? task::kill : task::end,
                .number = c.number,
                .last = ctx.after_end(),
                .reason = reason});
  }

 private:
  struct route {
    phx::topic_pattern pattern;
    std::span<std::string_view const> intercepts;
    std::function<std::unique_ptr<actor>(remote_context, Session const&)> make;
  };
  [[nodiscard]] route const* find(std::string_view topic) const noexcept {
    for (route const& r : routes_)
      if (phx::topic_pattern::matches(r.pattern.text(), r.pattern.prefix(), topic)) return &r;
    return nullptr;
  }
  /// The result for a join that threw on the worker's thread: phx answers `join crashed`.
  [[nodiscard]] static phx::join_result crashed() {
#ifdef __cpp_exceptions
    throw std::runtime_error("the join threw on its own thread");
#else
    std::abort();
#endif
  }

  /// Supplies the callbacks that a channel leaves out, as the router does.
  template <class C>
  class of final : public actor {
   public:
    of(remote_context ctx, C it) : actor(std::move(ctx)), it_(std::move(it)) {}

   private:
    phx::join_result do_join(remote_context& ctx, phx::message const& in) override {
      if constexpr (requires { it_.join(ctx, in); })
        return it_.join(ctx, in);
      else
        return phx::join_result::ok();
    }
    phx::outcome do_handle_in(remote_context& ctx, phx::message const& in) override {
      if constexpr (requires { it_.handle_in(ctx, in); })
        return it_.handle_in(ctx, in);
      else
        return phx::outcome::stop(phx::exit_reason::error);
    }
    phx::outcome do_handle_out(remote_context& ctx, phx::broadcast const& b) override {
      if constexpr (requires { it_.handle_out(ctx, b); })
        return it_.handle_out(ctx, b);
      else
        return phx::outcome::noreply();
    }
    phx::outcome do_handle_info(remote_context& ctx, phx::message const& in) override {
      if constexpr (requires { it_.handle_info(ctx, in); })
        return it_.handle_info(ctx, in);
      else
        return phx::outcome::noreply();
    }
    void do_terminate(remote_context& ctx, phx::exit_reason reason) noexcept override {
      if constexpr (requires { it_.terminate(ctx, reason); }) it_.terminate(ctx, reason);
    }
    C it_;
  };

  worker_pool& all_;
  phx::connect_outcome<Session> (*connect_)(phx::connect_info const&);
  std::vector<route> routes_;
};

}  // namespace lab

#endif

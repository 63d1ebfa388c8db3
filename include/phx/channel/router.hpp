#ifndef PHX_CHANNEL_ROUTER_HPP
#define PHX_CHANNEL_ROUTER_HPP
// The Dispatcher of phx: topic patterns in the order of their declaration, each with the type of channel that serves it
// (protocol 5).

#include <phx/channel/channel.hpp>
#include <phx/fwd.hpp>

#include <memory>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {

/// A topic, or a prefix that ends in one star: `lobby`, `room:*`, `*`. A bad literal does not compile.
class topic_pattern {
 public:
  /// From a literal, `"room:lobby"` or `"room:*"`, which the compiler checks.
  template <std::size_t N>
  consteval topic_pattern(char const (&literal)[N]) : topic_pattern(std::string_view(literal, N - 1)) {
    if (text_.find('*') != std::string_view::npos) a_star_may_only_end_a_pattern();
  }
  /// @param text outlives the pattern @return errc::star_not_at_end with the entry if a star is not at its end.
  [[nodiscard]] static result<topic_pattern> parse(std::string_view text) {
    topic_pattern const p(text);
    if (p.text_.find('*') != std::string_view::npos) return error{errc::star_not_at_end, std::string(text)};
    return p;
  }
  /// Whether a pattern matches. The star may match an empty text.
  [[nodiscard]] static constexpr bool matches(std::string_view text, bool prefix, std::string_view topic) noexcept {
    return prefix ? topic.starts_with(text) : topic == text;
  }
  /// The pattern as it was written.
  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }
  /// Whether it ends in a star.
  [[nodiscard]] constexpr bool prefix() const noexcept { return prefix_; }

 private:
  constexpr explicit topic_pattern(std::string_view text) noexcept
      : text_(text.ends_with('*') ? text.substr(0, text.size() - 1) : text), prefix_(text.ends_with('*')) {}
  static void a_star_may_only_end_a_pattern() {}
  std::string_view text_;
  bool prefix_;
};

/// The session of servers that keep nothing about their clients.
struct anonymous {};

/// Decides who may connect, and creates the channel that serves a topic. Configure it once, by a constructor and `channel`;
/// then share it among all loops: nothing in it changes any more, and the functions given to it are called from every loop.
/// Costs one allocation for each channel.
/// @tparam Session what `connect` found out about a client (Phoenix's assigns); one for each socket
template <class Session>
class router {
 public:
  /// What `connect` makes of a client.
  using session_type = Session;
  /// A channel of any type: two words. The channel itself is not moved after its construction.
  class channel_type {
   public:
    /// Takes the channel over.
    channel_type(channel_type&& other) noexcept : held_(std::exchange(other.held_, nullptr)), ops_(other.ops_) {}
    channel_type& operator=(channel_type&&) = delete;
    ~channel_type() {
      if (held_ != nullptr) ops_->destroy(&held_);
    }

   private:
    friend class router;
    channel_type(detail::channel_ops const* ops, void* held) noexcept : held_(held), ops_(ops) {}
    void* held_;  // first: channel_ops get its address
    detail::channel_ops const* ops_;
  };

  router() requires std::default_initializable<Session>
  = default;
  /// @param who_is `connect_outcome<Session>(connect_info const&)`: identifies the client, or refuses it. May throw: the request
  ///   is then answered with 500.
  template <class F>
  requires std::is_invocable_r_v<connect_outcome<Session>, F&, connect_info const&> explicit router(F who_is)
      : connect_(std::make_unique<connector_of<F>>(std::move(who_is))) {}

  /// Serves topics that match `pattern` with a C for each, constructed from the session if possible: `C(Session const&)`, or
  /// `C{session}` for an aggregate; else `C{}`. The constructor copies what it needs of the session. Patterns are tried in the
  /// order of these calls; the first match wins.
  template <class C>
  router& channel(topic_pattern pattern) {
    return channel(pattern, [](Session const& me) { return made_from<C>(me); });
  }
  /// Serves them with a C that is constructed from a copy of the session, which `assign(Session&)` has changed: for values that
  /// belong to this pattern.
  template <class C, class F>
  requires std::is_void_v<std::invoke_result_t<F&, Session&>> router& channel(topic_pattern pattern, F assign) {
    return channel(pattern, [assign = std::move(assign)](Session const& me) mutable {
      Session mine = me;
      assign(mine);
      return made_from<C>(std::as_const(mine));
    });
  }
  /// Serves them with what `make(Session const&)` returns. The channel need not be movable.
  template <class F>
  requires std::is_class_v<std::invoke_result_t<F&, Session const&>> router& channel(topic_pattern pattern, F make) {
    (void)detail::checked_channel<std::invoke_result_t<F&, Session const&>>{};
    routes_.push_back({std::string(pattern.text()), pattern.prefix(), std::make_unique<maker_of<F>>(std::move(make))});
    return *this;
  }

  // ---- Dispatcher
  /// For sockets (see Dispatcher): calls the function given to the constructor.
  [[nodiscard]] connect_outcome<Session> connect(connect_info const& info) {
    if (connect_ != nullptr) return connect_->call(info);
    if constexpr (std::default_initializable<Session>)
      return connected<Session>{Session{}};
    else
      return http_answer{};
  }
  /// For sockets: whether a pattern matches this topic.
  [[nodiscard]] bool matches(std::string_view topic) noexcept { return find(topic) != nullptr; }
  /// For sockets: creates the channel of the topic, and joins it.
  [[nodiscard]] join_result join(Session& me, joining& j, message const& in, channel_place<channel_type>& place) {
    maker& make = *find(in.topic)->make;
    channel_type made(make.ops, make.create(me, j));
    if (made.held_ == nullptr) return overloaded();
    return make.join(place.emplace(std::move(made)).held_, j, in);
  }
  /// For sockets: calls the member bound to the event, or handle_in.
  [[nodiscard]] outcome handle_in(channel_type& c, context& ctx, message const& in) {
    return c.ops_->handle_in(nullptr, &c.held_, ctx, in);
  }
  /// For sockets: calls handle_out for an intercepted broadcast.
  [[nodiscard]] outcome handle_out(channel_type& c, context& ctx, broadcast const& b) {
    return c.ops_->handle_out(nullptr, &c.held_, ctx, b);
  }
  /// For sockets: calls handle_info for a message to the channel.
  [[nodiscard]] outcome handle_info(channel_type& c, context& ctx, message const& in) {
    return c.ops_->handle_info(nullptr, &c.held_, ctx, in);
  }
  /// For sockets: the events that the channel intercepts.
  [[nodiscard]] std::span<std::string_view const> intercepts(channel_type const& c) noexcept {
    return c.ops_->intercepts(nullptr, &c.held_);
  }
  /// For sockets: the channel's own pressure policy, if it has one.
  [[nodiscard]] std::optional<pressure_policy> when_slow(channel_type const& c) noexcept {
    return c.ops_->when_slow(nullptr, &c.held_);
  }
  /// For sockets: calls the channel's terminate.
  void terminate(channel_type& c, context& ctx, exit_reason reason) noexcept {
    c.ops_->terminate(nullptr, &c.held_, ctx, reason);
  }

 private:
  friend struct detail::dispatch_of<router>;

  [[nodiscard]] static join_result overloaded() noexcept {
    return join_result::error(payload::json(R"({"reason":"overloaded"})"));
  }
  /// Aggregates are constructed with braces, because compilers differ in whether parentheses construct one.
  template <class C>
  [[nodiscard]] static C made_from(Session const& me) {
    static_assert(
        std::is_constructible_v<C, Session const&> || !std::is_constructible_v<C, Session&> || std::is_aggregate_v<C>,
        "a channel's constructor takes the session as: Session const&");
    if constexpr (std::is_aggregate_v<C> && requires { C{me}; })
      return C{me};
    else if constexpr (!std::is_aggregate_v<C> && std::is_constructible_v<C, Session const&>)
      return C(me);
    else
      return (void)me, C{};
  }

  struct connector {
    virtual ~connector() = default;
    virtual connect_outcome<Session> call(connect_info const&) = 0;
  };
  template <class F>
  struct connector_of final : connector {
    explicit connector_of(F f) : run(std::move(f)) {}
    connect_outcome<Session> call(connect_info const& info) override { return run(info); }
    F run;
  };
  /// A channel in memory from the hook. What `make` returns is constructed in place, so that C need not be movable.
  template <class C>
  struct cell {
    void (*release)(void*, std::size_t) noexcept;
    C channel;
  };
  struct releaser {
    memory const& from;
    void* at;
    std::size_t size;
    ~releaser() {
      if (at != nullptr) from.release(at, size);
    }
  };

  /// Creates the channels of one pattern.
  struct maker {
    explicit maker(detail::channel_ops const& of) noexcept : ops(&of) {}
    virtual ~maker() = default;
    /// Null without memory. May throw what the user's function throws.
    virtual void* create(Session const&, joining&) = 0;
    virtual join_result join(void* held, joining&, message const&) = 0;
    detail::channel_ops const* ops;
  };
  template <class F>
  struct maker_of final : maker {
    using C = std::invoke_result_t<F&, Session const&>;
    static_assert(alignof(cell<C>) <= alignof(std::max_align_t), "this channel is over-aligned");
    explicit maker_of(F f) : maker(table_of<C>), run(std::move(f)) {}
    void* create(Session const& me, joining& j) override {
      memory const& from = detail::loop_access::from(j.event_loop());
      releaser guard{from, from.allocate(sizeof(cell<C>)), sizeof(cell<C>)};
      if (guard.at == nullptr) return nullptr;
      new (guard.at) cell<C>{from.release, run(me)};
      return std::exchange(guard.at, nullptr);
    }
    join_result join(void* held, joining& j, message const& in) override {
      if constexpr (channel_joins<C>)
        return static_cast<cell<C>*>(held)->channel.join(j, in);
      else
        return (void)held, (void)j, (void)in, join_result::ok();
    }
    F run;
  };
  // `place` of the functions below: where the pointer to the cell is.
  template <class C>
  static cell<C>& cell_at(void const* place) noexcept {
    return *static_cast<cell<C>*>(*static_cast<void* const*>(place));
  }
  template <class C>
  static outcome handle_in_of(void*, void* place, context& ctx, message const& in) {
    return detail::call_in(cell_at<C>(place).channel, ctx, in);
  }
  template <class C>
  static outcome handle_out_of(void*, void* place, context& ctx, broadcast const& b) {
    if constexpr (channel_handles_out<C>)
      return cell_at<C>(place).channel.handle_out(ctx, b);
    else
      return (void)place, (void)ctx, (void)b, outcome::noreply();
  }
  template <class C>
  static outcome handle_info_of(void*, void* place, context& ctx, message const& in) {
    if constexpr (channel_handles_info<C>)
      return cell_at<C>(place).channel.handle_info(ctx, in);
    else
      return (void)place, (void)ctx, (void)in, outcome::noreply();
  }
  template <class C>
  static void terminate_of(void*, void* place, context& ctx, exit_reason reason) noexcept {
    // In Phoenix a replaced channel is killed: its terminate does not run (6.6). Phoenix has no pending joins: the
    // terminate of a channel whose join was pending runs.
    if (reason == exit_reason::replaced && ctx.state() == channel_state::joined) return;
    if constexpr (channel_terminates<C>)
      cell_at<C>(place).channel.terminate(ctx, reason);
    else
      (void)place;
  }
  template <class C>
  static std::span<std::string_view const> intercepts_of(void*, void const*) noexcept {
    if constexpr (channel_intercepts<C>)
      return C::intercepts;
    else
      return {};
  }
  template <class C>
  static std::optional<pressure_policy> when_slow_of(void*, void const* place) noexcept {
    if constexpr (channel_chooses_pressure<C>)
      return cell_at<C>(place).channel.when_slow;
    else
      return (void)place, std::nullopt;
  }
  template <class C>
  static void destroy_of(void* place) noexcept {
    cell<C>* const whole = &cell_at<C>(place);
    auto const release = whole->release;
    whole->~cell<C>();
    release(whole, sizeof(cell<C>));
  }
  template <class C>
  static constexpr detail::channel_ops table_of{&handle_in_of<C>,  &handle_out_of<C>, &handle_info_of<C>, &terminate_of<C>,
                                                &intercepts_of<C>, &when_slow_of<C>,  &destroy_of<C>};

  struct route {
    std::string text;
    bool prefix;
    std::unique_ptr<maker> make;
  };
  [[nodiscard]] route const* find(std::string_view topic) const noexcept {
    for (route const& r : routes_)
      if (topic_pattern::matches(r.text, r.prefix, topic)) return &r;
    return nullptr;
  }

  std::unique_ptr<connector> connect_;
  std::vector<route> routes_;
};

namespace detail {

/// A socket calls the channels of a router by their own tables; the router's members are for Dispatchers that wrap one.
template <class Session>
struct dispatch_of<router<Session>> {
  static join_result join(void* d, void* me, channel_slot& s, joining& j, message const& in) {
    auto& make = *static_cast<router<Session>*>(d)->find(in.topic)->make;
    void* const held = make.create(*static_cast<Session*>(me), j);
    if (held == nullptr) return router<Session>::overloaded();
    *static_cast<void**>(s.channel()) = held;
    s.ops = make.ops;
    s.constructed = true;
    return make.join(held, j, in);
  }
  static constexpr dispatcher_ops table{
      sizeof(void*),
      [](void* d, std::string_view topic) noexcept { return static_cast<router<Session>*>(d)->matches(topic); }, &join};
};

template <class Outcome>
struct session_of;
template <class Session>
struct session_of<connect_outcome<Session>> {
  using type = Session;
};
}  // namespace detail
/// `phx::router app(who_is);` takes its Session from the result of `who_is`.
template <class F>
router(F) -> router<typename detail::session_of<std::invoke_result_t<F&, connect_info const&>>::type>;

}  // namespace PHX_BUILD
}  // namespace phx

#endif

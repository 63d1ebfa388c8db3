#ifndef PHX_CHANNEL_ROUTER_HPP
#define PHX_CHANNEL_ROUTER_HPP
// The stock Dispatcher: topic patterns in declaration order, each with the channel type that serves it (protocol 5).

#include <phx/channel/channel.hpp>
#include <phx/fwd.hpp>

#include <memory>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {

/// A topic, or a prefix that ends in one star: `lobby`, `room:*`, `*`. A bad literal does not compile.
class topic_pattern {
 public:
  /// From a literal, `"room:lobby"` or `"room:*"`, checked by the compiler.
  template <std::size_t N>
  consteval topic_pattern(char const (&literal)[N]) : topic_pattern(std::string_view(literal, N - 1)) {
    if (text_.find('*') != std::string_view::npos) a_star_may_only_end_a_pattern();
  }
  /// @param text outlives the pattern. A star elsewhere: errc::star_not_at_end with the entry.
  [[nodiscard]] static result<topic_pattern> parse(std::string_view text) {
    topic_pattern const p(text);
    if (p.text_.find('*') != std::string_view::npos) return error{errc::star_not_at_end, std::string(text)};
    return p;
  }
  /// The star may match nothing.
  [[nodiscard]] static constexpr bool matches(std::string_view text, bool prefix, std::string_view topic) noexcept {
    return prefix ? topic.starts_with(text) : topic == text;
  }
  /// The pattern as it was written.
  [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }
  /// Does a star end it?
  [[nodiscard]] constexpr bool prefix() const noexcept { return prefix_; }

 private:
  constexpr explicit topic_pattern(std::string_view text) noexcept
      : text_(text.ends_with('*') ? text.substr(0, text.size() - 1) : text), prefix_(text.ends_with('*')) {}
  static void a_star_may_only_end_a_pattern() {}
  std::string_view text_;
  bool prefix_;
};

/// A session for servers that keep nothing about their clients.
struct anonymous {};

/// Who may connect, and which channel serves a topic. Configured once, then shared by all loops: serving changes nothing in
/// it; the functions given to it are called from every loop.
/// @tparam Session what `connect` found out about a client (Phoenix's assigns): one per socket.
template <class Session>
class router {
 public:
  /// What `connect` makes of a client.
  using session_type = Session;
  /// One channel of a client: two words, the channel itself stays where it was made.
  class channel_type {
   public:
    /// Moved into its place in the socket, and nowhere else.
    channel_type(channel_type&& other) noexcept : ops_(other.ops_), held_(std::exchange(other.held_, nullptr)) {}
    channel_type& operator=(channel_type&&) = delete;
    ~channel_type() {
      if (held_ != nullptr) ops_->destroy(held_);
    }

   private:
    friend class router;
    struct table {
      join_result (*join)(void*, joining&, message const&);
      outcome (*handle_in)(void*, context&, message const&);
      outcome (*handle_out)(void*, context&, broadcast const&);
      outcome (*handle_info)(void*, context&, message const&);
      void (*terminate)(void*, context&, exit_reason) noexcept;
      std::span<std::string_view const> (*intercepts)() noexcept;
      std::optional<pressure_policy> (*when_slow)(void const*) noexcept;
      void (*destroy)(void*) noexcept;
    };
    channel_type(table const* ops, void* held) noexcept : ops_(ops), held_(held) {}
    table const* ops_;
    void* held_;
  };

  router() requires std::default_initializable<Session>
  = default;
  /// @param who_is `connect_outcome<Session>(connect_info const&)`: who this is, or why not. May throw (answered 500).
  template <class F>
  requires std::is_invocable_r_v<connect_outcome<Session>, F&, connect_info const&> explicit router(F who_is)
      : connect_(std::make_unique<connector_of<F>>(std::move(who_is))) {}

  /// Serves topics of `pattern` with a C for each, made from the session if it can be: `C(Session const&)`, or `C{session}`
  /// for an aggregate; else `C{}`. The session is a parameter: copy what you need. Patterns are tried in this order, the
  /// first match wins.
  template <class C>
  router& channel(topic_pattern pattern) {
    return channel(pattern, [](Session const& me) { return made_from<C>(me); });
  }
  /// The same with assigns of this pattern's own: `assign(Session&)` changes a copy of the session, from which C is made.
  template <class C, class F>
  requires std::is_void_v<std::invoke_result_t<F&, Session&>> router& channel(topic_pattern pattern, F assign) {
    return channel(pattern, [assign = std::move(assign)](Session const& me) mutable {
      Session mine = me;
      assign(mine);
      return made_from<C>(std::as_const(mine));
    });
  }
  /// The same with a function that makes the channel: `make(Session const&)`. The channel may be immovable.
  template <class F>
  requires std::is_class_v<std::invoke_result_t<F&, Session const&>> router& channel(topic_pattern pattern, F make) {
    (void)detail::checked_channel<std::invoke_result_t<F&, Session const&>>{};
    routes_.push_back({std::string(pattern.text()), pattern.prefix(), std::make_unique<maker_of<F>>(std::move(make))});
    return *this;
  }

  // ---- Dispatcher
  /// For sockets (see Dispatcher): asks the function that judges clients.
  [[nodiscard]] connect_outcome<Session> connect(connect_info const& info) {
    if (connect_ != nullptr) return connect_->call(info);
    if constexpr (std::default_initializable<Session>)
      return connected<Session>{Session{}};
    else
      return http_answer{};
  }
  /// For sockets: does a pattern match this topic?
  [[nodiscard]] bool matches(std::string_view topic) noexcept { return find(topic) != nullptr; }
  /// For sockets: makes the channel of the topic and joins it.
  [[nodiscard]] join_outcome<channel_type> join(Session& me, joining& j, message const& in) {
    channel_type made = find(in.topic)->make->call(me, j);
    if (made.held_ == nullptr) return refused{payload::json(R"({"reason":"overloaded"})")};
    join_result result = made.ops_->join(made.held_, j, in);
    switch (result.kind_) {
      case join_result::kind::ok: return accepted<channel_type>{std::move(made), std::move(result.response_)};
      case join_result::kind::later: return pending<channel_type>{std::move(made), result.deadline_};
      case join_result::kind::crash: return crashed{result.reason_};
      case join_result::kind::error: break;
    }
    return refused_channel<channel_type>{std::move(made), std::move(result.response_)};
  }
  /// For sockets: a bound event's member, or handle_in.
  [[nodiscard]] outcome handle_in(channel_type& c, context& ctx, message const& in) {
    return c.ops_->handle_in(c.held_, ctx, in);
  }
  /// For sockets: an intercepted broadcast.
  [[nodiscard]] outcome handle_out(channel_type& c, context& ctx, broadcast const& b) {
    return c.ops_->handle_out(c.held_, ctx, b);
  }
  /// For sockets: a message to the channel itself.
  [[nodiscard]] outcome handle_info(channel_type& c, context& ctx, message const& in) {
    return c.ops_->handle_info(c.held_, ctx, in);
  }
  /// For sockets: which events its channel intercepts.
  [[nodiscard]] std::span<std::string_view const> intercepts(channel_type const& c) noexcept { return c.ops_->intercepts(); }
  /// For sockets: the channel's own pressure policy.
  [[nodiscard]] std::optional<pressure_policy> when_slow(channel_type const& c) noexcept {
    return c.ops_->when_slow(c.held_);
  }
  /// For sockets: the channel's last callback.
  void terminate(channel_type& c, context& ctx, exit_reason reason) noexcept {
    // Phoenix kills a replaced channel: its terminate does not run (6.6). A join that was pending, which Phoenix has none
    // of, is told that it is cancelled.
    if (reason == exit_reason::replaced && ctx.state() == channel_state::joined) return;
    c.ops_->terminate(c.held_, ctx, reason);
  }

 private:
  /// An aggregate by braces: whether parentheses make one differs between compilers.
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
  struct maker {
    virtual ~maker() = default;
    /// An empty one without memory.
    virtual channel_type call(Session const&, joining&) = 0;
  };
  template <class F>
  struct maker_of final : maker {
    using C = std::invoke_result_t<F&, Session const&>;
    explicit maker_of(F f) : run(std::move(f)) {}
    channel_type call(Session const& me, joining& j) override {
      static_assert(alignof(cell<C>) <= alignof(std::max_align_t), "this channel is over-aligned");
      memory const& from = detail::loop_access::from(j.event_loop());
      void* const at = from.allocate(sizeof(cell<C>));
      if (at == nullptr) return {&table_of<C>, nullptr};
      cell<C>* made = nullptr;
      releaser guard{from, at, sizeof(cell<C>)};
      made = new (at) cell<C>{from.release, run(me)};
      guard.at = nullptr;
      return {&table_of<C>, made};
    }
    F run;
  };
  /// The channel as it lies in hook memory. The maker's prvalue is built in its place, so C need not be movable.
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
  template <class C>
  static C& the(void* held) noexcept {
    return static_cast<cell<C>*>(held)->channel;
  }
  template <class C>
  static join_result join_of(void* c, joining& j, message const& in) {
    if constexpr (channel_joins<C>)
      return the<C>(c).join(j, in);
    else
      return (void)c, (void)j, (void)in, join_result::ok();
  }
  template <class C>
  static outcome out_of(void* c, context& ctx, broadcast const& b) {
    if constexpr (channel_handles_out<C>)
      return the<C>(c).handle_out(ctx, b);
    else
      return (void)c, (void)ctx, (void)b, outcome::noreply();
  }
  template <class C>
  static outcome info_of(void* c, context& ctx, message const& in) {
    if constexpr (channel_handles_info<C>)
      return the<C>(c).handle_info(ctx, in);
    else
      return (void)c, (void)ctx, (void)in, outcome::noreply();
  }
  template <class C>
  static void terminate_of(void* c, context& ctx, exit_reason reason) noexcept {
    if constexpr (channel_terminates<C>)
      the<C>(c).terminate(ctx, reason);
    else
      (void)c, (void)ctx, (void)reason;
  }
  template <class C>
  static std::span<std::string_view const> intercepts_of() noexcept {
    if constexpr (channel_intercepts<C>)
      return C::intercepts;
    else
      return {};
  }
  template <class C>
  static std::optional<pressure_policy> when_slow_of(void const* c) noexcept {
    if constexpr (channel_chooses_pressure<C>)
      return static_cast<cell<C> const*>(c)->channel.when_slow;
    else
      return (void)c, std::nullopt;
  }
  template <class C>
  static void destroy_of(void* c) noexcept {
    auto* const whole = static_cast<cell<C>*>(c);
    auto const release = whole->release;
    whole->~cell<C>();
    release(whole, sizeof(cell<C>));
  }
  template <class C>
  static constexpr typename channel_type::table table_of{
      &join_of<C>,      [](void* c, context& here, message const& in) { return detail::call_in(the<C>(c), here, in); },
      &out_of<C>,       &info_of<C>,
      &terminate_of<C>, &intercepts_of<C>,
      &when_slow_of<C>, &destroy_of<C>};

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
template <class Outcome>
struct session_of;
template <class Session>
struct session_of<connect_outcome<Session>> {
  using type = Session;
};
}  // namespace detail
/// `phx::router app(who_is);` takes its Session from what `who_is` answers.
template <class F>
router(F) -> router<typename detail::session_of<std::invoke_result_t<F&, connect_info const&>>::type>;

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_SOCKET_DISPATCHER_HPP
#define PHX_SOCKET_DISPATCHER_HPP
// The Dispatcher: what decides which channel serves a topic, and calls it. phx::router is one; in another a channel may be an
// actor on a thread of its own, or an entry in a game's tables.

#include <phx/connect/connected.hpp>
#include <phx/socket/context.hpp>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {
struct dispatch_access;
}

/// The result of a join, both of a channel's and of a Dispatcher's: accepted, refused, pending, or crashed. phx sends the reply.
class join_result {
 public:
  /// Accepts the join: `{"status":"ok","response":...}`.
  [[nodiscard]] static join_result ok(payload response = {}) noexcept { return {kind::ok, std::move(response), {}}; }
  /// Refuses the join: `{"status":"error","response":...}`. The channel ends with `shutdown`.
  [[nodiscard]] static join_result error(payload response = {}) noexcept { return {kind::error, std::move(response), {}}; }
  /// Leaves the join pending until channel_id::joined or refused is called. Messages for the topic wait in order meanwhile
  /// (limits::held_pushes). After `deadline`, or limits::join if that is sooner, it is refused with `{"reason":"timeout"}`.
  [[nodiscard]] static join_result later(time_point deadline) noexcept { return {kind::later, {}, deadline}; }
  /// As if the join had thrown: it is refused with `{"reason":"join crashed"}` (protocol 6.1), and terminate is not called. For
  /// builds without exceptions. @param reason for the observer
  template <std::size_t N>
  [[nodiscard]] static join_result crash(char const (&reason)[N]) noexcept {
    join_result r(kind::crash, {}, {});
    r.reason_ = std::string_view(reason, N - 1);
    return r;
  }

  // For a Dispatcher whose channels live on another thread, and which acts on their results itself.
  /// The four results.
  enum class kind : std::uint8_t { ok, error, later, crash };
  /// For a Dispatcher: which of the four it is.
  [[nodiscard]] kind verdict() const noexcept { return kind_; }
  /// For a Dispatcher: the payload of the reply.
  [[nodiscard]] payload const& response() const noexcept { return response_; }
  /// For a Dispatcher: until when the join may be pending.
  [[nodiscard]] time_point deadline() const noexcept { return deadline_; }
  /// For a Dispatcher: the reason of a crash, for the observer.
  [[nodiscard]] std::string_view reason() const noexcept { return reason_; }

 private:
  friend class detail::connection;
  join_result(kind verdict, payload response, time_point deadline) noexcept
      : kind_(verdict), response_(std::move(response)), deadline_(deadline) {}
  kind kind_;
  payload response_;
  time_point deadline_;
  std::string_view reason_{};
};

/// Where a Dispatcher constructs the channel of a join. The channel stays there: it need be neither movable nor copyable.
template <class C>
class channel_place {
 public:
  channel_place(channel_place const&) = delete;
  channel_place& operator=(channel_place const&) = delete;
  /// Constructs the channel. May throw what its constructor throws. @pre not called before
  template <class... A>
  C& emplace(A&&... args) {
    C* made = nullptr;
    if constexpr (std::is_constructible_v<C, A...>)
      made = new (at_) C(std::forward<A>(args)...);
    else
      made = new (at_) C{std::forward<A>(args)...};  // an aggregate
    constructed_ = true;
    return *made;
  }

 private:
  friend struct detail::dispatch_access;
  channel_place(void* at, bool& constructed) noexcept : at_(at), constructed_(constructed) {}
  void* at_;
  bool& constructed_;
};

template <class D>
concept has_channel = std::is_nothrow_destructible_v<typename D::channel_type>;
// clang-format off
template <class D>
concept matches_topics = requires(D& d, std::string_view topic) {
  { d.matches(topic) } noexcept -> std::same_as<bool>;
};
template <class D>
concept joins = requires(D& d, typename D::session_type& me, joining& j, message const& in,
                         channel_place<typename D::channel_type>& place) {
  { d.join(me, j, in, place) } -> std::same_as<join_result>;
};
template <class D>
concept handles_in = requires(D& d, typename D::channel_type& ch, context& ctx, message const& in) {
  { d.handle_in(ch, ctx, in) } -> std::same_as<outcome>;
};
template <class D>
concept terminates_channels = requires(D& d, typename D::channel_type& ch, context& ctx, exit_reason reason) {
  { d.terminate(ch, ctx, reason) } noexcept;
};
// clang-format on

// Optional members. One of the right name and another signature is an error; it is never ignored.
// clang-format off
template <class D>
concept names_intercepts = requires { &D::intercepts; };
template <class D>
concept names_choice_when_slow = requires { &D::when_slow; };
template <class D>
concept names_handle_out = requires { &D::handle_out; };
template <class D>
concept names_handle_info = requires { &D::handle_info; };
template <class D>
concept intercepts_events = requires(D& d, typename D::channel_type const& ch) {
  { d.intercepts(ch) } noexcept -> std::same_as<std::span<std::string_view const>>;
};
template <class D>
concept chooses_pressure = requires(D& d, typename D::channel_type const& ch) {
  { d.when_slow(ch) } noexcept -> std::same_as<std::optional<pressure_policy>>;
};
template <class D>
concept handles_out = requires(D& d, typename D::channel_type& ch, context& ctx, broadcast const& b) {
  { d.handle_out(ch, ctx, b) } -> std::same_as<outcome>;
};
template <class D>
concept handles_info = requires(D& d, typename D::channel_type& ch, context& ctx, message const& in) {
  { d.handle_info(ch, ctx, in) } -> std::same_as<outcome>;
};
// clang-format on

/// Decides who may connect and which channel serves a topic, as Phoenix's UserSocket. All sockets and loops share it: its
/// members are called from every loop, at the same time if these run at the same time.
/// connect: called by `handshake` once the origin, the vsn and the subprotocol have been checked.
/// matches: called before the number of channels is checked (protocol 5, rows 2 and 3).
/// join: constructs the channel in `place` and returns the result. It cannot push. It may throw: the join is answered `join
///   crashed` (6.1). A join that is accepted, or pending, without a channel is a crash. One that is refused needs no channel; if
///   there is one, terminate is called for it after the answer, with `shutdown`.
/// handle_in: may throw: the channel then ends with phx_error, the connection lives.
/// terminate: called exactly once for every channel that join constructed without crashing, pending and replaced ones too, and
///   then the channel is destroyed. Nothing else tells of a channel's end. A channel on another thread pushes its last messages
///   by context::after_end. When it is called, and what the client gets (6.6), broadcasts of terminate on the channel's topic
///   included:
///
///   | end | order |
///   | --- | --- |
///   | leave; a graceful stop or exit | the reply, phx_close, then what terminate pushes, broadcasts or publishes |
///   | a crash; any other stop or exit | what terminate pushes, then phx_error |
///   | a refused join with a channel, a pending join that ends | the answer to the join; then terminate, which can publish but not push |
///   | replaced by a second join | terminate, the answer to that join, phx_close |
///   | the connection ends | terminate; its client gets nothing |
///
/// Optional:
///   intercepts(channel const&) noexcept -> std::span<std::string_view const>: called once, when the join is accepted; the
///     names outlive the channel;
///   when_slow(channel const&) noexcept -> std::optional<pressure_policy>: called once, at the same time: what happens to the
///     topic's pushes and broadcasts when its client is slow; nullopt: the policy of limits::pressure;
///   handle_out(channel&, context&, broadcast const&) -> outcome: for intercepted events;
///   handle_info(channel&, context&, message const&) -> outcome: for messages to the channel, and for broadcasts on other
///     topics that it subscribed to.
/// The last two have no message to reply to: an outcome with a reply ends the channel with phx_error, as in Phoenix (6.2).
template <class D>
concept Dispatcher = has_session<D> && has_channel<D> && connects<D> && matches_topics<D> && joins<D> && handles_in<D> &&
    terminates_channels<D>;

}  // namespace PHX_BUILD
}  // namespace phx

#endif

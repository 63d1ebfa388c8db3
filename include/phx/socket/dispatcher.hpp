#ifndef PHX_SOCKET_DISPATCHER_HPP
#define PHX_SOCKET_DISPATCHER_HPP
// Who answers: the Dispatcher. `router` is ours; a channel may as well be a thread, an actor or a row in a game's tables.

#include <phx/connect/connected.hpp>
#include <phx/socket/context.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The join is answered `ok` with `response`, `{}` without one.
template <class C>
struct accepted {
  /// Yours; it lives until the channel ends.
  C channel;
  /// What the client is told with `ok`.
  std::optional<payload> response{};
};
/// The channel now, the verdict later: channel_id::joined or refused, by `deadline` (at most limits::join from now).
/// Until then messages for the topic wait in order (limits::held_pushes).
template <class C>
struct pending {
  /// Yours; it lives until the channel ends.
  C channel;
  /// When no verdict has come by then, the join is refused.
  time_point deadline;
};
/// The join is answered `error` with `response`.
struct refused {
  /// What the client is told with `error`.
  payload response{};
};
/// The same for a channel that was made and has to be told: after the answer terminate gets it, with `shutdown`.
template <class C>
struct refused_channel {
  /// Yours; it is told the end by terminate.
  C channel;
  /// What the client is told with `error`.
  payload response{};
};
/// The join is answered `join crashed`, as if it had thrown (protocol 6.1). @param why static text, for the observer.
struct crashed {
  /// For the observer; static text.
  std::string_view reason{};
};
template <class C>
using join_outcome = std::variant<accepted<C>, pending<C>, refused, crashed, refused_channel<C>>;

template <class D>
concept has_channel = std::is_nothrow_move_constructible_v<typename D::channel_type>;
// clang-format off
template <class D>
concept matches_topics = requires(D& d, std::string_view topic) {
  { d.matches(topic) } noexcept -> std::same_as<bool>;
};
template <class D>
concept joins = requires(D& d, typename D::session_type& me, joining& j, message const& in) {
  { d.join(me, j, in) } -> std::same_as<join_outcome<typename D::channel_type>>;
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

// Optional ones: named but of another signature, they are an error, never skipped.
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

/// Who may connect, and which channel serves a topic: Phoenix's UserSocket.
/// connect: asked by `handshake`, once the origin, the vsn and the subprotocol have been found good.
/// matches: asked before the cap on channels (protocol 5, rows 2, 3).
/// join: nothing can be pushed yet. It may throw: the join is answered `join crashed` (6.1).
/// handle_in: may throw: the channel then ends with phx_error, the connection lives.
/// terminate: exactly once for every channel that join handed over, pending and replaced ones too: it is the only notice. A
///   channel that is on another thread pushes its last words by context::after_end. When it runs, and what the client gets
///   (6.6), its own broadcasts on the channel's topic included:
///
///   | end | order |
///   | --- | --- |
///   | leave; a stop or an exit that is graceful | the reply, phx_close, then what terminate pushes, broadcasts or publishes |
///   | a crash; a stop or an exit that is not | what terminate says, then phx_error |
///   | refused_channel, a pending join that ends | the answer to the join; then terminate, which can publish but not push |
///   | replaced by a second join | terminate, the answer to that join, phx_close |
///   | the connection ends | terminate; its client gets nothing |
///
/// Optional:
///   intercepts(channel const&) noexcept -> std::span<std::string_view const>, asked once, when the join is accepted; the
///     names outlive the channel;
///   when_slow(channel const&) noexcept -> std::optional<pressure_policy>, asked once, then too: what happens to the topic's
///     pushes and broadcasts when its client is slow; nullopt: what limits::pressure says;
///   handle_out(channel&, context&, broadcast const&) -> outcome, for events it named;
///   handle_info(channel&, context&, message const&) -> outcome, for what the channel or others sent it, and for what is
///     broadcast on topics it has subscribed to.
/// These two have nothing to answer: an outcome with a reply ends the channel with phx_error, as in Phoenix (6.2).
template <class D>
concept Dispatcher = has_session<D> && has_channel<D> && connects<D> && matches_topics<D> && joins<D> && handles_in<D> &&
    terminates_channels<D>;

}  // namespace PHX_BUILD
}  // namespace phx

#endif

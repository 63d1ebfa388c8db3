#ifndef PHX_SOCKET_DETAIL_DISPATCH_HPP
#define PHX_SOCKET_DETAIL_DISPATCH_HPP
// The tables of a Dispatcher: its type is erased here, so that a connection is compiled once for all of them.

#include <phx/socket/detail/channel_slot.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

struct dispatch_access {
  template <class C>
  [[nodiscard]] static channel_place<C> place(channel_slot& s) noexcept {
    return channel_place<C>(s.channel(), s.constructed);
  }
};

/// The tables of D. router has a specialisation, because it erases the types of its channels itself.
template <class D>
struct dispatch_of {
  using channel = typename D::channel_type;
  using session = typename D::session_type;
  static_assert(connects<D>, "your dispatcher needs: connect_outcome<session_type> connect(connect_info const&)");
  static_assert(matches_topics<D>, "your dispatcher needs: bool matches(std::string_view topic) noexcept");
  static_assert(
      joins<D>,
      "your dispatcher needs: join_result join(session_type&, joining&, message const&, channel_place<channel_type>&)");
  static_assert(handles_in<D>, "your dispatcher needs: outcome handle_in(channel_type&, context&, message const&)");
  static_assert(terminates_channels<D>,
                "your dispatcher needs: void terminate(channel_type&, context&, exit_reason) noexcept");
  static_assert(intercepts_events<D> || !names_intercepts<D>,
                "intercepts must be: std::span<std::string_view const> intercepts(channel_type const&) noexcept");
  static_assert(handles_out<D> || !names_handle_out<D>,
                "handle_out must be: outcome handle_out(channel_type&, context&, broadcast const&)");
  static_assert(handles_info<D> || !names_handle_info<D>,
                "handle_info must be: outcome handle_info(channel_type&, context&, message const&)");
  static_assert(chooses_pressure<D> || !names_choice_when_slow<D>,
                "when_slow must be: std::optional<pressure_policy> when_slow(channel_type const&) noexcept");
  static_assert(alignof(channel) <= alignof(std::max_align_t), "your channel_type is over-aligned");

  static D& dispatcher(void* d) noexcept { return *static_cast<D*>(d); }
  static channel& of(void* c) noexcept { return *static_cast<channel*>(c); }

  static outcome handle_out(void* d, void* c, context& ctx, broadcast const& b) {
    if constexpr (handles_out<D>)
      return dispatcher(d).handle_out(of(c), ctx, b);
    else
      return (void)d, (void)c, (void)ctx, (void)b, outcome::noreply();
  }
  static outcome handle_info(void* d, void* c, context& ctx, message const& in) {
    if constexpr (handles_info<D>)
      return dispatcher(d).handle_info(of(c), ctx, in);
    else
      return (void)d, (void)c, (void)ctx, (void)in, outcome::noreply();
  }
  static std::span<std::string_view const> intercepts(void* d, void const* c) noexcept {
    if constexpr (intercepts_events<D>)
      return dispatcher(d).intercepts(*static_cast<channel const*>(c));
    else
      return (void)d, (void)c, std::span<std::string_view const>{};
  }
  static std::optional<pressure_policy> when_slow(void* d, void const* c) noexcept {
    if constexpr (chooses_pressure<D>)
      return dispatcher(d).when_slow(*static_cast<channel const*>(c));
    else
      return (void)d, (void)c, std::nullopt;
  }

  static constexpr channel_ops channels{
      [](void* d, void* c, context& ctx, message const& in) { return dispatcher(d).handle_in(of(c), ctx, in); },
      &handle_out,
      &handle_info,
      [](void* d, void* c, context& ctx, exit_reason reason) noexcept { dispatcher(d).terminate(of(c), ctx, reason); },
      &intercepts,
      &when_slow,
      [](void* c) noexcept { of(c).~channel(); }};

  static join_result join(void* d, void* me, channel_slot& s, joining& j, message const& in) {
    s.ops = &channels;
    channel_place<channel> place = dispatch_access::place<channel>(s);
    return dispatcher(d).join(*static_cast<session*>(me), j, in, place);
  }
  static constexpr dispatcher_ops table{
      sizeof(channel), [](void* d, std::string_view topic) noexcept { return dispatcher(d).matches(topic); }, &join};
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CHANNEL_CHANNEL_HPP
#define PHX_CHANNEL_CHANNEL_HPP
// What the router calls on a channel, which is a plain struct. Every callback is optional. One with a wrong signature, or a
// private one, does not compile.
//
//   join_result join(joining&, message const&);                 without it every join is accepted
//   static constexpr auto events = phx::events(on<&C::f>("name"), ...);     events bound to member functions
//   outcome handle_in(context&, message const&);                all other events; without it they crash the channel
//   static constexpr std::array<std::string_view, N> intercepts{...};
//   outcome handle_out(context&, broadcast const&);             intercepted broadcasts; the result is noreply or stop
//   static constexpr phx::pressure_policy when_slow = ...;      what happens to its messages when its client is slow; may be a
//                                                               data member, set in join
//   outcome handle_info(context&, message const&);              messages to the channel: its own, timers, channel_id::send,
//                                                               broadcasts on other topics; the result is noreply or stop
//   void terminate(context&, exit_reason) noexcept;

#include <phx/socket/socket.hpp>

#include <tuple>

namespace phx {
inline namespace PHX_BUILD {

/// An event bound to a member function. Its parameters are the context, and optionally the message, its payload, or a type of
/// yours that a JSON library reads (see json_traits). A payload that does not convert is answered with the status `error` and
/// `{"reason":"invalid payload","field":...}`; the channel lives on.
template <auto Member>
struct bound_event {
  /// The event's name.
  std::string_view name;
};
template <auto Member, std::size_t N>
[[nodiscard]] consteval bound_event<Member> on(char const (&name)[N]) {
  return {std::string_view(name, N - 1)};
}
template <auto... Members>
[[nodiscard]] consteval std::tuple<bound_event<Members>...> events(bound_event<Members>... all) {
  return {all...};
}

namespace detail {
/// Every name of a callback. In a class that inherits from C and from this, a name that C has too is ambiguous, whatever it is
/// in C: a template (`auto& ctx`), an overload set, a private member. `&C::join` finds none of these.
struct channel_names {
  int join, handle_in, handle_out, handle_info, terminate, intercepts, when_slow;
};
template <class C>
struct beside_channel_names : C, channel_names {};
template <class C>
struct names_of {
  using type = beside_channel_names<C>;
};
/// Nothing can inherit from a final class: only members that have an address are found in one.
template <class C>
requires std::is_final_v<C>
struct names_of<C> {
  using type = C;
};
template <class C>
using channel_names_of = typename names_of<C>::type;
}  // namespace detail

template <class C>
concept names_join = std::is_final_v<C>
== requires { &detail::channel_names_of<C>::join; };
template <class C>
concept names_channel_in = std::is_final_v<C>
== requires { &detail::channel_names_of<C>::handle_in; };
template <class C>
concept names_channel_out = std::is_final_v<C>
== requires { &detail::channel_names_of<C>::handle_out; };
template <class C>
concept names_channel_info = std::is_final_v<C>
== requires { &detail::channel_names_of<C>::handle_info; };
template <class C>
concept names_terminate = std::is_final_v<C>
== requires { &detail::channel_names_of<C>::terminate; };
template <class C>
concept names_intercepts_list = std::is_final_v<C>
== requires { &detail::channel_names_of<C>::intercepts; };
template <class C>
concept names_when_slow = std::is_final_v<C>
== requires { &detail::channel_names_of<C>::when_slow; };
// clang-format off
template <class C>
concept channel_joins = requires(C& c, joining& j, message const& in) {
  { c.join(j, in) } -> std::same_as<join_result>;
};
template <class C>
concept channel_handles_in = requires(C& c, context& ctx, message const& in) {
  { c.handle_in(ctx, in) } -> std::same_as<outcome>;
};
template <class C>
concept channel_handles_out = requires(C& c, context& ctx, broadcast const& b) {
  { c.handle_out(ctx, b) } -> std::same_as<outcome>;
};
template <class C>
concept channel_handles_info = requires(C& c, context& ctx, message const& in) {
  { c.handle_info(ctx, in) } -> std::same_as<outcome>;
};
template <class C>
concept channel_terminates = requires(C& c, context& ctx, exit_reason reason) {
  { c.terminate(ctx, reason) } noexcept -> std::same_as<void>;
};
template <class C>
concept channel_intercepts = requires {
  std::span<std::string_view const>(C::intercepts);
};
template <class C>
concept channel_chooses_pressure = requires(C const& c) {
  { c.when_slow } -> std::same_as<pressure_policy const&>;
};
template <class C>
concept names_events = requires {
  C::events;
};
// clang-format on

namespace detail {

template <class C>
struct checked_channel {
  static_assert(channel_joins<C> || !names_join<C>,
                "join must be public: phx::join_result join(phx::joining&, phx::message const&)");
  static_assert(channel_handles_in<C> || !names_channel_in<C>,
                "handle_in must be public: phx::outcome handle_in(phx::context&, phx::message const&)");
  static_assert(channel_handles_out<C> || !names_channel_out<C>,
                "handle_out must be public: phx::outcome handle_out(phx::context&, phx::broadcast const&)");
  static_assert(channel_handles_info<C> || !names_channel_info<C>,
                "handle_info must be public: phx::outcome handle_info(phx::context&, phx::message const&)");
  static_assert(channel_terminates<C> || !names_terminate<C>,
                "terminate must be public: void terminate(phx::context&, phx::exit_reason) noexcept");
  static_assert(channel_intercepts<C> || !names_intercepts_list<C>,
                "intercepts must be public: static constexpr std::array<std::string_view, N> intercepts");
  static_assert(channel_chooses_pressure<C> || !names_when_slow<C>,
                "when_slow must be public: static constexpr phx::pressure_policy when_slow = ..., or a member of that type");
  static_assert(channel_handles_out<C> || !channel_intercepts<C>, "a channel that intercepts needs handle_out");
  static_assert(names_join<C> || names_channel_in<C> || names_channel_info<C> || names_terminate<C> || names_events<C>,
                "this type has none of a channel's callbacks");
};

/// The parameter of a bound member function after the context.
template <class F>
struct bound_parameter;
template <class C, class R>
struct bound_parameter<R (C::*)(context&)> {
  using result = R;
  using type = void;
};
template <class C, class R, class P>
struct bound_parameter<R (C::*)(context&, P)> {
  using result = R;
  using type = std::remove_cvref_t<P>;
};
template <class C, class R>
struct bound_parameter<R (C::*)(context&) noexcept> : bound_parameter<R (C::*)(context&)> {};
template <class C, class R, class P>
struct bound_parameter<R (C::*)(context&, P) noexcept> : bound_parameter<R (C::*)(context&, P)> {};

/// `{"reason":"invalid payload","field":"..."}`
[[nodiscard]] inline payload invalid_field(std::string_view field) {
  std::string text = R"({"reason":"invalid payload","field":)";
  json::append_quoted(text, field);
  return payload::json(text.append("}"));
}

template <auto Member, class C>
[[nodiscard]] outcome call_bound(C& channel, context& ctx, message const& in) {
  using bound = bound_parameter<decltype(Member)>;
  static_assert(std::is_same_v<typename bound::result, outcome>, "a bound event must answer phx::outcome");
  using P = typename bound::type;
  if constexpr (std::is_void_v<P>) {
    return (channel.*Member)(ctx);
  } else if constexpr (std::is_same_v<P, message>) {
    return (channel.*Member)(ctx, in);
  } else if constexpr (std::is_same_v<P, payload>) {
    return (channel.*Member)(ctx, in.payload);
  } else {
    static_assert(
        JsonReadable<P>,
        "no JSON library reads this event's type: include phx/adapter/nlohmann.hpp, or specialise phx::json_traits");
    result<P> value = in.payload.get<P>();
    if (!value) return outcome::reply(status::error, invalid_field(value.error().entry));
    return (channel.*Member)(ctx, *std::move(value));
  }
}

template <class C>
[[nodiscard]] outcome call_in(C& channel, context& ctx, message const& in) {
  if constexpr (names_events<C>) {
    std::optional<outcome> result;
    auto const attempt = [&]<auto Member>(bound_event<Member> const& e) {
      if (result || e.name != in.event || !in.event_name.is_string()) return;
      result.emplace(call_bound<Member>(channel, ctx, in));
    };
    std::apply([&](auto const&... each) { (attempt(each), ...); }, C::events);
    if (result) return std::move(*result);
  }
  if constexpr (channel_handles_in<C>) return channel.handle_in(ctx, in);
  // As a missing function clause in Phoenix, an event without a handler ends the channel with phx_error.
  else
    return outcome::stop(exit_reason(exit_reason::error, "no handler for this event"));
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CHANNEL_CHANNEL_HPP
#define PHX_CHANNEL_CHANNEL_HPP
// What the router asks of a channel: a plain struct. Every callback is optional, and an error when its signature is wrong.
//
//   join_result join(joining&, message const&);                 without it every join is accepted
//   static constexpr auto events = phx::events(on<&C::f>("name"), ...);     events bound to member functions
//   outcome handle_in(context&, message const&);                every other event; without it they crash the channel
//   static constexpr std::array<std::string_view, N> intercepts{...};
//   outcome handle_out(context&, broadcast const&);             for the intercepted ones
//   outcome handle_info(context&, message const&);              what it sent itself, timers, channel_id::send
//   void terminate(context&, exit_reason) noexcept;

#include <phx/socket/socket.hpp>

#include <tuple>

namespace phx::inline PHX_BUILD {

/// What a join says: accept, refuse, or later.
class join_result {
 public:
  /// `{"status":"ok","response":...}`
  [[nodiscard]] static join_result ok(payload response = {}) noexcept { return {kind::ok, std::move(response), {}}; }
  /// `{"status":"error","response":...}`; the channel ends with `shutdown`.
  [[nodiscard]] static join_result error(payload response = {}) noexcept { return {kind::error, std::move(response), {}}; }
  /// By channel_id::joined or refused until `deadline`, which answers `{"reason":"timeout"}`.
  [[nodiscard]] static join_result later(time_point deadline) noexcept { return {kind::later, {}, deadline}; }

  // For a Dispatcher that carries it out.
  enum class kind : std::uint8_t { ok, error, later };
  [[nodiscard]] kind what() const noexcept { return what_; }
  [[nodiscard]] payload const& response() const noexcept { return response_; }
  [[nodiscard]] time_point deadline() const noexcept { return deadline_; }

 private:
  template <class Session>
  friend class router;
  join_result(kind what, payload response, time_point deadline) noexcept
      : what_(what), response_(std::move(response)), deadline_(deadline) {}
  kind what_;
  payload response_;
  time_point deadline_;
};

/// An event bound to a member function. Its parameters: the context, and optionally the message, its payload, or a type of
/// yours that the channel's JSON library reads (`using json = phx::nlohmann_json;`). A payload that does not convert is
/// answered `error` `{"reason":"invalid payload","field":...}`, and the channel lives.
template <auto Member>
struct bound_event {
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

/// A JSON library, as a channel names it: reads a payload into a T, or says which field was wrong.
template <class J, class T>
concept JsonReader = requires(payload const& p, std::string& field) {
  { J::template read<T>(p, field) } -> std::same_as<std::optional<T>>;
};

template <class C> concept names_join = requires { &C::join; };
template <class C> concept names_intercepts_list = requires { C::intercepts; };
template <class C> concept names_handle_in = requires { &C::handle_in; };
template <class C> concept names_terminate = requires { &C::terminate; };
template <class C>
concept channel_joins = requires(C& c, joining& j, message const& in) {
  { c.join(j, in) } -> std::same_as<join_result>;
};
template <class C>
concept channel_handles_in = requires(C& c, context& here, message const& in) {
  { c.handle_in(here, in) } -> std::same_as<outcome>;
};
template <class C>
concept channel_handles_out = requires(C& c, context& here, broadcast const& b) {
  { c.handle_out(here, b) } -> std::same_as<outcome>;
};
template <class C>
concept channel_handles_info = requires(C& c, context& here, message const& in) {
  { c.handle_info(here, in) } -> std::same_as<outcome>;
};
template <class C>
concept channel_terminates = requires(C& c, context& here, exit_reason why) {
  { c.terminate(here, why) } noexcept -> std::same_as<void>;
};
template <class C>
concept channel_intercepts = requires { std::span<std::string_view const>(C::intercepts); };
template <class C> concept names_events = requires { C::events; };

namespace detail {

template <class C>
struct checked_channel {
  static_assert(channel_joins<C> || !names_join<C>, "join must be: phx::join_result join(phx::joining&, phx::message const&)");
  static_assert(channel_handles_in<C> || !names_handle_in<C>,
                "handle_in must be: phx::outcome handle_in(phx::context&, phx::message const&)");
  static_assert(channel_handles_out<C> || !names_handle_out<C>,
                "handle_out must be: phx::outcome handle_out(phx::context&, phx::broadcast const&)");
  static_assert(channel_handles_info<C> || !names_handle_info<C>,
                "handle_info must be: phx::outcome handle_info(phx::context&, phx::message const&)");
  static_assert(channel_terminates<C> || !names_terminate<C>,
                "terminate must be: void terminate(phx::context&, phx::exit_reason) noexcept");
  static_assert(channel_intercepts<C> || !names_intercepts_list<C>,
                "intercepts must be: static constexpr std::array<std::string_view, N> intercepts");
  static_assert(channel_handles_out<C> || !channel_intercepts<C>, "a channel that intercepts needs handle_out");
  // Asked in both ways: the address of a callback that is a template (`auto& here`) cannot be taken.
  static_assert(channel_joins<C> || channel_handles_in<C> || channel_handles_info<C> || channel_terminates<C> ||
                    names_events<C> || names_join<C> || names_handle_info<C> || names_terminate<C>,
                "this type has none of a channel's callbacks: are they public?");
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
  std::string text = R"({"reason":"invalid payload","field":")";
  constexpr std::string_view digits = "0123456789abcdef";
  for (char const c : field) {
    auto const u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') text.append({'\\', c});
    else if (u < 0x20) text.append("\\u00").append({digits[u >> 4], digits[u & 15]});
    else text.push_back(c);
  }
  return payload::json(text.append("\"}"));
}

template <auto Member, class C>
[[nodiscard]] outcome call_bound(C& channel, context& here, message const& in) {
  using bound = bound_parameter<decltype(Member)>;
  static_assert(std::is_same_v<typename bound::result, outcome>, "a bound event must answer phx::outcome");
  using P = typename bound::type;
  if constexpr (std::is_void_v<P>) {
    return (channel.*Member)(here);
  } else if constexpr (std::is_same_v<P, message>) {
    return (channel.*Member)(here, in);
  } else if constexpr (std::is_same_v<P, payload>) {
    return (channel.*Member)(here, in.payload);
  } else {
    static_assert(requires { typename C::json; },
                  "an event bound to a type of yours needs the channel's JSON library: using json = phx::nlohmann_json;");
    static_assert(JsonReader<typename C::json, P>, "the channel's JSON library cannot read this type");
    std::string field;
    std::optional<P> value = C::json::template read<P>(in.payload, field);
    if (!value) return outcome::reply(status::error, invalid_field(field));
    return (channel.*Member)(here, std::move(*value));
  }
}

template <class C>
[[nodiscard]] outcome call_in(C& channel, context& here, message const& in) {
  if constexpr (names_events<C>) {
    std::optional<outcome> said;
    auto const attempt = [&]<auto Member>(bound_event<Member> const& e) {
      if (said || e.name != in.event || !in.event_name.is_string()) return;
      said.emplace(call_bound<Member>(channel, here, in));
    };
    std::apply([&](auto const&... each) { (attempt(each), ...); }, C::events);
    if (said) return std::move(*said);
  }
  if constexpr (channel_handles_in<C>) return channel.handle_in(here, in);
  // Not handled: as a missing function clause does in Phoenix, it ends the channel with phx_error.
  else return outcome::stop(exit_reason(exit_reason::error, "no handler for this event"));
}

}  // namespace detail
}  // namespace phx::inline PHX_BUILD

#endif

#ifndef PHX_CORE_ERROR_HPP
#define PHX_CORE_ERROR_HPP
// What can go wrong, as values. phx throws nothing: only result::value() does, and without exceptions it aborts.

#include <phx/core/detail/exceptions.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace phx {
inline namespace PHX_BUILD {

enum class errc : std::uint8_t {
  none,
  // a peer's bytes (protocol 3.6): the connection closes with 1011, invalid_utf8 in a text frame with 1007
  not_json,
  wrong_shape,
  too_deep,
  name_too_long,
  truncated,
  unknown_kind,
  invalid_utf8,
  // a record its serializer cannot carry (protocol 3.5)
  not_an_object,
  bytes_not_carried,
  header_too_long,
  header_not_text,
  invalid_payload,
  // a caller
  already_closed,
  no_memory,
  limit_reached,
  nodes_not_reached,
  // a token or a cookie that a client showed (protocol 15)
  token_missing,
  token_invalid,
  token_expired,
  already_tracked,
  not_tracked,
  unsafe_key,
  meta_too_large,
  // a configuration: `error::entry` is the offending entry
  origin_without_host,
  unguarded_session,
  weak_key,
  star_not_at_end,
  bad_requirement,
  bad_path,
};

/// A short sentence for a log. Static storage.
[[nodiscard]] constexpr std::string_view to_string(errc code) noexcept {
  switch (code) {
    case errc::none: return "no error";
    case errc::not_json: return "not JSON";
    case errc::wrong_shape: return "JSON of another shape than a message";
    case errc::too_deep: return "JSON nested deeper than limits::json_depth";
    case errc::name_too_long: return "a topic, event or ref longer than limits::name";
    case errc::truncated: return "a truncated binary message";
    case errc::unknown_kind: return "a binary message of an unknown kind";
    case errc::invalid_utf8: return "text that is not UTF-8";
    case errc::not_an_object: return "the payload of a push or broadcast must be a JSON object or bytes";
    case errc::bytes_not_carried: return "this serializer carries no bytes";
    case errc::header_too_long: return "a topic, event, ref or status over 255 bytes in a binary message";
    case errc::header_not_text: return "a ref that is an array or an object in a binary message";
    case errc::invalid_payload: return "a payload that is not valid JSON";
    case errc::already_closed: return "the socket is closing";
    case errc::no_memory: return "no memory";
    case errc::limit_reached: return "a limit was reached";
    case errc::nodes_not_reached: return "delivered on this node, but the other nodes could not be reached";
    case errc::token_missing: return "no token";
    case errc::token_invalid: return "a token that was not made with this key, for this purpose, or not yet";
    case errc::token_expired: return "a token that was good once";
    case errc::unguarded_session: return "a mount with a session must check the origin or the CSRF token";
    case errc::weak_key: return "a secret that is too short, or a key derivation that gives no usable key";
    case errc::already_tracked: return "the channel is tracked under this key already";
    case errc::not_tracked: return "the channel is not tracked under this key";
    case errc::unsafe_key: return "a key that breaks JavaScript objects";
    case errc::meta_too_large: return "a meta larger than presence_options::meta";
    case errc::origin_without_host: return "an allowed origin needs a host, as in //example.com";
    case errc::star_not_at_end: return "a star may only end a topic pattern";
    case errc::bad_requirement: return "a version requirement must read ~> MAJOR.MINOR or ~> MAJOR.MINOR.PATCH";
    case errc::bad_path: return "a mount's path must begin with a slash";
  }
  return "unknown error";
}

/// What went wrong, and with which entry.
struct error {
  /// What went wrong.
  errc code = errc::none;
  std::string entry{};  ///< the configuration entry at fault, else empty
};

/// A value or an error. value() on an error throws std::runtime_error, or aborts where exceptions are off.
template <class T>
class [[nodiscard]] result {
 public:
  /// From a value, or from an error.
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  /// From a value, or from an error.
  result(phx::error ec) : state_(std::in_place_index<1>, std::move(ec)) {}

  /// Is it a value?
  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  /// Is it a value?
  explicit operator bool() const noexcept { return has_value(); }
  /// @pre has_value()
  [[nodiscard]] T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  /// The value. @pre has_value()
  [[nodiscard]] T const& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  /// The value. @pre has_value()
  [[nodiscard]] T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  /// The value's members. @pre has_value()
  [[nodiscard]] T* operator->() noexcept { return std::get_if<0>(&state_); }
  /// The value's members. @pre has_value()
  [[nodiscard]] T const* operator->() const noexcept { return std::get_if<0>(&state_); }
  /// @pre !has_value()
  [[nodiscard]] phx::error const& error() const noexcept { return *std::get_if<1>(&state_); }
  /// The value, or std::runtime_error that names the error; without exceptions it aborts.
  [[nodiscard]] T value() && {
    if (!has_value()) detail::no_value((std::string(to_string(error().code)) + ": " + error().entry).c_str());
    return std::move(*std::get_if<0>(&state_));
  }

 private:
  std::variant<T, phx::error> state_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CORE_ERROR_HPP
#define PHX_CORE_ERROR_HPP
// Errors as values: errc, error and result. phx throws no exceptions of its own, with one exception: result::value() on an
// error throws, and aborts where exceptions are off.

#include <phx/core/detail/exceptions.hpp>
#include <phx/core/text/concat.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {

/// Every error code of phx, grouped by what caused the error. to_string says what each means.
enum class errc : std::uint8_t {
  none,
  // Malformed bytes from a peer (protocol 3.6). The connection closes with 1011; with 1007 for invalid_utf8 in a text frame.
  not_json,
  wrong_shape,
  too_deep,
  name_too_long,
  truncated,
  unknown_kind,
  invalid_utf8,
  // A reply, push or broadcast that its serializer cannot encode (protocol 3.5).
  not_an_object,
  bytes_not_carried,
  header_too_long,
  header_not_text,
  invalid_payload,
  // The result of a call.
  already_closed,
  no_memory,
  limit_reached,
  nodes_not_reached,
  // A token or cookie sent by a client (protocol 15), and presence.
  token_missing,
  token_invalid,
  token_expired,
  already_tracked,
  not_tracked,
  unsafe_key,
  meta_too_large,
  // An invalid configuration; `error::entry` is the entry at fault.
  origin_without_host,
  unguarded_session,
  weak_key,
  star_not_at_end,
  bad_requirement,
  bad_path,
  bad_network,
};

/// A short sentence for a log. Static storage.
[[nodiscard]] constexpr std::string_view to_string(errc code) noexcept {
  switch (code) {
    case errc::none: return "no error";
    case errc::not_json: return "not JSON";
    case errc::wrong_shape: return "JSON that does not have the expected structure";
    case errc::too_deep: return "JSON nested deeper than limits::json_depth";
    case errc::name_too_long: return "a topic, event or ref longer than limits::name";
    case errc::truncated: return "a truncated binary message";
    case errc::unknown_kind: return "a binary message of an unknown kind";
    case errc::invalid_utf8: return "text that is not UTF-8";
    case errc::not_an_object: return "the payload of a push or broadcast must be a JSON object or bytes";
    case errc::bytes_not_carried: return "this serializer carries no bytes";
    case errc::header_too_long: return "a topic, event, ref or status longer than 255 bytes in a binary message";
    case errc::header_not_text: return "a ref that is an array or an object in a binary message";
    case errc::invalid_payload: return "a payload that is not valid JSON";
    case errc::already_closed: return "the socket is closing";
    case errc::no_memory: return "out of memory";
    case errc::limit_reached: return "a limit was reached";
    case errc::nodes_not_reached: return "delivered on this node, but the other nodes could not be reached";
    case errc::token_missing: return "no token";
    case errc::token_invalid: return "an invalid token: not signed with this key and salt, or not valid yet";
    case errc::token_expired: return "an expired token";
    case errc::unguarded_session: return "a mount with a session must check the origin or the CSRF token";
    case errc::weak_key: return "a secret that is too short, or a key derivation that gives no usable key";
    case errc::already_tracked: return "the channel is already tracked under this key";
    case errc::not_tracked: return "the channel is not tracked under this key";
    case errc::unsafe_key: return "a key that is unsafe in JavaScript objects, such as __proto__";
    case errc::meta_too_large: return "a meta larger than presence_options::meta";
    case errc::origin_without_host: return "an allowed origin needs a host, as in //example.com";
    case errc::star_not_at_end: return "a star is only allowed at the end of a topic pattern";
    case errc::bad_requirement: return "a version requirement must read ~> MAJOR.MINOR or ~> MAJOR.MINOR.PATCH";
    case errc::bad_path: return "a mount's path must begin with a slash";
    case errc::bad_network: return "a trusted proxy must be an address, a network such as 10.0.0.0/8, or unix";
  }
  return "unknown error";
}

/// An error code and, for a configuration error, the entry at fault.
struct error {
  /// The error code.
  errc code = errc::none;
  std::string entry{};  ///< the configuration entry at fault, else empty
};

namespace detail {
/// Stops a program that cannot go on.
[[noreturn]] inline void no_value(error const& wrong) {
  no_value(concat({to_string(wrong.code), ": ", wrong.entry}).c_str());
}
}  // namespace detail

/// A value or an error. Test it, then read `*r` or `r.error()`; or call `std::move(r).value()` at start-up, where an error
/// should stop the program. Owns both; as thread-safe as T.
template <class T>
class [[nodiscard]] result {
 public:
  /// From a value, or from an error.
  result(T value) : value_(std::move(value)) {}
  /// From a value, or from an error.
  result(phx::error ec) : error_(std::move(ec)) {}

  /// Is it a value?
  [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
  /// Is it a value?
  explicit operator bool() const noexcept { return has_value(); }
  /// @pre has_value()
  [[nodiscard]] T& operator*() & noexcept { return *value_; }
  /// The value. @pre has_value()
  [[nodiscard]] T const& operator*() const& noexcept { return *value_; }
  /// The value. @pre has_value()
  [[nodiscard]] T&& operator*() && noexcept { return *std::move(value_); }
  /// The value's members. @pre has_value()
  [[nodiscard]] T* operator->() noexcept { return &*value_; }
  /// The value's members. @pre has_value()
  [[nodiscard]] T const* operator->() const noexcept { return &*value_; }
  /// @pre !has_value()
  [[nodiscard]] phx::error const& error() const noexcept { return error_; }
  /// Moves the value out. @par Errors: throws std::runtime_error with the error's text; aborts where exceptions are off.
  [[nodiscard]] T value() && {
    if (!has_value()) detail::no_value(error_);
    return *std::move(value_);
  }

 private:
  std::optional<T> value_{};  // a std::variant would cost each T three times the compile time
  phx::error error_{};
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_SERIALIZER_DETAIL_REF_TEXT_HPP
#define PHX_SERIALIZER_DETAIL_REF_TEXT_HPP
// A ref in a binary frame: the JSON value that the client sent, as Elixir's `to_string` writes it (protocol 3.4).

#include <phx/message/message.hpp>

#include <charconv>
#include <cstdlib>
#include <optional>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// The buffer size for `ref_text`: no float is longer.
inline constexpr std::size_t ref_text_room = 32;

/// The digits of a JSON number as the nearest double. @pre `number` is valid JSON, with a fraction or an exponent.
[[nodiscard]] inline double nearest_double(std::string_view number) noexcept {
  double value = 0;
#ifdef __cpp_lib_to_chars
  auto const [end, fault] = std::from_chars(number.data(), number.data() + number.size(), value);
  static_cast<void>(end);
  // Too large is impossible: json::check has refused such numbers. Out of range means too small, which becomes zero.
  if (fault != std::errc{}) value = number.front() == '-' ? -0.0 : 0.0;
#else
  // This standard library has no from_chars for double. strtod expects the decimal point of the current locale.
  char text[4200];
  std::size_t const size = number.size() < sizeof text - 1 ? number.size() : 0;
  std::memcpy(text, number.data(), size);
  text[size] = '\0';
  char* end = text;
  value = std::strtod(text, &end);
  if (*end == '.') {
    *end = ',';
    value = std::strtod(text, nullptr);
  }
#endif
  return value;
}

/// As Erlang's `float_to_binary(value, [short])`: the shortest digits that read back as `value`. With an exponent if that is
/// shorter, and always from 2^53 on. @param at a buffer of ref_text_room bytes.
[[nodiscard]] inline std::string_view short_float(double value, char* const at) noexcept {
  char scientific[ref_text_room];  // -d.ddde-308
  std::string_view rest(
      scientific,
      static_cast<std::size_t>(
          std::to_chars(scientific, scientific + sizeof scientific, value, std::chars_format::scientific).ptr - scientific));
  char* to = at;
  if (rest.front() == '-') {
    *to++ = '-';
    rest.remove_prefix(1);
  }
  std::size_t const e = rest.find('e');
  int exponent = 0;
  for (char const c : rest.substr(e + 2)) exponent = exponent * 10 + (c - '0');
  if (rest[e + 1] == '-') exponent = -exponent;
  char digits[20];
  int count = 0;
  for (char const c : rest.substr(0, e))
    if (c != '.') digits[count++] = c;

  auto const put = [&to](char const* from, int n) {
    std::memcpy(to, from, static_cast<std::size_t>(n));
    to += n;
  };
  auto const zeros = [&to](int n) {
    for (; n > 0; --n) *to++ = '0';
  };
  // The characters that each notation needs besides the digits.
  int const exponent_size = (exponent < 0 ? 1 : 0) + (exponent <= -100 || exponent >= 100 ? 3
                                                      : exponent <= -10 || exponent >= 10 ? 2
                                                                                          : 1);
  int const with_exponent = 1 + exponent_size + (count == 1 ? 2 : 1);
  int const before_point = exponent + 1;
  int const plain = before_point <= 0 ? 2 - before_point : before_point >= count ? before_point - count + 2 : 1;
  bool const large = value <= -9007199254740992.0 || value >= 9007199254740992.0;
  if (large || plain > with_exponent) {
    *to++ = digits[0];
    *to++ = '.';
    if (count == 1)
      *to++ = '0';
    else
      put(digits + 1, count - 1);
    *to++ = 'e';
    to = std::to_chars(to, at + ref_text_room, exponent).ptr;
  } else if (before_point <= 0) {
    put("0.", 2);
    zeros(-before_point);
    put(digits, count);
  } else if (before_point >= count) {
    put(digits, count);
    zeros(before_point - count);
    put(".0", 2);
  } else {
    put(digits, before_point);
    *to++ = '.';
    put(digits + before_point, count - before_point);
  }
  return {at, static_cast<std::size_t>(to - at)};
}

/// The text of a ref that is not a string: an integer of any size, a float, `true` or `false`. @pre it is not null.
/// @param json the ref. @param at a buffer of ref_text_room bytes. @return nothing for an array or an object: Phoenix's
///   serializer raises on them. (It accepts charlists: `[53]` is "5" there. No client sends one.)
[[nodiscard]] inline std::optional<std::string_view> ref_text(std::string_view json, char* at) noexcept {
  if (json.front() == '[' || json.front() == '{') return std::nullopt;
  if (json == "-0") return "0";
  if (json.front() == 't' || json.front() == 'f' || json.find_first_of(".eE") == std::string_view::npos) return json;
  return short_float(nearest_double(json), at);
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

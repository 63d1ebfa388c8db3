#ifndef PHX_CORE_TEXT_PERCENT_HPP
#define PHX_CORE_TEXT_PERCENT_HPP
// Percent-encoding of queries (application/x-www-form-urlencoded) and of other parts of a URL.

#include <phx/core/text/ascii.hpp>

#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Decodes `text` and appends it to `out`: `%41` becomes A, and in a query `+` a space. @return false for a `%` without two
/// hex digits after it; the part before it may have been appended. @par Errors: std::bad_alloc.
[[nodiscard]] inline bool percent_decode(std::string_view text, std::string& out, bool is_query = true) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += is_query && text[i] == '+' ? ' ' : text[i];
      continue;
    }
    if (text.size() - i < 3) return false;
    int const high = hex_value(text[i + 1]), low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return false;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

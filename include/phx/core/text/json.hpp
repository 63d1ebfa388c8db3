#ifndef PHX_CORE_TEXT_JSON_HPP
#define PHX_CORE_TEXT_JSON_HPP
// All of json: strings, the scanner, and the cursor.

#include <phx/core/text/json_cursor.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace json {

/// True if all of `text` is UTF-8.
[[nodiscard]] inline bool utf8(std::string_view text) noexcept { return phx::detail::is_utf8(text); }

}  // namespace json
}  // namespace PHX_BUILD
}  // namespace phx

#endif

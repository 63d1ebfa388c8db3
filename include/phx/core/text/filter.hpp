#ifndef PHX_CORE_TEXT_FILTER_HPP
#define PHX_CORE_TEXT_FILTER_HPP
// Removing secrets from what goes to a log (protocol 17).

#include <phx/core/text/json_scanner.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Parameters whose name contains one of these are filtered from logs (protocol 17: `password`; `token` since 1.8.7). The
/// comparison ignores case, so that `accessToken` is filtered too.
inline constexpr std::string_view filter_words[] = {"password", "token"};

/// True if a JSON key, with its quotes, contains a filter word; `"\u0070assword"` is the same key as `"password"`.
[[nodiscard]] inline bool is_secret_key(std::string_view key) {
  std::string unescaped;
  std::string_view text = key.substr(1, key.size() - 2);
  if (!json::plain(key)) {
    unescaped.resize(key.size());
    text = {unescaped.data(), json::unescape(key, unescaped.data())};
  }
  for (std::string_view const word : filter_words)
    if (contains_ignoring_case(text, word)) return true;
  return false;
}

}  // namespace detail

/// JSON for a log: the values of keys that contain `password` or `token` are replaced by "[FILTERED]", at any depth.
/// @param text valid JSON; if it is not, the result ends where it becomes invalid. @par Cost: allocates; one pass.
[[nodiscard]] inline std::string filtered_json(std::string_view text) {
  char const* at = text.data();
  char const* const end = at + text.size();
  char const* copied = at;  // everything before is in `out`
  json::detail::scanner scan(end, json::deepest);
  std::string out;
  while (at != end) {
    if (*at != '"') {
      ++at;
      continue;
    }
    char const* const string_end = scan.string(at + 1);
    if (string_end == nullptr) return out.append(copied, at);
    std::string_view const string(at, static_cast<std::size_t>(string_end - at));
    at = string_end;
    char const* value = string_end;
    if (json::detail::skip_space(value, end) != ':' || !detail::is_secret_key(string)) continue;  // only a key has a colon
    char const first = json::detail::skip_space(++value, end);
    out.append(copied, value).append("\"[FILTERED]\"");
    at = scan.value(value, first);
    if (at == nullptr) return out;
    copied = at;
  }
  return out.append(copied, end);
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

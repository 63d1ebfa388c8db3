#ifndef PHX_TESTS_FUZZ_ORACLE_HPP
#define PHX_TESTS_FUZZ_ORACLE_HPP
// nlohmann's `accept` as the oracle for JSON validity. It differs from Phoenix in three cases, handled here.

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace oracle {

/// Differences: nlohmann skips a byte order mark, Phoenix refuses it; a number beyond a double is refused, as nlohmann's
/// parser does since 3.x (tests/core/json.cpp checks it again); and nlohmann takes a NUL between tokens for the end of its
/// input.
inline bool accepts(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) return false;
  if (text.find('\0') != std::string_view::npos) return false;
  return nlohmann::json::accept(text);
}

/// The keys of the outermost object, including duplicates.
inline std::vector<std::string> keys(std::string_view text) {
  std::vector<std::string> found;
  static_cast<void>(nlohmann::json::parse(text, [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    if (depth == 1 && event == nlohmann::json::parse_event_t::key) found.push_back(value.get<std::string>());
    return true;
  }));
  return found;
}

/// True if a number may be beyond a double. Elixir's integers may be; no JSON that `accepts` takes may.
inline bool has_huge_number(std::string_view text) {
  std::size_t digits = 0;
  for (char const c : text) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits > 300) return true;
  }
  return false;
}

inline void require(bool holds, char const* text) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", text);
  std::abort();
}

}  // namespace oracle

#endif

// core/json.hpp against nlohmann: the same texts are valid, the same strings come out.
#include <phx/core/text/json.hpp>

#include "oracle.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  phx::errc const verdict = phx::json::check(text, phx::json::deepest);
  if (verdict != phx::errc::too_deep)
    oracle::require((verdict == phx::errc::none) == oracle::accepts(text), "valid as nlohmann says");
  if (verdict == phx::errc::none) oracle::require(phx::json::utf8(text), "what is valid is UTF-8");
  if (verdict == phx::errc::invalid_utf8) oracle::require(!phx::json::utf8(text), "what is said not to be UTF-8 is not");

  // Any bytes, as the text of a string.
  std::string quoted;
  phx::json::append_quoted(quoted, text);
  oracle::require(phx::json::valid(quoted) == phx::json::utf8(text), "quoted text is valid exactly when it is UTF-8");
  oracle::require(oracle::accepts(quoted) == phx::json::utf8(text), "and nlohmann agrees");
  std::string back(text.size() * 6 + 2, '\0');
  back.resize(phx::json::unescape(quoted, back.data()));
  oracle::require(back == text, "unescape undoes quote");

  if (verdict != phx::errc::none) return 0;
  std::size_t const from = text.find_first_not_of(" \t\r\n"), to = text.find_last_not_of(" \t\r\n");
  std::string_view const token = text.substr(from, to - from + 1);
  oracle::require(phx::json::is_string(token) == nlohmann::json::parse(token).is_string(), "a string is told from the rest");
  if (!phx::json::is_string(token)) return 0;
  std::string out(token.size(), '\0');
  out.resize(phx::json::unescape(token, out.data()));
  std::string const expected = nlohmann::json::parse(token).get<std::string>();
  oracle::require(out == expected, "unescaped as nlohmann does");
  std::string again;
  phx::json::append_quoted(again, out);
  oracle::require(phx::json::same_string(token, again) && phx::json::same_string(again, token),
                  "the same string, written twice");
  again.insert(1, "x");
  oracle::require(!phx::json::same_string(token, again), "another string");
  return 0;
}

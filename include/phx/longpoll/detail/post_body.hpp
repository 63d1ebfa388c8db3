#ifndef PHX_LONGPOLL_DETAIL_POST_BODY_HPP
#define PHX_LONGPOLL_DETAIL_POST_BODY_HPP
// The body of a POST that is a batch: one frame per line, text unchanged, bytes in base64 (protocol 10.3).

#include <phx/core/text/base64.hpp>
#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// Iterates over the lines of a batch without storing them, so that a body of millions of newlines costs no memory
/// (CVE-2026-32689). Splits at `\n` and `\r\n`, as Elixir does; the part after the last separator is a line too, even if it
/// is empty.
class lines {
 public:
  explicit lines(std::string_view body) noexcept : rest_(body) {}
  [[nodiscard]] std::optional<std::string_view> next() noexcept {
    if (over_) return std::nullopt;
    std::size_t const end = rest_.find('\n');
    over_ = end == std::string_view::npos;
    std::string_view line = rest_.substr(0, end);
    if (!over_) {
      rest_.remove_prefix(end + 1);
      if (line.ends_with('\r')) line.remove_suffix(1);
    }
    return line;
  }

 private:
  std::string_view rest_;
  bool over_ = false;
};

[[nodiscard]] inline bool is_text_line(std::string_view line) noexcept { return line.starts_with('['); }

/// Decodes a line of base64 into `into`; with null it only returns the size. Nothing if the line is not base64.
[[nodiscard]] inline std::optional<std::size_t> decode_line(std::string_view line, char* into) noexcept {
  using namespace phx::detail;
  return from_base64(line, base64_alphabet::standard, base64_padding::required, into);
}

struct checked_batch {
  std::uint16_t status = 200;  // the response's status if the batch is not to be processed
  std::uint32_t lines = 0;     // the number of lines to process
  std::size_t longest = 0;     // bytes of the longest binary frame
};
/// Checks a whole batch before any of it is processed, as Phoenix does. Ignores all lines beyond `most_lines`.
[[nodiscard]] inline checked_batch check_batch(std::string_view body, std::uint32_t most_lines,
                                               std::size_t most_base64) noexcept {
  checked_batch checked;
  lines all(body);
  for (auto line = all.next(); line && checked.lines < most_lines; line = all.next(), ++checked.lines) {
    if (is_text_line(*line)) continue;
    if (line->size() > most_base64) return {.status = 400};
    std::optional<std::size_t> const size = decode_line(*line, nullptr);
    if (!size) return {.status = 500};
    if (*size > checked.longest) checked.longest = *size;
  }
  return checked;
}

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

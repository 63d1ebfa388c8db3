#ifndef PHX_LONGPOLL_DETAIL_POST_BODY_HPP
#define PHX_LONGPOLL_DETAIL_POST_BODY_HPP
// The body of a POST that is a batch: a frame a line, text as it is, bytes in base64 (protocol 10.3).

#include <phx/core/text/base64.hpp>
#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace longpoll::detail {

/// The lines of a batch, one after the other: a body of millions of newlines costs nothing (CVE-2026-32689). As Elixir
/// splits it: at `\n` and at `\r\n`, and what stands behind the last of them is a line too, though it be empty.
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

/// The bytes of a line of base64 into `into`, or only their number with null. Nothing: it is no base64.
[[nodiscard]] inline std::optional<std::size_t> decode_line(std::string_view line, char* into) noexcept {
  using namespace phx::detail;
  return from_base64(line, base64_alphabet::standard, base64_padding::required, into);
}

struct checked_batch {
  std::uint16_t status = 200;  // what to answer if it is not to be processed
  std::uint32_t lines = 0;     // how many are to be processed
  std::size_t longest = 0;     // bytes of the longest binary frame
};
/// All of a batch is checked before any of it is processed, as in Phoenix. What is beyond `most_lines` is not looked at.
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

#ifndef PHX_LONGPOLL_DETAIL_BATCH_HPP
#define PHX_LONGPOLL_DETAIL_BATCH_HPP
// The body of a POST: one frame, or a batch of them, one a line (protocol 10.3).

#include <phx/core/error.hpp>

#include <cstddef>
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

}  // namespace longpoll::detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_LONGPOLL_DETAIL_BATCH_HPP
#define PHX_LONGPOLL_DETAIL_BATCH_HPP
// The body of a POST: one frame, or a batch of them, one a line (protocol 10.3).

#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace phx::inline PHX_BUILD::longpoll::detail {

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

/// Standard alphabet, padding required. How many bytes `text` stands for; nothing where it is no base64.
/// @param into as many bytes, or null: it is only looked at.
[[nodiscard]] inline std::optional<std::size_t> base64(std::string_view text, char* into) noexcept {
  if (text.size() % 4 != 0) return std::nullopt;
  std::size_t const padding = text.ends_with("==") ? 2u : text.ends_with('=') ? 1u : 0u;
  std::size_t const letters = text.size() - padding;
  std::uint32_t bits = 0;
  unsigned held = 0;
  std::size_t size = 0;
  for (std::size_t i = 0; i < letters; ++i) {
    char const c = text[i];
    std::uint32_t const six = c >= 'A' && c <= 'Z'   ? static_cast<std::uint32_t>(c - 'A')
                              : c >= 'a' && c <= 'z' ? static_cast<std::uint32_t>(c - 'a' + 26)
                              : c >= '0' && c <= '9' ? static_cast<std::uint32_t>(c - '0' + 52)
                              : c == '+'             ? 62u
                              : c == '/'             ? 63u
                                                     : 64u;
    if (six == 64) return std::nullopt;
    bits = bits << 6 | six;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    if (into != nullptr) into[size] = static_cast<char>(static_cast<unsigned char>(bits >> held));
    ++size;
  }
  return size;
}

}  // namespace phx::inline PHX_BUILD::longpoll::detail

#endif

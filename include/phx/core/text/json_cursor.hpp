#ifndef PHX_CORE_TEXT_JSON_CURSOR_HPP
#define PHX_CORE_TEXT_JSON_CURSOR_HPP
// Reading JSON of a known outer structure without building a tree.

#include <phx/core/text/json_scanner.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace json {

/// Reads JSON whose outer structure the caller knows. Call take() for the brackets, commas and colons, value() for each value,
/// done() at the end. Each value is validated in the same pass that finds its end:
/// @code
///   json::cursor c(frame, 1024);
///   if (!c.take('[') || !c.value(ref) || !c.take(',') || ...) return c.fault();
/// @endcode
/// The text need not have been checked to be UTF-8: the cursor checks every byte of a value, and between values only ASCII is
/// valid. Allocates nothing.
class cursor {
 public:
  /// @param text what to read; the cursor and all values are views of it. @param depth how deep each value may nest, at most
  ///   json::deepest; the outer structure does not count.
  cursor(std::string_view text, std::uint32_t depth) noexcept
      : at_(text.data()), end_(text.data() + text.size()), scan_(end_, depth) {}

  /// Takes `c` if it is the next character after any spaces.
  [[nodiscard]] bool take(char c) noexcept {
    if (detail::skip_space(at_, end_) != c || at_ == end_) return false;
    ++at_;
    return true;
  }
  /// Takes one whole value. @param raw set to its text, without spaces around it. @return false if it is invalid; see fault().
  [[nodiscard]] bool value(std::string_view& raw) noexcept {
    char const first = detail::skip_space(at_, end_);
    scan_.escaped = false;
    char const* const value_end = scan_.value(at_, first);
    if (value_end == nullptr) return false;
    raw = {at_, static_cast<std::size_t>(value_end - at_)};
    at_ = value_end;
    return true;
  }
  /// Fast path: takes a short string without escapes and the comma right after it, the usual form of everything before a
  /// payload. @return false, with nothing taken, for anything else: call value() and take() then.
  [[nodiscard]] bool compact_string(std::string_view& raw) noexcept {
    if (static_cast<std::size_t>(end_ - at_) < phx::detail::byte_block::size + 2 || *at_ != '"') return false;
    std::size_t const run = phx::detail::byte_block::find_stop(at_ + 1);
    if (run == phx::detail::byte_block::size || at_[run + 1] != '"' || at_[run + 2] != ',') return false;
    raw = {at_, run + 2};
    at_ += run + 3;
    return true;
  }
  /// True if only spaces are left.
  [[nodiscard]] bool done() noexcept {
    static_cast<void>(detail::skip_space(at_, end_));
    return at_ == end_;
  }
  /// True if the last value has no escape in any string; of a string, the bytes between the quotes are then its text.
  [[nodiscard]] bool plain() const noexcept { return !scan_.escaped; }
  /// After value() returned false: not_json, too_deep or invalid_utf8, whichever came first. Otherwise none.
  [[nodiscard]] errc fault() const noexcept { return scan_.fault; }
  /// The error of a message that closes its connection: as fault(), but invalid UTF-8 anywhere in the text takes precedence
  /// (protocol 3.6). Call it after value(), or a required take() or done(), returned false. Looks only at the rest.
  [[nodiscard]] errc refusal() const noexcept {
    if (scan_.fault == errc::invalid_utf8) return errc::invalid_utf8;
    char const* const from = scan_.fault == errc::none ? at_ : scan_.stopped;
    if (!phx::detail::is_utf8({from, static_cast<std::size_t>(end_ - from)})) return errc::invalid_utf8;
    return scan_.fault == errc::none ? errc::not_json : scan_.fault;
  }

 private:
  char const* at_;
  char const* end_;
  detail::scanner scan_;
};

/// The error of `text` if it is not one JSON value of at most `depth` nested arrays and objects: not_json, too_deep or
/// invalid_utf8, whichever comes first. errc::none if it is.
[[nodiscard]] inline errc check(std::string_view text, std::uint32_t depth = 1024) noexcept {
  cursor c(text, depth);
  std::string_view raw;
  if (!c.value(raw)) return c.fault();
  return c.done() ? errc::none : errc::not_json;
}
/// True if `text` is one JSON value of at most `depth` nested arrays and objects.
[[nodiscard]] inline bool valid(std::string_view text, std::uint32_t depth = 1024) noexcept {
  return check(text, depth) == errc::none;
}

}  // namespace json
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CORE_EXIT_REASON_HPP
#define PHX_CORE_EXIT_REASON_HPP
// Why a channel ended, and what its client is told (protocol 6.6).

#include <phx/core/error.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Why a channel ended. The first group is *declared*: the client gets `phx_close` and does not come back. All others are
/// `phx_error`, because clients treat close as final and error as "rejoin". Of connection ends the client hears nothing.
class exit_reason {
 public:
  /// What ended a channel; an observer and `terminate` see it.
  enum kind : std::uint8_t {
    normal,           ///< the handler stopped
    shutdown,         ///< the handler stopped; a refused join; Phoenix's `shutdown` and `{shutdown, detail}`
    left,             ///< the client left: `{shutdown, left}`
    replaced,         ///< a second join took its place (Phoenix kills the old channel)
    error,            ///< a handler threw, or stopped with an error
    killed,           ///< from outside
    closed,           ///< the connection ended: `{shutdown, closed}`
    draining,         ///< `{shutdown, draining}`
    connection_error  ///< the connection itself crashed: a malformed message
  };

  /// From one of the kinds, without details.
  constexpr exit_reason(kind k) noexcept : kind_(k) {}
  /// @param detail static text: `{shutdown, detail}`, or the name of an error.
  template <std::size_t N>
  consteval exit_reason(kind k, char const (&detail)[N]) : detail_(detail), size_(N - 1), kind_(k) {}

  /// Which kind it is.
  [[nodiscard]] constexpr kind what() const noexcept { return kind_; }
  /// Static text, may be empty.
  [[nodiscard]] constexpr std::string_view detail() const noexcept { return {detail_, size_}; }
  /// phx_close, where phx_error is the other answer: normal, shutdown and {shutdown, _}.
  [[nodiscard]] constexpr bool graceful() const noexcept {
    return kind_ != error && kind_ != killed && kind_ != connection_error;
  }
  /// Is it of this kind?
  [[nodiscard]] friend constexpr bool operator==(exit_reason a, kind k) noexcept { return a.kind_ == k; }

 private:
  // Every socket has one: 16 bytes, where a string_view would make it 24.
  char const* detail_ = "";
  std::uint32_t size_ = 0;
  kind kind_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CORE_EXIT_REASON_HPP
#define PHX_CORE_EXIT_REASON_HPP
// Why a channel ended, and which event its client receives (protocol 6.6).

#include <phx/core/error.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Why a channel ended. After a graceful end the client receives `phx_close` and does not rejoin; after any other it
/// receives `phx_error` and rejoins. When the connection itself ended, nothing is sent. A small value: copy it freely.
class exit_reason {
 public:
  /// The reasons. An observer and `terminate` receive them.
  enum kind : std::uint8_t {
    normal,           ///< the handler stopped
    shutdown,         ///< the handler stopped; a refused join; Phoenix's `shutdown` and `{shutdown, detail}`
    left,             ///< the client left: `{shutdown, left}`
    replaced,         ///< the client joined the topic again, so that the old channel was ended
    error,            ///< a handler threw, or stopped with an error
    killed,           ///< ended by other code than its own handlers
    closed,           ///< the connection ended: `{shutdown, closed}`
    draining,         ///< `{shutdown, draining}`
    connection_error  ///< the client sent a malformed message, which ends the whole connection
  };

  /// From one of the kinds, without details.
  constexpr exit_reason(kind k) noexcept : kind_(k) {}
  /// @param detail static text: `{shutdown, detail}`, or the name of an error.
  template <std::size_t N>
  consteval exit_reason(kind k, char const (&detail)[N]) : detail_(detail), size_(N - 1), kind_(k) {}

  /// The reason, without its detail.
  [[nodiscard]] constexpr kind what() const noexcept { return kind_; }
  /// The detail: static text, may be empty.
  [[nodiscard]] constexpr std::string_view detail() const noexcept { return {detail_, size_}; }
  /// True if the client receives phx_close, false if it receives phx_error. True for normal, shutdown and {shutdown, _}.
  [[nodiscard]] constexpr bool graceful() const noexcept {
    return kind_ != error && kind_ != killed && kind_ != connection_error;
  }
  /// Is it of this kind?
  [[nodiscard]] friend constexpr bool operator==(exit_reason a, kind k) noexcept { return a.kind_ == k; }

 private:
  // Pointer and size instead of a string_view: 16 bytes, not 24, in every socket.
  char const* detail_ = "";
  std::uint32_t size_ = 0;
  kind kind_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

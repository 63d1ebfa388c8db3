#ifndef PHX_LOOP_DETAIL_LINGERING_HPP
#define PHX_LOOP_DETAIL_LINGERING_HPP
// mount::linger: the flush of a socket waits for more frames. A loop has one deadline for all its sockets that wait: the earliest,
// so that no timer is set for each of them.

#include <phx/loop/loop.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// While a turn_guard is held nothing that is overdue is due: the end of the turn flushes it. A later time is, so that a host that
/// holds its turn across a poll waits for it.
inline time_point lingering_list::due() const noexcept {
  bool const end_of_turn = loop_.turns_ != 0 && flush_at_ <= loop_.now_;
  return first_ == nullptr || end_of_turn ? (time_point::max)() : flush_at_;
}
inline void lingering_list::on_timer(time_point) noexcept { flush(); }
inline void lingering_list::handle(component_mail* m) noexcept { mail::free(m); }

inline void lingering_list::add(client& c, time_point now) noexcept {
  time_point const at = saturating_add(now, std::chrono::duration_cast<duration>(std::chrono::milliseconds(c.linger_ms)));
  if (first_ == nullptr || at < flush_at_) flush_at_ = at;
  link(first_, c);
}
inline void lingering_list::flush() noexcept {
  while (first_ != nullptr) {
    client& c = *first_;
    unlink(c);
    c.dirty = false;
    c.flush();
  }
}

}  // namespace detail

/// Flushes the sockets that do not linger, and those whose time has come.
inline void loop::flush_or_linger() noexcept {
  if (lingering_.due() <= now_) lingering_.flush();
  while (dirty_ != nullptr) {
    detail::client& c = *dirty_;
    detail::unlink(c);
    if (c.linger_ms != 0) {
      lingering_.add(c, now_);  // it stays dirty
    } else {
      c.dirty = false;
      c.flush();
    }
  }
}

}  // namespace PHX_BUILD
}  // namespace phx

#endif

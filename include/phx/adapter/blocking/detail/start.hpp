#ifndef PHX_ADAPTER_BLOCKING_DETAIL_START_HPP
#define PHX_ADAPTER_BLOCKING_DETAIL_START_HPP
// What the blocking host does with its settings before it serves.

#include <phx/adapter/blocking/detail/posix.hpp>
#include <phx/adapter/blocking_options.hpp>
#include <phx/core/text/concat.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// What the settings do not say: a seed of 0 is replaced by chance.
[[nodiscard]] inline blocking::options seeded(blocking::options&& opts) noexcept {
  opts.throttle.seed = seed_or_random(opts.throttle.seed);
  opts.limits.seed = seed_or_random(opts.limits.seed);
  return std::move(opts);
}
/// Refuses settings with which no server can start: throws, or aborts without exceptions.
inline void check_start(blocking::options const& opts, bool has_polls, int listen_error) {
  if (error const wrong = opts.mount.check(); wrong.code != errc::none)
    no_value(concat({to_string(wrong.code), ": ", wrong.entry}).c_str());
  if (opts.mount.longpoll && !has_polls)
    no_value(
        "mount::longpoll is set, and this server has no long-polling: give it a phx::blocking::long_polling "
        "(phx/adapter/blocking_longpoll.hpp)");
  if (listen_error != 0)
    no_value(
        concat({"cannot listen on ", opts.address, " port ", std::to_string(opts.port), ": ", std::strerror(listen_error)})
            .c_str());
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_CORE_DETAIL_GUARD_HPP
#define PHX_CORE_DETAIL_GUARD_HPP
// The one header that knows whether the host builds with exceptions. The two kinds live in inline namespaces of different
// names, so that units built differently which share a phx type do not link, where one would silently lose its `try`.

#include <cstdlib>
#include <utility>

#ifdef __cpp_exceptions
#define PHX_BUILD with_exceptions
#include <exception>
#include <stdexcept>
namespace phx::inline PHX_BUILD::detail {

/// Runs `body`; what it throws is caught and `failed(what)` runs inside the catch, where std::current_exception() is it.
template <class F, class G>
bool guarded(F&& body, G&& failed) noexcept {
  try {
    std::forward<F>(body)();
    return true;
  } catch (std::exception const& thrown) {
    failed(thrown.what());
  } catch (...) {
    failed("not a std::exception");
  }
  return false;
}
[[noreturn]] inline void no_value(char const* why) { throw std::runtime_error(why); }

}  // namespace phx::inline PHX_BUILD::detail
#else
#define PHX_BUILD without_exceptions
namespace phx::inline PHX_BUILD::detail {

template <class F, class G>
bool guarded(F&& body, G&&) noexcept {
  std::forward<F>(body)();
  return true;
}
[[noreturn]] inline void no_value(char const*) noexcept { std::abort(); }

}  // namespace phx::inline PHX_BUILD::detail
#endif

#endif

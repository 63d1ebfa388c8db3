#ifndef PHX_CORE_DETAIL_EXCEPTIONS_HPP
#define PHX_CORE_DETAIL_EXCEPTIONS_HPP
// Calls into user code, with exceptions and without.

#include <phx/core/detail/build.hpp>

#include <cstdlib>
#include <utility>

#ifdef __cpp_exceptions
#include <exception>
#include <stdexcept>
namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Inside a catch block: the exception's text. A function, so that `failed` stands once in each caller of try_invoke.
[[nodiscard]] inline char const* thrown_text() noexcept {
  try {
    throw;
  } catch (std::exception const& thrown) {
    return thrown.what();
  } catch (...) {
    return "not a std::exception";
  }
}
/// Runs `body`. If it throws, calls `failed(message)` inside the catch block, where std::current_exception() is set, and
/// returns false. Without exceptions `body` is simply called.
template <class F, class G>
bool try_invoke(F&& body, G&& failed) noexcept {
  try {
    std::forward<F>(body)();
    return true;
  } catch (...) {
    failed(thrown_text());
  }
  return false;
}
[[noreturn]] inline void no_value(char const* reason) { throw std::runtime_error(reason); }

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx
#else
namespace phx {
inline namespace PHX_BUILD {
namespace detail {

template <class F, class G>
bool try_invoke(F&& body, G&&) noexcept {
  std::forward<F>(body)();
  return true;
}
[[noreturn]] inline void no_value(char const*) noexcept { std::abort(); }

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx
#endif

#endif

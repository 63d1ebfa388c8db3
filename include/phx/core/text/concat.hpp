#ifndef PHX_CORE_TEXT_CONCAT_HPP
#define PHX_CORE_TEXT_CONCAT_HPP

#include <phx/core/detail/build.hpp>

#include <initializer_list>
#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Appends the parts to `text`. One allocation, and a call is all that it costs its caller in code, where `a + b + c` compiles
/// to a function's worth. @par Errors: std::bad_alloc.
inline void append(std::string& text, std::initializer_list<std::string_view> parts) {
  std::size_t size = text.size();
  for (std::string_view const part : parts) size += part.size();
  text.reserve(size);
  for (std::string_view const part : parts) text.append(part.data(), part.size());
}
/// The parts, one after the other.
[[nodiscard]] inline std::string concat(std::initializer_list<std::string_view> parts) {
  std::string text;
  append(text, parts);
  return text;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

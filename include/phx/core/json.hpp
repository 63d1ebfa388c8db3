#ifndef PHX_CORE_JSON_HPP
#define PHX_CORE_JSON_HPP
// Reading JSON text without building anything: validate, find where a value ends, compare and unescape strings.

#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>

namespace phx::inline PHX_BUILD::json {

[[nodiscard]] bool valid(std::string_view text, std::uint32_t depth = 1024) noexcept;
[[nodiscard]] bool same_string(std::string_view a, std::string_view b) noexcept;

}  // namespace phx::inline PHX_BUILD::json

#endif

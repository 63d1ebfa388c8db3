// error: intercepts must be: std::span<std::string_view const> intercepts(channel_type const&) noexcept
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  std::vector<std::string> intercepts(channel const&) noexcept;
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

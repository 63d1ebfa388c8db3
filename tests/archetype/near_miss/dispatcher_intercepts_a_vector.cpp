// error: intercepts must be: std::span<std::string_view const> intercepts(channel_type const&) noexcept
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  std::vector<std::string> intercepts(channel const&) noexcept;
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

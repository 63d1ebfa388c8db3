// error: your dispatcher needs: bool matches(std::string_view topic) noexcept
#include "archetype/minimal.hpp"

namespace archetype {
struct broken : dispatcher {
  bool matches(std::string_view);
};
template void open(phx::loop&, broken&, phx::admission<session>);
}  // namespace archetype

// error: your dispatcher needs: bool matches(std::string_view topic) noexcept
#include "archetype/poorest.hpp"

namespace archetype {
struct spoilt : dispatcher {
  bool matches(std::string_view);
};
template void open(phx::loop&, spoilt&, phx::admission<session>);
}  // namespace archetype

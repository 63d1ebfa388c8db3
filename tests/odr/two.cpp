#include <phx/phx.hpp>
#ifdef PHX_SERIALIZER_LEGACY_GENERATION_HPP
#error "phx.hpp compiles the older generations of Phoenix for everybody"
#endif

bool the_other_unit_is_there() noexcept;
bool the_other_unit_is_there() noexcept { return true; }

#include <phx/phx.hpp>

bool the_other_unit_is_there() noexcept;
bool the_other_unit_is_there() noexcept { return true; }

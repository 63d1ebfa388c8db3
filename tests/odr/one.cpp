// With two.cpp: two units that include everything link, so no header defines anything twice.
#include <phx/phx.hpp>

bool the_other_unit_is_there() noexcept;

int main() { return the_other_unit_is_there() ? 0 : 1; }

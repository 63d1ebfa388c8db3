// error: is not a constant expression
#include <phx/phx.hpp>

phx::exit_reason why(char const (&text)[8]) { return phx::exit_reason(phx::exit_reason::shutdown, text); }

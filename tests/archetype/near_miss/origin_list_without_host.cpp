// error: an_allowed_origin_needs_a_host
#include <phx/phx.hpp>

phx::check_origin who() { return phx::check_origin::list({"//example.com", "other.com"}); }

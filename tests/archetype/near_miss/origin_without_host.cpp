// error: an_allowed_origin_needs_a_host
#include <phx/phx.hpp>

phx::mount mounted() { return {.origins = {"example.com"}}; }

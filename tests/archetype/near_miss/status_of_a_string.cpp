// error: no matching function for call to
#include <phx/phx.hpp>

phx::outcome say(std::string const& word) { return phx::outcome::reply(word.c_str()); }

// error: a_status_is_a_word_of_letters_digits_and_underscores
#include <phx/phx.hpp>

phx::outcome busy() { return phx::outcome::reply("too busy"); }

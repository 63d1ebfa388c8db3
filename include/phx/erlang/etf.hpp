#ifndef PHX_ERLANG_ETF_HPP
#define PHX_ERLANG_ETF_HPP
// Erlang's external term format (protocol 15.3): its tags, and what reading and writing it may cost. For programs that
// exchange terms with Elixir themselves; term.hpp is simpler.

#include <phx/core/error.hpp>

#include <cstddef>
#include <cstdint>

namespace phx {
inline namespace PHX_BUILD {
namespace etf {

/// What reading or writing one message may cost.
struct bounds {
  std::uint32_t depth = 64;           ///< nested lists, tuples and maps that are written, or read as JSON
  std::size_t integer_bytes = 1'024;  ///< of one integer, written or read as JSON: 2,466 digits. The work is quadratic in it
  std::size_t inflated = 16'000'000;  ///< of a compressed term
};

/// The first byte of a term, which tells its kind; `version` and `compressed` stand before a term.
enum tag : std::uint8_t {
  version = 131,            ///< before the outermost term
  compressed = 80,          ///< after version: size and a zlib stream follow
  small_integer = 97,       ///< 0 to 255
  integer = 98,             ///< 32 bits, signed
  small_big = 110,          ///< an integer of up to 255 bytes
  large_big = 111,          ///< an integer of any size
  new_float = 70,           ///< IEEE 754, 64 bits
  atom_latin1 = 100,        ///< an atom, 2-byte size
  small_atom_latin1 = 115,  ///< an atom, 1-byte size
  atom_utf8 = 118,          ///< an atom, 2-byte size
  small_atom_utf8 = 119,    ///< an atom, 1-byte size
  small_tuple = 104,        ///< up to 255 elements
  large_tuple = 105,        ///< any number of elements
  nil = 106,                ///< the empty list; also the tail of a proper list
  string = 107,             ///< a list of small integers, as bytes
  list = 108,               ///< elements, then a tail
  binary = 109,             ///< bytes
  map = 116,                ///< keys and values in turn
  new_pid = 88,             ///< a process
  pid = 103,                ///< a process, before OTP 23
  newer_reference = 90,     ///< a reference
  new_reference = 114,      ///< a reference, before OTP 23
  bit_binary = 77,          ///< bits that are no whole number of bytes
  port = 102,               ///< a port, before OTP 23
  new_port = 89,            ///< a port
  v4_port = 120,            ///< a port, since OTP 24
  new_fun = 112,            ///< a function
  export_fun = 113,         ///< a function of a module, by name
};

}  // namespace etf
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_VERSION_HPP
#define PHX_VERSION_HPP
// The version of phx. CMake reads it from here, and it is part of the name of every type (core/detail/build.hpp).

#define PHX_VERSION_MAJOR 0
#define PHX_VERSION_MINOR 1
#define PHX_VERSION_PATCH 0
/// The version as text, "0.1.0".
#define PHX_VERSION "0.1.0"
/// The version as a number, to compare: `#if PHX_VERSION_NUMBER >= 10203` for 1.2.3 and later.
#define PHX_VERSION_NUMBER (PHX_VERSION_MAJOR * 10000 + PHX_VERSION_MINOR * 100 + PHX_VERSION_PATCH)

#endif

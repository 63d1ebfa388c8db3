#ifndef PHX_CORE_DETAIL_BUILD_HPP
#define PHX_CORE_DETAIL_BUILD_HPP
// The inline namespace of every phx type. It names the version and whether the build has exceptions. Translation units that
// share a phx type and differ in either fail to link: they would disagree on a layout, or one would silently lose its `try`.

#include <phx/version.hpp>

#if defined(_MSVC_LANG) ? _MSVC_LANG < 202002L : __cplusplus < 202002L
#error "phx needs C++20: compile with -std=c++20 or later (MSVC: /std:c++20; CMake: target_compile_features(... cxx_std_20))"
#endif

#ifdef __cpp_exceptions
#define PHX_BUILD v0_1_with_exceptions
#else
#define PHX_BUILD v0_1_without_exceptions
#endif
// The number is spelled out above, so that tools find it. Before 1.0 a minor version may change any layout.
#if PHX_VERSION_MAJOR != 0 || PHX_VERSION_MINOR != 1
#error "PHX_BUILD must name the version"
#endif

#endif

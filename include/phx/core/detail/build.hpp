#ifndef PHX_CORE_DETAIL_BUILD_HPP
#define PHX_CORE_DETAIL_BUILD_HPP
// Whether the host builds with exceptions, as the name of an inline namespace that every phx type stands in: units built
// differently which share a phx type do not link, where one would silently lose its `try`.

#ifdef __cpp_exceptions
#define PHX_BUILD with_exceptions
#else
#define PHX_BUILD without_exceptions
#endif

#endif

#include "heap.hpp"

#include <cstdlib>
#include <new>

void* support::heap::allocate(std::size_t n) noexcept { return fails.load()() ? nullptr : std::malloc(n == 0 ? 1 : n); }

namespace {

void* allocate_or_throw(std::size_t n) {
  if (void* const p = support::heap::allocate(n)) return p;
#ifdef __cpp_exceptions
  throw std::bad_alloc();
#else
  std::abort();
#endif
}

}  // namespace

// Not inlined: otherwise GCC would see malloc in one and free in the other, and warn about a mismatch.
[[gnu::noinline]] void* operator new(std::size_t n) { return allocate_or_throw(n); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return allocate_or_throw(n); }
// The nothrow forms of the address sanitizer do not call these, as the standard's default ones do.
[[gnu::noinline]] void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return support::heap::allocate(n); }
[[gnu::noinline]] void* operator new[](std::size_t n, std::nothrow_t const&) noexcept { return support::heap::allocate(n); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::nothrow_t const&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::nothrow_t const&) noexcept { std::free(p); }

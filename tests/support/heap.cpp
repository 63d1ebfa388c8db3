#include "heap.hpp"

#include <cstdlib>
#include <new>

namespace {

void* take(std::size_t n) noexcept {
  std::size_t const number = support::heap::allocations++;
  if (number == support::heap::fail_at || (support::heap::fail_on && number > support::heap::fail_at)) return nullptr;
  return std::malloc(n == 0 ? 1 : n);
}
void* take_or_throw(std::size_t n) {
  if (void* const at = take(n)) return at;
#ifdef __cpp_exceptions
  throw std::bad_alloc();
#else
  std::abort();
#endif
}

}  // namespace

// Not inlined: otherwise GCC would see malloc in one and free in the other, and warn about a mismatch.
[[gnu::noinline]] void* operator new(std::size_t n) { return take_or_throw(n); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return take_or_throw(n); }
// The nothrow forms of the address sanitizer do not call these, as the standard's default ones do.
[[gnu::noinline]] void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return take(n); }
[[gnu::noinline]] void* operator new[](std::size_t n, std::nothrow_t const&) noexcept { return take(n); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::nothrow_t const&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::nothrow_t const&) noexcept { std::free(p); }

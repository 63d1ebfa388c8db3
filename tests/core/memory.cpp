#include <phx/core/memory.hpp>

#include <support/room.hpp>

using support::metered;

namespace {
struct thing {
  int n;
  int* ended;
  ~thing() { ++*ended; }
};
}  // namespace

TEST_CASE("memory: the default is malloc and free") {
  phx::memory const m;
  void* const p = m.allocate(100);
  REQUIRE(p != nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(p) % alignof(std::max_align_t) == 0);
  m.release(p, 100);
}

TEST_CASE("memory: make and destroy; without memory make returns null") {
  metered::reset();
  int ended = 0;
  thing* const t = phx::detail::make<thing>(metered::hook(), thing{7, &ended});
  REQUIRE(t != nullptr);
  ended = 0;
  CHECK(t->n == 7);
  phx::detail::destroy(metered::hook(), t);
  CHECK(ended == 1);
  phx::detail::destroy<thing>(metered::hook(), nullptr);
  CHECK(metered::bytes == 0);
  metered::fail_at = metered::allocations.load();
  CHECK(phx::detail::make<int>(metered::hook(), 1) == nullptr);
  metered::reset();
}

TEST_CASE("array: grows, keeps its values, releases everything") {
  metered::reset();
  phx::detail::array<int> a, b;
  CHECK(sizeof(a) == sizeof(int*) + 2 * sizeof(std::uint32_t));
  CHECK(a.empty());
  for (int i = 0; i < 1000; ++i) CHECK(a.push(metered::hook(), i));
  CHECK(a.size() == 1000);
  for (int i = 0; i < 1000; ++i) CHECK(a[static_cast<std::size_t>(i)] == i);
  CHECK(a.back() == 999);
  int sum = 0;
  for (int const i : a) sum += i;
  CHECK(sum == 499'500);
  CHECK(a.push(metered::hook(), a[3]));  // its own element, which the growth may move
  CHECK(a.back() == 3);
  a.pop();
  a.swap(b);
  CHECK(a.empty());
  CHECK(b.size() == 1000);
  b.clear();
  CHECK(b.empty());
  a.free(metered::hook());
  b.free(metered::hook());
  b.free(metered::hook());
  CHECK(metered::bytes == 0);
  CHECK_FALSE(metered::wrong_size);
}

TEST_CASE("array: growth that fails changes nothing") {
  metered::reset();
  phx::detail::array<int> a;
  CHECK(a.push(metered::hook(), 1));
  metered::fail_at = metered::allocations.load();
  metered::fail_on = true;
  bool grew = true;
  for (int i = 0; i < 10 && grew; ++i) grew = a.push(metered::hook(), 2);
  CHECK_FALSE(grew);
  CHECK(a[0] == 1);
  CHECK_FALSE(a.reserve(metered::hook(), SIZE_MAX));
  a.free(metered::hook());
  CHECK(metered::bytes == 0);
  metered::reset();
}

TEST_CASE("block: reference-counted; the last owner releases it") {
  metered::reset();
  phx::detail::block* const b = phx::detail::block::make(metered::hook(), 10);
  REQUIRE(b != nullptr);
  CHECK(b->unique());
  b->add_ref();
  CHECK_FALSE(b->unique());
  b->drop_ref();
  CHECK(b->unique());
  std::memcpy(b->bytes(), "0123456789", 10);
  CHECK(metered::bytes > 0);
  b->drop_ref();
  CHECK(metered::bytes == 0);
  CHECK(phx::detail::block::make(metered::hook(), UINT32_MAX) == nullptr);
  metered::reset();
}

#include <phx/core/slot_map.hpp>

#include <doctest/doctest.h>

#include <vector>

namespace {

struct key {
  std::uint32_t slot = UINT32_MAX, generation = 0;
};
using map_of_ints = phx::detail::slot_map<int, key>;

}  // namespace

TEST_CASE("slot_map: an erased key is not found, even after its slot was reused") {
  phx::memory const from{};
  map_of_ints map;
  int a = 1, b = 2, c = 3;
  key of_a, of_b, of_c;
  REQUIRE(map.insert(from, a, of_a));
  REQUIRE(map.insert(from, b, of_b));
  REQUIRE(of_a.slot != of_b.slot);
  CHECK(map.size() == 2);
  CHECK(map.find(of_a) == &a);
  CHECK(map.find(of_b) == &b);
  map.erase(of_a);
  CHECK(map.find(of_a) == nullptr);
  CHECK(map.find({of_a.slot, of_a.generation + 1}) == nullptr);
  CHECK(map.size() == 1);
  REQUIRE(map.insert(from, c, of_c));
  REQUIRE(of_c.slot == of_a.slot);
  CHECK(map.find(of_a) == nullptr);
  CHECK(map.find(of_c) == &c);
  CHECK(map.find({17, 1}) == nullptr);
  CHECK(map.find({}) == nullptr);
  std::vector<int> there;
  map.for_each([&](int const& value) {
    there.push_back(value);
    map.erase(value == 3 ? of_c : of_b);
  });
  CHECK(there == std::vector<int>{3, 2});
  map.for_each([&](int const&) { there.clear(); });
  CHECK(there.size() == 2);
  CHECK(map.size() == 0);
  CHECK(map.slot_count() == 2);
  CHECK(map.at(0) == nullptr);
  map.free(from);
}

TEST_CASE("slot_map: without memory nothing is inserted") {
  phx::memory const nothing{.allocate = [](std::size_t) noexcept -> void* { return nullptr; }};
  map_of_ints map;
  int a = 1;
  key of_a;
  CHECK_FALSE(map.insert(nothing, a, of_a));
  CHECK(of_a.slot == UINT32_MAX);
  CHECK(map.size() == 0);
}

#include <phx/longpoll/detail/slot_map.hpp>

#include <doctest/doctest.h>

#include <vector>

namespace {

namespace lp = phx::longpoll::detail;

}  // namespace

TEST_CASE("slot_map: an erased key is not found, even after its slot was reused") {
  phx::memory const from{};
  lp::slot_map<int> map;
  int a = 1, b = 2, c = 3;
  lp::slot_key const of_a = map.insert(from, a), of_b = map.insert(from, b);
  REQUIRE((of_a && of_b && of_a.slot != of_b.slot));
  CHECK(map.find(of_a) == &a);
  CHECK(map.find(of_b) == &b);
  map.erase(of_a);
  CHECK(map.find(of_a) == nullptr);
  CHECK(map.find({of_a.slot, of_a.generation + 1}) == nullptr);
  lp::slot_key const of_c = map.insert(from, c);
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
  map.free(from);
}

TEST_CASE("slot_map: a key packs into one number") {
  for (lp::slot_key const key : {lp::slot_key{}, {0, 1}, {7, UINT32_MAX}, {UINT32_MAX - 1, 0x80000000U}})
    CHECK(lp::slot_key::unpacked(key.packed()) == key);
}

TEST_CASE("slot_map: without memory nothing is inserted") {
  phx::memory const nothing{.allocate = [](std::size_t) noexcept -> void* { return nullptr; }};
  lp::slot_map<int> map;
  int a = 1;
  CHECK(!map.insert(nothing, a));
}

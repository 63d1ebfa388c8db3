#include <phx/longpoll/detail/places.hpp>

#include <doctest/doctest.h>

#include <vector>

TEST_CASE("places: who left is not found, though another sits there") {
  phx::memory const from{};
  phx::longpoll::detail::places<int> table;
  int a = 1, b = 2, c = 3;
  std::uint32_t const first = table.sit(from, &a), second = table.sit(from, &b);
  REQUIRE(first != second);
  std::uint32_t const of_a = table.generation(first);
  CHECK(table.find(first, of_a) == &a);
  CHECK(table.find(second, table.generation(second)) == &b);
  table.rise(first);
  CHECK(table.find(first, of_a) == nullptr);
  CHECK(table.find(first, table.generation(first)) == nullptr);
  REQUIRE(table.sit(from, &c) == first);
  CHECK(table.find(first, of_a) == nullptr);
  CHECK(table.find(first, table.generation(first)) == &c);
  CHECK(table.find(17, 1) == nullptr);
  std::vector<int> there;
  table.each([&](int const& number) { there.push_back(number); });
  CHECK(there == std::vector<int>{3, 2});
  table.free(from);
}

TEST_CASE("places: without memory nobody sits") {
  phx::memory const nothing{.allocate = [](std::size_t) noexcept -> void* { return nullptr; }};
  phx::longpoll::detail::places<int> table;
  int a = 1;
  CHECK(table.sit(nothing, &a) == table.none);
}

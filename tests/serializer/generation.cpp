#include <phx/serializer/legacy/generation.hpp>

#include <doctest/doctest.h>

using phx::choose;
using phx::generation;
using phx::serializer_ref;

TEST_CASE("generation: today's serves 1.0 and 2.0, in that order") {
  auto const today = phx::legacy::of(generation::today).serializers();
  REQUIRE(today.size() == 2);
  CHECK(today[0] == serializer_ref::of<phx::v1_json>());
  CHECK(today[1] == serializer_ref::of<phx::v2_json>());
  CHECK_FALSE(choose(today, "1.1.0"));
}

TEST_CASE("generation: the older ones serve any 1.x only") {
  auto const check = [](generation g, serializer_ref only) {
    REQUIRE(phx::legacy::of(g).serializers().size() == 1);
    for (char const* const vsn : {"1.0.0", "1.1.0", "1.2.3"}) CHECK(choose(phx::legacy::of(g).serializers(), vsn) == only);
    for (char const* const vsn : {"2.0.0", "0.9.0", ""}) CHECK_FALSE(choose(phx::legacy::of(g).serializers(), vsn));
  };
  check(generation::v0_10, serializer_ref::of<phx::v1_json_seed<generation::v0_10>>());
  check(generation::v0_11, serializer_ref::of<phx::v1_json_seed<generation::v0_11>>());
  check(generation::v0_13_0, serializer_ref::of<phx::v1_json_seed<generation::v0_13_0>>());
  check(generation::v0_13_1, serializer_ref::of<phx::v1_json_seed<generation::v0_13_1>>());
  check(generation::v0_14, serializer_ref::of<phx::v1_json_seed<generation::v0_14>>());
  check(generation::v0_15, serializer_ref::of<phx::v1_json_seed<generation::v0_15>>());
  check(generation::v1_0, serializer_ref::of<phx::v1_json_seed<generation::v1_0>>());
  check(generation::v1_2, serializer_ref::of<phx::v1_json_seed<generation::v1_2>>());
}

TEST_CASE("generation: legacy serves any 1.x for old clients, and version 2 as today") {
  auto const legacy = phx::legacy::of(generation::legacy).serializers();
  CHECK(choose(legacy, "1.0.0") == serializer_ref::of<phx::v1_json_seed<generation::legacy>>());
  CHECK(choose(legacy, "1.2.0") == serializer_ref::of<phx::v1_json_seed<generation::legacy>>());
  CHECK(choose(legacy, "2.0.0") == serializer_ref::of<phx::v2_json>());
  CHECK_FALSE(choose(legacy, "3.0.0"));
}

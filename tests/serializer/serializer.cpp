#include <phx/serializer/serializer.hpp>

#include <phx/serializer/legacy/generation.hpp>

#include "codec.hpp"

#include <algorithm>
#include <cstdlib>

namespace {

/// Encodes its number and nothing else.
template <int N>
struct third {
  static constexpr std::string_view requirement = "~> 3.0.0";
  static phx::errc decode(phx::opcode, std::string_view, phx::scratch&, phx::message&) noexcept {
    return phx::errc::unknown_kind;
  }
  static phx::errc encode(phx::frame_builder& out, phx::reply const&) noexcept { return say(out, "reply"); }
  static phx::errc encode(phx::frame_builder& out, phx::push const&) noexcept { return say(out, "push"); }
  static phx::errc encode(phx::frame_builder& out, phx::broadcast const&) noexcept { return say(out, "broadcast"); }

 private:
  static phx::errc say(phx::frame_builder& out, std::string_view text) noexcept {
    out.start(phx::opcode::text, text.size());
    out.append(text);
    return phx::errc::none;
  }
};

}  // namespace

TEST_CASE("serializer: the first one whose requirement is met is chosen") {
  phx::serializer_ref const offered[] = {phx::serializer_ref::of<phx::v1_json>(), phx::serializer_ref::of<phx::v2_json>(),
                                         phx::serializer_ref::of<third<1>>(), phx::serializer_ref::of<third<2>>()};
  CHECK(phx::choose(offered, "1.0.0") == offered[0]);
  CHECK(phx::choose(offered, "1.0.5") == offered[0]);
  CHECK(phx::choose(offered, "2.0.0") == offered[1]);
  CHECK(phx::choose(offered, "2.0.9") == offered[1]);
  CHECK(phx::choose(offered, "2.0.0+b1") == offered[1]);
  CHECK(phx::choose(offered, "3.0.0") == offered[2]);
  for (char const* const vsn : {"1.1.0", "2.1.0", "0.9.0", "4.0.0", "2.0", "2", "", "02.0.0", "2.0.0-rc.1", "latest"}) {
    CAPTURE(vsn);
    CHECK_FALSE(phx::choose(offered, vsn));
  }
  CHECK_FALSE(phx::choose({}, "1.0.0"));
}

TEST_CASE("serializer: a reference calls the functions of its type and equals others of it") {
  codec c(phx::serializer_ref::of<third<1>>());
  phx::payload const nothing{};
  CHECK(c.decode("?") == phx::errc::unknown_kind);
  CHECK(c.encode(phx::reply{{}, {}, {}, phx::status::ok, nothing}) == "reply");
  CHECK(c.encode(phx::push{{}, {}, {}, {}, nothing}) == "push");
  CHECK(c.encode(phx::broadcast{}) == "broadcast");
  CHECK(c.mode == phx::serializer_ref::of<third<1>>());
  CHECK_FALSE(c.mode == phx::serializer_ref::of<third<2>>());
  CHECK(c.mode.rules().leave_of_unjoined_answered);
  CHECK_FALSE(c.mode.rules().duplicate_join_refused);
}

TEST_CASE("scratch: memory from room lasts until reset, which keeps one small chunk") {
  static int held = 0;
  phx::memory const counted{[](std::size_t n) noexcept -> void* {
                              ++held;
                              return std::malloc(n);
                            },
                            [](void* p, std::size_t) noexcept {
                              --held;
                              std::free(p);
                            }};
  {
    phx::scratch room(counted);
    CHECK(held == 0);
    char* const a = room.room(10);
    char* const b = room.room(4000);
    REQUIRE((a != nullptr && b != nullptr));
    std::fill_n(a, 10, 'a');
    std::fill_n(b, 4000, 'b');
    CHECK(std::string_view(a, 10) == "aaaaaaaaaa");
    CHECK(held == 1);
    char* const c = room.room(100'000);
    REQUIRE(c != nullptr);
    std::fill_n(c, 100'000, 'c');
    CHECK(b[3999] == 'b');
    CHECK(held == 2);
    room.reset();
    CHECK(held == 1);
    CHECK(room.room(10) == a);
  }
  CHECK(held == 0);
  phx::scratch none(phx::memory{[](std::size_t) noexcept -> void* { return nullptr; }, [](void*, std::size_t) noexcept {}});
  CHECK(none.room(1) == nullptr);
}

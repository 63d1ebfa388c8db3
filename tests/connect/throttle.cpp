#include <phx/connect/throttle.hpp>

#include <doctest/doctest.h>

#include <string>

namespace {

using namespace std::chrono_literals;
phx::time_point at(phx::duration since) { return phx::time_point{} + since; }

/// "in", or the status, the refusal and Retry-After.
std::string try_acquire(phx::throttle& door, std::string_view address, phx::duration now) {
  auto const no = door.try_acquire(address, at(now));
  if (!no) return "in";
  CHECK(no->answer.body.empty());
  CHECK(no->detail == address);
  REQUIRE(no->answer.headers.size() == 1);
  CHECK(no->answer.headers[0].first == "retry-after");
  return std::to_string(no->answer.status) + " " + std::string(to_string(no->reason)) + " " + no->answer.headers[0].second;
}
std::string owner(std::string_view address) {
  static std::string bytes;
  phx::detail::address_owner const o(address);
  bytes = o.bytes();
  return bytes;
}

}  // namespace

TEST_CASE("throttle: the default options limit nothing and remember nothing") {
  phx::throttle door;
  for (int i = 0; i < 1000; ++i) CHECK(try_acquire(door, "10.0.0.1", 0s) == "in");
  CHECK(door.capacity() == 0);
}

TEST_CASE("throttle: an address has its burst, then one connection at a time") {
  phx::throttle door({.each = {.burst = 3, .every = 2s}});
  for (int i = 0; i < 3; ++i) CHECK(try_acquire(door, "10.0.0.1", 100s) == "in");
  CHECK(try_acquire(door, "10.0.0.1", 100s) == "429 too_often 2");
  CHECK(try_acquire(door, "10.0.0.1", 100s + 1ms) == "429 too_often 2");
  CHECK(try_acquire(door, "10.0.0.1", 101s + 1ms) == "429 too_often 1");
  CHECK(try_acquire(door, "10.0.0.2", 101s) == "in");  // other addresses are not affected
  CHECK(try_acquire(door, "10.0.0.1", 102s) == "in");  // a refusal costs no token
  CHECK(try_acquire(door, "10.0.0.1", 102s) == "429 too_often 2");
  // full again after burst * every, and not more than full
  for (int i = 0; i < 3; ++i) CHECK(try_acquire(door, "10.0.0.1", 1h) == "in");
  CHECK(try_acquire(door, "10.0.0.1", 1h) == "429 too_often 2");
}

TEST_CASE("throttle: all addresses together have a bucket too") {
  phx::throttle door({.each = {.burst = 2, .every = 10s}, .all = {.burst = 3, .every = 1s}});
  CHECK(try_acquire(door, "a", 0s) == "in");
  CHECK(try_acquire(door, "a", 0s) == "in");
  CHECK(try_acquire(door, "a", 0s) == "429 too_often 10");  // costs the others nothing
  CHECK(try_acquire(door, "b", 0s) == "in");
  CHECK(try_acquire(door, "c", 0s) == "503 too_many 1");
  CHECK(try_acquire(door, "c", 1s) == "in");
  CHECK(try_acquire(door, "c", 1s) == "503 too_many 1");
  CHECK(try_acquire(door, "c", 2s) == "in");  // the refusal cost c no token
  CHECK(try_acquire(door, "c", 3s) == "429 too_often 8");

  phx::throttle only_all({.all = {.burst = 1, .every = 500ms}});
  CHECK(only_all.capacity() == 0);
  CHECK(try_acquire(only_all, "a", 0s) == "in");
  CHECK(try_acquire(only_all, "b", 499ms) == "503 too_many 1");
  CHECK(try_acquire(only_all, "b", 500ms) == "in");
}

TEST_CASE("throttle: extreme rates do not overflow") {
  for (phx::rate const r : {phx::rate{0xFFFFFFFFu, phx::duration::max()}, phx::rate{1, phx::duration::max()},
                            phx::rate{0xFFFFFFFFu, 1ns}, phx::rate{5, 0s}, phx::rate{5, -1s}}) {
    phx::throttle door({.each = r, .all = r});
    CHECK(try_acquire(door, "a", 24h * 36'500) == "in");
    (void)door.try_acquire("a", at(24h * 36'500));
  }
}

TEST_CASE("throttle: different spellings are one address, and an IPv6 network is one") {
  CHECK(owner("127.0.0.1") == std::string("\x7F\0\0\x01", 4));
  CHECK(owner("::ffff:127.0.0.1") == owner("127.0.0.1"));
  CHECK(owner("::FFFF:7f00:1") == owner("127.0.0.1"));
  CHECK(owner("2001:db8::1").size() == 8);
  CHECK(owner("2001:db8::1") == owner("2001:0DB8:0:0:ffff:ffff:ffff:ffff"));
  CHECK(owner("2001:db8:0:1::1") != owner("2001:db8::1"));
  CHECK(owner("fe80::1%eth0") == owner("fe80::2%eth1"));
  CHECK(owner("::") == std::string(8, '\0'));
  CHECK(owner("1::") == std::string("\0\1\0\0\0\0\0\0", 8));
  CHECK(owner("1:2:3:4:5:6:7::") == std::string("\0\1\0\2\0\3\0\4", 8));
  CHECK(owner("1:2:3:4:5:6:1.2.3.4") == std::string("\0\1\0\2\0\3\0\4", 8));
  CHECK(owner("::1.2.3.4") == std::string(8, '\0'));
  for (std::string_view const other : {"",
                                       "localhost",
                                       "/run/phx.sock",
                                       "1.2.3",
                                       "1.2.3.4.5",
                                       "1.2.3.256",
                                       "1.2.3.",
                                       "1..2.3",
                                       "0001.2.3.4",
                                       "1.2.3.4 ",
                                       ":",
                                       ":::",
                                       "1:2",
                                       "1:2:3:4:5:6:7:8:9",
                                       "1:2:3:4:5:6:7:8::",
                                       "1::2::3",
                                       "12345::",
                                       "g::",
                                       "1:2:3:4:5:6:7:",
                                       "1:2:3:4:5:6:7:1.2.3.4",
                                       "::1.2.3",
                                       ":1::",
                                       "1:::2"})
    CHECK_MESSAGE(owner(other) == other, other);
}

TEST_CASE("throttle: the hash is SipHash-2-4") {
  std::string text;
  for (int i = 0; i < 15; ++i) text += static_cast<char>(i);
  CHECK(phx::detail::siphash(0x0706050403020100u, 0x0f0e0d0c0b0a0908u, text) == 0xa129ca6149be45e5u);
  CHECK(phx::detail::siphash(0x0706050403020100u, 0x0f0e0d0c0b0a0908u, "") == 0x726fdb47dd0e0e31u);
}

TEST_CASE("throttle: a million addresses need only the configured memory") {
  phx::throttle door({.each = {.burst = 2, .every = 60s}, .addresses = 1000, .seed = 42});
  CHECK(door.capacity() == 1024);
  std::uint32_t in = 0;
  for (std::uint32_t i = 0; i < 1'000'000; ++i) {
    std::string const address =
        "10." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255);
    if (!door.try_acquire(address, at(std::chrono::microseconds(i)))) ++in;
  }
  CHECK(in == 1'000'000);  // each connected once, with a burst of two
  CHECK(door.capacity() == 1024);
  // it still recognises the most frequent ones
  int last = 0;
  for (int i = 0; i < 100; ++i) last += try_acquire(door, "192.0.2.1", 2s) == "in";
  CHECK(last == 2);
}

TEST_CASE("throttle: a full table forgets the addresses that would have to wait least") {
  phx::throttle door({.each = {.burst = 1, .every = 60s}, .addresses = 8});
  REQUIRE(door.capacity() == 8);
  for (int i = 0; i < 8; ++i) CHECK(try_acquire(door, "10.0.0." + std::to_string(i), std::chrono::seconds(i)) == "in");
  for (int i = 0; i < 8; ++i) CHECK(try_acquire(door, "10.0.0." + std::to_string(i), 10s).starts_with("429"));
  CHECK(try_acquire(door, "10.0.1.1", 10s) == "in");
  for (int i = 1; i < 8; ++i) CHECK(try_acquire(door, "10.0.0." + std::to_string(i), 10s).starts_with("429"));
  CHECK(try_acquire(door, "10.0.0.0", 10s) == "in");  // it was forgotten
  // an address with a full bucket is the first to be replaced
  phx::throttle quick({.each = {.burst = 1, .every = 1s}, .addresses = 8});
  for (int i = 0; i < 7; ++i) CHECK(try_acquire(quick, "10.0.0." + std::to_string(i), 0s) == "in");
  CHECK(try_acquire(quick, "10.0.0.7", 1900ms) == "in");
  CHECK(try_acquire(quick, "10.0.1.7", 2s) == "in");
  CHECK(try_acquire(quick, "10.0.0.7", 2s) == "429 too_often 1");
}

TEST_CASE("throttle: refusals that are the client's fault are delayed, up to a limit; those of the server are not") {
  phx::throttle door({.refuse_after = 2s, .waiting = 2});
  CHECK(door.delay_until(phx::refusal::connect, at(1s)) == at(3s));
  CHECK(door.delay_until(phx::refusal::draining, at(1s)) == at(1s));
  CHECK(door.delay_until(phx::refusal::too_many, at(1s)) == at(1s));
  CHECK(door.delay_until(phx::refusal::too_often, at(1s)) == at(1s));
  CHECK(door.delay_until(phx::refusal::auth_token, at(1s)) == at(3s));
  CHECK(door.held() == 2);
  CHECK(door.delay_until(phx::refusal::connect, at(1s)) == at(1s));  // the limit of waiting refusals is reached
  CHECK(door.held() == 2);
  door.release();
  CHECK(door.delay_until(phx::refusal::origin, at(4s)) == at(6s));
  door.release();
  door.release();
  door.release();
  CHECK(door.held() == 0);
  phx::throttle none;
  CHECK(none.delay_until(phx::refusal::connect, at(1s)) == at(1s));
}

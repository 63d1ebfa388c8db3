#include <phx/adapter/redis/detail/wire.hpp>

#include <support/hex.hpp>

#include <doctest/doctest.h>

using namespace phx::detail;
namespace etf = phx::etf;

namespace {

std::string bytes(std::string_view digits) { return support::from_hex(digits); }
std::string hex(std::string_view in) { return support::to_hex(in); }
/// The term for JSON text, without the version byte; "no" if it is refused.
std::string term(std::string_view json, etf::bounds const& most = {}) {
  std::string out;
  return etf::writer(out).json(json, most) ? hex(out) : "no";
}
/// The JSON text of a term; "no" if it is refused, "more" if bytes remain.
std::string json_of(std::string_view raw, etf::bounds const& most = {}) {
  std::string out;
  etf::reader in(raw);
  if (!etf::json_encoder(raw, most).value(in, out)) return "no";
  return in.done() ? out : "more";
}
std::string json_hex(std::string_view h) { return json_of(bytes(h)); }
bool skips(std::string_view h, etf::bounds const& most = {}) {
  std::string const raw = bytes(h);
  etf::reader in(raw);
  return in.skip(most.depth, etf::terms::any) == phx::errc::none && in.done();
}
std::optional<redis_wire::bus_message> broadcast_in(std::string_view in, redis_wire::term_storage& storage,
                                                    etf::bounds const& most) {
  redis_wire::term_message const term = redis_wire::read_term(in, storage, most);
  if (term.outcome != redis_wire::outcome::broadcast) return std::nullopt;
  return term.message;
}
phx::broadcast spoken(std::string_view topic, std::string_view event, std::string_view json) {
  return {topic, event, phx::payload::json(json), {}};
}

/// The example of protocol 13.2, byte for byte.
constexpr std::string_view example = R"(
83 68 06 61 03 64 0006 657863657074 6d 00000006 6e6f64652d61 6d 00000006 726f6f6d3a31
74 00000004
  64 000a 5f5f7374727563745f5f  64 001f 456c697869722e50686f656e69782e536f636b65742e42726f616463617374
  64 0005 6576656e74            6d 00000007 6e65775f6d7367
  64 0007 7061796c6f6164        74 00000001 6d 00000004 626f6479 6d 00000002 6869
  64 0005 746f706963            6d 00000006 726f6f6d3a31
64 001d 456c697869722e50686f656e69782e4368616e6e656c2e536572766572
)";

}  // namespace

TEST_CASE("redis wire: a broadcast is byte for byte the term that OTP 25 writes") {
  std::string out;
  REQUIRE(redis_wire::write_term(out, false, "node-a", spoken("room:1", "new_msg", R"({"body":"hi"})"), {}));
  CHECK(hex(out) == hex(bytes(example)));
}

TEST_CASE("redis wire: that term is read") {
  redis_wire::term_storage storage;
  std::string const in = bytes(example);
  auto const h = broadcast_in(in, storage, {});
  REQUIRE(h);
  CHECK_FALSE(h->only);
  CHECK(h->node == "node-a");
  CHECK_FALSE(h->node_is_atom);
  CHECK(h->topic == "room:1");
  CHECK(h->event == "new_msg");
  CHECK(h->payload == R"({"body":"hi"})");
  CHECK_FALSE(h->bytes);
}

TEST_CASE("redis wire: a truncated term, or one with an extra byte, is refused") {
  std::string const in = bytes(example);
  redis_wire::term_storage storage;
  for (std::size_t n = 0; n < in.size(); ++n) CHECK_FALSE(broadcast_in(in.substr(0, n), storage, {}));
  CHECK_FALSE(broadcast_in(in + 'x', storage, {}));
}

TEST_CASE("redis wire: a message for one node is marked so, and a name with an @ is an atom") {
  std::string out;
  redis_wire::term_storage storage;
  REQUIRE(redis_wire::write_term(out, true, "app@host", spoken("t", "e", "{}"), {}));
  auto h = broadcast_in(out, storage, {});
  REQUIRE(h);
  CHECK(h->only);
  CHECK(h->node == "app@host");
  CHECK(h->node_is_atom);
  out.clear();
  REQUIRE(
      redis_wire::write_term(out, false, "app", {"t", "e", phx::payload::binary(std::string_view("\0\xff", 2)), {}}, {}));
  h = broadcast_in(out, storage, {});
  REQUIRE(h);
  CHECK(h->bytes);
  CHECK(h->payload == std::string_view("\0\xff", 2));
  CHECK_FALSE(h->node_is_atom);
}

TEST_CASE("redis wire: other versions, modes, structs, dispatchers and messages are ignored") {
  std::string const in = bytes(example);
  redis_wire::term_storage storage;
  auto const with = [&](std::string_view from, std::string_view to) {
    std::string changed = in;
    changed.replace(changed.find(from), from.size(), to);
    return broadcast_in(changed, storage, {}).has_value();
  };
  CHECK(with("new_msg", "old_msg"));  // the method of the test works
  CHECK_FALSE(with("\x61\x03", "\x61\x01"));
  CHECK_FALSE(with("except", "expect"));
  CHECK_FALSE(with("Phoenix.Socket.Broadcast", "Phoenix.Socket.Broadcasd"));
  CHECK_FALSE(with("Phoenix.Channel.Server", "Phoenix.Channel.Servus"));
  CHECK_FALSE(with("__struct__", "__strukt__"));
  CHECK_FALSE(with("room:1", "room:2"));  // the first of the two topics
  CHECK_FALSE(with("room:1",
                   "room\xff"
                   "1"));
  CHECK_FALSE(with("new_msg", "new_ms\xff"));
  CHECK_FALSE(with("hi", "h\xff"));
  // The dispatcher of a plain broadcast is accepted; {forward, "x"}, which is not a Broadcast, is not.
  std::string plain = in.substr(0, in.size() - 32);
  CHECK(broadcast_in(plain + bytes("64 0015") + "Elixir.Phoenix.PubSub", storage, {}));
  CHECK_FALSE(broadcast_in(bytes("83 68 06 61 03 64 0006 657863657074 6d 00000001 61 6d 00000001 74 "
                                 "68 02 64 0001 66 6d 00000001 78 64 0001 64"),
                           storage, {}));
  CHECK_FALSE(broadcast_in("PING", storage, {}));
}

TEST_CASE("redis wire: a compressed term is read, up to a limit") {
  // The example, as OTP 25 writes it: term_to_binary(Term, [{compressed, 6}]).
  std::string const packed = bytes(
      "8350000000bd789c5d8d410ac230104547ad2d7807f10406dcba54dc0b3d408899c1049b4c49c7dadedea42b71f7e0ffffbeabcd06a1a6"
      "c9522f0100eac84847b360620ee79364ac10765a0f92de56b44638dc3a3ff9a4ee8e29fa49b56c5f24ea92d8a03583206c69a4b8189b48"
      "1f1d862742d39bb9cb8d625c95a87a30ce05d6cee78970efedcf33c2feefe7ea4c8cd4a996d248e90b27de381e");
  redis_wire::term_storage storage;
  auto const h = broadcast_in(packed, storage, {});
  REQUIRE(h);
  CHECK(h->node == "node-a");
  CHECK(h->topic == "room:1");
  CHECK(h->event == "new_msg");
  CHECK(h->payload == R"({"body":"hi"})");

  std::size_t const whole = bytes(example).size() - 1;
  CHECK(broadcast_in(packed, storage, {.inflated = whole}));
  CHECK_FALSE(broadcast_in(packed, storage, {.inflated = whole - 1}));
  for (std::size_t n = 0; n < packed.size(); ++n) CHECK_FALSE(broadcast_in(packed.substr(0, n), storage, {}));
  CHECK_FALSE(broadcast_in(packed + 'x', storage, {}));
  std::string lies = packed;
  lies[5] = static_cast<char>(lies[5] + 1);  // a wrong size
  CHECK_FALSE(broadcast_in(lies, storage, {}));
  // The compressed content is checked like any other term: here it is the number 97, 1.
  CHECK_FALSE(broadcast_in(bytes("83 50 00000002 789c4b640400 00c50063"), storage, {}));
}

TEST_CASE("etf: numbers of every size are written as Erlang writes them") {
  CHECK(term("0") == "6100");
  CHECK(term("255") == "61ff");
  CHECK(term("256") == "6200000100");
  CHECK(term("-1") == "62ffffffff");
  CHECK(term("2147483647") == "627fffffff");
  CHECK(term("2147483648") == "6e040000000080");
  CHECK(term("-2147483648") == "6280000000");
  CHECK(term("-2147483649") == "6e040101000080");
  CHECK(term("1700000000000") ==
        "6e0600"
        "0068e5cf8b01");  // milliseconds: six bytes, little-endian
  CHECK(term("18446744073709551616") == "6e0900000000000000000001");
  CHECK(term("-9223372036854775808") == "6e08010000000000000080");
  CHECK(term("1.5") == "463ff8000000000000");
  CHECK(term("1e2") == "464059000000000000");
  CHECK(term("0.1") == "463fb999999999999a");
}

TEST_CASE("etf: atoms, strings, lists and maps are written as Erlang writes them") {
  CHECK(term("null") == "6400036e696c");
  CHECK(term("true") ==
        "640004"
        "74727565");
  CHECK(term(R"("a\u00e9\n")") == "6d0000000461c3a90a");
  CHECK(term("[]") == "6a");
  CHECK(term("[1,2,255]") == "6b00030102ff");
  CHECK(term("[1,256]") ==
        "6c00000002"
        "6101"
        "6200000100"
        "6a");
  CHECK(term("[[1],\"x\"]") ==
        "6c00000002"
        "6b000101"
        "6d0000000178"
        "6a");
  CHECK(term("{}") == "7400000000");
  CHECK(term(R"( { "a" : [ 1 , 2 ] , "b" : null } )") ==
        "7400000002"
        "6d0000000161"
        "6b00020102"
        "6d0000000162"
        "6400036e696c");
}

TEST_CASE("etf: of a duplicate key the first one counts, as with Jason; Erlang refuses such a map") {
  CHECK(term(R"({"a":1,"b":2,"\u0061":3,"c":4,"b":5})") ==
        "7400000003"
        "6d0000000161"
        "6101"
        "6d0000000162"
        "6102"
        "6d0000000163"
        "6104");
}

TEST_CASE("etf: every tag of the table is read") {
  CHECK(json_hex("61 07") == "7");
  CHECK(json_hex("62 ffffffff") == "-1");
  CHECK(json_hex("6e 06 00 0068e5cf8b01") == "1700000000000");
  CHECK(json_hex("6f 00000009 01 000000000000000001") == "-18446744073709551616");
  CHECK(json_hex("6e 00 01") == "0");
  CHECK(json_hex("46 3ff8000000000000") == "1.5");
  CHECK(json_hex("46 4059000000000000") == "100.0");
  CHECK(json_hex("46 7ff0000000000000") == "no");
  CHECK(json_hex("64 0003 6e696c") == "null");
  CHECK(json_hex("77 04 74727565") == "true");
  CHECK(json_hex("73 05 66616c7365") == "false");
  CHECK(json_hex("76 0002 c3a9") == "\"\xc3\xa9\"");
  CHECK(json_hex("64 0001 e9") == "\"\xc3\xa9\"");
  CHECK(json_hex("77 01 e9") == "no");
  CHECK(json_hex("6a") == "[]");
  CHECK(json_hex("6b 0003 0102ff") == "[1,2,255]");
  CHECK(json_hex("6c 00000002 6101 6a 6a") == "[1,[]]");
  CHECK(json_hex("6c 00000001 6101 6102") == "no");  // an improper list
  CHECK(json_hex("6d 00000003 22c3a9") == "\"\\\"\xc3\xa9\"");
  CHECK(json_hex("6d 00000001 ff") == "no");
  CHECK(json_hex("74 00000002 6d00000001 61 6101 77 01 62 77 03 6e696c") == R"({"a":1,"b":null})");
  CHECK(json_hex("74 00000001 6201000000 6101") == R"({"16777216":1})");
  CHECK(json_hex("74 00000001 6800 6101") == "no");
  CHECK(json_hex("68 01 6101") == "no");
  CHECK(json_hex("67 64 0001 61 00000000 00000000 00") == "no");
  CHECK(json_hex("74 00000001 77 0a 5f5f7374727563745f5f 77 0b 456c697869722e44617465") == "no");  // a Date without a day
  CHECK(json_hex("ff") == "no");
  CHECK(json_of("") == "no");
}

TEST_CASE("etf: unneeded terms are skipped completely") {
  for (std::string_view const h : {"61 07",
                                   "62 00000000",
                                   "6e 02 00 0102",
                                   "6f 00000002 00 0102",
                                   "46 3ff8000000000000",
                                   "64 0001 61",
                                   "73 01 61",
                                   "76 0001 61",
                                   "77 01 61",
                                   "68 02 6101 6102",
                                   "69 00000001 6a",
                                   "6a",
                                   "6b 0002 0102",
                                   "6c 00000001 6101 6a",
                                   "6d 00000002 ffff",
                                   "74 00000001 6a 68 00",
                                   "58 77 01 61 00000000 00000000 00000000",
                                   "67 77 01 61 00000000 00000000 00",
                                   "5a 0002 77 01 61 00000000 00000000 00000000",
                                   "72 0001 77 01 61 00 00000000",
                                   "4d 00000001 03 ff",
                                   "66 77 01 61 00000000 00",
                                   "59 77 01 61 00000000 00000000",
                                   "78 77 01 61 0000000000000000 00000000",
                                   "70 00000006 0102",
                                   "71 77 01 61 77 01 62 6102"})
    CHECK_MESSAGE(skips(h), h);
  for (std::string_view const h : {"79 00", "70 00000000", "70 00000003", "70 00000006 01", "71 77 01 61 77 01 62 62", "61",
                                   "6e ff 00", "6d ffffffff", "6c ffffffff", "74 ffffffff 6a", ""})
    CHECK_MESSAGE(!skips(h), h);
}

TEST_CASE("etf: nesting and big integers are limited in both directions") {
  etf::bounds most;
  most.depth = 3;
  CHECK(term("[[[300]]]", most) != "no");
  CHECK(term("[[[[300]]]]", most) == "no");
  CHECK(term(R"({"a":{"a":{"a":{}}}})", most) == "no");
  CHECK(json_of(bytes("6c00000001 6c00000001 6c00000001 6101 6a 6a 6a"), most) == "[[[1]]]");
  CHECK(json_of(bytes("6c00000001 6c00000001 6c00000001 6c00000001 6101 6a 6a 6a 6a"), most) == "no");
  CHECK(skips("6801 6801 6801 6a", most));
  CHECK_FALSE(skips("6801 6801 6801 6801 6a", most));
  std::string deep;
  for (int i = 0; i < 1'000'000; ++i) deep += "\x68\x01";
  CHECK(etf::reader(deep).skip(64, etf::terms::any) == phx::errc::too_deep);

  most.integer_bytes = 9;
  CHECK(term("4722366482869645213695", most) == "6e0900ffffffffffffffffff");
  CHECK(term("4722366482869645213696", most) == "no");
  CHECK(term(std::string(100'000, '9')) == "no");
  CHECK(json_of(bytes("6e 09 00 ffffffffffffffffff"), most) == "4722366482869645213695");
  CHECK(json_of(bytes("6e 0a 00 ffffffffffffffffffff"), most) == "no");
  CHECK(term("1e400") == "no");
}

TEST_CASE("etf: JSON survives a round trip") {
  for (std::string_view const text :
       {R"({"a":[1,-2,3.5,{"b":"c\"\\\n"}],"d":123456789012345678901234567890,"e":null,"f":true,"g":[]})", "[]", "{}",
        "\"\xf0\x9f\x98\x80\"", "-12345678901", "[0,1,2]", "0.1"}) {
    std::string out;
    REQUIRE(etf::writer(out).json(text, {}));
    CHECK(json_of(out) == text);
  }
}

TEST_CASE("etf: integers of every size survive a round trip, and have the expected bytes") {
  // 2^k as text, doubled digit by digit, and its bytes: a one and zeros.
  std::string two = "1";
  for (unsigned k = 0; k < 1020; ++k) {
    for (std::string const sign : {"", "-"}) {
      std::string out;
      REQUIRE(etf::writer(out).json(sign + two, {}));
      CHECK(json_of(out) == sign + two);
      if (k < 64) continue;
      CHECK(out.size() == 3 + k / 8 + 1);
      CHECK(static_cast<unsigned char>(out.back()) == 1u << k % 8);
      CHECK(out.find_first_not_of('\0', 3) == out.size() - 1);
    }
    int carry = 0;
    for (std::size_t i = two.size(); i-- != 0;) {
      int const d = (two[i] - '0') * 2 + carry;
      two[i] = static_cast<char>('0' + d % 10);
      carry = d / 10;
    }
    if (carry != 0) two.insert(two.begin(), '1');
  }
  for (std::size_t digits = 19; digits <= 308; ++digits)
    for (std::string const& text :
         {std::string(digits, '9'), "1" + std::string(digits - 1, '0'), "1" + std::string(digits - 1, '7')}) {
      std::string out;
      REQUIRE(etf::writer(out).json(text, {}));
      CHECK(json_of(out) == text);
    }
  CHECK(json_of(bytes("6e 05 00 0000000000")) == "0");
  CHECK(json_of(bytes("6e 05 00 ff00000000")) == "255");
  CHECK(json_of(bytes("6e 00 01")) == "0");
}

TEST_CASE("redis wire: our own format carries the payload unchanged and accepts nothing inexact") {
  std::string out;
  REQUIRE(redis_wire::write(out, false, "a", spoken("room:1", "e", R"( {"n":1.0e5, "b":12345678901234567890} )")));
  auto h = redis_wire::read(out);
  REQUIRE(h);
  CHECK(h->node == "a");
  CHECK(h->topic == "room:1");
  CHECK(h->event == "e");
  CHECK(h->key.empty());
  CHECK(h->payload == R"( {"n":1.0e5, "b":12345678901234567890} )");
  CHECK_FALSE(h->only);
  CHECK_FALSE(h->bytes);
  for (std::size_t n = 0; n < out.size(); ++n) CHECK_FALSE(redis_wire::read(std::string_view(out).substr(0, n)));
  CHECK_FALSE(redis_wire::read(out + "x"));
  auto const with = [&](std::size_t at, char c) {
    std::string changed = out;
    changed[at] = c;
    return redis_wire::read(changed).has_value();
  };
  CHECK_FALSE(with(3, 2));                          // another version
  CHECK_FALSE(with(4, 4));                          // an unknown flag
  CHECK_FALSE(with(out.size() - 2, '{'));           // not JSON
  CHECK_FALSE(with(redis_wire::head + 2, '\xff'));  // a topic that is not UTF-8
  CHECK(with(4, 2));                                // bytes are not checked

  std::string direct;
  REQUIRE(redis_wire::write(direct, true, "b", {"t", "e", phx::payload::binary("\xff"), {}, "EURUSD"}));
  h = redis_wire::read(direct);
  REQUIRE(h);
  CHECK(h->only);
  CHECK(h->bytes);
  CHECK(h->payload == "\xff");
  CHECK(h->key == "EURUSD");
  CHECK_FALSE(redis_wire::write(direct, true, "b", {std::string(65'536, 't'), "e", phx::payload{}, {}}));
}

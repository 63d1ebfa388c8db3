#include <phx/message/payload.hpp>

#include <support/room.hpp>

using phx::payload;
using support::metered;

TEST_CASE("payload: the default is an empty object") {
  payload const p;
  CHECK(p.raw() == "{}");
  CHECK(p.is_object());
  CHECK(p.valid());
  CHECK_FALSE(p.is_binary());
}

TEST_CASE("payload: JSON is kept unchanged, other text is not valid") {
  CHECK(payload::json(R"( {"a": 123456789012345678901234567890} )").raw() == R"( {"a": 123456789012345678901234567890} )");
  CHECK(payload::json(" \n{}").is_object());
  for (char const* const text : {"[1]", "7", "\"x\"", "null"}) {
    CHECK(payload::json(text).valid());
    CHECK_FALSE(payload::json(text).is_object());
  }
  for (char const* const text : {"{", "", "{}x", "\"\xff\"", "{\"a\":01}", "\xEF\xBB\xBF{}"}) {
    payload const p = payload::json(text);
    CHECK_FALSE(p.valid());
    CHECK_FALSE(p.is_object());
    CHECK(p.raw().empty());
  }
}

TEST_CASE("payload: bytes may be any bytes, or none") {
  std::string const bytes("\x00\xff{", 3);
  payload const p = payload::binary(bytes);
  CHECK(p.is_binary());
  CHECK_FALSE(p.is_object());
  CHECK(p.raw() == bytes);
  CHECK(payload::binary("").valid());
  CHECK(payload::binary("").is_binary());
}

TEST_CASE("payload: the text of a JSON library is not checked again") {
  CHECK(payload::trusted_json("[1]").raw() == "[1]");
  CHECK(payload::trusted_json("{}").is_object());
}

TEST_CASE("payload: a copy shares, a move takes over, and assigning releases the old bytes") {
  metered::reset();
  {
    payload a = payload::json("[1]", metered::hook());
    payload b = a;
    CHECK(b.raw().data() == a.raw().data());
    payload c = std::move(a);
    CHECK(c.raw() == "[1]");
    CHECK(a.raw() == "{}");
    a = c;
    b = payload::json("[2]", metered::hook());
    CHECK(b.raw() == "[2]");
    payload& self = b;
    b = self;
    b = std::move(self);
    CHECK(b.raw() == "[2]");
    b = std::move(c);
    CHECK(b.raw() == "[1]");
  }
  CHECK(metered::bytes == 0);
}

TEST_CASE("payload: a borrowed one is a view; its copy owns its bytes") {
  std::string frame = R"({"a":1})";
  payload const borrowed = phx::detail::payload_access::borrow(frame, false);
  CHECK(borrowed.raw().data() == frame.data());
  CHECK(phx::detail::payload_access::borrowed(borrowed));
  payload const copy = borrowed;
  CHECK_FALSE(phx::detail::payload_access::borrowed(copy));
  payload assigned;
  assigned = borrowed;
  frame.assign(frame.size(), 'x');
  CHECK(copy.raw() == R"({"a":1})");
  CHECK(assigned.raw() == R"({"a":1})");
  CHECK(copy.is_object());
  payload const lent = phx::detail::payload_access::lend(copy);
  CHECK(lent.raw().data() == copy.raw().data());
}

TEST_CASE("payload: without memory it is not valid") {
  metered::reset();
  metered::fail_at = 0;
  CHECK_FALSE(payload::json("{}", metered::hook()).valid());
  metered::reset();
}

#include <phx/longpoll/sessions.hpp>

#include <doctest/doctest.h>

#include <string>

namespace {

namespace lp = phx::longpoll::detail;

std::string text_of(lp::token const& t) {
  std::string s(lp::token::text_size, '?');
  t.write(s.data());
  return s;
}

}  // namespace

TEST_CASE("sessions: a token is read as it was written, and nothing else is a token") {
  lp::token t, back;
  for (std::size_t i = 0; i < lp::token::size; ++i) t.bytes[i] = static_cast<unsigned char>(37 * i + 201);
  std::string const text = text_of(t);
  REQUIRE(back.read(text));
  CHECK(back.hash() == t.hash());
  CHECK(back.matches(t));
  CHECK(!back.read(""));
  CHECK(!back.read("null"));
  CHECK(!back.read(text.substr(1)));
  CHECK(!back.read(text + "A"));
  for (char const c : {'=', '+', '/', ' ', '%', '\0', '\x80'}) {
    std::string odd = text;
    odd[20] = c;
    CHECK(!back.read(odd));
  }
  // two bits of the last character are unused: only one spelling of each token is valid
  for (char const c : std::string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")) {
    std::string last = text;
    last.back() = c;
    if (back.read(last)) CHECK(text_of(back) == last);
  }
}

TEST_CASE("sessions: a token with any bit changed is another one") {
  lp::token t;
  for (std::size_t i = 0; i < lp::token::size * 8; ++i) {
    lp::token other = t;
    other.bytes[i / 8] = static_cast<unsigned char>(other.bytes[i / 8] ^ (1u << (i % 8)));
    CHECK((other.hash() != t.hash() || !other.matches(t)));
  }
}

TEST_CASE("sessions: random values differ") {
  phx::longpoll::entropy const chance;
  lp::token a, b;
  REQUIRE(chance.fill(chance.host, a.bytes, lp::token::size));
  REQUIRE(chance.fill(chance.host, b.bytes, lp::token::size));
  CHECK(text_of(a) != text_of(b));
  unsigned char odd[7] = {};
  CHECK(chance.fill(chance.host, odd, sizeof(odd)));
}

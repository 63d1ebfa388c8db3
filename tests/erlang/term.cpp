#include <phx/erlang/term.hpp>
#include <phx/core/text/base64.hpp>

#include <support/hex.hpp>

#include <doctest/doctest.h>

#include <string>

namespace {

using phx::errc;
using phx::term;

std::string hex(std::string_view bytes) { return support::to_hex(bytes); }
term read(std::string_view hexed) { return phx::term::read(support::from_hex(hexed)).value(); }
errc wrong(std::string_view hexed, term::bounds const& most = {}) {
  auto const r = phx::term::read(support::from_hex(hexed), most);
  return r ? errc::none : r.error().code;
}

}  // namespace

TEST_CASE("term: written as Erlang writes it") {
  CHECK(hex(term::integer(0).external()) == "836100");
  CHECK(hex(term::integer(255).external()) == "8361ff");
  CHECK(hex(term::integer(256).external()) == "836200000100");
  CHECK(hex(term::integer(-3).external()) == "8362fffffffd");
  CHECK(hex(term::integer(-2147483648).external()) == "836280000000");
  CHECK(hex(term::integer(2147483648).external()) == "836e040000000080");
  CHECK(hex(term::integer(5000000000).external()) == "836e050000f2052a01");
  CHECK(hex(term::integer(std::numeric_limits<std::int64_t>::min()).external()) == "836e08010000000000000080");
  CHECK(hex(term::integer(-2147483649).external()) == "836e040101000080");
  CHECK(hex(term::number(1.5).external()) == "83463ff8000000000000");
  CHECK(hex(term::atom("ok").external()) == "836400026f6b");
  CHECK(hex(term::atom("\xC3\xA9").external()) == "83760002c3a9");
  CHECK(hex(term::nil().external()) == "836400036e696c");
  CHECK(hex(term::text("user").external()) == "836d0000000475736572");
  CHECK(hex(term::list({}).external()) == "836a");
  CHECK(hex(term::list({term::integer(1), term::integer(255)}).external()) == "836b000201ff");
  CHECK(hex(term::list({term::integer(1), term::integer(256)}).external()) == "836c00000002610162000001006a");
  CHECK(hex(term::tuple({term::atom("ok"), term::tuple({})}).external()) == "8368026400026f6b6800");
  CHECK(hex(term::map({{term::text("a"), term::integer(1)}}).external()) == "8374000000016d00000001616101");
  CHECK(hex(term::tuple(std::vector<term>(256, term::integer(7))).external()).starts_with("8369000001006107"));
}

TEST_CASE("term: a written term is read") {
  for (std::int64_t const n : {std::int64_t{0}, std::int64_t{255}, std::int64_t{256}, std::int64_t{-1},
                               std::int64_t{-2147483648}, std::int64_t{-2147483649}, std::int64_t{1} << 40,
                               std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    term const t = term::read(term::integer(n).external()).value();
    CHECK(t.view().kind() == phx::term_kind::integer);
    CHECK(t.view().integer() == n);
  }
  term const all = term::map({{term::text("id"), term::integer(7)},
                              {term::atom("admin"), term::boolean(true)},
                              {term::text("roles"), term::list({term::text("a"), term::text("b")})},
                              {term::text("bytes"), term::list({term::integer(1), term::integer(200)})},
                              {term::integer(3), term::number(-2.5)},
                              {term::text("none"), term::nil()}});
  term const back = term::read(all.external()).value();
  phx::term_view const v = back.view();
  CHECK(v.kind() == phx::term_kind::map);
  CHECK(v.size() == 6);
  CHECK(v.find("id")->integer() == 7);
  CHECK(v.find_atom("admin")->boolean() == true);
  CHECK_FALSE(v.find("admin"));
  CHECK_FALSE(v.find_atom("id"));
  CHECK(v.find("roles")->elements()[1].text() == "b");
  CHECK(v.find("roles")->size() == 2);
  auto const bytes = v.find("bytes")->elements();
  CHECK(v.find("bytes")->size() == 2);
  REQUIRE(bytes.size() == 2);
  CHECK(bytes[1].integer() == 200);
  CHECK(bytes[1].kind() == phx::term_kind::integer);
  CHECK(bytes[1].elements().empty());
  CHECK(term(bytes[1]).view().integer() == 200);
  CHECK(v.elements().size() == 12);
  CHECK(v.elements()[9].number() == -2.5);
  CHECK(v.find("none")->is_nil());
  CHECK_FALSE(v.find("none")->boolean());
  CHECK_FALSE(v.integer());
  CHECK_FALSE(v.text());
  CHECK_FALSE(v.atom());
  CHECK_FALSE(v.find("id")->find("x"));
  CHECK_FALSE(v.find("id")->number());
  CHECK(term(*v.find("roles")).external() == term::list({term::text("a"), term::text("b")}).external());
}

TEST_CASE("term: every encoding of a value is read") {
  CHECK(read("836e0801ffffffffffffff7f").view().integer() == -std::numeric_limits<std::int64_t>::max());
  CHECK(read("836f00000001002a").view().integer() == 42);
  CHECK(read("836e0a002a000000000000000000").view().integer() == 42);
  CHECK_FALSE(read("836e0900000000000000000001").view().integer());
  CHECK_FALSE(read("836e0800ffffffffffffffff").view().integer());
  CHECK(read("836e0800ffffffffffffffff").view().kind() == phx::term_kind::integer);
  CHECK(read("83640002c3a9").view().atom() == "\xC3\x83\xC2\xA9");  // Latin-1
  CHECK(read("837302c3a9").view().atom() == "\xC3\x83\xC2\xA9");
  CHECK(read("83760002c3a9").view().atom() == "\xC3\xA9");
  CHECK(read("837702c3a9").view().is_atom("\xC3\xA9"));
  CHECK(read("83690000000161ff").view().elements()[0].integer() == 255);
  CHECK(read("836c0000000161016a").view().size() == 1);
}

TEST_CASE("term: an invalid term, or one beyond a limit, is refused with its error") {
  CHECK(wrong("") == errc::truncated);
  CHECK(wrong("83") == errc::truncated);
  CHECK(wrong("82") == errc::wrong_shape);
  CHECK(wrong("836100ff") == errc::wrong_shape);  // extra bytes after it
  std::string const whole =
      hex(term::map({{term::text("k"), term::list({term::integer(300), term::number(1), term::atom("x")})},
                     {term::integer(1LL << 40), term::tuple({term::list({term::integer(1)})})}})
              .external());
  for (std::size_t n = 2; n < whole.size(); n += 2) CHECK(wrong(std::string_view(whole).substr(0, n)) == errc::truncated);
  CHECK(wrong(whole) == errc::none);
  CHECK(wrong("836cffffffff6100") == errc::truncated);
  CHECK(wrong("8374ffffffff") == errc::truncated);
  CHECK(wrong("836dffffffff61") == errc::truncated);
  CHECK(wrong("836fffffffff0061") == errc::truncated);
  CHECK(wrong("836c0000000161016102") == errc::wrong_shape);  // [1 | 2]
  CHECK(wrong("83467ff0000000000000") == errc::wrong_shape);
  CHECK(wrong("8346fff8000000000000") == errc::wrong_shape);
  for (std::string_view const live :
       {"8358", "8367", "835a", "8372", "834d", "8379", "8370", "8371", "8375", "8363", "83ff", "8300"})
    CHECK_MESSAGE(wrong(live) == errc::unknown_kind, live);

  auto const nested = [](unsigned depth) {
    std::string t = "83";
    while (depth-- != 0) t += "6801";
    return t + "6a";
  };
  CHECK(wrong(nested(64)) == errc::none);
  CHECK(wrong(nested(65)) == errc::too_deep);
  CHECK(wrong(nested(3), {.depth = 2}) == errc::too_deep);
  CHECK(wrong(nested(40'000)) == errc::limit_reached);
  CHECK(wrong(nested(30'000)) == errc::too_deep);
  CHECK(wrong("836d0000000461626364", {.bytes = 9}) == errc::limit_reached);
  CHECK(wrong("836d0000000461626364", {.bytes = 10}) == errc::none);
}

TEST_CASE("term: a compressed term is inflated up to a limit, and an invalid one refused") {
  auto const packed = [](std::string_view size, std::string_view zlib) {
    return "8350" + std::string(size) + std::string(zlib);
  };
  // 200 bytes of text, compressed by zlib: stored, and with fixed codes
  std::string const stored =
      "780101cd0032ff6d000000c8616263616263616264616263616263616264616263616263616264616263616263616264616263616263616264616"
      "26361"
      "626361626461626361626361626461626361626361626461626361626361626461626361626361626461626361626361626461626361626361626"
      "46162"
      "636162636162646162636162636162646162636162636162646162636162636162646162636162636162646162636162636162646162636162636"
      "16264"
      "61626361626361626461626361626361626461626361626361626461620d524ddb";
  std::string const fixed = "7801cb656060389198940c4629439c01000d524ddb";
  std::string expected;
  while (expected.size() < 200) expected += "abcabcabd";
  expected.resize(200);
  for (std::string const& z : {stored, fixed}) {
    std::string const whole = packed("000000cd", z);
    REQUIRE(wrong(whole) == errc::none);
    CHECK(read(whole).view().text() == expected);
    CHECK(wrong(packed("000000cc", z)) == errc::wrong_shape);
    CHECK(wrong(packed("000000ce", z)) == errc::wrong_shape);
    CHECK(wrong(packed("ffffffff", z)) == errc::limit_reached);
    CHECK(wrong(whole, {.inflated = 204}) == errc::limit_reached);
    CHECK(wrong(whole + "00") == errc::wrong_shape);
    for (std::size_t n = 12; n < whole.size(); n += 2) CHECK(wrong(whole.substr(0, n)) == errc::wrong_shape);
  }
  CHECK(wrong("8350000000") == errc::truncated);

  // dynamic codes: zlib's output for the letters computed below
  std::string letters;
  for (unsigned i = 0; i < 600; ++i) letters += "aeioutnsr"[(i * i / 7 + i / 3 + i * i * i / 11) % 9];
  std::string const dynamic =
      "eNodkTmSQ0EIQ11zSqcEBASGKhD3n0cHDtzoa/19Pn9fM9vO3upOj/DO1ISZZOVpEat0bUYAiKriZpHiYbwFQDnVY5kFiblbA5iclW/"
      "ZTkfJMwGs1mt3a4Wg"
      "gmuZ2hZ9943CQB+idPDW7IniZweAEJD4ewI1uwPADJCroxPbwdcAcLHpKF+GVCQqYXOi+"
      "EmO3JaHQLWtcXotkNJh7Qm189vYHrecAeAyUkrdkHTlicJnlyHC"
      "kCO0Wi9PIsltnSaGK8XiTm5W5hS6a/QrF/"
      "U5Fk8UP0W3lEAdM+cobgm+IAOZp5zQuhzwz6MwFU1QJalHqNxciOIHT4GruqrYhpaIIujfWgCODotMVX4Z0vxG"
      "ilcDxYzBeKL4CVG9r5CD/tZiDuprELyRrPwGfyMXNfwDh0sA6Q==";
  std::string const zlib =
      phx::detail::from_base64(dynamic, phx::detail::base64_alphabet::standard, phx::detail::base64_padding::required)
          .value();
  std::string const head("\x83\x50\x00\x00\x02\x5d", 6);
  phx::result<term> const t = term::read(head + zlib);
  REQUIRE(t);
  CHECK(t->view().text() == letters);

  // with any byte changed: refused by the checksum or earlier, or (in unused bits) the same
  for (std::size_t i = 0; i < zlib.size(); ++i)
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string bad = zlib;
      bad[i] = static_cast<char>(static_cast<unsigned char>(bad[i]) ^ (1u << bit));
      phx::result<term> const r = term::read(head + bad);
      if (r) CHECK(r->view().text() == letters);
    }
}

#include <phx/core/text/json.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <string>
#include <vector>

namespace {

namespace json = phx::json;
using phx::errc;
using namespace std::literals;

std::string in_quotes(std::string_view text) {
  std::string out = "?";
  json::append_quoted(out, text);
  out.erase(0, 1);
  return out;
}
std::string unescaped(std::string_view token) {
  std::string out(token.size(), '?');
  out.resize(json::unescape(token, out.data()));
  return out;
}
std::string nested(std::size_t depth, std::string_view open, std::string_view close, std::string_view inner = "") {
  std::string text;
  for (std::size_t i = 0; i < depth; ++i) text += open;
  text += inner;
  for (std::size_t i = 0; i < depth; ++i) text += close;
  return text;
}

/// Puts each piece at every offset in a word and in two vectors, so that it is scanned at every alignment of the blocks of
/// eight, sixteen and thirty-two bytes.
template <class F>
void at_every_phase(std::string_view piece, F&& f) {
  for (std::size_t before = 0; before < 34; ++before)
    for (std::size_t after : {0u, 5u, 9u, 33u})
      f("\"" + std::string(before, 'a') + std::string(piece) + std::string(after, 'b') + "\"");
}

}  // namespace

TEST_CASE("json: a value of RFC 8259 is valid") {
  for (std::string_view const text : {"null",
                                      "true",
                                      "false",
                                      "0",
                                      "-0",
                                      "1",
                                      "-1",
                                      "10",
                                      "1.5",
                                      "-0.25",
                                      "1e3",
                                      "1E+3",
                                      "1e-3",
                                      "0e0",
                                      "\"\"",
                                      "\"a\"",
                                      "[]",
                                      "{}",
                                      "[[]]",
                                      "[1,2,3]",
                                      "[null,true,false]",
                                      R"({"a":1})",
                                      R"({"":{"a":[]}})",
                                      " \r\n\t[ 1 , 2 ] \n",
                                      R"({ "a" : 1 , "b" : [ ] })",
                                      R"({"a":1,"a":2})",
                                      R"("\"\\\/\b\f\n\r\t\u0000\u00e9\uFFFF\ud83d\ude00")",
                                      "\"\x7f\"",
                                      "9007199254740993",
                                      "123456789012345678901234567890",
                                      "5e-324",
                                      "1e-400",
                                      "1.7976931348623157e308"}) {
    CAPTURE(text);
    CHECK(json::valid(text));
    CHECK(nlohmann::json::accept(text));
  }
}

TEST_CASE("json: an invalid value is refused") {
  for (std::string_view const text : std::vector<std::string_view>{"",
                                                                   " ",
                                                                   "nul",
                                                                   "nulL",
                                                                   "nullx",
                                                                   "tru",
                                                                   "True",
                                                                   "fals",
                                                                   "hello",
                                                                   "01",
                                                                   "-",
                                                                   "+1",
                                                                   "1.",
                                                                   ".5",
                                                                   "1.e3",
                                                                   "1e",
                                                                   "1e+",
                                                                   "-01",
                                                                   "00",
                                                                   "0x1",
                                                                   "NaN",
                                                                   "Infinity",
                                                                   "-Infinity",
                                                                   "1 2",
                                                                   "[",
                                                                   "]",
                                                                   "{",
                                                                   "}",
                                                                   "[1",
                                                                   "[1,",
                                                                   "[1,]",
                                                                   "[,1]",
                                                                   "[,]",
                                                                   "[1 2]",
                                                                   "[1]]",
                                                                   "[1}",
                                                                   "{]",
                                                                   "{1:2}",
                                                                   R"({"a"})",
                                                                   R"({"a":})",
                                                                   R"({"a":1,})",
                                                                   R"({,"a":1})",
                                                                   R"({"a":1 "b":2})",
                                                                   R"({"a" 1})",
                                                                   R"({"a":1]})",
                                                                   R"({"a"::1})",
                                                                   R"({a:1})",
                                                                   "'a'",
                                                                   "\"",
                                                                   "\"a",
                                                                   R"("\")",
                                                                   R"("\a")",
                                                                   R"("\u")",
                                                                   R"("\u12")",
                                                                   R"("\u123g")",
                                                                   R"("\U0041")",
                                                                   R"("\x41")",
                                                                   "[1]x",
                                                                   "[] []",
                                                                   "//\n1",
                                                                   "[1/**/]",
                                                                   "\"a\nb\"",
                                                                   "\"\t\"",
                                                                   "\"\x1f\"",
                                                                   "\"\0\""sv,
                                                                   "[]\0"sv,
                                                                   "\0"sv,
                                                                   "\v1",
                                                                   "\xc2\xa0"}) {
    CAPTURE(text);
    CHECK(json::check(text) != errc::none);
    if (text.find('\0') == std::string_view::npos) CHECK_FALSE(nlohmann::json::accept(text));
  }
}

TEST_CASE("json: a byte order mark is refused, where nlohmann skips it") {
  CHECK_FALSE(json::valid("\xef\xbb\xbf{}"));
  CHECK(nlohmann::json::accept("\xef\xbb\xbf{}"));
  CHECK(json::valid("\"\xef\xbb\xbf\""));
}

TEST_CASE("json: a number that a double cannot hold is refused") {
  for (std::string const& text :
       {"1e309"s, "1e400"s, "-1e309"s, "[1e400]"s, "10e308"s, "0.1e310"s, "1.8e308"s, "-1.7976931348623159e308"s,
        "1e99999999999999999999"s, std::string(400, '9'), "1" + std::string(309, '0'), "1" + std::string(320, '0') + ".5",
        "0." + std::string(50, '0') + "1e400", "17976931348623159e292"s, "1.79769313486231581e308"s}) {
    CAPTURE(text);
    CHECK(json::check(text) == errc::not_json);
    CHECK_FALSE(nlohmann::json::accept(text));
  }
  for (std::string const& text :
       {"1e308"s, "1.7976931348623157e308"s, "1.7976931348623158e308"s, "17976931348623157e292"s, "0e999999999999999999999"s,
        "0.0e400"s, "1e-99999999999999999999"s, "-0e400"s, std::string(308, '9'), "1" + std::string(308, '0'),
        "0." + std::string(400, '0') + "1", "0." + std::string(100, '0') + "1e400", std::string(400, '9') + "e-100",
        "1.797693134862315807e308"s, "179769313486231570.0e291"s}) {
    CAPTURE(text);
    CHECK(json::valid(text));
    CHECK(nlohmann::json::accept(text));
  }
}

TEST_CASE("json: the last number that rounds to a double and the first that does not") {
  // 2^1024 - 2^970, half way between the largest double and the next power of two
  std::string const half =
      "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887"
      "910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819"
      "860834936475292719074168444365510704342711559699508093042880177904174497792";
  std::string below = half;
  below.back() = '1';
  CHECK(half.size() == 309);
  CHECK_FALSE(json::valid(half));
  CHECK_FALSE(json::valid(half + ".0"));
  CHECK_FALSE(json::valid(half.substr(0, 1) + "." + half.substr(1) + "e308"));
  CHECK_FALSE(json::valid("-0.00" + half + "e311"));
  CHECK(json::valid(below));
  CHECK(json::valid(below + ".99999"));
  CHECK(json::valid(below.substr(0, 1) + "." + below.substr(1) + "e308"));
  for (std::string const& text : {half, below, half + ".0", below + ".99999"})
    CHECK(json::valid(text) == nlohmann::json::accept(text));
}

TEST_CASE("json: strings are read alike at every alignment") {
  for (std::string_view const good : std::vector<std::string_view>{"",
                                                                   "\\n",
                                                                   "\\\\",
                                                                   "\\\"",
                                                                   "\\u00e9",
                                                                   "\\ud83d\\ude00",
                                                                   "é",
                                                                   "€",
                                                                   "😀",
                                                                   "éé",
                                                                   "привет мир",
                                                                   "日本語のテキスト",
                                                                   "한글",
                                                                   "ไทย",
                                                                   "ሀ",
                                                                   "a😀b€céd",
                                                                   "\x7f",
                                                                   "\xed\x9f\xbf",
                                                                   "\xee\x80\x80",
                                                                   "\xf4\x8f\xbf\xbf",
                                                                   "\xe0\xa0\x80",
                                                                   "\xf0\x90\x80\x80",
                                                                   "\xc2\x80",
                                                                   "\xdf\xbf"})
    at_every_phase(good, [&](std::string const& text) {
      CAPTURE(text);
      CHECK(json::valid(text));
      CHECK(nlohmann::json::accept(text));
      CHECK(unescaped(text) == nlohmann::json::parse(text).get<std::string>());
    });
  for (std::string_view const bad :
       std::vector<std::string_view>{"\n", "\x1f", "\0"sv, "\"", "\\", "\\x", "\\u12", "\\ud800", "\\udc00", "\\ud800x",
                                     "\\ud800\\n", "\\ud800\\u0041", "\\ude00\\ud83d", "\\ud800\\ud800"})
    at_every_phase(bad, [&](std::string const& text) {
      CAPTURE(text);
      // A backslash before the text may make an escape of it; nlohmann decides.
      CHECK(json::valid(text) == (text.find('\0') == std::string::npos && nlohmann::json::accept(text)));
      CHECK(json::check(text) != errc::invalid_utf8);
    });
}

TEST_CASE("json: blocks of eight and of sixteen bytes give the same result") {
  using json::detail::scanner_of;
  auto const same = [](std::string const& text) {
    CAPTURE(text);
    std::vector<char> const exact(text.begin(), text.end());
    char const* const from = exact.data();
    scanner_of<phx::detail::word_block> words(from + exact.size(), 16);
    scanner_of<phx::detail::byte_block> blocks(from + exact.size(), 16);
    CHECK(words.value(from, *from) == blocks.value(from, *from));
    CHECK(words.fault == blocks.fault);
    CHECK(words.stopped == blocks.stopped);
    CHECK(words.escaped == blocks.escaped);
  };
  for (int c = 0; c < 256; ++c)
    for (std::size_t const before : {0u, 1u, 7u, 8u, 15u, 16u, 31u, 32u, 40u})
      for (std::size_t const after : {0u, 3u, 40u})
        same('"' + std::string(before, 'a') + static_cast<char>(c) + std::string(after, 'b') + '"');
  for (std::string_view const piece : {"\\n", "\\", "é", "\xc3", "日本語", "\xe6\x97", "\x1f"})
    at_every_phase(piece, [&](std::string const& text) {
      same(text);
      same("[" + text + "]");
      same("{" + text + ":" + text + "}");
    });
}

TEST_CASE("json: invalid UTF-8 decides the close code wherever it is; only text after the first fault is rechecked") {
  auto const reason = [](std::string_view text) {
    json::cursor c(text, 2);
    std::string_view raw;
    REQUIRE_FALSE((c.value(raw) && c.done()));
    return c.refusal();
  };
  for (std::string_view const broken : {"[1 2", "[\"\x01\"", "[\"\\x\"", "[[[", "[1] 2", "[tru", "[-", "[1e400"}) {
    CAPTURE(broken);
    CHECK(reason(broken) == (broken == "[[[" ? errc::too_deep : errc::not_json));
    for (std::string_view const valid : {"é", "日本語 and more of it", "plain, longer than a word and than a vector"}) {
      CHECK(reason(std::string(broken) + std::string(valid)) == reason(broken));
      CHECK(reason(std::string(broken) + std::string(valid) + "\xc3") == errc::invalid_utf8);
      CHECK(reason(std::string(broken) + "\xff" + std::string(valid)) == errc::invalid_utf8);
    }
  }
  CHECK(reason("[\"\xc3\"]") == errc::invalid_utf8);
}

TEST_CASE("json: a compact string is short, has no escapes, and is followed by a comma") {
  std::string const far(32, ' ');
  std::string_view raw;
  std::string const text = "\"ab\",\"\",\"123456789012345\",1" + far;
  json::cursor some(text, 2);
  REQUIRE(some.compact_string(raw));
  CHECK(raw == "\"ab\"");
  REQUIRE(some.compact_string(raw));
  CHECK(raw == "\"\"");
  if constexpr (phx::detail::byte_block::size == 16) {
    REQUIRE(some.compact_string(raw));
    CHECK(raw == "\"123456789012345\"");
    CHECK_FALSE(some.compact_string(raw));
    REQUIRE(some.value(raw));
    CHECK(raw == "1");
    CHECK(some.done());
  }
  for (std::string_view const other :
       {"\"a\" ,", "\"a\"]", " \"a\",", "\"a\\n\",", "\"é\",", "\"a\n\",", "\"1234567890123456\",", "7,"}) {
    CAPTURE(other);
    std::string const whole = std::string(other) + far;
    json::cursor none(whole, 2);
    CHECK_FALSE(none.compact_string(raw));
  }
  // A sanitizer detects a read beyond the end.
  for (std::string_view const short_one : {"", "\"", "\"a", "\"a\"", "\"a\",", "\"a\",\"b\""}) {
    std::vector<char> const exact(short_one.begin(), short_one.end());
    json::cursor none({exact.data(), exact.size()}, 2);
    CHECK_FALSE(none.compact_string(raw));
  }
}

TEST_CASE("json: text that is not UTF-8 is distinguished from text that is not JSON") {
  for (std::string_view const bad : {"\x80",
                                     "\xbf",
                                     "\xc0\x80",
                                     "\xc1\xbf",
                                     "\xc2",
                                     "\xc2\x41",
                                     "\xe0\x80\x80",
                                     "\xe0\x9f\xbf",
                                     "\xed\xa0\x80",
                                     "\xed\xbf\xbf",
                                     "\xe2\x82",
                                     "\xe2\x28\xa1",
                                     "\xe2\x82\x28",
                                     "\xf0\x80\x80\x80",
                                     "\xf0\x8f\xbf\xbf",
                                     "\xf4\x90\x80\x80",
                                     "\xf5\x80\x80\x80",
                                     "\xf0\x9f\x98",
                                     "\xf0\x28\x8c\xbc",
                                     "\xf0\x9f\x28\xbc",
                                     "\xf0\x9f\x98\x28",
                                     "\xff",
                                     "\xfe",
                                     "\xc3\xa9\xa9",
                                     "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1"})
    for (std::string_view const around : {"", "привет", "日本語"})
      at_every_phase(std::string(around) + std::string(bad), [&](std::string const& text) {
        CAPTURE(text);
        CHECK(json::check(text) == errc::invalid_utf8);
        CHECK_FALSE(json::utf8(text));
        CHECK_FALSE(nlohmann::json::accept(text));
      });
  CHECK(json::check("[\xc3\x28]") == errc::not_json);  // outside strings all JSON is ASCII
  CHECK(json::check("{\"\xc3(\"}") == errc::invalid_utf8);
  CHECK(json::utf8(""));
  CHECK(json::utf8("plain ASCII, longer than a word"));
  CHECK(json::utf8("ASCII, dann Grüße, ₤, 😀 und mehr"));
  CHECK(json::utf8("привет \"мир\"\n\x01 日本語"));  // UTF-8 includes characters that a string must not contain
}

TEST_CASE("json: nesting is limited, for arrays and objects alike") {
  for (std::uint32_t const depth : {1u, 2u, 63u, 64u, 65u, 127u, 128u, 129u, 1024u}) {
    CAPTURE(depth);
    for (auto const& [open, close] :
         std::vector<std::pair<std::string_view, std::string_view>>{{"[", "]"}, {"{\"a\":", "}"}, {"[ {\"k\" : ", " } ]"}}) {
      std::size_t const step = open.front() == '[' && open.size() > 1 ? 2 : 1;
      if (depth % step != 0) continue;
      CHECK(json::check(nested(depth / step, open, close, "1"), depth) == errc::none);
      CHECK(json::check(nested(depth / step + 1, open, close, "1"), depth) == errc::too_deep);
    }
  }
  CHECK(json::check("1", 0) == errc::none);
  CHECK(json::check("[]", 0) == errc::too_deep);
  CHECK(json::valid(nested(1024, "[", "]")));
  CHECK_FALSE(json::valid(nested(1025, "[", "]")));
  CHECK(json::check(nested(json::deepest, "[", "]"), 1'000'000) == errc::none);
  CHECK(json::check(nested(json::deepest + 1, "[", "]"), 1'000'000) == errc::too_deep);
}

TEST_CASE("json: the bracket that closes a container must match, at every depth") {
  for (std::size_t const depth : {1u, 2u, 63u, 64u, 65u, 66u, 128u, 129u, 200u}) {
    CAPTURE(depth);
    // Arrays and objects in an irregular order, so that a lost bit is detected.
    std::string open, close;
    for (std::size_t i = 0; i < depth; ++i) {
      bool const object = (i * i + i / 3) % 3 == 0;
      open += object ? "{\"k\":" : "[";
      close.insert(close.begin(), object ? '}' : ']');
    }
    CHECK(json::valid(open + "0" + close));
    CHECK_FALSE(json::valid(open + "0" + close.substr(1)));
    for (std::size_t i = 0; i < depth; ++i) {
      std::string wrong = close;
      wrong[i] = wrong[i] == '}' ? ']' : '}';
      CHECK_FALSE(json::valid(open + "0" + wrong));
    }
  }
}

TEST_CASE("json: truncated text is refused, and never read beyond its end") {
  std::string const text = R"({"list":[1,-2.5e10,"a\u00e9\ud83d\ude00",null,true,false,{"k":"привет 日本語 😀"}],"x":[[]]})";
  REQUIRE(json::valid(text));
  for (std::size_t n = 0; n < text.size(); ++n) {
    std::vector<char> const exact(
        text.begin(), text.begin() + static_cast<std::ptrdiff_t>(n));  // a sanitizer detects a read beyond the end
    CHECK_FALSE(json::valid({exact.data(), exact.size()}));
  }
}

TEST_CASE("json: changing one byte changes the result as it does with nlohmann") {
  std::string const text = R"( {"list":[1,-2.5e10,"a\u00e9\ud83d\ude00",null,true,{"k":"при日😀"}],"x":[[],{}]} )";
  for (std::size_t i = 0; i < text.size(); ++i)
    for (int c = 1; c < 256; ++c) {
      std::string changed = text;
      changed[i] = static_cast<char>(c);
      if (json::valid(changed) == nlohmann::json::accept(changed)) continue;
      CAPTURE(changed);
      FAIL_CHECK("nlohmann says otherwise");
    }
}

TEST_CASE("json: a cursor returns the values of an envelope without the spaces around them") {
  json::cursor c(" [ \"1\" , null,{\"a\" : [ 1 ]} ,\"e\\n\" ] \n", 8);
  std::string_view raw;
  CHECK(c.take('['));
  CHECK(c.value(raw));
  CHECK(raw == "\"1\"");
  CHECK(c.plain());
  CHECK_FALSE(c.take(']'));
  CHECK(c.take(','));
  CHECK(c.value(raw));
  CHECK(raw == "null");
  CHECK(c.take(','));
  CHECK(c.value(raw));
  CHECK(raw == "{\"a\" : [ 1 ]}");
  CHECK(c.take(','));
  CHECK(c.value(raw));
  CHECK(raw == "\"e\\n\"");
  CHECK_FALSE(c.plain());
  CHECK_FALSE(c.done());
  CHECK(c.take(']'));
  CHECK(c.done());
  CHECK(c.fault() == errc::none);
  CHECK_FALSE(c.value(raw));
  CHECK(c.fault() == errc::not_json);
  CHECK_FALSE(json::cursor("", 1).take('\0'));
}

TEST_CASE("json: each value of a cursor may nest as deep as configured") {
  json::cursor c("[[1]] [[[1]]]", 2);
  std::string_view raw;
  CHECK(c.value(raw));
  CHECK(raw == "[[1]]");
  CHECK_FALSE(c.value(raw));
  CHECK(c.fault() == errc::too_deep);
}

TEST_CASE("json: same_string compares unescaped strings") {
  CHECK(json::same_string(R"("1")", R"("\u0031")"));
  CHECK(json::same_string(R"("\u0031")", R"("1")"));
  CHECK(json::same_string(R"("\u00e9")", "\"é\""));
  CHECK(json::same_string(R"("\ud83d\ude00")", "\"😀\""));
  CHECK(json::same_string(R"("\ud83d\ude00x")", R"("\uD83D\uDE00\u0078")"));
  CHECK(json::same_string(R"("\/")", R"("/")"));
  CHECK(json::same_string(R"("\n\t\"\\")", R"("\u000a\u0009\u0022\u005c")"));
  CHECK(json::same_string(R"("")", R"("")"));
  CHECK_FALSE(json::same_string(R"("1")", R"("2")"));
  CHECK_FALSE(json::same_string(R"("1")", R"("\u00311")"));
  CHECK_FALSE(json::same_string(R"("\u00e9")", R"("\u00e8")"));
  CHECK_FALSE(json::same_string(R"("")", R"("\u0000")"));
  CHECK_FALSE(json::same_string(R"("1")", "1"));
  CHECK_FALSE(json::same_string("1", "1"));
  CHECK_FALSE(json::same_string("null", "null"));
  CHECK_FALSE(json::same_string("", ""));
  CHECK_FALSE(json::same_string("\"", "\""));
}

TEST_CASE("json: a plain string has no escapes") {
  CHECK(json::plain(R"("abc")"));
  CHECK(json::plain("\"é\""));
  CHECK(json::plain(R"("")"));
  CHECK_FALSE(json::plain(R"("a\nb")"));
  CHECK_FALSE(json::plain("1"));
  CHECK_FALSE(json::plain("[\"a\"]"));
  CHECK_FALSE(json::plain(""));
  CHECK(json::is_string(R"("a\"")"));
  CHECK_FALSE(json::is_string("{}"));
}

TEST_CASE("json: quote escapes only what must be escaped") {
  CHECK(in_quotes("") == R"("")");
  CHECK(in_quotes("room:a/b é 😀 \x7f") == "\"room:a/b é 😀 \x7f\"");
  CHECK(in_quotes("a\"b\\c") == R"("a\"b\\c")");
  CHECK(in_quotes("\n\r\t\b\f") == R"("\n\r\t\b\f")");
  CHECK(in_quotes("\0\x01\x1f"sv) == R"("\u0000\u0001\u001f")");
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  CHECK(json::valid(in_quotes(all)));
  CHECK(unescaped(in_quotes(all)) == all);
  CHECK(nlohmann::json::parse(in_quotes(all)).get<std::string>() == all);
}

TEST_CASE("json: every UTF-16 unit is unescaped as nlohmann does, or refused") {
  for (unsigned unit = 0; unit < 0x10000; ++unit) {
    char token[16];
    std::snprintf(token, sizeof(token), "\"\\u%04x\"", unit);
    bool const surrogate = unit >= 0xd800 && unit < 0xe000;
    if (json::valid(token) == surrogate ||
        (!surrogate && unescaped(token) != nlohmann::json::parse(token).get<std::string>())) {
      CAPTURE(token);
      FAIL_CHECK("nlohmann says otherwise");
    }
  }
  CHECK(unescaped(R"("\ud800\udc00")") == "\xf0\x90\x80\x80");
  CHECK(unescaped(R"("\udbff\udfff")") == "\xf4\x8f\xbf\xbf");
}

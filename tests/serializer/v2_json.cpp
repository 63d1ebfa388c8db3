#include <phx/serializer/v2.hpp>

#include "codec.hpp"

#include <nlohmann/json.hpp>

namespace {

using namespace std::literals;
using phx::errc;
using phx::payload;
using phx::status;

struct v2 : codec {
  v2() : codec(phx::serializer_ref::of<phx::v2_json>()) {}
  /// The reply to the message decoded last.
  std::optional<std::string> reply(payload const& p, status s = status::ok) {
    return encode(phx::reply{in.join_ref, in.ref, in.topic_name, s, p});
  }
};

std::string deep(std::size_t n) { return std::string(n, '[') + std::string(n, ']'); }

}  // namespace

TEST_CASE("v2_json: a text message is an array of join_ref, ref, topic, event and payload") {
  v2 c;
  REQUIRE(c.decode(R"(["1","2","room:a","echo",{"x":1}])") == errc::none);
  CHECK(c.in.join_ref.json == R"("1")");
  CHECK(c.in.ref.json == R"("2")");
  CHECK(c.in.topic == "room:a");
  CHECK(c.in.event == "echo");
  CHECK(c.in.topic_name.json == R"("room:a")");
  CHECK(c.in.event_name.json == R"("echo")");
  CHECK(c.in.payload.raw() == R"({"x":1})");
  CHECK(c.in.payload.is_object());
  CHECK_FALSE(c.in.payload.is_binary());
}

TEST_CASE("v2_json: every frame of the table of protocol 3.3") {
  v2 c;
  payload const empty{}, x = payload::json(R"({"x":1})"), a = payload::json(R"({"a":1})"),
                         topic = payload::json(R"({"topic":"room:a"})"),
                         unmatched = payload::json(R"({"reason":"unmatched topic"})");
  phx::json_ref const one{R"("1")"}, two{R"("2")"};
  phx::json_text const room{"room:a", {}};
  CHECK(c.encode(phx::reply{one, one, room, status::ok, empty}) ==
        R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])");
  CHECK(c.encode(phx::reply{one, two, room, status::ok, x}) ==
        R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"x":1}}])");
  CHECK(c.encode(phx::push{one, {}, room, {"greeting", {}}, topic}) ==
        R"(["1",null,"room:a","greeting",{"topic":"room:a"}])");
  CHECK(c.encode(phx::broadcast{"room:a", "shout", a}) == R"([null,null,"room:a","shout",{"a":1}])");
  CHECK(c.encode(phx::reply{{}, {R"("5")"}, {"phoenix", {}}, status::ok, empty, phx::answer::heartbeat}) ==
        R"([null,"5","phoenix","phx_reply",{"status":"ok","response":{}}])");
  CHECK(c.encode(phx::reply{{}, {R"("9")"}, {"nope", {}}, status::error, unmatched, phx::answer::unmatched}) ==
        R"([null,"9","nope","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}])");
  CHECK(c.encode(phx::close_message("room:a", one)) == R"(["1","1","room:a","phx_close",{}])");
  CHECK(c.encode(phx::error_message("room:a", one)) == R"(["1","1","room:a","phx_error",{"reason":"channel_crash"}])");
  CHECK(c.op == phx::opcode::text);
}

TEST_CASE("v2_json: the end of a channel joined without a join_ref has null twice, whatever its ref") {
  v2 c;
  CHECK(c.encode(phx::close_message("t", {"null"}, {R"("10")"})) == R"([null,null,"t","phx_close",{}])");
  CHECK(c.encode(phx::error_message("t", {}, {R"("10")"})) == R"([null,null,"t","phx_error",{"reason":"channel_crash"}])");
  CHECK(c.encode(phx::close_message("t", {R"("1")"}, {R"("1")"})) == R"(["1","1","t","phx_close",{}])");
}

TEST_CASE("v2_json: refs are echoed unchanged") {
  v2 c;
  for (std::string const token : {"null", "7", "0", "-1.50", "\"\"", "\"7\"", R"("\u0031")", R"("\"\\")", "[1, 2]",
                                  R"({"a":[1]})", "true", "123456789012345678901234567890"}) {
    CAPTURE(token);
    REQUIRE(c.decode("[" + token + "," + token + R"(,"t","e",{}])") == errc::none);
    CHECK(c.in.join_ref.json == token);
    CHECK(c.reply({}) == "[" + token + "," + token + R"(,"t","phx_reply",{"status":"ok","response":{}}])");
  }
  REQUIRE(c.decode("[ null\t,\n\"1\" , \"phoenix\", \"heartbeat\" ,{ } ] \n") == errc::none);
  CHECK(c.in.join_ref.null());
  CHECK_FALSE(c.in.join_ref.absent());
  CHECK(c.in.ref.json == "\"1\"");
  CHECK(c.in.payload.raw() == "{ }");
}

TEST_CASE("v2_json: elements after the fifth are ignored, but must be JSON") {
  v2 c;
  CHECK(c.decode(R"([null,"1","phoenix","heartbeat",{},7,[8],{"nine":9}])") == errc::none);
  CHECK(c.in.payload.raw() == "{}");
  CHECK(c.decode(R"([null,"1","phoenix","heartbeat",{},7,])") == errc::not_json);
  CHECK(c.decode(R"([null,"1","phoenix","heartbeat",{},nope])") == errc::not_json);
  CHECK(c.decode(R"([null,"1","phoenix","heartbeat",{}]])") == errc::not_json);
}

TEST_CASE("v2_json: a topic or event that is not a string has no text, and is echoed unchanged") {
  v2 c;
  for (std::string const topic : {"null", "5", R"({"a":[1]})", "true", "[]"}) {
    CAPTURE(topic);
    REQUIRE(c.decode(R"(["9","9",)" + topic + R"(,"phx_leave",{}])") == errc::none);
    CHECK(c.in.topic == "");
    CHECK_FALSE(c.in.topic_name.is_string());
    CHECK(c.in.event == "phx_leave");
    CHECK(c.reply({}) == R"(["9","9",)" + topic + R"(,"phx_reply",{"status":"ok","response":{}}])");
    REQUIRE(c.decode(R"(["9","9","t",)" + topic + ",{}]") == errc::none);
    CHECK(c.in.event == "");
    CHECK_FALSE(c.in.event_name.is_string());
    CHECK(c.in.event_name.json == topic);
  }
  REQUIRE(c.decode(R"(["9","9","","",{}])") == errc::none);
  CHECK(c.in.topic_name.is_string());
  CHECK(c.in.event_name.is_string());
}

TEST_CASE("v2_json: names without escapes are views of the frame, others are unescaped") {
  v2 c;
  std::string_view const plain = R"(["1","2","room:é","echo",{}])";
  phx::message m;
  REQUIRE(c.mode.decode(phx::opcode::text, plain, c.room, m) == errc::none);
  CHECK(m.topic == "room:é");
  CHECK(m.topic.data() == plain.data() + 10);
  CHECK(m.payload.raw().data() == plain.data() + plain.size() - 3);
  REQUIRE(c.decode(R"(["1","2","room:a b:c\"d\\e*?#%20\u00e9","\u0065cho\n",{}])") == errc::none);
  CHECK(c.in.topic == "room:a b:c\"d\\e*?#%20é");
  CHECK(c.in.event == "echo\n");
  CHECK(c.reply({}) == R"(["1","2","room:a b:c\"d\\e*?#%20\u00e9","phx_reply",{"status":"ok","response":{}}])");
}

TEST_CASE("v2_json: phx's own names are written without needless escapes") {
  v2 c;
  CHECK(c.encode(phx::broadcast{"room:a/é \"q\" \\ 😀\x7f", "e\n\x01", payload{}}) ==
        "[null,null,\"room:a/é \\\"q\\\" \\\\ 😀\x7f\",\"e\\n\\u0001\",{}]");
  CHECK(c.encode(phx::broadcast{"room:a", "e", payload{}, R"("room:\u0061")"}) == R"([null,null,"room:\u0061","e",{}])");
}

TEST_CASE("v2_json: a relayed payload keeps its bytes") {
  v2 c;
  for (std::string const p : {R"({ "a" : 1.0, "b":[ 1e3,9007199254740993 ],"\u0061":"\/é\ud83d\ude00","a":2})", "null",
                              "[1,[2,[3]]]", "\"te\\u0078t\"", "3", "true"}) {
    CAPTURE(p);
    REQUIRE(c.decode(R"(["1","2","t","echo", )" + p + " ]") == errc::none);
    CHECK(c.in.payload.raw() == p);
    CHECK(c.in.payload.is_object() == (p.front() == '{'));
    CHECK(c.reply(c.in.payload) == R"(["1","2","t","phx_reply",{"status":"ok","response":)" + p + "}]");
  }
  CHECK(c.reply(payload{}, status("busy")) == R"(["1","2","t","phx_reply",{"status":"busy","response":{}}])");
}

TEST_CASE("v2_json: an invalid text message has the right error") {
  v2 c;
  for (char const* const text :
       {"", " ", "hello", "[", "[null,\"1\",\"phoenix\",\"heartbeat\",{},]", "[1,2,3,4,5", "[1 2,3,4,5]", "[,2,3,4,5]",
        "[1,2,3,4,{]", "[null,1e400,\"phoenix\",\"heartbeat\",{}]", "[null,\"a\x01\",\"t\",\"e\",{}]",
        "\xef\xbb\xbf[null,\"1\",\"phoenix\",\"heartbeat\",{}]", R"([null,"\ud800","t","e",{}])", "[1,2,3,4,5]x"}) {
    CAPTURE(text);
    CHECK(c.decode(text) == errc::not_json);
  }
  for (char const* const text :
       {"null", "5", "\"hello\"", "{}", R"({"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"})", "[]", "[1]",
        R"([null,"1","phoenix","heartbeat"])", "[[1,2,3,4,5]]"}) {
    CAPTURE(text);
    CHECK(c.decode(text) == errc::wrong_shape);
  }
}

TEST_CASE("v2_json: text that is not UTF-8 has precedence over any other error") {
  v2 c;
  CHECK(c.decode("[null,\"1\",\"\xc3\x28\",\"e\",{}]") == errc::invalid_utf8);
  CHECK(c.decode("[null,\"1\",\"t\",\"e\",{\"a\":\"\xff\"}]") == errc::invalid_utf8);
  CHECK(c.decode("[null,\"1\",\"t\",\"e\",{},\"\xed\xa0\x80\"]") == errc::invalid_utf8);
  CHECK(c.decode("hello \xc3\x28") == errc::invalid_utf8);
  CHECK(c.decode("{\"\xc3(\"}") == errc::invalid_utf8);
  CHECK(c.decode("[1,2,3] \xff") == errc::invalid_utf8);
  CHECK(c.decode("[1,2,3,4,[} , \"\xff") == errc::invalid_utf8);
  CHECK(c.decode("{\"topic\":1} \xff") == errc::invalid_utf8);
  CHECK(c.decode("[null,\"1\",\"t\",\"e\",{}]\xe2\x82") == errc::invalid_utf8);
}

TEST_CASE("v2_json: names and refs are limited by limits::name") {
  v2 c;
  c.room.name = 10;
  auto const quoted = [](std::string_view text) { return '"' + std::string(text) + '"'; };
  auto const with = [](std::string const& jr, std::string const& r, std::string const& t, std::string const& e) {
    return "[" + jr + "," + r + "," + t + "," + e + ",{}]";
  };
  std::string const fits = quoted("0123456789"), longer = quoted("0123456789a"), one = quoted("1");
  CHECK(c.decode(with(fits, fits, fits, fits)) == errc::none);
  CHECK(c.decode(with(longer, one, one, one)) == errc::name_too_long);
  CHECK(c.decode(with(one, longer, one, one)) == errc::name_too_long);
  CHECK(c.decode(with(one, one, longer, one)) == errc::name_too_long);
  CHECK(c.decode(with(one, one, one, longer)) == errc::name_too_long);
  CHECK(c.decode(with(one, one, "[1,2,3,4,5,6]", one)) == errc::name_too_long);
  std::string escaped;
  for (int i = 0; i < 10; ++i) escaped += "\\u0061";
  CHECK(c.decode(with(one, one, quoted(escaped), one)) == errc::none);
  CHECK(c.in.topic == "aaaaaaaaaa");
  CHECK(c.decode(with(one, one, quoted(escaped + "\\n"), one)) == errc::name_too_long);
  CHECK(c.decode(with(one, one, quoted(escaped + escaped), one)) == errc::name_too_long);
  v2 today;
  std::string const most(4096, 'n');
  CHECK(today.decode(with(quoted(most), quoted(most), quoted(most), quoted(most))) == errc::none);
  CHECK(today.decode(with(one, one, quoted(most + "n"), one)) == errc::name_too_long);
}

TEST_CASE("v2_json: a payload may nest as deep as limits::json_depth") {
  v2 c;
  auto const with = [](std::string const& p) { return R"(["1","2","t","e",)" + p + "]"; };
  CHECK(c.decode(with(deep(1024))) == errc::none);
  CHECK(c.decode(with(deep(1025))) == errc::too_deep);
  c.room.json_depth = 3;
  CHECK(c.decode(with(deep(3))) == errc::none);
  CHECK(c.decode(with(deep(4))) == errc::too_deep);
  CHECK(c.decode("[" + deep(4) + ",1,1,1,1]") == errc::too_deep);
  CHECK(c.decode("[" + deep(3) + ",1,1,1]") == errc::wrong_shape);
  CHECK(c.decode(with("{}").replace(1, 3, deep(3))) == errc::none);
}

TEST_CASE("v2_json: without memory a name with escapes is no_memory; a name without needs no memory") {
  phx::scratch none(phx::memory{[](std::size_t) noexcept -> void* { return nullptr; }, [](void*, std::size_t) noexcept {}});
  phx::message m;
  CHECK(phx::v2_json::decode(phx::opcode::text, R"(["1","2","t","e",{}])", none, m) == errc::none);
  CHECK(phx::v2_json::decode(phx::opcode::text, R"(["1","2","\u0074","e",{}])", none, m) == errc::no_memory);
  CHECK(phx::v2_json::decode(phx::opcode::binary, "\0\0\0\0\0"sv, none, m) == errc::no_memory);
}

TEST_CASE("v2_json: the binary examples of protocol 3.4") {
  v2 c;
  REQUIRE(c.decode_binary(hex("00 01 01 06 03  31 32 726f6f6d3a62 62696e 00ff01")) == errc::none);
  CHECK(c.in.join_ref.json == R"("1")");
  CHECK(c.in.ref.json == R"("2")");
  CHECK(c.in.topic == "room:b");
  CHECK(c.in.event == "bin");
  CHECK(c.in.payload.is_binary());
  CHECK(c.in.payload.raw() == "\x00\xff\x01"sv);

  CHECK(c.reply(c.in.payload) == hex("01 01 01 06 02  31 32 726f6f6d3a62 6f6b 00ff01"));
  CHECK(c.op == phx::opcode::binary);
  payload const abc = payload::binary("abc");
  CHECK(c.encode(phx::push{c.in.join_ref, {}, c.in.topic_name, {"bin_pushed", {}}, abc}) ==
        hex("00 01 06 0a     31 726f6f6d3a62 62696e5f707573686564 616263"));
  CHECK(c.encode(phx::broadcast{"room:b", "bin_shout", abc}) ==
        hex("02 06 09        726f6f6d3a62 62696e5f73686f7574 616263"));
  CHECK(c.op == phx::opcode::binary);
}

TEST_CASE("v2_json: an empty ref in a binary frame is the empty string, not null") {
  v2 c;
  REQUIRE(c.decode_binary("\0\0\0\0\0"sv) == errc::none);
  CHECK(c.in.join_ref.json == R"("")");
  CHECK(c.in.ref.json == R"("")");
  CHECK_FALSE(c.in.join_ref.null());
  CHECK(c.in.topic == "");
  CHECK(c.in.topic_name.is_string());
  CHECK(c.in.payload.is_binary());
  CHECK(c.in.payload.raw() == "");
  CHECK(c.encode(phx::reply{{}, c.in.ref, c.in.topic_name, status::error, payload{}}) ==
        R"([null,"","","phx_reply",{"status":"error","response":{}}])");
  CHECK(c.encode(phx::reply{{}, c.in.ref, {"t", {}}, status::ok, payload::binary("x")}) == hex("01 00 00 01 02 74 6f6b 78"));
}

TEST_CASE("v2_json: the type of the request's frame does not decide that of the reply") {
  v2 c;
  REQUIRE(c.decode_binary(hex("00 01 01 01 01  31 32 74 65")) == errc::none);
  CHECK(c.reply(payload{}) == R"(["1","2","t","phx_reply",{"status":"ok","response":{}}])");
  CHECK(c.op == phx::opcode::text);
  REQUIRE(c.decode(R"(["1","2","t","e",{}])") == errc::none);
  CHECK(c.reply(payload::binary("x")) == hex("01 01 01 01 02  31 32 74 6f6b 78"));
  CHECK(c.op == phx::opcode::binary);
}

TEST_CASE("v2_json: refs of a binary frame are quoted for text frames, and unescaped again for binary ones") {
  v2 c;
  REQUIRE(c.decode_binary("\x00\x03\x05\x01\x01\"\\\nab\xc3\xa9zte!"sv) == errc::none);
  CHECK(c.in.join_ref.json == R"("\"\\\n")");
  CHECK(c.in.ref.json == "\"abéz\"");
  CHECK(c.reply(payload{}) == R"(["\"\\\n","abéz","t","phx_reply",{"status":"ok","response":{}}])");
  CHECK(c.reply(payload::binary("!")) == "\x01\x03\x05\x01\x02\"\\\nab\xc3\xa9ztok!"sv);
  REQUIRE(c.decode(R"(["\u0031\ud83d\ude00",null,"t","e",{}])") == errc::none);
  CHECK(c.reply(payload::binary("!")) == "\x01\x05\x00\x01\x02\x31\xf0\x9f\x98\x80tok!"sv);
}

TEST_CASE("v2_json: sizes in binary frames count bytes, up to 255") {
  v2 c;
  std::string const most(255, 'n'), umlauts = [] {
    std::string s;
    for (int i = 0; i < 127; ++i) s += "ü";
    return s;
  }();
  REQUIRE(c.decode_binary("\x00\xff\xff\xff\xff"s + most + most + most + most + "data") == errc::none);
  CHECK(c.in.join_ref.json == '"' + most + '"');
  CHECK(c.in.event == most);
  CHECK(c.in.payload.raw() == "data");
  CHECK(c.reply(c.in.payload) == "\x01\xff\xff\xff\x02"s + most + most + most + "okdata");
  payload const x = payload::binary("x");
  CHECK(c.encode(phx::push{c.in.join_ref, {}, {most, {}}, {most, {}}, x}) ==
        "\x00\xff\xff\xff"s.append(most + most + most + "x"));
  CHECK(c.encode(phx::broadcast{umlauts, "é", x}) == "\x02\xfe\x02" + umlauts + "éx");

  std::string const longer = most + "n", longer_token = '"' + longer + '"';
  std::string const refused = refusal(errc::header_too_long);
  CHECK(c.encode(phx::broadcast{longer, "e", x}) == refused);
  CHECK(c.encode(phx::broadcast{"t", longer, x}) == refused);
  CHECK(c.encode(phx::broadcast{umlauts + umlauts, "e", x}) == refused);
  CHECK(c.encode(phx::push{{longer_token}, {}, {"t", {}}, {"e", {}}, x}) == refused);
  CHECK(c.encode(phx::push{{}, {}, {longer, {}}, {"e", {}}, x}) == refused);
  CHECK(c.encode(phx::push{{}, {}, {"t", {}}, {longer, {}}, x}) == refused);
  CHECK(c.encode(phx::reply{{longer_token}, {}, {"t", {}}, status::ok, x}) == refused);
  CHECK(c.encode(phx::reply{{}, {longer_token}, {"t", {}}, status::ok, x}) == refused);
  CHECK(c.encode(phx::reply{{}, {}, {longer, {}}, status::ok, x}) == refused);
  // 255 characters, each an escape of six bytes
  std::string escapes;
  for (int i = 0; i < 255; ++i) escapes += "\\u006e";
  std::string const escaped = '"' + escapes + '"', more = '"' + escapes + "\\u006e\"";
  CHECK(c.encode(phx::reply{{escaped}, {}, {"t", {}}, status::ok, x}) == "\x01\xff\x00\x01\x02"s.append(most + "tokx"));
  CHECK(c.encode(phx::reply{{more}, {}, {"t", {}}, status::ok, x}) == refused);
  // text frames have no such limit
  CHECK(c.encode(phx::broadcast{longer, "e", payload{}}) == "[null,null," + longer_token + ",\"e\",{}]");
}

TEST_CASE("v2_json: in a binary frame a ref that is not a string is written as by Elixir's to_string") {
  v2 c;
  payload const x = payload::binary("x");
  auto const sized = [](std::string const& text) { return std::string(1, static_cast<char>(text.size())); };
  std::string const huge = "1" + std::string(254, '0');
  struct ref {
    std::string token, text;
  } const all[] = {{"5", "5"},
                   {"0", "0"},
                   {"-0", "0"},
                   {"-17", "-17"},
                   {"9007199254740993", "9007199254740993"},
                   {"123456789012345678901234567890", "123456789012345678901234567890"},
                   {huge, huge},
                   {"true", "true"},
                   {"false", "false"},
                   {"null", ""},
                   {"5.0", "5.0"},
                   {"5.00", "5.0"},
                   {"0.0", "0.0"},
                   {"-0.0", "-0.0"},
                   {"0e7", "0.0"},
                   {"-0E-7", "-0.0"},
                   {"1.5", "1.5"},
                   {"-1.50", "-1.5"},
                   {"123.456", "123.456"},
                   {"0.1", "0.1"},
                   {"1e0", "1.0"},
                   {"1E+1", "10.0"},
                   {"100.0", "100.0"},
                   {"1000.0", "1.0e3"},
                   {"120.0", "120.0"},
                   {"1200.0", "1.2e3"},
                   {"12000.0", "1.2e4"},
                   {"120000.0", "1.2e5"},
                   {"123456.0", "123456.0"},
                   {"1234560.0", "1234560.0"},
                   {"12345600.0", "1.23456e7"},
                   {"0.01", "0.01"},
                   {"0.001", "0.001"},
                   {"0.0001", "0.0001"},
                   {"0.00001", "1.0e-5"},
                   {"0.0012", "0.0012"},
                   {"0.00012", "1.2e-4"},
                   {"1e10", "1.0e10"},
                   {"1.25e-7", "1.25e-7"},
                   {"1e100", "1.0e100"},
                   {"1e-100", "1.0e-100"},
                   {"9007199254740991.0", "9007199254740991.0"},
                   {"9007199254740992.0", "9.007199254740992e15"},
                   {"-9007199254740993.0", "-9.007199254740992e15"},
                   {"123456789012345680.0", "1.2345678901234568e17"},
                   {"0.1000000000000000055511151231257827", "0.1"},
                   {"1.7976931348623157e308", "1.7976931348623157e308"},
                   {"2.2250738585072014e-308", "2.2250738585072014e-308"},
                   {"5e-324", "5.0e-324"},
                   {"1e-400", "0.0"},
                   {"-1e-400", "-0.0"},
                   {"3.0000000000000004", "3.0000000000000004"},
                   {"0." + std::string(3000, '0') + "1e3001", "1.0"}};
  for (ref const& each : all) {
    std::string const &token = each.token, &text = each.text;
    CAPTURE(token);
    REQUIRE(c.decode("[" + token + "," + token + R"(,"t","e",{}])") == errc::none);
    CHECK(c.reply(x) == "\x01" + sized(text) + sized(text) + "\x01\x02" + text + text + "tokx");
    CHECK(c.encode(phx::push{c.in.join_ref, {}, {"t", {}}, {"e", {}}, x}) ==
          std::string(1, '\0') + sized(text) + "\x01\x01" + text + "tex");
    // Only one of them.
    REQUIRE(c.decode("[\"1\"," + token + R"(,"t","e",{}])") == errc::none);
    CHECK(c.reply(x) == "\x01\x01" + sized(text) + "\x01\x02\x31" + text + "tokx");
    REQUIRE(c.decode("[" + token + R"(,"1","t","e",{}])") == errc::none);
    CHECK(c.reply(x) == "\x01" + sized(text) + "\x01\x01\x02" + text + "1tokx");
  }
  REQUIRE(c.decode(R"([5,6,"room:n","bin_reply",{"b64":"AAEC"}])") == errc::none);
  CHECK(c.reply(payload::binary("\0\1\2"sv)) == hex("01 01 01 06 02 35 36 726f6f6d3a6e 6f6b 000102"));
}

TEST_CASE("v2_json: a ref that is an array, an object or too long cannot be in a binary frame") {
  v2 c;
  payload const x = payload::binary("x");
  for (std::string_view const token : {"[1]", "[]", "{}", R"({"a":1})"}) {
    CHECK(c.encode(phx::reply{{token}, {}, {"t", {}}, status::ok, x}) == refusal(errc::header_not_text));
    CHECK(c.encode(phx::reply{{}, {token}, {"t", {}}, status::ok, x}) == refusal(errc::header_not_text));
    CHECK(c.encode(phx::push{{token}, {}, {"t", {}}, {"e", {}}, x}) == refusal(errc::header_not_text));
  }
  std::string const long_integer(256, '1');
  CHECK(c.encode(phx::reply{{long_integer}, {}, {"t", {}}, status::ok, x}) == refusal(errc::header_too_long));
  // A topic or an event is not converted.
  CHECK(c.encode(phx::reply{{}, {}, {{}, "5"}, status::ok, x}) == refusal(errc::header_not_text));
  CHECK(c.encode(phx::reply{{"null"}, {"null"}, {"t", {}}, status::ok, x}) == hex("01 00 00 01 02 74 6f6b 78"));
}

TEST_CASE("v2_json: an invalid binary message has the right error") {
  v2 c;
  CHECK(c.decode_binary("") == errc::truncated);
  for (int kind = 1; kind < 256; ++kind) {
    std::string frame(21, '\0');
    frame[0] = static_cast<char>(kind);
    CHECK(c.decode_binary(frame) == errc::unknown_kind);
  }
  CHECK(c.decode_binary(R"(["1","1","room:a","phx_join",{}])") == errc::unknown_kind);
  std::string const whole = hex("00 01 02 03 04  31 3232 333333 34343434");
  CHECK(c.decode_binary(whole) == errc::none);
  for (std::size_t n = 1; n < whole.size(); ++n) CHECK(c.decode_binary(whole.substr(0, n)) == errc::truncated);
  CHECK(c.decode_binary("\x00\xff\xff\xff\xff"s) == errc::truncated);
  CHECK(c.decode_binary("\x00\x01\x00\x00\x00\xff"s) == errc::invalid_utf8);
  CHECK(c.decode_binary("\x00\x00\x01\x00\x00\xff"s) == errc::invalid_utf8);
  CHECK(c.decode_binary("\x00\x00\x00\x01\x01\xc3\xa9"s) == errc::invalid_utf8);  // é, one half in each
  CHECK(c.decode_binary("\x00\x00\x00\x02\x00\xc3\xa9\xff"s) == errc::none);      // the payload is any bytes
  c.room.name = 3;
  CHECK(c.decode_binary(whole) == errc::name_too_long);
}

TEST_CASE("v2_json: the payloads that each record may have") {
  v2 c;
  phx::json_ref const one{R"("1")"};
  phx::json_text const t{"t", {}}, e{"e", {}};
  for (char const* const text : {"null", "[1]", "3", "\"s\"", "true", " [1]"}) {
    CAPTURE(text);
    payload const p = payload::json(text);
    CHECK(c.encode(phx::push{one, {}, t, e, p}) == refusal(errc::not_an_object));
    CHECK(c.encode(phx::broadcast{"t", "e", p}) == refusal(errc::not_an_object));
    CHECK(c.encode(phx::reply{one, one, t, status::error, p}) ==
          R"(["1","1","t","phx_reply",{"status":"error","response":)" + std::string(text) + "}]");
  }
  payload const broken = payload::json("{");
  CHECK(c.encode(phx::push{one, {}, t, e, broken}) == refusal(errc::invalid_payload));
  CHECK(c.encode(phx::broadcast{"t", "e", broken}) == refusal(errc::invalid_payload));
  CHECK(c.encode(phx::reply{one, one, t, status::ok, broken}) == refusal(errc::invalid_payload));
}

TEST_CASE("v2_json: everything written can be read") {
  v2 c;
  std::string awkward;
  for (int i = 0; i < 128; ++i) awkward += static_cast<char>(i);
  awkward += "éñ€日本😀";
  payload const p = payload::json(R"({"big":123456789012345678901234567890,"text":"\u0000\ud83d\ude00"})");
  std::string const frame = c.encode(phx::broadcast{awkward, awkward, p}).value();
  REQUIRE(c.decode(frame) == errc::none);
  CHECK(c.in.topic == awkward);
  CHECK(c.in.event == awkward);
  CHECK(c.in.payload.raw() == p.raw());
  CHECK(nlohmann::json::parse(frame)[2].get<std::string>() == awkward);
}

TEST_CASE("v2_json: a decoded message can be copied, with all its refs") {
  v2 c;
  REQUIRE(c.decode(R"([7,"\u0031","\u0074",{"e":1},[1]])") == errc::none);
  phx::owned_message const kept = c.in.copy();
  REQUIRE(c.decode(R"([null,null,"another","message",{}])") == errc::none);
  c.room.reset();
  phx::message const m = kept.view();
  CHECK(m.join_ref.json == "7");
  CHECK(m.ref.json == R"("\u0031")");
  CHECK(m.topic == "t");
  CHECK(m.event_name.json == R"({"e":1})");
  CHECK(m.payload.raw() == "[1]");
}

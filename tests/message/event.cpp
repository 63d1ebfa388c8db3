#include <phx/message/event.hpp>

#include <support/room.hpp>

#include <algorithm>

TEST_CASE("event_code: every code has its own name") {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i <= static_cast<std::size_t>(phx::event_code::no_memory); ++i)
    names.push_back(to_string(static_cast<phx::event_code>(i)));
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
  CHECK(to_string(phx::event_code::socket_connected) == "socket_connected");
  CHECK(to_string(phx::event_code::stale_message) == "stale_message");
  CHECK(to_string(phx::event_code::no_memory) == "no_memory");
}

TEST_CASE("filtered_json: values of keys that contain password or token are filtered, of any kind and at any depth") {
  auto const filtered = [](char const* text) { return phx::filtered_json(text); };
  CHECK(filtered(R"({"user":"ann","password":"x"})") == R"({"user":"ann","password":"[FILTERED]"})");
  CHECK(filtered(R"({"old_password":1,"password2":null,"a":2})") ==
        R"({"old_password":"[FILTERED]","password2":"[FILTERED]","a":2})");
  CHECK(filtered(R"({"auth_token":{"deep":["x","}"]},"b":[{"token":[1,{"c":2}]},3]})") ==
        R"({"auth_token":"[FILTERED]","b":[{"token":"[FILTERED]"},3]})");
  CHECK(filtered(R"({"accessToken" : "x" , "b" : 1})") == R"({"accessToken" : "[FILTERED]" , "b" : 1})");
  CHECK(filtered(R"(["password","token",{"x":"password"}])") == R"(["password","token",{"x":"password"}])");
  CHECK(filtered(R"({"a\"token":"x\\"})") == R"({"a\"token":"[FILTERED]"})");
  CHECK(filtered(R"({"a":"\"token\":1"})") == R"({"a":"\"token\":1"})");
  CHECK(filtered(R"({"\u0070assword":"x","PASS\u0057ord":1,"t\u006fk\u0065n\ud83d\ude00":[2]})") ==
        R"({"\u0070assword":"[FILTERED]","PASS\u0057ord":"[FILTERED]","t\u006fk\u0065n\ud83d\ude00":"[FILTERED]"})");
  CHECK(filtered(R"({"to\u0020ken":1,"to\nken":2,"\token":3,"\\token":4,"":5})") ==
        R"({"to\u0020ken":1,"to\nken":2,"\token":3,"\\token":"[FILTERED]","":5})");
  CHECK(filtered("7") == "7");
  CHECK(filtered("\"token\"") == "\"token\"");
  CHECK(filtered("{}") == "{}");
}

TEST_CASE("telemetry_event: params are the payload as a log may show it") {
  phx::telemetry_event n{.kind = phx::event_code::handled_in};
  CHECK(n.params().empty());
  phx::payload const json = phx::payload::json(R"({"token":1})"), bytes = phx::payload::binary("\x01\x02");
  n.payload = &json;
  CHECK(n.params() == R"({"token":"[FILTERED]"})");
  n.payload = &bytes;
  CHECK(n.params() == "2 bytes");
}

TEST_CASE("observer_ref: an absent observer is one null pointer") {
  phx::detail::observer_ref const none;
  CHECK_FALSE(none);
  none({.kind = phx::event_code::idle});
  support::watcher w;
  phx::detail::observer_ref const some = phx::detail::observer_ref::of(w);
  CHECK(some);
  some({.kind = phx::event_code::idle});
  CHECK(w.seen == support::texts{"idle"});
}

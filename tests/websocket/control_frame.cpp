#include <phx/websocket/control_frame.hpp>

#include <doctest/doctest.h>

#include <string>

using phx::websocket::control_frame;
using namespace std::string_literals;

TEST_CASE("websocket: the control frames of a server") {
  CHECK(control_frame::pong("").bytes() == "\x8a\x00"s);
  CHECK(control_frame::pong("abc").bytes() ==
        "\x8a\x03"
        "abc"s);
  CHECK(control_frame::pong(std::string(200, 'x')).bytes() == "\x8a\x7d"s + std::string(125, 'x'));
  CHECK(control_frame::close(1012).bytes() == "\x88\x02\x03\xf4"s);
  CHECK(control_frame::close(1000, "bye").bytes() ==
        "\x88\x05\x03\xe8"
        "bye"s);
  CHECK(control_frame::close(1000, std::string(200, 'x')).bytes() == "\x88\x7d\x03\xe8"s + std::string(123, 'x'));
}

TEST_CASE("websocket: a long reason is not cut inside a character") {
  std::string reason(121, 'x');
  reason += "\xe2\x82\xac";  // the euro sign would end at byte 124
  CHECK(control_frame::close(1001, reason).bytes() == "\x88\x7b\x03\xe9"s + std::string(121, 'x'));
  CHECK(control_frame::close(1001, reason.substr(1)).bytes() == "\x88\x7d\x03\xe9"s + reason.substr(1));
  CHECK(control_frame::ping("p").bytes() == "\x89\x01p"s);
  CHECK(control_frame::close({phx::close_code::restart, "drained"}).bytes() ==
        "\x88\x09\x03\xf4"
        "drained"s);
  CHECK(control_frame::close(1000).op() == phx::opcode::close);
}

TEST_CASE("websocket: close codes have names and answers") {
  using phx::websocket::answer_to_close;
  using phx::websocket::close_code_name;
  CHECK(close_code_name(1002) == "protocol error");
  CHECK(close_code_name(4000).empty());
  CHECK(answer_to_close("") == 1000);
  CHECK(answer_to_close("\x03\xe9") == 1000);
  CHECK(answer_to_close("\x03\xed") == 1002);  // 1005 must never be sent
  CHECK(answer_to_close("\x03") == 1002);
  CHECK(answer_to_close("\x03\xe8\xff") == 1002);
}

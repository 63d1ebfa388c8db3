#include <phx/websocket/frame_header.hpp>

#include <doctest/doctest.h>

#include <string>

using phx::websocket::frame_header;
using namespace std::string_literals;

TEST_CASE("websocket: a frame header has the shortest form of its length") {
  CHECK(frame_header(phx::opcode::text, 0).bytes() == "\x81\x00"s);
  CHECK(frame_header(phx::opcode::binary, 125).bytes() == "\x82\x7d"s);
  CHECK(frame_header(phx::opcode::text, 126).bytes() == "\x81\x7e\x00\x7e"s);
  CHECK(frame_header(phx::opcode::text, 65535).bytes() == "\x81\x7e\xff\xff"s);
  CHECK(frame_header(phx::opcode::text, 65536).bytes() == "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"s);
}

TEST_CASE("websocket: a message may be sent in fragments") {
  CHECK(frame_header(phx::opcode::text, 1, false).bytes() == "\x01\x01"s);
  CHECK(frame_header(phx::opcode::continuation, 1, false).bytes() == "\x00\x01"s);
  CHECK(frame_header(phx::opcode::continuation, 1).bytes() == "\x80\x01"s);
}

#include <phx/websocket/frame_reader.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using phx::websocket::control_frame;
using phx::websocket::event_kind;
using phx::websocket::frame_event;
using phx::websocket::frame_reader;
using phx::websocket::unmask;
using namespace std::string_literals;

namespace {

/// A client's frame: masked, with the shortest length form by default.
std::string client(unsigned first, std::string const& body, std::string const& key = "\x01\x80\x7f\xfe"s,
                   unsigned form = 0) {
  std::string out{static_cast<char>(first)};
  auto const wide = [&](unsigned mark, int bytes) {
    out += static_cast<char>(0x80 | mark);
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(body.size() >> (8 * i));
  };
  if (form == 127 || body.size() > 65535)
    wide(127, 8);
  else if (form == 126 || body.size() > 125)
    wide(126, 2);
  else
    out += static_cast<char>(0x80 | body.size());
  out += key;
  for (std::size_t i = 0; i < body.size(); ++i) out += static_cast<char>(body[i] ^ key[i & 3]);
  return out;
}
/// The start of a frame with only its length.
std::string announcing(std::uint64_t size, unsigned first = 0x82) {
  std::string out{static_cast<char>(first), '\xff'};
  for (int i = 7; i >= 0; --i) out += static_cast<char>(size >> (8 * i));
  return out + "mask";
}

struct seen {
  std::vector<std::string> events;
  std::string data;  // of the incomplete message
  void take(frame_event const& e) {
    switch (e.kind) {
      case event_kind::need_more: break;
      case event_kind::data:
        data += e.part;
        if (e.last) {
          events.push_back((e.op == phx::opcode::text ? "text " : "binary ") + data);
          data.clear();
        }
        break;
      case event_kind::ping: events.push_back("ping " + std::string(e.part)); break;
      case event_kind::pong: events.push_back("pong " + std::string(e.part)); break;
      case event_kind::close: events.push_back("close " + std::to_string(e.code)); break;
      case event_kind::error: events.push_back("broken " + std::to_string(e.code)); break;
    }
  }
};
void feed(frame_reader& r, std::string bytes, seen& to) {
  std::span<char> rest(bytes);
  for (;;) {
    frame_event const e = r.next(rest);
    if (e.kind == event_kind::need_more) break;
    to.take(e);
  }
  CHECK(rest.empty());
}
/// The events for `bytes`, checked to be the same however they are split.
std::vector<std::string> read(std::string const& bytes, std::size_t most = 1 << 20) {
  seen whole;
  frame_reader r(most);
  feed(r, bytes, whole);
  for (std::size_t step : {1u, 2u, 3u, 7u, 64u}) {
    seen pieces;
    frame_reader again(most);
    for (std::size_t at = 0; at < bytes.size(); at += step) feed(again, bytes.substr(at, step), pieces);
    CHECK(pieces.events == whole.events);
    CHECK(pieces.data == whole.data);
  }
  return whole.events;
}
using list = std::vector<std::string>;
std::string code_bytes(unsigned code) { return {static_cast<char>(code >> 8), static_cast<char>(code)}; }

}  // namespace

TEST_CASE("websocket: unmasking works at every length, phase and alignment") {
  char const key[4] = {'\x37', '\xfa', '\x21', '\x3d'};
  for (std::size_t size = 0; size < 100; ++size)
    for (std::size_t phase = 0; phase < 4; ++phase)
      for (std::size_t offset = 0; offset < 8; ++offset) {
        std::string bytes(offset + size + 1, 'x');
        for (std::size_t i = 0; i < size; ++i)
          bytes[offset + i] = static_cast<char>(static_cast<char>(i) ^ key[(phase + i) & 3]);
        unmask(std::span<char>(bytes).subspan(offset, size), key, phase);
        bool same = bytes.back() == 'x';
        for (std::size_t i = 0; i < size; ++i) same = same && bytes[offset + i] == static_cast<char>(i);
        REQUIRE(same);
      }
}

TEST_CASE("websocket: complete messages are returned whole, several from one read") {
  CHECK(read(client(0x81, "a") + client(0x82, "\x00\xff"s) + client(0x81, "")) ==
        list{"text a", "binary \x00\xff"s, "text "});
  std::string wire = client(0x81, "hello");
  std::span<char> rest(wire);
  frame_reader r(100);
  frame_event const e = r.next(rest);
  CHECK(e.kind == event_kind::data);
  CHECK(e.part == "hello");
  CHECK(e.part.data() == wire.data() + 6);  // in place
  CHECK(e.last);
}

TEST_CASE("websocket: a message is returned in the parts in which it arrives") {
  std::string const wire = client(0x82, "abcdef");
  frame_reader r(100);
  std::string first = wire.substr(0, 8), second = wire.substr(8);
  std::span<char> rest(first);
  frame_event e = r.next(rest);
  CHECK(e.part == "ab");
  CHECK_FALSE(e.last);
  CHECK(r.next(rest).kind == event_kind::need_more);
  rest = second;
  e = r.next(rest);
  CHECK(e.part == "cdef");
  CHECK(e.op == phx::opcode::binary);
  CHECK(e.last);
}

TEST_CASE("websocket: all three forms of a length are read, including longer ones than needed") {
  for (std::size_t size : {0u, 1u, 125u, 126u, 127u, 65535u, 65536u, 70000u}) {
    std::string const body(size, 'b');
    CHECK(read(client(0x81, body)) == list{"text " + body});
    CHECK(read(client(0x81, body, "mask", 127)) == list{"text " + body});
    if (size < 65536) CHECK(read(client(0x81, body, "mask", 126)) == list{"text " + body});
  }
}

TEST_CASE("websocket: fragments make one message of the first one's type, and control frames may come between") {
  CHECK(read(client(0x01, "one ") + client(0x89, "?") + client(0x00, "") + client(0x00, "two ") + client(0x8a, "!") +
             client(0x80, "three") + client(0x82, "next")) == list{"ping ?", "pong !", "text one two three", "binary next"});
  CHECK(read(client(0x02, "") + client(0x80, "")) == list{"binary "});
}

TEST_CASE("websocket: a ping may have up to 125 bytes") {
  CHECK(read(client(0x89, "") + client(0x89, std::string(125, 'x'))) == list{"ping ", "ping " + std::string(125, 'x')});
}

TEST_CASE("websocket: an invalid frame is 1002 and ends reading") {
  std::string const after = client(0x81, "never");
  auto const broken = list{"broken 1002"};
  for (unsigned rsv : {0x40u, 0x20u, 0x10u, 0x70u}) CHECK(read(client(0x81 | rsv, "x") + after) == broken);
  for (unsigned op : {3u, 4u, 5u, 6u, 7u, 11u, 12u, 13u, 14u, 15u}) CHECK(read(client(0x80 | op, "") + after) == broken);
  CHECK(read("\x81\x01x"s + after) == broken);  // unmasked
  CHECK(read("\x81\x00"s) == broken);           // detected in the first two bytes
  CHECK(read(client(0x80, "stray") + after) == broken);
  CHECK(read(client(0x00, "stray") + after) == broken);
  CHECK(read(client(0x01, "a") + client(0x81, "interleaved") + after) == broken);
  CHECK(read(client(0x01, "a") + client(0x02, "interleaved") + after) == broken);
  CHECK(read(client(0x81, "whole") + client(0x80, "stray")) == list{"text whole", "broken 1002"});
  for (unsigned op : {8u, 9u, 10u}) {
    CHECK(read(client(op, "") + after) == broken);  // in fragments
    CHECK(read(client(0x80 | op, std::string(126, 'x')) + after) == broken);
    CHECK(read(client(0x80 | op, "x", "mask", 126) + after) == broken);  // never in a long form
  }
  CHECK(read(client(0x88, "x") + after) == broken);  // a close of one byte
}

TEST_CASE("websocket: a payload beyond the limit is 1009 before any of it is read") {
  CHECK(read(announcing(1 << 20), 1 << 20).empty());
  CHECK(read(announcing((1 << 20) + 1), 1 << 20) == list{"broken 1009"});
  CHECK(read(announcing(UINT64_MAX), 1 << 20) == list{"broken 1009"});
  CHECK(read(announcing(UINT64_MAX), SIZE_MAX - 1) == list{"broken 1009"});
  CHECK(read(client(0x81, "123456"), 5) == list{"broken 1009"});
  CHECK(read(client(0x81, "12345") + client(0x81, "67890"), 5) == list{"text 12345", "text 67890"});
}

TEST_CASE("websocket: fragments are counted together, control frames are not") {
  CHECK(read(client(0x01, "123") + client(0x89, "ping") + client(0x80, "45"), 5) == list{"ping ping", "text 12345"});
  CHECK(read(client(0x01, "123") + client(0x80, "456"), 5) == list{"broken 1009"});
  CHECK(read(client(0x01, "12345") + client(0x00, "") + client(0x00, "6"), 5) == list{"broken 1009"});
  CHECK(read(client(0x01, "1") + announcing(UINT64_MAX, 0x80), 5) == list{"broken 1009"});
}

TEST_CASE("websocket: a client's close is answered 1000, or 1002 if it may not send its code") {
  for (unsigned code : {1000u, 1001u, 1002u, 1003u, 1007u, 1008u, 1009u, 1010u, 1011u, 3000u, 4999u, 65535u})
    CHECK(read(client(0x88, code_bytes(code) + "why")) == list{"close 1000"});
  for (unsigned code : {0u, 999u, 1004u, 1005u, 1006u, 1012u, 1015u, 2999u})
    CHECK(read(client(0x88, code_bytes(code))) == list{"close 1002"});
  CHECK(read(client(0x88, "")) == list{"close 1000"});
  CHECK(read(client(0x88, code_bytes(1000)) + client(0x81, "ignored") + client(0x88, "")) == list{"close 1000"});
  CHECK(read(client(0x01, "half") + client(0x88, code_bytes(1001))) == list{"close 1000"});
  CHECK(read(client(0x88, code_bytes(1000) + "\xc3\xa9")) == list{"close 1000"});
  CHECK(read(client(0x88, code_bytes(1000) + "\xff")) == list{"broken 1002"});  // a reason that is not UTF-8
}

TEST_CASE("websocket: with permessage-deflate RSV1 marks the first frame of a compressed message") {
  auto const events = [](std::string bytes, std::size_t most = 100) {
    list out;
    frame_reader r(most, true);
    for (std::span<char> rest(bytes);;) {
      frame_event const e = r.next(rest);
      if (e.kind == event_kind::need_more) break;
      out.push_back((e.compressed ? "compressed " : "") +
                    (e.kind == event_kind::error ? std::to_string(e.code) : std::string(e.part)));
    }
    return out;
  };
  CHECK(events(client(0xC1, "a") + client(0x81, "b") + client(0xC2, "c")) == list{"compressed a", "b", "compressed c"});
  CHECK(events(client(0x41, "a") + client(0x89, "ping") + client(0x00, "b") + client(0x80, "c") + client(0x81, "d")) ==
        list{"compressed a", "ping", "compressed b", "compressed c", "d"});
  CHECK(events(client(0xC1, "")) == list{"compressed "});
  for (unsigned first : {0xA1u, 0x91u, 0xE1u, 0xD1u, 0xF1u, 0xC9u, 0xCAu, 0xC8u, 0xC3u, 0xCBu})
    CHECK(events(client(first, "")) == list{"1002"});
  CHECK(events(client(0x41, "a") + client(0x40, "b")) == list{"compressed a", "1002"});
  CHECK(events(client(0x41, "a") + client(0xC0, "b")) == list{"compressed a", "1002"});
  CHECK(events(client(0x01, "a") + client(0xC0, "b")) == list{"a", "1002"});
  CHECK(events(client(0x01, "a") + client(0xC1, "b")) == list{"a", "1002"});
  // What does not compress is longer on the wire than its message.
  CHECK(events(client(0xC1, std::string(165, 'x'))) == list{"compressed " + std::string(165, 'x')});
  CHECK(events(client(0xC1, std::string(166, 'x'))) == list{"1009"});
  CHECK(events(client(0xC1, "x") + client(0x81, std::string(101, 'x'))) == list{"compressed x", "1009"});
  CHECK(events(client(0xC1, "x"), SIZE_MAX - 1) == list{"compressed x"});
}

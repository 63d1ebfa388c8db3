// A serializer of a host over real sockets.

#include <phx/adapter/blocking.hpp>

#include <doctest/doctest.h>

#include <thread>

#include "support/msgpack.hpp"
#include "support/raw_client.hpp"

using phx_tests::raw_client;

namespace {

struct room {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "shout") {
      ctx.broadcast("shout", in.payload);
      return phx::outcome::reply();
    }
    return phx::outcome::stop(phx::exit_reason::error);
  }
};

struct packed_client {
  raw_client wire;
  explicit packed_client(std::uint16_t port, std::string_view vsn) : wire(port) {
    REQUIRE(wire.open("/socket/websocket?vsn=" + std::string(vsn)) == 101);
  }
  void say(std::string_view array) { CHECK(wire.send(raw_client::frame(0x82, msgpack::serializer::from_json(array)))); }
  std::string listening() {
    raw_client::message const m = wire.read();
    return m.first == 0x82 ? msgpack::serializer::to_json(m.data) : "no binary frame";
  }
};

struct running {
  phx::router<> app{};
  phx::blocking::server<phx::router<>> server;
  std::thread thread;
  running() : server(app, settings()) {
    app.channel<room>("room:*");
    thread = std::thread([this] { server.run(); });
  }
  ~running() {
    server.stop();
    thread.join();
  }
  static phx::blocking::options settings() {
    phx::blocking::options o{.port = 0};
    o.mount.serializers = {phx::serializer_ref::of<phx::v2_json>(), phx::serializer_ref::of<msgpack::serializer>()};
    o.goodbye = std::chrono::milliseconds(500);
    return o;
  }
};

}  // namespace

TEST_CASE("blocking: MessagePack at vsn 3.0.0: join, reply, broadcasts of JSON clients, crash and rejoin") {
  running r;
  packed_client packed(r.server.port(), "3.0.0");
  packed.say(R"(["1","1","room:a","phx_join",{}])");
  CHECK(packed.listening() == R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])");
  packed.say(R"(["1","2","room:a","echo",{"n":[1,-2,null,"é"]}])");
  CHECK(packed.listening() == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{"n":[1,-2,null,"é"]}}])");

  raw_client plain(r.server.port());
  REQUIRE(plain.open("/socket/websocket?vsn=2.0.0") == 101);
  CHECK(plain.text(R"(["1","1","room:a","phx_join",{}])"));
  CHECK(plain.read().data == R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])");
  CHECK(plain.text(R"(["1","2","room:a","shout",{"from":"json"}])"));
  CHECK(packed.listening() == R"([null,null,"room:a","shout",{"from":"json"}])");
  CHECK(plain.read().data == R"([null,null,"room:a","shout",{"from":"json"}])");
  CHECK(plain.read().data == R"(["1","2","room:a","phx_reply",{"status":"ok","response":{}}])");

  packed.say(R"(["1","3","room:a","no such event",{}])");
  CHECK(packed.listening() == R"(["1","1","room:a","phx_error",{"reason":"channel_crash"}])");
  packed.say(R"(["4","4","room:a","phx_join",{}])");
  CHECK(packed.listening() == R"(["4","4","room:a","phx_reply",{"status":"ok","response":{}}])");
  packed.say(R"([null,"5","phoenix","heartbeat",{}])");
  CHECK(packed.listening() == R"([null,"5","phoenix","phx_reply",{"status":"ok","response":{}}])");
}

TEST_CASE("blocking: invalid MessagePack closes that connection with 1011, and only the offered vsn are served") {
  running r;
  packed_client packed(r.server.port(), "3.0.1");
  CHECK(packed.wire.text(R"(["1","1","room:a","phx_join",{}])"));
  CHECK(packed.wire.read_close() == 1011);
  raw_client one(r.server.port());
  CHECK(one.open("/socket/websocket?vsn=1.0.0") == 403);
}

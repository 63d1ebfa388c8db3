#include <phx/socket/receive_frames.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <phx/channel/router.hpp>
#include <phx/testing/fake_loop.hpp>

using namespace std::string_literals;

namespace {

/// The host's side of one connection.
struct wire {
  std::vector<std::string>* out;
  phx::send_status send(phx::frame const& f) noexcept {
    out->push_back(std::string(f.data()));
    return phx::send_status::ok;
  }
  void close(phx::close_frame reason) noexcept { out->push_back("closed " + std::to_string(static_cast<int>(reason.code))); }
  [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
};

struct echo {
  phx::outcome handle_in(phx::context&, phx::message const& in) { return phx::outcome::reply(in.payload); }
};

/// A client's frame with a mask of zeros.
std::string client(unsigned first, std::string const& body) {
  return std::string{static_cast<char>(first), static_cast<char>(0x80 | body.size())} + std::string(4, '\0') + body;
}

struct host {
  std::vector<std::string> out{};
  phx::router<> app{};
  phx::mount mount{};
  phx::testing::fake_loops loops{};
  phx::websocket::frame_reader reader{1000};
  std::optional<phx::socket<wire, phx::router<>>> socket{};

  host() {
    app.channel<echo>("room:*");
    auto judged = phx::handshake(mount, app, phx::request::of("GET", "/socket/websocket?vsn=2.0.0", {}));
    socket.emplace(loops[0], app, std::get<phx::admission<phx::anonymous>>(std::move(judged)), wire{&out}, loops.now());
  }
  phx::frames_result feed(std::string bytes) {
    return phx::receive_frames(*socket, reader, bytes, loops.now(),
                               [&](phx::websocket::control_frame const& f) { out.push_back(std::string(f.bytes())); });
  }
};

}  // namespace

TEST_CASE("receive_frames: messages reach their channel, pings are answered in order") {
  host h;
  CHECK(h.feed(client(0x81, R"(["1","1","room:a","phx_join",{}])") + client(0x89, "p") +
               client(0x01, R"(["1","2","room:a",)") + client(0x80, R"("echo",{}])")) == phx::frames_result::open);
  CHECK(h.out == std::vector<std::string>{R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])", "\x8a\x01p"s,
                                          R"(["1","2","room:a","phx_reply",{"status":"ok","response":{}}])"});
}

TEST_CASE("receive_frames: a client's close and a violation are answered, and the socket is gone") {
  host closing, broken;
  CHECK(closing.feed(client(0x88, "\x03\xe9") + client(0x81, "never")) == phx::frames_result::closed_by_client);
  CHECK(closing.out == std::vector<std::string>{"\x88\x02\x03\xe8"s});
  CHECK(broken.feed(client(0xc1, "[]")) == phx::frames_result::closed_by_client);
  CHECK(broken.out == std::vector<std::string>{"\x88\x02\x03\xea"s});
}

TEST_CASE("receive_frames: when phx closes, the close frame is sent, and nothing more is read") {
  host h;
  CHECK(h.feed(client(0x81, "no message") + client(0x89, "p")) == phx::frames_result::closed_by_phx);
  CHECK(h.out == std::vector<std::string>{"closed 1011"});
}

TEST_CASE("receive_frames: half a header counts as activity") {
  host h;
  CHECK(h.feed("\x81") == phx::frames_result::open);
  CHECK(h.out.empty());
}

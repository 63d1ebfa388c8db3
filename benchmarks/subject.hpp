#ifndef BENCHMARKS_SUBJECT_HPP
#define BENCHMARKS_SUBJECT_HPP
// The subject of the in-process benchmarks: a channel that echoes and broadcasts, sockets without a network, and messages
// for them. The time is constant.

#include <phx/phx.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace subject {

struct channel {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    if (in.event == "shout") ctx.broadcast("shout", in.payload);
    return phx::outcome::noreply();
  }
};
using application = phx::router<>;
constexpr phx::time_point now{};

struct no_waker {
  void wake() noexcept {}
};
/// Discards frames that only have to be encoded.
struct null_transport {
  std::uint64_t* bytes;
  phx::send_status send(phx::frame const& f) noexcept {
    *bytes += f.data().size();
    return phx::send_status::ok;
  }
  void close(phx::close_frame) noexcept {}
  [[nodiscard]] std::size_t buffered() const noexcept { return 0; }
};

[[nodiscard]] inline phx::admission<phx::anonymous> let_in(phx::mount const& where, application& app) {
  phx::request from;
  from.method = "GET";
  from.path = "/socket/websocket";
  from.query = "vsn=2.0.0";
  auto judged = phx::handshake(where, app, from);
  return std::move(*std::get_if<0>(&judged));
}

[[nodiscard]] inline std::string join(std::string_view topic) {
  return std::string(R"(["1","1",")").append(topic).append(R"(","phx_join",{}])");
}
/// A message of this many bytes, or of the smallest possible size.
[[nodiscard]] inline std::string frame_of(std::string_view event, std::size_t size, std::string_view topic = "load:1") {
  std::string text = R"(["1","12345",")";
  text.append(topic).append(R"(",")").append(event).append(R"(",{"c":17,"d":"","n":4711}])");
  text.insert(text.find(R"("d":")") + 5, size > text.size() ? size - text.size() : 0, 'x');
  return text;
}

}  // namespace subject

#endif

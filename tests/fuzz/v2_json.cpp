// The V2 serializer: decoding is compared with nlohmann, and encoding produces valid JSON.
#include <phx/serializer/v2.hpp>

#include "oracle.hpp"

namespace {

using nlohmann::json;
using oracle::require;

std::string encoded(auto const& record, phx::errc expected) {
  static phx::frame_pool pool{phx::memory{}};
  phx::frame_builder builder(pool);
  phx::errc const ec = phx::v2_json::encode(builder, record);
  require(ec == expected, "encodes, or refuses as told");
  phx::frame const done = builder.finish();
  return done.empty() ? std::string() : std::string(done.data());
}

void text(std::string_view in) {
  phx::scratch room{phx::memory{}};
  room.json_depth = 64;
  phx::message m;
  phx::errc const ec = phx::v2_json::decode(phx::opcode::text, in, room, m);
  require((ec == phx::errc::invalid_utf8) == !phx::json::utf8(in), "invalid UTF-8 outranks everything");
  bool const accepted = oracle::accepts(in);
  if (ec != phx::errc::none) {
    if (ec == phx::errc::not_json) require(!accepted, "not JSON");
    if (ec == phx::errc::wrong_shape) require(accepted, "JSON of another shape");
    if (accepted && ec == phx::errc::wrong_shape) {
      json const j = json::parse(in);
      require(!j.is_array() || j.size() < 5, "an array of five is a message");
    }
    return;
  }
  require(accepted, "only JSON is a message");
  json const j = json::parse(in);
  require(j.is_array() && j.size() >= 5, "a message has five elements");
  require(json::parse(m.join_ref.json) == j[0] && json::parse(m.ref.json) == j[1], "refs come as they are");
  require(json::parse(m.topic_name.json) == j[2] && json::parse(m.event_name.json) == j[3], "so do names");
  require(m.topic == (j[2].is_string() ? j[2].get<std::string>() : ""), "a topic is unescaped");
  require(m.event == (j[3].is_string() ? j[3].get<std::string>() : ""), "an event is unescaped");
  require(json::parse(m.payload.raw()) == j[4] && m.payload.is_object() == j[4].is_object(), "a payload is cut out whole");

  std::string const reply =
      encoded(phx::reply{m.join_ref, m.ref, m.topic_name, phx::status::ok, m.payload}, phx::errc::none);
  require(json::parse(reply) == json::array({j[0], j[1], j[2], "phx_reply", {{"status", "ok"}, {"response", j[4]}}}),
          "reply");
  phx::errc const pushed = j[4].is_object() ? phx::errc::none : phx::errc::not_an_object;
  std::string const push = encoded(phx::push{m.join_ref, {}, {m.topic, {}}, m.event_name, m.payload}, pushed);
  if (pushed == phx::errc::none) {
    // phx_close and phx_error have the join's ref twice, any other push has no ref (protocol 3.3).
    bool const ends = m.event == phx::event::close || m.event == phx::event::error;
    json const ref = ends ? j[0] : json();
    require(json::parse(push) == json::array({j[0], ref, std::string(m.topic), j[3], j[4]}), "push");
  }
}

void binary(std::string_view in) {
  phx::scratch room{phx::memory{}};
  phx::message m;
  phx::errc const ec = phx::v2_json::decode(phx::opcode::binary, in, room, m);
  auto const byte = [&](std::size_t i) { return std::size_t{static_cast<unsigned char>(in[i])}; };
  bool const whole = in.size() >= 5 && in[0] == 0 && in.size() >= 5 + byte(1) + byte(2) + byte(3) + byte(4);
  if (ec != phx::errc::none) {
    require(!whole || ec == phx::errc::invalid_utf8, "refused for a reason");
    return;
  }
  require(whole, "nothing is read behind the end");
  require(m.payload.is_binary() && m.payload.raw() == in.substr(5 + byte(1) + byte(2) + byte(3) + byte(4)),
          "the rest is payload");
  require(json::parse(m.join_ref.json).get<std::string>() == in.substr(5, byte(1)), "a join_ref becomes a string");
  require(json::parse(m.ref.json).get<std::string>() == in.substr(5 + byte(1), byte(2)), "so does a ref");
  std::string head{'\1', in[1], in[2], in[3], '\2'};
  head += in.substr(5, byte(1) + byte(2) + byte(3));
  std::string const reply =
      encoded(phx::reply{m.join_ref, m.ref, m.topic_name, phx::status::ok, m.payload}, phx::errc::none);
  require(reply == head + "ok" + std::string(m.payload.raw()), "a binary reply has the same strings");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const in(reinterpret_cast<char const*>(data), size);
  text(in);
  binary(in);
  return 0;
}

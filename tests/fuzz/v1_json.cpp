// The V1 serializer, today's and the one for old clients, compared with nlohmann.
#include <phx/serializer/legacy/generation.hpp>

#include "oracle.hpp"

#include <algorithm>

namespace {

using nlohmann::json;
using oracle::require;

void read(phx::serializer_ref mode, std::string_view in, bool ref_required) {
  phx::scratch room{phx::memory{}};
  room.json_depth = 64;
  phx::message m;
  phx::errc const ec = mode.decode(phx::opcode::text, in, room, m);
  require((ec == phx::errc::invalid_utf8) == !phx::json::utf8(in), "invalid UTF-8 outranks everything");
  bool const accepted = oracle::accepts(in);
  auto const complete = [&](json const& j) {
    return j.is_object() && j.contains("topic") && j.contains("event") && j.contains("payload") &&
           (j.contains("ref") || !ref_required);
  };
  if (ec != phx::errc::none) {
    if (ec == phx::errc::not_json) require(!accepted, "not JSON");
    if (ec == phx::errc::wrong_shape) require(accepted && !complete(json::parse(in)), "JSON of another shape");
    return;
  }
  require(accepted, "only JSON is a message");
  json const j = json::parse(in);
  require(complete(j), "a message has its keys");
  std::vector<std::string> keys = oracle::keys(in);
  std::sort(keys.begin(), keys.end());
  // Of duplicate keys nlohmann keeps the last, Phoenix the first.
  if (std::adjacent_find(keys.begin(), keys.end()) != keys.end()) return;
  require(m.ref.absent() == !j.contains("ref") && m.join_ref.absent() == !j.contains("join_ref"), "absent is absent");
  if (!m.ref.absent()) require(json::parse(m.ref.json) == j["ref"], "a ref comes as it is");
  if (!m.join_ref.absent()) require(json::parse(m.join_ref.json) == j["join_ref"], "a join_ref comes as it is");
  require(json::parse(m.topic_name.json) == j["topic"], "a topic comes as it is");
  if (!m.event_name.json.empty()) require(json::parse(m.event_name.json) == j["event"], "an event comes as it is");
  require(json::parse(m.payload.raw()) == j["payload"], "a payload is cut out whole");

  static phx::frame_pool pool{phx::memory{}};
  phx::frame_builder builder(pool);
  require(mode.encode(builder, phx::reply{m.join_ref, m.ref, m.topic_name, phx::status::ok, m.payload}) == phx::errc::none,
          "replies");
  phx::frame const done = builder.finish();
  json const reply = json::parse(done.data());
  require(reply["ref"] == (j.contains("ref") ? j["ref"] : json()) && reply["topic"] == j["topic"], "to the same ref");
  require(reply["payload"]["response"] == j["payload"], "with the payload");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const in(reinterpret_cast<char const*>(data), size);
  read(phx::legacy::of<phx::generation::today>().serializers()[0], in, true);
  read(phx::legacy::of<phx::generation::legacy>().serializers()[0], in, false);
  return 0;
}

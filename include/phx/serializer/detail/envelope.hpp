#ifndef PHX_SERIALIZER_DETAIL_ENVELOPE_HPP
#define PHX_SERIALIZER_DETAIL_ENVELOPE_HPP
// Shared by the JSON serializers: reading and writing the topic, event and refs of a message.

#include <phx/serializer/serializer.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// The error for `in`, which does not begin as a message does: wrong_shape if it is JSON, else what is wrong with it.
[[nodiscard]] inline errc another_shape(std::string_view in, scratch const& room) noexcept {
  json::cursor c(in, room.json_depth < json::deepest ? room.json_depth + 1 : json::deepest);
  std::string_view raw;
  return c.value(raw) && c.done() ? errc::wrong_shape : c.refusal();
}

[[nodiscard]] inline errc read_escaped(std::string_view raw, scratch& room, json_text& out) noexcept {
  // An escape takes at most six bytes for one, so a longer text exceeds the limit even unescaped.
  if (out.text.size() / 6 > room.name) return errc::name_too_long;
  char* const at = room.room(out.text.size());
  if (at == nullptr) return errc::no_memory;
  out.text = {at, json::unescape(raw, at)};
  return out.text.size() > room.name ? errc::name_too_long : errc::none;
}
/// Reads a topic or event. A value that is not a string keeps its JSON and has no text (protocol 2: echoed, never matched).
/// @param plain true if it has no escapes; the text is then a view of the frame.
[[nodiscard]] inline errc read_name(std::string_view raw, bool plain, scratch& room, json_text& out) noexcept {
  out.json = raw;
  bool const string = raw.front() == '"';
  out.text = string ? std::string_view(raw.data() + 1, raw.size() - 2) : std::string_view();
  if (string && !plain) return read_escaped(raw, room, out);
  return (string ? out.text : raw).size() > room.name ? errc::name_too_long : errc::none;
}

/// True if a ref is within limits::name. It is echoed unchanged, so its JSON is counted, without the quotes.
[[nodiscard]] inline bool ref_fits(std::string_view raw, scratch const& room) noexcept {
  return raw.size() <= std::size_t{room.name} + 2;
}

/// True for phx_close and phx_error, the only pushes with a ref. Clients recognise them by name, too.
[[nodiscard]] inline bool ends_a_channel(push const& p) noexcept {
  return p.event.text == event::close || p.event.text == event::error;
}

[[nodiscard]] inline std::string_view text_of(json_ref t) noexcept { return t.absent() ? std::string_view("null") : t.json; }
inline void write_name(frame_builder& out, json_text const& n) noexcept {
  if (n.json.empty())
    out.quoted(n.text);
  else
    out.append(n.json);
}
/// The bytes that text_of and write_name need if nothing has to be escaped.
[[nodiscard]] inline std::size_t room_for(json_ref t) noexcept { return t.absent() ? 4 : t.json.size(); }
[[nodiscard]] inline std::size_t room_for(json_text const& n) noexcept {
  return n.json.empty() ? n.text.size() + 2 : n.json.size();
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

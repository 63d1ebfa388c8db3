#ifndef PHX_SERIALIZER_DETAIL_ENVELOPE_HPP
#define PHX_SERIALIZER_DETAIL_ENVELOPE_HPP
// What the JSON serializers share: reading names and refs out of an envelope, writing them into one.

#include <phx/serializer/serializer.hpp>

namespace phx::inline PHX_BUILD::detail {

/// Why `in` could not be read as a message. Only now is all of it looked at: invalid UTF-8 anywhere outranks the rest,
/// because it closes a text frame with 1007 (protocol 3.6), and JSON of another shape is told from what is no JSON.
[[nodiscard]] inline errc unreadable(std::string_view in, scratch const& room) noexcept {
  if (!json::utf8(in)) return errc::invalid_utf8;
  errc const broken = json::check(in, room.json_depth < json::deepest ? room.json_depth + 1 : json::deepest);
  return broken == errc::none ? errc::wrong_shape : broken;
}

/// A topic or event from its token. What is no string keeps its JSON and has no text (protocol 2: echoed, never matched).
/// @param plain no escape in it: the text is then a view of the frame.
[[nodiscard]] inline errc read_name(std::string_view raw, bool plain, scratch& room, name& out) noexcept {
  out = {{}, raw};
  if (raw.front() != '"') return raw.size() > room.name ? errc::name_too_long : errc::none;
  out.text = raw.substr(1, raw.size() - 2);
  if (!plain) {
    // An escape is six bytes for one at most, so what is longer than this cannot fit and needs no room.
    if (out.text.size() / 6 > room.name) return errc::name_too_long;
    char* const at = room.room(out.text.size());
    if (at == nullptr) return errc::no_memory;
    out.text = {at, json::unescape(raw, at)};
  }
  return out.text.size() > room.name ? errc::name_too_long : errc::none;
}

/// A ref comes back as it came, so its bytes count as they came, but for the quotes.
[[nodiscard]] inline bool ref_fits(std::string_view raw, scratch const& room) noexcept {
  return raw.size() <= std::size_t{room.name} + 2;
}

/// phx_close and phx_error, the only pushes with a ref. By name, as clients tell them.
[[nodiscard]] inline bool ends_a_channel(push const& p) noexcept {
  return p.event.text == event::close || p.event.text == event::error;
}

inline void write_token(frame_builder& out, token t) noexcept { out.append(t.absent() ? std::string_view("null") : t.json); }
inline void write_name(frame_builder& out, name const& n) noexcept {
  if (n.json.empty())
    out.quoted(n.text);
  else
    out.append(n.json);
}
/// Bytes that write_token and write_name need, when nothing has to be escaped.
[[nodiscard]] inline std::size_t room_for(token t) noexcept { return t.absent() ? 4 : t.json.size(); }
[[nodiscard]] inline std::size_t room_for(name const& n) noexcept {
  return n.json.empty() ? n.text.size() + 2 : n.json.size();
}

}  // namespace phx::inline PHX_BUILD::detail

#endif

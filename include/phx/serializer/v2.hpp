#ifndef PHX_SERIALIZER_V2_HPP
#define PHX_SERIALIZER_V2_HPP
// Version 2: `[join_ref, ref, topic, event, payload]` in text frames, raw bytes in binary ones (protocol 3.3 to 3.6).

#include <phx/serializer/detail/envelope.hpp>
#include <phx/serializer/detail/ref_text.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// Version 2, for phoenix.js 1.3 and later. Stateless; see Serializer.
struct v2_json {
  /// The `vsn` it serves.
  static constexpr std::string_view requirement = "~> 2.0.0";

  /// See Serializer.
  [[nodiscard]] static errc decode(opcode op, std::string_view in, scratch& room, message& out) noexcept {
    return op == opcode::binary ? decode_binary(in, room, out) : decode_text(in, room, out);
  }

  /// See Serializer.
  [[nodiscard]] static errc encode(frame_builder& out, reply const& r) noexcept {
    if (!r.payload.valid()) return errc::invalid_payload;
    if (r.payload.is_binary()) return encode_binary(out, r);
    out.start(opcode::text, detail::room_for(r.join_ref) + detail::room_for(r.ref) + detail::room_for(r.topic) +
                                r.status.text().size() + r.payload.raw().size() + 48);
    out.append_all('[', detail::text_of(r.join_ref), ',', detail::text_of(r.ref), ',');
    detail::write_name(out, r.topic);
    out.append_all(R"(,"phx_reply",{"status":")", r.status.text(), R"(","response":)", r.payload.raw(), "}]");
    return errc::none;
  }
  /// See Serializer.
  [[nodiscard]] static errc encode(frame_builder& out, push const& p) noexcept {
    if (errc const ec = carried(p.payload); ec != errc::none) return ec;
    if (p.payload.is_binary()) return encode_binary(out, p);
    // phx_close and phx_error have the join_ref as their ref too, even if it is null (protocol 3.3, 5).
    encode_text(out, p.join_ref, detail::ends_a_channel(p) ? p.join_ref : json_ref{}, p.topic, p.event, p.payload);
    return errc::none;
  }
  /// See Serializer.
  [[nodiscard]] static errc encode(frame_builder& out, broadcast const& b) noexcept {
    if (errc const ec = carried(b.payload); ec != errc::none) return ec;
    if (b.payload.is_binary()) return encode_binary(out, b);
    encode_text(out, {}, {}, {b.topic, b.topic_json}, {b.event, {}}, b.payload);
    return errc::none;
  }

 private:
  enum kind : std::uint8_t { push_kind, reply_kind, broadcast_kind };
  static constexpr std::size_t longest_header = 255;

  [[nodiscard]] static errc decode_text(std::string_view in, scratch& room, message& out) noexcept {
    json::cursor c(in, room.json_depth);
    if (!c.take('[')) return detail::another_shape(in, room);
    std::string_view topic, event, payload, *const parts[] = {&out.join_ref.json, &out.ref.json, &topic, &event, &payload};
    bool plain[5] = {};
    std::size_t found = 0;
    while (found != 4 && c.compact_string(*parts[found])) plain[found++] = true;
    if (found != 0 || !c.take(']')) {
      do {
        std::string_view extra;  // elements after the fifth are ignored, but must be JSON
        if (!c.value(found < 5 ? *parts[found] : extra)) return c.refusal();
        if (found < 5) plain[found++] = c.plain();
      } while (c.take(','));
      if (!c.take(']')) return c.refusal();
    }
    if (!c.done()) return c.refusal();
    if (found < 5) return errc::wrong_shape;

    if (!detail::ref_fits(out.join_ref.json, room) || !detail::ref_fits(out.ref.json, room)) return errc::name_too_long;
    if (errc const ec = detail::read_name(topic, plain[2], room, out.topic_name); ec != errc::none) return ec;
    if (errc const fault = detail::read_name(event, plain[3], room, out.event_name); fault != errc::none) return fault;
    out.topic = out.topic_name.text;
    out.event = out.event_name.text;
    detail::payload_access::borrow_json(payload, out.payload);
    return errc::none;
  }

  /// A zero byte, four sizes of one byte each, then join_ref, ref, topic, event, and the payload to the end (protocol 3.4).
  [[nodiscard]] static errc decode_binary(std::string_view in, scratch& room, message& out) noexcept {
    if (in.empty()) return errc::truncated;
    if (in.front() != push_kind) return errc::unknown_kind;
    if (in.size() < 5) return errc::truncated;
    std::size_t at = 5;
    std::string_view part[4];
    for (std::size_t i = 0; i < 4; ++i) {
      std::size_t const size = static_cast<unsigned char>(in[1 + i]);
      if (in.size() - at < size) return errc::truncated;
      part[i] = in.substr(at, size);
      at += size;
    }
    // Each is checked alone: a character must not be split between two of them.
    for (std::string_view const text : part) {
      if (!json::utf8(text)) return errc::invalid_utf8;
      if (text.size() > room.name) return errc::name_too_long;
    }
    // An empty join_ref is the empty string, not null; on a joined topic the message is then stale (protocol 3.4).
    if (!quote(part[0], room, out.join_ref) || !quote(part[1], room, out.ref)) return errc::no_memory;
    out.topic = part[2];
    out.event = part[3];
    out.topic_name = {part[2], {}};
    out.event_name = {part[3], {}};
    out.payload = detail::payload_access::borrow(in.substr(at), true);
    return errc::none;
  }
  [[nodiscard]] static bool quote(std::string_view text, scratch& room, json_ref& out) noexcept {
    std::size_t const size = json::quoted_size(text);
    char* const at = room.room(size);
    if (at == nullptr) return false;
    json::quote(text, at);
    out.json = {at, size};
    return true;
  }

  /// Pushes and broadcasts must be an object or bytes: with anything else Phoenix raises in the caller. A reply may be any
  /// JSON (protocol 3.5).
  [[nodiscard]] static errc carried(payload const& p) noexcept {
    if (!p.valid()) return errc::invalid_payload;
    return p.is_binary() || p.is_object() ? errc::none : errc::not_an_object;
  }

  static void encode_text(frame_builder& out, json_ref join_ref, json_ref ref, json_text const& topic,
                          json_text const& event, payload const& p) noexcept {
    out.start(opcode::text, detail::room_for(join_ref) + detail::room_for(ref) + detail::room_for(topic) +
                                detail::room_for(event) + p.raw().size() + 6);
    out.append_all('[', detail::text_of(join_ref), ',', detail::text_of(ref), ',');
    detail::write_name(out, topic);
    out.append(',');
    detail::write_name(out, event);
    out.append_all(',', p.raw(), ']');
  }

  /// A string in the header of a binary frame: at most 255 bytes.
  class header {
   public:
    explicit header(std::string_view text) noexcept : text_(text) {}
    explicit header(json_text const& n) noexcept : text_(n.text), is_text_(n.is_string()) {}
    explicit header(json_ref t) noexcept {
      if (t.null()) return;
      if (!json::is_string(t.json)) {
        auto const text = detail::ref_text(t.json, unescaped_);
        is_text_ = text.has_value();
        if (is_text_) text_ = *text;
        return;
      }
      text_ = t.json.substr(1, t.json.size() - 2);
      // Too long for the buffer means too long for the header: an escape takes at most six bytes for one.
      if (json::plain(t.json) || text_.size() > sizeof(unescaped_)) return;
      text_ = {unescaped_, json::unescape(t.json, unescaped_)};
    }
    header(header const&) = delete;
    header& operator=(header const&) = delete;

    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    [[nodiscard]] char size() const noexcept { return static_cast<char>(static_cast<unsigned char>(text_.size())); }
    [[nodiscard]] errc carried() const noexcept {
      if (!is_text_) return errc::header_not_text;
      return text_.size() > longest_header ? errc::header_too_long : errc::none;
    }

   private:
    std::string_view text_{};
    bool is_text_ = true;
    char unescaped_[6 * longest_header];
  };

  /// The kind, the size of each string, the strings, the payload. The three kinds differ only in their strings.
  template <class... Headers>
  [[nodiscard]] static errc encode_binary(frame_builder& out, kind k, payload const& p, Headers const&... strings) noexcept {
    errc ec = errc::none;
    static_cast<void>((((ec = strings.carried()) == errc::none) && ...));
    if (ec != errc::none) return ec;
    out.start(opcode::binary, 1 + (... + (1 + strings.text().size())) + p.raw().size());
    out.append(static_cast<char>(k));
    (out.append(strings.size()), ...);
    (out.append(strings.text()), ...);
    out.append(p.raw());
    return errc::none;
  }
  [[nodiscard]] static errc encode_binary(frame_builder& out, reply const& r) noexcept {
    return encode_binary(out, reply_kind, r.payload, header(r.join_ref), header(r.ref), header(r.topic),
                         header(r.status.text()));
  }
  [[nodiscard]] static errc encode_binary(frame_builder& out, push const& p) noexcept {
    return encode_binary(out, push_kind, p.payload, header(p.join_ref), header(p.topic), header(p.event));
  }
  [[nodiscard]] static errc encode_binary(frame_builder& out, broadcast const& b) noexcept {
    return encode_binary(out, broadcast_kind, b.payload, header(b.topic), header(b.event));
  }
};
static_assert(Serializer<v2_json>);

}  // namespace PHX_BUILD
}  // namespace phx

#endif

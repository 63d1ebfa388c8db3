#ifndef PHX_SERIALIZER_V1_HPP
#define PHX_SERIALIZER_V1_HPP
// Version 1: `{"topic":..,"event":..,"ref":..,"payload":..}` (protocol 3.2), and how its generations differ.

#include <phx/serializer/detail/envelope.hpp>

namespace phx {
inline namespace PHX_BUILD {

/// The differences between the generations of version 1 (protocol 4.1). The defaults are those of Phoenix 1.8.
struct v1_wire {
  /// Where a reply has the ref of the message it answers.
  enum class reply_ref : std::uint8_t { no_replies, in_payload, on_top, both };
  /// The ref of phx_close and phx_error.
  enum class end_ref : std::uint8_t {
    no_ends,   ///< neither phx_close nor phx_error is sent
    null,      ///< always null
    join_ref,  ///< the join_ref of the join; null for a client that sends none
    join,      ///< the join_ref of the join, or its ref if it has none
  };
  /// When the events `join` and `leave` mean phx_join and phx_leave.
  enum class bare_names : std::uint8_t { never, without_ref, always };

  bool any_minor = false;                 ///< serves `~> 1.0` instead of `~> 1.0.0`
  bool ref_required = true;               ///< a message without the key `ref` is malformed
  bare_names joins = bare_names::never;   ///< see bare_names
  bool ref_written = true;                ///< frames have the key `ref`
  reply_ref replies = reply_ref::on_top;  ///< see reply_ref
  end_ref ends = end_ref::join_ref;       ///< see end_ref
  bool heartbeat_echoed = false;          ///< a heartbeat is echoed instead of answered by a phx_reply
  bool unmatched_answered = true;         ///< a message for a topic that is not joined is answered
  bool refused_is_ignore = false;         ///< the status of a refused join is `ignore`
  bool crash_named = true;                ///< phx_error has the reason `channel_crash`; empty before 1.8.10
  wire_rules rules{};                     ///< how the generation behaves
};

/// The serializer of a generation of version 1. Stateless; see Serializer.
template <v1_wire W>
struct v1_json_of {
  /// The `vsn` it serves.
  static constexpr std::string_view requirement = W.any_minor ? "~> 1.0" : "~> 1.0.0";
  /// How its generation of Phoenix behaves.
  static constexpr wire_rules rules = W.rules;

  /// Reads text and binary frames alike as JSON (protocol 3.2). If a key occurs twice, the first one counts.
  [[nodiscard]] static errc decode(opcode, std::string_view in, scratch& room, message& out) noexcept {
    json::cursor c(in, room.json_depth);
    std::string_view found[fields];
    bool plain[fields] = {};
    if (!c.take('{')) return detail::another_shape(in, room);
    if (!c.take('}')) {
      do {
        std::string_view key, value;
        if (!c.value(key) || key.front() != '"') return c.refusal();
        field const f = field_of(key, c.plain());
        if (!c.take(':') || !c.value(value)) return c.refusal();
        if (f != unknown && found[f].empty()) {
          found[f] = value;
          plain[f] = c.plain();
        }
      } while (c.take(','));
      if (!c.take('}')) return c.refusal();
    }
    if (!c.done()) return c.refusal();
    if (found[topic].empty() || found[event_].empty() || found[payload_].empty() || (W.ref_required && found[ref].empty()))
      return errc::wrong_shape;

    if (!detail::ref_fits(found[join_ref], room) || !detail::ref_fits(found[ref], room)) return errc::name_too_long;
    if (errc const ec = detail::read_name(found[topic], plain[topic], room, out.topic_name); ec != errc::none) return ec;
    if (errc const fault = detail::read_name(found[event_], plain[event_], room, out.event_name); fault != errc::none)
      return fault;
    out.join_ref.json = found[join_ref];
    out.ref.json = found[ref];
    if constexpr (W.joins != v1_wire::bare_names::never)
      if (W.joins == v1_wire::bare_names::always || out.ref.absent()) {
        if (out.event_name.text == "join") out.event_name = {event::join, {}};
        if (out.event_name.text == "leave") out.event_name = {event::leave, {}};
      }
    out.topic = out.topic_name.text;
    out.event = out.event_name.text;
    detail::payload_access::borrow_json(found[payload_], out.payload);
    return errc::none;
  }

  /// See Serializer.
  [[nodiscard]] static errc encode(frame_builder& out, reply const& r) noexcept {
    if (W.heartbeat_echoed && r.to == answer::heartbeat) {
      write(out, r.topic, {event::heartbeat, {}}, {}, "{}");
      return errc::none;
    }
    if (W.replies == v1_wire::reply_ref::no_replies || (!W.unmatched_answered && r.to == answer::unmatched))
      return errc::none;
    if (errc const ec = carried(r.payload); ec != errc::none) return ec;

    constexpr bool on_top = W.replies != v1_wire::reply_ref::in_payload;
    constexpr bool inside = W.replies != v1_wire::reply_ref::on_top;
    std::string_view const status = W.refused_is_ignore && r.to == answer::refused_join ? "ignore" : r.status.text();
    begin(out, r.topic, {event::reply, {}}, on_top ? r.ref : json_ref{},
          status.size() + r.payload.raw().size() + detail::room_for(r.ref) + 40);
    out.append_all(R"({"status":")", status, R"(","response":)", r.payload.raw());
    if constexpr (inside) {
      out.append_all(R"(,"ref":)", detail::text_of(r.ref));
    }
    out.append("}}");
    return errc::none;
  }

  /// See Serializer.
  [[nodiscard]] static errc encode(frame_builder& out, push const& p) noexcept {
    bool const ends = detail::ends_a_channel(p);
    if (W.ends == v1_wire::end_ref::no_ends && ends) return errc::none;
    if (errc const ec = carried(p.payload); ec != errc::none) return ec;
    json_ref end_ref{};
    if (ends) {
      if constexpr (W.ends == v1_wire::end_ref::join_ref) end_ref = p.join_ref;
      if constexpr (W.ends == v1_wire::end_ref::join) end_ref = p.join_ref.null() ? p.ref : p.join_ref;
    }
    bool const without_reason = !W.crash_named && ends && p.payload.raw() == detail::channel_crash.raw();
    write(out, p.topic, p.event, end_ref, without_reason ? std::string_view("{}") : p.payload.raw());
    return errc::none;
  }
  /// See Serializer.
  [[nodiscard]] static errc encode(frame_builder& out, broadcast const& b) noexcept {
    if (errc const ec = carried(b.payload); ec != errc::none) return ec;
    write(out, {b.topic, b.topic_json}, {b.event, {}}, {}, b.payload.raw());
    return errc::none;
  }

 private:
  enum field : std::uint8_t { topic, event_, payload_, ref, join_ref, fields, unknown = fields };

  [[nodiscard]] static field field_of(std::string_view key, bool plain) noexcept {
    constexpr std::string_view keys[fields] = {R"("topic")", R"("event")", R"("payload")", R"("ref")", R"("join_ref")"};
    for (std::uint8_t f = 0; f < fields; ++f)
      if (plain ? key == keys[f] : json::same_string(key, keys[f])) return static_cast<field>(f);
    return unknown;
  }

  /// Any JSON can be encoded, in pushes and broadcasts too, which version 2 limits to objects. Bytes cannot (protocol 3.2).
  [[nodiscard]] static errc carried(payload const& p) noexcept {
    if (!p.valid()) return errc::invalid_payload;
    return p.is_binary() ? errc::bytes_not_carried : errc::none;
  }

  /// Writes everything before the payload. @param room bytes that will follow.
  static void begin(frame_builder& out, json_text const& to_topic, json_text const& name, json_ref with_ref,
                    std::size_t room) noexcept {
    out.start(opcode::text, detail::room_for(to_topic) + detail::room_for(name) + detail::room_for(with_ref) + room + 40);
    out.append(R"({"topic":)");
    detail::write_name(out, to_topic);
    out.append(R"(,"event":)");
    detail::write_name(out, name);
    if constexpr (W.ref_written) {
      out.append_all(R"(,"ref":)", detail::text_of(with_ref));
    }
    out.append(R"(,"payload":)");
  }
  static void write(frame_builder& out, json_text const& to_topic, json_text const& name, json_ref with_ref,
                    std::string_view payload) noexcept {
    begin(out, to_topic, name, with_ref, payload.size());
    out.append_all(payload, '}');
  }
};

/// Version 1 as Phoenix 1.8 serves it: for phoenix.js up to 1.2, and for every client that sends no `vsn`.
struct v1_json : v1_json_of<v1_wire{}> {};
static_assert(Serializer<v1_json>);

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_TESTS_SUPPORT_MSGPACK_HPP
#define PHX_TESTS_SUPPORT_MSGPACK_HPP
// A serializer that is not JSON: MessagePack arrays [join_ref, ref, topic, event, payload] in binary frames at vsn 3.0.0. An
// example of the Serializer concept, not part of a public header. Payloads stay JSON text inside phx; bytes are a
// MessagePack bin.

#include <phx/serializer/serializer.hpp>

#include <cmath>
#include <cstdlib>
#include <string>

namespace msgpack {

/// JSON text (valid) to MessagePack.
class packer {
 public:
  explicit packer(std::string& to) : to_(to) {}

  void json(std::string_view text) {
    at_ = text.data();
    end_ = at_ + text.size();
    value();
  }
  void text(std::string_view s) {
    if (s.size() < 32)
      byte(0xa0 | s.size());
    else
      size(0xd9, s.size());
    to_.append(s);
  }
  void bytes(std::string_view s) {
    size(0xc4, s.size());
    to_.append(s);
  }
  void array(std::size_t n) { many(0x90, 0xdc, n); }
  void map(std::size_t n) { many(0x80, 0xde, n); }

 private:
  void byte(std::size_t b) { to_ += static_cast<char>(static_cast<unsigned char>(b)); }
  void big_endian(std::uint64_t n, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) byte(n >> (8 * i) & 0xff);
  }
  void size(unsigned first, std::size_t n) {
    int const log = n < 256 ? 0 : n < 65536 ? 1 : 2;
    byte(first + static_cast<unsigned>(log));
    big_endian(n, 1 << log);
  }
  void many(unsigned small, unsigned wide, std::size_t n) {
    if (n < 16) return byte(small | n);
    byte(n < 65536 ? wide : wide + 1);
    big_endian(n, n < 65536 ? 2 : 4);
  }
  void skip() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  std::string_view token() {
    char const* const from = at_;
    if (*at_ == '"') {
      for (++at_; *at_ != '"'; ++at_)
        if (*at_ == '\\') ++at_;
      ++at_;
    } else {
      while (at_ != end_ && std::string_view(",]} \n\r\t").find(*at_) == std::string_view::npos) ++at_;
    }
    return {from, static_cast<std::size_t>(at_ - from)};
  }
  void container(char close, bool keyed) {
    std::string inside;
    std::size_t n = 0;
    packer in(inside);
    ++at_;
    for (skip(); *at_ != close; skip()) {
      in.at_ = at_;
      in.end_ = end_;
      in.value();
      if (keyed) {
        in.skip();
        ++in.at_;
        in.value();
      }
      at_ = in.at_;
      ++n;
      skip();
      if (*at_ == ',') ++at_;
    }
    ++at_;
    if (keyed)
      map(n);
    else
      array(n);
    to_ += inside;
  }
  void value() {
    skip();
    switch (*at_) {
      case '{': return container('}', true);
      case '[': return container(']', false);
      case '"': {
        std::string_view const t = token();
        std::string s(t.size(), '\0');
        s.resize(phx::json::unescape(t, s.data()));
        return text(s);
      }
      default: break;
    }
    std::string const t(token());
    if (t == "null") return byte(0xc0);
    if (t == "false") return byte(0xc2);
    if (t == "true") return byte(0xc3);
    if (t.find_first_of(".eE") == std::string::npos && t.size() < 19) {
      byte(0xd3);
      return big_endian(static_cast<std::uint64_t>(std::strtoll(t.c_str(), nullptr, 10)), 8);
    }
    double const d = std::strtod(t.c_str(), nullptr);
    std::uint64_t bits;
    std::memcpy(&bits, &d, 8);
    byte(0xcb);
    big_endian(bits, 8);
  }

  std::string& to_;
  char const* at_ = nullptr;
  char const* end_ = nullptr;
};

/// MessagePack to JSON text, for untrusted input.
class unpacker {
 public:
  explicit unpacker(std::string_view in) : in_(in) {}

  [[nodiscard]] bool done() const { return at_ == in_.size(); }
  [[nodiscard]] bool array_of_five() { return at_ < in_.size() && static_cast<unsigned char>(in_[at_++]) == 0x95; }
  /// @param bytes set if it was a bin, which is only valid as a payload.
  [[nodiscard]] bool value(std::string& json, bool* bytes = nullptr, unsigned depth = 0) {
    std::uint64_t first = 0, n = 0;
    if (depth > 64 || !number(1, first)) return false;
    if (first < 0x80) return put(json, std::to_string(first));
    if (first < 0x90) return members(json, first & 15, depth);
    if (first < 0xa0) return elements(json, first & 15, depth);
    if (first < 0xc0) return string(json, first & 31);
    if (first >= 0xe0) return put(json, std::to_string(static_cast<int>(first) - 256));
    switch (first) {
      case 0xc0: return put(json, "null");
      case 0xc2: return put(json, "false");
      case 0xc3: return put(json, "true");
      case 0xc4:
      case 0xc5:
      case 0xc6: {
        if (bytes == nullptr || !number(1 << (first - 0xc4), n) || in_.size() - at_ < n) return false;
        *bytes = true;
        std::size_t const size = static_cast<std::size_t>(n);
        json.append(in_.substr(at_, size));
        at_ += size;
        return true;
      }
      case 0xcb: {
        if (!number(8, n)) return false;
        double d;
        std::memcpy(&d, &n, 8);
        if (!std::isfinite(d)) return false;
        char text[40];
        std::snprintf(text, sizeof text, "%.17g", d);
        return put(json, text);
      }
      case 0xcc: return number(1, n) && put(json, std::to_string(n));
      case 0xcd: return number(2, n) && put(json, std::to_string(n));
      case 0xce: return number(4, n) && put(json, std::to_string(n));
      case 0xcf: return number(8, n) && put(json, std::to_string(n));
      case 0xd3: return number(8, n) && put(json, std::to_string(static_cast<std::int64_t>(n)));
      case 0xd9: return number(1, n) && string(json, n);
      case 0xda: return number(2, n) && string(json, n);
      case 0xdc: return number(2, n) && elements(json, n, depth);
      case 0xde: return number(2, n) && members(json, n, depth);
      default: return false;
    }
  }

 private:
  static bool put(std::string& json, std::string_view text) {
    json += text;
    return true;
  }
  [[nodiscard]] bool number(int bytes, std::uint64_t& n) {
    if (in_.size() - at_ < static_cast<std::size_t>(bytes)) return false;
    n = 0;
    for (int i = 0; i < bytes; ++i) n = n << 8 | static_cast<unsigned char>(in_[at_++]);
    return true;
  }
  [[nodiscard]] bool string(std::string& json, std::uint64_t n) {
    if (in_.size() - at_ < n) return false;
    std::size_t const size = static_cast<std::size_t>(n);
    std::string_view const s = in_.substr(at_, size);
    if (!phx::json::utf8(s)) return false;
    phx::json::append_quoted(json, s);
    at_ += size;
    return true;
  }
  [[nodiscard]] bool elements(std::string& json, std::uint64_t n, unsigned depth) {
    json += '[';
    for (std::uint64_t i = 0; i < n; ++i) {
      if (i != 0) json += ',';
      if (!value(json, nullptr, depth + 1)) return false;
    }
    return put(json, "]");
  }
  [[nodiscard]] bool members(std::string& json, std::uint64_t n, unsigned depth) {
    json += '{';
    for (std::uint64_t i = 0; i < n; ++i) {
      if (i != 0) json += ',';
      std::size_t const key = json.size();
      if (!value(json, nullptr, depth + 1) || json[key] != '"') return false;
      json += ':';
      if (!value(json, nullptr, depth + 1)) return false;
    }
    return put(json, "}");
  }

  std::string_view in_;
  std::size_t at_ = 0;
};

struct serializer {
  static constexpr std::string_view requirement = "~> 3.0.0";

  [[nodiscard]] static phx::errc decode(phx::opcode op, std::string_view in, phx::scratch& room,
                                        phx::message& out) noexcept {
    unpacker from(in);
    std::string json[5];
    bool bytes = false;
    bool whole = op == phx::opcode::binary && from.array_of_five();
    for (std::size_t i = 0; whole && i < 5; ++i) whole = from.value(json[i], i == 4 ? &bytes : nullptr);
    if (!whole || !from.done()) return phx::errc::wrong_shape;
    std::string_view part[5];
    for (std::size_t i = 0; i < 5; ++i) {
      if (i < 4 && json[i].size() > room.name + 2) return phx::errc::name_too_long;
      char* const at = room.room(json[i].size());
      if (at == nullptr) return phx::errc::no_memory;
      std::memcpy(at, json[i].data(), json[i].size());
      part[i] = {at, json[i].size()};
    }
    for (std::size_t i : {std::size_t{2}, std::size_t{3}}) {
      phx::json_text& name = i == 2 ? out.topic_name : out.event_name;
      name.json = part[i];
      if (!phx::json::is_string(part[i])) continue;
      char* const at = room.room(part[i].size());
      if (at == nullptr) return phx::errc::no_memory;
      name.text = {at, phx::json::unescape(part[i], at)};
    }
    out.join_ref.json = part[0];
    out.ref.json = part[1];
    out.topic = out.topic_name.text;
    out.event = out.event_name.text;
    out.payload = phx::detail::payload_access::borrow(part[4], bytes);
    return phx::errc::none;
  }
  [[nodiscard]] static phx::errc encode(phx::frame_builder& out, phx::reply const& r) noexcept {
    if (!r.payload.valid()) return phx::errc::invalid_payload;
    std::string all = head(r.join_ref, r.ref, r.topic, {"phx_reply", {}});
    packer to(all);
    to.map(2);
    to.text("status");
    to.text(r.status.text());
    to.text("response");
    payload(to, r.payload);
    return done(out, all);
  }
  [[nodiscard]] static phx::errc encode(phx::frame_builder& out, phx::push const& p) noexcept {
    if (!p.payload.valid()) return phx::errc::invalid_payload;
    bool const end = p.event.text == phx::event::close || p.event.text == phx::event::error;
    std::string all = head(p.join_ref, end ? p.join_ref : phx::json_ref{}, p.topic, p.event);
    packer to(all);
    payload(to, p.payload);
    return done(out, all);
  }
  [[nodiscard]] static phx::errc encode(phx::frame_builder& out, phx::broadcast const& b) noexcept {
    if (!b.payload.valid()) return phx::errc::invalid_payload;
    std::string all = head({}, {}, {b.topic, b.topic_json}, {b.event, {}});
    packer to(all);
    payload(to, b.payload);
    return done(out, all);
  }

  /// A whole message from the JSON of its five elements.
  [[nodiscard]] static std::string from_json(std::string_view array) {
    std::string out;
    packer(out).json(array);
    return out;
  }
  /// Any MessagePack as JSON; bins as text.
  [[nodiscard]] static std::string to_json(std::string_view frame) {
    unpacker from(frame);
    std::string json;
    bool bytes = false;
    if (!from.value(json, &bytes) || !from.done()) return "not MessagePack";
    return json;
  }

 private:
  [[nodiscard]] static std::string head(phx::json_ref join_ref, phx::json_ref ref, phx::json_text topic,
                                        phx::json_text event) {
    std::string all;
    packer to(all);
    to.array(5);
    to.json(join_ref.absent() ? "null" : join_ref.json);
    to.json(ref.absent() ? "null" : ref.json);
    for (phx::json_text const& n : {topic, event})
      if (n.json.empty())
        to.text(n.text);
      else
        to.json(n.json);
    return all;
  }
  static void payload(packer& to, phx::payload const& p) {
    if (p.is_binary())
      to.bytes(p.raw());
    else
      to.json(p.raw());
  }
  [[nodiscard]] static phx::errc done(phx::frame_builder& out, std::string_view all) {
    out.start(phx::opcode::binary, all.size());
    out.append(all);
    return phx::errc::none;
  }
};
static_assert(phx::Serializer<serializer>);

}  // namespace msgpack

#endif

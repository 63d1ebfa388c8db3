#ifndef PHX_PRESENCE_DETAIL_WIRE_HPP
#define PHX_PRESENCE_DETAIL_WIRE_HPP
// The messages between trackers, as bytes: a writer, and a reader for untrusted bytes. Version 1 ("PT1"); a message of
// another version is rejected. Numbers are LEB128; texts are preceded by their length.
//
//   message   "PT1" kind name start [clocks] [sections]
//   clocks    count, then name start seen                (heartbeat, request)
//   sections  count, then name start first [last number] ranges values   (heartbeat, state)
//             first 0: a delta. Otherwise the piece from `first` to `last` of the full state with this number
//   ranges    count, then gap length                     gap: from the end of the previous range
//   values    count, then step prev topic key meta       step: from the dot of the previous value; prev: distance back, or 0
//
// A message is read completely or not at all. After a successful read the ranges are ordered, the values lie in them, texts
// are UTF-8 and metas are JSON.

#include <phx/presence/detail/entry.hpp>

#include <span>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

enum class wire_kind : std::uint8_t {
  heartbeat = 1,  // what the sender has seen of all nodes, and its own changes
  request = 2,    // what the sender has seen of all nodes; the receiver sends the rest
  state = 3,      // the rest
  goodbye = 4,
};

struct wire_clock {
  std::string name{};
  std::uint64_t start = 0;
  dot seen = 0;
};
struct wire_value {
  dot clock = 0, prev = 0;
  std::string_view topic{}, key{};
  std::string members{};
};
struct wire_section {
  std::string_view name{};
  std::uint64_t start = 0;
  dot first = 0, last = 0;
  std::uint64_t number = 0;
  dot_set seen{};
  std::vector<wire_value> values{};  // ordered by clock; all of their dots are in `seen`
};
/// A message. Its views refer to the bytes it was read from.
struct wire_message {
  wire_kind kind = wire_kind::heartbeat;
  std::string_view sender{};
  std::uint64_t start = 0;
  std::vector<wire_clock> clocks{};
  std::vector<wire_section> sections{};
};

/// Constants, because all nodes must agree: no node may reject what another one accepted from its channels.
struct wire_limits {
  static constexpr std::size_t name = 255, topic = 65'536, key = 65'536, meta = 1'048'576, clocks = 1'024;
};

struct written_section {
  std::string_view name;
  std::uint64_t start;
  dot first, last;
  std::uint64_t number;
  dot_set seen;
  std::vector<presence_entry const*> values;
};

class wire_writer {
 public:
  wire_writer(wire_kind kind, std::string_view name, std::uint64_t start) : bytes("PT1") {
    number(static_cast<std::uint64_t>(kind));
    text(name);
    number(start);
  }
  void clocks(std::vector<wire_clock> const& all) {
    number(all.size());
    for (wire_clock const& c : all) {
      text(c.name);
      number(c.start);
      number(c.seen);
    }
  }
  void sections(std::span<written_section const> all) {
    number(all.size());
    for (written_section const& s : all) {
      text(s.name);
      number(s.start);
      number(s.first);
      if (s.first != 0) {
        number(s.last);
        number(s.number);
      }
      number(s.seen.ranges().size());
      dot end = 0;
      for (dot_range const r : s.seen.ranges()) {
        number(r.first - end);
        number(r.last - r.first);
        end = r.last;
      }
      number(s.values.size());
      dot before = 0;
      for (presence_entry const* const e : s.values) {
        number(e->clock - before);
        number(e->prev == 0 ? 0 : e->clock - e->prev);
        text(e->topic);
        text(e->key);
        text(e->members());
        before = e->clock;
      }
    }
  }
  std::string bytes;

 private:
  void number(std::uint64_t n) {
    for (; n >= 128; n >>= 7) bytes.push_back(static_cast<char>(static_cast<unsigned char>(n | 128)));
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(n)));
  }
  void text(std::string_view t) {
    number(t.size());
    bytes.append(t);
  }
};

/// Reads numbers and texts. After the first error every read fails, and good() is false.
class wire_reader {
 public:
  explicit wire_reader(std::string_view bytes) noexcept : left_(bytes) {}
  [[nodiscard]] bool good() const noexcept { return good_; }
  [[nodiscard]] bool done() const noexcept { return good_ && left_.empty(); }

  std::uint64_t number(std::uint64_t most = UINT64_MAX) noexcept {
    std::uint64_t n = 0;
    for (unsigned shift = 0; good_; shift += 7) {
      if (left_.empty()) break;
      auto const byte = static_cast<unsigned char>(left_.front());
      left_.remove_prefix(1);
      if (shift == 63 && byte > 1) break;  // more than 64 bits
      n |= std::uint64_t{byte & 127u} << shift;
      if (byte < 128) {
        if (n > most) break;
        return n;
      }
    }
    good_ = false;
    return 0;
  }
  /// Reads the count of items of at least `bytes_each` bytes; fails if the remaining bytes are too few for it.
  std::size_t count(std::size_t bytes_each) noexcept { return static_cast<std::size_t>(number(left_.size() / bytes_each)); }
  std::string_view text(std::size_t most) noexcept {
    auto const size = static_cast<std::size_t>(number(most));
    if (!good_ || size > left_.size()) {
      good_ = false;
      return {};
    }
    std::string_view const t = left_.substr(0, size);
    left_.remove_prefix(size);
    return t;
  }
  bool expect(std::string_view text) noexcept {
    if (good_ && left_.starts_with(text))
      left_.remove_prefix(text.size());
    else
      good_ = false;
    return good_;
  }
  void refuse() noexcept { good_ = false; }

 private:
  std::string_view left_;
  bool good_ = true;
};

inline void read_clocks(wire_reader& in, std::vector<wire_clock>& into) {
  std::size_t const n = in.count(3);
  if (n > wire_limits::clocks) return in.refuse();
  for (std::size_t i = 0; i < n && in.good(); ++i) {
    wire_clock c;
    c.name = in.text(wire_limits::name);
    c.start = in.number();
    c.seen = in.number(last_dot);
    into.push_back(std::move(c));
  }
}

inline void read_section(wire_reader& in, wire_section& s) {
  s.name = in.text(wire_limits::name);
  s.start = in.number();
  s.first = in.number(last_dot);
  if (s.first != 0) {
    s.last = in.number(last_dot);
    s.number = in.number();
    if (s.last < s.first) return in.refuse();
  }
  std::vector<dot_range> ranges;
  dot end = 0;
  for (std::size_t n = in.count(2); n != 0 && in.good(); --n) {
    dot const gap = in.number(last_dot), length = in.number(last_dot);
    if (gap == 0 || end + gap + length > last_dot) return in.refuse();
    ranges.push_back({end + gap, end + gap + length});
    end += gap + length;
  }
  if (s.first != 0 && !ranges.empty() && (ranges.front().first < s.first || ranges.back().last > s.last)) return in.refuse();
  s.seen = dot_set(std::move(ranges));
  dot clock = 0;
  for (std::size_t n = in.count(5); n != 0 && in.good(); --n) {
    wire_value v;
    dot const step = in.number(last_dot);
    if (step == 0) return in.refuse();
    v.clock = clock += step;
    dot const back = in.number(last_dot);
    v.topic = in.text(wire_limits::topic);
    v.key = in.text(wire_limits::key);
    std::string_view const members = in.text(wire_limits::meta);
    if (!in.good() || back >= v.clock || !s.seen.contains(v.clock)) return in.refuse();
    v.prev = back == 0 ? 0 : v.clock - back;
    // Clients receive these unchanged.
    if (!json::utf8(v.topic) || !json::utf8(v.key)) return in.refuse();
    std::optional<std::string> clean = meta_members(std::string("{").append(members).append("}"));
    if (!clean) return in.refuse();
    v.members = std::move(*clean);
    s.values.push_back(std::move(v));
  }
}

/// @return false if it is not a message of this version. May throw std::bad_alloc.
[[nodiscard]] inline bool read(std::string_view bytes, wire_message& m) {
  wire_reader in(bytes);
  if (!in.expect("PT1")) return false;
  auto const kind = in.number(4);
  m.kind = static_cast<wire_kind>(kind);
  m.sender = in.text(wire_limits::name);
  m.start = in.number();
  if (!in.good() || kind == 0 || m.sender.empty()) return false;
  if (m.kind == wire_kind::heartbeat || m.kind == wire_kind::request) read_clocks(in, m.clocks);
  if (m.kind == wire_kind::heartbeat || m.kind == wire_kind::state) {
    for (std::size_t n = in.count(5); n != 0 && in.good(); --n) read_section(in, m.sections.emplace_back());
  }
  return in.done();
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

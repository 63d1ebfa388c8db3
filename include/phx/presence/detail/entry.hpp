#ifndef PHX_PRESENCE_DETAIL_ENTRY_HPP
#define PHX_PRESENCE_DETAIL_ENTRY_HPP
// One channel that is tracked under one key: its meta as clients receive it, with its refs (protocol 14.1).

#include <phx/core/text/json.hpp>
#include <phx/presence/detail/dots.hpp>

#include <map>
#include <memory>
#include <optional>
#include <string>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Appends a phx_ref: six bytes that identify one run of a node (its mark) and six bytes of the entry's dot, as base64url.
/// Every node computes the same, so it is not sent between nodes.
inline void append_ref(std::string& out, std::uint64_t mark, dot clock) {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (std::uint64_t const half : {mark, clock})
    for (int shift = 42; shift >= 0; shift -= 6) out.push_back(alphabet[half >> shift & 63]);
}

/// Immutable, because lists and diffs on several threads share it.
struct presence_entry {
  std::string topic{}, key{};
  std::string json{};       ///< the meta, with its phx_ref first
  std::size_t meta_at = 0;  ///< where the members of the user's meta begin in `json`
  dot clock = 0, prev = 0;  ///< its dot; the dot of the entry it replaced, or 0

  [[nodiscard]] std::string_view ref() const noexcept { return std::string_view(json).substr(12, 16); }
  /// The members of the user's meta, without the braces.
  [[nodiscard]] std::string_view members() const noexcept {
    return std::string_view(json).substr(meta_at, json.size() - 1 - meta_at);
  }
  /// The approximate size in a message, in bytes.
  [[nodiscard]] std::size_t size() const noexcept { return topic.size() + key.size() + json.size(); }
  [[nodiscard]] std::string meta() const { return std::string("{").append(members()).append("}"); }
};
using entry_ptr = std::shared_ptr<presence_entry const>;

/// @param members from meta_members. May throw std::bad_alloc.
[[nodiscard]] inline entry_ptr make_entry(std::uint64_t mark, dot clock, dot prev, std::string_view topic,
                                          std::string_view key, std::string_view members) {
  auto made = std::make_shared<presence_entry>();
  made->topic = topic;
  made->key = key;
  made->clock = clock;
  made->prev = prev;
  std::string& json = made->json;
  json.reserve(members.size() + 68);
  json = R"({"phx_ref":")";
  append_ref(json, mark, clock);
  json += '"';
  if (prev != 0) {
    json += R"(,"phx_ref_prev":")";
    append_ref(json, mark, prev);
    json += '"';
  }
  if (!members.empty()) json += ',';
  made->meta_at = json.size();
  json.append(members) += '}';
  return made;
}

/// The members of a meta without surrounding spaces, and without phx_ref and phx_ref_prev, which phx writes itself (Phoenix
/// overwrites them). Nothing if `text` is not a JSON object. May throw std::bad_alloc.
[[nodiscard]] inline std::optional<std::string> meta_members(std::string_view text, std::uint32_t depth = 1024) {
  std::string out;
  json::cursor c(text, depth);
  std::string_view key, value;
  if (!c.take('{')) return std::nullopt;
  if (!c.take('}')) {
    do {
      if (!c.value(key) || !json::is_string(key) || !c.take(':') || !c.value(value)) return std::nullopt;
      if (json::same_string(key, R"("phx_ref")") || json::same_string(key, R"("phx_ref_prev")")) continue;
      if (!out.empty()) out += ',';
      out.append(key).append(":").append(value);
    } while (c.take(','));
    if (!c.take('}')) return std::nullopt;
  }
  if (!c.done()) return std::nullopt;
  return out;
}

/// True for keys with a special meaning in JavaScript objects: phoenix.js before 1.8.9 breaks on them (CVE-2026-56812).
[[nodiscard]] inline bool unsafe_key(std::string_view key) noexcept {
  for (std::string_view const name :
       {"__proto__", "prototype", "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toString",
        "toLocaleString", "valueOf", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"})
    if (key == name) return true;
  return false;
}

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

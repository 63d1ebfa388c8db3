#ifndef PHX_ADAPTER_NLOHMANN_HPP
#define PHX_ADAPTER_NLOHMANN_HPP
// nlohmann::json for payloads. With this header included, everything that takes a payload takes a nlohmann::json, or a
// struct with `to_json` or NLOHMANN_DEFINE_TYPE_*: push, broadcast, replies, the answer to a join, presence metas. get reads
// a payload: @code
//   ctx.push("moved", m);                                       // m: a struct move { std::string piece; int x, y; }
//   return phx::outcome::reply(nlohmann::json{{"moves", n}});
//   phx::result<move> m = in.payload.get<move>();               // or get<nlohmann::json>()
//   if (!m) log(m.error().entry);                               // the field at fault: "x"
// @endcode
// Exceptions of nlohmann while it writes (no memory; a `to_json` that throws) leave push, broadcast or reply.

#include <phx/message/payload.hpp>

#include <nlohmann/json.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {

/// nlohmann::json, ordered_json, or another basic_json.
template <class T>
concept nlohmann_tree = requires {
  typename T::initializer_list_t;
  typename T::error_handler_t;
  requires std::same_as<typename T::json_pointer, ::nlohmann::json_pointer<typename T::string_t>>;
};
/// A struct with to_json. Not strings, numbers and enumerations: "{}" could be meant as JSON, or as a string to be quoted.
template <class T>
concept nlohmann_writes = (std::is_class_v<T> || std::is_union_v<T>)&&!std::is_convertible_v<T const&, std::string_view> &&
                          requires(::nlohmann::json & tree, T const& value) {
  ::nlohmann::adl_serializer<T>::to_json(tree, value);
};
template <class T>
concept nlohmann_reads = requires(::nlohmann::json const& tree) {
  tree.template get<T>();
};

template <class T>
[[nodiscard]] std::optional<T> from_tree(::nlohmann::json const& tree, std::string& reason) {
  std::optional<T> value;
  if (!try_invoke([&] { value.emplace(tree.template get<T>()); }, [&](char const* text) { reason = text; })) value.reset();
  return value;
}

/// The key in "key 'name' not found", the message of nlohmann's error 403.
[[nodiscard]] inline std::optional<std::string> missing_key(std::string const& reason) {
  constexpr std::string_view before = "key '", after = "' not found";
  std::size_t const from = reason.find(before), to = reason.rfind(after);
  if (reason.find("out_of_range.403") == std::string::npos || from == std::string::npos || to == std::string::npos)
    return {};
  return reason.substr(from + before.size(), to - from - before.size());
}

/// The top-level field that makes a conversion fail; empty if there is none. nlohmann's message does not contain it, unless
/// every unit of the program is built with JSON_DIAGNOSTICS. So the conversion is repeated on an object with some of the
/// keys: first with none, then each time with the key that was not found. The key after which the error is another one is
/// the wrong field; if there is none, the optional fields are added one by one. Gives up after 64 conversions, so that a
/// peer cannot make it expensive.
template <class T>
[[nodiscard]] std::string field_at_fault(::nlohmann::json const& whole) {
  if (!whole.is_object()) return {};
  int tries = 64;
  ::nlohmann::json some = ::nlohmann::json::object();
  std::string last, before_last, reason;
  while (!from_tree<T>(some, reason)) {
    if (--tries == 0) return {};
    std::optional<std::string> const asked = missing_key(reason);
    if (!asked) return last;
    // It is there, so the key is missing inside the value of another field.
    if (some.contains(*asked)) return *asked == last ? before_last : last;
    bool const missing = !whole.contains(*asked);
    some[*asked] = missing ? ::nlohmann::json() : whole[*asked];
    before_last = std::exchange(last, *asked);
    if (missing) {
      std::string again;
      (void)from_tree<T>(some, again);
      return again == reason ? before_last : last;
    }
  }
  for (auto const& [key, value] : whole.items()) {
    if (some.contains(key)) continue;
    some[key] = value;
    if (!from_tree<T>(some, reason)) return key;
    if (--tries == 0) return {};
  }
  return {};
}

}  // namespace detail

/// The compact JSON text. Bytes that are not UTF-8 become U+FFFD; a discarded tree makes a payload that is not valid().
template <detail::nlohmann_tree J>
[[nodiscard]] payload to_payload(J const& tree, memory const& from = {}) {
  std::string const text = tree.is_discarded() ? std::string() : tree.dump(-1, ' ', false, J::error_handler_t::replace);
  return text.empty() ? payload::json({}) : payload::trusted_json(text, from);
}

/// Reading gives errc::not_json for bytes, and errc::wrong_shape with the wrong top-level field in `entry`, which is empty
/// if no field is wrong by itself. @par Without exceptions nlohmann aborts when a conversion fails: read a nlohmann::json,
/// and check it before you convert it.
template <class T>
requires detail::nlohmann_tree<T> || detail::nlohmann_writes<T> || detail::nlohmann_reads<T>
struct json_traits<T> {
  /// @return the JSON text of `value`. May throw what the library throws.
  [[nodiscard]] static payload write(T const& value) requires detail::nlohmann_tree<T> || detail::nlohmann_writes<T> {
    if constexpr (detail::nlohmann_tree<T>) {
      return to_payload(value);
    } else {
      ::nlohmann::json tree;
      ::nlohmann::adl_serializer<T>::to_json(tree, value);
      return to_payload(tree);
    }
  }
  /// @return the value; errc::not_json or errc::wrong_shape.
  [[nodiscard]] static result<T> read(payload const& p) requires detail::nlohmann_tree<T> || detail::nlohmann_reads<T> {
    if (p.is_binary() || !p.valid()) return error{errc::not_json, {}};
    using tree_type = std::conditional_t<detail::nlohmann_tree<T>, T, ::nlohmann::json>;
    tree_type tree = tree_type::parse(p.raw(), nullptr, false);
    if (tree.is_discarded()) return error{errc::not_json, {}};
    if constexpr (detail::nlohmann_tree<T>) {
      return tree;
    } else {
      std::string reason;
      std::optional<T> value = detail::from_tree<T>(tree, reason);
      if (!value) return error{errc::wrong_shape, detail::field_at_fault<T>(tree)};
      return *std::move(value);
    }
  }
};

/// The same as p.get<T>().
template <class T>
requires JsonReadable<T>
[[nodiscard]] result<T> parse(payload const& p) { return p.get<T>(); }

}  // namespace PHX_BUILD
}  // namespace phx

#endif

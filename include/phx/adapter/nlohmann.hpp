#ifndef PHX_ADAPTER_NLOHMANN_HPP
#define PHX_ADAPTER_NLOHMANN_HPP
// nlohmann::json for payloads. With this header included, whatever takes a payload takes a tree, or a struct of yours that
// has `to_json` or NLOHMANN_DEFINE_TYPE_*: push, broadcast, replies, the answer to a join, presence metas. A payload is read
// with get:
// @code
//   here.push("moved", m);                                      // m: a struct move { std::string piece; int x, y; }
//   return phx::outcome::reply(nlohmann::json{{"moves", n}});
//   phx::result<move> m = in.payload.get<move>();               // or get<nlohmann::json>()
//   if (!m) log(m.error().entry);                               // the field at fault: "x"
// @endcode
// What nlohmann throws while it writes (no memory; a to_json of yours) is thrown in your callback.

#include <phx/message/payload.hpp>

#include <nlohmann/json.hpp>

#include <concepts>
#include <optional>
#include <string>
#include <type_traits>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {

/// nlohmann::json, ordered_json, or a basic_json of yours.
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

/// The key of "key 'name' not found", which is how nlohmann says (403) that `at` looked in vain.
[[nodiscard]] inline std::optional<std::string> key_looked_for(std::string const& reason) {
  constexpr std::string_view before = "key '", after = "' not found";
  std::size_t const from = reason.find(before), to = reason.rfind(after);
  if (reason.find("out_of_range.403") == std::string::npos || from == std::string::npos || to == std::string::npos)
    return {};
  return reason.substr(from + before.size(), to - from - before.size());
}

/// Which top-level field a conversion failed on. nlohmann says only "type must be string, but is number", unless every unit
/// of the program is built with JSON_DIAGNOSTICS; so the conversion is tried again on an object that has few of the keys:
/// first on none, then with each key that it asks for in vain. The key whose arrival made the failure another one than
/// "not found" is the one; if there is none, the optional fields follow one by one. Empty where no field is to blame, and
/// beyond 64 tries: what a peer sends must not cost more than that.
template <class T>
[[nodiscard]] std::string field_at_fault(::nlohmann::json const& whole) {
  if (!whole.is_object()) return {};
  int tries = 64;
  ::nlohmann::json some = ::nlohmann::json::object();
  std::string last, before_last, reason;
  while (!from_tree<T>(some, reason)) {
    if (--tries == 0) return {};
    std::optional<std::string> const asked = key_looked_for(reason);
    if (!asked) return last;
    // Asked for and there: it was looked for inside the value of another field.
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

/// The compact text of a tree. What is not UTF-8 in it becomes U+FFFD; a discarded tree makes a payload that is !valid().
template <detail::nlohmann_tree J>
[[nodiscard]] payload to_payload(J const& tree, memory const& from = {}) {
  std::string const text = tree.is_discarded() ? std::string() : tree.dump(-1, ' ', false, J::error_handler_t::replace);
  return text.empty() ? payload::json({}) : payload::trusted_json(text, from);
}

/// @return reading: errc::not_json for bytes; errc::wrong_shape with the top-level field at fault in `entry`, which is empty
///   where no field is to blame.
/// @par Without exceptions nlohmann aborts on a conversion that fails: there read a tree, and look before you convert.
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
  /// @return the value; errc::not_json or wrong_shape where it cannot be read.
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

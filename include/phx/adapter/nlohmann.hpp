#ifndef PHX_ADAPTER_NLOHMANN_HPP
#define PHX_ADAPTER_NLOHMANN_HPP
// nlohmann::json for payloads: read one into a tree or into a struct of yours, make one from a tree.

#include <phx/channel/channel.hpp>

#include <nlohmann/json.hpp>

namespace phx::inline PHX_BUILD {

namespace detail {

template <class T>
concept nlohmann_tree = ::nlohmann::detail::is_basic_json<T>::value;
template <class T>
concept nlohmann_reads = requires(::nlohmann::json const& j) { j.template get<T>(); };

template <class T>
[[nodiscard]] std::optional<T> from_tree(::nlohmann::json const& tree, std::string& why) {
  std::optional<T> value;
  if (!guarded([&] { value.emplace(tree.template get<T>()); }, [&](char const* what) { why = what; })) value.reset();
  return value;
}

/// The key of "key 'name' not found", which is how nlohmann says (403) that `at` looked in vain.
[[nodiscard]] inline std::optional<std::string> key_looked_for(std::string const& why) {
  constexpr std::string_view before = "key '", after = "' not found";
  std::size_t const from = why.find(before), to = why.rfind(after);
  if (why.find("out_of_range.403") == std::string::npos || from == std::string::npos || to == std::string::npos) return {};
  return why.substr(from + before.size(), to - from - before.size());
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
  std::string last, before_last, why;
  while (!from_tree<T>(some, why)) {
    if (--tries == 0) return {};
    std::optional<std::string> const asked = key_looked_for(why);
    if (!asked) return last;
    // Asked for and there: it was looked for inside the value of another field.
    if (some.contains(*asked)) return *asked == last ? before_last : last;
    bool const missing = !whole.contains(*asked);
    some[*asked] = missing ? ::nlohmann::json() : whole[*asked];
    before_last = std::exchange(last, *asked);
    if (missing) {
      std::string again;
      (void)from_tree<T>(some, again);
      return again == why ? before_last : last;
    }
  }
  for (auto const& [key, value] : whole.items()) {
    if (some.contains(key)) continue;
    some[key] = value;
    if (!from_tree<T>(some, why)) return key;
    if (--tries == 0) return {};
  }
  return {};
}

}  // namespace detail

/// A payload as a tree (`phx::parse<nlohmann::json>(p)`), or as anything nlohmann converts: a struct with `from_json` or
/// NLOHMANN_DEFINE_TYPE_*.
/// @return errc::wrong_shape with the field at fault in `entry`; errc::not_json for bytes.
/// @par Without exceptions nlohmann aborts on a conversion that fails: there parse the tree and look before you convert.
template <class T>
  requires detail::nlohmann_tree<T> || detail::nlohmann_reads<T>
[[nodiscard]] result<T> parse(payload const& p) {
  if (p.is_binary() || !p.valid()) return error{errc::not_json, {}};
  if constexpr (detail::nlohmann_tree<T>) {
    T tree = T::parse(p.raw(), nullptr, false);
    if (tree.is_discarded()) return error{errc::not_json, {}};
    return tree;
  } else {
    ::nlohmann::json const tree = ::nlohmann::json::parse(p.raw(), nullptr, false);
    if (tree.is_discarded()) return error{errc::not_json, {}};
    std::string why;
    std::optional<T> value = detail::from_tree<T>(tree, why);
    if (!value) return error{errc::wrong_shape, detail::field_at_fault<T>(tree)};
    return *std::move(value);
  }
}

/// The compact text of a tree. What is not UTF-8 in it becomes U+FFFD; a discarded tree makes a payload that is !valid().
template <detail::nlohmann_tree J>
[[nodiscard]] payload to_payload(J const& tree, memory const& from = {}) {
  std::string const text = tree.is_discarded() ? std::string() : tree.dump(-1, ' ', false, J::error_handler_t::replace);
  return text.empty() ? payload::json({}) : payload::trusted_json(text, from);
}

/// The JSON library of a channel that says `using json = phx::nlohmann_json;`: its bound events take structs of yours.
struct nlohmann_json {
  template <class T>
    requires detail::nlohmann_tree<T> || detail::nlohmann_reads<T>
  [[nodiscard]] static std::optional<T> read(payload const& p, std::string& field) {
    result<T> value = parse<T>(p);
    if (value) return *std::move(value);
    field = value.error().entry;
    return std::nullopt;
  }
};

}  // namespace phx::inline PHX_BUILD

#endif

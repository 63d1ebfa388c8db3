#ifndef PHX_ADAPTER_ELIXIR_STRUCT_HPP
#define PHX_ADAPTER_ELIXIR_STRUCT_HPP
// A struct of an Elixir application inside a broadcast. Its encoder stays in Elixir, so the host says which fields clients
// see:
//
//     // @derive {Jason.Encoder, only: [:id, :name]}
//     how.encode_struct = [](phx::elixir_struct const& s) -> std::optional<std::string> {
//       if (s.module() == "MyApp.User") return s.only({"id", "name"});
//       return std::nullopt;  // the broadcast is skipped, counted and told
//     };

#include <phx/adapter/detail/etf_json.hpp>
#include <phx/adapter/term.hpp>

namespace phx {
inline namespace PHX_BUILD {

namespace detail {
struct elixir_struct_access;
}

/// A view: it lives as long as the call it is passed to. Not for other threads.
class elixir_struct {
 public:
  /// MyApp.User, without Elixir's prefix.
  [[nodiscard]] std::string_view module() const noexcept { return module_; }
  /// All fields: a map whose keys are atoms, `__struct__` among them. Nothing if one holds a process or a function.
  [[nodiscard]] std::optional<term_view> fields() const noexcept {
    detail::etf::reader in(term_);
    if (in.skip(0xFFFF, detail::etf::terms::data) != errc::none) return std::nullopt;
    return term_view(term_);
  }
  /// A field's value as Jason would write it; dates and structs inside it as everywhere. Nothing if there is no such field,
  /// or it cannot be said in JSON.
  [[nodiscard]] std::optional<std::string> field(std::string_view name) const {
    std::string json;
    if (!append(json, name)) return std::nullopt;
    return json;
  }
  /// An object of these fields, in this order, as `@derive {Jason.Encoder, only: [...]}` makes it. Nothing if one of them
  /// is missing or cannot be said in JSON.
  [[nodiscard]] std::optional<std::string> only(std::initializer_list<std::string_view> names) const {
    std::string json = "{";
    for (std::string_view const name : names) {
      if (json.size() > 1) json.push_back(',');
      phx::json::append_quoted(json, name);
      json.push_back(':');
      if (!append(json, name)) return std::nullopt;
    }
    json.push_back('}');
    return json;
  }

 private:
  friend struct detail::elixir_struct_access;
  elixir_struct(detail::etf::json_encoder& encoder, std::string_view module, std::string_view term,
                std::uint32_t level) noexcept
      : encoder_(encoder), module_(module), term_(term), level_(level) {}
  [[nodiscard]] bool append(std::string& json, std::string_view name) const {
    detail::etf::reader at(term_);
    return encoder_.field(term_, name, at) && encoder_.value(at, json, level_ + 1);
  }

  detail::etf::json_encoder& encoder_;
  std::string_view module_, term_;
  std::uint32_t level_;
};

namespace detail {
struct elixir_struct_access {
  /// An etf::struct_hook for `encode`, a std::function<std::optional<std::string>(elixir_struct const&)> or the like, which
  /// outlives it. What it throws is a refusal.
  template <class Encode>
  [[nodiscard]] static etf::struct_hook hook(Encode& encode) noexcept {
    return {&encode, [](void* self, etf::json_encoder& encoder, std::string_view module, std::string_view fields,
                        std::uint32_t level, std::string& out) {
              bool encoded = false;
              (void)try_invoke(
                  [&] {
                    std::optional<std::string> const json =
                        (*static_cast<Encode*>(self))(elixir_struct(encoder, module, fields, level));
                    encoded = json.has_value();
                    if (encoded) out += *json;
                  },
                  [](char const*) {});
              return encoded;
            }};
  }
};
}  // namespace detail

}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_ERLANG_ELIXIR_STRUCT_HPP
#define PHX_ERLANG_ELIXIR_STRUCT_HPP
// A struct of an Elixir application inside a broadcast. Its Jason.Encoder exists only in Elixir, so the program decides
// which fields clients see:
//
//     // @derive {Jason.Encoder, only: [:id, :name]}
//     options.encode_struct = [](phx::elixir_struct const& s) -> std::optional<std::string> {
//       if (s.module() == "MyApp.User") return s.only({"id", "name"});
//       return std::nullopt;  // the broadcast is skipped, counted and reported
//     };

#include <phx/erlang/etf_json.hpp>
#include <phx/erlang/term.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace phx {
inline namespace PHX_BUILD {

/// A view of a struct: valid during the call it is passed to, on that thread.
class elixir_struct {
 public:
  /// Its module, without `Elixir.`: MyApp.User.
  [[nodiscard]] std::string_view module() const noexcept { return module_; }
  /// All fields: a map whose keys are atoms, including `__struct__`. Nothing if one contains a process or a function.
  [[nodiscard]] std::optional<term_view> fields() const noexcept {
    etf::reader in(term_);
    if (in.skip(0xFFFF, etf::terms::data) != errc::none) return std::nullopt;
    return term_view(term_);
  }
  /// A field's value as Jason writes it, with dates and structs inside. Nothing if there is no such field, or it has no JSON
  /// form.
  [[nodiscard]] std::optional<std::string> field(std::string_view name) const {
    std::string json;
    if (!append(json, name)) return std::nullopt;
    return json;
  }
  /// An object of these fields in this order, as `@derive {Jason.Encoder, only: [...]}` makes it. Nothing if one is missing
  /// or has no JSON form.
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

  /// Adapts `encode`, a callable std::optional<std::string>(elixir_struct const&) that must outlive the hook, for
  /// etf::json_encoder. An exception it throws counts as std::nullopt: the message is refused.
  template <class Encode>
  [[nodiscard]] static etf::struct_hook hook(Encode& encode) noexcept {
    return {&encode, [](void* self, etf::json_encoder& encoder, std::string_view module, std::string_view fields,
                        std::uint32_t level, std::string& out) {
              bool encoded = false;
              (void)phx::detail::try_invoke(
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

 private:
  elixir_struct(etf::json_encoder& encoder, std::string_view module, std::string_view term, std::uint32_t level) noexcept
      : encoder_(encoder), module_(module), term_(term), level_(level) {}
  [[nodiscard]] bool append(std::string& json, std::string_view name) const {
    etf::reader at(term_);
    return encoder_.field(term_, name, at) && encoder_.value(at, json, level_ + 1);
  }

  etf::json_encoder& encoder_;
  std::string_view module_, term_;
  std::uint32_t level_;
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

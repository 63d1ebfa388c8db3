// A minimal Serializer, on a mount and in a socket.

#include <phx/phx.hpp>

namespace archetype {

struct serializer {
  static constexpr char const* requirement = "~> 9.0.0";
  serializer() = delete;  // stateless: never constructed
  static phx::errc decode(phx::opcode, std::string_view, phx::scratch&, phx::message&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::reply const&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::push const&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::broadcast const&) noexcept;
};
static_assert(phx::Serializer<serializer>);

phx::mount offering();
phx::mount offering() {
  return {.serializers = {phx::serializer_ref::of<serializer>(), phx::serializer_ref::of<phx::v2_json>()}};
}

struct with_rules : serializer {
  static constexpr phx::wire_rules rules{.duplicate_join_refused = true};
};
static_assert(phx::Serializer<with_rules>);

struct no_requirement {
  static phx::errc decode(phx::opcode, std::string_view, phx::scratch&, phx::message&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::reply const&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::push const&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::broadcast const&) noexcept;
};
static_assert(!phx::Serializer<no_requirement>);
struct may_throw : serializer {
  static phx::errc decode(phx::opcode, std::string_view, phx::scratch&, phx::message&);
};
static_assert(!phx::Serializer<may_throw>);
struct forgets_broadcasts {
  static constexpr std::string_view requirement = "~> 9.0.0";
  static phx::errc decode(phx::opcode, std::string_view, phx::scratch&, phx::message&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::reply const&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::push const&) noexcept;
};
static_assert(!phx::Serializer<forgets_broadcasts>);

}  // namespace archetype

// error: has_requirement
#include <phx/phx.hpp>

struct serializer {
  static phx::errc decode(phx::opcode, std::string_view, phx::scratch&, phx::message&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::reply const&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::push const&) noexcept;
  static phx::errc encode(phx::frame_builder&, phx::broadcast const&) noexcept;
};
phx::serializer_ref const wire = phx::serializer_ref::of<serializer>();

// error: intercepts must be public: static constexpr std::array<std::string_view, N> intercepts
#include <phx/phx.hpp>

struct room {
  static constexpr char const* intercepts = "masked";
  phx::outcome handle_in(phx::context&, phx::message const&) { return {}; }
};
void serve(phx::router<>& r) { r.channel<room>("room:*"); }

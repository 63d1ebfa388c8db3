// Requests of long-polling: whatever they contain, each is answered once, with JSON where the response declares it, and the
// bytes of one session do not end another. The first byte selects the request, the rest is a body, a query or a token.
#include <phx/channel/router.hpp>
#include <phx/longpoll/longpoll.hpp>
#include <phx/testing/fake_loop.hpp>

#include "oracle.hpp"

namespace {

using oracle::require;

struct echo {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "shout") ctx.broadcast("shout", in.payload);
    return phx::outcome::reply(in.payload);
  }
};
struct line {
  phx::longpoll::poll_request asked{*this};
  int responses = 0;
  std::uint16_t status = 0;
  std::string body{};
  void respond(phx::longpoll::response r) noexcept {
    ++responses;
    status = r.status();
    body = std::string(r.body());
    r.written();
  }
  [[nodiscard]] std::string token() const {
    std::size_t const at = body.find(R"("token":")");
    return at == std::string::npos ? "" : body.substr(at + 9, 43);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view const in(reinterpret_cast<char const*>(data) + 1, size - 1);
  phx::router app;
  app.channel<echo>("room:*");
  phx::mount const mount{.path = "/socket", .longpoll = true};
  phx::longpoll::sessions sessions;
  phx::testing::fake_loops loops(2);
  phx::longpoll::options opts;
  opts.lines = 8;
  opts.base64 = 64;
  opts.skip_empty_lines = (*data & 64) != 0;
  phx::longpoll::service_for<decltype(app)> first(sessions, loops[0], mount, app, opts),
      second(sessions, loops[1], mount, app, opts);
  line l, beside;
  auto const ask = [&](phx::longpoll::service& s, line& on, char const* method, std::string const& target,
                       std::span<phx::header const> headers, std::string_view body) {
    on.responses = 0;
    s.serve(on.asked, phx::request::of(method, target, headers), body, loops.now());
    loops.settle();
    if (on.asked.waiting()) loops.advance(opts.window);
    require(on.responses == 1, "one response to each request");
    require(on.status == 200 || on.status == 400 || on.status == 414 || on.status == 500 || on.status == 503,
            "a known status");
    require(on.status != 200 || on.body.empty() || oracle::accepts(on.body), "the body is JSON");
  };
  std::string const base = "/socket/longpoll?vsn=2.0.0";
  ask(first, beside, "GET", base, {}, {});
  ask(first, l, "GET", base, {}, {});
  std::string const token = l.token(), other = beside.token();
  std::vector<phx::header> headers;
  phx::longpoll::service& at = (*data & 32) != 0 ? static_cast<phx::longpoll::service&>(second) : first;
  switch (*data & 3) {
    case 0: headers.push_back({"content-type", "application/x-ndjson"}); [[fallthrough]];
    case 1: ask(at, l, "POST", base + "&token=" + token, headers, in); break;
    case 2: ask(at, l, "GET", "/socket/longpoll?" + std::string(in), headers, {}); break;
    default:
      headers.push_back({"x-phoenix-longpoll-token", in});
      headers.push_back({"origin", in});
      headers.push_back({"access-control-request-headers", in});
      for (char const* const method : {"POST", "GET", "OPTIONS"}) ask(at, l, method, base, headers, in);
  }
  ask(at, l, "GET", base + "&token=" + token, {}, {});
  ask(at, beside, "POST", base + "&token=" + other, {}, R"([null,"1","phoenix","heartbeat",{}])");
  require(beside.body == R"({"status":200})", "the other session lives");
  ask(at, beside, "GET", base + "&token=" + other, {}, {});
  require(beside.body.find(R"(\"1\",\"phoenix\",\"phx_reply\")") != std::string::npos, "and gets its own answers");
  return 0;
}

// Any bytes as a token, a cookie or a query: our key did not sign them, so they are refused. And any bytes as a term: it is
// refused, or all of its contents can be read and written again.
#include <phx/erlang/session_cookie.hpp>
#include <phx/erlang/token.hpp>

#include <cstdint>
#include <cstdlib>

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void look(phx::term_view const& t) {
  (void)t.integer();
  (void)t.number();
  (void)t.text();
  (void)t.atom();
  (void)t.find("data");
  auto const all = t.elements();
  require(t.kind() == phx::term_kind::map ? all.size() == 2 * t.size() : all.size() == t.size());
  for (phx::term_view const& each : all) look(each);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static std::string const base(64, 's');
  static auto const token = phx::phoenix_token::make(base, "fuzz", {.iterations = 1}).value();
  static auto const plain =
      phx::session_cookie::make(base, {.name = "s", .signing_salt = "a", .keys = {.iterations = 1}}).value();
  static auto const hidden =
      phx::session_cookie::make(base, {.name = "s", .encryption_salt = "b", .keys = {.iterations = 1}}).value();
  std::string_view const in(static_cast<char const*>(static_cast<void const*>(data)), size);

  phx::phoenix_token::time const now{std::chrono::seconds(1'700'000'000)};
  require(!token.verify(in, now) && !token.decrypt(in, now));
  require(!plain.read(in) && !hidden.read(in));
  phx::header const cookie{"cookie", in};
  phx::request const asked = phx::request::of("GET", "/", {&cookie, 1});
  require(!plain.session(asked, {}) && !hidden.session(asked, {}));

  // the same bytes, signed: tests the code after the mac check
  auto const inside = phx::term::read(in);
  auto const shown =
      plain.read(phx::detail::signed_message(phx::detail::derived_key(base, 64, "a", {.iterations = 1}).value().view(), in,
                                             phx::key_digest::sha256)
                     .value());
  if (inside) {
    look(inside->view());
    require(phx::term::read(inside->external(), {.bytes = 2'000'000}).has_value());
    require(shown.has_value() == (inside->view().kind() == phx::term_kind::map));
    (void)token.verify(token.sign(*inside, now).value(), now).value();
  } else {
    require(!shown);
  }
  return 0;
}

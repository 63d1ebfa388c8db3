// Structs in broadcasts of Elixir nodes, compared with what Jason encodes for Phoenix's clients (protocol 13.2).
#include <phx/adapter/redis/detail/wire.hpp>
#include <phx/erlang/elixir_struct.hpp>

#include <doctest/doctest.h>

#include <functional>

using namespace phx::detail;
namespace etf = phx::etf;
using phx::term;

namespace {

using fields = std::vector<std::pair<term, term>>;

/// %Module{...}
term structure(std::string_view module, fields all) {
  all.insert(all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2),
             {term::atom("__struct__"), term::atom("Elixir." + std::string(module))});
  return term::map(all);
}
fields with(fields a, fields const& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
std::pair<term, term> field(std::string_view name, std::int64_t value) { return {term::atom(name), term::integer(value)}; }
std::pair<term, term> field(std::string_view name, term value) { return {term::atom(name), std::move(value)}; }

fields day(std::int64_t year, std::int64_t month, std::int64_t d) {
  return {field("calendar", term::atom("Elixir.Calendar.ISO")), field("year", year), field("month", month), field("day", d)};
}
fields clock(std::int64_t hour, std::int64_t minute, std::int64_t second, std::int64_t microsecond = 0,
             std::int64_t precision = 0) {
  return {field("hour", hour), field("minute", minute), field("second", second),
          field("microsecond", term::tuple({term::integer(microsecond), term::integer(precision)}))};
}
fields zone(std::string_view name, std::string_view abbreviation, std::int64_t utc, std::int64_t standard) {
  return {field("time_zone", term::text(name)), field("zone_abbr", term::text(abbreviation)), field("utc_offset", utc),
          field("std_offset", standard)};
}
fields const iso = {field("calendar", term::atom("Elixir.Calendar.ISO"))};

term date(std::int64_t y, std::int64_t m, std::int64_t d) { return structure("Date", day(y, m, d)); }
term time(fields const& c) { return structure("Time", with(iso, c)); }
term naive(fields const& d, fields const& c) { return structure("NaiveDateTime", with(d, c)); }
term datetime(fields const& d, fields const& c, fields const& z) { return structure("DateTime", with(with(d, c), z)); }
term decimal(std::int64_t sign, term coefficient, std::int64_t exponent) {
  return structure("Decimal", {field("sign", sign), field("coef", std::move(coefficient)), field("exp", exponent)});
}
term read(std::string const& external) { return term::read(external).value(); }

std::string without_version(term const& t) { return t.external().substr(1); }

using encode_function = std::function<std::optional<std::string>(phx::elixir_struct const&)>;

/// The JSON text of a term; "no" if it is refused; "no: MODULE" for a struct.
std::string json(term const& t, encode_function encode = {}) {
  std::string const raw = without_version(t);
  etf::reader in(raw);
  etf::json_encoder encoder(raw, {}, encode ? phx::elixir_struct::hook(encode) : etf::struct_hook{});
  std::string out;
  if (encoder.value(in, out)) return in.done() ? out : "more";
  return encoder.refused_struct().empty() ? "no" : "no: " + encoder.refused_struct();
}
std::string object(std::string_view key, term value) { return json(term::map({{term::text(key), std::move(value)}})); }

/// {3, except, "elixir", "t", %Phoenix.Socket.Broadcast{}, Phoenix.Channel.Server}
std::string message(std::string_view event, term payload, std::string_view dispatcher = "Elixir.Phoenix.Channel.Server") {
  return term::tuple(
             {term::integer(3), term::atom("except"), term::text("elixir"), term::text("t"),
              structure("Phoenix.Socket.Broadcast", {field("payload", std::move(payload)), field("event", term::text(event)),
                                                     field("topic", term::text("t"))}),
              term::atom(dispatcher)})
      .external();
}

}  // namespace

TEST_CASE("elixir: dates and times are written as Jason writes them") {
  CHECK(json(date(2026, 1, 2)) == R"("2026-01-02")");
  CHECK(json(date(0, 12, 31)) == R"("0000-12-31")");
  CHECK(json(date(-1, 2, 3)) == R"("-0001-02-03")");
  CHECK(json(date(-9999, 2, 3)) == R"("-9999-02-03")");
  CHECK(json(time(clock(3, 4, 5))) == R"("03:04:05")");
  CHECK(json(time(clock(23, 59, 59, 999'999, 6))) == R"("23:59:59.999999")");
  constexpr std::string_view precisions[] = {"\"03:04:05\"",       "\"03:04:05.1\"",    "\"03:04:05.12\"",
                                             "\"03:04:05.120\"",   "\"03:04:05.1203\"", "\"03:04:05.12030\"",
                                             "\"03:04:05.120300\""};
  for (std::int64_t p = 0; p <= 6; ++p)
    CHECK(json(time(clock(3, 4, 5, 120'300, p))) == precisions[static_cast<std::size_t>(p)]);
  CHECK(json(time(clock(3, 4, 5, 7, 3))) == R"("03:04:05.000")");
  CHECK(json(naive(day(2026, 1, 2), clock(3, 4, 5))) == R"("2026-01-02T03:04:05")");
  CHECK(json(naive(day(2026, 1, 2), clock(3, 4, 5, 1'000, 3))) == R"("2026-01-02T03:04:05.001")");
  auto const at = [](fields const& z, std::int64_t precision = 0) {
    return json(datetime(day(2026, 1, 2), clock(3, 4, 5, 0, precision), z));
  };
  CHECK(at(zone("Etc/UTC", "UTC", 0, 0)) == R"("2026-01-02T03:04:05Z")");
  CHECK(at(zone("Etc/UTC", "UTC", 0, 0), 6) == R"("2026-01-02T03:04:05.000000Z")");
  CHECK(at(zone("Europe/Warsaw", "CET", 3600, 0)) == R"("2026-01-02T03:04:05+01:00")");
  CHECK(at(zone("Europe/Warsaw", "CEST", 3600, 3600)) == R"("2026-01-02T03:04:05+02:00")");
  CHECK(at(zone("Europe/London", "GMT", 0, 0)) == R"("2026-01-02T03:04:05+00:00")");
  CHECK(at(zone("America/Manaus", "AMT", -14'400, 0)) == R"("2026-01-02T03:04:05-04:00")");
  CHECK(at(zone("America/St_Johns", "NDT", -12'600, 3600)) == R"("2026-01-02T03:04:05-02:30")");
  CHECK(at(zone("Asia/Kathmandu", "+0545", 20'700, 0)) == R"("2026-01-02T03:04:05+05:45")");
}

TEST_CASE("elixir: decimals are written as Jason writes them") {
  CHECK(json(decimal(1, term::integer(150), -2)) == R"("1.50")");
  CHECK(json(decimal(-1, term::integer(150), -2)) == R"("-1.50")");
  CHECK(json(decimal(1, term::integer(150), -3)) == R"("0.150")");
  CHECK(json(decimal(1, term::integer(5), -4)) == R"("0.0005")");
  CHECK(json(decimal(1, term::integer(5), 3)) == R"("5000")");
  CHECK(json(decimal(1, term::integer(0), 0)) == R"("0")");
  CHECK(json(decimal(-1, term::integer(0), 0)) == R"("-0")");
  CHECK(json(decimal(1, term::atom("NaN"), 0)) == R"("NaN")");
  CHECK(json(decimal(-1, term::atom("inf"), 0)) == R"("-Infinity")");
  CHECK(json(decimal(1, read(std::string("\x83\x6e\x09\0\0\0\0\0\0\0\0\0\x01", 13)), -20)) == R"("0.18446744073709551616")");
  CHECK(json(decimal(1, term::integer(1), 1'000'000'000)) == "no");
  CHECK(json(decimal(1, term::integer(1), -1'000'000'000)) == "no");
}

TEST_CASE("elixir: an invalid date or time is refused; one of another calendar is an unknown struct") {
  CHECK(json(date(2026, 13, 1)) == "no");
  CHECK(json(date(2026, 1, 32)) == "no");
  CHECK(json(date(10'000, 1, 1)) == "no");
  CHECK(json(time(clock(24, 0, 0))) == "no");
  CHECK(json(time(clock(1, 60, 0))) == "no");
  CHECK(json(time(clock(1, 0, 0, 0, 7))) == "no");
  CHECK(json(time(clock(1, 0, 0, 1'000'000, 6))) == "no");
  CHECK(json(time(clock(1, 0, 0, -1, 6))) == "no");
  CHECK(json(structure("Time", with(iso, {field("hour", 1), field("minute", 1), field("second", 1),
                                          field("microsecond", 0)}))) == "no");
  CHECK(json(datetime(day(2026, 1, 2), clock(3, 4, 5), zone("X", "X", 1'000'000, 0))) == "no");
  fields other = day(5786, 4, 13);
  other[0].second = term::atom("Elixir.Hebrew");
  CHECK(json(structure("Date", other)) == "no: Date");
}

TEST_CASE("elixir: structs are found at any depth, wherever __struct__ is among the fields") {
  CHECK(object("at", date(2026, 1, 2)) == R"({"at":"2026-01-02"})");
  CHECK(json(term::list({date(2026, 1, 2), term::map({{term::atom("a"), time(clock(1, 2, 3))}})})) ==
        R"(["2026-01-02",{"a":"01:02:03"}])");
  for (std::size_t at = 0; at <= 4; ++at) {
    fields f = day(2026, 1, 2);
    f.insert(f.begin() + static_cast<std::ptrdiff_t>(at), {term::atom("__struct__"), term::atom("Elixir.Date")});
    CHECK(json(term::map(f)) == R"("2026-01-02")");
  }
  // A plain map may have that key as a string.
  CHECK(json(term::map({{term::text("__struct__"), term::text("Elixir.Date")}})) == R"({"__struct__":"Elixir.Date"})");
}

TEST_CASE("elixir: Jason.OrderedObject is an object in its order; Jason.Fragment has a function and is refused") {
  auto const pair = [](term k, term v) { return term::tuple({std::move(k), std::move(v)}); };
  CHECK(json(structure("Jason.OrderedObject", {field("values", term::list({pair(term::text("z"), term::integer(1)),
                                                                           pair(term::atom("a"), date(2026, 1, 2))}))})) ==
        R"({"z":1,"a":"2026-01-02"})");
  CHECK(json(structure("Jason.OrderedObject", {field("values", term::list({}))})) == "{}");
  CHECK(json(structure("Jason.OrderedObject", {field("values", term::list({term::integer(300)}))})) == "no");
  CHECK(json(structure("Jason.Fragment", {field("encode", term::integer(1))})) == "no");
}

TEST_CASE("elixir: keys are converted as by String.Chars") {
  auto const key = [](term k) { return json(term::map({{std::move(k), term::integer(1)}})); };
  CHECK(key(term::number(1.5)) == R"({"1.5":1})");
  CHECK(key(term::integer(-3)) == R"({"-3":1})");
  CHECK(key(read(std::string("\x83\x6e\x09\0\0\0\0\0\0\0\0\0\x01", 13))) == R"({"18446744073709551616":1})");
  CHECK(key(term::nil()) == R"({"nil":1})");
  CHECK(key(term::boolean(true)) == R"({"true":1})");
  CHECK(key(term::list({term::integer('h'), term::integer(0xE9)})) == "{\"h\xC3\xA9\":1}");
  CHECK(key(term::list({})) == R"({"":1})");
  CHECK(key(date(2026, 1, 2)) == R"({"2026-01-02":1})");
  CHECK(key(naive(day(2026, 1, 2), clock(3, 4, 5))) == R"({"2026-01-02 03:04:05":1})");
  CHECK(key(datetime(day(2026, 1, 2), clock(3, 4, 5), zone("Etc/UTC", "UTC", 0, 0))) == R"({"2026-01-02 03:04:05Z":1})");
  CHECK(key(datetime(day(2026, 1, 2), clock(3, 4, 5), zone("Europe/Warsaw", "CET", 3600, 0))) ==
        R"({"2026-01-02 03:04:05+01:00 CET Europe/Warsaw":1})");
  CHECK(key(term::tuple({})) == "no");
  CHECK(key(structure("MyApp.User", {})) == "no");
}

TEST_CASE("elixir: floats are written as Erlang writes them") {
  for (auto const& [value, text] :
       std::vector<std::pair<double, std::string_view>>{{0.0, "0.0"},
                                                        {-0.0, "-0.0"},
                                                        {1.0, "1.0"},
                                                        {-1.5, "-1.5"},
                                                        {100.0, "100.0"},
                                                        {1000.0, "1.0e3"},
                                                        {12345.0, "12345.0"},
                                                        {1e22, "1.0e22"},
                                                        {1.5e300, "1.5e300"},
                                                        {0.1, "0.1"},
                                                        {0.001, "0.001"},
                                                        {1e-5, "1.0e-5"},
                                                        {0.00012, "1.2e-4"},
                                                        {123.456, "123.456"},
                                                        {9007199254740991.0, "9007199254740991.0"},
                                                        {9007199254740992.0, "9.007199254740992e15"},
                                                        {5e-324, "5.0e-324"},
                                                        {1.7976931348623157e308, "1.7976931348623157e308"},
                                                        {0.30000000000000004, "0.30000000000000004"}})
    CHECK(json(term::number(value)) == text);
}

TEST_CASE("elixir: integers of up to 1,024 bytes are read, larger ones are not") {
  auto const large = [](std::size_t bytes) {
    std::string t("\x83\x6f", 2);
    for (int shift = 24; shift >= 0; shift -= 8) t.push_back(static_cast<char>(static_cast<unsigned char>(bytes >> shift)));
    return read(t + '\0' + std::string(bytes - 1, '\0') + '\x01');
  };
  CHECK(json(large(300)).size() == 721);
  CHECK(json(large(1'024)).size() == 2464);
  CHECK(json(large(1'025)) == "no");
}

TEST_CASE("elixir: the fields of an unknown struct are never shown") {
  term const user =
      structure("MyApp.User", {field("name", term::text("ann")), field("password_hash", term::text("SECRET"))});
  CHECK(json(user) == "no: MyApp.User");
  CHECK(object("user", user) == "no: MyApp.User");
  CHECK(json(term::list({term::integer(300), user})) == "no: MyApp.User");
  CHECK(json(structure("MyApp.User", {})) == "no: MyApp.User");
  CHECK(json(structure("MapSet", {field("map", term::map({}))})) == "no: MapSet");
}

TEST_CASE("elixir: the host's function decides how clients see a struct") {
  term const account = structure("MyApp.Account", {field("plan", term::text("gold"))});
  term const user =
      structure("MyApp.User", {field("name", term::text("ann")), field("password_hash", term::text("SECRET")),
                               field("at", date(2026, 1, 2)), field("account", account), field("tags", term::tuple({}))});
  auto const only = [](phx::elixir_struct const& s) -> std::optional<std::string> {
    if (s.module() == "MyApp.User") return s.only({"name", "at", "account"});
    if (s.module() == "MyApp.Account") return s.field("plan");
    return std::nullopt;
  };
  CHECK(json(user, only) == R"({"name":"ann","at":"2026-01-02","account":"gold"})");
  CHECK(json(term::list({user, account}), only) == R"([{"name":"ann","at":"2026-01-02","account":"gold"},"gold"])");
  CHECK(json(structure("MyApp.Other", {}), only) == "no: MyApp.Other");
  // The function may read terms, but must return valid JSON.
  CHECK(json(user, [](phx::elixir_struct const& s) {
          return std::optional(std::to_string(s.fields()->find_atom("name")->text()->size()));
        }) == "3");
  CHECK(json(user, [](phx::elixir_struct const&) { return std::optional<std::string>("{"); }) == "no: MyApp.User");
  CHECK(json(user, [](phx::elixir_struct const& s) { return s.only({"name", "missing"}); }) == "no: MyApp.User");
  CHECK(json(user, [](phx::elixir_struct const& s) { return s.only({"tags"}); }) == "no: MyApp.User");
}

TEST_CASE("redis wire: an unreadable broadcast is distinguished from Elixir's internal messages") {
  redis_wire::term_storage storage;
  using redis_wire::outcome;
  auto const outcome_of = [&](std::string const& m) { return redis_wire::read_term(m, storage, {}).outcome; };
  CHECK(outcome_of(message("e", term::map({}))) == outcome::broadcast);
  CHECK(outcome_of(message("e", term::map({{term::text("x"), term::tuple({})}}))) == outcome::unreadable);
  CHECK(outcome_of(message("e", term::text("\xff"))) == outcome::unreadable);
  CHECK(outcome_of(message("e", term::tuple({term::atom("binary"), term::integer(1)}))) == outcome::unreadable);
  for (unsigned depth : {65u, 200u, 1'000u}) {
    term nested = term::list({});
    for (unsigned i = 0; i < depth; ++i) nested = term::list({nested});
    CHECK(outcome_of(message("e", nested)) == outcome::unreadable);
  }
  // %{x: %Jason.Fragment{encode: &Mod.fun/1}}
  std::string fragment =
      message("e", term::map({{term::text("x"), structure("Jason.Fragment", {field("encode", term::text("FUN"))})}}));
  std::string const text = without_version(term::text("FUN")), function(
                                                                   "\x71\x77\x01m\x77\x01"
                                                                   "f\x61\x01",
                                                                   9);
  fragment.replace(fragment.find(text), text.size(), function);
  CHECK(outcome_of(fragment) == outcome::unreadable);
  std::string const with_user = message("e", term::map({{term::text("u"), structure("MyApp.User", {})}}));
  auto const user = redis_wire::read_term(with_user, storage, {});
  CHECK(user.outcome == outcome::unknown_struct);
  CHECK(user.module == "MyApp.User");
  CHECK(user.message.topic == "t");
  CHECK(user.message.event == "e");
  // Elixir's tracker and long-polling use the same channel.
  CHECK(outcome_of(
            term::tuple({term::integer(3), term::atom("except"), term::text("elixir"), term::text("phx_presence:x"),
                         term::tuple({term::atom("pub"), term::atom("heartbeat")}), term::atom("Elixir.Phoenix.PubSub")})
                .external()) == outcome::foreign);
  CHECK(outcome_of(term::tuple({term::integer(3), term::atom("except"), term::text("elixir"), term::text("phx:lp:x"),
                                term::map({{term::text("x"), term::integer(1)}}), term::atom("Elixir.Phoenix.PubSub")})
                       .external()) == outcome::foreign);
  CHECK(outcome_of(message("e", term::map({}), "Elixir.MyApp.Dispatcher")) == outcome::foreign);
  CHECK(outcome_of("garbage") == outcome::foreign);
}

TEST_CASE("redis wire: a disconnect closes sockets, whatever its payload") {
  redis_wire::term_storage storage;
  for (term const& payload :
       {term::map({{term::atom("at"), date(2026, 1, 2)}}), term::map({{term::atom("by"), structure("MyApp.User", {})}}),
        term::map({{term::atom("x"), term::tuple({})}})}) {
    std::string const disconnect = message("disconnect", payload);
    auto const read = redis_wire::read_term(disconnect, storage, {});
    CHECK(read.outcome == redis_wire::outcome::broadcast);
    CHECK(read.message.event == "disconnect");
    CHECK(read.message.payload == "{}");
  }
}

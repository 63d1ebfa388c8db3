#include <phx/connect/mount.hpp>
#include <phx/serializer/legacy/generation.hpp>

#include <doctest/doctest.h>

#include <array>

namespace {

std::string routed(phx::mount const& m, std::string_view path) {
  auto const kind = m.route(path);
  return kind ? std::string(to_string(*kind)) : "nowhere";
}
struct v3 {
  static constexpr std::string_view requirement = "~> 3.0.0";
  static phx::errc decode(phx::opcode, std::string_view, phx::scratch&, phx::message&) noexcept {
    return phx::errc::wrong_shape;
  }
  static phx::errc encode(phx::frame_builder&, phx::reply const&) noexcept { return phx::errc::wrong_shape; }
  static phx::errc encode(phx::frame_builder&, phx::push const&) noexcept { return phx::errc::wrong_shape; }
  static phx::errc encode(phx::frame_builder&, phx::broadcast const&) noexcept { return phx::errc::wrong_shape; }
};
struct v3_any_minor : v3 {
  static constexpr std::string_view requirement = "~> 3.1";
};
struct v3_mistaken : v3 {
  static constexpr std::string_view requirement = ">= 3";
};
struct v3_empty : v3 {
  static constexpr std::string_view requirement = "";
};

}  // namespace

TEST_CASE("mount: serves the websocket path and, if enabled, the longpoll path") {
  phx::mount const m{.longpoll = true};
  CHECK(routed(m, "/socket/websocket") == "websocket");
  CHECK(routed(m, "/socket/longpoll") == "longpoll");
  for (std::string_view const other :
       {"/socket", "/socket/", "/", "", "/socket/poll", "/websocket", "/socket/websocket/x", "/x/socket/websocket",
        "/socket/Websocket", "/sockets/websocket", "/socket/web%73ocket", "/socket/websocketx"})
    CHECK_MESSAGE(routed(m, other) == "nowhere", other);
  phx::mount const plain{};
  CHECK(routed(plain, "/socket/websocket") == "websocket");
  CHECK(routed(plain, "/socket/longpoll") == "nowhere");
  phx::mount const polls_only{.path = "/ws/slow", .websocket = false, .longpoll = true};
  CHECK(routed(polls_only, "/ws/slow/longpoll") == "longpoll");
  CHECK(routed(polls_only, "/ws/slow/websocket") == "nowhere");
}

TEST_CASE("mount: empty segments are ignored") {
  phx::mount const m{.path = "/ws/admin"};
  CHECK(routed(m, "/ws/admin/websocket/") == "websocket");
  CHECK(routed(m, "//ws//admin/websocket//") == "websocket");
  phx::mount const slashes{.path = "/ws//admin/"};
  CHECK(routed(slashes, "/ws/admin/websocket") == "websocket");
  phx::mount const root{.path = "/"};
  CHECK(routed(root, "/websocket") == "websocket");
  CHECK(routed(root, "/") == "nowhere");
}

TEST_CASE("mount: the paths of the transports can be changed") {
  phx::mount const m{.path = "/a", .longpoll = true, .websocket_path = "/ws/v2", .longpoll_path = "/"};
  CHECK(routed(m, "/a/ws/v2") == "websocket");
  CHECK(routed(m, "/a") == "longpoll");
  CHECK(routed(m, "/a/websocket") == "nowhere");
}

TEST_CASE("mount: before 0.15 clients connect to the path itself and poll below it; legacy serves all") {
  for (phx::generation const old : {phx::generation::v0_10, phx::generation::v0_11, phx::generation::v0_13_0,
                                    phx::generation::v0_13_1, phx::generation::v0_14, phx::generation::legacy}) {
    phx::mount const m{.path = "/legacy", .generation = phx::legacy::of(old), .longpoll = true};
    CHECK(routed(m, "/legacy") == "websocket");
    CHECK(routed(m, "/legacy/websocket") == "websocket");
    CHECK(routed(m, "/legacy/poll") == "longpoll");
    CHECK(routed(m, "/legacy/longpoll") == "longpoll");
    CHECK(routed(m, "/legacy/other") == "nowhere");
  }
  for (phx::generation const later :
       {phx::generation::v0_15, phx::generation::v1_0, phx::generation::v1_2, phx::generation::today}) {
    phx::mount const m{.path = "/legacy", .generation = phx::legacy::of(later), .longpoll = true};
    CHECK(routed(m, "/legacy") == "nowhere");
    CHECK(routed(m, "/legacy/poll") == "nowhere");
    CHECK(routed(m, "/legacy/websocket") == "websocket");
  }
}

TEST_CASE("mount: a segment :name becomes a param, as it was sent") {
  phx::mount const m{.path = "/room/:room/:_secret/socket", .longpoll = true};
  REQUIRE(routed(m, "/room/a%20b/c/socket/websocket") == "websocket");
  CHECK(routed(m, "/room//c/socket/websocket") == "nowhere");
  CHECK(routed(m, "/room/a/socket/websocket") == "nowhere");
  auto p = phx::params::parse("room=other&x=1");
  m.path_params("//room/a%20b/c/socket/websocket", *p);
  CHECK(p->get("room") == "a%20b");
  CHECK(p->get("x") == "1");
  CHECK(p->size() == 2);
}

TEST_CASE("mount: offers the serializers of its generation, or its own") {
  phx::mount const today{};
  CHECK(phx::choose(today.offered(), "2.0.0"));
  CHECK(phx::choose(today.offered(), "1.0.0"));
  CHECK_FALSE(phx::choose(today.offered(), "3.0.0"));
  phx::mount const seed{.generation = phx::legacy::of<phx::generation::v0_11>()};
  CHECK_FALSE(phx::choose(seed.offered(), "2.0.0"));
  CHECK(phx::choose(seed.offered(), "1.0.0"));
  phx::mount const own{.serializers = {phx::serializer_ref::of<v3>()}};
  CHECK(phx::choose(own.offered(), "3.0.0") == phx::serializer_ref::of<v3>());
  CHECK_FALSE(phx::choose(own.offered(), "2.0.0"));
}

TEST_CASE("mount: without origins url_host is allowed; before v0_15 all are") {
  std::array<phx::header, 1> const evil{{{"origin", "http://evil.org"}}};
  std::array<phx::header, 1> const local{{{"origin", "http://localhost:4000"}}};
  phx::request const from_evil = phx::request::of("GET", "/", evil), from_local = phx::request::of("GET", "/", local);
  CHECK(phx::mount{}.origin(from_local).allowed);
  CHECK_FALSE(phx::mount{}.origin(from_evil).allowed);
  CHECK(phx::mount{.url_host = "evil.org"}.origin(from_evil).allowed);
  CHECK(phx::mount{.url_host = std::nullopt}.origin(from_evil).allowed);
  CHECK(phx::mount{.generation = phx::legacy::of<phx::generation::v0_11>()}.origin(from_evil).allowed);
  CHECK(phx::mount{.generation = phx::legacy::of<phx::generation::v0_14>()}.origin(from_evil).allowed);
  CHECK_FALSE(phx::mount{.generation = phx::legacy::of<phx::generation::v0_15>()}.origin(from_evil).allowed);
  CHECK_FALSE(phx::mount{.generation = phx::legacy::of<phx::generation::legacy>()}.origin(from_evil).allowed);
  CHECK_FALSE(phx::mount{.generation = phx::legacy::of<phx::generation::v0_11>(), .origins = {"//localhost"}}
                  .origin(from_evil)
                  .allowed);
  CHECK(phx::mount{.generation = phx::legacy::of<phx::generation::v0_11>(), .origins = {"//localhost"}}
            .origin(from_local)
            .allowed);
  CHECK(phx::mount{.origins = false}.origin(from_evil).allowed);
}

TEST_CASE("mount: policies belong to one mount (fixed in Phoenix 1.8.10)") {
  std::array<phx::header, 1> const h{{{"origin", "http://b.com"}}};
  phx::mount const a{.path = "/a", .origins = {"//a.com"}}, b{.path = "/b", .origins = {"//b.com"}};
  CHECK_FALSE(a.origin(phx::request::of("GET", "/a/websocket", h)).allowed);
  CHECK(b.origin(phx::request::of("GET", "/b/websocket", h)).allowed);
  phx::mount const copy = a;
  CHECK_FALSE(copy.origin(phx::request::of("GET", "/a/websocket", h)).allowed);
}

TEST_CASE("mount: an invalid mount is reported with the entry at fault") {
  CHECK(phx::mount{}.check().code == phx::errc::none);
  CHECK(phx::mount{.path = "/a/:b/c"}.check().code == phx::errc::none);
  CHECK(phx::mount{.path = "/", .longpoll_path = "/"}.check().code == phx::errc::none);
  for (std::string_view const bad : {"socket", "", "/a/:", "/a/b:c", "/a/:b-c", "/a?b", "/a#b", "/a/::b"}) {
    phx::error const e = phx::mount{.path = std::string(bad)}.check();
    CHECK_MESSAGE(e.code == phx::errc::bad_path, bad);
    CHECK(e.entry == bad);
  }
  CHECK(phx::mount{.websocket_path = "ws"}.check().entry == "ws");
  CHECK(phx::mount{.longpoll_path = "/:var"}.check().entry == "/:var");
  CHECK(phx::mount{.serializers = {phx::serializer_ref::of<v3>(), phx::serializer_ref::of<v3_any_minor>()}}.check().code ==
        phx::errc::none);
  CHECK(phx::mount{.serializers = {phx::serializer_ref::of<v3_mistaken>()}}.check().entry == ">= 3");
  CHECK(phx::mount{.serializers = {phx::serializer_ref::of<v3_empty>()}}.check().code == phx::errc::bad_requirement);
  CHECK(phx::mount{.serializers = {phx::serializer_ref{}}}.check().code == phx::errc::bad_requirement);
  CHECK(phx::checked({.path = "/ws"})->path == "/ws");
  CHECK(phx::checked({.path = "ws"}).error().entry == "ws");
}

TEST_CASE("mount: a session protected by neither the origin nor the CSRF token is refused at start-up") {
  struct source {
    bool csrf;
    std::optional<std::string> session(phx::request const&, phx::params const&) const { return std::nullopt; }
    bool checks_csrf() const noexcept { return csrf; }
  };
  source const careful{true}, careless{false};
  using phx::errc;
  CHECK(phx::mount{.origins = false, .session = careful}.check().code == errc::none);
  CHECK(phx::mount{.origins = {"//a"}, .session = careless}.check().code == errc::none);
  CHECK(phx::mount{.session = careless}.check().code == errc::none);
  CHECK(phx::mount{.origins = false, .session = careless}.check().code == errc::unguarded_session);
  CHECK(phx::mount{.generation = phx::legacy::of<phx::generation::v0_11>(), .session = careless}.check().code ==
        errc::unguarded_session);
}

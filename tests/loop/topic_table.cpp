#include <phx/loop/detail/topic_table.hpp>

#include <phx/serializer/legacy/generation.hpp>

#include <support/room.hpp>

namespace {

using phx::detail::subscriber;
using phx::detail::topic;
using phx::detail::topic_table;

/// A client that ignores everything; the topic_table only stores its address and its serializer.
struct listener final : phx::detail::client {
  listener() { wire = phx::serializer_ref::of<phx::v2_json>(); }
  void deliver(phx::detail::delivery const&) noexcept override {}
  void handle(phx::detail::channel_mail* m) noexcept override { phx::detail::mail::free(m); }
  phx::time_point on_idle_timer(phx::time_point) noexcept override { return phx::time_point::max(); }
  bool awaits(phx::detail::channel_mail const&) const noexcept override { return false; }
  void flush() noexcept override {}
  void end_channels() noexcept override {}
  void close() noexcept override {}
  void begin_close(phx::close_frame, phx::exit_reason) noexcept override {}
  void list(void*, void (*)(void*, std::string_view, phx::channel_state)) const noexcept override {}
};

struct crowd {
  topic_table h{phx::memory{}};
  listener one{}, other{};
  crowd() { other.wire = phx::serializer_ref::of<phx::v1_json>(); }
};

}  // namespace

TEST_CASE("topic_table: a topic exists while it is used") {
  topic_table h{phx::memory{}};
  CHECK(h.find("a") == nullptr);
  topic* const a = h.use("a", "\"a\"");
  REQUIRE(a != nullptr);
  CHECK(h.use("a", "\"\\u0061\"") == a);
  CHECK(a->text() == "a");
  CHECK(a->json() == "\"a\"");  // as in the first use
  CHECK(h.topics() == 1);
  h.unuse(a);
  CHECK(h.find("a") == a);
  h.unuse(a);
  CHECK(h.find("a") == nullptr);
  CHECK(h.topics() == 0);
}

TEST_CASE("topic_table: names of every length are distinguished") {
  topic_table h{phx::memory{}};
  std::vector<topic*> all;
  std::string name;
  for (int i = 0; i < 200; ++i) {
    all.push_back(h.use(name, {}));
    name += static_cast<char>('a' + i % 3);
  }
  CHECK(h.topics() == 200);
  name.clear();
  for (int i = 0; i < 200; ++i) {
    CHECK(h.find(name) == all[static_cast<std::size_t>(i)]);
    name += static_cast<char>('a' + i % 3);
  }
  for (topic* t : all) h.unuse(t);
  CHECK(h.topics() == 0);
}

TEST_CASE("topic_table: ten thousand topics are found after the table has grown, and each can be removed") {
  topic_table h{phx::memory{}};
  std::vector<topic*> all;
  for (int i = 0; i < 10'000; ++i) all.push_back(h.use("topic:" + std::to_string(i), {}));
  for (int i = 0; i < 10'000; ++i) CHECK(h.find("topic:" + std::to_string(i)) == all[static_cast<std::size_t>(i)]);
  for (int i = 0; i < 10'000; i += 2) h.unuse(all[static_cast<std::size_t>(i)]);
  CHECK(h.topics() == 5000);
  for (int i = 0; i < 10'000; ++i) CHECK((h.find("topic:" + std::to_string(i)) != nullptr) == (i % 2 == 1));
  for (int i = 1; i < 10'000; i += 2) h.unuse(all[static_cast<std::size_t>(i)]);
}

TEST_CASE("topic_table: two tables hash the same name differently, so that nobody can choose names that collide") {
  topic_table a{phx::memory{}}, b{phx::memory{}};
  CHECK(a.hash("room:lobby") != b.hash("room:lobby"));
  CHECK(a.hash("room:lobby") == a.hash("room:lobby"));
  CHECK(a.hash("room:lobby") != a.hash("room:lobbx"));
}

TEST_CASE("topic_table: a subscriber is removed from anywhere in its list, and the last one takes its place") {
  crowd c;
  topic* const t = c.h.use("a", {});
  std::vector<subscriber> all(5);
  for (subscriber& m : all) {
    m.owner = &c.one;
    m.on = t;
    CHECK(c.h.subscribe(m));
  }
  CHECK(t->plain.size() == 5);
  for (std::size_t const i : {1u, 4u, 0u, 3u, 2u}) {
    c.h.unsubscribe(all[i]);
    c.h.unsubscribe(all[i]);  // a second unsubscribe does nothing
    for (std::uint32_t at = 0; at < t->plain.size(); ++at) CHECK(t->plain[at].entry->index == at);
  }
  CHECK(t->plain.empty());
  CHECK(t->wires.empty());
  c.h.unuse(t);
}

TEST_CASE("topic_table: counts the serializers of subscribers that get encoded frames; intercepting ones are separate") {
  crowd c;
  topic* const t = c.h.use("a", {});
  subscriber m[4];
  for (std::size_t i = 0; i < 4; ++i) {
    m[i].owner = i < 2 ? &c.one : &c.other;
    m[i].on = t;
    m[i].intercepting = i == 3;
    CHECK(c.h.subscribe(m[i]));
  }
  CHECK(t->wires.size() == 2);
  CHECK(t->plain.size() == 3);
  CHECK(t->others.size() == 1);
  c.h.unsubscribe(m[2]);
  CHECK(t->wires.size() == 1);
  CHECK(t->wires[0].count == 2);
  for (subscriber& one : m) c.h.unsubscribe(one);
  CHECK(t->others.empty());
  c.h.unuse(t);
}

TEST_CASE("topic_table: whichever allocation fails, nothing is half done") {
  using support::metered;
  for (std::size_t n = 0;; ++n) {
    metered::reset();
    metered::fail_at = n;
    bool all_well = true;
    {
      topic_table h(metered::hook());
      listener one;
      std::vector<topic*> topics;
      for (int i = 0; i < 40; ++i) {
        topic* const t = h.use("t" + std::to_string(i), {});
        all_well = all_well && t != nullptr;
        if (t != nullptr) topics.push_back(t);
      }
      CHECK(h.topics() == topics.size());
      subscriber m;
      m.owner = &one;
      m.on = topics.at(0);
      bool const in = h.subscribe(m);
      all_well = all_well && in;
      CHECK(m.subscribed == in);
      CHECK(topics[0]->plain.size() == (in ? 1u : 0u));
      CHECK(topics[0]->wires.size() == (in ? 1u : 0u));
      h.unsubscribe(m);
      for (topic* t : topics) h.unuse(t);
      CHECK(h.topics() == 0);
    }
    CHECK(metered::bytes == 0);
    if (metered::allocations <= n) {
      CHECK(all_well);
      break;
    }
  }
  metered::reset();
}

TEST_CASE("topic_table: collisions depend on its seed, not on its address") {
  constexpr std::uint64_t places = 4096;
  alignas(topic_table) unsigned char local[sizeof(topic_table)];
  std::vector<std::string> crowd;
  {
    topic_table const* const h = new (local) topic_table(phx::memory{}, 1);
    for (int i = 0; crowd.size() < 100; ++i)
      if (std::string name = "room:" + std::to_string(i); h->hash(name) % places == 0) crowd.push_back(std::move(name));
    h->~topic_table();
  }
  topic_table const* const same = new (local) topic_table(phx::memory{}, 1);
  for (std::string const& name : crowd) CHECK(same->hash(name) % places == 0);
  same->~topic_table();
  topic_table const* const other = new (local) topic_table(phx::memory{}, 2);
  std::size_t together = 0;
  for (std::string const& name : crowd) together += other->hash(name) % places == other->hash(crowd[0]) % places ? 1u : 0u;
  CHECK(together < 5);
  other->~topic_table();
}

// detail::channel_table alone: the topics that one client has joined.

#include <phx/socket/detail/channel_table.hpp>

#include <support/room.hpp>

#include <memory>
#include <string>
#include <vector>

namespace {

using phx::detail::channel_slot;
using phx::detail::channel_table;

struct channels_of_one_client {
  phx::memory memory{};
  phx::detail::topic_table topics{memory, 1};
  channel_table table{};
  std::vector<std::unique_ptr<channel_slot>> slots{};

  channel_slot& add(std::string const& topic) {
    auto& s = *slots.emplace_back(std::make_unique<channel_slot>());
    s.on = topics.use(topic, {});
    s.number = static_cast<std::uint32_t>(slots.size());
    REQUIRE(s.on != nullptr);
    REQUIRE(table.insert(memory, s));
    return s;
  }
  std::uint32_t find(std::string_view topic) {
    phx::message m;
    m.topic = topic;
    m.topic_name = {topic, {}};
    return table.find(topics, m);
  }
  ~channels_of_one_client() {
    for (auto const& s : slots) topics.unuse(s->on);
    table.free(memory);
  }
};

TEST_CASE("channel_table: a channel is found by topic, by number and by the loop's topic, with few channels and with many") {
  for (std::size_t const count : {1u, 4u, 5u, 40u}) {
    channels_of_one_client c;
    for (std::size_t i = 0; i < count; ++i) c.add("room:" + std::to_string(i));
    CHECK(c.table.size() == count);
    for (std::size_t i = 0; i < count; ++i) {
      channel_slot const& s = *c.slots[i];
      std::uint32_t const at = c.find("room:" + std::to_string(i));
      REQUIRE(at != channel_table::none);
      CHECK(&c.table[at] == &s);
      CHECK(c.table.find(s.number) == at);
      CHECK(c.table.find(*s.on) == &s);
    }
    CHECK(c.find("room:") == channel_table::none);
    CHECK(c.find("other") == channel_table::none);
    CHECK(c.table.find(std::uint32_t{1000}) == channel_table::none);
  }
}

TEST_CASE("channel_table: a removed channel is no longer found, all others are") {
  channels_of_one_client c;
  for (int i = 0; i < 6; ++i) c.add("room:" + std::to_string(i));
  CHECK(c.table.remove(c.find("room:2")) == c.slots[2].get());
  CHECK(c.table.size() == 5);
  CHECK(c.find("room:2") == channel_table::none);
  CHECK(c.table.find(*c.slots[2]->on) == nullptr);
  for (int const i : {0, 1, 3, 4, 5})
    CHECK(&c.table[c.find("room:" + std::to_string(i))] == c.slots[static_cast<std::size_t>(i)].get());
  while (!c.table.empty()) (void)c.table.remove(c.table.size() - 1);
  CHECK(c.find("room:0") == channel_table::none);
}

TEST_CASE("channel_table: a topic that is not a string has no channel") {
  channels_of_one_client c;
  c.add("7");
  phx::message m;
  m.topic = "7";
  m.topic_name = {"7", "7"};
  REQUIRE(!m.topic_name.is_string());
  CHECK(c.table.find(c.topics, m) == channel_table::none);
}

}  // namespace

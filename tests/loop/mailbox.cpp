#include <phx/loop/detail/mailbox.hpp>

#include <support/room.hpp>

#include <thread>

namespace {

using phx::detail::mail;
using phx::detail::mail_queue;
using phx::detail::mailbox;
using phx::detail::mailbox_ref;
using phx::detail::push_mail;

mail* make_push(std::string_view text, phx::memory const& from = {}) {
  return mail::make<push_mail>(from, {{&push_mail::event, text}});
}

struct box {
  phx::testing::fake_waker waker{};
  mailbox_ref ref;
  explicit box(std::uint32_t most = 1000, std::size_t most_bytes = SIZE_MAX)
      : ref(mailbox_ref::adopt(phx::detail::make<mailbox>(
            phx::memory{}, phx::memory{}, most, most_bytes,
            mailbox::waker_ref{&waker, [](void* w) noexcept { static_cast<phx::testing::fake_waker*>(w)->wake(); }}))) {}
  ~box() {
    if (ref) ref->close();
  }
  phx::send_status post(std::string_view text, bool bounded = true) { return ref->post(make_push(text), bounded); }
  std::vector<std::string> take() {
    mail_queue q;
    ref->take(q);
    std::vector<std::string> all;
    while (mail* const m = q.pop()) {
      all.emplace_back(m->as<push_mail>().event);
      mail::free(m);
    }
    return all;
  }
};

}  // namespace

TEST_CASE("mail: the texts of an item follow it in one block, in order") {
  using phx::detail::reply_mail;
  auto* const m =
      mail::make<reply_mail>({}, {{&reply_mail::topic, "topic"}, {&reply_mail::join_ref, ""}, {&reply_mail::ref, "ref"}});
  REQUIRE(m != nullptr);
  CHECK(m->kind == phx::detail::mail_kind::reply);
  CHECK(m->topic == "topic");
  CHECK(m->join_ref.empty());
  CHECK(m->ref == "ref");
  CHECK(m->size == sizeof(reply_mail) + 8);
  mail::free(m);
}

TEST_CASE("mail_queue: first in, first out, and the remaining items are freed") {
  using support::metered;
  metered::reset();
  {
    mail_queue q, other;
    CHECK(q.empty());
    for (char const* const t : {"a", "b", "c"}) q.push(make_push(t, metered::hook()));
    mail* const first = q.pop();
    CHECK(first->as<push_mail>().event == "a");
    mail::free(first);
    other.swap(q);
    CHECK(q.empty());
    CHECK_FALSE(other.empty());
  }
  CHECK(metered::bytes == 0);
}

TEST_CASE("mailbox: the items of one thread arrive in order; the first of a batch wakes") {
  box b;
  CHECK(b.take().empty());
  for (char const* const t : {"a", "b", "c"}) CHECK(b.post(t) == phx::send_status::ok);
  CHECK(b.waker.count() == 1);
  CHECK(b.take() == std::vector<std::string>{"a", "b", "c"});
  CHECK(b.post("d") == phx::send_status::ok);
  CHECK(b.waker.count() == 2);
}

TEST_CASE("mailbox: its bytes are limited too, including payloads; an item larger than the limit is accepted alone") {
  box b(1000, 10'000);
  CHECK(b.post(std::string(20'000, 'x')) == phx::send_status::ok);
  CHECK(b.ref->congested());
  CHECK(b.post("a") == phx::send_status::dropped);
  CHECK(b.post("b", false) == phx::send_status::ok);
  CHECK(b.ref->dropped() == 1);
  CHECK(b.take().size() == 2);
  CHECK_FALSE(b.ref->congested());

  auto const carried = phx::payload::binary(std::string(4'000, 'x'));
  auto const post = [&] {
    mail* const m = make_push("c");
    REQUIRE(mail::set_payload(m, carried, {}));
    return b.ref->post(m, true);
  };
  CHECK(post() == phx::send_status::ok);
  CHECK_FALSE(b.ref->congested());
  CHECK(post() == phx::send_status::ok);
  CHECK(b.ref->congested());
  CHECK(post() == phx::send_status::ok);
  CHECK(post() == phx::send_status::dropped);
  for (int i = 0; i < 100; ++i) {
    CHECK(b.take().size() == (i == 0 ? 3 : 1));
    CHECK(post() == phx::send_status::ok);
  }
}

TEST_CASE("mailbox: beyond its limit it drops and counts, except items that are always accepted") {
  box b(2);
  CHECK(b.post("a") == phx::send_status::ok);
  CHECK(b.post("b") == phx::send_status::ok);
  CHECK(b.post("c") == phx::send_status::dropped);
  CHECK(b.post("exit", false) == phx::send_status::ok);
  CHECK(b.ref->dropped() == 1);
  CHECK(b.take() == std::vector<std::string>{"a", "b", "exit"});
  CHECK(b.post("d") == phx::send_status::ok);
}

TEST_CASE("mailbox: after close it accepts nothing and wakes nothing, whoever still refers to it") {
  mailbox_ref kept;
  {
    box b;
    kept = b.ref;
    CHECK(b.post("lost") == phx::send_status::ok);
  }
  CHECK(kept->post(make_push("x"), true) == phx::send_status::closed);
  CHECK(kept->post(nullptr, true) == phx::send_status::dropped);
}

TEST_CASE("mailbox: a full one that was closed returns closed, not dropped") {
  mailbox_ref kept;
  {
    box b(2);
    kept = b.ref;
    CHECK(b.post("a") == phx::send_status::ok);
    CHECK(b.post("b") == phx::send_status::ok);
    CHECK(b.post("c") == phx::send_status::dropped);
  }
  CHECK(kept->post(make_push("x"), true) == phx::send_status::closed);
}

TEST_CASE("mailbox: one that was full when it closed returns closed, not dropped") {
  mailbox_ref kept;
  {
    box b(1);
    kept = b.ref;
    CHECK(b.post("a") == phx::send_status::ok);
    CHECK(b.post("b") == phx::send_status::dropped);
  }
  CHECK(kept->post(make_push("x"), true) == phx::send_status::closed);
}

TEST_CASE("mailbox: four threads post, one takes: nothing is lost, and the items of each thread arrive in order") {
  box b(1'000'000);
  constexpr int each = 5000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&b, t] {
      for (int i = 0; i < each; ++i) (void)b.post(std::to_string(t) + " " + std::to_string(i));
    });
  int next[4] = {}, total = 0;
  while (total < 4 * each)
    for (std::string const& text : b.take()) {
      auto const number = static_cast<std::size_t>(text[0] - '0');
      CHECK(std::stoi(text.substr(2)) == next[number]++);
      ++total;
    }
  for (std::thread& t : threads) t.join();
  CHECK(b.take().empty());
}

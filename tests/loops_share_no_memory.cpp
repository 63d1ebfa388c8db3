// Two loops write no memory in common. Each loop's memory, and the memory that all loops share, is on pages of its own;
// while one loop works, all other pages are read-only, and a write there ends the process. That is a child process, so that
// the test can check it.

#include <phx/phx.hpp>

#include <doctest/doctest.h>
#include <support/null_transport.hpp>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <new>
#include <string>

namespace {

/// Pages for allocations that are never freed.
class region {
 public:
  static constexpr std::size_t size = 1 << 20;
  region() : at_(static_cast<char*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    REQUIRE(static_cast<void*>(at_) != MAP_FAILED);
  }
  region(region const&) = delete;
  region& operator=(region const&) = delete;
  ~region() { (void)::munmap(at_, size); }

  [[nodiscard]] void* take(std::size_t n) noexcept {
    std::size_t const from = (used_ + 63) / 64 * 64;
    if (n > size - from) return nullptr;
    used_ = from + n;
    return at_ + from;
  }
  template <class T, class... A>
  T& make(A&&... args) {
    void* const at = take(sizeof(T));
    REQUIRE(at != nullptr);
    return *new (at) T(std::forward<A>(args)...);
  }
  void only_read() const noexcept { (void)::mprotect(at_, size, PROT_READ); }

 private:
  char* at_;
  std::size_t used_ = 0;
};

/// The region from which the memory hook of each of two loops allocates.
region* taken_from[2];
template <int which>
void* allocate(std::size_t n) noexcept {
  return taken_from[which]->take(n);
}
void release(void*, std::size_t) noexcept {}

struct null_waker {
  void wake() noexcept {}
};
struct talk {
  phx::outcome handle_in(phx::context& ctx, phx::message const& in) {
    if (in.event == "echo") return phx::outcome::reply(in.payload);
    ctx.broadcast("shout", in.payload);
    return phx::outcome::noreply();
  }
};
using application = phx::router<>;
using client = phx::socket<support::null_transport, application>;

/// A loop with everything it owns, except its mailbox, to which the other loops write, one item per broadcast.
struct side {
  region own{}, mailbox{};
  phx::limits bounds{};
  phx::loop* loop = nullptr;
  std::size_t* frames = nullptr;
  client* clients[3] = {};

  template <int which>
  void build(phx::endpoint& all, application& app, phx::mount const& where) {
    bounds.memory = {&allocate<which>, &release};
    taken_from[which] = &mailbox;
    loop = &own.make<phx::loop>(all, mailbox.make<null_waker>(), bounds);
    taken_from[which] = &own;
    frames = &own.make<std::size_t>(0u);
    for (client*& c : clients) {
      phx::request from;
      from.method = "GET";
      from.path = "/socket/websocket";
      from.query = "vsn=2.0.0";
      auto judged = phx::handshake(where, app, from);
      REQUIRE(judged.index() == 0);
      c = &own.make<client>(*loop, app, std::move(*std::get_if<0>(&judged)), support::null_transport{frames},
                            phx::time_point{});
      CHECK(say(*c, R"(["1","1","room:a","phx_join",{}])"));
    }
  }
  [[nodiscard]] static bool say(client& c, std::string_view text) {
    return c.receive(phx::opcode::text, text, true, phx::time_point{});
  }
  /// @return the number of frames sent meanwhile
  [[nodiscard]] std::size_t work(unsigned times) {
    std::size_t const before = *frames;
    for (; times != 0; --times) {
      auto const turn = loop->turn();
      (void)say(*clients[0], R"(["1","2","room:a","echo",{"some":"thing"}])");
      (void)say(*clients[1], R"([null,"3","phoenix","heartbeat",{}])");
      (void)say(*clients[2], R"(["1","4","room:a","shout",{"some":"thing"}])");
    }
    (void)loop->run({});
    return *frames - before;
  }
  void only_read() const noexcept {
    own.only_read();
    mailbox.only_read();
  }
  void end() {
    for (client* const c : clients) std::destroy_at(c);
    loop->~loop();
  }
};

/// True if `work` completes in a child process.
template <class F>
bool survives(F work) {
  pid_t const child = ::fork();
  if (child == 0) {
    for (int const s : {SIGSEGV, SIGBUS}) (void)std::signal(s, SIG_DFL);
    ::_exit(work() ? 0 : 1);
  }
  int status = 1;
  REQUIRE(child > 0);
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("loops: serving its clients a loop writes nothing that another loop reads or writes, except that loop's mailbox") {
  region shared;
  auto& all = shared.make<phx::endpoint>();
  auto& app = shared.make<application>();
  app.channel<talk>("room:*");
  auto const& where = shared.make<phx::mount>();
  side one, two;
  one.build<0>(all, app, where);
  two.build<1>(all, app, where);
  // After a warm-up: frames can be reused, and items posted by the other are handled.
  for (int i = 0; i < 3; ++i) {
    CHECK(one.work(2) >= 2 * 5);
    CHECK(two.work(2) >= 2 * 5);
  }

  CHECK(survives([&] {
    shared.only_read();
    one.own.only_read();
    taken_from[0] = &one.mailbox;  // items posted to it are allocated here
    return two.work(20) == 20 * (1 + 1 + 3);
  }));
  SUBCASE("an echo and a heartbeat do not write to the mailbox either") {
    CHECK(survives([&] {
      shared.only_read();
      one.only_read();
      for (int i = 0; i < 20; ++i)
        if (!side::say(*two.clients[0], R"(["1","2","room:a","echo",{"some":"thing"}])") ||
            !side::say(*two.clients[1], R"([null,"3","phoenix","heartbeat",{}])"))
          return false;
      return true;
    }));
  }
  SUBCASE("such a write ends the child: this test can fail") {
    CHECK_FALSE(survives([&] {
      shared.only_read();
      one.only_read();
      return two.work(1) == 5;  // a broadcast writes to the other's mailbox
    }));
    CHECK_FALSE(survives([&] {
      two.own.only_read();
      return two.work(1) == 5;
    }));
  }
  one.end();
  two.end();
  all.~endpoint();
  app.~application();
  where.~mount();
}

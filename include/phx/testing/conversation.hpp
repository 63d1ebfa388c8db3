#ifndef PHX_TESTING_CONVERSATION_HPP
#define PHX_TESTING_CONVERSATION_HPP
// Tests one socket with raw frames, in any test framework. After each call everything that follows from it has happened:
// nothing waits. Tests of channels are shorter with testing/server.hpp, whose clients join, push and expect.
//
//     phx::testing::conversation c;
//     c.in(R"(["1","1","room:a","phx_join",{}])");
//     assert(c.out().at(0) == R"(["1","1","room:a","phx_reply",{"status":"ok","response":{}}])");

#include <phx/channel/router.hpp>
#include <phx/testing/fake_loop.hpp>
#include <phx/testing/recorder.hpp>

#include <cassert>
#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace testing {

/// A channel that replies to `echo` with its payload, and does not reply to other events.
struct echo_room {
  /// Replies to `echo`.
  outcome handle_in(context&, message const& in) {
    return in.event == "echo" ? outcome::reply(in.payload) : outcome::noreply();
  }
};
/// The dispatcher of a conversation without one: an echo_room at `room:*`.
struct echo_rooms : router<> {
  echo_rooms() { channel<echo_room>("room:*"); }
};

/// A socket with a recorder as its transport, on a loop whose clock the test moves. One thread.
template <Dispatcher D = echo_rooms>
class conversation {
 public:
  /// The dispatcher's session.
  using session_type = typename D::session_type;

  conversation() requires std::default_initializable<D> : owned_(std::make_unique<D>()), dispatcher_(*owned_) {
    open("2.0.0", session_type{}, {});
  }
  /// @param dispatcher must outlive the conversation. @param vsn one that `where` offers. @param id the topic of
  ///   `disconnect`.
  explicit conversation(D& dispatcher, std::string_view vsn = "2.0.0", mount where = {}, session_type session = {},
                        std::optional<std::string> id = {})
      : dispatcher_(dispatcher), mount_(std::move(where)), loops_(1, mount_.bounds) {
    open(vsn, std::move(session), std::move(id));
  }
  conversation(conversation const&) = delete;
  conversation& operator=(conversation const&) = delete;
  ~conversation() {
    gone(lost::normal);
    socket_.reset();
  }

  // ---- the client

  /// A text message from the client.
  void in(std::string_view text) { in(opcode::text, text, true); }
  /// A binary message from the client.
  void in_binary(std::string_view bytes) { in(opcode::binary, bytes, true); }
  /// One part of a message. Ignored after destroy(), as a host does not read any more then.
  void in(opcode op, std::string_view part, bool last) {
    if (socket_) (void)socket_->receive(op, part, last, loops_.now());
    settle();
  }
  /// The client's connection ends.
  void gone(lost reason = lost::error) {
    if (socket_) socket_->gone(reason);
    settle();
  }
  /// Moves the clock; whatever is due happens.
  void advance(duration d) {
    loops_.advance(d);
    settle();
  }
  /// Runs the loop until it has nothing left to do now.
  void settle() { loops_.settle(); }

  // ---- what the client received

  /// Every message since the last call.
  std::vector<std::string> out() { return wire_.out(); }
  /// Whether the socket has closed the transport.
  [[nodiscard]] bool closed() const noexcept { return wire_.closed.has_value(); }
  /// The code it was closed with; 0 while it is open.
  [[nodiscard]] unsigned close_code() const noexcept {
    return wire_.closed ? static_cast<unsigned>(wire_.closed->code) : 0u;
  }

  // ---- its parts

  /// The transport.
  [[nodiscard]] testing::recorder& recorder() noexcept { return wire_; }
  /// The loop.
  [[nodiscard]] phx::loop& loop() noexcept { return loops_[0]; }
  /// All loops, with their clock.
  [[nodiscard]] fake_loops& loops() noexcept { return loops_; }
  /// The endpoint of its loops.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return loops_.endpoint(); }
  /// The socket under test.
  [[nodiscard]] phx::socket<recorder::transport_type, D>& socket() noexcept { return *socket_; }
  /// Destroys the socket, as a host does when the connection has ended.
  void destroy() {
    socket_.reset();
    settle();
  }

 private:
  void open(std::string_view vsn, session_type session, std::optional<std::string> id) {
    admission<session_type> in{};
    in.serializer = choose(mount_.offered(), vsn);
    assert(in.serializer && "the mount offers no serializer for this vsn");
    in.session.emplace(std::move(session));
    in.id = std::move(id);
    in.bounds = &mount_.bounds;
    in.linger = mount_.linger;
    socket_.emplace(loops_[0], dispatcher_, std::move(in), wire_.transport(), loops_.now());
    settle();
  }

  std::unique_ptr<D> owned_{};
  D& dispatcher_;
  mount mount_{};
  fake_loops loops_{};
  testing::recorder wire_{};
  std::optional<phx::socket<recorder::transport_type, D>> socket_{};
};
conversation()->conversation<echo_rooms>;
template <class D>
conversation(D&) -> conversation<D>;
template <class D, class... More>
conversation(D&, std::string_view, More...) -> conversation<D>;

}  // namespace testing
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_TESTING_SERVER_HPP
#define PHX_TESTING_SERVER_HPP
// Tests of channels, in any test framework: a server in process, whose clients join, push and expect. After each call
// everything that follows from it has happened: nothing waits.
//
//     phx::router<> rooms;
//     rooms.channel<room>("room:*");
//     phx::testing::server server(rooms);
//     auto ann = server.connect().join("room:a");
//     auto bob = server.connect().join("room:a", R"({"name":"bob"})");
//     auto ref = ann.push("shout", R"({"body":"hi"})");
//     assert(ann.expect_reply(ref)->status == "ok");
//     assert(bob.expect_broadcast("shout") == R"({"body":"hi"})");

#include <phx/channel/router.hpp>
#include <phx/connect/handshake.hpp>
#include <phx/socket/socket.hpp>
#include <phx/testing/detail/client_connection.hpp>
#include <phx/testing/fake_loop.hpp>
#include <phx/testing/recorder.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace testing {

/// A reply, as the client received it.
struct received_reply {
  /// The reply's status.
  std::string status{};
  /// JSON text, or bytes if `binary`.
  std::string response{};
  /// Whether the reply came as bytes.
  bool binary = false;

  /// Whether the status is `ok`.
  [[nodiscard]] bool ok() const noexcept { return status == "ok"; }
  /// All members are equal.
  [[nodiscard]] friend bool operator==(received_reply const&, received_reply const&) = default;
};

/// A channel as its client sees it. A handle: copies are the same channel; the server must outlive them. Each `expect` takes
/// the first matching message out of those received, wherever it stands; the next `expect` finds the next one.
class channel_client {
 public:
  /// The reply to the join; empty while it is pending.
  [[nodiscard]] std::optional<received_reply> const& joined() noexcept {
    if (!answer_) answer_ = expect_reply(join_ref_);
    return answer_;
  }
  /// Whether the join was replied to with ok.
  [[nodiscard]] bool ok() noexcept { return joined() && joined()->ok(); }

  /// @param payload JSON text. @return the ref to expect a reply for.
  std::string push(std::string_view event, std::string_view payload = "{}") {
    std::string ref = connection_->next_ref();
    connection_->send(quoted(join_ref_), quoted(ref), topic_, event, payload);
    return ref;
  }
  /// The same with bytes, in a binary frame.
  std::string push_bytes(std::string_view event, std::string_view bytes) {
    std::string ref = connection_->next_ref();
    connection_->send_bytes(join_ref_, ref, topic_, event, bytes);
    return ref;
  }
  /// Pushes and gives the reply, if it came at once.
  std::optional<received_reply> call(std::string_view event, std::string_view payload = "{}") {
    return expect_reply(push(event, payload));
  }
  /// Sends `phx_leave`. @return whether the reply was ok.
  bool leave() {
    auto const answer = call(event::leave);
    return answer && answer->ok();
  }

  /// The reply to the message with this ref, if it has come.
  [[nodiscard]] std::optional<received_reply> expect_reply(std::string_view ref) {
    std::string const wanted = quoted(ref);
    auto const found = connection_->take([&](detail::received_message const& m) {
      return m.kind == detail::received_message::reply && m.topic == topic_ && m.ref == wanted;
    });
    if (!found) return std::nullopt;
    return received_reply{found->event, found->payload, found->binary};
  }
  /// The payload of a push of this channel.
  [[nodiscard]] std::optional<std::string> expect_push(std::string_view event) {
    return payload_of(detail::received_message::push, event, quoted(join_ref_));
  }
  /// The payload of a broadcast on its topic.
  [[nodiscard]] std::optional<std::string> expect_broadcast(std::string_view event) {
    return payload_of(detail::received_message::broadcast, event, {});
  }
  /// Whether it ended with phx_close: the client left, or the channel stopped.
  [[nodiscard]] bool expect_close() { return expect_push(event::close).has_value(); }
  /// Whether it ended with phx_error: the channel crashed, and phoenix.js would join again.
  [[nodiscard]] bool expect_error() { return expect_push(event::error).has_value(); }
  /// The messages on this topic that no `expect` has taken, as `event payload` or `reply status payload`.
  [[nodiscard]] std::vector<std::string> rest() {
    connection_->receive_all();
    std::vector<std::string> out;
    for (detail::received_message const& m : connection_->inbox)
      if (m.topic == topic_)
        out.push_back((m.kind == detail::received_message::reply ? "reply " : "") + m.event + ' ' + m.payload);
    return out;
  }
  /// The topic it joined.
  [[nodiscard]] std::string const& topic() const noexcept { return topic_; }
  /// The ref of its join.
  [[nodiscard]] std::string const& join_ref() const noexcept { return join_ref_; }

 private:
  friend class client;
  channel_client(detail::client_connection& connection, std::string_view topic)
      : connection_(&connection), topic_(topic), join_ref_(connection.next_ref()) {}
  [[nodiscard]] static std::string quoted(std::string_view s) { return '"' + std::string(s) + '"'; }
  [[nodiscard]] std::optional<std::string> payload_of(int kind, std::string_view event, std::string const& join_ref) {
    auto found = connection_->take([&](detail::received_message const& m) {
      return m.kind == kind && m.topic == topic_ && m.event == event && m.join_ref == join_ref;
    });
    if (!found) return std::nullopt;
    return std::move(found->payload);
  }

  detail::client_connection* connection_;
  std::string topic_, join_ref_;
  std::optional<received_reply> answer_{};
};

/// One connection, like the Socket of phoenix.js. A handle: the server must outlive it.
class client {
 public:
  /// False if it was refused, and once the connection has ended.
  [[nodiscard]] bool connected() const noexcept {
    return !connection_->refusal && !connection_->wire.closed && !connection_->left;
  }
  /// The HTTP status it was refused with; 0 if it was not.
  [[nodiscard]] unsigned refused() const noexcept { return connection_->refusal ? connection_->refusal->status : 0u; }
  /// The code the server closed it with; 0 while it has not.
  [[nodiscard]] unsigned close_code() const noexcept {
    return connection_->wire.closed ? static_cast<unsigned>(connection_->wire.closed->code) : 0u;
  }
  /// Joins a topic. @param payload JSON text.
  channel_client join(std::string_view topic, std::string_view payload = "{}") {
    channel_client c(*connection_, topic);
    std::string const ref = channel_client::quoted(c.join_ref_);
    connection_->send(ref, ref, topic, event::join, payload);
    (void)c.joined();
    return c;
  }
  /// Sends a heartbeat. @return whether it was replied to.
  bool heartbeat() {
    std::string const ref = channel_client::quoted(connection_->next_ref());
    connection_->send("null", ref, "phoenix", event::heartbeat, "{}");
    return connection_->take([&](detail::received_message const& m) { return m.topic == "phoenix" && m.ref == ref; })
        .has_value();
  }
  /// Sends any text, well formed or not.
  void send(std::string_view text) { connection_->receive(opcode::text, text); }
  /// The client closes the connection, or loses it.
  void disconnect(lost reason = lost::normal) {
    connection_->left = true;
    connection_->drop(reason);
  }
  /// Its transport.
  [[nodiscard]] testing::recorder& recorder() noexcept { return connection_->wire; }

 private:
  template <Dispatcher D>
  friend class server;
  explicit client(detail::client_connection& connection) noexcept : connection_(&connection) {}
  detail::client_connection* connection_;
};

/// A server with one mount: its loops, their clock and its clients. One thread.
template <Dispatcher D>
class server {
 public:
  /// @param dispatcher must outlive the server. @param loops how many; connect chooses one for each client.
  explicit server(D& dispatcher, mount where = {}, std::size_t loops = 1)
      : dispatcher_(dispatcher), mount_(std::move(where)), loops_(loops, mount_.bounds) {}
  server(server const&) = delete;
  server& operator=(server const&) = delete;
  ~server() {
    for (auto const& c : clients_) c->drop(lost::normal);
  }

  /// Connects a client through the handshake of the mount: origin, vsn and `connect`.
  /// @param params as in a URL: `user_id=ann&token=x`.
  client connect(std::string_view params = {}, std::size_t loop = 0) {
    auto made = std::make_unique<connection>(*this);
    std::string const query = std::string(params) + (params.empty() ? "" : "&") + "vsn=2.0.0";
    std::string const path = mount_.path + mount_.websocket_path;
    header const headers[] = {{"host", "localhost"}};
    request request;
    request.method = "GET";
    request.path = path;
    request.query = query;
    request.headers = headers;
    auto result = handshake(mount_, dispatcher_, request);
    if (auto* const refused = std::get_if<refused_request>(&result)) {
      made->refusal = std::move(refused->answer);
    } else {
      made->socket.emplace(loops_[loop], dispatcher_, std::move(*std::get_if<0>(&result)), made->wire.transport(),
                           loops_.now());
    }
    clients_.push_back(std::move(made));
    loops_.settle();
    return client(*clients_.back());
  }
  /// Broadcasts to all subscribers of the topic, from outside of any channel.
  void broadcast(std::string_view topic, std::string_view event, std::string_view payload = "{}") {
    (void)loops_.endpoint().broadcast(topic, event, payload::json(payload));
    loops_.settle();
  }
  /// Ends every connection whose socket has this id.
  void disconnect(std::string_view id) {
    (void)loops_.endpoint().disconnect(id);
    loops_.settle();
  }
  /// Moves the clock; whatever is due happens.
  void advance(duration d) { loops_.advance(d); }
  /// Runs the loops until nothing is left to do: after another thread has posted, for example.
  void settle() { loops_.settle(); }

  /// The endpoint of its loops.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return loops_.endpoint(); }
  /// The loop with this number.
  [[nodiscard]] phx::loop& loop(std::size_t i = 0) noexcept { return loops_[i]; }
  /// All loops, with their clock.
  [[nodiscard]] fake_loops& loops() noexcept { return loops_; }

 private:
  struct connection final : detail::client_connection {
    explicit connection(server& s) : owner(s) {}
    void receive(opcode op, std::string_view bytes) override {
      if (socket && !wire.closed) (void)socket->receive(op, bytes, true, owner.loops_.now());
      owner.loops_.settle();
    }
    void drop(lost reason) override {
      if (socket) socket->gone(reason);
      owner.loops_.settle();
    }
    server& owner;
    std::optional<phx::socket<recorder::transport_type, D>> socket{};
  };

  D& dispatcher_;
  mount mount_;
  fake_loops loops_;
  std::vector<std::unique_ptr<connection>> clients_{};
};

}  // namespace testing
}  // namespace PHX_BUILD
}  // namespace phx

#endif

#ifndef PHX_TESTING_CONVERSATION_HPP
#define PHX_TESTING_CONVERSATION_HPP
// Tests of channels, for any test framework: `conversation` is one socket spoken to in raw frames, `server` is a whole
// server whose clients join, push and expect. Nothing waits: after every action all that follows from it has happened.
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
#include <phx/testing/fake_loop.hpp>
#include <phx/testing/recorder.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace testing {

/// A channel that answers `echo` with its payload, and everything else with nothing.
struct echo_room {
  /// `echo` is answered, `shout` is broadcast.
  outcome handle_in(context&, message const& in) {
    return in.event == "echo" ? outcome::reply(in.payload) : outcome::noreply();
  }
};
/// What a conversation talks to when it is given nothing: an echo_room at `room:*`.
struct echo_rooms : router<> {
  echo_rooms() { channel<echo_room>("room:*"); }
};

/// Socket, recorder and a clock that only moves when told.
template <Dispatcher D = echo_rooms>
class conversation {
 public:
  /// The dispatcher's session.
  using session_type = typename D::session_type;

  conversation() requires std::default_initializable<D> : owned_(std::make_unique<D>()), dispatcher_(*owned_) {
    open("2.0.0", session_type{}, {});
  }
  /// @param dispatcher outlives the conversation. @param vsn one that `on` offers. @param id the `disconnect` topic.
  explicit conversation(D& dispatcher, std::string_view vsn = "2.0.0", mount on = {}, session_type session = {},
                        std::optional<std::string> id = {})
      : dispatcher_(dispatcher), mount_(std::move(on)), loops_(1, mount_.bounds) {
    open(vsn, std::move(session), std::move(id));
  }
  conversation(conversation const&) = delete;
  conversation& operator=(conversation const&) = delete;
  ~conversation() {
    gone(lost::normal);
    socket_.reset();
  }

  // ---- what the client does
  /// A text message from the client.
  void in(std::string_view text) { in(opcode::text, text, true); }
  /// A binary message from the client.
  void in_binary(std::string_view bytes) { in(opcode::binary, bytes, true); }
  /// One part of a message. What comes after the end is ignored, as a host has stopped reading then.
  void in(opcode op, std::string_view part, bool last) {
    if (socket_) (void)socket_->receive(op, part, last, loops_.now());
    settle();
  }
  /// The client leaves.
  void gone(lost how_lost = lost::error) {
    if (socket_) socket_->gone(how_lost);
    settle();
  }
  /// The clock moves, and what is due happens.
  void advance(duration d) {
    loops_.advance(d);
    settle();
  }
  /// Runs the loop until nothing is left to do now.
  void settle() { loops_.settle(); }

  // ---- what it saw
  /// Every message since the last call.
  std::vector<std::string> out() { return wire_.out(); }
  /// Was the transport told to close?
  [[nodiscard]] bool closed() const noexcept { return wire_.closed.has_value(); }
  /// 0 while it is open.
  [[nodiscard]] unsigned close_code() const noexcept {
    return wire_.closed ? static_cast<unsigned>(wire_.closed->code) : 0u;
  }

  // ---- what it is made of
  /// What was sent to it.
  [[nodiscard]] testing::recorder& recorder() noexcept { return wire_; }
  /// The loop.
  [[nodiscard]] phx::loop& loop() noexcept { return loops_[0]; }
  /// All loops, with their clock.
  [[nodiscard]] fake_loops& loops() noexcept { return loops_; }
  /// All loops of this test.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return loops_.endpoint(); }
  /// The socket under test.
  [[nodiscard]] phx::socket<recorder::transport_type, D>& socket() noexcept { return *socket_; }
  /// The end of the connection object, as a host's: gone, if nobody said it before.
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

/// What a channel answered, the response as JSON text or bytes.
struct answered {
  /// The reply's status.
  std::string status{};
  /// JSON text, or bytes.
  std::string response{};
  /// Whether the reply came as bytes.
  bool binary = false;

  /// Was the status `ok`?
  [[nodiscard]] bool ok() const noexcept { return status == "ok"; }
  /// Status, payload and kind alike?
  [[nodiscard]] friend bool operator==(answered const&, answered const&) = default;
};

namespace detail {

/// A message a client got, taken apart.
struct heard {
  enum : std::uint8_t { reply, push, broadcast } kind = push;
  std::string join_ref{}, ref{};  // JSON; empty for null
  std::string topic{}, event{};   // of a reply: its status stands in `event`
  std::string payload{};
  bool binary = false;
};

/// What phoenix.js does with the frames of vsn 2.0.0 (protocol 3.3, 3.4).
[[nodiscard]] inline heard read(frame const& f) {
  heard h;
  std::string_view const all = f.data();
  if (f.op() == opcode::binary) {
    auto const size = [&](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(all[i])); };
    auto const kind = size(0);
    std::size_t const strings = kind == 0 ? 3 : kind == 1 ? 4 : 2;
    std::string part[4];
    std::size_t at = 1 + strings;
    for (std::size_t i = 0; i < strings; ++i) {
      part[i] = all.substr(at, size(1 + i));
      at += part[i].size();
    }
    auto const quoted = [](std::string const& s) { return s.empty() ? s : '"' + s + '"'; };
    h.binary = true;
    h.payload = all.substr(at);
    if (kind == 0)
      h = {heard::push, quoted(part[0]), {}, part[1], part[2], std::move(h.payload), true};
    else if (kind == 1)
      h = {heard::reply, quoted(part[0]), quoted(part[1]), part[2], part[3], std::move(h.payload), true};
    else
      h = {heard::broadcast, {}, {}, part[0], part[1], std::move(h.payload), true};
    return h;
  }
  json::cursor c(all, json::deepest);
  std::string_view join_ref, ref, topic, event, payload;
  bool const whole = c.take('[') && c.value(join_ref) && c.take(',') && c.value(ref) && c.take(',') && c.value(topic) &&
                     c.take(',') && c.value(event) && c.take(',') && c.value(payload) && c.take(']') && c.done();
  assert(whole && "not a frame of vsn 2.0.0");
  (void)whole;
  auto const text = [](std::string_view token) {
    std::string s(token.size(), '\0');
    if (!json::is_string(token)) return std::string(token);
    s.resize(json::unescape(token, s.data()));
    return s;
  };
  if (join_ref != "null") h.join_ref = join_ref;
  if (ref != "null") h.ref = ref;
  h.topic = text(topic);
  h.event = text(event);
  h.payload = payload;
  if (h.event == event::reply) {
    json::cursor inside(payload, json::deepest);
    std::string_view key, status, response;
    if (inside.take('{') && inside.value(key) && inside.take(':') && inside.value(status) && inside.take(',') &&
        inside.value(key) && inside.take(':') && inside.value(response)) {
      h.kind = heard::reply;
      h.event = text(status);
      h.payload = response;
    }
  } else {
    h.kind = h.join_ref.empty() && h.ref.empty() ? heard::broadcast : heard::push;
  }
  return h;
}

/// One client of a server: its connection, and what it has heard and nobody has asked for yet.
struct connection {
  virtual ~connection() = default;
  virtual void receive(opcode, std::string_view) = 0;
  virtual void drop(lost) = 0;

  void send(std::string_view join_ref, std::string_view ref, std::string_view topic, std::string_view event,
            std::string_view payload) {
    std::string text = "[";
    text.append(join_ref).append(",").append(ref).append(",");
    for (std::string_view const name : {topic, event}) {
      json::append_quoted(text, name);
      text += ',';
    }
    receive(opcode::text, text.append(payload).append("]"));
  }
  void send_bytes(std::string_view join_ref, std::string_view ref, std::string_view topic, std::string_view event,
                  std::string_view bytes) {
    std::string out(1, '\0');
    for (std::string_view const part : {join_ref, ref, topic, event})
      out += static_cast<char>(static_cast<unsigned char>(part.size()));
    for (std::string_view const part : {join_ref, ref, topic, event, bytes}) out += part;
    receive(opcode::binary, out);
  }
  void listen() {
    for (frame const& f : wire.frames) inbox.push_back(read(f));
    wire.frames.clear();
  }
  template <class Fits>
  [[nodiscard]] std::optional<heard> take(Fits&& fits) {
    listen();
    for (std::size_t i = 0; i < inbox.size(); ++i)
      if (fits(inbox[i])) {
        heard found = std::move(inbox[i]);
        inbox.erase(inbox.begin() + static_cast<std::ptrdiff_t>(i));
        return found;
      }
    return std::nullopt;
  }
  [[nodiscard]] std::string next_ref() { return std::to_string(++last_ref); }

  testing::recorder wire{};
  std::vector<heard> inbox{};
  unsigned long last_ref = 0;
  bool left = false;
  std::optional<http_answer> refusal{};
  std::string refused_because{};
};

}  // namespace detail

/// A channel as its client sees it. A handle: copies speak for the same channel; the server outlives them.
/// Every `expect` takes what it finds out of what was heard, whatever came before it; a second one finds the next.
class channel_client {
 public:
  /// How the join was answered; empty while it is pending.
  [[nodiscard]] std::optional<answered> const& joined() noexcept {
    if (!answer_) answer_ = expect_reply(join_ref_);
    return answer_;
  }
  /// Was the join answered with ok?
  [[nodiscard]] bool ok() noexcept { return joined() && joined()->ok(); }

  /// @param payload JSON text. @return the ref to expect a reply for.
  std::string push(std::string_view event, std::string_view payload = "{}") {
    std::string ref = of_->next_ref();
    of_->send(quoted(join_ref_), quoted(ref), topic_, event, payload);
    return ref;
  }
  /// The same with raw bytes, in a binary frame.
  std::string push_bytes(std::string_view event, std::string_view bytes) {
    std::string ref = of_->next_ref();
    of_->send_bytes(join_ref_, ref, topic_, event, bytes);
    return ref;
  }
  /// A push and its answer.
  std::optional<answered> call(std::string_view event, std::string_view payload = "{}") {
    return expect_reply(push(event, payload));
  }
  /// `phx_leave`. @return whether the server answered ok.
  bool leave() {
    auto const answer = call(event::leave);
    return answer && answer->ok();
  }

  /// The answer to the message with this ref, if it has come.
  [[nodiscard]] std::optional<answered> expect_reply(std::string_view ref) {
    std::string const wanted = quoted(ref);
    auto const found = of_->take(
        [&](detail::heard const& h) { return h.kind == detail::heard::reply && h.topic == topic_ && h.ref == wanted; });
    if (!found) return std::nullopt;
    return answered{found->event, found->payload, found->binary};
  }
  /// The payload of a push of this channel.
  [[nodiscard]] std::optional<std::string> expect_push(std::string_view event) {
    return payload_of(detail::heard::push, event, quoted(join_ref_));
  }
  /// The payload of a broadcast on its topic.
  [[nodiscard]] std::optional<std::string> expect_broadcast(std::string_view event) {
    return payload_of(detail::heard::broadcast, event, {});
  }
  /// Did it end with phx_close: it left, or the server is done with it?
  [[nodiscard]] bool expect_close() { return expect_push(event::close).has_value(); }
  /// Did it end with phx_error: it crashed, the client would join again?
  [[nodiscard]] bool expect_error() { return expect_push(event::error).has_value(); }
  /// What it heard on this topic that nobody has asked for, as `event payload` (`reply status payload`).
  [[nodiscard]] std::vector<std::string> rest() {
    of_->listen();
    std::vector<std::string> all;
    for (detail::heard const& h : of_->inbox)
      if (h.topic == topic_) all.push_back((h.kind == detail::heard::reply ? "reply " : "") + h.event + ' ' + h.payload);
    return all;
  }
  /// The topic it joined.
  [[nodiscard]] std::string const& topic() const noexcept { return topic_; }
  /// The ref of its join.
  [[nodiscard]] std::string const& join_ref() const noexcept { return join_ref_; }

 private:
  friend class client;
  channel_client(detail::connection& of, std::string_view topic) : of_(&of), topic_(topic), join_ref_(of.next_ref()) {}
  [[nodiscard]] static std::string quoted(std::string_view s) { return '"' + std::string(s) + '"'; }
  [[nodiscard]] std::optional<std::string> payload_of(int value, std::string_view event, std::string const& join_ref) {
    auto found = of_->take([&](detail::heard const& h) {
      return h.kind == value && h.topic == topic_ && h.event == event && h.join_ref == join_ref;
    });
    if (!found) return std::nullopt;
    return std::move(found->payload);
  }

  detail::connection* of_;
  std::string topic_, join_ref_;
  std::optional<answered> answer_{};
};

/// One connection, as phoenix.js would hold it. A handle: the server outlives it.
class client {
 public:
  /// False for one that was refused, and once the connection has ended.
  [[nodiscard]] bool connected() const noexcept { return !of_->refusal && !of_->wire.closed && !of_->left; }
  /// The HTTP status of a refused connect; 0 where there was none.
  [[nodiscard]] unsigned refused() const noexcept { return of_->refusal ? of_->refusal->status : 0u; }
  /// What the server closed with; 0 while it has not.
  [[nodiscard]] unsigned close_code() const noexcept {
    return of_->wire.closed ? static_cast<unsigned>(of_->wire.closed->code) : 0u;
  }
  /// @param payload JSON text.
  channel_client join(std::string_view topic, std::string_view payload = "{}") {
    channel_client c(*of_, topic);
    std::string const ref = channel_client::quoted(c.join_ref_);
    of_->send(ref, ref, topic, event::join, payload);
    (void)c.joined();
    return c;
  }
  /// Is it answered?
  bool heartbeat() {
    std::string const ref = channel_client::quoted(of_->next_ref());
    of_->send("null", ref, "phoenix", event::heartbeat, "{}");
    return of_->take([&](detail::heard const& h) { return h.topic == "phoenix" && h.ref == ref; }).has_value();
  }
  /// Any text, well formed or not.
  void send(std::string_view text) { of_->receive(opcode::text, text); }
  /// The client goes away.
  void disconnect(lost how_lost = lost::normal) {
    of_->left = true;
    of_->drop(how_lost);
  }
  /// What was sent to it.
  [[nodiscard]] testing::recorder& recorder() noexcept { return of_->wire; }

 private:
  template <Dispatcher D>
  friend class server;
  explicit client(detail::connection& of) noexcept : of_(&of) {}
  detail::connection* of_;
};

/// A server with one mount, in process: its loops, its clock, its clients.
template <Dispatcher D>
class server {
 public:
  /// @param dispatcher outlives the server. @param loops of one endpoint; clients say on which they are.
  explicit server(D& dispatcher, mount on = {}, std::size_t loops = 1)
      : dispatcher_(dispatcher), mount_(std::move(on)), loops_(loops, mount_.bounds) {}
  server(server const&) = delete;
  server& operator=(server const&) = delete;
  ~server() {
    for (auto const& c : clients_) c->drop(lost::normal);
  }

  /// Through the handshake of the mount: origin, vsn and `connect`.
  /// @param params as in a URL: `user_id=ann&token=x`.
  client connect(std::string_view params = {}, std::size_t on_loop = 0) {
    auto made = std::make_unique<one>(*this);
    std::string const query = std::string(params) + (params.empty() ? "" : "&") + "vsn=2.0.0";
    std::string const path = mount_.path + mount_.websocket_path;
    header const headers[] = {{"host", "localhost"}};
    request asked;
    asked.method = "GET";
    asked.path = path;
    asked.query = query;
    asked.headers = headers;
    auto judged = handshake(mount_, dispatcher_, asked);
    if (auto* const no = std::get_if<refused_request>(&judged)) {
      made->refusal = std::move(no->answer);
      made->refused_because = std::move(no->detail);
    } else {
      made->held.emplace(loops_[on_loop], dispatcher_, std::move(*std::get_if<0>(&judged)), made->wire.transport(),
                         loops_.now());
    }
    clients_.push_back(std::move(made));
    loops_.settle();
    return client(*clients_.back());
  }
  /// From outside of any channel, to all subscribers of the topic.
  void broadcast(std::string_view topic, std::string_view event, std::string_view payload = "{}") {
    (void)loops_.endpoint().broadcast(topic, event, payload::json(payload));
    loops_.settle();
  }
  /// Ends every connection whose socket has this id.
  void disconnect(std::string_view id) {
    (void)loops_.endpoint().disconnect(id);
    loops_.settle();
  }
  /// The clock moves, and what is due happens.
  void advance(duration d) { loops_.advance(d); }
  /// After something happened that phx was not called for: another thread posted, say.
  void settle() { loops_.settle(); }

  /// All loops of this test.
  [[nodiscard]] phx::endpoint& endpoint() noexcept { return loops_.endpoint(); }
  /// The loop.
  [[nodiscard]] phx::loop& loop(std::size_t i = 0) noexcept { return loops_[i]; }
  /// All loops, with their clock.
  [[nodiscard]] fake_loops& loops() noexcept { return loops_; }

 private:
  struct one final : detail::connection {
    explicit one(server& in) : here(in) {}
    void receive(opcode op, std::string_view bytes) override {
      if (held && !wire.closed) (void)held->receive(op, bytes, true, here.loops_.now());
      here.loops_.settle();
    }
    void drop(lost how_lost) override {
      if (held) held->gone(how_lost);
      here.loops_.settle();
    }
    server& here;
    std::optional<phx::socket<recorder::transport_type, D>> held{};
  };

  D& dispatcher_;
  mount mount_;
  fake_loops loops_;
  std::vector<std::unique_ptr<one>> clients_{};
};

}  // namespace testing
}  // namespace PHX_BUILD
}  // namespace phx

#endif

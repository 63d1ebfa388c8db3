// phx on uWebSockets: the library reads and writes HTTP and frames; phx gets and gives what is in them. One thread.

#include "app.hpp"

#include <App.h>

#include <algorithm>
#include <csignal>
#include <thread>

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
struct per_socket;
using web_socket = uWS::WebSocket<false, true, per_socket>;

struct server {
  uWS::Loop* const uws = uWS::Loop::get();
  us_timer_t* const timer = us_create_timer(reinterpret_cast<us_loop_t*>(uws), 1, 0);
  us_listen_socket_t* listener = nullptr;
  application app{};
  phx::loop loop{app.endpoint, *this, app.bounds};
  std::optional<phx::turn_guard> turn{};  // one write for each connection, however much one wait brought

  ~server() { us_timer_close(timer); }
  void wake() noexcept { us_wakeup_loop(reinterpret_cast<us_loop_t*>(uws)); }  // from any thread; run() follows
  void run() {                                                                 // before uWebSockets waits
    phx::time_point const now = clock::now(), next = loop.run(now);
    turn.reset();  // writes
    turn.emplace(loop);
    auto const wait = std::chrono::ceil<std::chrono::milliseconds>(std::clamp<phx::duration>(next - now, 1ms, 1h));
    us_timer_set(
        timer, [](us_timer_t*) {}, static_cast<int>(wait.count()), 0);
  }
  void drain() {  // App::run returns when the last connection has ended
    us_listen_socket_close(0, listener);
    loop.drain(app.drain, clock::now());
  }
};

struct client {
  struct transport {
    client* to;
    phx::send_status send(phx::frame const& f) noexcept {
      to->waiting.push_back(f);
      to->bytes += f.data().size();
      return phx::send_status::ok;
    }
    std::size_t buffered() const noexcept { return to->bytes + to->ws->getBufferedAmount(); }
    void flush() noexcept {
      to->ws->cork([this] {  // one system call for all of them
        for (phx::frame const& f : to->waiting) to->ws->send(f.data(), static_cast<uWS::OpCode>(f.op()));
      });
      to->waiting.clear();
      to->bytes = 0;
    }
    void close(phx::close_frame reason) noexcept {  // destroys the client
      to->closing = true;
      to->ws->end(static_cast<int>(reason.code), reason.reason);
    }
  };
  client(server& s, phx::admission<user> in) : host(s), admitted(std::move(in)) {}
  void open(web_socket* socket) {
    ws = socket;
    phoenix.emplace(host.loop, host.app.channels, *std::exchange(admitted, {}), transport{this}, clock::now());
  }
  // Nothing of the client may be used after these: phx may have closed it.
  void receive(phx::opcode op, std::string_view message) { (void)phoenix->receive(op, message, true, clock::now()); }
  void writable() {
    if (ws->getBufferedAmount() == 0) (void)phoenix->writable(clock::now());
  }
  void left(int code) {
    if (!closing) phoenix->gone(code == 1006 ? phx::lost::error : phx::lost::normal);
  }

  server& host;
  web_socket* ws = nullptr;
  std::optional<phx::admission<user>> admitted;  // until the 101 is written
  std::vector<phx::frame> waiting{};
  std::size_t bytes = 0;
  bool closing = false;
  std::optional<phx::socket<transport, phx::router<user>>> phoenix{};  // destroyed first: its transport points up here
};
struct per_socket {
  std::unique_ptr<client> owned;
};
client& of(web_socket* ws) { return *ws->getUserData()->owned; }

void upgrade(server& host, uWS::HttpResponse<false>* to, uWS::HttpRequest* from, us_socket_context_t* context) {
  std::vector<phx::header> headers;
  for (auto const [name, value] : *from) headers.push_back({name, value});
  phx::peer_data const peer{to->getRemoteAddressAsText(), 0, {}};
  auto const request = phx::request::of(from->getCaseSensitiveMethod(), from->getFullUrl(), headers, peer);
  auto judged = phx::handshake(host.app.mount, host.app.channels, request);
  auto const none = phx::upgrade_refusal(request);  // uWebSockets looks for a key alone
  if (auto* const in = std::get_if<phx::admission<user>>(&judged); in != nullptr && !none) {
    std::string const protocol = in->subprotocol;
    auto owned = std::make_unique<client>(host, std::move(*in));
    return to->upgrade<per_socket>({std::move(owned)}, from->getHeader("sec-websocket-key"), protocol, {}, context);
  }
  auto const* const refused = std::get_if<phx::refused_request>(&judged);
  phx::http::response const& no = (refused != nullptr ? *refused : *none).answer;
  to->writeStatus(std::to_string(no.status).append(" ").append(phx::http::reason_phrase(no.status)));
  for (auto const& [name, value] : no.headers) to->writeHeader(name, value);
  to->end(no.body, true);
}

}  // namespace

int main(int argc, char** argv) {
  sigset_t terminated;
  sigemptyset(&terminated), sigaddset(&terminated, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &terminated, nullptr);
  server host;
  std::thread([&] {
    int signal = 0;
    sigwait(&terminated, &signal);
    host.uws->defer([&] { host.drain(); });
  }).detach();

  uWS::App::WebSocketBehavior<per_socket> behavior;
  behavior.maxPayloadLength = static_cast<unsigned>(host.app.mount.bounds.frame);
  behavior.maxBackpressure = 0;  // limits::outbound
  behavior.upgrade = [&](auto* to, auto* from, auto* context) { upgrade(host, to, from, context); };
  behavior.open = [](auto* ws) { of(ws).open(ws); };
  behavior.message = [](auto* ws, std::string_view message, uWS::OpCode op) {
    of(ws).receive(static_cast<phx::opcode>(op), message);
  };
  behavior.ping = [](auto* ws, std::string_view data) { of(ws).receive(phx::opcode::ping, data); };
  behavior.pong = [](auto* ws, std::string_view data) { of(ws).receive(phx::opcode::pong, data); };
  behavior.drain = [](auto* ws) { of(ws).writable(); };
  behavior.close = [](auto* ws, int code, std::string_view) { of(ws).left(code); };
  host.uws->addPreHandler(&host, [&](uWS::Loop*) { host.run(); });
  uWS::App app;
  app.ws<per_socket>("/*", std::move(behavior));
  app.listen("127.0.0.1", port_of(argc, argv), [&](us_listen_socket_t* listener) { host.listener = listener; });
  if (host.listener == nullptr) return 1;
  announce(static_cast<unsigned>(us_socket_local_port(0, reinterpret_cast<us_socket_t*>(host.listener))));
  app.run();
}

// phx on libuv: one thread, one uv_loop_t. phx::websocket_connection speaks HTTP and WebSocket; here are sockets and timers.

#include "app.hpp"

#include <phx/socket/websocket_connection.hpp>

#include <uv.h>

#include <algorithm>
#include <unordered_set>

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
constexpr phx::duration patience = 10s;  // with a client that does not finish its request, or does not hang up

struct connection;
struct server {
  uv_loop_t* const uv = uv_default_loop();
  uv_tcp_t listener{};
  uv_prepare_t before_poll{};
  uv_async_t woken{};
  uv_timer_t timer{};
  uv_signal_t sigterm{};
  application app{};
  phx::loop loop{app.endpoint, *this, app.bounds};
  std::optional<phx::turn_guard> turn{};  // one write for each connection, however much one poll brought
  std::unordered_set<connection*> connections{};
  phx::time_point next_sweep{};
  char buffer[64 * 1024];

  bool listen_on(std::uint16_t port);
  void accept(), run(), drain(), end_late(phx::time_point now);
  void wake() noexcept { uv_async_send(&woken); }  // the only function of libuv for other threads
};

// phx::ByteStream, and the socket's owner. It deletes itself once libuv has closed its handle, which no call of phx does.
struct connection {
  explicit connection(server& s) : host(s) {
    uv_tcp_init(host.uv, &tcp);
    tcp.data = write.data = this;
    host.connections.insert(this);
  }
  ~connection() { host.connections.erase(this); }

  void append(std::string_view bytes) noexcept { queued.append(bytes); }
  std::size_t unsent() const noexcept {
    return queued.size() + uv_stream_get_write_queue_size(reinterpret_cast<uv_stream_t const*>(&tcp));
  }
  void flush() noexcept {
    if (ended() || !writing.empty()) return;
    if (queued.empty() && closing && shutdown.handle == nullptr)
      uv_shutdown(&shutdown, stream(), [](uv_shutdown_t*, int) {});
    if (queued.empty()) return;
    writing.swap(queued);  // libuv does not copy it
    uv_buf_t const bytes = uv_buf_init(writing.data(), static_cast<unsigned>(writing.size()));
    auto const written = [](uv_write_t* w, int status) { static_cast<connection*>(w->data)->on_written(status); };
    if (uv_write(&write, stream(), &bytes, 1, written) != 0) end();
  }
  void close_after_writing() noexcept {
    closing = true;
    deadline = clock::now() + patience;
    flush();
  }
  void on_written(int status) {
    writing.clear();
    if (status < 0) return end();
    flush();
    if (writing.empty()) client.writable(clock::now());
  }
  void end() noexcept {
    if (ended()) return;
    uv_close(reinterpret_cast<uv_handle_t*>(&tcp), [](uv_handle_t* h) { delete static_cast<connection*>(h->data); });
  }
  bool ended() noexcept { return uv_is_closing(reinterpret_cast<uv_handle_t*>(&tcp)) != 0; }
  uv_stream_t* stream() noexcept { return reinterpret_cast<uv_stream_t*>(&tcp); }

  server& host;
  uv_tcp_t tcp{};
  uv_write_t write{};
  uv_shutdown_t shutdown{};
  char address[64] = {};
  std::string queued{}, writing{};  // not given to libuv yet; what it writes
  bool closing = false;
  phx::time_point deadline = clock::now() + patience;
  phx::websocket_connection<connection, phx::router<user>> client{host.loop, host.app.channels, host.app.mount, *this};
};

server& host_of(uv_loop_t* uv) { return *static_cast<server*>(uv->data); }
bool server::listen_on(std::uint16_t port) {
  auto const waits = [](uv_prepare_t* h) { host_of(h->loop).run(); };
  auto const terminated = [](uv_signal_t* h, int) { host_of(h->loop).drain(); };
  auto const accepts = [](uv_stream_t* h, int) { host_of(h->loop).accept(); };
  uv->data = this;
  uv_prepare_init(uv, &before_poll), uv_prepare_start(&before_poll, waits);
  uv_signal_init(uv, &sigterm), uv_signal_start(&sigterm, terminated, SIGTERM);
  uv_async_init(uv, &woken, [](uv_async_t*) {});  // waking up is enough: run() follows
  uv_timer_init(uv, &timer), uv_tcp_init(uv, &listener);
  sockaddr_in at{};
  int size = sizeof at;
  auto* const address = reinterpret_cast<sockaddr*>(&at);
  bool const listens = uv_ip4_addr("127.0.0.1", port, &at) == 0 && uv_tcp_bind(&listener, address, 0) == 0 &&
                       uv_listen(reinterpret_cast<uv_stream_t*>(&listener), 1024, accepts) == 0 &&
                       uv_tcp_getsockname(&listener, address, &size) == 0;
  if (listens) announce(ntohs(at.sin_port));
  return listens;
}
void server::accept() {
  auto* const c = new connection(*this);
  if (uv_accept(reinterpret_cast<uv_stream_t*>(&listener), c->stream()) != 0) return c->end();
  uv_tcp_nodelay(&c->tcp, 1);
  sockaddr_storage from{};
  int size = sizeof from;
  if (uv_tcp_getpeername(&c->tcp, reinterpret_cast<sockaddr*>(&from), &size) == 0)
    uv_ip_name(reinterpret_cast<sockaddr*>(&from), c->address, sizeof c->address);
  auto const room = [](uv_handle_t* h, std::size_t, uv_buf_t* to) {
    *to = uv_buf_init(static_cast<connection*>(h->data)->host.buffer, sizeof server::buffer);
  };
  uv_read_start(c->stream(), room, [](uv_stream_t* h, ssize_t n, uv_buf_t const* bytes) {
    auto& reader = *static_cast<connection*>(h->data);
    if (n < 0) return reader.end();
    reader.client.receive({bytes->base, static_cast<std::size_t>(n)}, clock::now(), {reader.address, 0, {}});
  });
}
void server::run() {  // before libuv waits
  phx::time_point const now = clock::now(), next = loop.run(now);
  turn.reset();  // writes
  turn.emplace(loop);
  if (now >= next_sweep) end_late(now), next_sweep = now + 1s;
  if (loop.draining() && connections.empty()) return uv_stop(uv);
  auto const wait = std::chrono::ceil<std::chrono::milliseconds>(std::clamp<phx::duration>(next - now, 0ms, 1s));
  auto const wakes = [](uv_timer_t*) {};
  uv_timer_start(&timer, wakes, static_cast<std::uint64_t>(wait.count()), 0);
}
void server::drain() {
  if (!loop.draining()) uv_close(reinterpret_cast<uv_handle_t*>(&listener), nullptr);
  loop.drain(app.drain, clock::now());
}
void server::end_late(phx::time_point now) {
  for (connection* const c : connections)
    if (!c->client.established() && (now >= c->deadline || (loop.draining() && !c->closing))) c->end();
}

}  // namespace

int main(int argc, char** argv) {
  auto const host = std::make_unique<server>();
  if (!host->listen_on(port_of(argc, argv))) return std::fputs("the port is taken\n", stderr), 1;
  uv_run(host->uv, UV_RUN_DEFAULT);
}

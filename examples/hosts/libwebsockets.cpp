// phx on libwebsockets: the library reads HTTP, and reads and writes frames; phx gets and gives what is in them.

#include "app.hpp"

#include <libwebsockets.h>

#include <algorithm>
#include <csignal>
#include <deque>

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
volatile std::sig_atomic_t terminated = 0;
lws_context* context = nullptr;
struct server {
  application app{};
  phx::loop loop{app.endpoint, *this, app.bounds};
  std::size_t clients = 0;
  std::string scratch{};  // libwebsockets writes a header in front of the bytes, so each recipient needs a copy
  void wake() noexcept { lws_cancel_service(context); }  // the only function of libwebsockets for other threads
};
unsigned char* bytes_of(std::string& padded) { return reinterpret_cast<unsigned char*>(padded.data()) + LWS_PRE; }

struct client {
  struct transport {  // only asks for a write: libwebsockets allows them in its callback alone
    client* to;
    phx::send_status send(phx::frame const& f) noexcept {
      to->waiting.push_back(f);
      to->bytes += f.data().size();
      return phx::send_status::ok;
    }
    std::size_t buffered() const noexcept { return to->bytes; }
    void flush() noexcept { lws_callback_on_writable(to->wsi); }
    void close(phx::close_frame reason) noexcept { to->closing = reason, flush(); }
  };
  client(server& s, lws* socket, phx::admission<user> in) : host(s), wsi(socket), admitted(std::move(in)) { ++host.clients; }
  ~client() { --host.clients; }
  int write() {
    for (; !waiting.empty() && lws_send_pipe_choked(wsi) == 0; waiting.pop_front()) {
      std::string_view const data = waiting.front().data();
      bytes -= data.size();
      host.scratch.assign(LWS_PRE, '\0').append(data);
      auto const kind = waiting.front().op() == phx::opcode::text ? LWS_WRITE_TEXT : LWS_WRITE_BINARY;
      if (lws_write(wsi, bytes_of(host.scratch), data.size(), kind) < 0) return -1;
    }
    if (!waiting.empty() || lws_send_pipe_choked(wsi) != 0) return lws_callback_on_writable(wsi), 0;
    if (!closing) return (void)phoenix->writable(clock::now()), 0;
    std::string reason = std::string(LWS_PRE, '\0').append(closing->reason);
    lws_close_reason(wsi, static_cast<lws_close_status>(closing->code), bytes_of(reason), closing->reason.size());
    return -1;  // it sends the close, and gives the client five seconds for its own
  }

  server& host;
  lws* wsi;
  std::optional<phx::admission<user>> admitted;  // until the 101 is written
  std::deque<phx::frame> waiting{};              // handles: recipients share the bytes
  std::size_t bytes = 0;
  std::optional<phx::close_frame> closing{};
  std::optional<phx::socket<transport, phx::router<user>>> phoenix{};  // destroyed first: its transport points up here
};

int handshake(server& host, lws* wsi) {  // before the 101
  char text[4096], peer[64] = {};
  auto const view = [&](int size) { return std::string_view(text, size > 0 ? static_cast<std::size_t>(size) : 0); };
  lws_get_peer_simple(wsi, peer, sizeof peer);
  std::string const path(view(lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_GET_URI)));
  std::vector<std::pair<std::string, std::string>> query, all;  // the library has decoded the query already
  for (int i = 0, n; (n = lws_hdr_copy_fragment(wsi, text, sizeof text, WSI_TOKEN_HTTP_URI_ARGS, i)) > 0; ++i) {
    std::string_view const name = view(n).substr(0, view(n).find('='));
    query.emplace_back(name, view(n).substr(std::min(view(n).size(), name.size() + 1)));
  }
  for (int i = 0; i < WSI_TOKEN_COUNT; ++i) {
    auto const token = static_cast<lws_token_indexes>(i);
    auto const* const known = reinterpret_cast<char const*>(lws_token_to_string(token));  // "host:"
    std::string_view const name = known == nullptr ? "" : known;
    if (name.ends_with(':') && lws_hdr_total_length(wsi, token) > 0)
      all.emplace_back(name.substr(0, name.size() - 1), view(lws_hdr_copy(wsi, text, sizeof text, token)));
  }
  std::vector<phx::header> headers;
  for (auto const& [name, value] : all) headers.push_back({name, value});
  auto const& mount = host.app.mount;
  auto judged = phx::handshake(mount, host.app.channels, phx::request::of("GET", path, headers, {peer, 0, {}}),
                               phx::params::decoded(query, mount.query));
  if (auto const* const no = std::get_if<phx::refused_request>(&judged)) {
    std::string answer(LWS_PRE, '\0');
    phx::http::write_response(answer, no->answer, phx::http::persistence::close);
    lws_write(wsi, bytes_of(answer), answer.size() - LWS_PRE, LWS_WRITE_HTTP_HEADERS);
    return -1;
  }
  lws_set_opaque_user_data(wsi, new client(host, wsi, std::get<phx::admission<user>>(std::move(judged))));
  return 0;
}
int on_event(lws* wsi, lws_callback_reasons reason, void* user_data, void* in, std::size_t size) {
  auto& host = *static_cast<server*>(lws_context_user(lws_get_context(wsi)));
  auto* const c = static_cast<client*>(lws_get_opaque_user_data(wsi));
  switch (reason) {
    case LWS_CALLBACK_FILTER_NETWORK_CONNECTION: return host.loop.draining() ? -1 : 0;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: return handshake(host, wsi);
    case LWS_CALLBACK_ESTABLISHED:
      c->phoenix.emplace(host.loop, host.app.channels, *std::move(c->admitted), client::transport{c}, clock::now());
      return 0;
    case LWS_CALLBACK_RECEIVE: {  // a part of a message
      bool const last = lws_is_final_fragment(wsi) != 0 && lws_remaining_packet_payload(wsi) == 0;
      auto const op = lws_frame_is_binary(wsi) != 0 ? phx::opcode::binary : phx::opcode::text;
      if (!c->closing) (void)c->phoenix->receive(op, {static_cast<char const*>(in), size}, last, clock::now());
      return 0;
    }
    case LWS_CALLBACK_SERVER_WRITEABLE: return c->write();
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE: return c->phoenix->gone(phx::lost::normal), 0;
    case LWS_CALLBACK_WSI_DESTROY: return delete c, lws_set_opaque_user_data(wsi, nullptr), 0;
    default: return lws_callback_http_dummy(wsi, reason, user_data, in, size);
  }
}

}  // namespace

int main(int argc, char** argv) {
  lws_set_log_level(LLL_ERR | LLL_WARN, nullptr);
  server host;
  lws_protocols const protocols[] = {{"phoenix", &on_event, 0, 64 * 1024, 0, nullptr, 0}, {}};
  lws_context_creation_info info{};
  info.port = port_of(argc, argv);
  info.iface = "127.0.0.1";
  info.protocols = protocols;
  info.user = &host;
  info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
  context = lws_create_context(&info);
  lws_vhost* const vhost = lws_create_vhost(context, &info);
  if (vhost == nullptr) return 1;
  std::signal(SIGTERM, [](int) { terminated = 1, lws_cancel_service(context); });
  announce(static_cast<unsigned>(lws_get_vhost_listen_port(vhost)));
  lws_sorted_usec_list_t timer{};
  while (!host.loop.draining() || host.clients != 0) {
    phx::time_point next{};
    {
      auto const turn = host.loop.turn();  // whatever one poll brings: each connection asks for a write once
      if (lws_service(context, 0) < 0) break;
      if (terminated != 0 && !host.loop.draining()) host.loop.drain(host.app.drain, clock::now());
      next = host.loop.run(clock::now());
    }
    auto const wait = std::chrono::ceil<std::chrono::microseconds>(std::clamp<phx::duration>(next - clock::now(), 1us, 1h));
    auto const wakes = [](lws_sorted_usec_list_t*) {};
    lws_sul_schedule(context, 0, &timer, wakes, wait.count());
  }
  lws_context_destroy(context);
}

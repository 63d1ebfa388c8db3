#include <phx/http/request_reader.hpp>
#include <phx/phx.hpp>
#include <phx/socket/receive_frames.hpp>

using app_type = phx::router<>;
struct tcp {                                     // yours: a connection of your event loop
  void append(std::string_view bytes) noexcept;  // queues
  void close_after_writing() noexcept;
  std::size_t unsent() const noexcept;
};
struct transport {  // phx::Transport: a handle. None of its members calls phx; only close may destroy the connection
  tcp* to;
  phx::send_status send(phx::frame const& f) noexcept { return to->append(f.websocket()), phx::send_status::ok; }
  std::size_t buffered() const noexcept { return to->unsent(); }  // compared with limits::outbound after each send
  void close(phx::close_frame reason) noexcept {
    to->append(phx::websocket::control_frame::close(reason).bytes());
    to->close_after_writing();
  }
};
struct connection : tcp {
  phx::loop& loop;          // one per event loop of yours: phx::loop loop(endpoint, waker)
  app_type& app;            // the channels
  phx::mount const& mount;  // {.path = "/socket", .origins = {"//example.com"}}
  std::string in{};         // the request, until it is complete
  phx::http::request_reader head{};
  phx::websocket::frame_reader frames{mount.bounds.frame};
  std::optional<phx::socket<transport, app_type>> socket{};  // cannot be moved: the connection owns it

  void received(std::span<char> bytes, phx::time_point now) {
    if (socket) return on_frames(bytes, now);
    in.append(bytes.data(), bytes.size());
    phx::http::progress const progress = head.read(in);
    if (progress == phx::http::progress::need_more) return;
    if (progress == phx::http::progress::refused) return respond({.status = head.status()});
    phx::http::request const request = head.request({"192.0.2.7", 50'000, {}});
    auto admitted = phx::handshake(mount, app, request);  // path, origin, vsn, then the router's connect function
    if (auto const* no = std::get_if<phx::refused_request>(&admitted)) return respond(no->answer);
    if (auto const no = phx::upgrade_refusal(request)) return respond(no->answer);
    auto& client = std::get<phx::admission<phx::anonymous>>(admitted);
    phx::websocket::write_switching_protocols(*this, request, client.subprotocol);
    socket.emplace(loop, app, std::move(client), transport{this}, now);
    std::string rest = in.substr(head.size());
    if (!rest.empty()) on_frames(rest, now);
  }
  void on_frames(std::span<char> bytes, phx::time_point now) {
    auto const write = [this](phx::websocket::control_frame const& f) { append(f.bytes()); };
    if (phx::receive_frames(*socket, frames, bytes, now, write) == phx::frames_result::closed_by_client)
      close_after_writing();
  }
  void respond(phx::http::response const& answer) {
    phx::http::write_response(*this, answer, phx::http::persistence::close);
    close_after_writing();
  }
};

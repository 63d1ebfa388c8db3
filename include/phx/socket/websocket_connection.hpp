#ifndef PHX_SOCKET_WEBSOCKET_CONNECTION_HPP
#define PHX_SOCKET_WEBSOCKET_CONNECTION_HPP
// A whole WebSocket connection for a host that owns its sockets: bytes in, bytes out. It reads the request, does the
// handshake, answers it, and reads the frames. No I/O: the host receives, and writes what it is given.

#include <phx/http/request_reader.hpp>
#include <phx/http/response.hpp>
#include <phx/loop/report_refusal.hpp>
#include <phx/socket/receive_frames.hpp>
#include <phx/websocket/control_frame.hpp>

#include <memory>
#include <optional>
#include <string>

namespace phx {
inline namespace PHX_BUILD {

/// Where the bytes for one client go. No member calls phx, or destroys the connection.
/// append: queues a copy of the bytes. Without memory the stream is broken.
/// unsent: bytes that are queued and that the kernel has not taken; compared with limits::outbound.
/// flush: write what is queued. Called once for each turn of the loop, however much was appended.
/// close_after_writing: nothing is appended any more. Write what is queued, then end the connection: shut down the sending
///   direction, and close when the client has done so too, or after a while.
/// pause_reading(bool paused) noexcept, optional: see Transport and flood_policy::pause.
/// A stream that is broken takes bytes and drops them, until the host has called `gone`, or destroyed the connection, from
/// outside of phx.
// clang-format off
template <class S>
concept ByteStream = requires(S& s, S const& c, std::string_view bytes) {
  { s.append(bytes) } noexcept;
  { c.unsent() } noexcept -> std::convertible_to<std::size_t>;
  { s.flush() } noexcept;
  { s.close_after_writing() } noexcept;
};
/// Optional: sees the request before the handshake, and may change it (trusted_proxies::rewrite), or answer it: a page of the
/// host's own, a health check, 429. It must not call phx or destroy the connection; what it throws closes the stream.
template <class S>
concept sees_requests = requires(S& s, http::request& request) {
  { s.on_request(request) } -> std::same_as<std::optional<http::response>>;
};
template <class S>
concept names_on_request = requires { &S::on_request; };
// clang-format on

/// One client of a host that owns its sockets.
///
/// Order: construct it when the connection was accepted; `receive` for what comes, `writable` when what waited has been
/// written, `gone` when the client has left. Destroying it says `gone` too. While `established` is false (the request is not
/// complete, or the end has begun) the host bounds the time: nobody else does.
/// Thread: inside its loop only. Neither copied nor moved. The loop, the dispatcher, the mount and the stream outlive it.
/// Cost: 472 bytes, phx::socket and the frame reader among them; 4 KiB and the request more until that is answered.
template <class S, class D>
class websocket_connection {
 public:
  /// What `connect` makes of a client.
  using session_type = typename D::session_type;

  /// A connection that has received nothing yet.
  /// @param compressor of the loop (compression::make_compressor); outlives the connection. Null: nothing is compressed
  websocket_connection(loop& event_loop, D& dispatcher, mount const& at, S& stream,
                       websocket::compressor* compressor = nullptr) noexcept
      : loop_(&event_loop),
        dispatcher_(&dispatcher),
        mount_(&at),
        stream_(&stream),
        compressor_(compressor),
        frames_(at.bounds.frame) {
    // Not outside of a function: S may have this as a member, and be incomplete until then.
    static_assert(
        ByteStream<S>,
        "your stream needs, all of them noexcept: append(std::string_view), std::size_t unsent() const, flush() and "
        "close_after_writing()");
    static_assert(sees_requests<S> || !names_on_request<S>,
                  "on_request must be: std::optional<phx::http::response> on_request(phx::http::request&)");
  }
  websocket_connection(websocket_connection const&) = delete;
  websocket_connection& operator=(websocket_connection const&) = delete;
  ~websocket_connection() { gone(lost::error); }

  /// What the client has sent, cut anywhere. What phx has to answer is in the stream when this returns; it is flushed then,
  /// or at the end of the turn.
  /// @param bytes unmasked in place @param now must not go backwards on one loop
  /// @param peer who sends it; used until the request is complete
  /// @param scheme "https" if the host speaks TLS
  /// @pre no callback of the loop is running. @par Errors: none leave; without memory the stream is closed.
  void receive(std::span<char> bytes, time_point now, http::peer_data const& peer = {},
               std::string_view scheme = "http") noexcept {
    if (ended_ || bytes.empty()) return;
    if (socket_) return on_frames(bytes, now);
    std::string rest;
    if (!detail::try_invoke([&] { on_request(bytes, now, peer, scheme, rest); }, [](char const*) noexcept {})) return end();
    if (!rest.empty()) on_frames(rest, now);
  }
  /// See socket::writable.
  void writable(time_point now) noexcept {
    if (established()) (void)socket_->writable(now);
  }
  /// The client has left: its channels end. The stream is not used any more.
  void gone(lost reason = lost::error) noexcept {
    if (std::exchange(ended_, true)) return;
    if (socket_) socket_->gone(reason);
  }
  /// Whether the client speaks WebSocket, and neither side has begun to close.
  [[nodiscard]] bool established() const noexcept { return socket_ && !ended_; }
  /// Whether nothing that is received counts any more.
  [[nodiscard]] bool ended() const noexcept { return ended_; }

 private:
  struct transport {
    websocket_connection* of;
    send_status send(frame const& f) noexcept {
      of->stream_->append((of->codec_ == nullptr ? f : of->codec_->compress(f)).websocket());
      return send_status::ok;
    }
    [[nodiscard]] std::size_t buffered() const noexcept { return of->stream_->unsent(); }
    void flush() noexcept { of->stream_->flush(); }
    void pause_reading(bool paused) noexcept requires pauses_reading<S> { of->stream_->pause_reading(paused); }
    void close(close_frame reason) noexcept {
      of->stream_->append(websocket::control_frame::close(reason).bytes());
      of->end();
    }
  };
  struct opening {
    std::string bytes{};
    http::request_reader reader{};
  };

  void end() noexcept {
    ended_ = true;
    stream_->close_after_writing();
  }
  void respond(http::response const& answer) {
    http::write_response(*stream_, answer, http::persistence::close);
    end();
  }
  void refuse(refused_request const& no) {
    report_refusal(*loop_, no);
    respond(no.answer);
  }
  /// @param rest what came behind the request: the first frames. @par Errors: std::bad_alloc.
  void on_request(std::span<char> bytes, time_point now, http::peer_data const& peer, std::string_view scheme,
                  std::string& rest) {
    if (opening_ == nullptr) opening_ = std::make_unique<opening>();
    opening_->bytes.append(bytes.data(), bytes.size());
    http::request_reader& reader = opening_->reader;
    http::progress const progress = reader.read(opening_->bytes);
    if (progress == http::progress::need_more) return;
    if (progress == http::progress::refused) return respond({.status = reader.status()});
    http::request request = reader.request(peer, scheme);
    if constexpr (sees_requests<S>)
      if (std::optional<http::response> const own = stream_->on_request(request)) return respond(*own);
    admitted<session_type> judged = handshake(*mount_, *dispatcher_, request);
    if (auto const* const no = std::get_if<refused_request>(&judged)) return refuse(*no);
    if (auto const no = upgrade_refusal(request)) return refuse(*no);
    auto& admission = *std::get_if<phx::admission<session_type>>(&judged);
    rest = opening_->bytes.substr(reader.size());
    websocket::extension_answer extensions;
    if (compressor_ != nullptr) {
      websocket::accepted_compression agreed = compressor_->accept(request.headers, mount_->bounds.frame);
      extensions = agreed.answer;
      codec_ = std::move(agreed.codec);
      frames_ = websocket::frame_reader(mount_->bounds.frame, codec_ != nullptr);
    }
    websocket::write_switching_protocols(*stream_, request, admission.subprotocol, extensions.view());
    socket_.emplace(*loop_, *dispatcher_, std::move(admission), transport{this}, now);
    opening_.reset();
    stream_->flush();
  }
  void on_frames(std::span<char> bytes, time_point now) noexcept {
    bool answered = false, flooded = false;
    auto const answer = [&](websocket::control_frame const& f) noexcept {
      flooded = flooded || stream_->unsent() > mount_->bounds.outbound;  // it sends pings and reads nothing
      if (!flooded) stream_->append(f.bytes());
      answered = true;
    };
    switch (receive_frames(*socket_, frames_, bytes, now, answer, codec_.get())) {
      case frames_result::closed_by_phx: return;
      case frames_result::closed_by_client: return end();
      case frames_result::open: break;
    }
    if (flooded) {
      socket_->gone(lost::error);
      end();
    } else if (answered) {
      stream_->flush();
    }
  }

  loop* loop_;
  D* dispatcher_;
  mount const* mount_;
  S* stream_;
  websocket::compressor* compressor_;
  std::unique_ptr<websocket::message_codec> codec_{};  // null: uncompressed
  bool ended_ = false;
  std::unique_ptr<opening> opening_{};
  websocket::frame_reader frames_;
  std::optional<socket<transport, D>> socket_{};  // destroyed first: its transport points up here
};

}  // namespace PHX_BUILD
}  // namespace phx

#endif

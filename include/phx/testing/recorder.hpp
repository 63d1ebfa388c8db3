#ifndef PHX_TESTING_RECORDER_HPP
#define PHX_TESTING_RECORDER_HPP
// A Transport that records what is sent, and fails if a test says so.

#include <phx/socket/transport.hpp>

#include <optional>
#include <string>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace testing {

/// The connection of a socket under test, which gets transport() as its Transport. It must outlive the socket. A test may
/// read and set every member at any time.
class recorder {
 public:
  /// The Transport that writes into a recorder.
  struct transport_type {
    /// Its recorder.
    recorder* to;

    /// Records the frame.
    send_status send(frame const& f) noexcept { return to->take(f); }
    /// Records the close.
    void close(close_frame frame) noexcept { to->end(frame); }
    /// recorder::waiting.
    [[nodiscard]] std::size_t buffered() const noexcept { return to->waiting; }
    /// Counts.
    void flush() noexcept { ++to->flushes; }
    /// Recorded: see flood_policy::pause.
    void pause_reading(bool stop) noexcept {
      to->paused = stop;
      if (stop) ++to->pauses;
    }
  };

  recorder() = default;
  recorder(recorder const&) = delete;
  recorder& operator=(recorder const&) = delete;

  /// The Transport for a socket.
  [[nodiscard]] transport_type transport() noexcept { return {this}; }

  /// The messages sent since the last call, as text, or as bytes where the frame is a binary one.
  std::vector<std::string> out() {
    std::vector<std::string> texts;
    texts.reserve(frames.size());
    for (frame const& f : frames) texts.emplace_back(f.data());
    frames.clear();
    return texts;
  }

  /// The frames sent. Two recorders that received the same broadcast share its bytes.
  std::vector<frame> frames{};
  /// What it was closed with, if it was.
  std::optional<close_frame> closed{};
  std::size_t closes = 0;  ///< more than one is a bug in phx
  /// How often it was flushed.
  std::size_t flushes = 0;
  bool paused = false;          ///< whether it was asked to stop reading
  std::size_t pauses = 0;       ///< how often it was asked to
  std::size_t sends = 0;        ///< calls of `send`, whatever it returned
  std::size_t after_close = 0;  ///< calls of `send` after close: a bug in phx

  // ---- set by the test

  std::size_t waiting = 0;  ///< what `buffered` returns
  bool stalled = false;     ///< true: the client does not read, `waiting` grows with each frame taken
  bool keeps = true;        ///< false: frames are dropped, not recorded
  /// What `send` returns.
  send_status answer = send_status::ok;
  std::size_t answer_from = 0;  ///< the first call of `send`, counted from 0, that returns `answer`; ok before
  void (*on_close)(void*) noexcept = nullptr;  ///< may destroy the socket, as a host's close may
  /// Called by close: a test may destroy the socket there.
  void* on_close_with = nullptr;

 private:
  send_status take(frame const& f) noexcept {
    if (closed) ++after_close;
    send_status const status = sends++ < answer_from ? send_status::ok : answer;
    if (status == send_status::dropped || status == send_status::closed) return status;
    if (stalled) waiting += f.websocket().size();
    if (!keeps) return status;
    bool const kept = detail::try_invoke([&] { frames.push_back(f); }, [](char const*) {});
    return kept ? status : send_status::dropped;
  }
  void end(close_frame frame) noexcept {
    closed = frame;
    ++closes;
    if (on_close != nullptr) on_close(on_close_with);
  }
};

}  // namespace testing
}  // namespace PHX_BUILD
}  // namespace phx

#endif

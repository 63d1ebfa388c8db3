#ifndef PHX_TESTING_RECORDER_HPP
#define PHX_TESTING_RECORDER_HPP
// A Transport that does nothing but remember, and fails when it is told to.

#include <phx/socket/transport.hpp>

#include <optional>
#include <string>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace testing {

/// The connection a test looks at. What a socket holds is `transport()`, a reference to this; it outlives the socket.
/// Everything in here may be read and set by the test at any time.
class recorder {
 public:
  /// The Transport that writes into a recorder.
  struct transport_type {
    /// Its recorder.
    recorder* to;

    /// See Transport: takes the frame, and never blocks nor calls phx.
    send_status send(frame const& f) noexcept { return to->take(f); }
    /// Recorded.
    void close(close_frame frame) noexcept { to->end(frame); }
    /// Bytes taken and not yet handed to the kernel.
    [[nodiscard]] std::size_t buffered() const noexcept { return to->waiting; }
    /// See Transport: writes what `send` queued.
    void flush() noexcept { ++to->flushes; }
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

  /// The handles themselves: two recorders that got the same broadcast hold the same bytes.
  std::vector<frame> frames{};
  /// What it was closed with, if it was.
  std::optional<close_frame> closed{};
  std::size_t closes = 0;  ///< more than one is a defect of phx's
  /// How often it was flushed.
  std::size_t flushes = 0;
  std::size_t sends = 0;        ///< asked for, whatever was answered
  std::size_t after_close = 0;  ///< sends after close: a defect of phx's

  // ---- what it answers
  std::size_t waiting = 0;  ///< what `buffered` says
  bool stalled = false;     ///< true: the client does not read, `waiting` grows with each frame taken
  bool keeps = true;        ///< false: the frame's bytes are looked at by nobody and its handle is not kept
  /// What `send` answers from now on.
  send_status answer = send_status::ok;
  std::size_t answer_from = 0;                 ///< `answer` holds from this send on, counted from 0; ok before
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

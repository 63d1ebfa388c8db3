#ifndef PHX_ADAPTER_BLOCKING_WRITE_QUEUE_HPP
#define PHX_ADAPTER_BLOCKING_WRITE_QUEUE_HPP
// The blocking host's Transport: where phx puts frames for one client, and the thread that writes them.

#include <phx/adapter/blocking/detail/posix.hpp>
#include <phx/message/frame.hpp>
#include <phx/socket/transport.hpp>
#include <phx/websocket/compression.hpp>
#include <phx/websocket/control_frame.hpp>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace blocking {

/// Bytes waiting to be written to one client. One thread writes, every other appends here: two threads that write one
/// blocking socket would mix their frames, and a reader that writes would stop reading while its client does.
class write_queue {
 public:
  /// Bytes beyond which `send` answers congested.
  static constexpr std::size_t high_water = 256 * 1024;

  /// @param most bytes that may wait: limits::outbound. The frame that exceeds it is still taken, none after it.
  /// @param goodbye how long the close may take to be written, and then to be answered
  write_queue(int fd, std::size_t most, duration goodbye) noexcept : fd_(fd), most_(most), goodbye_(goodbye) {}

  // What phx calls; never blocks. `congested` makes phx ask its pressure policy: the default closes only beyond
  // limits::outbound, a policy that drops holds messages back until write_all has written half.
  /// See Transport: takes the frame, and never blocks nor calls phx.
  send_status send(frame const& f) noexcept {
    std::lock_guard const hold(mutex_);
    if (finished_) return send_status::closed;
    if (waiting() > most_ || !append(f.websocket())) return send_status::dropped;
    if (waiting() <= high_water && waiting() <= most_ / 2) return send_status::ok;
    congested_ = true;
    return send_status::congested;
  }
  /// Bytes taken and not yet handed to the kernel.
  [[nodiscard]] std::size_t buffered() const noexcept {
    std::lock_guard const hold(mutex_);
    return waiting();
  }
  /// At the end of each turn: all frames of a turn go out in one write.
  void flush() noexcept { changed_.notify_all(); }

  /// A pong or a close. A close is the last frame: the writer has `goodbye` to write it and what is before it, then hangs
  /// up.
  void control(websocket::control_frame const& f) noexcept {
    std::lock_guard const hold(mutex_);
    bool const closes = f.op() == opcode::close;
    if (finished_ || (!closes && waiting() > most_)) return;
    (void)append(f.bytes());
    if (closes) finish_by(goodbye_);
    changed_.notify_all();
  }

  /// The reading thread waits from now on, or goes on: see flood_policy::pause.
  void pause_reading(bool paused) noexcept {
    std::lock_guard const hold(mutex_);
    paused_ = paused;
    changed_.notify_all();
  }

  // What the reading thread calls.
  /// Returns once reading is not paused, or the connection is over.
  void wait_to_read() noexcept {
    std::unique_lock hold(mutex_);
    changed_.wait(hold, [&] { return !paused_ || finished_; });
  }
  /// Has the last frame been taken, and will no other come?
  [[nodiscard]] bool finished() const noexcept {
    std::lock_guard const hold(mutex_);
    return finished_;
  }
  /// The client sends no more.
  void ended() noexcept {
    std::lock_guard const hold(mutex_);
    if (!finished_) finish_by(goodbye_);
    ended_ = true;
    changed_.notify_all();
  }

  /// Runs on the writing thread until the connection is over. It then shuts the socket down, so that the reader's recv()
  /// returns.
  /// @param writable called, with no lock held, when what made the queue congested has been written
  template <class F>
  void write_all(F writable) noexcept {
    std::string writing;
    std::unique_lock hold(mutex_);
    bool written = true;
    while (written) {
      changed_.wait(hold, [&] { return !bytes_.empty() || finished_; });
      if (bytes_.empty()) break;
      writing.swap(bytes_);
      unwritten_ = writing.size();
      hold.unlock();
      written = write(writing);
      writing.clear();
      if (writing.capacity() > 64 * 1024) writing = std::string();  // one burst is no reason to keep megabytes
      hold.lock();
      if (std::exchange(congested_, false) && !finished_) {
        hold.unlock();
        writable();
        hold.lock();
      }
    }
    if (written) {
      (void)::shutdown(fd_, SHUT_WR);
      changed_.wait_until(hold, saturating_add(detail::clock_now(), goodbye_),
                          [&] { return ended_; });  // the client answers the close, then hangs up
    }
    (void)::shutdown(fd_, SHUT_RDWR);
    finished_ = true;
    changed_.notify_all();
  }

 private:
  [[nodiscard]] std::size_t waiting() const noexcept { return bytes_.size() + unwritten_; }
  void finish_by(duration from_now) noexcept {
    finished_ = true;
    deadline_ = saturating_add(detail::clock_now(), from_now);
  }
  /// Out of memory is false, not a throw.
  [[nodiscard]] bool append(std::string_view more) noexcept {
    return detail::try_invoke([&] { bytes_.append(more); }, [](char const*) noexcept {});
  }
  [[nodiscard]] bool write(std::string_view bytes) noexcept {
    for (;;) {
      {
        std::lock_guard const hold(mutex_);
        unwritten_ = bytes.size();
        if (bytes.empty()) return true;
        if (finished_ && detail::clock_now() >= deadline_) break;
      }
      ssize_t const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
      // EAGAIN: the client took nothing for SO_SNDTIMEO. Before a close that is its own affair: the queue is bounded.
      else if (n < 0 && errno != EAGAIN && errno != EINTR)
        break;
    }
    return false;
  }

  mutable std::mutex mutex_;  // taken inside the loop's, never the other way round
  std::condition_variable changed_;
  std::string bytes_;
  std::size_t unwritten_ = 0;  // of what the writer has taken out of bytes_
  bool finished_ = false, ended_ = false, congested_ = false, paused_ = false;
  time_point deadline_{};
  int const fd_;
  std::size_t const most_;
  duration const goodbye_;
};

/// The Transport itself: a handle to the queue and to what compresses for it.
struct transport {
  /// The queue of the connection's writing thread.
  write_queue* to;
  /// Null: the connection is uncompressed.
  websocket::message_codec* codec = nullptr;
  /// See Transport: takes the frame, and never blocks nor calls phx.
  send_status send(frame const& f) noexcept {
    if (codec == nullptr) return to->send(f);
    send_status const answer = to->send(codec->compress(f));
    if (answer == send_status::dropped) codec->not_sent();
    return answer;
  }
  /// See Transport: what was sent before is written first.
  void close(close_frame frame) noexcept { to->control(websocket::control_frame::close(frame)); }
  /// Bytes taken and not yet handed to the kernel.
  [[nodiscard]] std::size_t buffered() const noexcept { return to->buffered(); }
  /// See Transport: writes what `send` queued.
  void flush() noexcept { to->flush(); }
  /// See Transport.
  void pause_reading(bool paused) noexcept { to->pause_reading(paused); }
};
static_assert(Transport<transport>);

}  // namespace blocking
}  // namespace PHX_BUILD
}  // namespace phx

#endif

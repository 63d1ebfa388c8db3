#ifndef PHX_ADAPTER_BLOCKING_DETAIL_HTTP_STREAM_HPP
#define PHX_ADAPTER_BLOCKING_DETAIL_HTTP_STREAM_HPP
// The requests of one connection, one after the other, for the thread that reads and answers them.

#include <phx/adapter/blocking/detail/posix.hpp>
#include <phx/http/body_reader.hpp>
#include <phx/http/proxy_protocol.hpp>
#include <phx/http/response.hpp>

#include <array>
#include <string>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// Call next; then request, and body or rest; then forget; then next again. One thread.
class http_stream {
 public:
  using buffer = std::array<char, http::request_reader::default_max_bytes + 4096>;
  enum class result : std::uint8_t {
    complete,  ///< what was asked for is here
    ended,     ///< the client has hung up, or has been idle for too long: nothing to answer
    refused,   ///< status() is the answer
  };

  /// @param in what is received is kept there; the views of request() are of it
  http_stream(int fd, buffer& in) noexcept : fd_(fd), in_(in) {}

  /// Reads a header of the PROXY protocol, before the first request. False: it is none, or not all of it has come; there is
  /// nothing to answer, for it may not even be HTTP.
  [[nodiscard]] bool read_proxy_header(http::proxy_protocol_reader& header, time_point deadline) noexcept {
    while (header.state() == http::progress::need_more) {
      if (!readable_before(fd_, deadline)) return false;
      std::size_t const wanted = header.wants();
      ssize_t const n = receive_some(fd_, std::span(in_).first(wanted < in_.size() ? wanted : in_.size()));
      if (n <= 0) return false;
      std::string_view bytes(in_.data(), static_cast<std::size_t>(n));
      (void)header.read(bytes);
    }
    return header.state() == http::progress::complete;
  }
  /// Reads the head of the next request. What a client sent together with the request before it is not lost.
  [[nodiscard]] result next(time_point deadline) noexcept {
    forget();
    for (;;) {
      http::progress const p = reader_.read({in_.data(), size_});
      if (p == http::progress::refused) return refuse(reader_.status());
      if (p == http::progress::complete) break;
      if (result const r = receive(deadline); r != result::complete)
        return r == result::refused && !reader_.begun() ? result::ended : r;
    }
    read_ = reader_.size();
    return result::complete;
  }
  /// Reads its body. @param max_bytes beyond: 413. @par Errors: std::bad_alloc.
  [[nodiscard]] result body(std::size_t max_bytes, time_point deadline, std::string& body) {
    http::body_reader reader(reader_, max_bytes);
    bool must_continue = reader_.expects_continue();
    for (;;) {
      std::string_view bytes(in_.data() + read_, size_ - read_);
      http::body_event event = reader.next(bytes);
      for (; event.state == http::body_event::data; event = reader.next(bytes)) body.append(event.part);
      read_ = size_ - bytes.size();
      if (event.state == http::body_event::complete) return result::complete;
      if (event.state == http::body_event::refused) return refuse(reader.status());
      if (std::exchange(must_continue, false) && read_ == reader_.size() &&
          !send_all(fd_, http::continue_response, deadline))
        return result::ended;
      size_ = read_ = reader_.size();  // all of it was the body's
      if (result const r = receive(deadline); r != result::complete) return r;
    }
  }
  /// After refused: 400, 408, 413, 431 or 505.
  [[nodiscard]] std::uint16_t status() const noexcept { return status_; }
  /// The head that next has read.
  [[nodiscard]] http::request_reader const& head() const noexcept { return reader_; }
  /// What has come behind the request.
  [[nodiscard]] std::span<char> rest() noexcept { return {in_.data() + read_, size_ - read_}; }
  /// Drops the request; what came behind it is the next one.
  void forget() noexcept {
    size_ -= read_;
    std::memmove(in_.data(), in_.data() + std::exchange(read_, 0), size_);
    reader_.reset();
  }

  enum class wait_result : std::uint8_t { woken, timeout, hung_up };
  /// Waits until somebody writes to the pipe `wake_fd`, and receives meanwhile: that is how to see that the client has left.
  /// @param wake_fd a descriptor, or -1 @pre forget() was called: the views of the request are of other bytes now
  [[nodiscard]] wait_result wait(int wake_fd, time_point until) noexcept {
    for (;;) {
      bool const room = size_ < in_.size();
      pollfd on[2] = {{wake_fd, POLLIN, 0}, {fd_, static_cast<short>(room ? POLLIN : 0), 0}};
      int const n = ::poll(on, 2, milliseconds_until(until));
      if (n < 0) {
        if (errno != EINTR) return wait_result::hung_up;
        continue;
      }
      if (on[0].revents != 0) return wait_result::woken;
      if (on[1].revents != 0) {
        ssize_t const received = room ? receive_some(fd_, std::span(in_).subspan(size_)) : 0;
        if (received <= 0) return wait_result::hung_up;
        size_ += static_cast<std::size_t>(received);
      }
      if (clock_now() >= until) return wait_result::timeout;
    }
  }
  /// After the last response: receives and drops what still comes, until `until`. With bytes unread the kernel would reset
  /// the connection, and the client might lose the response.
  void finish(time_point until) noexcept {
    (void)::shutdown(fd_, SHUT_WR);
    while (readable_before(fd_, until) && receive_some(fd_, in_) > 0) {
    }
  }

 private:
  [[nodiscard]] result refuse(std::uint16_t status) noexcept {
    status_ = status;
    return result::refused;
  }
  [[nodiscard]] result receive(time_point deadline) noexcept {
    if (!readable_before(fd_, deadline)) return refuse(408);
    ssize_t const n = receive_some(fd_, std::span(in_).subspan(size_));
    if (n <= 0) return result::ended;
    size_ += static_cast<std::size_t>(n);
    return result::complete;
  }

  int fd_;
  buffer& in_;
  std::size_t size_ = 0, read_ = 0;  // bytes received; how many of them belong to the current request
  std::uint16_t status_ = 0;
  http::request_reader reader_{};
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif

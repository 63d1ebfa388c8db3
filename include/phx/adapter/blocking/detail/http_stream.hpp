#ifndef PHX_ADAPTER_BLOCKING_DETAIL_HTTP_STREAM_HPP
#define PHX_ADAPTER_BLOCKING_DETAIL_HTTP_STREAM_HPP
// The requests of one connection, one after the other, for the thread that reads and answers them.

#include <phx/adapter/detail/http.hpp>
#include <phx/adapter/blocking/detail/posix.hpp>

namespace phx::inline PHX_BUILD::detail {

class http_stream {
 public:
  using buffer = std::array<char, head_reader::most_bytes + 4096>;
  enum class came : std::uint8_t {
    whole,    ///< what was asked for
    ended,    ///< nothing more: the client has hung up, or has not even begun
    refused,  ///< status() says how
  };

  /// @param into what comes is kept there; the views that head() gives are of it
  http_stream(int fd, buffer& into) noexcept : fd_(fd), in_(into) {}

  /// The next request's head. What a client sent together with the request before it is not lost.
  [[nodiscard]] came next(time_point deadline) noexcept {
    forget();
    head_reader::progress p;
    while ((p = head_.read({in_.data(), have_})) == head_reader::progress::more)
      if (came const c = more(deadline); c != came::whole) return c == came::refused && have_ == 0 ? came::ended : c;
    if (p == head_reader::progress::refused) return refuse(head_.status());
    at_ = head_.size();
    return came::whole;
  }
  /// Its body. @param most bytes; beyond, as for nonsense: 400. @par Errors: std::bad_alloc.
  [[nodiscard]] came body(std::size_t most, time_point deadline, std::string& into) {
    body_reader reader(head_, most);
    bool waits = header_lists(head_.headers(), "expect", "100-continue");
    for (;;) {
      std::string_view bytes = behind();
      auto const p = reader.read(bytes, into);
      at_ = have_ - bytes.size();
      if (p == head_reader::progress::done) return came::whole;
      if (p == head_reader::progress::refused) return refuse(400);
      if (std::exchange(waits, false) && at_ == head_.size() && !send_all(fd_, "HTTP/1.1 100 Continue\r\n\r\n", deadline))
        return came::ended;
      have_ = at_ = head_.size();  // all of it is the body's
      if (came const c = more(deadline); c != came::whole) return c;
    }
  }
  /// After next or body refused: 400, 408, 431 or 505.
  [[nodiscard]] std::uint16_t status() const noexcept { return status_; }
  [[nodiscard]] head_reader const& head() const noexcept { return head_; }
  /// What has come behind the request: no more of it.
  [[nodiscard]] std::span<char> rest() noexcept { return {in_.data() + at_, have_ - at_}; }
  /// The request is done with. What came behind it is the next.
  void forget() noexcept {
    have_ -= at_;
    std::memmove(in_.data(), in_.data() + std::exchange(at_, 0), have_);
    head_ = head_reader();
  }

  enum class heard : std::uint8_t { bell, nothing, hung_up };
  /// Waits for a bell that somebody else rings, and reads on meanwhile: that is how to see that the client has left.
  /// @param bell a descriptor, or -1 @pre forget, or the views of head() would be of other bytes
  [[nodiscard]] heard wait(int bell, time_point until) noexcept {
    for (;;) {
      bool const room = have_ < in_.size();
      pollfd on[2] = {{bell, POLLIN, 0}, {fd_, static_cast<short>(room ? POLLIN : 0), 0}};
      int const n = ::poll(on, 2, milliseconds_until(until));
      if (n < 0) {
        if (errno != EINTR) return heard::hung_up;
        continue;
      }
      if (on[0].revents != 0) return heard::bell;
      if (on[1].revents != 0) {
        ssize_t const got = room ? receive_some(fd_, std::span(in_).subspan(have_)) : 0;
        if (got <= 0) return heard::hung_up;
        have_ += static_cast<std::size_t>(got);
      }
      if (clock_now() >= until) return heard::nothing;
    }
  }
  /// After an answer that is the last: takes what still comes, for a while. With bytes unread the kernel would reset the
  /// connection, answer and all.
  void finish(time_point until) noexcept {
    (void)::shutdown(fd_, SHUT_WR);
    while (readable_before(fd_, until) && receive_some(fd_, in_) > 0) {
    }
  }

 private:
  [[nodiscard]] came refuse(std::uint16_t status) noexcept {
    status_ = status;
    return came::refused;
  }
  [[nodiscard]] std::string_view behind() const noexcept { return {in_.data() + at_, have_ - at_}; }
  [[nodiscard]] came more(time_point deadline) noexcept {
    if (!readable_before(fd_, deadline)) return refuse(408);
    ssize_t const n = receive_some(fd_, std::span(in_).subspan(have_));
    if (n <= 0) return came::ended;
    have_ += static_cast<std::size_t>(n);
    return came::whole;
  }

  int fd_;
  buffer& in_;
  std::size_t have_ = 0, at_ = 0;  // bytes; where the next are that no request has taken
  std::uint16_t status_ = 0;
  head_reader head_{};
};

}  // namespace phx::inline PHX_BUILD::detail

#endif

#ifndef PHX_HTTP_BODY_READER_HPP
#define PHX_HTTP_BODY_READER_HPP
// Reads the body of a request from a host's bytes, by its Content-Length or in chunks (RFC 9112, sections 6 and 7.1). No
// I/O, no allocation, no exceptions.
//
//     phx::http::body_reader reader(head, 1'000'000);          // head: a request_reader that is complete
//     std::string_view bytes = ...;                            // received after the head
//     for (;;) {
//       phx::http::body_event const event = reader.next(bytes);      // removes what it has read from `bytes`
//       if (event.state == phx::http::body_event::data) body.append(event.part);
//       else if (event.state == phx::http::body_event::need_more) bytes = receive();
//       else break;                                            // complete or refused: see status()
//     }

#include <phx/http/request_reader.hpp>

namespace phx {
inline namespace PHX_BUILD {
namespace http {

/// What next() found in the bytes.
struct body_event {
  /// The kinds of event.
  enum kind : std::uint8_t {
    need_more,  ///< all bytes were read and belong to the body; receive more
    data,       ///< `part` is the next part of the body
    complete,   ///< the body has ended; the remaining bytes belong to the next request
    refused,    ///< respond with status() and close the connection
  };
  /// The kind of this event.
  kind state = need_more;
  std::string_view part{};  ///< for data: a view of the caller's bytes
};

/// Reads one body. Call next() until it returns complete or refused. Skips chunk extensions and trailers; a trailer is not
/// treated as a header, because no proxy has checked it.
///
/// | state       | bytes                                   | becomes     | event                                 |
/// | ----------- | --------------------------------------- | ----------- | ------------------------------------- |
/// | data        | the rest of a body or chunk             | next, end   | data                                  |
/// | chunk size  | 1 to 16 hex digits, `;extension`, CR LF | data        | -                                     |
/// | chunk size  | `0` CR LF                               | trailers    | -                                     |
/// | chunk end   | CR LF                                   | chunk size  | -                                     |
/// | trailers    | lines, then an empty one                | end         | complete                              |
/// | any         | a length that exceeds `max_bytes`       | end         | refused 413, before any of it is read |
/// | any         | anything else                           | end         | refused 400                           |
///
/// Used by one thread at a time. @par Cost: data is passed on without a copy; everything else is read byte by byte.
class body_reader {
 public:
  /// The most bytes of one chunk's extension, and of all trailers together.
  static constexpr std::size_t max_line = 4096;

  /// @pre `head` is complete. @param max_bytes the most bytes that the body may have
  body_reader(request_reader const& head, std::size_t max_bytes) noexcept
      : left_(head.content_length()), max_bytes_(max_bytes), chunked_(head.chunked()) {
    if (chunked_)
      state_ = state::size;
    else if (left_ > max_bytes)
      (void)fail(413);
    else
      state_ = left_ == 0 ? state::end : state::data;
  }

  /// Call until it returns need_more, complete or refused.
  [[nodiscard]] body_event next(std::string_view& bytes) noexcept {
    while (!bytes.empty() && state_ != state::end && state_ != state::failed) {
      if (state_ == state::data) {
        std::size_t const n = bytes.size() < left_ ? bytes.size() : static_cast<std::size_t>(left_);
        std::string_view const part = bytes.substr(0, n);
        bytes.remove_prefix(n);
        left_ -= n;
        received_ += n;
        if (left_ == 0) state_ = chunked_ ? state::data_cr : state::end;
        return {body_event::data, part};
      }
      state_ = after(bytes.front());
      bytes.remove_prefix(1);
    }
    return {state_ == state::end      ? body_event::complete
            : state_ == state::failed ? body_event::refused
                                      : body_event::need_more,
            {}};
  }
  /// After refused: 400, or 413 if the body exceeds `max_bytes`.
  [[nodiscard]] std::uint16_t status() const noexcept { return status_; }

 private:
  enum class state : std::uint8_t { size, extension, size_lf, data, data_cr, data_lf, trailer, trailer_lf, end, failed };

  [[nodiscard]] state fail(std::uint16_t status) noexcept {
    status_ = status;
    return state_ = state::failed;
  }
  /// The state after `c`, which is not data.
  [[nodiscard]] state after(char c) noexcept {
    bool const ends = c == '\r';
    bool const plain = (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) || c == '\t';
    switch (state_) {
      case state::size:
        if (int const digit = detail::hex_value(c); digit >= 0) {
          left_ = left_ * 16 + static_cast<unsigned>(digit);
          if (++line_ > 16) return fail(400);
          return left_ > max_bytes_ - received_ ? fail(413) : state::size;
        }
        if (std::exchange(line_, 0) == 0) return fail(400);
        return ends ? state::size_lf : c == ';' || c == ' ' || c == '\t' ? state::extension : fail(400);
      case state::extension: return ends ? state::size_lf : plain && ++line_ <= max_line ? state::extension : fail(400);
      case state::size_lf: line_ = 0; return c != '\n' ? fail(400) : left_ == 0 ? state::trailer : state::data;
      case state::data_cr: return ends ? state::data_lf : fail(400);
      case state::data_lf: return c == '\n' ? state::size : fail(400);
      case state::trailer:
        in_trailer_ = in_trailer_ || !ends;
        return ends ? state::trailer_lf : plain && ++line_ <= max_line ? state::trailer : fail(400);
      case state::trailer_lf:
        if (c != '\n') return fail(400);
        return std::exchange(in_trailer_, false) ? state::trailer : state::end;
      default: return fail(400);
    }
  }

  std::uint64_t left_;  // bytes of the body, or of the chunk, not read yet
  std::uint64_t max_bytes_;
  std::uint64_t received_ = 0;
  std::size_t line_ = 0;  // digits of a chunk size, then bytes after it
  std::uint16_t status_ = 0;
  state state_ = state::end;
  bool chunked_;
  bool in_trailer_ = false;  // the line has content: it is a trailer, not the empty line that ends them
};

}  // namespace http
}  // namespace PHX_BUILD
}  // namespace phx

#endif

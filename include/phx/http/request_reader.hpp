#ifndef PHX_HTTP_REQUEST_READER_HPP
#define PHX_HTTP_REQUEST_READER_HPP
// Reads the head of an HTTP/1.1 or HTTP/1.0 request from a host's bytes (RFC 9112). No I/O, no allocation, no exceptions.
//
//     phx::http::request_reader reader;                        // one per connection
//     for (;;) {
//       switch (reader.read(buffer)) {                         // everything received so far
//         case phx::http::progress::need_more: append more to `buffer`; continue;
//         case phx::http::progress::refused:   write reader.status(), close; return;
//         case phx::http::progress::complete:  break;
//       }
//       phx::http::request const request = reader.request(peer);    // views of `buffer`
//       ...                                                    // respond; if reader.has_body(): body_reader.hpp
//       remove reader.size() bytes and the body from `buffer`;
//       reader.reset();                                        // for the next request, if reader.keep_alive()
//     }

#include <phx/http/request.hpp>

#include <array>
#include <cstddef>
#include <utility>

namespace phx {
inline namespace PHX_BUILD {
namespace http {

/// The result of read().
enum class progress : std::uint8_t {
  need_more,  ///< valid so far, but incomplete
  complete,
  refused,  ///< respond with status() and close: the start of the next request is unknown
};

/// Reads one request head at a time: call read() until it is complete or refused, then reset() before the next one.
///
/// Strict wherever leniency lets two servers see different requests (request smuggling, RFC 9112, section 11.2).
///
/// | refused because                                                               | status | RFC 9112  |
/// | ----------------------------------------------------------------------------- | ------ | --------- |
/// | a line that does not end in CR LF, or a control character in it               | 400    | 2.2, 5    |
/// | more than `max_empty_lines` empty lines before the request line               | 400    | 2.2       |
/// | a request line that is not `METHOD SP target SP HTTP/x.y`                     | 400    | 3         |
/// | a fragment (`#`) or a space in the target                                     | 400    | 3.2       |
/// | any HTTP version but 1.1 and 1.0                                              | 505    | 2.3       |
/// | HTTP/1.1 without a Host header, or two Host headers                           | 400    | 3.2       |
/// | a header without colon, with a space before it, or a folded line              | 400    | 5.1, 5.2  |
/// | Content-Length twice (equal or not), not a number, over 19 digits             | 400    | 6.2, 6.3  |
/// | Transfer-Encoding other than `chunked`, twice, with Content-Length, or in 1.0 | 400    | 6.1       |
/// | a head of more than `max_bytes`, more than `max_headers` headers              | 431    | 3, 5      |
///
/// Accepted on purpose: empty lines before the request line (old clients and proxies send one after a body), raw bytes from
/// 0x80 on in the target (browsers and curl send UTF-8), any method.
///
/// Used by one thread at a time. @par Cost: each byte is looked at once, however the head is split; sizeof is about 4 KB.
class request_reader {
 public:
  /// The default limit of a head, in bytes.
  static constexpr std::size_t default_max_bytes = 16 * 1024;
  /// The most headers that a head may have.
  static constexpr std::size_t max_headers = 100;
  /// The most empty lines before a request line; they are ignored.
  static constexpr std::size_t max_empty_lines = 8;

  /// @param max_bytes limit of one head, including the empty lines before it; at most 65,535
  explicit request_reader(std::size_t max_bytes = default_max_bytes) noexcept
      : max_bytes_(max_bytes < 65'535 ? max_bytes : 65'535) {}

  /// @param bytes everything received of this request so far: the bytes of the last call, which may have moved, and new ones
  ///   after them
  /// @return complete and refused are final: call reset before the next request
  [[nodiscard]] progress read(std::string_view bytes) noexcept {
    for (std::size_t at = seen_; (at = bytes.find('\n', at)) != std::string_view::npos; seen_ = line_ = ++at) {
      if (at >= max_bytes_) return refuse(431);
      if (at == line_ || bytes[at - 1] != '\r') return refuse(400);
      std::string_view const line = bytes.substr(line_, at - 1 - line_);
      if (line.empty() && method_size_ == 0) {
        if (++empty_lines_ > max_empty_lines) return refuse(400);
        start_ = at + 1;
        continue;
      }
      if (line.empty()) {
        size_ = at + 1;
        return complete(bytes);
      }
      if (!(method_size_ == 0 ? request_line(line) : header_line(line))) return progress::refused;
    }
    seen_ = bytes.size();
    return seen_ >= max_bytes_ ? refuse(431) : progress::need_more;
  }
  /// Forgets everything: the next call of read starts another request.
  void reset() noexcept { *this = request_reader(max_bytes_); }

  /// After need_more: true if any part of a request was received. Empty lines do not count. When the connection is idle for
  /// too long, the host closes it without a response if this is false, and responds 408 if it is true.
  [[nodiscard]] bool begun() const noexcept { return seen_ > start_; }
  /// After refused: 400, 431 or 505.
  [[nodiscard]] std::uint16_t status() const noexcept { return status_; }

  // ---- After complete

  /// The size of the head. The bytes after it are the body, or the client's first WebSocket frames.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// The request, as views of the bytes passed to the last read().
  [[nodiscard]] http::request request(peer_data peer = {}, std::string_view scheme = "http") const noexcept {
    http::request r = http::request::of(method_, target_, headers(), peer, scheme);
    r.version = version_;
    r.has_body = has_body();
    return r;
  }
  /// The method. @pre complete
  [[nodiscard]] std::string_view method() const noexcept { return method_; }
  /// Path and query, as sent.
  [[nodiscard]] std::string_view target() const noexcept { return target_; }
  /// The headers, in the order received; views of the reader.
  [[nodiscard]] std::span<header const> headers() const noexcept { return {headers_.data(), count_}; }
  /// 10 for HTTP/1.0, 11 for HTTP/1.1.
  [[nodiscard]] std::uint8_t version() const noexcept { return version_; }
  /// True if a body follows.
  [[nodiscard]] bool has_body() const noexcept { return chunked_ || length_ != 0; }
  /// True if the body is chunked; otherwise it has content_length() bytes.
  [[nodiscard]] bool chunked() const noexcept { return chunked_; }
  /// The value of Content-Length; 0 if there is none.
  [[nodiscard]] std::uint64_t content_length() const noexcept { return length_; }
  /// True if the connection may stay open after the response. Always false for HTTP/1.0, where keep-alive is not
  /// standardized.
  [[nodiscard]] bool keep_alive() const noexcept {
    return version_ >= 11 && !header_lists(headers(), "connection", "close");
  }
  /// True if the client waits for continue_response before it sends the body.
  [[nodiscard]] bool expects_continue() const noexcept {
    return version_ >= 11 && has_body() && header_lists(headers(), "expect", "100-continue");
  }

 private:
  /// Offsets, not views: the caller's buffer may move between two calls.
  struct header_position {
    std::uint16_t name, name_size, value, value_size;
  };

  [[nodiscard]] static constexpr bool is_token(std::string_view s) noexcept {
    constexpr std::string_view symbols = "!#$%&'*+-.^_`|~";
    for (char const c : s) {
      char const l = detail::lower_letter(c);
      if (!((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || symbols.find(c) != std::string_view::npos)) return false;
    }
    return !s.empty();
  }
  [[nodiscard]] progress refuse(std::uint16_t status) noexcept {
    status_ = status;
    return progress::refused;
  }
  [[nodiscard]] bool fail(std::uint16_t status) noexcept {
    status_ = status;
    return false;
  }
  [[nodiscard]] bool request_line(std::string_view line) noexcept {
    std::size_t const first = line.find(' ');
    std::size_t const last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) return fail(400);
    std::string_view const target = line.substr(first + 1, last - first - 1), version = line.substr(last + 1);
    if (!is_token(line.substr(0, first)) || target.empty()) return fail(400);
    for (char const c : target)
      if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f || c == '#') return fail(400);
    if (version != "HTTP/1.1" && version != "HTTP/1.0") return fail(version.starts_with("HTTP/") ? 505 : 400);
    version_ = version.back() == '0' ? 10 : 11;
    method_size_ = first;
    target_size_ = target.size();
    return true;
  }
  [[nodiscard]] bool header_line(std::string_view line) noexcept {
    std::size_t const colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return fail(400);
    std::string_view const name = line.substr(0, colon), value = detail::trimmed(line.substr(colon + 1));
    for (char const c : value)
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return fail(400);
    if (count_ == max_headers) return fail(431);
    if (detail::equal_ignoring_case(name, "host") && std::exchange(has_host_, true)) return fail(400);
    if (!framing(name, value)) return fail(400);
    auto const offset = [](std::size_t n) { return static_cast<std::uint16_t>(n); };  // below max_bytes_
    positions_[count_++] = {offset(line_), offset(colon),
                            offset(line_ + static_cast<std::size_t>(value.data() - line.data())), offset(value.size())};
    return true;
  }
  /// Refuses a body whose end two servers could find in different places.
  [[nodiscard]] bool framing(std::string_view name, std::string_view value) noexcept {
    if (detail::equal_ignoring_case(name, "transfer-encoding"))
      return version_ >= 11 && !std::exchange(chunked_, true) && !has_length_ &&
             detail::equal_ignoring_case(value, "chunked");
    if (!detail::equal_ignoring_case(name, "content-length")) return true;
    if (std::exchange(has_length_, true) || chunked_ || value.empty() || value.size() > 19) return false;
    for (char const c : value) {
      if (c < '0' || c > '9') return false;
      length_ = length_ * 10 + static_cast<unsigned>(c - '0');
    }
    return true;
  }
  [[nodiscard]] progress complete(std::string_view bytes) noexcept {
    if (!has_host_ && version_ >= 11) return refuse(400);
    method_ = bytes.substr(start_, method_size_);
    target_ = bytes.substr(start_ + method_size_ + 1, target_size_);
    for (std::size_t i = 0; i < count_; ++i)
      headers_[i] = {bytes.substr(positions_[i].name, positions_[i].name_size),
                     bytes.substr(positions_[i].value, positions_[i].value_size)};
    return progress::complete;
  }

  std::size_t max_bytes_;
  std::size_t seen_ = 0, line_ = 0, start_ = 0;  // bytes looked at; start of the current line and of the request line
  std::size_t size_ = 0, method_size_ = 0, target_size_ = 0, count_ = 0, empty_lines_ = 0;
  std::uint64_t length_ = 0;
  std::uint16_t status_ = 0;
  std::uint8_t version_ = 11;
  bool has_host_ = false, has_length_ = false, chunked_ = false;
  std::string_view method_{}, target_{};
  std::array<header_position, max_headers> positions_;
  std::array<header, max_headers> headers_;
};

}  // namespace http
}  // namespace PHX_BUILD
}  // namespace phx

#endif

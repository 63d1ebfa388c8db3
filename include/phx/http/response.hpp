#ifndef PHX_HTTP_RESPONSE_HPP
#define PHX_HTTP_RESPONSE_HPP
// An HTTP response as a value, and the writer that encodes responses (RFC 9112, section 4). No I/O: the bytes are appended
// to an output that the caller provides, a std::string or the host's own buffer.
//
//     std::string bytes;
//     phx::http::write_response(bytes, answer, phx::http::persistence::close);

#include <phx/core/text/ascii.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace phx {
inline namespace PHX_BUILD {
namespace http {

/// A response as a value. response{} is 403 with an empty body, as Phoenix refuses, so that a forgotten response lets nobody
/// in.
struct response {
  /// The HTTP status.
  std::uint16_t status = 403;
  /// Without content-length and connection, which the writer adds.
  std::vector<std::pair<std::string, std::string>> headers{};
  /// The body; often empty.
  std::string body{};
};

/// What happens to the connection after a response (RFC 9112, section 9.3).
enum class persistence : std::uint8_t {
  close,       ///< the response has `connection: close`; the host closes after writing it
  keep_alive,  ///< the next request may follow on the same connection
};

/// The interim response for a client that sent `Expect: 100-continue`, which waits for it before it sends the body (RFC
/// 9110, section 10.1.1).
inline constexpr std::string_view continue_response = "HTTP/1.1 100 Continue\r\n\r\n";

/// The reason phrase of a status; empty if it is not in RFC 9110 (which allows an empty one).
[[nodiscard]] constexpr std::string_view reason_phrase(std::uint16_t status) noexcept {
  switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 426: return "Upgrade Required";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 451: return "Unavailable For Legal Reasons";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "";
  }
}

/// An output that bytes are appended to: std::string, or a buffer of the host.
template <class O>
concept Output = requires(O& out, std::string_view bytes) {
  out.append(bytes);
};

/// Writes one response, piece by piece, for hosts that have no http::response. Call the constructor, then `header` for each
/// header, then `body` exactly once.
///
/// @par Errors: whatever Output::append throws (std::bad_alloc of a std::string). @par Cost: allocates nothing itself.
template <class O>
class response_writer {
  static_assert(Output<O>, "an output needs: void append(std::string_view)");

 public:
  /// Writes the status line, `connection` and `content-length`.
  /// @param status 200 to 599; anything else is written as 500
  /// @param body_size bytes of the body, even if it is not written because the request was a HEAD
  response_writer(O& out, std::uint16_t status, std::size_t body_size, persistence after)
      : out_(&out), status_(status >= 200 && status <= 599 ? status : std::uint16_t{500}) {
    out.append(std::string_view("HTTP/1.1 "));
    number(status_);
    out.append(std::string_view(" "));
    out.append(reason_phrase(status_));
    out.append(std::string_view(after == persistence::close ? "\r\nconnection: close\r\n" : "\r\n"));
    if (!may_have_body()) return;
    out.append(std::string_view("content-length: "));
    number(body_size);
    out.append(std::string_view("\r\n"));
  }

  /// Writes a header. Skips one that contains a line break (response splitting), and those that the constructor writes.
  void header(std::string_view name, std::string_view value) {
    if (!is_safe(name, value) || is_framing(name)) return;
    out_->append(name);
    out_->append(std::string_view(": "));
    out_->append(value);
    out_->append(std::string_view("\r\n"));
  }

  /// Ends the head, and writes the body if the status allows one. @param text empty for a HEAD
  void body(std::string_view text) {
    out_->append(std::string_view("\r\n"));
    if (may_have_body() && !text.empty()) out_->append(text);
  }

 private:
  [[nodiscard]] bool may_have_body() const noexcept { return status_ != 204 && status_ != 304; }
  [[nodiscard]] static constexpr bool is_framing(std::string_view name) noexcept {
    return detail::equal_ignoring_case(name, "connection") || detail::equal_ignoring_case(name, "content-length") ||
           detail::equal_ignoring_case(name, "transfer-encoding");
  }
  [[nodiscard]] static constexpr bool is_safe(std::string_view name, std::string_view value) noexcept {
    return !name.empty() && name.find_first_of(std::string_view(": \t\r\n\0", 6)) == std::string_view::npos &&
           value.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
  }
  void number(std::size_t n) {
    char digits[20];
    std::size_t first = sizeof digits;
    do digits[--first] = static_cast<char>('0' + n % 10);
    while ((n /= 10) != 0);
    out_->append(std::string_view(digits + first, sizeof digits - first));
  }

  O* out_;
  std::uint16_t status_;
};

/// A response type that is not http::response but has the same parts as functions, such as longpoll::response.
template <class R>
concept ResponseView = requires(R const& r) {
  r.status();
  r.body();
  r.each_header([](std::string_view, std::string_view) {});
};

/// Appends the bytes of a whole response. @param head_only the request was a HEAD: the body is counted but not written
template <Output O>
void write_response(O& out, response const& r, persistence after, bool head_only = false) {
  response_writer writer(out, r.status, r.body.size(), after);
  for (auto const& [name, value] : r.headers) writer.header(name, value);
  writer.body(head_only ? std::string_view{} : std::string_view(r.body));
}
template <Output O, ResponseView R>
void write_response(O& out, R const& r, persistence after, bool head_only = false) {
  response_writer writer(out, r.status(), r.body().size(), after);
  r.each_header([&](std::string_view name, std::string_view value) { writer.header(name, value); });
  writer.body(head_only ? std::string_view{} : std::string_view(r.body()));
}
/// The bytes of a whole response as a string. @par Errors: std::bad_alloc.
template <class R>
[[nodiscard]] std::string to_bytes(R const& r, persistence after = persistence::close, bool head_only = false) {
  std::string out;
  write_response(out, r, after, head_only);
  return out;
}
[[nodiscard]] inline std::string to_bytes(response const& r, persistence after = persistence::close,
                                          bool head_only = false) {
  return to_bytes<response>(r, after, head_only);
}

}  // namespace http

using http_answer = http::response;

}  // namespace PHX_BUILD
}  // namespace phx

#endif

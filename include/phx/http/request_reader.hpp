#ifndef PHX_HTTP_REQUEST_READER_HPP
#define PHX_HTTP_REQUEST_READER_HPP
// As much of HTTP/1.1 as it takes to become a WebSocket or to long-poll, for hosts that read and write raw bytes: the head of a
// request, its body, an answer, and Sec-WebSocket-Accept.

#include <phx/connect/connect_info.hpp>

#include <array>
#include <cstring>

namespace phx::inline PHX_BUILD::detail {

/// Reads the head of one request, bounded in bytes and headers. Strict where leniency has let one server see another request
/// than the proxy before it: lines end in CR LF, no folded lines, no space before a colon, no stray control character.
class head_reader {
 public:
  static constexpr std::size_t most_bytes = 16 * 1024;
  static constexpr std::size_t most_headers = 100;
  enum class progress : std::uint8_t { more, done, refused };

  /// @param bytes everything that came so far, with new bytes behind those of the last call. Views into it come out.
  [[nodiscard]] progress read(std::string_view bytes) noexcept {
    for (std::size_t at = seen_; (at = bytes.find('\n', at)) != std::string_view::npos; seen_ = line_ = ++at) {
      if (at >= most_bytes) return refuse(431);
      if (at == line_ || bytes[at - 1] != '\r') return refuse(400);
      if (at - line_ == 1) {
        size_ = at + 1;
        return method_size_ == 0 ? refuse(400) : take(bytes);
      }
      if (method_size_ == 0) {
        if (!request_line(bytes.substr(line_, at - 1 - line_))) return progress::refused;
      } else if (!header_line(bytes.substr(line_, at - 1 - line_))) {
        return progress::refused;
      }
    }
    seen_ = bytes.size();
    return seen_ >= most_bytes ? refuse(431) : progress::more;
  }

  /// After refused: 400, 431 or 505.
  [[nodiscard]] std::uint16_t status() const noexcept { return status_; }
  /// After done, as all below. Bytes of the head; what follows them is its body, or the client's first frames.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::string_view method() const noexcept { return method_; }
  [[nodiscard]] std::string_view target() const noexcept { return target_; }
  [[nodiscard]] std::span<header const> headers() const noexcept { return {headers_.data(), count_}; }
  /// Whether a body was announced. An upgrade has none: taking its bytes for frames would let the request choose them.
  [[nodiscard]] bool has_body() const noexcept { return chunked_ || length_ != 0; }
  /// How the body ends: by itself, or after so many bytes.
  [[nodiscard]] bool chunked() const noexcept { return chunked_; }
  [[nodiscard]] std::uint64_t length() const noexcept { return length_; }

 private:
  struct place {
    std::uint32_t name, name_size, value, value_size;
  };

  [[nodiscard]] static constexpr bool is_token(std::string_view s) noexcept {
    constexpr std::string_view others = "!#$%&'*+-.^_`|~";
    for (char const c : s) {
      char const l = lower_letter(c);
      if (!((l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || others.find(c) != std::string_view::npos)) return false;
    }
    return !s.empty();
  }
  [[nodiscard]] progress refuse(std::uint16_t status) noexcept {
    status_ = status;
    return progress::refused;
  }
  [[nodiscard]] bool refused_with(std::uint16_t status) noexcept {
    status_ = status;
    return false;
  }
  [[nodiscard]] bool request_line(std::string_view line) noexcept {
    std::size_t const first = line.find(' ');
    std::size_t const last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) return refused_with(400);
    std::string_view const target = line.substr(first + 1, last - first - 1), version = line.substr(last + 1);
    if (!is_token(line.substr(0, first)) || target.empty()) return refused_with(400);
    for (char const c : target)
      if (static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x7f || c == '#')
        return refused_with(400);
    if (version != "HTTP/1.1") return refused_with(version.starts_with("HTTP/") ? 505 : 400);
    method_size_ = first;
    target_size_ = target.size();
    return true;
  }
  [[nodiscard]] bool header_line(std::string_view line) noexcept {
    std::size_t const colon = line.find(':');
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return refused_with(400);
    std::string_view const name = line.substr(0, colon), value = without_spaces_around(line.substr(colon + 1));
    for (char const c : value)
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return refused_with(400);
    if (count_ == most_headers) return refused_with(431);
    if (same_but_for_case(name, "host") && std::exchange(has_host_, true)) return refused_with(400);
    if (!framing(name, value)) return refused_with(400);
    // Places, not views: the caller's buffer may move between two calls.
    places_[count_++] = {static_cast<std::uint32_t>(line_), static_cast<std::uint32_t>(colon),
                         static_cast<std::uint32_t>(line_ + static_cast<std::size_t>(value.data() - line.data())),
                         static_cast<std::uint32_t>(value.size())};
    return true;
  }
  /// A body whose end two servers would see in two places is none: said twice, said both ways, another coding.
  [[nodiscard]] bool framing(std::string_view name, std::string_view value) noexcept {
    if (same_but_for_case(name, "transfer-encoding"))
      return !std::exchange(chunked_, true) && !has_length_ && same_but_for_case(value, "chunked");
    if (!same_but_for_case(name, "content-length")) return true;
    if (std::exchange(has_length_, true) || chunked_ || value.empty() || value.size() > 19) return false;
    for (char const c : value) {
      if (c < '0' || c > '9') return false;
      length_ = length_ * 10 + static_cast<unsigned>(c - '0');
    }
    return true;
  }
  [[nodiscard]] progress take(std::string_view bytes) noexcept {
    if (!has_host_) return refuse(400);
    method_ = bytes.substr(0, method_size_);
    target_ = bytes.substr(method_size_ + 1, target_size_);
    for (std::size_t i = 0; i < count_; ++i)
      headers_[i] = {bytes.substr(places_[i].name, places_[i].name_size),
                     bytes.substr(places_[i].value, places_[i].value_size)};
    return progress::done;
  }

  std::size_t seen_ = 0, line_ = 0, size_ = 0;  // looked at; begin of the line under way
  std::size_t method_size_ = 0, target_size_ = 0, count_ = 0;
  std::uint64_t length_ = 0;
  std::uint16_t status_ = 0;
  bool has_host_ = false, has_length_ = false, chunked_ = false;
  std::string_view method_{}, target_{};
  std::array<place, most_headers> places_;
  std::array<header, most_headers> headers_;
};

/// Takes the body of a request out of bytes as they come, bounded: so many of them, or in chunks (RFC 9112, 7.1). What stands
/// beside the chunks, extensions and trailers, is read over: a proxy has not seen those headers.
class body_reader {
 public:
  static constexpr std::size_t most_line = 4096;  ///< of a chunk's line beside its size; of all trailers
  using progress = head_reader::progress;

  /// @pre head is done. @param most bytes
  body_reader(head_reader const& head, std::size_t most) noexcept
      : left_(head.length()),
        most_(most),
        at_(head.chunked() ? part::size : !head.has_body() ? part::end : head.length() > most ? part::wrong : part::data),
        chunked_(head.chunked()) {}

  /// Moves what is the body's from `bytes` to the end of `body`. After done, what is left in `bytes` is the next request's.
  /// Refused: nonsense, or more than `most`. @par Errors: std::bad_alloc.
  [[nodiscard]] progress read(std::string_view& bytes, std::string& body) {
    while (!bytes.empty() && at_ != part::end && at_ != part::wrong) {
      if (at_ == part::data) {
        std::size_t const n = bytes.size() < left_ ? bytes.size() : static_cast<std::size_t>(left_);
        body.append(bytes.substr(0, n));
        bytes.remove_prefix(n);
        left_ -= n;
        if (left_ == 0) at_ = chunked_ ? part::data_cr : part::end;
      } else {
        at_ = after(bytes.front(), body.size());
        bytes.remove_prefix(1);
      }
    }
    return at_ == part::end ? progress::done : at_ == part::wrong ? progress::refused : progress::more;
  }

 private:
  enum class part : std::uint8_t { size, extension, size_lf, data, data_cr, data_lf, trailer, trailer_lf, end, wrong };

  /// Where `c`, which is no data, leads.
  [[nodiscard]] part after(char c, std::size_t so_far) noexcept {
    bool const ends = c == '\r';
    bool const plain = (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) || c == '\t';
    switch (at_) {
      case part::size: {
        char const l = lower_letter(c);
        if ((l >= '0' && l <= '9') || (l >= 'a' && l <= 'f')) {
          left_ = left_ * 16 + static_cast<unsigned>(l <= '9' ? l - '0' : l - 'a' + 10);
          return ++line_ > 16 || left_ > most_ - so_far ? part::wrong : part::size;
        }
        if (std::exchange(line_, 0) == 0) return part::wrong;
        return ends ? part::size_lf : c == ';' || c == ' ' || c == '\t' ? part::extension : part::wrong;
      }
      case part::extension: return ends ? part::size_lf : plain && ++line_ <= most_line ? part::extension : part::wrong;
      case part::size_lf:
        line_ = 0;
        return c != '\n' ? part::wrong : left_ == 0 ? part::trailer : part::data;
      case part::data_cr: return ends ? part::data_lf : part::wrong;
      case part::data_lf: return c == '\n' ? part::size : part::wrong;
      case part::trailer:
        any_ = any_ || !ends;
        return ends ? part::trailer_lf : plain && ++line_ <= most_line ? part::trailer : part::wrong;
      case part::trailer_lf:
        if (c != '\n') return part::wrong;
        return std::exchange(any_, false) ? part::trailer : part::end;
      default: return part::wrong;
    }
  }

  std::uint64_t left_;  // of the body, or of the chunk
  std::uint64_t most_;
  std::size_t line_ = 0;  // digits of a size, then what stands behind it
  part at_;
  bool chunked_;
  bool any_ = false;  // a trailer, not yet the empty line behind them
};

/// For a nonce of public text: nothing here is secret.
[[nodiscard]] inline std::array<char, 20> sha1(std::string_view text) noexcept {
  std::uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  auto const left = [](std::uint32_t x, unsigned n) noexcept { return x << n | x >> (32 - n); };
  std::size_t const blocks = (text.size() + 8) / 64 + 1;
  for (std::size_t b = 0; b < blocks; ++b) {
    unsigned char block[64] = {};
    std::size_t const from = b * 64;
    if (from < text.size()) std::memcpy(block, text.data() + from, text.size() - from < 64 ? text.size() - from : 64);
    if (text.size() >= from && text.size() < from + 64) block[text.size() - from] = 0x80;
    if (b + 1 == blocks)
      for (unsigned i = 0; i < 8; ++i)
        block[56 + i] = static_cast<unsigned char>(std::uint64_t{text.size()} * 8 >> (56 - 8 * i));

    std::uint32_t w[80];
    for (std::size_t i = 0; i < 16; ++i)
      w[i] = std::uint32_t{block[4 * i]} << 24 | std::uint32_t{block[4 * i + 1]} << 16 |
             std::uint32_t{block[4 * i + 2]} << 8 | block[4 * i + 3];
    for (std::size_t i = 16; i < 80; ++i) w[i] = left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    std::uint32_t v[5] = {h[0], h[1], h[2], h[3], h[4]};
    for (std::size_t i = 0; i < 80; ++i) {
      std::uint32_t const f = i < 20   ? ((v[1] & v[2]) | (~v[1] & v[3])) + 0x5a827999
                              : i < 40 ? (v[1] ^ v[2] ^ v[3]) + 0x6ed9eba1
                              : i < 60 ? ((v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])) + 0x8f1bbcdc
                                       : (v[1] ^ v[2] ^ v[3]) + 0xca62c1d6;
      std::uint32_t const next = left(v[0], 5) + f + v[4] + w[i];
      v[4] = v[3];
      v[3] = v[2];
      v[2] = left(v[1], 30);
      v[1] = v[0];
      v[0] = next;
    }
    for (std::size_t i = 0; i < 5; ++i) h[i] += v[i];
  }
  std::array<char, 20> out{};
  for (std::size_t i = 0; i < 20; ++i) out[i] = static_cast<char>(h[i / 4] >> (24 - 8 * (i % 4)));
  return out;
}
/// Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, 4.2.2).
[[nodiscard]] inline std::string accept_key(std::string_view key) {
  auto const hash = sha1(std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  return to_base64({hash.data(), hash.size()}, base64_alphabet::standard);
}

/// @param subprotocol answered when not empty. @param key of a request that an upgrade check has found good.
[[nodiscard]] inline std::string switching_protocols(std::string_view key, std::string_view subprotocol = {}) {
  std::string out =
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ";
  out += accept_key(key);
  if (!subprotocol.empty()) out.append("\r\nsec-websocket-protocol: ").append(subprotocol);
  return out += "\r\n\r\n";
}

/// The answer as bytes. A header that would break out of its line, or that speaks of the length or the connection, is left out:
/// those two are said here. @param stays the connection does not end after it
[[nodiscard]] inline std::string to_bytes(http_answer const& answer, bool stays = false) {
  auto const phrase = [](std::uint16_t status) noexcept -> std::string_view {
    switch (status) {
      case 200: return "OK";
      case 204: return "No Content";
      case 301: return "Moved Permanently";
      case 302: return "Found";
      case 400: return "Bad Request";
      case 401: return "Unauthorized";
      case 403: return "Forbidden";
      case 404: return "Not Found";
      case 408: return "Request Timeout";
      case 426: return "Upgrade Required";
      case 429: return "Too Many Requests";
      case 431: return "Request Header Fields Too Large";
      case 500: return "Internal Server Error";
      case 503: return "Service Unavailable";
      case 505: return "HTTP Version Not Supported";
      default: return "";  // allowed to be empty
    }
  };
  std::uint16_t const status = answer.status >= 200 && answer.status <= 599 ? answer.status : std::uint16_t{500};
  std::string out = "HTTP/1.1 " + std::to_string(status) + ' ';
  out.append(phrase(status)).append(stays ? "\r\n" : "\r\nconnection: close\r\n");
  bool const bodiless = status == 204 || status == 304;
  if (!bodiless) out += "content-length: " + std::to_string(answer.body.size()) + "\r\n";
  for (auto const& [name, value] : answer.headers) {
    bool const ours = same_but_for_case(name, "connection") || same_but_for_case(name, "content-length") ||
                      same_but_for_case(name, "transfer-encoding");
    bool const breaks = name.empty() || name.find_first_of(std::string_view(": \t\r\n\0", 6)) != std::string::npos ||
                        value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos;
    if (!ours && !breaks) out.append(name).append(": ").append(value).append("\r\n");
  }
  out += "\r\n";
  return bodiless ? out : out += answer.body;
}

}  // namespace phx::inline PHX_BUILD::detail

#endif

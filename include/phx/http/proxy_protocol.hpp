#ifndef PHX_HTTP_PROXY_PROTOCOL_HPP
#define PHX_HTTP_PROXY_PROTOCOL_HPP
// The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): a header with the client's address that a load
// balancer writes before the first byte of a connection. No I/O, no allocation, no exceptions.
//
//     phx::http::proxy_protocol_reader reader;                      // one per connection, before TLS and HTTP
//     while (reader.state() == phx::http::progress::need_more) {
//       std::string_view bytes = receive_at_most(reader.wants());   // the bytes after it stay in the socket, for TLS
//       (void)reader.read(bytes);
//     }
//     if (reader.state() == phx::http::progress::refused) return close();        // without a response: it may not be HTTP
//     phx::peer_data const peer = reader.peer(socket_peer);         // a view of the reader
//
// Use it only on listeners that only the balancer can reach: a client that can connect could claim any address.

#include <phx/core/text/ip_address.hpp>
#include <phx/http/request_reader.hpp>

#include <array>
#include <cstddef>

namespace phx {
inline namespace PHX_BUILD {
namespace http {

/// Reads one PROXY protocol header, of either version.
///
/// | header                                                         | result                                      |
/// | -------------------------------------------------------------- | ------------------------------------------- |
/// | v1 `TCP4`, `TCP6`: one space between the fields, CR LF         | complete, its source                        |
/// | v1 `UNKNOWN`, with anything after it                           | complete, the socket's own peer             |
/// | v2 `PROXY` over TCP/IPv4, TCP/IPv6 or a Unix stream            | complete, its source                        |
/// | v2 `PROXY` of no family                                        | complete, the socket's own peer             |
/// | v2 `LOCAL`: the balancer itself, such as a health check        | complete, the socket's own peer             |
/// | v2 longer than its addresses (TLVs: TLS, ids, checksums)       | the rest is skipped, unread                 |
/// | v1 over 107 bytes, v2 over `max_bytes`                         | refused                                     |
/// | v2 shorter than its addresses, datagrams, another version      | refused                                     |
/// | v1 with an invalid address, a port over 65535 or `080`         | refused                                     |
/// | anything else, at its first byte that differs                  | refused                                     |
///
/// Used by one thread at a time. @par Cost: each byte is looked at once; about 280 bytes, whatever the header's length.
class proxy_protocol_reader {
 public:
  /// The most bytes of a version 1 header, CR LF included: the protocol's own limit.
  static constexpr std::size_t max_v1_bytes = 107;
  /// The most bytes of a version 2 header: addresses and TLVs.
  static constexpr std::size_t default_max_bytes = 4096;

  /// @param max_bytes limit of a version 2 header; more than 65,551 are not possible. It costs no memory.
  explicit proxy_protocol_reader(std::size_t max_bytes = default_max_bytes) noexcept : max_bytes_(max_bytes) {}

  /// Removes the bytes of the header from the front of `bytes`. The remaining bytes belong to TLS or HTTP.
  /// @return complete and refused are final.
  progress read(std::string_view& bytes) noexcept {
    while (state_ == progress::need_more && !bytes.empty()) {
      if (seen_ >= kept_.size() && total_ != 0) {
        std::size_t const n = bytes.size() < total_ - seen_ ? bytes.size() : total_ - seen_;
        bytes.remove_prefix(n);
        seen_ += n;
      } else {
        take(bytes.front());
        bytes.remove_prefix(1);
      }
      if (state_ == progress::need_more && total_ != 0 && seen_ == total_) state_ = finish_v2();
    }
    return state_;
  }
  /// The latest result of read.
  [[nodiscard]] progress state() const noexcept { return state_; }
  /// While more is needed: at least this many bytes belong to the header. A host that receives no more than these leaves the
  /// following bytes in the socket for TLS. Needs two or three calls for version 2, up to forty for version 1.
  [[nodiscard]] std::size_t wants() const noexcept {
    if (state_ != progress::need_more) return 0;
    if (total_ != 0) return total_ - seen_;
    std::size_t const shortest = v2_ ? 16 : shortest_v1;
    if (seen_ < shortest) return shortest - seen_;
    return kept_[seen_ - 1] == '\r' ? 1 : 2;
  }

  // ---- After complete

  /// True if the header has an address.
  [[nodiscard]] bool names_peer() const noexcept { return text_size_ != 0; }
  /// The client of the balancer; `connection`, the peer of the socket, if the header has no address. The address is
  /// `1.2.3.4`, `2001:db8::1`, or `unix:` and a path. A view of the reader.
  [[nodiscard]] peer_data peer(peer_data const& connection) const noexcept {
    if (!names_peer()) return connection;
    return {.address = {text_.data(), text_size_}, .port = port_, .ssl_cert = std::nullopt};
  }

 private:
  static constexpr std::string_view v1_signature = "PROXY ";
  static constexpr std::string_view v2_signature{"\r\n\r\n\0\r\nQUIT\n", 12};
  static constexpr std::size_t shortest_v1 = std::string_view("PROXY UNKNOWN\r\n").size();
  static constexpr std::size_t unix_path = 108;  // bytes of each of the two

  void take(char c) noexcept {
    std::size_t const at = seen_++;
    kept_[at] = c;  // fewer than its size: a v1 header ends before, of a v2 header only the beginning comes here
    if (at == 0) v2_ = c == v2_signature[0];
    if (!v2_) {
      if (at < v1_signature.size() && c != v1_signature[at]) return refuse();
      if (c == '\n') return v1_line() ? void(state_ = progress::complete) : refuse();
      if (at + 1 == max_v1_bytes) refuse();
    } else if (at < v2_signature.size()) {
      if (c != v2_signature[at]) refuse();
    } else if (at == 12) {
      if (c != '\x20' && c != '\x21') refuse();
    } else if (at == 15) {
      total_ = 16 + std::size_t{byte(14)} * 256 + byte(15);
      if (total_ > max_bytes_) refuse();
    }
  }
  void refuse() noexcept { state_ = progress::refused; }
  [[nodiscard]] std::uint8_t byte(std::size_t at) const noexcept { return static_cast<std::uint8_t>(kept_[at]); }

  [[nodiscard]] bool v1_line() noexcept {
    std::string_view line(kept_.data() + v1_signature.size(), seen_ - v1_signature.size());
    if (!line.ends_with("\r\n")) return false;
    line.remove_suffix(2);
    if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return true;
    bool const v6 = line.starts_with("TCP6 ");
    if (!v6 && !line.starts_with("TCP4 ")) return false;
    line.remove_prefix(5);
    std::string_view fields[4];
    for (std::size_t i = 0; i < 4; ++i) {
      if ((line.find(' ') == std::string_view::npos) != (i == 3)) return false;
      fields[i] = detail::next_part(line, ' ');
    }
    for (std::size_t i = 0; i < 2; ++i)
      if ((fields[i].find(':') != std::string_view::npos) != v6 || !detail::ip_address::parse(fields[i])) return false;
    std::uint16_t destination = 0;
    if (!read_port(fields[2], port_) || !read_port(fields[3], destination)) return false;
    set_text(detail::ip_text(*detail::ip_address::parse(fields[0])).view());
    return true;
  }
  /// A sender writes no leading zeros.
  [[nodiscard]] static bool read_port(std::string_view text, std::uint16_t& port) noexcept {
    return (text.size() < 2 || text[0] != '0') && detail::read_port(text, port);
  }

  [[nodiscard]] progress finish_v2() noexcept {
    if (kept_[12] == '\x20') return progress::complete;  // LOCAL: addresses are ignored
    std::uint8_t const family = byte(13);
    std::size_t const length = family == 0x11 ? 12 : family == 0x21 ? 36 : family == 0x31 ? 2 * unix_path : 0;
    if (length == 0) return family >> 4 == 0 ? progress::complete : progress::refused;
    if (total_ - 16 < length) return progress::refused;
    if (family == 0x31) {
      std::string_view const path = std::string_view(kept_.data() + 16, unix_path);
      set_text("unix:");
      set_text(path.substr(0, path.find('\0')));  // an abstract name begins with a NUL: it is omitted
      return progress::complete;
    }
    std::size_t const address = family == 0x11 ? 4 : 16, port = 16 + 2 * address;
    set_text(detail::ip_text(detail::ip_address::of({kept_.data() + 16, address})).view());
    port_ = static_cast<std::uint16_t>(byte(port) << 8 | byte(port + 1));
    return progress::complete;
  }
  void set_text(std::string_view more) noexcept {
    for (char const c : more) text_[text_size_++] = c;
  }

  std::size_t max_bytes_;
  std::size_t seen_ = 0, total_ = 0;  // bytes of the header so far; of a v2 header, once it is known
  std::size_t text_size_ = 0;
  std::uint16_t port_ = 0;
  progress state_ = progress::need_more;
  bool v2_ = false;
  std::array<char, 16 + unix_path> kept_{};
  std::array<char, 5 + unix_path> text_{};
};

}  // namespace http
}  // namespace PHX_BUILD
}  // namespace phx

#endif

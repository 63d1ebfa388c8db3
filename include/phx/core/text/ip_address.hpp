#ifndef PHX_CORE_TEXT_IP_ADDRESS_HPP
#define PHX_CORE_TEXT_IP_ADDRESS_HPP
// IPv4 and IPv6 addresses: parsing, comparing, writing; ports: parsing. No allocation.

#include <phx/core/text/ascii.hpp>

#include <optional>

namespace phx {
inline namespace PHX_BUILD {
namespace detail {

/// An address. An IPv4 address is kept as `::ffff:1.2.3.4`, so that it equals what a dual-stack socket reports for the same
/// client.
struct ip_address {
  std::array<std::uint8_t, 16> bytes{};

  /// The four bytes of an IPv4 address, or the sixteen of an IPv6 address, in network order.
  [[nodiscard]] static constexpr ip_address of(std::string_view network_order) noexcept {
    ip_address a;
    std::size_t const at = network_order.size() == 4 ? 12 : 0;
    if (at != 0) a.bytes[10] = a.bytes[11] = 0xFF;
    for (std::size_t i = 0; i < network_order.size() && at + i < 16; ++i)
      a.bytes[at + i] = static_cast<std::uint8_t>(network_order[i]);
    return a;
  }
  /// Reads `1.2.3.4` or `2001:db8::1`. Nothing else: no port, no brackets, no zone, and no number with a leading zero, which
  /// some libraries read as octal.
  [[nodiscard]] static constexpr std::optional<ip_address> parse(std::string_view text) noexcept {
    ip_address a;
    if (!(text.find(':') == std::string_view::npos ? a.read_v4(text, 12) : a.read_v6(text))) return std::nullopt;
    if (text.find(':') == std::string_view::npos) a.bytes[10] = a.bytes[11] = 0xFF;
    return a;
  }

  [[nodiscard]] constexpr bool is_v4() const noexcept {
    for (std::size_t i = 0; i < 10; ++i)
      if (bytes[i] != 0) return false;
    return bytes[10] == 0xFF && bytes[11] == 0xFF;
  }
  /// True if the first `bits` bits are those of `network`.
  [[nodiscard]] constexpr bool is_in(ip_address const& network, std::size_t bits) const noexcept {
    for (std::size_t i = 0; i < 16 && bits != 0; ++i) {
      std::size_t const part = bits < 8 ? bits : 8;
      if (((bytes[i] ^ network.bytes[i]) >> (8 - part)) != 0) return false;
      bits -= part;
    }
    return true;
  }
  /// True if all bits behind the first `bits` are zero.
  [[nodiscard]] constexpr bool is_network(std::size_t bits) const noexcept {
    for (std::size_t i = bits; i < 128; ++i)
      if ((bytes[i / 8] >> (7 - i % 8) & 1) != 0) return false;
    return true;
  }
  [[nodiscard]] friend constexpr bool operator==(ip_address const&, ip_address const&) noexcept = default;

 private:
  [[nodiscard]] constexpr bool read_v4(std::string_view text, std::size_t at) noexcept {
    if (text.ends_with('.')) return false;
    for (std::size_t part = 0; part < 4; ++part) {
      std::string_view const number = next_part(text, '.');
      if (number.empty() || number.size() > 3 || (number.size() > 1 && number[0] == '0')) return false;
      if ((part == 3) != text.empty()) return false;
      unsigned value = 0;
      for (char const c : number) {
        if (c < '0' || c > '9') return false;
        value = value * 10 + static_cast<unsigned>(c - '0');
      }
      if (value > 255) return false;
      bytes[at + part] = static_cast<std::uint8_t>(value);
    }
    return true;
  }
  [[nodiscard]] constexpr bool read_v6(std::string_view text) noexcept {
    std::size_t at = 0, gap = 17;  // the position of `::` in bytes; 17: none
    if (text.starts_with("::")) {
      gap = 0;
      text.remove_prefix(2);
    }
    while (!text.empty()) {
      if (at == 16) return false;
      if (text.find(':') == std::string_view::npos && text.find('.') != std::string_view::npos) {
        if (at > 12 || !read_v4(text, at)) return false;
        at += 4;
        break;
      }
      std::string_view const group = text.substr(0, text.find(':'));
      if (group.empty() || group.size() > 4) return false;
      unsigned value = 0;
      for (char const c : group) {
        int const digit = hex_value(c);
        if (digit < 0) return false;
        value = value * 16 + static_cast<unsigned>(digit);
      }
      bytes[at] = static_cast<std::uint8_t>(value >> 8);
      bytes[at + 1] = static_cast<std::uint8_t>(value & 0xFFu);
      at += 2;
      text.remove_prefix(group.size());
      if (text.starts_with("::")) {
        if (gap != 17) return false;
        gap = at;
        text.remove_prefix(2);
      } else if (!text.empty()) {
        text.remove_prefix(1);
        if (text.empty()) return false;
      }
    }
    if (gap == 17 ? at != 16 : at > 14) return false;
    if (gap == 17) return true;
    for (std::size_t i = 0, behind = at - gap; i < behind; ++i) {
      std::uint8_t const byte = bytes[at - 1 - i];
      bytes[at - 1 - i] = 0;
      bytes[15 - i] = byte;
    }
    return true;
  }
};

/// Reads a port: one to five digits, at most 65535.
[[nodiscard]] constexpr bool read_port(std::string_view text, std::uint16_t& port) noexcept {
  if (text.empty() || text.size() > 5) return false;
  unsigned value = 0;
  for (char const c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  port = static_cast<std::uint16_t>(value);
  return value <= 65'535;
}

/// The text of an address as RFC 5952 has it; of an IPv4 address `1.2.3.4`, also of one that was written `::ffff:1.2.3.4`.
class ip_text {
 public:
  constexpr explicit ip_text(ip_address const& address) noexcept {
    auto const& b = address.bytes;
    if (address.is_v4()) {
      for (std::size_t i = 12; i < 16; ++i) {
        if (i != 12) put('.');
        if (b[i] > 99) put(static_cast<char>('0' + b[i] / 100));
        if (b[i] > 9) put(static_cast<char>('0' + b[i] / 10 % 10));
        put(static_cast<char>('0' + b[i] % 10));
      }
      return;
    }
    auto const group = [&](std::size_t i) { return static_cast<unsigned>(b[2 * i] << 8 | b[2 * i + 1]); };
    std::size_t zeros = 8, length = 1;  // the longest run of zero groups, of two at least
    for (std::size_t i = 0; i < 8; ++i) {
      std::size_t end = i;
      while (end < 8 && group(end) == 0) ++end;
      if (end - i > length) {
        zeros = i;
        length = end - i;
      }
    }
    for (std::size_t i = 0; i < 8;) {
      if (i == zeros) {
        put(':');
        put(':');
        i += length;
        continue;
      }
      if (i != 0 && text_[size_ - 1] != ':') put(':');
      bool begun = false;
      for (int shift = 12; shift >= 0; shift -= 4) {
        unsigned const digit = group(i) >> shift & 0xFu;
        begun = begun || digit != 0 || shift == 0;
        if (begun) put("0123456789abcdef"[digit]);
      }
      ++i;
    }
  }
  [[nodiscard]] constexpr std::string_view view() const noexcept { return {text_.data(), size_}; }

 private:
  constexpr void put(char c) noexcept { text_[size_++] = c; }
  std::array<char, 40> text_{};
  std::size_t size_ = 0;
};

}  // namespace detail
}  // namespace PHX_BUILD
}  // namespace phx

#endif
